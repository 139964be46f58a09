"""How much larger than its file a data set may be in memory."""

from __future__ import annotations

from pathlib import Path

# Real tables and images shrink to a tenth or a fiftieth; deflate can reach 1,032, Parquet millions.
MAX_RATIO = 200
ALWAYS = 128 << 20


class UnsoundFileError(ValueError):
    """A file that could be read, and shall not be; the message names it."""


def check_expansion(path: Path, nbytes: int) -> None:
    """Refuse a file that would take far more memory than its size lets expect.

    Args:
        path: The file.
        nbytes: What its content would take.

    Raises:
        UnsoundFileError: If that is more than ``ALWAYS`` and than ``MAX_RATIO`` times the file.
    """
    size = path.stat().st_size
    if nbytes > max(ALWAYS, MAX_RATIO * size):
        raise UnsoundFileError(
            f"{path} has {size:,} bytes and would take {nbytes:,} in memory: no data shrinks so "
            "much. If it is yours, write it without compression."
        )
