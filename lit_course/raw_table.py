"""A table of raw columns that need not be in memory: read a column, or some rows, at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, TypeVar

import polars as pl

from lit_course.names import nearest

T = TypeVar("T")

_VALUES_PER_PIECE = 2**23  # 64 MB of numbers
_MIN_ROWS = 2**14  # of fewer, a wide table's pieces would be too many


class RawTable:
    """Columns as they come, with their names and types.

    Args:
        frame: A frame in memory, or a file that is only scanned.

    Raises:
        ValueError: Here or later, if what is scanned can't be read.
    """

    def __init__(self, frame: pl.DataFrame | pl.LazyFrame) -> None:
        self._frame = frame
        self._schema = reading(frame.lazy().collect_schema)
        self._length: int = _collected(frame.lazy().select(pl.len())).item()

    def __len__(self) -> int:
        return self._length

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return self._schema.names()

    @property
    def texts(self) -> set[str]:
        """Names of the columns of text."""
        return {name for name, dtype in self._schema.items() if dtype == pl.String}

    def column(self, name: str) -> pl.Series:
        """All values of a column.

        Raises:
            ValueError: If there is none of this name.
        """
        if name not in self._schema:
            raise ValueError(f"no column {name!r}{nearest(name, self.columns)}")
        if isinstance(self._frame, pl.DataFrame):
            return self._frame.get_column(name)
        return _collected(self._frame.select(pl.col(name))).get_column(name)

    def pieces(self, columns: Sequence[str]) -> Iterator[tuple[int, pl.DataFrame]]:
        """All rows in their order, some at a time: the number of the first one, and the rows.

        Args:
            columns: The columns to read, of those that are there.
        """
        rows = max(_MIN_ROWS, _VALUES_PER_PIECE // max(1, len(columns)))
        chosen = self._frame.select(columns)
        for start in range(0, len(self), rows):
            yield start, _collected(chosen.slice(start, rows))


def is_frame(data: object) -> bool:
    """Whether it is a data frame, or something much like one."""
    kind = type(data)
    return hasattr(kind, "__arrow_c_stream__") or hasattr(kind, "columns")


def as_polars(name: str, frame: Any, wanted: Collection[str] | None = None) -> pl.DataFrame:
    """A data frame as polars', without a copy where the memory's layout allows it.

    Args:
        name: What to call it in messages.
        frame: Of polars, pandas, pyarrow, or any other with the Arrow PyCapsule interface.
        wanted: Names of columns, all if not given; others may hold what polars cannot read. If one
            is missing, the columns have no rows.

    Raises:
        TypeError: If it is none.
        ValueError: If it can't be read as a table.
    """
    if isinstance(frame, pl.LazyFrame):
        return reading(frame.collect, f"{name} cannot be read as a table")
    if not hasattr(frame, "__arrow_c_stream__"):
        raise TypeError(
            f"{name} must be a data frame of polars, pandas (2.2 or newer, with pyarrow) or "
            f"pyarrow, found {type(frame).__name__}"
        )
    if wanted is not None:
        frame = _with_columns(frame, wanted)
    return reading(lambda: pl.DataFrame(frame), f"{name} cannot be read as a table")


def _with_columns(frame: Any, wanted: Collection[str]) -> Any:
    """The columns of these names; if one is missing no row, but the names that there are."""
    is_pandas = hasattr(frame, "iloc") and hasattr(frame, "columns")
    if not is_pandas and type(frame).__module__.partition(".")[0] != "pyarrow":
        return frame  # polars looks at no column before its turn
    names = [str(name) for name in (frame.columns if is_pandas else frame.schema.names)]
    if not set(wanted) <= set(names):
        return pl.DataFrame(schema=list(dict.fromkeys(names)))
    chosen = [i for i, name in enumerate(names) if name in wanted]
    return frame.iloc[:, chosen] if is_pandas else frame.select(chosen)


def _collected(frame: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    return frame if isinstance(frame, pl.DataFrame) else reading(frame.collect)


def reading(read: Callable[[], T], failed: str = "cannot be read as a table") -> T:
    """Let polars read.

    Raises:
        ValueError: If it can't; what has failed, and why.
    """
    try:
        return read()
    except pl.exceptions.NoDataError as error:
        raise ValueError("is empty: a header and rows are needed.") from error
    # A damaged file may set off any error of polars, or a panic, which is no Exception even.
    except (Exception, pl.exceptions.PanicException) as error:
        reason = str(error).partition("\n")[0][:300] or type(error).__name__
        raise ValueError(f"{failed}: {reason}.") from error
