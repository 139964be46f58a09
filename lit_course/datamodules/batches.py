"""Batches cut from whole tensors by index: the data loader of every data module here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import SequentialSampler

Batch = tuple[Tensor, Tensor] | tuple[Tensor, Tensor, dict[str, Tensor]]

# torch's CPU generator uses the low 32 bits of a seed. Steps of 2**32 divided by the golden ratio
# are spread evenly over them, so that within 10,000 epochs two seeds less than 100,000 apart
# never share an order: (seed 0, epoch 1) is not (seed 1, epoch 0).
_SEEDS = 2**32
_EPOCH_STEP = 0x9E3779B9


class Batches(Iterable[Batch]):
    """Yield ``(x, y)`` batches of whole tensors, each cut out with one ``index_select``.

    Nothing is done per sample. The order of an epoch depends on ``(seed, epoch)`` alone, never on
    the global random state or on the epochs before. Without shuffling, whole tensors are sliced:
    such batches are views of the data and must not be changed in place.

    Args:
        x: Features of the data set, one row per sample.
        y: Targets of the data set, one row per sample.
        rows: Row numbers (int64) that form the split; ``None`` takes every row. The tensors are
            not copied.
        batch_size: Rows per batch; the last batch may be smaller.
        shuffle: Whether each epoch has its own order. Else rows come as they are given.
        drop_last: Whether to leave out a last batch that is smaller.
        seed: Seed of the order.
        first_batch: Called at the start of an iteration for the number of its first batch: those
            before it were taken before the training was interrupted.
        with_rows: Whether to yield ``(x, y, {"row": numbers})`` with the rows' numbers in the data
            set.
    """

    # Lightning treats whatever has a `sampler` as a DataLoader and then asks for this one too.
    batch_sampler = None

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        rows: Tensor | None = None,
        *,
        batch_size: int,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int = 0,
        with_rows: bool = False,
        first_batch: Callable[[], int] = int,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, found {batch_size}.")
        self.num_samples = len(x) if rows is None else len(rows)
        if drop_last and self.num_samples < batch_size:
            raise ValueError(
                f"drop_last would drop every row: {self.num_samples} rows do not fill one batch of "
                f"{batch_size}. Make batch_size smaller or set drop_last to false."
            )
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.seed = seed
        self.with_rows = with_rows
        self._x = x
        self._y = y
        self._rows = rows
        self._epoch = 0
        self._first_batch = first_batch

    def __len__(self) -> int:
        full, rest = divmod(self.num_samples, self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    @property
    def last_batch(self) -> int:
        """Rows of the last batch of an epoch; the least of all processes."""
        rest = 0 if self.drop_last else self.num_samples % self.batch_size
        return rest or self.batch_size

    @property
    def sampler(self) -> Batches | SequentialSampler:
        """What Lightning asks about the order.

        It calls ``sampler.set_epoch(epoch)`` when an epoch starts
        (``lightning.fabric.utilities.data._set_sampler_epoch``), and takes a ``SequentialSampler``
        as the sign that nothing is shuffled.
        """
        return self if self.shuffle else SequentialSampler(range(self.num_samples))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration follows."""
        self._epoch = epoch

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the order is known from the epoch, and the position is the Trainer's.

        Lightning takes a loader that has this and ``load_state_dict`` for one that can be resumed.
        """
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take nothing, see ``state_dict``."""

    def __iter__(self) -> Iterator[Batch]:
        order = self._order()
        for i in range(self._first_batch(), len(self)):
            start = i * self.batch_size
            window = slice(start, start + self.batch_size)
            if order is None:
                yield self._x[window], self._y[window]
                continue
            index = order[window]
            x, y = self._x.index_select(0, index), self._y.index_select(0, index)
            yield (x, y, {"row": index}) if self.with_rows else (x, y)

    def _order(self) -> Tensor | None:
        """Row numbers in the order of this epoch; ``None`` where slices will do."""
        if self.shuffle:
            seed = (self.seed + _EPOCH_STEP * self._epoch) % _SEEDS
            order = torch.randperm(self.num_samples, generator=torch.Generator().manual_seed(seed))
            return order if self._rows is None else self._rows[order]
        if self._rows is None and self.with_rows:
            return torch.arange(self.num_samples)
        return self._rows
