"""The batch contract of ranking: ``(x, relevance, {"group": number of the query})``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lit_course.modules.batch import unpack


def unpack_queries(batch: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, relevance and the number of the query of each item ``(B,)``, of whole queries.

    Raises:
        TypeError: If it is no batch at all, see ``unpack``.
        ValueError: If the queries are not told, items of one do not stand together, or items have
            weights.
    """
    x, relevance, weight = unpack(batch)
    group = batch[2].get("group") if len(batch) == 3 else None
    if group is None:
        raise ValueError(
            "ranking needs to know the query of each item: give batches of whole queries "
            '(x, relevance, {"group": numbers}), or data that has queries'
        )
    if weight is not None:
        raise ValueError("ranking takes no weights of items: leave them out")
    if group.ndim != 1 or group.shape != x.shape[:1]:
        raise ValueError(
            f"group must be of shape ({len(x)},), found {tuple(group.shape)}: give the number of "
            "its query for each item"
        )
    queries = group[begins(group)]
    if len(queries.unique()) < len(queries):
        number, times = (values.tolist() for values in queries.unique(return_counts=True))
        torn = number[next(i for i, count in enumerate(times) if count > 1)]
        raise ValueError(
            f"the items of query {torn} do not stand together in a batch: sort the data by query"
        )
    return x, relevance, group


def begins(group: Tensor) -> Tensor:
    """Whether a query begins with an item, ``(B,)``, by the numbers of their queries."""
    changes = torch.ones_like(group, dtype=torch.bool)
    changes[1:] = group[1:] != group[:-1]
    return changes
