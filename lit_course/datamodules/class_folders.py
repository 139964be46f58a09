"""Which images a folder holds, of which class and for which split."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

SPLITS = ("train", "val", "test")
LAYOUT = "put each image into a folder of its class: <root>/rose/1.jpg, or <root>/train/rose/1.jpg"


@dataclass(frozen=True, eq=False)
class ClassFolders:
    """Image files in folders of their classes, in the order of torchvision's ``ImageFolder``.

    Args:
        root: The folder that holds them all.
        classes: Names of the classes, in alphabetical order.
        names: Path of each file below ``root``.
        labels: Class number of each file.
        splits: Split of each file: ``train``, ``val`` or ``test``; ``None`` where ``root`` holds
            the classes themselves.
    """

    root: Path
    classes: list[str]
    names: list[str]
    labels: list[int]
    splits: list[str] | None

    def rows(self, split: str) -> list[int]:
        """Numbers of the files in a split's own folder."""
        return [row for row, name in enumerate(self.splits or ()) if name == split]

    def without(self, rows: Collection[int]) -> ClassFolders:
        """The same files but some."""
        kept = [row not in rows for row in range(len(self.names))]
        return ClassFolders(
            self.root,
            self.classes,
            list(compress(self.names, kept)),
            list(compress(self.labels, kept)),
            None if self.splits is None else list(compress(self.splits, kept)),
        )


def find_class_folders(root: Path) -> ClassFolders:
    """List the images of ``<root>/<class>/``, or of ``<root>/<split>/<class>/``.

    What is a class and what is an image is torchvision's: every folder, a hidden one too, is a
    class, in alphabetical order; every file below it with one of ``IMG_EXTENSIONS`` is an image.
    The classes are those of ``train``; the other splits need not have them all.

    Raises:
        FileNotFoundError: If there is no such folder, no class, or a class without images.
        NotADirectoryError: If it is a file.
        ValueError: If there is one class only, a class that ``train`` lacks, or a folder beside
            those of the splits.
    """
    from torchvision.datasets.folder import (  # here: it takes seconds to import
        IMG_EXTENSIONS,
        find_classes,
        make_dataset,
    )

    _check_folder(root)
    separate = _split_folders(root)
    folders = separate or {"train": root}
    if not _folders(folders["train"]):
        raise FileNotFoundError(f"No class folder in {folders['train']}: {LAYOUT}.")
    classes, numbers = find_classes(folders["train"])
    if len(classes) < 2:
        raise ValueError(
            f"{folders['train']} has one class folder, {classes[0]!r}, and at least 2 are needed: "
            f"{LAYOUT}."
        )
    found: list[tuple[str, int, str]] = []
    for split, folder in folders.items():
        if unknown := sorted(_folders(folder).difference(classes)):
            raise ValueError(
                f"{folder} has class folders that {folders['train']} lacks: {_listed(unknown)}. A "
                "class that is not trained cannot be predicted: move or rename them."
            )
        images = make_dataset(folder, numbers, IMG_EXTENSIONS, allow_empty=split != "train")
        found += [(path, label, split) for path, label in images]
    return ClassFolders(
        root,
        classes,
        names=_below(root, (path for path, _, _ in found)),
        labels=[label for _, label, _ in found],
        splits=[split for _, _, split in found] if separate else None,
    )


def find_images(root: Path) -> ClassFolders:
    """List all images below a folder, of no class, in the same order.

    Raises:
        FileNotFoundError: If there is no such folder, or no image in it.
        NotADirectoryError: If it is a file.
    """
    from torchvision.datasets.folder import (  # here: it takes seconds to import
        IMG_EXTENSIONS,
        make_dataset,
    )

    _check_folder(root)
    found = make_dataset(root.parent, {root.name: 0}, IMG_EXTENSIONS, allow_empty=True)
    if not found:
        raise FileNotFoundError(
            f"No image in {root}; their names end in {', '.join(IMG_EXTENSIONS)}"
        )
    return ClassFolders(root, [], _below(root, (path for path, _ in found)), [0] * len(found), None)


def _check_folder(root: Path) -> None:
    if not root.exists():
        raise FileNotFoundError(f"No folder {root}: root names a folder of images.")
    if not root.is_dir():
        raise NotADirectoryError(f"{root} is a file: root names a folder of images.")


def _below(root: Path, paths: Iterable[str]) -> list[str]:
    return [path.removeprefix(f"{root}{os.sep}") for path in paths]


def _split_folders(root: Path) -> dict[str, Path]:
    """The folder of each split; none where ``root`` holds the classes themselves."""
    inside = _folders(root)
    nested = [split for split in SPLITS if split in inside and _folders(root / split)]
    if not nested:
        return {}
    if "train" not in inside:
        raise FileNotFoundError(f"{root} has a folder {nested[0]!r} of classes, but no 'train'.")
    stray = sorted(name for name in inside.difference(SPLITS) if not name.startswith("."))
    if stray:
        raise ValueError(
            f"{root} has a folder {nested[0]!r} of classes, and beside it {_listed(stray)}: splits "
            "are named train, val and test. Rename or move what is not."
        )
    return {split: root / split for split in SPLITS if split in inside}


def _folders(folder: Path) -> set[str]:
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries if entry.is_dir()}


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
    return ", ".join(map(repr, names[:5])) + more
