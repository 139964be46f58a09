"""Folds of a cross-validation: each is the test split once, seeded and disjoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lit_course.datamodules.splits import split_groups, split_queries, split_rows

Deal = Callable[..., dict[str, Tensor]]


@dataclass(frozen=True)
class Fold:
    """One of K folds. Its rows are tested on, of all others some are validated on.

    Args:
        number: Which one, from 0.
        of: K, at least 2.
    """

    number: int
    of: int

    def split(
        self,
        num_rows: int,
        *,
        val_size: int | float,
        seed: int,
        labels: Tensor | None,
        queries: Tensor | None,
        groups: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Whole groups or queries, where rows have any, else rows; arguments as below."""
        if groups is not None:
            return self.split_groups(groups, val_size=val_size, seed=seed)
        if queries is not None:
            return self.split_groups(queries, val_size=val_size, seed=seed, deal=split_queries)
        return self.split_rows(num_rows, val_size=val_size, seed=seed, labels=labels)

    def split_rows(
        self, num_rows: int, *, val_size: int | float, seed: int, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Deal rows out to K folds whose sizes differ by one at most, those of each class too.

        Args:
            num_rows: Number of rows in the data set.
            val_size: Validation rows, as in ``splits.split_rows``, of those outside of the fold.
            seed: Seed of the draw; one seed gives disjoint folds.
            labels: Class of each row, ``(num_rows,)`` int64.

        Raises:
            ValueError: If there are fewer rows, or rows of a class, than folds.
        """
        classes = torch.zeros(num_rows, dtype=torch.int64)
        if labels is not None:
            classes = torch.unique(labels, return_inverse=True)[1]
        rarest = int(classes.bincount().min()) if num_rows else 0
        if rarest < self.of:
            which = "rows" if labels is None else "rows of the rarest class"
            raise ValueError(f"{self.of} folds need {self.of} {which} at least, found {rarest}")
        order = torch.randperm(num_rows, generator=torch.Generator().manual_seed(seed))
        dealt = order[classes[order].argsort(stable=True)]
        mine = torch.zeros(num_rows, dtype=torch.bool)
        mine[dealt[self.number :: self.of]] = True
        rest = (~mine).nonzero().flatten()
        inner = split_rows(
            len(rest),
            val_size=val_size,
            test_size=0,
            seed=seed,
            labels=None if labels is None else labels[rest],
        )
        return self._named(mine, rest, inner)

    def split_groups(
        self, groups: Tensor, *, val_size: int | float, seed: int, deal: Deal = split_groups
    ) -> dict[str, Tensor]:
        """Deal whole groups out, the largest first, each to the smallest fold.

        Args:
            groups: Group of each row, ``(N,)`` int64.
            val_size: Validation rows, as in ``splits.split_groups``, of those outside of the fold.
            seed: Seed of the order among equals.
            deal: How the validation rows are cut out: ``splits.split_queries`` counts groups.

        Raises:
            ValueError: If there are fewer groups than folds.
        """
        _, group_of, sizes = torch.unique(groups, return_inverse=True, return_counts=True)
        if len(sizes) < self.of:
            raise ValueError(f"{self.of} folds need {self.of} groups at least, found {len(sizes)}")
        order = torch.randperm(len(sizes), generator=torch.Generator().manual_seed(seed))
        fold_of = torch.zeros(len(sizes), dtype=torch.int64)
        filled = torch.zeros(self.of, dtype=torch.int64)
        for group in order[sizes[order].argsort(descending=True, stable=True)].tolist():
            fold_of[group] = filled.argmin()
            filled[fold_of[group]] += sizes[group]
        mine = fold_of[group_of] == self.number
        rest = (~mine).nonzero().flatten()
        numbers = torch.unique(groups[rest], return_inverse=True)[1]
        inner = deal(numbers, val_size=val_size, test_size=0, seed=seed)
        return self._named(mine, rest, inner)

    @staticmethod
    def _named(mine: Tensor, rest: Tensor, inner: dict[str, Tensor]) -> dict[str, Tensor]:
        return {
            "train": rest[inner["train"]],
            "val": rest[inner["val"]],
            "test": mine.nonzero().flatten(),
        }
