"""Which rows of a batch belong to one query: rows of a query stand together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Queries:
    """The queries of N rows.

    Args:
        first: Number of the first row of each query, ``(Q,)`` int64.
        sizes: Rows of each query, ``(Q,)`` int64, at least 1.
    """

    first: Tensor
    sizes: Tensor

    @classmethod
    def begin(cls, begins: Tensor) -> Self:
        """The queries of rows that say of themselves whether a query begins with them.

        Args:
            begins: ``(N,)``, not 0 where one does; of any dtype. The first row does always.
        """
        first = begins.nonzero().squeeze(1)
        ends = torch.cat([first[1:], first.new_full((len(first[:1]),), len(begins))])
        return cls(first, ends - first)

    def __len__(self) -> int:
        return len(self.first)

    @cached_property
    def of_row(self) -> Tensor:
        """The query of each row, counted from 0, ``(N,)``."""
        return torch.arange(len(self), device=self.first.device).repeat_interleave(self.sizes)

    @cached_property
    def place(self) -> Tensor:
        """Place of each row within its query, from 0, ``(N,)``."""
        rows = torch.arange(len(self.of_row), device=self.first.device)
        return rows - self.first[self.of_row]

    def sum(self, values: Tensor) -> Tensor:
        """Sum over the rows of each query: ``(N, ...)`` to ``(Q, ...)``."""
        total = values.new_zeros(len(self), *values.shape[1:])
        return total.index_add(0, self.of_row, values)

    def padded(self, values: Tensor, fill: float) -> Tensor:
        """Values ``(N,)`` as ``(Q, L)``, L the rows of the largest query."""
        width = int(self.sizes.max())
        table = values.new_full((len(self), width), fill)
        return table.index_put((self.of_row, self.place), values)

    def descending(self, values: Tensor) -> Tensor:
        """Row numbers such that within each query values ``(N,)`` descend; equal ones keep order.

        The queries stay where they are: row i of the result is of the query of row i.
        """
        if values.dtype != torch.float32:
            order = values.argsort(descending=True, stable=True)
            return order[self.of_row[order].argsort(stable=True)]
        # The bits of floats, those of negative ones turned round, are in the floats' own order;
        # behind the number of the query they sort in one go, as integers six times as fast. A zero
        # is added since there is a negative one.
        bits = (values + 0.0).view(torch.int32).long()
        ascending = bits ^ (bits >> 31 & 0x7FFFFFFF)
        return ((self.of_row << 32) - ascending).argsort(stable=True)

    def ranks(self, scores: Tensor) -> Tensor:
        """Rank of each row within its query, ``(N,)`` int64: 1 has the highest score.

        Equal scores are ranked in their order.
        """
        ranks = torch.empty_like(self.place)
        ranks[self.descending(scores)] = self.place + 1
        return ranks
