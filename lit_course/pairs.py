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
    rows: Tensor,
    queries: Queries,
) -> Tensor:
    """The sum of a formula over rows of each query, each row held against all items of its query.

    The gradient is taken tile by tile, together with the value: of pairs there are never more than
    ``PAIRS_PER_TILE`` in memory (or one row's), whatever the batch. Rows of queries of like size
    share a tile, so that little of it is padding.

    Args:
        formula: Called with ``own, others`` of the scores and of each column: ``(R, 1)`` and
            ``(R, L)``; gives ``(R,)``. Only scores have a gradient.
        scores: ``(N,)``, padded with minus infinity.
        columns: Other values ``(N,)`` of the items, padded with 0.
        rows: Numbers of the rows to sum over, ``(R,)``.
        queries: Of the N rows.

    Returns:
        ``(Q,)``.
    """
    fixed = scores.detach()
    tables = [queries.padded(fixed, -math.inf), *(queries.padded(c, 0) for c in columns)]
    wants_gradient = torch.is_grad_enabled() and scores.requires_grad
    values = fixed.new_zeros(len(queries))
    own_gradient, table_gradient = torch.zeros_like(fixed), torch.zeros_like(tables[0])
    for tile, width in _tiles(rows, queries):
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


def _tiles(rows: Tensor, queries: Queries) -> Iterator[tuple[Tensor, int]]:
    """Rows that share a tile, and the size of the largest of their queries."""
    sizes, order = queries.sizes[queries.of_row[rows]].sort(descending=True, stable=True)
    rows = rows[order]
    start = 0
    while start < len(rows):
        width = int(sizes[start])
        end = start + max(1, PAIRS_PER_TILE // width)
        yield rows[start:end], width
        start = end
