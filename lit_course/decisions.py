"""Two classes and a threshold: metrics of what is decided, and the threshold of the best F1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchmetrics import MetricCollection
from torchmetrics.classification import BinaryStatScores
from torchmetrics.utilities import dim_zero_cat

from lit_course.auroc import AUROC

# What the probability of class 1 must be above now; asked for at every update.
Threshold = Callable[[], float]


class DecisionMetrics(MetricCollection):
    """Metrics of two classes, class 1 taken where its probability is above a threshold.

    Fed with probabilities ``(B,)`` and labels ``(B,)``. ``auroc`` among them knows no threshold.

    Args:
        threshold: Asked for the threshold.
        *args: As of ``MetricCollection``.
        **kwargs: As of ``MetricCollection``.
    """

    auroc: AUROC

    def __init__(self, threshold: Threshold, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.threshold = threshold

    # torchmetrics overrides torch's ModuleDict.update in the same way.
    def update(self, answers: Tensor, target: Tensor) -> None:  # type: ignore[override]
        """Add probabilities and labels."""
        threshold = self.threshold()
        for metric in self.values(copy_state=False):
            if isinstance(metric, BinaryStatScores):
                metric.threshold = threshold
        super().update(answers, target)

    def best_threshold(self) -> float | None:
        """``best_threshold`` of all samples taken since ``reset``, of all processes."""
        with self.auroc.sync_context():
            return best_threshold(dim_zero_cat(self.auroc.scores), dim_zero_cat(self.auroc.target))

    def decide_again(self) -> None:
        """Take the same samples as since ``reset``, at the present threshold."""
        samples = list(zip(self.auroc.scores, self.auroc.target, strict=True))
        self.reset()
        for scores, target in samples:
            self.update(scores, target)


def best_threshold(scores: Tensor, target: Tensor) -> float | None:
    """The threshold with the best F1 of class 1, taken where its probability is above it.

    Exact, over all distinct probabilities: halfway between the last one that is above and the
    next, down to 0; of equally good ones the highest.

    Args:
        scores: Probabilities of class 1 ``(N,)``.
        target: Labels 0 and 1 ``(N,)``.

    Returns:
        A threshold in [0, 1), a number of the scores' precision; None where there is none to find:
        of one class only, or if no sample of class 1 has a probability above 0.
    """
    positives = target.sum()
    if positives == len(target):
        return None
    ordered, order = scores.sort(descending=True)
    following = torch.cat([ordered[1:], ordered.new_zeros(1)])
    taken = torch.arange(1, len(target) + 1, device=target.device)
    f1 = 2 * target[order].cumsum(0).double() / (taken + positives)
    f1 = f1.where(ordered > following, 0)  # equal probabilities are decided alike
    best = f1.argmax()
    if f1[best] == 0:
        return None
    above, below = ordered[best], following[best]
    middle = (above + below) / 2
    return float(middle if middle < above else below)  # there may be no number in between
