"""Exact least squares in float64, streamed over the rows: plain torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

# Rows of a block: few enough for the processor's cache (6 MB at a hundred columns), many enough
# that threads seldom wait for one another.
ROWS = 8192
# Largest condition number of the scaled Gram matrix, the square of the design's, that is solved by
# Cholesky. Forming that matrix costs a relative error of eps · cond², cond the design's; promised
# are 100 · eps · cond, which is not less up to cond = 100.
MAX_GRAM_CONDITION = 1e4

EPS = torch.finfo(torch.float64).eps

# One pass over the rows, in batches: x (B, D) and y (B, K), floats of any precision.
Read = Callable[[], Iterable[tuple[Tensor, Tensor]]]
# From a tensor of this process to those of all processes, in the same order in each.
Gather = Callable[[Tensor], list[Tensor]]


@dataclass(frozen=True)
class LeastSquares:
    """Weights that minimise ``sum (x @ w + b - y)² + l2 · sum w²``, for each target.

    Attributes:
        weight: ``(K, D)`` float64.
        intercept: ``(K,)`` float64; zeros without an intercept.
        samples: Rows that it was found from.
        rank: Of the centred design, the penalty included. Below D the weights are not determined:
            of all that predict alike these have the least norm.
        orthogonal: Whether the second pass was needed.
    """

    weight: Tensor
    intercept: Tensor
    samples: int
    rank: int
    orthogonal: bool


def least_squares(
    read: Read,
    in_features: int,
    out_features: int = 1,
    *,
    intercept: bool = True,
    l2: float = 0.0,
    device: torch.device | str = "cpu",
    gather: Gather = lambda part: [part],
) -> LeastSquares:
    """Solve a linear least-squares problem whose rows need not fit in memory at once.

    One pass gathers the normal equations of centred columns, which are scaled and solved by
    Cholesky where the design's condition number is at most 100. Else a second pass updates a QR
    factorisation, and the singular values of R give the solution; those below
    ``eps · max(rows, D)`` of the largest are taken for zero, as ``numpy.linalg.lstsq`` does.

    The relative error is at most about ``100 · eps · cond``, with cond the design's, beside what
    the data themselves allow: where the residual r is large, any method errs by
    ``eps · cond² · |r| / |y|`` too. The order of the rows changes last bits; batch sizes do not.

    Args:
        read: Called once or twice; each pass must give the same rows.
        in_features: D.
        out_features: K.
        intercept: Whether ``b`` is fitted; else it is zero, and nothing is centred.
        l2: Weight of the penalty, ``alpha`` of scikit-learn's ``Ridge``; never on ``b``.
        device: Where to compute.
        gather: Of several processes, each with rows of its own, how they exchange a tensor.

    Raises:
        ValueError: If there is no row, a value is not finite, or the passes differ.
    """
    columns = in_features + out_features
    own = _Moments(columns, intercept, device)
    for block in _blocks(read(), columns, device):
        own.update(block)
    moments = _Moments(columns, intercept, device)
    for state in gather(own.state):
        moments.merge(*_Moments.unpack(state.to(device)))
    if not moments.count:
        raise ValueError("least squares needs at least one row, found none")
    if not moments.products.isfinite().all():
        raise ValueError("features and targets must be finite, found NaN or infinity")

    weight = _normal_equations(moments, in_features, l2)
    rank = int(moments.norms[:in_features].isfinite().sum())
    orthogonal = weight is None
    if weight is None:
        triangle, count = _triangle(read(), moments, device)
        if count != own.count:
            raise ValueError(
                f"the first pass over the training data gave {own.count} rows, the second {count}: "
                "give a loader that can be iterated again"
            )
        parts = torch.cat([part.to(device) for part in gather(triangle)])
        weight, rank = _minimum_norm(parts, in_features, intercept, l2, moments.count)
    x_mean, y_mean = moments.mean[:in_features], moments.mean[in_features:]
    return LeastSquares(weight.T, y_mean - x_mean @ weight, moments.count, rank, orthogonal)


def _blocks(
    batches: Iterable[tuple[Tensor, Tensor]], columns: int, device: torch.device | str
) -> Iterator[Tensor]:
    """Blocks ``[x y]`` of the same rows whatever the batches; each overwrites the one before."""
    block = torch.empty(ROWS, columns, dtype=torch.float64, device=device)
    filled = 0
    for x, y in batches:
        taken = 0
        while taken < len(x):
            count = min(ROWS - filled, len(x) - taken)
            rows = block[filled : filled + count]
            rows[:, : x.shape[1]] = x[taken : taken + count]
            rows[:, x.shape[1] :] = y[taken : taken + count]
            taken += count
            filled += count
            if filled == ROWS:
                yield block
                filled = 0
    if filled:
        yield block[:filled]


class _Moments:
    """Count, means and centred products of columns, merged as Chan, Golub and LeVeque (1979) do."""

    def __init__(self, columns: int, centred: bool, device: torch.device | str) -> None:
        self.count = 0
        self.centred = centred  # else all means are taken for zero
        self.mean = torch.zeros(columns, dtype=torch.float64, device=device)
        self.products = torch.zeros(columns, columns, dtype=torch.float64, device=device)

    def update(self, block: Tensor) -> None:
        """Add rows; the block is overwritten."""
        mean = block.mean(0) if self.centred else torch.zeros_like(self.mean)
        block -= mean
        self.merge(len(block), mean, block.T @ block)

    def merge(self, count: int, mean: Tensor, products: Tensor) -> None:
        if not count:
            return
        total = self.count + count
        step = mean - self.mean
        self.products += products
        self.products.addr_(step, step, alpha=self.count * count / total)
        self.mean += step * (count / total)
        self.count = total

    @property
    def state(self) -> Tensor:
        """All of it in one tensor."""
        count = torch.full_like(self.mean, self.count)
        return torch.cat([count[None], self.mean[None], self.products])

    @staticmethod
    def unpack(state: Tensor) -> tuple[int, Tensor, Tensor]:
        return int(state[0, 0]), state[1], state[2:]

    @property
    def norms(self) -> Tensor:
        """Norm of each centred column; infinite where that is rounding alone: it tells nothing."""
        norms = self.products.diagonal().sqrt()
        constant = norms <= 10 * EPS * self.mean.abs() * self.count**0.5
        return norms.masked_fill(constant, torch.inf)


def _normal_equations(moments: _Moments, in_features: int, l2: float) -> Tensor | None:
    """The weights ``(D, K)``; None where they would not be exact enough."""
    norms = moments.norms[:in_features]
    gram = moments.products[:in_features, :in_features] / norms / norms[:, None]
    gram.diagonal().copy_(1 + l2 / norms.square())
    if moments.count < in_features and not l2:
        return None
    eigenvalues = torch.linalg.eigvalsh(gram)
    if not eigenvalues[-1] <= MAX_GRAM_CONDITION * eigenvalues[0]:
        return None
    right = moments.products[:in_features, in_features:] / norms[:, None]
    factor = torch.linalg.cholesky(gram)
    return torch.cholesky_solve(right, factor) / norms[:, None]


def _triangle(
    batches: Iterable[tuple[Tensor, Tensor]], moments: _Moments, device: torch.device | str
) -> tuple[Tensor, int]:
    """R of ``[1 x y]``, centred, and the number of rows."""
    # The mean only keeps numbers small; the column of ones takes out what rounding left of it.
    columns = len(moments.mean)
    triangle = moments.mean.new_zeros(0, columns + 1)
    count = 0
    for block in _blocks(batches, columns, device):
        count += len(block)
        block -= moments.mean
        rows = torch.nn.functional.pad(block, (1, 0), value=1.0)
        triangle = torch.linalg.qr(torch.cat([triangle, rows]), mode="r").R
    return triangle, count


def _minimum_norm(
    parts: Tensor, in_features: int, intercept: bool, l2: float, samples: int
) -> tuple[Tensor, int]:
    """The weights ``(D, K)`` and the rank, from stacked R."""
    if not intercept:
        parts = parts[:, 1:]
    triangle = torch.linalg.qr(parts, mode="r").R
    if intercept:
        triangle = triangle[1:, 1:]
    design, right = triangle[:, :in_features], triangle[:, in_features:]
    if l2:
        penalty = l2**0.5 * torch.eye(in_features, dtype=parts.dtype, device=parts.device)
        design = torch.cat([design, penalty])
        right = torch.cat([right, right.new_zeros(in_features, right.shape[1])])
    u, values, v = torch.linalg.svd(design, full_matrices=False)
    kept = values > EPS * max(samples, in_features) * values[:1]
    scaled = (u[:, kept].T @ right) / values[kept, None]
    return v[kept].T @ scaled, int(kept.sum())
