"""Decoded images in a file of their own: safetensors' layout, a JSON header before the bytes."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
import torch
from torch import Tensor

from lit_course.datamodules.class_folders import ClassFolders

FORMAT = 1  # of the file, and of how images are decoded: another number makes all anew
_MAX_HEADER = 2**26


@dataclass(frozen=True)
class ImageCache:
    """The file beside a folder that holds its images, decoded.

    Args:
        path: The file.
        key: Hash of all that determines the content.
        shape: ``(N, C, H, W)`` of the images if all of them can be read.
    """

    path: Path
    key: str
    shape: tuple[int, int, int, int]

    @classmethod
    def of(cls, files: ClassFolders, size: int, mode: str) -> ImageCache:
        """The cache of a folder's images of one size and mode.

        Its key is made of the names, sizes and modification times of the files.
        """
        stats = [(name, *_stat(f"{files.root}/{name}")) for name in files.names]
        content = json.dumps([FORMAT, PIL.__version__, size, mode, stats])
        return cls(
            files.root.with_name(f"{files.root.name}.{size}x{size}-{mode}.safetensors"),
            hashlib.sha256(content.encode()).hexdigest(),
            (len(files.names), len(mode), size, size),
        )

    def read(self) -> tuple[Tensor, dict[int, str]] | None:
        """Map the images into memory, with what is wrong with those that are not among them.

        Returns:
            What :meth:`write` was given; ``None`` if there is no such file, if it is of other
            content, or damaged.
        """
        try:
            with self.path.open("rb") as file:
                length = min(struct.unpack("<Q", file.read(8))[0], _MAX_HEADER)
                header = json.loads(file.read(length))
                said = header["__metadata__"]
                if said["key"] != self.key:
                    return None
                broken = {int(row): str(reason) for row, reason in json.loads(said["broken"])}
                shape = (self.shape[0] - len(broken), *self.shape[1:])
                # "c": torch warns of an array that must not be written; nobody writes.
                pixels = np.memmap(file, np.uint8, "c", offset=8 + length, shape=shape)
            if int(said["crc32"]) != zlib.crc32(pixels.data):
                return None
        except Exception:  # no file, or one that was damaged in whatever way
            return None
        return torch.from_numpy(pixels), broken

    def write(self, images: Tensor, broken: dict[int, str]) -> None:
        """Write the file, whole or not at all.

        Raises:
            OSError: If it could not be written, or if somebody else is just writing it.
        """
        pixels = images.numpy()
        metadata = {
            "key": self.key,
            "crc32": str(zlib.crc32(pixels.data)),
            "broken": json.dumps(list(broken.items())),
        }
        tensor = {"dtype": "U8", "shape": pixels.shape, "data_offsets": [0, pixels.nbytes]}
        header = json.dumps({"__metadata__": metadata, "images": tensor}).encode()
        header += b" " * (-len(header) % 8)
        partial = self.path.with_name(f"{self.path.name}.part")
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o666), "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(file.fileno()), partial.stat()):
                return  # between the two lines before, somebody else has finished it
            try:
                file.truncate(0)
                file.write(struct.pack("<Q", len(header)) + header)
                file.write(pixels.data)
                file.flush()
                os.replace(partial, self.path)
            except BaseException:
                with suppress(OSError):
                    partial.unlink()
                raise


def _stat(path: str) -> tuple[int, int]:
    try:
        stat = os.stat(path)
    except OSError:  # a link that leads nowhere
        return -1, -1
    return stat.st_size, stat.st_mtime_ns
