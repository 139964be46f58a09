"""Batches cut from whole tensors by index: the data loader of every data module here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
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

    Of weighted samples they are ``(x, y, {"weight": w})``.

    Nothing is done per sample. The order of an epoch depends on ``(seed, epoch)`` alone, never on
    the global random state or on the epochs before. Without shuffling, whole tensors are sliced:
    such batches are views of the data and must not be changed in place.

    Of several processes each cuts its own part. ``in_step``, as training needs it, they make the
    same number of steps: step i takes the next ``world_size * batch_size`` rows of the one order,
    ``batch_size`` for each; the rest is shared evenly in a last step, and left out where it does
    not give every process a row. Else every row comes exactly once: each process has a contiguous
    part, and one empty batch where there are more processes than rows.

    Args:
        x: Features of the data set, one row per sample.
        y: Targets of the data set, one row per sample.
        rows: Row numbers (int64) that form the split; ``None`` takes every row. The tensors are
            not copied.
        batch_size: Rows per batch; the last batch may be smaller.
        shuffle: Whether each epoch has its own order. Else rows come as they are given.
        drop_last: Whether to leave out a last step that is smaller; only ``in_step``.
        seed: Seed of the order.
        first_batch: Called at the start of an iteration for the number of its first batch: those
            before it were taken before the training was interrupted.
        with_rows: Whether to yield ``(x, y, {"row": numbers})`` with the rows' numbers in the data
            set, and no weights: nothing is learned from these.
        rank: Which of the processes this is, from 0.
        world_size: Number of processes.
        in_step: Whether all processes make the same number of steps; else each row comes once.
        weight: Weight of each sample of the data set, ``(N,)``.
    """

    # Lightning treats whatever has a `sampler` as a DataLoader and then asks for this one too.
    batch_sampler = None
    unit, units = "row", "rows"  # what is ordered and shared out

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
        rank: int = 0,
        world_size: int = 1,
        in_step: bool = True,
        weight: Tensor | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, found {batch_size}.")
        self.num_samples = len(x) if rows is None else len(rows)
        if drop_last and self.num_samples < batch_size * world_size:
            each = f" for each of {world_size} processes" if world_size > 1 else ""
            raise ValueError(
                f"drop_last would drop every {self.unit}: {self.num_samples} {self.units} do not "
                f"fill one batch of {batch_size}{each}. Make batch_size smaller or set drop_last "
                "to false."
            )
        if in_step and 0 < self.num_samples < world_size:
            raise ValueError(
                f"{self.num_samples} training {self.units} are too few for {world_size} processes: "
                "each needs one at least. Start fewer processes (devices, num_nodes)."
            )
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.seed = seed
        self.with_rows = with_rows
        self.rank = rank
        self.world_size = world_size
        self.in_step = in_step
        self._x = x
        self._y = y
        self._weight = None if with_rows else weight
        self._rows = rows
        self._epoch = 0
        self._first_batch = first_batch

    def __len__(self) -> int:
        return sum(1 for _ in self._windows())

    @property
    def last_batch(self) -> int:
        """Rows of the last batch of training, on the process that has the fewest."""
        rest = 0 if self.drop_last else self.num_samples % (self.world_size * self.batch_size)
        return rest // self.world_size or self.batch_size

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
        order, weight = self._order(), self._weight
        for window in islice(self._windows(), self._first_batch(), None):
            if order is None:
                x, y = self._x[window], self._y[window]
                yield (x, y) if weight is None else (x, y, {"weight": weight[window]})
                continue
            index = order[window]
            x, y = self._x.index_select(0, index), self._y.index_select(0, index)
            if weight is not None:
                yield x, y, {"weight": weight.index_select(0, index)}
            else:
                yield (x, y, {"row": index}) if self.with_rows else (x, y)

    def _windows(self) -> Iterator[slice]:
        """Where in the order each batch of this process lies."""
        return self._steps() if self.in_step else self._part()

    def _steps(self) -> Iterator[slice]:
        step = self.world_size * self.batch_size
        full, rest = divmod(self.num_samples, step)
        for start in range(self.rank * self.batch_size, full * step, step):
            yield slice(start, start + self.batch_size)
        if rest >= self.world_size and not self.drop_last:
            yield _share(slice(full * step, self.num_samples), self.rank, self.world_size)

    def _part(self) -> Iterator[slice]:
        part = _share(slice(0, self.num_samples), self.rank, self.world_size)
        # Lightning wants a batch on every process, or a loader on none.
        last = max(part.stop, part.start + (self.num_samples > 0))
        for start in range(part.start, last, self.batch_size):
            yield slice(start, min(start + self.batch_size, part.stop))

    def _order(self) -> Tensor | None:
        """Row numbers in the order of this epoch; ``None`` where slices will do."""
        if self.shuffle:
            seed = (self.seed + _EPOCH_STEP * self._epoch) % _SEEDS
            order = torch.randperm(self.num_samples, generator=torch.Generator().manual_seed(seed))
            return order if self._rows is None else self._rows[order]
        if self._rows is None and self.with_rows:
            return torch.arange(self.num_samples)
        return self._rows


def _share(window: slice, rank: int, world_size: int) -> slice:
    """A process's part of a window: contiguous, as even as can be, the first ones larger."""
    size, larger = divmod(window.stop - window.start, world_size)
    start = window.start + rank * size + min(rank, larger)
    return slice(start, start + size + (rank < larger))
