"""Batches cut from whole tensors, against a loader that makes each image a tensor."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from torch.utils.data import DataLoader
from torchvision.datasets import FashionMNIST
from torchvision.transforms import ToTensor

from benchmarks.group import Group, Row, Setting
from benchmarks.rounds import Rounds, interleave
from benchmarks.training import OURS
from lit_course.datamodules import Batches

BATCH_SIZE = 64


def iterated(batches: Iterable[Any]) -> float:
    """Seconds of one pass, with the drawing of its order."""
    started = time.perf_counter()
    for _ in batches:
        pass
    return time.perf_counter() - started


def measure(setting: Setting) -> Rounds:
    """Shuffled epochs of the training images, nothing done with them."""
    images = setting.images
    dataset = FashionMNIST(images.root, transform=ToTensor())
    loader: DataLoader[Any] = DataLoader(dataset, batch_size=BATCH_SIZE, shuffle=True)
    batches = Batches(images.x, images.y, batch_size=BATCH_SIZE, shuffle=True)
    contenders = {
        OURS: lambda: iterated(batches),
        "DataLoader with ToTensor": lambda: iterated(loader),
    }
    return interleave(contenders, setting.rounds)


GROUP = Group(
    "data path, samples a second, batch 64, against …",
    (Row("DataLoader with ToTensor", OURS, "DataLoader with ToTensor", at_least=100),),
    measure,
)
