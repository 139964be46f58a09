"""How one stage gathers its loss and metrics over the whole split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from lit_course.pending import ROOM, Pending


class WeightedMean(Metric):
    """Mean of weighted values, NaN among them included.

    torchmetrics' ``MeanMetric`` leaves NaN in only with the weights left out.
    """

    higher_is_better = False
    full_state_update = False

    total: Tensor
    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", default=torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("weight", default=torch.zeros(()), dist_reduce_fx="sum")

    def update(self, values: Tensor, weights: Tensor) -> None:
        """Add values ``(N,)`` with their weights ``(N,)``."""
        self.total += (values * weights).sum()
        self.weight += weights.sum()

    def compute(self) -> Tensor:
        """The mean."""
        return self.total / self.weight


class StageMetrics(nn.Module):
    """The loss and the metrics of one stage, over the whole split.

    Outputs are kept and given to the metrics in large pieces: a metric's update costs as much
    Python as a small training step.

    Args:
        metrics: What is fed with answers and targets.
        answer: From outputs to answers.
        details: More of the same, computed on request only.
        check: Called with all targets before they are given to the metrics; may refuse them.
    """

    def __init__(
        self,
        metrics: MetricCollection,
        answer: Callable[[Tensor], Tensor],
        details: MetricCollection | None = None,
        check: Callable[[Tensor], None] | None = None,
    ) -> None:
        super().__init__()
        self.metrics = metrics
        self.details = details
        self.loss = WeightedMean().set_dtype(torch.float64)
        self.answer = answer
        self.check = check
        self._pending = Pending()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # Sums are exact in the dtype that they have, whatever that of the network becomes.
        super()._apply(lambda t: fn(t).to(t.dtype), recurse)  # type: ignore[no-untyped-call]  # torch
        return self

    @property
    def has_samples(self) -> bool:
        """Whether any were taken since ``reset``."""
        return self._pending.batches > 0 or self.loss.update_called

    def add(self, outputs: Tensor, target: Tensor, loss: Tensor, weight: Tensor | int) -> None:
        """Take one batch.

        Args:
            outputs: The network's outputs ``(B, ...)``.
            target: The targets ``(B, ...)``.
            loss: The mean loss of the batch.
            weight: What that mean was divided by.
        """
        outputs = outputs.detach()
        if not self._pending.takes(outputs, target, weight):
            self.feed()
        self._pending.add(outputs, target, loss.detach(), weight)
        if self._pending.samples >= ROOM:
            self.feed()

    def feed(self) -> None:
        """Give the metrics what is kept for them."""
        if not self._pending.batches:
            return
        outputs, target, losses, weights = self._pending.take()
        self.loss.update(losses, weights)
        if len(target):  # of several processes one may have nothing to evaluate
            with torch.no_grad():
                if self.check is not None:
                    self.check(target)
                answers = self.answer(outputs)
                self.metrics.update(answers, target)
                if self.details is not None:
                    self.details.update(answers, target)

    def compute(self, details: bool = False) -> dict[str, Tensor]:
        """The value of the loss and of every metric over all samples taken since ``reset``.

        Args:
            details: Whether to add the values of ``details``.
        """
        self.feed()
        values = {"loss": self.loss.compute(), **self.metrics.compute()}
        if details and self.details is not None:
            values.update(self.details.compute())
        return values

    def partial(self) -> dict[str, Any]:
        """What was taken since ``reset``, as plain values and tensors, for a checkpoint."""
        if not self.has_samples:
            return {}
        states = [(metric.metric_state, metric.update_count) for metric in self._metrics()]
        return {"pending": self._pending.state_dict(), "states": states}

    def resume(self, partial: Mapping[str, Any]) -> None:
        """Go on from what ``partial`` gave: the same values to the last bit."""
        self.reset()
        if not partial:
            return
        device = self.loss.device
        for metric, (state, count) in zip(self._metrics(), partial["states"], strict=True):
            for name in metric.metric_state:
                value = state[name]
                parts = isinstance(value, list)
                setattr(metric, name, [v.to(device) for v in value] if parts else value.to(device))
            metric._update_count = count
        self._pending.load_state_dict(partial["pending"], device)

    def _metrics(self) -> list[Metric]:
        self.metrics.values(copy_state=False)  # members of a group share their state from now on
        return [module for module in self.modules() if isinstance(module, Metric)]

    def reset(self) -> None:
        """Forget all samples."""
        self._pending.clear()
        self.loss.reset()
        self.metrics.reset()
        if self.details is not None:
            self.details.reset()
