"""Input scaling: column statistics gathered in float64, and the layer that applies them.

Scaling lives inside the network, as buffers, so that a checkpoint takes raw features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_VALUES_PER_PIECE = 2**18  # 2 MB in float64: what a processor keeps near itself


class ColumnStatistics:
    """Count, mean and standard deviation of each feature, gathered batch by batch in float64.

    A table ``(B, D)`` has D features; an image ``(B, C, H, W)`` has one mean and one deviation per
    channel. uint8 values are taken as fractions of 255, as the network will see them. Batches are
    merged by the formula of Chan, Golub and LeVeque (1979), which keeps its accuracy where the
    deviation is small beside the mean.
    """

    def __init__(self) -> None:
        self.count = 0  # samples
        self._shape = torch.Size()
        self._values = 0  # values of each column: one a sample in a table, H·W in an image
        self._mean = torch.zeros(1, dtype=torch.float64)
        self._squares = torch.zeros(1, dtype=torch.float64)

    def update(self, x: Tensor) -> None:
        """Add the samples of one batch.

        Args:
            x: Raw features, ``(B, D)`` or ``(B, C, ...)``, any dtype.
        """
        self._shape = x.shape[1:]
        for piece in torch.split(x, rows_per_piece(x.shape[1:])):
            columns = as_float(piece, torch.float64).transpose(0, 1).flatten(1)
            mean = columns.mean(1)
            squares = (columns - mean[:, None]).square_().sum(1)
            self._merge(columns.shape[1], mean, squares)
        self.count += len(x)

    def merge(self, other: ColumnStatistics) -> None:
        """Add the samples that another one has seen."""
        if other.count:
            self._shape = other._shape
        self._merge(other._values, other._mean, other._squares)
        self.count += other.count

    def _merge(self, new: int, mean: Tensor, squares: Tensor) -> None:
        if new == 0:
            return
        total = self._values + new
        delta = mean - self._mean
        self._squares = self._squares + squares + delta.square() * (self._values * new / total)
        self._mean = self._mean + delta * (new / total)
        self._values = total

    @property
    def mean(self) -> Tensor:
        """Mean of each feature after flattening, ``(D,)`` float64."""
        return self._per_feature(self._mean)

    @property
    def std(self) -> Tensor:
        """Population standard deviation of each feature, ``(D,)`` float64; 1 where it is constant.

        scikit-learn's ``StandardScaler`` scales a constant feature by 1 too.
        """
        std = (self._squares / max(self._values, 1)).sqrt()
        # Rounding leaves a constant column with a deviation of a few ulps of its mean.
        constant = std <= 10 * torch.finfo(torch.float64).eps * self._mean.abs()
        return self._per_feature(std.masked_fill(constant, 1.0))

    def _per_feature(self, values: Tensor) -> Tensor:
        return values.repeat_interleave(self._shape.numel() // max(1, len(values)))


class InputScaling(nn.Module):
    """Flatten raw features, turn them into floats, and standardise them with stored statistics.

    uint8 is divided by 255 (torchvision's convention), other dtypes are converted. With
    ``standardize`` the result is ``(x - mean) / std``; both are buffers and travel in checkpoints,
    with ``count``, the number of samples they were taken from (0: not fitted yet, the identity).

    Args:
        in_features: Number of features after flattening.
        standardize: Whether to hold and apply statistics. Without, only dtype and shape change.
    """

    mean: Tensor
    std: Tensor
    count: Tensor

    def __init__(self, in_features: int, standardize: bool = True) -> None:
        super().__init__()
        self.in_features = in_features
        self.standardize = standardize
        if standardize:
            self.register_buffer("mean", torch.zeros(in_features))
            self.register_buffer("std", torch.ones(in_features))
            self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def fit(self, statistics: ColumnStatistics) -> None:
        """Take the statistics of the training split.

        Raises:
            ValueError: If a feature is not finite everywhere.
        """
        mean, std = statistics.mean, statistics.std
        bad = (~(mean + std).isfinite()).nonzero()
        if len(bad):
            raise ValueError(
                f"features must be finite, found NaN or infinity in column {int(bad[0])}: drop or "
                "fill those values"
            )
        self.mean.copy_(mean)
        self.std.copy_(std)
        self.count.fill_(statistics.count)

    def forward(self, x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Raw features ``(B, ...)`` to floats ``(B, in_features)``, of torch's default dtype."""
        given = flatten(x, self.in_features)
        x = as_float(given, dtype or torch.get_default_dtype())
        if not self.standardize:
            return x
        centred = x - self.mean if x is given else x.sub_(self.mean)  # what was given is not ours
        return centred.div_(self.std)


def rows_per_piece(shape: torch.Size) -> int:
    """How many samples of a shape to take at a time, so that copies of them stay small."""
    return max(1, _VALUES_PER_PIECE // max(1, shape.numel()))


def flatten(x: Tensor, in_features: int) -> Tensor:
    """Samples ``(B, ...)`` to ``(B, in_features)``.

    Raises:
        ValueError: If a sample has another number of features.
    """
    if x.ndim < 2:
        raise ValueError(
            f"the model takes a batch of samples (B, ...), found one of shape {tuple(x.shape)}: "
            "a single feature is (B, 1), a single sample (1, ...)"
        )
    x = x.flatten(1)
    if x.shape[1] != in_features:
        raise ValueError(
            f"the model takes {in_features} features a sample, found {x.shape[1]}: "
            "give it data with the features it was built for"
        )
    return x


def as_float(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert to ``dtype``; uint8 becomes a fraction of 255."""
    return x.to(dtype).div_(255) if x.dtype == torch.uint8 else x.to(dtype)
