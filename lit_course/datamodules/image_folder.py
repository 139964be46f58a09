"""Images in folders, one for each class."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only
from torch import Tensor

from lit_course.datamodules.base import SupervisedDataModule
from lit_course.datamodules.class_folders import (
    SPLITS,
    ClassFolders,
    find_class_folders,
    find_images,
)
from lit_course.datamodules.image_cache import ImageCache
from lit_course.datamodules.image_files import Mode, decode
from lit_course.datamodules.samples import Samples, Split
from lit_course.datamodules.splits import split_rows

_SHOWN = 3  # files that a message names


class ImageFolderDataModule(SupervisedDataModule):
    """Images in folders of their classes, as uint8 images ``(B, C, size, size)``.

    ``root`` holds one folder for each class, and rows are held out by ``val_size`` and
    ``test_size``; or it holds ``train``, ``val`` and ``test`` with class folders in each, and only
    a split that has no folder is cut out of ``train``. What is a class and what is an image is as
    in torchvision's ``ImageFolder``: every folder, also a hidden one, is a class, in alphabetical
    order, and must hold an image; files of other extensions are passed over.

    Every image is decoded once: turned upright by its EXIF orientation, converted to ``mode``,
    resized with antialiasing until its shorter side is ``size``, and cut to its central square.
    Predictions name the file of each row.

    Args:
        root: The folder.
        labeled: Whether folders are classes. If not, all images below ``root``, at any depth, are
            there to be predicted.
        size: Height and width of the images in pixels.
        mode: ``RGB`` for three channels, ``L`` for one of grey values.
        cache: Whether the decoded images are kept in a file beside ``root``,
            ``<root>.<size>x<size>-<mode>.safetensors``, and read from there while no name, size or
            modification time of an image has changed.
        skip_broken: Whether files that cannot be decoded are left out; else they are refused.
        batch_size: Images per batch of training; evaluation takes four times as many.
        val_size: Images held out for validation: a fraction, or an integer count; 0 for none. Not
            used if there is a folder ``val``.
        test_size: Images held out for testing, in the same way.
        shuffle: Whether the training images come in a new order each epoch.
        drop_last: Whether training leaves out a last batch that is smaller.
        seed: Seed of the split and of the order.
    """

    def __init__(
        self,
        root: str,
        *,
        labeled: bool = True,
        size: int = 28,
        mode: Mode = "RGB",
        cache: bool = True,
        skip_broken: bool = False,
        batch_size: int = 64,
        val_size: int | float = 0.1,
        test_size: int | float = 0.1,
        shuffle: bool = True,
        drop_last: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            val_size=val_size,
            test_size=test_size,
            shuffle=shuffle,
            drop_last=drop_last,
            seed=seed,
        )
        if size < 1:
            raise ValueError(f"size must be at least 1, found {size}.")
        if mode not in ("L", "RGB"):
            raise ValueError(f"mode must be 'L' or 'RGB', found {mode!r}.")
        self.root = root
        self.labeled = labeled
        self.size = size
        self.mode: Mode = mode
        self.cache = cache
        self.skip_broken = skip_broken
        self._images: tuple[ClassFolders, Tensor] | None = None

    def prepare_data(self) -> None:
        """Decode the images into the cache, where the other processes of this machine find them."""
        if self.cache:
            self._read()

    def load(self) -> dict[str, Split]:
        """Take the images of each split, or cut it out of the training images."""
        files, images = self._read()
        self.row_names = [_readable(name) for name in files.names]
        if not self.labeled:
            rank_zero_info(f"{len(files.names):,} images in {files.root}, to be predicted")
            nothing = Split(Samples(images, torch.zeros(len(images))), torch.arange(0))
            return dict.fromkeys(("train", "val", "test"), nothing)
        samples = Samples(
            x=images,
            y=torch.tensor(files.labels),
            num_classes=len(files.classes),
            class_names=[_readable(name) for name in files.classes],
            target_names=["class"],
        )
        if files.splits is not None:
            return self._divide(samples, files)
        rank_zero_info(f"{_counted(files)}: one folder for each class")
        return self.cut(samples)

    def _divide(self, samples: Samples, files: ClassFolders) -> dict[str, Split]:
        """The splits that have a folder; those that have none are cut out of ``train``."""
        folders = {split: files.rows(split) for split in SPLITS}
        given = {split: torch.tensor(numbers) for split, numbers in folders.items() if numbers}
        train = given.pop("train")
        cut = split_rows(
            len(train),
            val_size=0 if "val" in given else self.val_size,
            test_size=0 if "test" in given else self.test_size,
            seed=self.seed,
            labels=samples.y[train],
        )
        missing = " and ".join(split for split in ("val", "test") if split not in given)
        rest = f"; {missing} cut out of train" if missing else ""
        rank_zero_info(f"{_counted(files)}: {', '.join(['train', *given])}{rest}")
        rows = {split: train[numbers] for split, numbers in cut.items()} | given
        return {split: Split(samples, numbers) for split, numbers in rows.items()}

    def _read(self) -> tuple[ClassFolders, Tensor]:
        """The files that can be read and their images, from the cache if it has them."""
        if self._images is not None:
            return self._images
        root = Path(os.path.abspath(os.path.expanduser(self.root)))
        files = find_class_folders(root) if self.labeled else find_images(root)
        cache = ImageCache.of(files, self.size, self.mode) if self.cache else None
        found = None if cache is None else cache.read()
        if found is None:
            first = getattr(rank_zero_only, "rank", 0) == 0
            paths = [files.root / name for name in files.names]
            found = decode(paths, self.size, self.mode, progress=first)
            if cache is not None:
                _write(cache, *found)
        images, broken = found
        if broken:
            self._tell(files, broken)
            files = files.without(broken)
        self._images = files, images
        return self._images

    def _tell(self, files: ClassFolders, broken: dict[int, str]) -> None:
        """Name the files that cannot be read: in an error, or in a line if they are left out."""
        named = [f"{files.names[row]}: {reason}" for row, reason in broken.items()]
        more = f"and {len(named) - _SHOWN:,} more; " if len(named) > _SHOWN else ""
        count = f"{len(named):,} of {len(files.names):,} images in {files.root} cannot be read"
        if not self.skip_broken:
            lines = [
                f"{count}:",
                *named[:_SHOWN],
                f"{more}mend or remove them, or leave them out with skip_broken",
            ]
            raise ValueError("\n".join(lines))
        rank_zero_info(f"{count} and are left out: {', '.join(named[:_SHOWN])} {more}".rstrip("; "))


def _write(cache: ImageCache, images: Tensor, broken: dict[int, str]) -> None:
    try:
        cache.write(images, broken)
    except OSError as error:
        rank_zero_info(f"images are not kept for the next run: {cache.path}: {error.strerror}")
    else:
        rank_zero_info(f"images are kept for the next run in {cache.path}")


def _counted(files: ClassFolders) -> str:
    shown = ", ".join(files.classes[:5]) + ", …" * (len(files.classes) > 5)
    return f"{len(files.names):,} images of {len(files.classes)} classes ({shown}) in {files.root}"


def _readable(name: str) -> str:
    """A file's name that can be written as UTF-8, whatever bytes it is made of."""
    return os.fsencode(name).decode(errors="replace")
