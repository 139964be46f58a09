"""Read a CSV, TSV or Parquet file, or say in one line why not."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import polars as pl

from lit_course.datamodules.expansion import UnsoundFileError, check_expansion

SEPARATORS = {".csv": ",", ".tsv": "\t"}
# polars would unpack what begins so, whatever it grows to: gzip, zstd, zlib.
COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"x\x01", b"x\x9c", b"x\xda")


def read_table(file: str, missing_values: Sequence[str] = ()) -> pl.DataFrame:
    """Read a table with a header and at least one row.

    Args:
        file: Path that ends in ``.csv``, ``.tsv`` or ``.parquet``.
        missing_values: Texts of a CSV or TSV file that stand for a missing value; a column of
            numbers and of these is read as numbers.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a table, has no rows, or two columns of one name.
    """
    path = Path(file).expanduser()
    suffix = path.suffix.lower()
    if suffix != ".parquet" and suffix not in SEPARATORS:
        raise ValueError(f"{path} must end in .csv, .tsv or .parquet, found {suffix!r}.")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: give a file in it.")
    if not path.is_file():
        raise FileNotFoundError(f"No file {path} (looked from {Path.cwd()}).")
    try:
        if suffix == ".parquet":
            table = _read_parquet(path)
        else:
            table = _read_text(path, SEPARATORS[suffix], list(missing_values))
    except pl.exceptions.NoDataError as error:
        raise ValueError(f"{path} is empty: a header and rows are needed.") from error
    except UnsoundFileError:
        raise
    # A damaged file may set off any error of polars, or a panic, which is no Exception even.
    except (Exception, pl.exceptions.PanicException) as error:
        found = _first_fault(path, SEPARATORS[suffix]) if suffix in SEPARATORS else None
        reason = found or str(error).partition("\n")[0][:300] or type(error).__name__
        raise ValueError(f"{path} cannot be read as a {suffix} table: {reason}.") from error
    if table.is_empty():
        raise ValueError(f"{path} has a header but no rows.")
    return table


def _read_parquet(path: Path) -> pl.DataFrame:
    table = pl.scan_parquet(path)
    num_values = table.select(pl.len()).collect().item() * len(table.collect_schema())
    check_expansion(path, 8 * num_values)
    return table.collect()


def _read_text(path: Path, separator: str, marks: list[str]) -> pl.DataFrame:
    with path.open("rb") as file:
        if file.read(4).startswith(COMPRESSED):
            raise UnsoundFileError(f"{path} is compressed: unpack it first.")
    # polars renames repeated columns silently, so the header is read as a row of its own first.
    header = pl.read_csv(
        path, separator=separator, has_header=False, n_rows=1, infer_schema_length=0
    ).row(0)
    repeated = [repr(name or "") for name, count in Counter(header).items() if count > 1]
    if repeated:
        raise UnsoundFileError(
            f"{path} has several columns of one name, {', '.join(repeated)}: rename them."
        )
    # Types are inferred from every row: text in the last one must not surprise the first thousand.
    table = pl.read_csv(
        path, separator=separator, infer_schema_length=None, null_values=marks or None
    )
    if len(header) == table.width:  # polars leaves quotes within quotes of a header doubled
        names = zip(header, table.columns, strict=True)
        table.columns = [found if said is None else said for said, found in names]
    return table


def _first_fault(path: Path, separator: str) -> str | None:
    """Where a file of text is none, or a row too long, which polars does not say; None if nowhere.

    It reads the file slowly, a line at a time.
    """
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                byte = f"{line[error.start]:#04x}"
                return f"line {number} is not UTF-8, it holds byte {byte}: save it as UTF-8"
    with path.open(encoding="utf-8", newline="") as text, suppress(csv.Error):
        rows = csv.reader(text, delimiter=separator)
        names = next(rows)
        for number, row in enumerate(rows, 1):
            if len(row) > len(names):
                quote = "; quote values that hold one" if len(names) > 1 else ""
                return (
                    f"row {number} has {len(row)} values and the header {len(names)}, by "
                    f"{separator!r}{quote}"
                )
    return None
