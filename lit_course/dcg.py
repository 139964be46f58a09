"""Discounted cumulative gain (Järvelin and Kekäläinen, 2002): what losses and metrics share of it.

DCG@k is the sum over the first k ranks of gain / log2(1 + rank).
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from lit_course.queries import Queries

Gain = Literal["linear", "exponential"]
MAX_RELEVANCE = 50  # 2^50 items of relevance 1 are worth one of this; sums are exact to there


def check_gain(gain: str) -> None:
    """Refuse an unknown gain."""
    if gain not in get_args(Gain):
        raise ValueError(f"gain must be 'linear' or 'exponential', found {gain!r}")


def gains(relevance: Tensor, gain: Gain) -> Tensor:
    """What it is worth to show an item: its relevance, or 2^relevance - 1."""
    return relevance if gain == "linear" else torch.exp2(relevance) - 1


def discounts(ranks: Tensor, k: int | None = None) -> Tensor:
    """1 / log2(1 + rank) of ranks from 1, float64; 0 beyond rank k."""
    values = 1 / torch.log2(1 + ranks.double())
    return values if k is None else values.where(ranks <= k, 0)


def ideal_dcg(gained: Tensor, queries: Queries, k: int | None = None) -> Tensor:
    """DCG@k of the best order of each query, ``(Q,)``."""
    best = gained[queries.descending(gained)]
    return queries.sum(best * discounts(queries.place + 1, k).to(gained.dtype))
