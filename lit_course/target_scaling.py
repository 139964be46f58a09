"""Target scaling: the layer that brings targets into the units of a loss, and answers back.

It belongs to a trained network as its input scaling does: answers are in original units.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor

from lit_course.kept_precision import KeptPrecision
from lit_course.names import lookup
from lit_course.scaling import ColumnStatistics

TargetTransform = Literal["identity", "standard", "log"]


class TargetScaling(KeptPrecision):
    """Scale each target by stored statistics; ``undo`` is the way back.

    The buffers carry the transform in their names, so that statistics of logarithms are never taken
    for those of the values. ``count`` is the number of samples they are from (0: not fitted yet,
    mean 0 and deviation 1).

    Args:
        out_features: Number of targets.
        transform: ``identity`` changes and holds nothing; ``standard`` subtracts the mean and
            divides by the standard deviation; ``log`` does so with log(1 + y), of targets ≥ 0.
    """

    def __init__(self, out_features: int, transform: TargetTransform = "identity") -> None:
        super().__init__()
        lookup("target_transform", transform, dict.fromkeys(get_args(TargetTransform)))
        self.transform = transform
        if transform != "identity":
            self.register_buffer(f"{transform}_mean", torch.zeros(out_features))
            self.register_buffer(f"{transform}_std", torch.ones(out_features))
            self.register_buffer(f"{transform}_count", torch.zeros((), dtype=torch.int64))

    @property
    def mean(self) -> Tensor:
        """Mean of each (transformed) target, ``(K,)``; not of ``identity``."""
        return self.get_buffer(f"{self.transform}_mean")

    @property
    def std(self) -> Tensor:
        """Standard deviation of each, ``(K,)``; not of ``identity``."""
        return self.get_buffer(f"{self.transform}_std")

    @property
    def is_fitted(self) -> bool:
        """Whether there is nothing to be learned of the targets any more."""
        return self.transform == "identity" or bool(self.get_buffer(f"{self.transform}_count"))

    def fit(self, targets: Tensor) -> None:
        """Take the statistics of the training split's targets ``(N, K)``."""
        values = targets.double()
        statistics = ColumnStatistics()
        statistics.update(values.log1p() if self.transform == "log" else values)
        self.mean.copy_(statistics.mean)
        self.std.copy_(statistics.std)
        self.get_buffer(f"{self.transform}_count").fill_(statistics.count)

    def plain(self) -> dict[str, Any]:
        """The transform and its statistics, as plain data."""
        if self.transform == "identity":
            return {"transform": self.transform}
        mean, std = self.mean.tolist(), self.std.tolist()
        return {"transform": self.transform, "mean": mean, "std": std}

    @classmethod
    def from_plain(cls, said: Mapping[str, Any]) -> Self:
        """The scaling whose ``plain`` this is; of another transform than the identity."""
        scaling = cls(len(said["mean"]), said["transform"])
        scaling.mean.copy_(torch.tensor(said["mean"]))
        scaling.std.copy_(torch.tensor(said["std"]))
        return scaling

    def forward(self, targets: Tensor) -> Tensor:
        """Targets ``(B, K)`` in original units to scaled ones."""
        if self.transform == "identity":
            return targets
        values = targets.log1p() if self.transform == "log" else targets
        return (values - self.mean) / self.std

    def undo(self, scaled: Tensor) -> Tensor:
        """Scaled values ``(B, K)`` to original units."""
        if self.transform == "identity":
            return scaled
        values = scaled * self.std + self.mean
        return values.expm1() if self.transform == "log" else values

    def undo_std(self, mean: Tensor, std: Tensor) -> Tensor:
        """Standard deviation in original units of a scaled normal distribution.

        Behind ``log`` that is the deviation of a log-normal distribution.

        Args:
            mean: Scaled mean ``(B, K)``.
            std: Scaled standard deviation ``(B, K)``.
        """
        if self.transform == "identity":
            return std
        std = std * self.std
        if self.transform == "standard":
            return std
        variance = std.square()
        return (mean * self.std + self.mean + variance / 2).exp() * variance.expm1().sqrt()
