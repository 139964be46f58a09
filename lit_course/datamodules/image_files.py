"""Image files, each decoded once into one tensor."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from lit_course.datamodules.expansion import check_expansion

Mode = Literal["L", "RGB"]

# What the extensions that torchvision takes stand for, and GIF, which is often named so. Not what
# else Pillow opens whatever a file is named: for EPS it would start Ghostscript.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
_IMAGES_PER_PIECE = 16
# Files of 1.5 kB took 1.7 times as long with two threads, of 4 kB 0.85 times, of 10 kB 0.56 times.
_BYTES_WORTH_A_THREAD = 4096


def decode(
    paths: Sequence[Path], size: int, mode: Mode, *, progress: bool = False
) -> tuple[Tensor, dict[int, str]]:
    """Decode images into one tensor; larger ones with as many threads as torch computes with.

    Each is turned upright by its EXIF orientation, converted to ``mode``, resized (bilinear with
    antialiasing) until its shorter side is ``size``, and cut to its central square: torchvision's
    ``Resize(size)`` and ``CenterCrop(size)``. Of an animation it is the first picture.

    Args:
        paths: The files.
        size: Pixels of a side.
        mode: ``L`` for grey, ``RGB`` for colour; what is transparent is shown as if it were not.
        progress: Whether to draw a bar, if standard output is a terminal.

    Returns:
        The images that could be decoded, ``(N, C, size, size)`` uint8 in the order of ``paths``;
        and for each other file its number and what is wrong with it.
    """
    images = torch.empty(len(paths), len(mode), size, size, dtype=torch.uint8)
    pixels = images.numpy()
    broken: dict[int, str] = {}

    def decode_piece(rows: range) -> int:
        for row in rows:
            try:
                pixels[row] = _decoded(paths[row], size, mode)
            except Exception as error:  # a decoder raises whatever it stumbles on
                broken[row] = _reason(paths[row], error)
        return len(rows)

    rows = range(len(paths))
    pieces = [rows[start : start + _IMAGES_PER_PIECE] for start in rows[::_IMAGES_PER_PIECE]]
    threads = ThreadPoolExecutor(_threads(paths))
    with warnings.catch_warnings(), _bar(progress) as bar:
        warnings.simplefilter("ignore")  # Pillow's, of metadata that nobody looks at
        task = bar.add_task("decoding images", total=len(paths))
        try:
            for done in threads.map(decode_piece, pieces):
                bar.advance(task, done)
        finally:
            threads.shutdown(cancel_futures=True)  # an interrupt waits for no more pieces
    kept = [row for row in rows if row not in broken]
    if broken:
        for place, row in enumerate(kept):
            pixels[place] = pixels[row]
    return images[: len(kept)], dict(sorted(broken.items()))


def _threads(paths: Sequence[Path]) -> int:
    """Of small images most of the time goes by in Python, where threads wait for each other."""
    sizes = [path.stat().st_size for path in paths[:256] if path.is_file()]
    large = sum(sizes) >= _BYTES_WORTH_A_THREAD * len(sizes)
    return torch.get_num_threads() if large else 1


def _decoded(path: Path, size: int, mode: Mode) -> NDArray[Any]:
    """One image, ``(C, size, size)`` uint8."""
    from torchvision.transforms.functional import (  # here: it takes seconds to import
        center_crop,
        resize,
    )

    with path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
        shorter, longer = sorted(image.size)
        # A line of pixels would be resized to a giant before it is cut.
        largest = max(shorter * longer, size * size * longer // shorter)
        check_expansion(path, largest * len(image.getbands()))
        if image.mode[0] in "IF":  # Pillow would make all above 255 white
            raise ValueError(f"more than 8 bits a value (mode {image.mode}): write it with 8")
        ImageOps.exif_transpose(image, in_place=True)
        square = image.convert(mode)
        if square.size != (size, size):
            square = center_crop(resize(square, [size]), [size])
    return np.atleast_3d(np.asarray(square)).transpose(2, 0, 1)


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, UnidentifiedImageError):
        return "no image that is known" if path.stat().st_size else "empty"
    said = " ".join(str(error).removeprefix(str(path)).split())
    return said[:100] or type(error).__name__


def _bar(shown: bool) -> Progress:
    console = Console()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not (shown and console.is_terminal),
    )
