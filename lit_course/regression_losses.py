"""Losses of regression that learn how certain an answer is: quantiles, or mean and variance."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from statistics import NormalDist

import torch
from torch import Tensor, nn

from lit_course.target_scaling import TargetScaling


class IntervalLoss(nn.Module, ABC):
    """Mean loss over a batch of outputs that say several numbers of each target.

    Outputs are ``(B, K · outputs_per_target)``, those of one target side by side; targets are
    ``(B, K)``; both are scaled, if the targets are.
    """

    outputs_per_target: int

    def forward(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Outputs and targets to a scalar."""
        return self.each(outputs, target).mean()

    @abstractmethod
    def each(self, outputs: Tensor, target: Tensor) -> Tensor:
        """The loss of each sample ``(B,)``, averaged over targets."""

    @abstractmethod
    def point(self, outputs: Tensor) -> Tensor:
        """The one number that stands for a target, ``(B, K)``, scaled as the outputs are."""

    @abstractmethod
    def columns(self, outputs: Tensor, scaling: TargetScaling) -> dict[str, Tensor]:
        """What a prediction says beside it, by name: ``(B, K)`` each, in original units."""

    def _of_each_target(self, outputs: Tensor) -> Tensor:
        """Outputs ``(B, K, outputs_per_target)``."""
        n = self.outputs_per_target
        return outputs.view(outputs.shape[0], outputs.shape[1] // n, n)


class QuantileLoss(IntervalLoss):
    """Quantile (pinball) loss, averaged over the quantiles.

    ``max(q · e, (q - 1) · e)`` with e = y - prediction, after Koenker and Bassett, "Regression
    Quantiles" (1978). Outputs are one prediction per quantile. Where these cross, answers are
    sorted, which never raises the loss (Chernozhukov, Fernández-Val and Galichon, "Quantile and
    Probability Curves Without Crossing", 2010); the loss itself is of the outputs as they are.

    Args:
        quantiles: Increasing, each between 0 and 1; the one nearest 0.5 is the prediction.
    """

    quantiles: Tensor

    def __init__(self, quantiles: Sequence[float] = (0.05, 0.5, 0.95)) -> None:
        super().__init__()
        levels = [0.0, *quantiles, 1.0]
        if not quantiles or not all(low < high for low, high in pairwise(levels)):
            raise ValueError(
                f"quantile loss: quantiles must increase between 0 and 1, found {list(quantiles)}"
            )
        self.names = [f"quantile_{q}" for q in quantiles]
        self.middle = min(range(len(quantiles)), key=lambda i: abs(quantiles[i] - 0.5))
        self.outputs_per_target = len(quantiles)
        # It is in the hyperparameters too.
        self.register_buffer("quantiles", torch.tensor(quantiles), persistent=False)

    def each(self, outputs: Tensor, target: Tensor) -> Tensor:
        """The loss of each sample ``(B,)``, averaged over quantiles and targets."""
        error = target[..., None] - self._of_each_target(outputs)
        return torch.maximum(self.quantiles * error, (self.quantiles - 1) * error).mean((1, 2))

    def point(self, outputs: Tensor) -> Tensor:
        """The quantile nearest 0.5, ``(B, K)``."""
        return self._sorted(outputs)[..., self.middle]

    def columns(self, outputs: Tensor, scaling: TargetScaling) -> dict[str, Tensor]:
        """``quantile_<q>`` for each quantile."""
        values = self._sorted(outputs).unbind(-1)
        return {name: scaling.undo(v) for name, v in zip(self.names, values, strict=True)}

    def _sorted(self, outputs: Tensor) -> Tensor:
        return self._of_each_target(outputs).sort(-1).values


class GaussianNLL(IntervalLoss):
    """Negative log-likelihood of a normal distribution whose mean and variance are both learned.

    ``(log v + (y - mean)² / v) / 2``, after Nix and Weigend, "Estimating the mean and variance of
    the target probability distribution" (1994); the constant log(2π) / 2 is left out, as in
    ``torch.nn.GaussianNLLLoss``. The outputs of a target are its mean and s, and v = exp(s) + eps:
    a smooth floor, below which s still has a gradient.

    Args:
        interval: Share of the distribution between ``lower`` and ``upper``, the same on both sides.
        eps: Least variance, in squared units of the (scaled) target.
    """

    outputs_per_target = 2

    def __init__(self, interval: float = 0.9, eps: float = 1e-6) -> None:
        super().__init__()
        if not 0 < interval < 1:
            raise ValueError(f"gaussian_nll: interval must be between 0 and 1, found {interval}")
        if not 0 < eps < math.inf:
            raise ValueError(f"gaussian_nll: eps must be above 0 and finite, found {eps}")
        self.half_width = NormalDist().inv_cdf((1 + interval) / 2)  # in standard deviations
        self.log_floor = math.log(eps)

    def each(self, outputs: Tensor, target: Tensor) -> Tensor:
        """The loss of each sample ``(B,)``, averaged over targets."""
        mean, log_variance = self._distribution(outputs.to(target.dtype))
        return (log_variance + (target - mean).square() * (-log_variance).exp()).mean(1) / 2

    def point(self, outputs: Tensor) -> Tensor:
        """The mean, ``(B, K)``; behind a logarithm it becomes the median."""
        return self._distribution(outputs)[0]

    def columns(self, outputs: Tensor, scaling: TargetScaling) -> dict[str, Tensor]:
        """``lower`` and ``upper`` ends of the central interval, and ``std``."""
        mean, log_variance = self._distribution(outputs)
        std = (log_variance / 2).exp()
        return {
            "lower": scaling.undo(mean - self.half_width * std),
            "upper": scaling.undo(mean + self.half_width * std),
            "std": scaling.undo_std(mean, std),
        }

    def _distribution(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, ``(B, K)`` each."""
        mean, s = self._of_each_target(outputs).unbind(-1)
        # Not softplus, which onnxruntime has not in float64.
        return mean, torch.logaddexp(s, s.new_tensor(self.log_floor))


def outputs_per_target(loss: nn.Module) -> int:
    """How many outputs of a network a loss takes for one target."""
    return loss.outputs_per_target if isinstance(loss, IntervalLoss) else 1


INTERVAL_LOSSES: dict[str, type[IntervalLoss]] = {
    "quantile": QuantileLoss,
    "gaussian_nll": GaussianNLL,
}
