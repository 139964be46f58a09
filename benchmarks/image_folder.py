"""Images in folders: decoded once, kept in a file, and then as fast as any tensor."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import Compose, Grayscale, ToTensor

from benchmarks.data_path import BATCH_SIZE, iterated
from benchmarks.group import Group, Row, Setting
from benchmarks.machine import threads
from benchmarks.rounds import Contender, Rounds, interleave
from lit_course.datamodules import Batches, ImageFolderDataModule

COUNT = 10_000  # images of 28 x 28, as PNG
PASSES = 50  # of a tensor, since one takes milliseconds
PHOTOS = 300  # of 640 x 480, as JPEG
LOADER = "ImageFolder in a DataLoader"


def write(root: Path, x: Tensor, y: Tensor, suffix: str, size: tuple[int, int]) -> Path:
    """Write images ``(N, H, W)`` as files, in folders of their classes."""
    for number, (image, label) in enumerate(zip(x, y.tolist(), strict=True)):
        folder = root / f"class {label}"
        folder.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(image.numpy()).resize(size, Image.Resampling.BICUBIC)
        picture.convert("L" if suffix == ".png" else "RGB").save(folder / f"{number:05}{suffix}")
    return root


def images_of(root: Path, *, cache: bool) -> ImageFolderDataModule:
    """The data module, loaded; all images are trained on."""
    data = ImageFolderDataModule(
        str(root), mode="L", cache=cache, batch_size=BATCH_SIZE, val_size=0, test_size=0
    )
    data.prepare_data()
    data.setup("fit")
    return data


def timed(work: Callable[[], object], count: int) -> float:
    """Seconds that something takes with so many threads."""
    with threads(count):
        started = time.perf_counter()
        work()
        return time.perf_counter() - started


def a_pass(batches: Iterable[Any], count: int) -> float:
    """Seconds of one pass on average, with one thread: a batch is too small for more."""
    with threads(1):
        return sum(iterated(batches) for _ in range(count)) / count


def measure(setting: Setting) -> Rounds:
    """Loading, and shuffled epochs of the training images with nothing done to them."""
    x, y = setting.images.x[:COUNT], setting.images.y[:COUNT]
    root = write(setting.images.root / "images", x, y, ".png", (28, 28))
    few = slice(0, PHOTOS)
    photos = write(setting.images.root / "photos", x[few], y[few], ".jpg", (640, 480))
    dataset = ImageFolder(root, Compose([Grayscale(), ToTensor()]))
    loader: DataLoader[Any] = DataLoader(dataset, batch_size=BATCH_SIZE, shuffle=True)
    tensor = Batches(x[:, None], y, torch.arange(len(x)), batch_size=BATCH_SIZE, shuffle=True)
    decoded = images_of(root, cache=False).train_dataloader()
    images_of(root, cache=True)  # writes the file
    mapped = images_of(root, cache=True).train_dataloader()
    passes: dict[str, tuple[Iterable[Any], int]] = {
        "a pass": (mapped, PASSES),
        "a pass, in memory": (decoded, PASSES),
        "a pass, tensor": (tensor, PASSES),
        LOADER: (loader, 1),
    }
    contenders: dict[str, Contender] = {
        name: partial(a_pass, batches, count) for name, (batches, count) in passes.items()
    }
    load = partial(images_of, root, cache=True)
    contenders["from the file"] = partial(timed, load, 1)
    for what, folder in (("images", root), ("photos", photos)):
        for count in (1, 2):
            decode = partial(images_of, folder, cache=False)
            contenders[f"{what} decoded, threads: {count}"] = partial(timed, decode, count)
    return interleave(contenders, setting.rounds)


GROUP = Group(
    f"{COUNT:,} PNG images in folders, against …",
    (
        Row("a shuffled pass: ImageFolder in a DataLoader", "a pass", LOADER, at_least=100),
        Row("a shuffled pass: a tensor that was in memory", "a pass", "a pass, tensor", 0.9),
        Row("the same, decoded in this process", "a pass, in memory", "a pass, tensor", 0.9),
        Row("loading from the file: decoding", "from the file", "images decoded, threads: 1"),
        Row(
            "decoding with two threads: one",
            "images decoded, threads: 2",
            "images decoded, threads: 1",
        ),
        Row(
            f"the same, {PHOTOS} JPEG photos of 640 × 480",
            "photos decoded, threads: 2",
            "photos decoded, threads: 1",
        ),
    ),
    measure,
)
