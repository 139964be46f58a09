"""Losses by name. A loss is a module from ``(outputs, target)`` to the mean over the batch.

The classification losses also know what their mean was divided by (``weight``), so that the mean
over a split is exact whatever the batches: class weights make it a weighted mean. ``each`` gives
the losses of single samples, for samples that have weights too (see ``mean_loss.py``).
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit_course.names import check_options, lookup


class ClassificationLoss(nn.Module, ABC):
    """Mean loss over a batch, each sample weighted by its class.

    Args:
        class_weights: One weight per class, or None for equal weights. The mean is
            ``sum(w[y] * loss) / sum(w[y])``, as in ``torch.nn.CrossEntropyLoss``.
    """

    class_weights: Tensor | None

    def __init__(self, class_weights: Sequence[float] | None = None) -> None:
        super().__init__()
        if class_weights is not None and not _are_weights(class_weights):
            raise ValueError(
                "class weights must not be negative, must be finite and not all 0, found "
                f"{class_weights}"
            )
        weights = None if class_weights is None else torch.tensor(class_weights)
        self.register_buffer("class_weights", weights)
        # Then the mean over a batch may be one over nothing.
        self.leaves_out_classes = class_weights is not None and 0 in class_weights

    @abstractmethod
    def forward(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Outputs ``(B, C)`` and int64 labels ``(B,)`` to a scalar."""

    @abstractmethod
    def each(self, outputs: Tensor, target: Tensor) -> Tensor:
        """The loss of each sample ``(B,)``, times the weight of its class."""

    def weight(self, target: Tensor) -> Tensor | int:
        """What the mean over these targets was divided by."""
        weights = self.class_weights
        return target.shape[0] if weights is None else weights[target].sum()


def _are_weights(values: Sequence[float]) -> bool:
    return all(0 <= value < math.inf for value in values) and (not values or any(values))


class CrossEntropy(ClassificationLoss):
    """Cross entropy on logits: log-softmax, then negative log-likelihood.

    Args:
        class_weights: One weight per class, or None.
        label_smoothing: Share of the target spread evenly over all classes, in [0, 1].
    """

    def __init__(
        self, class_weights: Sequence[float] | None = None, label_smoothing: float = 0.0
    ) -> None:
        super().__init__(class_weights)
        self.label_smoothing = label_smoothing

    def forward(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Logits ``(B, C)`` and int64 labels ``(B,)`` to a scalar."""
        return F.cross_entropy(
            outputs, target, self.class_weights, label_smoothing=self.label_smoothing
        )

    def each(self, outputs: Tensor, target: Tensor) -> Tensor:
        """The loss of each sample ``(B,)``, weighted."""
        smoothing = self.label_smoothing
        return F.cross_entropy(
            outputs, target, self.class_weights, reduction="none", label_smoothing=smoothing
        )


class NegativeLogLikelihood(ClassificationLoss):
    """Negative log-likelihood on log-probabilities, the outputs of a log-softmax."""

    def forward(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Log-probabilities ``(B, C)`` and int64 labels ``(B,)`` to a scalar."""
        return F.nll_loss(outputs, target, self.class_weights)

    def each(self, outputs: Tensor, target: Tensor) -> Tensor:
        """The loss of each sample ``(B,)``, weighted."""
        return F.nll_loss(outputs, target, self.class_weights, reduction="none")


class BinaryCrossEntropy(ClassificationLoss):
    """Binary cross entropy on one logit, that of class 1.

    Args:
        class_weights: The weights of classes 0 and 1, or None.
        label_smoothing: Share of the target moved to the middle: 1 becomes 1 - s/2, 0 becomes s/2.
    """

    def __init__(
        self, class_weights: Sequence[float] | None = None, label_smoothing: float = 0.0
    ) -> None:
        super().__init__(class_weights)
        self.label_smoothing = label_smoothing

    def forward(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Logits ``(B, 1)`` and int64 labels 0 or 1 ``(B,)`` to a scalar."""
        if self.class_weights is None:
            return self._reduced(outputs, target, None, "mean")
        weights = self.class_weights[target]
        return self._reduced(outputs, target, weights, "sum") / weights.sum()

    def each(self, outputs: Tensor, target: Tensor) -> Tensor:
        """The loss of each sample ``(B,)``, weighted."""
        weights = None if self.class_weights is None else self.class_weights[target]
        return self._reduced(outputs, target, weights, "none")

    def _reduced(
        self, outputs: Tensor, target: Tensor, weights: Tensor | None, reduction: str
    ) -> Tensor:
        logits = outputs.squeeze(1)
        smoothed = target.to(logits.dtype) * (1 - self.label_smoothing) + self.label_smoothing / 2
        return F.binary_cross_entropy_with_logits(logits, smoothed, weights, reduction=reduction)


class FocalLoss(ClassificationLoss):
    """Focal loss: cross entropy in which samples that are already right count less.

    ``-w[y] · (1 - p)^gamma · log p`` with p the probability of the true class, after Lin et al.,
    "Focal Loss for Dense Object Detection" (2017). p is the model's own, not the weighted one.
    The mean is weighted as in cross entropy, so that gamma 0 is weighted cross entropy.

    Args:
        class_weights: One weight per class, or None.
        gamma: Focusing strength, at least 0.
        alpha: The paper's class weights: one number (two classes: ``alpha`` for class 1,
            ``1 - alpha`` for class 0) or one per class. Another way to give ``class_weights``.
    """

    def __init__(
        self,
        class_weights: Sequence[float] | None = None,
        gamma: float = 2.0,
        alpha: float | Sequence[float] | None = None,
    ) -> None:
        if not 0 <= gamma < math.inf:
            raise ValueError(f"focal loss: gamma must be at least 0 and finite, found {gamma}")
        if alpha is not None and class_weights is not None:
            raise ValueError("focal loss: alpha and class_weights say the same thing; give one")
        if isinstance(alpha, int | float):
            if not 0 <= alpha <= 1:
                raise ValueError(f"focal loss: one alpha is a share in [0, 1], found {alpha}")
            alpha = [1 - alpha, alpha]
        super().__init__(alpha if class_weights is None else class_weights)
        self.gamma = gamma

    def forward(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Logits ``(B, C)`` and int64 labels ``(B,)`` to a scalar."""
        losses = self.each(outputs, target)
        return losses.mean() if self.class_weights is None else losses.sum() / self.weight(target)

    def each(self, outputs: Tensor, target: Tensor) -> Tensor:
        """The loss of each sample ``(B,)``, weighted."""
        log_p = outputs.log_softmax(1).gather(1, target[:, None]).squeeze(1)
        # At p = 1 a gamma below 1 has an infinite slope, times zero: keep away from it.
        wrongness = (-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).tiny)
        losses = -wrongness.pow(self.gamma) * log_p
        return losses if self.class_weights is None else self.class_weights[target] * losses


CLASSIFICATION_LOSSES: dict[str, type[ClassificationLoss]] = {
    "cross_entropy": CrossEntropy,
    "nll": NegativeLogLikelihood,
    "bce": BinaryCrossEntropy,
    "focal": FocalLoss,
}


def mse() -> nn.Module:
    """Mean squared error."""
    return nn.MSELoss()


def l1() -> nn.Module:
    """Mean absolute error."""
    return nn.L1Loss()


def smooth_l1(beta: float = 1.0) -> nn.Module:
    """Quadratic below an error of ``beta``, linear with slope 1 above."""
    if not 0 <= beta < math.inf:
        raise ValueError(f"smooth_l1: beta must be at least 0 and finite, found {beta}")
    return nn.SmoothL1Loss(beta=beta)


def huber(delta: float = 1.0) -> nn.Module:
    """Quadratic below an error of ``delta``, linear with slope ``delta`` above."""
    if not 0 < delta < math.inf:
        raise ValueError(f"huber: delta must be above 0 and finite, found {delta}")
    return nn.HuberLoss(delta=delta)


REGRESSION_LOSSES: dict[str, Callable[..., nn.Module]] = {
    "mse": mse,
    "l1": l1,
    "smooth_l1": smooth_l1,
    "huber": huber,
}


def make_loss(
    name: str,
    table: Mapping[str, Callable[..., nn.Module]],
    options: Mapping[str, Any],
    **given: object,
) -> nn.Module:
    """Build a loss by name.

    Args:
        name: A name of the table.
        table: ``CLASSIFICATION_LOSSES`` or ``REGRESSION_LOSSES``.
        options: The loss's own options, as typed.
        **given: Arguments of the module that some losses take; None and 0 ask for nothing.

    Raises:
        ValueError: If the name or an option is unknown, a value is refused, or the loss lacks what
            was asked for.
    """
    factory = lookup("loss", name, table)
    what = f"option of loss {name!r}"
    check_options(what, factory, options, reserved={key: f"give it as {key}" for key in given})
    takes = inspect.signature(factory).parameters
    for key, value in given.items():
        if key not in takes and value:
            takers = [other for other in table if key in inspect.signature(table[other]).parameters]
            raise ValueError(f"loss {name!r} has no {key}; these have: {', '.join(takers)}")
    taken = {key: value for key, value in given.items() if key in takes}
    try:
        return factory(**options, **taken)
    except TypeError as error:  # a text where a number belongs
        raise ValueError(f"loss {name!r} refuses its options: {error}") from error
