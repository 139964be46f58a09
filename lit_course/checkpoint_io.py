"""How a Trainer's checkpoints reach the disk: whole or not at all, and said if not."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from lit_course import checkpoints

PARTIAL = ".part"
_BYTES_AT_ONCE = 2**20


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint to a partial file beside it, flushes it to disk, and renames it.

    Whatever happens, the file is the old one or the new one; a save that fails raises. Lightning
    2.6 writes below ``$TMPDIR`` and copies from there, which a kill can cut short
    (github.com/Lightning-AI/pytorch-lightning/issues/19970), and is silent about a folder that it
    may not write (issue 21800). Loading looks at the file before anything is built from it.

    For files on this machine: ``Trainer(plugins=[AtomicCheckpointIO()])``.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint.

        Raises:
            OSError: If it could not be written; the file that was there before is whole.
        """
        _write(Path(path), lambda file: torch.save(checkpoint, file))

    def copy_checkpoint(self, source: Path, path: Path) -> None:
        """Write a checkpoint that is there already, under another name.

        Raises:
            OSError: If it could not be written; the file that was there before is whole.
        """
        with source.open("rb") as original:
            _write(path, lambda file: shutil.copyfileobj(original, file, _BYTES_AT_ONCE))

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read a checkpoint onto the CPU; tensors and plain values only, whatever was asked for."""
        return checkpoints.read(Path(path))


def sweep(folder: Path) -> None:
    """Remove the partial files of savers that are no more.

    Args:
        folder: Where checkpoints are kept; it need not exist.
    """
    for partial in folder.glob("*" + PARTIAL):
        # Somebody else's folder or a file system without locks: better to leave it.
        with suppress(OSError), partial.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            partial.unlink()


def _write(path: Path, fill: Callable[[BinaryIO], None]) -> None:
    partial = path.with_name(path.name + PARTIAL)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)
        with partial.open("xb") as file:  # not through a link that somebody put there
            fcntl.flock(file, fcntl.LOCK_EX)  # tells `sweep` that somebody is still writing
            fill(file)
            file.flush()
            os.fsync(file.fileno())
            os.replace(partial, path)
        _flush_folder(path.parent)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        with suppress(OSError):
            partial.unlink()
        raise OSError(
            f"the checkpoint {path} could not be saved: {_reason(error)}\n"
            "the training was ended; what was saved before is whole"
        ) from error


def _flush_folder(folder: Path) -> None:
    """Let the new name survive a power cut too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: BaseException) -> str:
    """What the operating system said; torch speaks of positions in the file instead."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__context__
    return str(error).partition("\n")[0] if cause is None else cause.strerror or str(cause)
