"""What training must know of its data before the first step: asked for, or counted in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lit_course.gather import gather
from lit_course.modules.at_rest import at_rest
from lit_course.modules.batch import check_weight, unpack
from lit_course.scaling import ColumnStatistics, InputScaling


class Survey:
    """Facts about the training split.

    Each is taken from the data module where that says it (``train_statistics``, ``train_targets``,
    ``class_counts``, ``split_sizes``, ``train_weight``), else from one pass over the training
    batches, made when the first such fact is asked for. Of several processes each looks at its own
    part of a loader, and what they found is put together.

    Args:
        data: The Trainer's data module, if there is one.
        batches: The training batches ``(x, y)`` or ``(x, y, extras)``.
        network: What will be trained; the statistics are those of its ``InputScaling``'s input.
        device: Where the network is.
        check: Called with the targets of every batch of the pass; may refuse them.
        limit: Most batches to read, as an epoch will; None reads all.
    """

    def __init__(
        self,
        data: object,
        batches: Iterable[Any],
        network: nn.Module,
        device: torch.device,
        check: Callable[[Tensor], None],
        limit: int | None = None,
    ) -> None:
        self._data = data
        self._batches = batches
        self._network = network
        self._device = device
        self._check = check
        self._limit = limit

    @property
    def scaling(self) -> InputScaling | None:
        """The network's scaling layer, if it standardises."""
        layers = (m for m in self._network.modules() if isinstance(m, InputScaling))
        return next((layer for layer in layers if layer.standardize), None)

    @property
    def statistics(self) -> ColumnStatistics:
        """Mean and deviation of what reaches the scaling layer."""
        offered = getattr(self._data, "train_statistics", None)
        # Behind polynomial features the layer scales more columns than the data has.
        if offered is not None and self.scaling and len(offered.mean) == self.scaling.in_features:
            statistics: ColumnStatistics = offered
            return statistics
        return self._pass[0]

    @property
    def class_counts(self) -> Tensor:
        """Samples of each class, int64; classes after the last one seen may be missing."""
        offered: Tensor | None = getattr(self._data, "class_counts", None)
        if offered is not None:
            return offered
        targets = self._pass[1]
        labels = targets[:0] if targets.is_floating_point() else targets
        return torch.bincount(labels.flatten().long())

    @property
    def targets(self) -> Tensor:
        """The targets of all training samples, ``(N,)`` or ``(N, K)``, in any order and dtype."""
        offered: Tensor | None = getattr(self._data, "train_targets", None)
        return self._pass[1] if offered is None else offered

    @property
    def num_samples(self) -> int:
        """Number of training samples."""
        sizes: dict[str, int] | None = getattr(self._data, "split_sizes", None)
        return self._pass[2] if sizes is None else sizes["train"]

    @property
    def mean_weight(self) -> float:
        """Mean weight of the training samples; 1 where they have none."""
        if hasattr(self._data, "train_weight"):
            total: float | None = self._data.train_weight
            return 1.0 if total is None else total / self.num_samples
        return self._pass[3] / self._pass[2]

    @property
    def last_batch(self) -> int | None:
        """Samples of an epoch's last batch on this process; None where the loader can't say."""
        loader = self._batches
        last: int | None = getattr(loader, "last_batch", None)
        if isinstance(loader, DataLoader) and isinstance(loader.sampler, Sized):
            rest = len(loader.sampler) % (loader.batch_size or 1)
            last = loader.batch_size if loader.drop_last or not rest else rest
        reached = last is not None and isinstance(loader, Sized) and self._limit == len(loader)
        return last if reached else None

    def batches(self) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """The inputs, targets and, where there are any, weights of this process, as an epoch's.

        May be asked for again; every random state that a loader draws from stays as it was.
        """
        with _undisturbed(self._batches):
            for x, y, weight in map(unpack, islice(self._batches, self._limit)):
                self._check(y)
                if weight is not None:
                    check_weight(weight)
                yield x, y, weight

    @cached_property
    def _pass(self) -> tuple[ColumnStatistics, Tensor, int, float]:
        statistics = ColumnStatistics()
        targets = [torch.zeros(0, dtype=torch.int64)]
        samples, total_weight = 0, 0.0
        rank_zero_info("one pass over the training data for its statistics")
        with (
            at_rest(self._network),
            _listening(self.scaling, statistics),
        ):
            for x, y, weight in self.batches():
                samples += len(y)
                total_weight += len(y) if weight is None else float(weight.double().sum())
                targets.append((y[:, None] if y.ndim == 1 else y.flatten(1)).cpu())
                if self.scaling is not None:
                    self._network(x.to(self._device))
        return _of_all_processes(statistics, torch.cat(targets), samples, total_weight)


def _of_all_processes(
    statistics: ColumnStatistics, targets: Tensor, samples: int, total_weight: float
) -> tuple[ColumnStatistics, Tensor, int, float]:
    """Put together what each process has seen."""
    every, targets_of, samples_of, weight_of = zip(
        *gather((statistics, targets, samples, total_weight)), strict=True
    )
    merged = ColumnStatistics()
    for part in every:
        merged.merge(part)
    return merged, torch.cat(targets_of), sum(samples_of), sum(weight_of)


@contextmanager
def _listening(scaling: InputScaling | None, statistics: ColumnStatistics) -> Iterator[None]:
    """Give every input of the scaling layer to the statistics."""
    if scaling is None:
        yield
        return
    hook = scaling.register_forward_pre_hook(lambda _, args: statistics.update(args[0].cpu()))
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def _undisturbed(batches: object) -> Iterator[None]:
    """Leave a loader, and every random state that it draws from, as they were found."""
    drawn = (batches, getattr(batches, "sampler", None), getattr(batches, "batch_sampler", None))
    generators = [getattr(part, "generator", None) for part in drawn]
    states = [(g, g.get_state()) for g in generators if isinstance(g, torch.Generator)]
    # With persistent workers a loader has one iterator for all passes, which Lightning has begun.
    begun = getattr(batches, "_iterator", None)
    if begun is not None:
        vars(batches)["_iterator"] = None
    with isolate_rng():
        yield
    if begun is not None:
        vars(batches)["_iterator"] = begun
    for generator, state in states:
        generator.set_state(state)
