"""Raw tables to tensors: fitted on training rows, applied to any rows, kept as plain data."""

from __future__ import annotations

import re
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
        missing: How many training rows have none; None where nobody counts.
        distinct: How many different ones there are, in the same way.
        use: What becomes of it.
        left_out: Whether it is not learned from.
        warning: What the user should look at, if anything.
    """

    name: str
    kind: str
    missing: int | None
    distinct: int | None
    use: str
    left_out: bool = False
    warning: str = ""


class Table:
    """The columns that a model learns from, as their training rows have shown them.

    Args:
        columns: What each column is; the features come in this order.
        missing_values: Texts that stand for a missing value, beside ``MISSING``.
        left_out: Names of columns that there was nothing to learn from.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        missing_values: Sequence[str] = (),
        left_out: Sequence[str] = (),
    ) -> None:
        self.columns = list(columns)
        self.missing_values = list(missing_values)
        self.left_out = list(left_out)
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
            if described.left_out:
                table.left_out.append(name)
            else:
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

    def transform(self, raw: RawTable, first_row: int = 1) -> Iterator[Tensor]:
        """Any rows with these columns to complete features ``(n, D)`` float32, some at a time.

        Args:
            raw: A table.
            first_row: The number that messages give to its first row.

        Raises:
            ColumnError: If columns are missing, or a value is not of its column's kind.
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
                for values in column.features(cells, first_row=start + first_row):
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
            "left_out": self.left_out,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The table whose ``state_dict`` this is."""
        columns = [Column(**column) for column in state["columns"]]
        return cls(columns, state["missing_values"], state.get("left_out", ()))


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
    elif not forced:
        warning = _warning(column, present, distinct)
    missing = values.null_count()
    return Described(column.name, column.kind, missing, distinct, use, constant or free, warning)


def _use(column: Column) -> str:
    if column.kind == "category":
        rare = ", rare ones together" if column.others else ""
        return f"{len(column.levels)} level{'s' * (len(column.levels) != 1)}{rare}"
    number = "0 or 1" if column.kind == "boolean" else "a number"
    parts = ", ".join(column.parts) or number
    return f"{parts}, missing: median and indicator" if column.missing else parts


def _is_free(distinct: int, rows: int) -> bool:
    return distinct > FEW_LEVELS and 2 * distinct > rows


# How columns are often named whose integers have no order.
_IDENTIFIERS = re.compile(r"(^|[_\W])(id|uuid|key|index|nr|no)$", re.IGNORECASE)
_CODES = re.compile(r"zip|post(al)?_?code|plz|(^|[_\W])code$", re.IGNORECASE)


def _warning(column: Column, present: pl.Series, distinct: int) -> str:
    """What a column that is learned from may rather be."""
    name = column.name
    if column.kind == "category":
        if present.cast(pl.String).str.contains(r"^[+-]?\d[\d.,:/ -]*$").all():
            return (
                f"{name!r} is taken for levels and looks like numbers or dates, {present[0]!r}: "
                "write decimals with a point and dates as 2024-02-29"
            )
        return ""
    if column.kind != "number" or not present.dtype.is_integer():
        return ""
    if distinct == len(present) > FEW_LEVELS:
        span = int(present.max()) - int(present.min()) + 1  # type: ignore[arg-type]  # integers
        if span <= 4 * len(present) or _IDENTIFIERS.search(name):
            return f"{name!r} differs in every row, as an identifier does: name it in `ignore`?"
    elif _CODES.search(name):
        return f"{name!r} is taken for a number: if it holds codes, name it in `categorical`"
    return ""
