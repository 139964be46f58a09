"""A file that a user names."""

from __future__ import annotations

from pathlib import Path


def given_file(file: str) -> Path:
    """The path of a file that is there.

    Raises:
        IsADirectoryError: If it is a folder.
        FileNotFoundError: If there is none; where it was looked for is said.
    """
    path = Path(file).expanduser()
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: give a file in it.")
    if not path.is_file():
        raise FileNotFoundError(f"No file {path} (looked from {Path.cwd()}).")
    return path
