"""Batches of whole queries: the data loader of ranking data."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from lit_course.datamodules.batches import Batch, Batches


class QueryBatches(Batches):
    """Yield ``(x, y, {"group": ...})`` batches of whole queries, cut out with one ``index_select``.

    It is :class:`Batches` over queries instead of rows: their order, the parts of several processes
    and where an interrupted epoch goes on are the same, counted in queries. A query is never cut,
    and its rows come in the order of the data set.

    Args:
        x: Features of the data set, one row per item.
        y: Relevance of the items.
        group: Number of each item's query, ``(N,)`` int64: from 0 in the order of the data set, the
            rows of a query together.
        queries: Numbers (int64) of the queries that form the split; ``None`` takes every query.
        batch_size: Queries per batch; the last batch may be smaller.
        shuffle: Whether each epoch has its own order of queries.
        drop_last: Whether to leave out a last step that is smaller; only ``in_step``.
        seed: Seed of the order.
        with_rows: Whether extras have the rows' numbers in the data set too, as ``"row"``.
        first_batch: Called at the start of an iteration for the number of its first batch.
        rank: Which of the processes this is, from 0.
        world_size: Number of processes.
        in_step: Whether all processes make the same number of steps; else each query comes once.
    """

    unit, units = "query", "queries"

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        group: Tensor,
        queries: Tensor | None = None,
        *,
        batch_size: int,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int = 0,
        with_rows: bool = False,
        first_batch: Callable[[], int] = int,
        rank: int = 0,
        world_size: int = 1,
        in_step: bool = True,
    ) -> None:
        sizes = group.bincount()
        super().__init__(
            sizes.cumsum(0) - sizes,
            sizes,
            queries,
            batch_size=batch_size,
            shuffle=shuffle,
            drop_last=drop_last,
            seed=seed,
            with_rows=True,  # the numbers of the queries
            first_batch=first_batch,
            rank=rank,
            world_size=world_size,
            in_step=in_step,
        )
        self._items = x, y
        self._sizes = sizes if queries is None else sizes[queries]
        self._with_item_rows = with_rows

    @property
    def last_batch(self) -> int:
        """Fewest rows that the last batch of training may have, on any process."""
        return int(self._sizes.sort().values[: super().last_batch].sum())

    def __iter__(self) -> Iterator[Batch]:
        x, y = self._items
        for starts, sizes, *extras in super().__iter__():
            ends = sizes.cumsum(0)
            rows = torch.arange(int(sizes.sum())) + (starts - ends + sizes).repeat_interleave(sizes)
            named = {"row": rows} if self._with_item_rows else {}
            named["group"] = extras[0]["row"].repeat_interleave(sizes)
            yield x.index_select(0, rows), y.index_select(0, rows), named
