"""What a raw column is, judged by its training rows, and how it becomes numbers.

A ``Column`` holds all that was fitted, as plain data; it goes into checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import time
from typing import Any, Literal, Self

import polars as pl

Kind = Literal["number", "boolean", "date", "category"]

# How dates that are text may be written; the first one that fits every training row is taken.
DATE_FORMATS = ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y/%m/%d", "%d.%m.%Y")
# Text with more levels than this, and more than half as many as rows, is free text.
FEW_LEVELS = 20
_OF_THE_DAY = ("hour", "minute")
_OF_THE_YEAR = ("year", "month", "day", "weekday")


class ColumnError(ValueError):
    """A column that can't be learned from, by name; the caller knows which file it is in."""


@dataclass(frozen=True)
class Column:
    """One raw column and what its training rows have shown.

    It becomes one or several features, float32: a number as it is, a boolean as 0 or 1, a date as
    its parts, a category as a code. Codes 0 to L - 1 are the levels, L is a missing value, L + 1
    any other. Missing numbers are replaced by ``fill``; where training rows had them a feature of
    0 and 1 says so.

    Args:
        name: Name of the column.
        kind: ``number``, ``boolean``, ``date`` or ``category``.
        missing: Whether training rows had missing values.
        fill: What replaces a missing value: the training median, of every part.
        parts: Parts of a date, as attributes of polars' ``dt``.
        format: How a date that is text is written; None for a column of dates.
        levels: Levels of a category, as text.
        others: Whether training rows had values beyond the levels, too rare to be levels.
    """

    name: str
    kind: Kind
    missing: bool = False
    fill: list[float] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    format: str | None = None
    levels: list[str] = field(default_factory=list)
    others: bool = False

    def state_dict(self) -> dict[str, Any]:
        """As plain data; ``Column(**state)`` is the same column."""
        return asdict(self)

    @property
    def feature_names(self) -> list[str]:
        """Names of the features that it becomes."""
        if self.kind == "category":
            return [self.name]
        values = [f"{self.name}.{part}" for part in self.parts] or [self.name]
        return [*values, f"{self.name}.missing"] if self.missing else values

    # ------------------------------------------------------------- fit

    @classmethod
    def fit(
        cls, values: pl.Series, rows: pl.Series, *, category: bool = False, min_frequency: int = 1
    ) -> Self:
        """Judge a column by its training rows.

        Args:
            values: Cleaned values (see ``cleaned``) of the training rows, not all missing.
            rows: Numbers of these rows in the table, for messages.
            category: Whether its values are levels whatever they look like.
            min_frequency: A level seen in fewer rows is no level of its own.

        Raises:
            ColumnError: If numbers and text are mixed, or the type is none of a table's.
        """
        there = values.is_not_null()
        present = values.filter(there)
        kind, written = ("category", None) if category else _kind(present, rows.filter(there))
        column = cls(values.name, kind, missing=len(present) < len(values), format=written)
        if kind == "category":
            counts = as_text(present).value_counts()
            frequent = counts.filter(pl.col("count") >= min_frequency)[values.name]
            levels = sorted(frequent.to_list())
            return column._with(levels=levels, others=len(levels) < len(counts))
        if kind == "date":
            dates = column._dates(present)
            timed = dates.dtype != pl.Date and bool((dates.dt.time() != time()).any())
            column = column._with(parts=[*_OF_THE_YEAR, *(_OF_THE_DAY if timed else ())])
        return column._with(fill=[_median(part) for part in column._numbers(present)])

    def _with(self, **changes: Any) -> Self:
        return type(self)(**{**asdict(self), **changes})

    # ------------------------------------------------------------- transform

    def features(self, values: pl.Series, first_row: int = 1) -> list[pl.Series]:
        """Cleaned values of any rows to complete float32 features, one for each feature name.

        Args:
            values: See ``cleaned``.
            first_row: The number that messages give to the first row.

        Raises:
            ColumnError: If a value is not of this kind; the first such row is named.
        """
        if self.kind == "category":
            return [self._codes(values)]
        numbers = self._numbers(values, first_row)
        filled = zip(numbers, self.fill, strict=True)
        features = [part.fill_null(fill).cast(pl.Float32) for part, fill in filled]
        if self.missing:
            features.append(values.is_null().cast(pl.Float32))
        return features

    def _codes(self, values: pl.Series) -> pl.Series:
        missing, other = len(self.levels), len(self.levels) + 1
        if values.dtype.is_nested():
            raise ColumnError(f"{self.name!r} is of type {values.dtype}: training saw levels")
        codes = as_text(values).replace_strict(
            self.levels, range(missing), default=other, return_dtype=pl.Float32
        )
        return codes.set(values.is_null(), missing)

    def _numbers(self, values: pl.Series, first_row: int = 1) -> list[pl.Series]:
        """Each part as float64, missing values as null."""
        if self.kind == "date":
            dates = self._dates(values, first_row)
            return [getattr(dates.dt, part)().cast(pl.Float64) for part in self.parts]
        if self.kind == "boolean" and values.dtype == pl.String:
            lower = values.str.to_lowercase()
            numbers = lower.replace_strict({"false": 0.0, "true": 1.0}, default=None)
        else:
            numbers = as_numbers(values)
        numbers = numbers.fill_nan(None)
        bad = values.is_not_null() & numbers.is_null()
        if self.kind == "boolean":
            bad |= ~numbers.is_in([0.0, 1.0])
        self._refuse(values, bad, f"not a {self.kind}", first_row)
        self._refuse(values, numbers.abs() > _LARGEST, "too large for float32", first_row)
        return [numbers]

    def _dates(self, values: pl.Series, first_row: int = 1) -> pl.Series:
        if values.dtype in (pl.Date, pl.Datetime):
            return values
        written = self.format or DATE_FORMATS[0]
        dates = _parsed(values.cast(pl.String), written)
        bad = values.is_not_null() & dates.is_null()
        self._refuse(values, bad, f"not a date written as {written}", first_row)
        return dates

    def _refuse(self, values: pl.Series, bad: pl.Series, what: str, first_row: int) -> None:
        if bad.any():
            i = bad.fill_null(value=False).arg_max() or 0
            raise ColumnError(f"{self.name!r}: {values[i]!r} in row {first_row + i} is {what}")


_LARGEST = 3.4e38  # of float32


def as_numbers(values: pl.Series) -> pl.Series:
    """Numbers, texts and booleans as float64; null for what is none of these, or no number."""
    plain = values.dtype.is_numeric() or values.dtype in (pl.String, pl.Boolean, pl.Null)
    if not plain:  # a date is not its number of days
        return pl.repeat(None, len(values), dtype=pl.Float64, eager=True)
    return values.cast(pl.Float64, strict=False)


def _median(numbers: pl.Series) -> float:
    median = numbers.median()
    assert isinstance(median, float)
    return median


def cleaned(values: pl.Series, marks: Sequence[str]) -> pl.Series:
    """A column without what only stands for a missing value.

    Args:
        values: A raw column.
        marks: Texts that stand for a missing value; NaN always does.

    Returns:
        Text stripped of spaces around it, decimals as floats, missing values as null.
    """
    if values.dtype.is_decimal():
        return values.cast(pl.Float64)
    if values.dtype in (pl.Categorical, pl.Enum):
        values = values.cast(pl.String)
    if values.dtype == pl.String:
        stripped = values.str.strip_chars()
        return stripped.set(stripped.is_in(marks).fill_null(value=False), None)
    return values.fill_nan(None) if values.dtype.is_float() else values


def _kind(present: pl.Series, rows: pl.Series) -> tuple[Kind, str | None]:
    """What complete values are, and how they are written if they are dates in text."""
    dtype = present.dtype
    if dtype == pl.Boolean:
        return "boolean", None
    if dtype.is_numeric():
        return "number", None
    if dtype in (pl.Date, pl.Datetime):
        return "date", None
    if dtype != pl.String:
        raise ColumnError(
            f"{present.name!r} is of type {dtype}: give numbers, text, booleans or dates, or "
            "leave it out with `ignore`"
        )
    if present.str.to_lowercase().is_in(["true", "false"]).all():
        return "boolean", None
    numbers = present.cast(pl.Float64, strict=False).is_not_null()
    if numbers.all():
        return "number", None
    for written in DATE_FORMATS:
        if _parsed(present, written).is_not_null().all():
            return "date", written
    if numbers.mean() >= 0.9:  # type: ignore[operator]  # polars says that a mean may be a date
        text, row = present.filter(~numbers)[0], rows.filter(~numbers)[0]
        raise ColumnError(
            f"{present.name!r} holds numbers and text, {text!r} in row {row}: correct it, give "
            f"{text!r} to `missing_values`, or name the column in `categorical`"
        )
    return "category", None


def _parsed(text: pl.Series, written: str) -> pl.Series:
    if "%H" in written:
        return text.str.to_datetime(written, strict=False)
    return text.str.to_date(written, strict=False)


def as_text(values: pl.Series) -> pl.Series:
    """Levels as text, alike whether whole numbers came as 3 or, beside missing ones, as 3.0."""
    if values.dtype.is_float():
        exact = values.cast(pl.Int64, strict=False)
        whole = (exact == values).fill_null(value=False)
        return exact.cast(pl.String).zip_with(whole, values.cast(pl.String))
    return values.cast(pl.String)


def in_order(values: pl.Series) -> pl.Series:
    """Cleaned values as numbers or dates, which have an order that is meant.

    Raises:
        ColumnError: If they are text, or some are missing; the first such row is named, from 1.
    """
    missing = values.is_null()
    if missing.any():
        row = (missing.arg_max() or 0) + 1
        raise ColumnError(f"{values.name!r} has no value in row {row}: it is to order the rows")
    kind, written = _kind(values, pl.Series(range(1, len(values) + 1)))
    if kind not in ("date", "number"):
        raise ColumnError(f"{values.name!r} holds neither dates nor numbers, which have an order")
    if values.dtype != pl.String:
        return values
    return values.cast(pl.Float64) if written is None else _parsed(values, written)
