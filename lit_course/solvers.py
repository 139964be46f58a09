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

# Rows x (B, D) and y (B, K), floats of any precision, and their weights (B,) if they have any.
Batch = tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor | None]
# One pass over the rows, in batches.
Read = Callable[[], Iterable[Batch]]
# From a tensor of this process to those of all processes, in the same order in each.
Gather = Callable[[Tensor], list[Tensor]]


@dataclass(frozen=True)
class LeastSquares:
    """Weights w that minimise ``sum v (x @ w + b - y)² + l2 · sum w²``, for each target.

    v is the weight of a row, 1 unless it is given.

    Attributes:
        weight: ``(K, D)`` float64.
        intercept: ``(K,)`` float64; zeros without an intercept.
        samples: Rows that it was found from.
        total_weight: Sum of their weights.
        rank: Of the centred design, the penalty included. Below D the weights are not determined:
            of all that predict alike these have the least norm.
        orthogonal: Whether the second pass was needed.
    """

    weight: Tensor
    intercept: Tensor
    samples: int
    total_weight: float
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
    for block, row_weights in _blocks(read(), columns, device):
        own.update(block, row_weights)
    moments = _Moments(columns, intercept, device)
    for state in gather(own.state):
        moments.merge(*_Moments.unpack(state.to(device)))
    if not moments.count:
        raise ValueError("least squares needs at least one row of a weight above 0, found none")
    if not moments.products.isfinite().all():
        raise ValueError("features, targets and weights must be finite, found NaN or infinity")

    weight = _normal_equations(moments, in_features, l2)
    rank = int(moments.norms[:in_features].isfinite().sum())
    orthogonal = weight is None
    if weight is None:
        triangle, rows = _triangle(read(), moments, device)
        if rows != own.rows:
            raise ValueError(
                f"the first pass over the training data gave {own.rows} rows, the second {rows}: "
                "give a loader that can be iterated again"
            )
        parts = torch.cat([part.to(device) for part in gather(triangle)])
        weight, rank = _minimum_norm(parts, in_features, intercept, l2, moments.rows)
    x_mean, y_mean = moments.mean[:in_features], moments.mean[in_features:]
    return LeastSquares(
        weight=weight.T,
        intercept=y_mean - x_mean @ weight,
        samples=moments.rows,
        total_weight=moments.count,
        rank=rank,
        orthogonal=orthogonal,
    )


def _blocks(
    batches: Iterable[Batch], columns: int, device: torch.device | str
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Blocks ``[x y]`` of the same rows whatever the batches; each overwrites the one before.

    Beside it the rows' weights; None as long as no row had one.
    """
    block = torch.empty(ROWS, columns, dtype=torch.float64, device=device)
    weights = torch.ones(ROWS, dtype=torch.float64, device=device)
    weighted = False
    filled = 0
    for x, y, *given in batches:
        weight = given[0] if given else None
        weighted |= weight is not None
        taken = 0
        while taken < len(x):
            count = min(ROWS - filled, len(x) - taken)
            rows = block[filled : filled + count]
            rows[:, : x.shape[1]] = x[taken : taken + count]
            rows[:, x.shape[1] :] = y[taken : taken + count]
            of_rows = 1.0 if weight is None else weight[taken : taken + count]
            weights[filled : filled + count] = of_rows
            taken += count
            filled += count
            if filled == ROWS:
                yield block, weights if weighted else None
                filled = 0
    if filled:
        yield block[:filled], weights[:filled] if weighted else None


class _Moments:
    """Means and centred products of columns, merged as Chan, Golub and LeVeque (1979) do.

    Of weighted rows ``count`` is the sum of the weights; ``rows`` is their number all the same.
    """

    def __init__(self, columns: int, centred: bool, device: torch.device | str) -> None:
        self.rows = 0
        self.count = 0.0
        self.centred = centred  # else all means are taken for zero
        self.mean = torch.zeros(columns, dtype=torch.float64, device=device)
        self.products = torch.zeros(columns, columns, dtype=torch.float64, device=device)

    def update(self, block: Tensor, weights: Tensor | None) -> None:
        """Add rows; the block is overwritten."""
        count = len(block) if weights is None else float(weights.sum())
        mean = torch.zeros_like(self.mean)
        if self.centred and count:
            mean = block.mean(0) if weights is None else weights @ block / count
        block -= mean
        if weights is not None:
            block *= weights.sqrt()[:, None]
        self.merge(len(block), count, mean, block.T @ block)

    def merge(self, rows: int, count: float, mean: Tensor, products: Tensor) -> None:
        self.rows += rows
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
        rows, count = (torch.full_like(self.mean, number) for number in (self.rows, self.count))
        return torch.cat([torch.stack([rows, count, self.mean]), self.products])

    @staticmethod
    def unpack(state: Tensor) -> tuple[int, float, Tensor, Tensor]:
        return int(state[0, 0]), float(state[1, 0]), state[2], state[3:]

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
    if moments.rows < in_features and not l2:
        return None
    eigenvalues = torch.linalg.eigvalsh(gram)
    if not eigenvalues[-1] <= MAX_GRAM_CONDITION * eigenvalues[0]:
        return None
    right = moments.products[:in_features, in_features:] / norms[:, None]
    factor = torch.linalg.cholesky(gram)
    return torch.cholesky_solve(right, factor) / norms[:, None]


def _triangle(
    batches: Iterable[Batch], moments: _Moments, device: torch.device | str
) -> tuple[Tensor, int]:
    """R of ``[1 x y]``, centred and weighted, and the number of rows."""
    # The mean only keeps numbers small; the column of ones takes out what rounding left of it.
    columns = len(moments.mean)
    triangle = moments.mean.new_zeros(0, columns + 1)
    count = 0
    for block, weights in _blocks(batches, columns, device):
        count += len(block)
        block -= moments.mean
        rows = torch.nn.functional.pad(block, (1, 0), value=1.0)
        if weights is not None:
            rows *= weights.sqrt()[:, None]
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
