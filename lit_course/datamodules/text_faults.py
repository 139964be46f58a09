"""What is wrong with a table of text, by its place: polars does not say."""

from __future__ import annotations

import csv
from contextlib import suppress
from pathlib import Path

# How gzip, zstd and zlib begin; polars unpacks these, whatever they grow to.
_COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"x\x01", b"x\x9c", b"x\xda")


def is_compressed(path: Path) -> bool:
    """Whether a file is no text before it is unpacked."""
    with path.open("rb") as file:
        return file.read(4).startswith(_COMPRESSED)


def no_utf8(path: Path) -> str | None:
    """The first line that is not UTF-8, in words; None if all are. Reads line by line, slowly."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                byte = f"{line[error.start]:#04x}"
                return f"line {number} is not UTF-8, it holds byte {byte}: save it as UTF-8"
    return None


def ragged_row(path: Path, separator: str) -> str | None:
    """The first row that is longer or shorter than the header, in words; None if there is none.

    Rows count from 1; empty ones are not looked at. Reads row by row, slowly.
    """
    with (
        path.open(encoding="utf-8", errors="replace", newline="") as text,
        suppress(csv.Error, StopIteration),  # a field too long for it; no row at all
    ):
        rows = csv.reader(text, delimiter=separator)
        width = len(next(rows))
        for number, row in enumerate(rows, 1):
            if row and len(row) != width:
                quote = "; quote values that hold one" if len(row) > width > 1 else ""
                return (
                    f"row {number} has {len(row)} values and the header {width}, by "
                    f"{separator!r}{quote}"
                )
    return None
