"""How one stage gathers its loss and metrics over the whole split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

SAMPLES_PER_PIECE = 16384


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
        self._clear()

    def _clear(self) -> None:
        self._pending: list[tuple[Tensor, Tensor, Tensor, Tensor | int]] = []
        self._samples = 0

    @property
    def has_samples(self) -> bool:
        """Whether any were taken since ``reset``."""
        return bool(self._pending) or self.loss.update_called

    def add(self, outputs: Tensor, target: Tensor, loss: Tensor, weight: Tensor | int) -> None:
        """Take one batch.

        Args:
            outputs: The network's outputs ``(B, ...)``.
            target: The targets ``(B, ...)``.
            loss: The mean loss of the batch.
            weight: What that mean was divided by.
        """
        self._pending.append((outputs.detach(), target, loss.detach(), weight))
        self._samples += len(target)
        if self._samples >= SAMPLES_PER_PIECE:
            self._feed()

    def _feed(self) -> None:
        if not self._pending:
            return
        outputs, targets, losses, weights = zip(*self._pending, strict=True)
        loss = torch.stack(losses).double()
        counted = isinstance(weights[0], int)
        self.loss.update(loss, loss.new_tensor(weights) if counted else torch.stack(weights))
        if not any(map(len, targets)):  # of several processes one may have nothing to evaluate
            return self._clear()
        with torch.no_grad():
            answers, target = self.answer(torch.cat(outputs)), torch.cat(targets)
            if self.check is not None:
                self.check(target)
            self.metrics.update(answers, target)
            if self.details is not None:
                self.details.update(answers, target)
        self._clear()

    def compute(self, details: bool = False) -> dict[str, Tensor]:
        """The value of the loss and of every metric over all samples taken since ``reset``.

        Args:
            details: Whether to add the values of ``details``.
        """
        self._feed()
        values = {"loss": self.loss.compute(), **self.metrics.compute()}
        if details and self.details is not None:
            values.update(self.details.compute())
        return values

    def partial(self) -> dict[str, Any]:
        """What was taken since ``reset``, as plain values and tensors, for a checkpoint."""
        if not self.has_samples:
            return {}
        pending: dict[str, Any] = {}
        if self._pending:
            outputs, targets, losses, weights = zip(*self._pending, strict=True)
            counted = isinstance(weights[0], int)
            pending = {
                "sizes": [len(target) for target in targets],
                "outputs": torch.cat(outputs),
                "targets": torch.cat(targets),
                "losses": torch.stack(losses),
                "weights": list(weights) if counted else torch.stack(weights),
            }
        states = [(metric.metric_state, metric.update_count) for metric in self._metrics()]
        return {"pending": pending, "states": states}

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
        if pending := partial["pending"]:
            sizes, weights = pending["sizes"], pending["weights"]
            columns = (
                pending["outputs"].to(device).split(sizes),
                pending["targets"].to(device).split(sizes),
                pending["losses"].to(device),
                weights if isinstance(weights, list) else weights.to(device),
            )
            self._pending = list(zip(*columns, strict=True))
            self._samples = sum(sizes)

    def _metrics(self) -> list[Metric]:
        self.metrics.values(copy_state=False)  # members of a group share their state from now on
        return [module for module in self.modules() if isinstance(module, Metric)]

    def reset(self) -> None:
        """Forget all samples."""
        self._clear()
        self.loss.reset()
        self.metrics.reset()
        if self.details is not None:
            self.details.reset()
