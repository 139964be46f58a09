"""Copies of tables on disk, for those that are larger than memory."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

FORMAT = 1  # of the copies: another number makes all anew


class TableCache:
    """Files in a folder, each made once, by one of the processes that ask for it.

    The name of a file holds a hash of all that determines its content, so that it is never out of
    date. The folder may be removed whenever nobody reads from it.

    Args:
        folder: Where the files are; made if it is not there.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder).expanduser()

    def file(
        self, key: object, suffix: str, write: Callable[[Path], object], size: int | None = None
    ) -> Path:
        """The path of a file, written now if it is not there, whole.

        Args:
            key: All that determines the content, as plain data.
            suffix: How its name ends.
            write: Writes it, to the path that it is given.
            size: Its bytes, where they are known: one of another size is written anew.

        Raises:
            OSError: If it could not be written; nothing is left behind.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(json.dumps([FORMAT, key]).encode()).hexdigest()
        path = self.folder / f"{digest[:20]}{suffix}"
        with self._alone():
            if not path.exists() or path.stat().st_size != (size or path.stat().st_size):
                partial = path.with_name(f"{path.name}.part")
                try:
                    write(partial)
                    with partial.open("rb") as file:
                        os.fsync(file.fileno())  # the name must not be safer than the content
                    os.replace(partial, path)
                except OSError as error:
                    error.filename = error.filename or str(self.folder)
                    raise
                finally:
                    partial.unlink(missing_ok=True)
                rank_zero_info(f"{path.stat().st_size / 1e6:,.0f} MB written to {path}")
        return path

    def rows(self, key: object, shape: tuple[int, int], pieces: Iterable[Tensor]) -> Tensor:
        """A float32 matrix that is read from disk when it is looked at; not to be written to.

        Args:
            key: All that determines its content, as plain data.
            shape: Rows and columns.
            pieces: Its rows, some at a time; not asked for if the file is there.
        """
        description: dict[str, Any] = {"descr": "<f4", "fortran_order": False, "shape": shape}
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, description)

        def write(path: Path) -> None:
            with path.open("wb") as file:
                file.write(header.getvalue())
                for piece in pieces:
                    file.write(piece.numpy().data)

        path = self.file(key, ".npy", write, len(header.getvalue()) + 4 * shape[0] * shape[1])
        # "c": torch warns of an array that must not be written; nobody writes.
        return torch.from_numpy(np.load(path, mmap_mode="c"))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time."""
        with (self.folder / ".lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def identity(path: Path) -> list[str | int]:
    """What tells a file from any other, and from itself before it was changed."""
    stat = path.stat()
    return [str(path.resolve()), stat.st_size, stat.st_mtime_ns]
