"""Sums over the pairs of items of a query, without a loop over queries and in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from lit_course.queries import Queries

# 0.5 MB in float32: small enough to stay near a processor, large enough to keep it busy.
PAIRS_PER_TILE = 2**17

# From the scores of some rows (R, 1) and of all items of their queries (R, L), and the same of
# every other column, to one value for each row (R,).
RowFormula = Callable[..., Tensor]


def sum_over_rows(
    formula: RowFormula,
    scores: Tensor,
    columns: Sequence[Tensor],
    widths: Tensor,
    queries: Queries,
) -> Tensor:
    """The sum of a formula over rows of each query, each held against the first of its items.

    The gradient is taken tile by tile, together with the value: of pairs there are never more than
    ``PAIRS_PER_TILE`` in memory (or one row's), whatever the batch. Rows that are held against
    about as many share a tile, so that little of it is more than was asked for; what is, the
    formula must count as 0.

    Args:
        formula: Called with ``own, others`` of the scores and of each column: ``(R, 1)`` and
            ``(R, W)``; gives ``(R,)``. Only scores have a gradient.
        scores: ``(N,)``, padded with minus infinity.
        columns: Other values ``(N,)`` of the items, padded with 0.
        widths: How many of the first items of its query each row is held against, ``(N,)`` int64;
            rows of 0 are left out.
        queries: Of the N rows.

    Returns:
        ``(Q,)``.
    """
    fixed = scores.detach()
    tables = [queries.padded(fixed, -math.inf), *(queries.padded(c, 0) for c in columns)]
    wants_gradient = torch.is_grad_enabled() and scores.requires_grad
    values = fixed.new_zeros(len(queries))
    own_gradient, table_gradient = torch.zeros_like(fixed), torch.zeros_like(tables[0])
    for tile, width in _tiles(widths):
        query = queries.of_row[tile]
        own = [column[tile, None] for column in (fixed, *columns)]
        others = [table[:, :width].index_select(0, query) for table in tables]
        with torch.set_grad_enabled(wants_gradient):
            pair = [leaf.requires_grad_(wants_gradient) for leaf in (own[0], others[0])]
            values_of_rows = formula(*(x for both in zip(own, others, strict=True) for x in both))
            if wants_gradient:
                of_own, of_others = torch.autograd.grad(values_of_rows.sum(), pair)
                own_gradient[tile] = of_own.squeeze(1)
                table_gradient[:, :width].index_add_(0, query, of_others)
        values.index_add_(0, query, values_of_rows.detach())
    if not wants_gradient:
        return values
    gradient = own_gradient + table_gradient[queries.of_row, queries.place]
    return values + queries.sum((scores - fixed) * gradient)  # the sum is 0, its gradient is not


def _tiles(widths: Tensor) -> Iterator[tuple[Tensor, int]]:
    """Rows that share a tile, and the largest of their widths."""
    widths, rows = widths.sort(descending=True, stable=True)
    start, end = 0, int((widths > 0).sum())
    while start < end:
        width = int(widths[start])
        count = max(1, PAIRS_PER_TILE // width)
        yield rows[start : min(start + count, end)], width
        start += count
