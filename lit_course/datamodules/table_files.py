"""Tables in files: CSV, TSV and Parquet, read with polars."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import polars as pl

from lit_course.datamodules.expansion import UnsoundFileError, check_expansion
from lit_course.datamodules.given_file import given_file
from lit_course.datamodules.table_cache import TableCache, identity
from lit_course.datamodules.text_faults import is_compressed, no_utf8, ragged_row
from lit_course.raw_table import RawTable, reading

T = TypeVar("T")

SEPARATORS = {".csv": ",", ".tsv": "\t"}
_HEAD = 10_000  # rows that types are guessed from; a guess that fails is not kept


def scan_table(
    file: str,
    missing_values: Sequence[str] = (),
    cache: TableCache | None = None,
    texts: Collection[str] = (),
) -> RawTable:
    """Open a table with a header and at least one row.

    A Parquet file is read as far as it is needed. Text is parsed once, into memory or, with a
    cache, into a file on disk.

    Args:
        file: Path that ends in ``.csv``, ``.tsv`` or ``.parquet``.
        missing_values: Texts of a CSV or TSV file that stand for a missing value; a column of
            numbers and of these is read as numbers.
        cache: Where a typed copy of text is kept; in memory if there is none.
        texts: Columns whose cells are text as they are written, ``01`` too.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a table, has no rows, or two columns of one name.
    """
    path = Path(file).expanduser()
    suffix = path.suffix.lower()
    if suffix != ".parquet" and suffix not in SEPARATORS:
        raise ValueError(f"{path} must end in .csv, .tsv or .parquet, found {suffix!r}.")
    given_file(file)
    try:
        if suffix == ".parquet":
            table = RawTable(pl.scan_parquet(path, glob=False))
            check_expansion(path, 8 * len(table) * len(table.columns))
        else:
            table = _text(path, SEPARATORS[suffix], list(missing_values), cache, texts)
    except UnsoundFileError:
        raise
    except ValueError as error:
        fault = suffix in SEPARATORS and (no_utf8(path) or ragged_row(path, SEPARATORS[suffix]))
        reason = f"cannot be read as a table: {fault}." if fault else error
        raise ValueError(f"{path} {reason}") from error
    if len(table) == 0:
        raise ValueError(f"{path} has a header but no rows.")
    return table


def _text(
    path: Path,
    separator: str,
    marks: list[str],
    cache: TableCache | None,
    texts: Collection[str],
) -> RawTable:
    if is_compressed(path):
        raise UnsoundFileError(f"{path} is compressed: unpack it first.")
    names = _header(path, separator)
    as_written = {name: pl.String for name in names if name in texts}

    def scan(rows_to_guess_from: int | None, rows: int | None = None) -> pl.LazyFrame:
        return pl.scan_csv(
            path,
            separator=separator,
            null_values=marks or None,
            infer_schema_length=rows_to_guess_from,
            n_rows=rows,
            schema_overrides=as_written,
            # polars leaves quotes within quotes of a header doubled.
            with_column_names=lambda found: names if len(found) == len(names) else found,
            glob=False,
        )

    # A last line that is empty is no row; polars makes one of each.
    blank = _blank_lines(path) if len(names) > 1 else 0

    def parse(keep: Callable[[pl.LazyFrame], T]) -> T:
        # Types are of all rows: text in the last one must not surprise the first ten thousand.
        with suppress(pl.exceptions.ComputeError):
            head = scan(_HEAD, _HEAD).collect()
            if all(column.null_count() < len(column) for column in head):
                return keep(scan(_HEAD))
        return keep(scan(None))

    def check(table: RawTable) -> RawTable:
        # Rows that were cut short look like missing values at their end.
        if len(names) > 1 and table.column(table.columns[-1]).has_nulls():
            fault = ragged_row(path, separator)
            if fault is not None:
                raise UnsoundFileError(f"{path} cannot be read as a table: {fault}.")
        return table

    if cache is None:
        frame = reading(lambda: parse(pl.LazyFrame.collect))
        return check(RawTable(frame.head(len(frame) - blank)))

    def copy(partial: Path) -> None:
        failed = f"cannot be read into {cache.folder}"
        reading(lambda: parse(lambda frame: frame.sink_parquet(partial)), failed)
        check(without_blank(partial))

    def without_blank(file: Path) -> RawTable:
        rows = pl.scan_parquet(file, glob=False)
        return RawTable(rows.head(len(RawTable(rows)) - blank))

    key = [identity(path), separator, marks, sorted(as_written), pl.__version__]
    return without_blank(cache.file(key, ".parquet", copy))


def _header(path: Path, separator: str) -> list[str]:
    # polars renames repeated columns silently, so the header is read as a row of its own.
    first = pl.scan_csv(
        path, separator=separator, has_header=False, n_rows=1, infer_schema_length=0, glob=False
    )
    lines = reading(first.collect).rows()
    if not lines:
        raise ValueError("has no line that ends: is a quote not closed?")
    header = [name or "" for name in lines[0]]
    repeated = [repr(name) for name, count in Counter(header).items() if count > 1]
    if repeated:
        raise UnsoundFileError(
            f"{path} has several columns of one name, {', '.join(repeated)}: rename them (the "
            "first line is the header)."
        )
    return header


def _blank_lines(path: Path) -> int:
    """How many of the last lines are empty."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2**16))
        tail = file.read()
    return max(0, tail[len(tail.rstrip(b"\r\n")) :].count(b"\n") - 1)
