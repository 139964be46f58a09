"""A file that a command was told to write: refused before anything is computed."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from tempfile import TemporaryFile

from lit_course.messages import UsageError


def check_picture(path: Path, overwrite: bool, read: Collection[object] = ()) -> None:
    """Refuse a PNG, or the CSV of its numbers beside it, that could not be written in the end.

    Raises:
        UsageError: Saying what is wrong with one of them.
    """
    check_output(path, overwrite, [".png"], read)
    check_output(path.with_suffix(".csv"), overwrite, [".csv"], read)


def check_output(
    path: Path,
    overwrite: bool,
    suffixes: Collection[str],
    read: Iterable[object] = (),
    flag: str = "--output",
) -> None:
    """Refuse a file that could not be written in the end.

    Args:
        path: The file.
        overwrite: Whether it may be there already, and be replaced.
        suffixes: What its name may end in.
        read: Values that may name files which the command reads.
        flag: What named it.

    Raises:
        UsageError: Saying what is wrong with it.
    """
    if path.suffix not in suffixes:
        raise UsageError(f"{flag} must end in {' or '.join(suffixes)}, found {str(path)!r}")
    if path.is_dir():
        raise UsageError(f"{flag} {path} is a folder: give a file in it")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists: add --overwrite to replace it")
    files = (Path(value) for value in read if isinstance(value, str | Path))
    if path.exists() and any(file.is_file() and path.samefile(file) for file in files):
        raise UsageError(f"{flag} {path} would replace what is read: give another name")
    try:
        with TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UsageError(f"{flag} {path} cannot be written: {error.strerror}") from error
