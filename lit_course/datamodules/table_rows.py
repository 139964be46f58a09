"""Which split each row of a table goes to."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
import torch
from torch import Tensor

from lit_course.columns import as_text, in_order
from lit_course.datamodules.folds import Fold
from lit_course.datamodules.splits import split_groups, split_in_time, split_queries, split_rows

# What the column that names the split may say.
SPLIT_NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val"}
SPLIT_NAMES |= {"validation": "val", "dev": "val", "test": "test", "testing": "test"}


@dataclass(frozen=True)
class Cut:
    """How rows are cut into splits: at random, or as one of the columns says.

    Args:
        group_column: Rows that are alike in this column stay in one split.
        time_column: Train on the earliest rows, validate on later ones, test on the last.
        split_column: The split of each row: train, val or test.

    Raises:
        ValueError: If more than one is given.
    """

    group_column: str | None = None
    time_column: str | None = None
    split_column: str | None = None

    def __post_init__(self) -> None:
        given = [name for name, column in vars(self).items() if column]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} each say how to cut the rows: give one.")

    @property
    def column(self) -> str | None:
        """The column that says it."""
        return self.group_column or self.time_column or self.split_column

    def split(
        self,
        said: pl.Series | None,
        rows: pl.Series,
        *,
        val_size: int | float,
        test_size: int | float,
        seed: int,
        classes: pl.Series | None,
        queries: Tensor | None = None,
        fold: Fold | None = None,
    ) -> dict[str, Tensor]:
        """Numbers of the rows of ``"train"``, ``"val"`` and ``"test"``, each in their order.

        Args:
            said: Cleaned values of ``column``, in all rows of the table.
            rows: Numbers of the rows that are cut.
            val_size: Validation rows, as in ``split_rows``.
            test_size: Test rows, in the same way.
            seed: Seed of the draw.
            classes: Cleaned values that each split has its share of, where nothing else is said.
            queries: Number of each row's query: whole ones are cut then, and sizes count these.
            fold: Of a cross-validation, what is tested on instead of ``test_size``.

        Raises:
            ValueError: If the rows are not to be cut so.
        """
        if fold is not None and (self.time_column or self.split_column):
            given = "time_column" if self.time_column else "split_column"
            raise ValueError(
                f"{given} says which rows are tested on, and cross-validation tests on every row "
                "once: leave one of them out"
            )
        if fold is not None:
            groups = None if said is None else _codes(said.gather(rows))
            labels = None if classes is None else _codes(classes.gather(rows))
            parts = fold.split(
                len(rows),
                val_size=val_size,
                seed=seed,
                labels=labels,
                groups=groups,
                queries=queries,
            )
        elif said is None and queries is not None:
            parts = split_queries(queries, val_size=val_size, test_size=test_size, seed=seed)
        elif said is None:
            labels = None if classes is None else _codes(classes.gather(rows))
            parts = split_rows(
                len(rows), val_size=val_size, test_size=test_size, seed=seed, labels=labels
            )
        elif self.split_column is not None:
            parts = _named(said.gather(rows), rows)
        elif self.time_column is not None:
            times = _tensor(in_order(said).gather(rows).rank("dense"))
            parts = split_in_time(times, val_size=val_size, test_size=test_size)
        else:
            groups = _codes(said.gather(rows))
            parts = split_groups(groups, val_size=val_size, test_size=test_size, seed=seed)
        numbers = _tensor(rows)
        return {name: numbers[part] for name, part in parts.items()}


def number_queries(queries: pl.Series) -> tuple[Tensor, list[str]]:
    """Number of each row's query ``(N,)``, from 0 in their order, and the name of each.

    Args:
        queries: Cleaned values of the column that says it.

    Raises:
        ValueError: If a row has none, or the rows of a query do not stand together.
    """
    if queries.has_nulls():
        row = (queries.is_null().arg_max() or 0) + 1
        raise ValueError(f"{queries.name!r} has no value in row {row}: it is to name a query")
    names = as_text(queries)
    begins = names != names.shift(1, fill_value="")
    begins[0] = True
    first = begins.arg_true()
    again = ~names.gather(first).is_first_distinct()
    if again.any():
        row = first.filter(again)[0]
        raise ValueError(
            f"{queries.name!r}: query {names[row]!r} again in row {row + 1}: the rows of a query "
            "stand together; sort them"
        )
    return _tensor(begins.cast(pl.Int64).cum_sum() - 1), names.gather(first).to_list()


def _named(names: pl.Series, rows: pl.Series) -> dict[str, Tensor]:
    """Places of each split, of a column that names it."""
    said = names.cast(pl.String).str.to_lowercase().replace_strict(SPLIT_NAMES, default=None)
    if said.has_nulls():
        position = said.is_null().arg_max() or 0
        raise ValueError(
            f"{names.name!r} says {names[position]!r} in row {rows[position] + 1}: a split is "
            "train, val or test"
        )
    return {name: _tensor((said == name).arg_true()) for name in ("train", "val", "test")}


def _codes(values: pl.Series) -> Tensor:
    """A number for each different value, in their order."""
    return _tensor(values.rank("dense").fill_null(0))


def _tensor(values: pl.Series) -> Tensor:
    return torch.from_numpy(values.cast(pl.Int64).to_numpy(writable=True))
