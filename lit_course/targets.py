"""What a table's target columns hold: classes by name, or numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import polars as pl
import torch
from torch import Tensor

from lit_course.columns import ColumnError, as_numbers, as_text

Task = Literal["auto", "classification", "regression"]

# An integer column with more values than this is a quantity, unless told otherwise.
MAX_CLASSES = 20


@dataclass(frozen=True)
class Targets:
    """The target columns, as their training rows have shown them.

    Args:
        names: Names of the columns.
        class_names: Name of each class; None for a regression.
    """

    names: list[str]
    class_names: list[str] | None = None

    @classmethod
    def fit(cls, columns: Sequence[pl.Series], task: Task) -> Self:
        """Judge target columns by their training rows.

        Args:
            columns: Cleaned values of the training rows, complete.
            task: Whether they are classes; ``auto`` looks at the values.

        Raises:
            ColumnError: If they can't be the targets of such a task.
        """
        names = [column.name for column in columns]
        first = numbers(columns[0])
        classes = len(columns) == 1 and _looks_like_classes(first)
        if task == "regression" or (task == "auto" and not classes):
            return cls(names)
        if len(columns) > 1:
            raise ColumnError(f"a classification has one target column, found {', '.join(names)}")
        if first.dtype.is_float() and not (first == first.round()).all():
            raise ColumnError(
                f"{first.name!r} holds fractions, and classes are whole numbers, text or "
                "booleans: set task to regression"
            )
        classes_found = first.unique().sort()
        if len(classes_found) < 2:
            raise ColumnError(
                f"{first.name!r} holds one class only, {as_text(classes_found)[0]!r}: at least 2 "
                "are needed to learn from"
            )
        if len(classes_found) == len(first) > 2:
            raise ColumnError(
                f"{first.name!r} differs in each of the {len(first)} rows, and a class is to be "
                "learned from several: is it the target?"
            )
        return cls(names, as_text(classes_found).to_list())

    def tensor(self, columns: Sequence[pl.Series]) -> Tensor:
        """Cleaned values of any rows: labels ``(N,)`` int64, values ``(N,)`` or ``(N, K)`` float32.

        A missing target is -1 or NaN.

        Raises:
            ColumnError: For a class that training never saw, or text among numbers, with its row.
        """
        if self.class_names is None:
            values = [_tensor(_complete(column)) for column in columns]
            return values[0] if len(values) == 1 else torch.stack(values, 1)
        labels, text = columns[0], as_text(numbers(columns[0]))
        codes = text.replace_strict(
            self.class_names, range(len(self.class_names)), default=None, return_dtype=pl.Int64
        )
        unseen = (labels.is_not_null() & codes.is_null()).arg_true()
        if len(unseen):
            row = unseen[0]
            raise ColumnError(
                f"{labels.name!r}: class {text[row]!r} in row {row + 1} is in no training row"
            )
        return torch.from_numpy(codes.fill_null(-1).to_numpy(writable=True))

    @property
    def num_classes(self) -> int | None:
        """Number of classes; None for a regression."""
        return None if self.class_names is None else len(self.class_names)

    def unknown(self, rows: int) -> Tensor:
        """Targets of rows that have none."""
        if self.class_names is not None:
            return torch.full((rows,), -1)
        shape = (rows,) if len(self.names) == 1 else (rows, len(self.names))
        return torch.full(shape, torch.nan)

    def labelled(self, y: Tensor) -> Tensor:
        """Which rows have a target, ``(N,)``."""
        if self.class_names is not None:
            return y >= 0
        known = ~y.isnan()
        return known if y.ndim == 1 else known.all(1)


def numbers(column: pl.Series) -> pl.Series:
    """Text that is numbers throughout as numbers, whole ones as integers; else the column."""
    if column.dtype != pl.String:
        return column
    parsed = column.cast(pl.Float64, strict=False)
    if (parsed.is_null() & column.is_not_null()).any():
        return column
    whole = parsed.cast(pl.Int64, strict=False)
    return whole if whole.eq_missing(parsed).all() else parsed


def _looks_like_classes(column: pl.Series) -> bool:
    """Text, booleans, or integers that are exactly 0..C-1."""
    if column.dtype in (pl.Boolean, pl.String):
        return True
    num_values = column.n_unique()
    return (
        column.dtype.is_integer()
        and 2 <= num_values <= MAX_CLASSES
        and column.min() == 0
        and column.max() == num_values - 1
    )


def _complete(column: pl.Series) -> pl.Series:
    values = as_numbers(column)
    text = (column.is_not_null() & values.is_null()).arg_true()
    if len(text):
        row = text[0]
        raise ColumnError(
            f"{column.name!r}: {column[row]!r} in row {row + 1} is not a number; for a "
            "classification set task to classification"
        )
    return values.fill_null(float("nan"))


def _tensor(column: pl.Series) -> Tensor:
    return torch.from_numpy(column.cast(pl.Float32).to_numpy(writable=True))
