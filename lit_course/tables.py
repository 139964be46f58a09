"""Raw tables to tensors: fitted on training rows, applied to any rows, kept as plain data."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import polars as pl
import torch
from torch import Tensor

from lit_course.columns import FEW_LEVELS, Column, ColumnError, cleaned
from lit_course.names import nearest
from lit_course.raw_table import RawTable

# What stands for a missing value in a table of text, whatever the column.
MISSING = ("", "?", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")


@dataclass(frozen=True)
class Described:
    """A line of the table that a user is shown before training.

    Args:
        name: Name of the column.
        kind: What its values are.
        missing: How many training rows have none.
        distinct: How many different ones there are.
        use: What becomes of it.
        left_out: Whether it is not learned from.
        warning: What the user should look at, if anything.
    """

    name: str
    kind: str
    missing: int
    distinct: int
    use: str
    left_out: bool = False
    warning: str = ""


class Table:
    """The columns that a model learns from, as their training rows have shown them.

    Args:
        columns: What each column is; the features come in this order.
        missing_values: Texts that stand for a missing value, beside ``MISSING``.
    """

    def __init__(self, columns: Sequence[Column], missing_values: Sequence[str] = ()) -> None:
        self.columns = list(columns)
        self.missing_values = list(missing_values)
        self.described: list[Described] = []  # of a table that was just fitted

    @classmethod
    def fit(
        cls,
        raw: RawTable,
        rows: Tensor,
        names: Sequence[str],
        *,
        categorical: Collection[str] = (),
        missing_values: Sequence[str] = (),
        min_frequency: int = 1,
    ) -> Self:
        """Judge columns by the training rows, and by nothing else.

        Constant columns and free text are left out; ``described`` says so.

        Args:
            raw: A table.
            rows: Numbers of its training rows, ascending.
            names: Names of the columns to learn from.
            categorical: Those whose values are levels whatever they look like.
            missing_values: Texts that stand for a missing value, beside ``MISSING``.
            min_frequency: A level seen in fewer training rows is no level of its own.

        Raises:
            ColumnError: If a column can't be learned from, or none is left.
        """
        table = cls([], missing_values)
        index = pl.Series(rows.numpy())
        empty = []
        for name in names:
            values = cleaned(raw.column(name).gather(index), table._marks)
            if values.null_count() == len(values):
                empty.append(repr(name))
                continue
            forced = name in categorical
            column = Column.fit(values, index + 1, category=forced, min_frequency=min_frequency)
            described = _describe(column, values, forced)
            table.described.append(described)
            if not described.left_out:
                table.columns.append(column)
        if empty:
            raise ColumnError(
                f"{', '.join(empty)}: no value in any of the {len(rows)} training rows; leave "
                "such columns out with `ignore`"
            )
        if not table.columns:
            raise ColumnError(
                "no column is left to learn from; left out: "
                + "; ".join(f"{line.name!r} {line.use}" for line in table.described)
            )
        return table

    def transform(self, raw: RawTable) -> Iterator[Tensor]:
        """Any rows with these columns to complete features ``(n, D)`` float32, some at a time.

        Raises:
            ColumnError: If columns are missing, or a value is not of its column's kind; rows count
                from 1.
        """
        names = [column.name for column in self.columns]
        absent = [name for name in names if name not in raw.columns]
        if absent:
            close = nearest(absent[0], raw.columns)
            raise ColumnError(f"no column {', '.join(map(repr, absent))}{close}")
        for start, frame in raw.pieces(names):
            features = torch.empty(len(frame), len(self.feature_names))
            position = 0
            for column in self.columns:
                cells = cleaned(frame[column.name], self._marks)
                for values in column.features(cells, first_row=start + 1):
                    features[:, position] = torch.from_numpy(values.to_numpy(writable=True))
                    position += 1
            yield features

    @property
    def feature_names(self) -> list[str]:
        """Names of the features."""
        return [name for column in self.columns for name in column.feature_names]

    @property
    def _marks(self) -> list[str]:
        return [*MISSING, *self.missing_values]

    def state_dict(self) -> dict[str, Any]:
        """All that was fitted, as plain data."""
        return {
            "columns": [column.state_dict() for column in self.columns],
            "missing_values": self.missing_values,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The table whose ``state_dict`` this is."""
        return cls([Column(**column) for column in state["columns"]], state["missing_values"])


def _describe(column: Column, values: pl.Series, forced: bool) -> Described:
    present = values.drop_nulls()
    distinct = present.n_unique()
    constant = distinct == 1 < len(values) and not column.missing
    free = column.kind == "category" and not forced and _is_free(distinct, len(present))
    use, warning = _use(column), ""
    if constant:
        use = "left out: constant"
    elif free:
        use = "left out: free text or identifiers"
        warning = f"{column.name!r} is {use}; if its values are levels, name it in `categorical`"
    elif present.dtype.is_integer() and _counts_rows(present):
        warning = f"{column.name!r} counts the rows, as an identifier does: name it in `ignore`?"
    missing = values.null_count()
    return Described(column.name, column.kind, missing, distinct, use, constant or free, warning)


def _use(column: Column) -> str:
    if column.kind == "category":
        rare = ", rare ones together" if column.others else ""
        return f"{len(column.levels)} levels{rare}"
    parts = ", ".join(column.parts) or "a number"
    return f"{parts}, missing: median and indicator" if column.missing else parts


def _is_free(distinct: int, rows: int) -> bool:
    return distinct > FEW_LEVELS and 2 * distinct > rows


def _counts_rows(present: pl.Series) -> bool:
    """Whether integers differ all and leave few gaps, as row numbers do in a part of the rows."""
    if len(present) <= FEW_LEVELS or present.n_unique() < len(present):
        return False
    span = int(present.max()) - int(present.min()) + 1  # type: ignore[arg-type]  # integers
    return span <= 4 * len(present) and bool(present.is_sorted())
