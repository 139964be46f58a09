"""The mean loss of a batch, over weighted samples too: the one place that reduces."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn

from lit_course.losses import ClassificationLoss

ELEMENTWISE = (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss)


def mean_loss(
    loss: nn.Module, outputs: Tensor, target: Tensor, sample_weight: Tensor | None = None
) -> tuple[Tensor, Tensor | int]:
    """The mean loss of a batch, and what it was divided by.

    The weighted mean is ``sum(w * c * loss) / sum(w * c)``, w the weight of a sample and c that of
    its class, as in scikit-learn and torch; of weights that are all 0 it is 0.

    Args:
        loss: From ``(outputs, target)`` to the mean over the batch. For weighted samples it must
            be of torch's elementwise regression losses, or have a method ``each(outputs, target)``
            that gives the loss of each sample ``(B,)``.
        outputs: The network's outputs ``(B, ...)``.
        target: The targets ``(B, ...)``.
        sample_weight: ``(B,)``, not negative; None weighs all samples alike.

    Raises:
        ValueError: If samples are weighted and the loss knows the mean alone.
    """
    samples = target.shape[0]
    if not samples:  # of several processes one may have nothing to evaluate
        return outputs.sum(), samples
    if sample_weight is None:
        if not isinstance(loss, ClassificationLoss):
            return loss(outputs, target), samples
        if not loss.leaves_out_classes:
            return loss(outputs, target), loss.weight(target)
    losses = _each(loss, outputs, target)
    # Loaders make weights of any precision; the sum of short floats would be rounded.
    precision = torch.promote_types(losses.dtype, torch.float32)
    weights = losses.new_ones(samples) if sample_weight is None else sample_weight
    weights = weights.to(precision)
    total = (weights * losses).sum()  # these losses are times the weights of their classes
    if isinstance(loss, ClassificationLoss) and loss.class_weights is not None:
        weights = weights * loss.class_weights[target]
    divisor = weights.sum()
    return total / divisor.where(divisor > 0, 1), divisor


def _each(loss: nn.Module, outputs: Tensor, target: Tensor) -> Tensor:
    each: Callable[[Tensor, Tensor], Tensor] | None = getattr(loss, "each", None)
    if each is not None:
        return each(outputs, target)
    unreduced: Any = copy(loss)
    if type(loss) in ELEMENTWISE and unreduced.reduction == "mean":
        unreduced.reduction = "none"
        losses: Tensor = unreduced(outputs, target)
        return losses.flatten(1).mean(1)
    raise ValueError(
        f"samples have weights, and {type(loss).__name__} gives the mean of a batch only: give it "
        "a method each(outputs, target), the loss of each sample (B,), or leave the weights out"
    )
