"""What training must know of its data before the first step: asked for, or counted in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from lit_course.scaling import ColumnStatistics, InputScaling


class Survey:
    """Facts about the training split.

    Each is taken from the data module where that says it (``train_statistics``, ``class_counts``,
    ``split_sizes``), else from one pass over the training batches, made when the first such
    fact is asked for.

    Args:
        data: The Trainer's data module, if there is one.
        batches: The training batches ``(x, y)`` or ``(x, y, extras)``.
        network: What will be trained; the statistics are those of its ``InputScaling``'s input.
        device: Where the network is.
    """

    def __init__(
        self, data: object, batches: Iterable[Any], network: nn.Module, device: torch.device
    ) -> None:
        self._data = data
        self._batches = batches
        self._network = network
        self._device = device

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
        return self._pass[1] if offered is None else offered

    @property
    def num_samples(self) -> int:
        """Number of training samples."""
        sizes: dict[str, int] | None = getattr(self._data, "split_sizes", None)
        return self._pass[2] if sizes is None else sizes["train"]

    @cached_property
    def _pass(self) -> tuple[ColumnStatistics, Tensor, int]:
        statistics = ColumnStatistics()
        counts = torch.zeros(0, dtype=torch.int64)
        samples = 0
        rank_zero_info("one pass over the training data for its statistics")
        with _undisturbed(self._batches), _listening(self.scaling, statistics), torch.no_grad():
            training = self._network.training
            self._network.eval()
            for x, y, *_ in self._batches:
                samples += len(y)
                if not y.is_floating_point():
                    seen = torch.bincount(y.flatten().cpu(), minlength=len(counts))
                    counts = seen + torch.nn.functional.pad(counts, (0, len(seen) - len(counts)))
                if self.scaling is not None:
                    self._network(x.to(self._device))
            self._network.train(training)
        return statistics, counts, samples


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
    """Leave every random state that a loader draws from as it was found."""
    generator = getattr(batches, "generator", None)
    state = None if generator is None else generator.get_state()
    with torch.random.fork_rng(devices=[]):
        yield
    if generator is not None and state is not None:
        generator.set_state(state)
