"""Features as piecewise linear codes: what lets a small network bend where the data does."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PiecewiseLinear(nn.Module):
    """Each column as how far it has come through each of its bins, from 0 to 1.

    Bins lie between quantiles of the training split, so that a linear layer behind them is a
    piecewise linear function of each column, finest where the data is; after Gorishniy, Rubachev
    and Babenko, "On Embeddings for Numerical Features in Tabular Deep Learning" (2022). Values
    outside of the training split count as its ends. Bins that hold a single value, of columns whose
    values repeat, are 0.

    Args:
        columns: How many columns are encoded, the first ones; those behind them go through.
        bins: Bins of each, at least 1.
    """

    lower: Tensor
    slope: Tensor
    count: Tensor

    def __init__(self, columns: int, bins: int) -> None:
        super().__init__()
        self.columns = columns
        self.bins = bins
        # Until they are fitted, bins of equal width over two deviations of standardised columns.
        edges = torch.linspace(-2, 2, bins + 1)[:-1, None]
        self.register_buffer("lower", edges.repeat(1, columns))
        self.register_buffer("slope", torch.full((bins, columns), bins / 4))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def fit(self, values: Tensor) -> None:
        """Take the bins from rows of the training split.

        Args:
            values: ``(N, columns)``, at least one row.

        Raises:
            ValueError: If one is not finite.
        """
        if not values.isfinite().all():
            raise ValueError("features must be finite, found NaN or infinity: drop or fill them")
        places = torch.linspace(0, len(values) - 1, self.bins + 1, dtype=torch.float64)
        edges = values.sort(0).values[places.round().long().to(values.device)]
        slope = edges.diff(dim=0).reciprocal()
        self.lower.copy_(edges[:-1])
        self.slope.copy_(slope.where(slope.isfinite(), 0))
        self.count.fill_(len(values))

    def forward(self, x: Tensor) -> Tensor:
        """Columns ``(B, D)`` to ``(B, bins · columns + the others)``."""
        encoded = ((x[:, None, : self.columns] - self.lower) * self.slope).clamp_(0, 1)
        return torch.cat([encoded.flatten(1), x[:, self.columns :]], 1)
