"""Some rows of many, chosen as they come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor

Columns = dict[str, Tensor]


class Sample:
    """The rows of the highest priority among all that were added.

    With random priorities that is a uniform sample. Samples of several processes are put together
    by the same rule. Nothing waits for a device.

    Args:
        limit: The most rows that are kept.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._priority: list[Tensor] = []
        self._pieces: list[Columns] = []
        self._length = 0

    def add(self, priority: Tensor, columns: Mapping[str, Tensor]) -> None:
        """Add rows.

        Args:
            priority: ``(B,)``, without NaN.
            columns: Tensors ``(B, ...)`` by name, the same names at each call.
        """
        self._append(*_highest(priority, dict(columns), self.limit))
        if self._length > 2 * self.limit:
            self._prune()

    def rows(self) -> tuple[Tensor, Columns]:
        """Priorities, the highest first, and their rows."""
        self._prune()
        return (self._priority[0], self._pieces[0]) if self._pieces else (torch.empty(0), {})

    def cpu(self) -> Self:
        """The same, to be sent to another process."""
        self._prune()
        self._priority = [part.cpu() for part in self._priority]
        self._pieces = [{name: v.cpu() for name, v in part.items()} for part in self._pieces]
        return self

    def merge(self, other: Sample) -> None:
        """Take the rows of another one too."""
        for priority, columns in zip(other._priority, other._pieces, strict=True):
            self._append(priority, columns)

    def _append(self, priority: Tensor, columns: Columns) -> None:
        self._priority.append(priority)
        self._pieces.append(columns)
        self._length += len(priority)

    def _prune(self) -> None:
        if not self._pieces:
            return
        names = self._pieces[0]
        columns = {name: torch.cat([part[name] for part in self._pieces]) for name in names}
        kept = _highest(torch.cat(self._priority), columns, self.limit, in_order=True)
        self._priority, self._pieces, self._length = [], [], 0
        self._append(*kept)


def _highest(
    priority: Tensor, columns: Columns, limit: int, in_order: bool = False
) -> tuple[Tensor, Columns]:
    if len(priority) <= limit and not in_order:
        return priority, columns
    priority, chosen = priority.topk(min(limit, len(priority)))
    return priority, {name: v.index_select(0, chosen.to(v.device)) for name, v in columns.items()}
