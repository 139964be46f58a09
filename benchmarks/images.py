"""The images that all contenders learn from: Fashion-MNIST, or random ones of the same shape."""

from __future__ import annotations

import gzip
import struct
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torchvision.datasets import FashionMNIST

from lit_course.datamodules.base import SupervisedDataModule
from lit_course.datamodules.fashion_mnist import CONTENTS
from lit_course.datamodules.samples import Samples, Split

FULL = (60_000, 10_000)  # images to train on and to test on
RAW = Path("FashionMNIST") / "raw"


@dataclass(frozen=True, eq=False)
class Images:
    """Images and labels in memory, and unpacked on disk where torchvision looks for them.

    Args:
        root: Folder that holds ``FashionMNIST/raw/``.
        module: Class path of the data module that reads them.
        x: Training images ``(N, 28, 28)`` uint8.
        y: Their labels ``(N,)`` int64.
        x_test: Test images.
        y_test: Their labels.
    """

    root: Path
    module: str
    x: Tensor
    y: Tensor
    x_test: Tensor
    y_test: Tensor

    @property
    def source(self) -> str:
        """What they are, for the record."""
        return "Fashion-MNIST" if self.module == "FashionMNISTDataModule" else "random images"

    @property
    def flags(self) -> list[str]:
        """How the command line is told of them; no image is held out."""
        return ["--data", self.module, f"--data.root={self.root}", "--data.val_size=0"]

    @property
    def nbytes(self) -> int:
        """Bytes of all images, as uint8."""
        return self.x.nbytes + self.x_test.nbytes

    def scaled(self, standardize: bool) -> Tensor:
        """Training images ``(N, 784)`` float32: in [0, 1], or of mean 0 and deviation 1."""
        x = self.x.flatten(1) / 255
        if not standardize:
            return x
        # As the module has it, to the last bit: statistics of the channel, in float64.
        exact = self.x.double() / 255
        return (x - exact.mean().float()) / exact.std(correction=0).float()


def unpack(folder: Path, root: Path) -> Images:
    """Fashion-MNIST of a folder that holds ``FashionMNIST/raw/``, unpacked below ``root``."""
    (root / RAW).mkdir(parents=True)
    for name in CONTENTS:
        packed = folder / RAW / f"{name}.gz"
        content = (
            gzip.decompress(packed.read_bytes())
            if packed.is_file()
            else (folder / RAW / name).read_bytes()
        )
        (root / RAW / name).write_bytes(content)
    return _read(root, "FashionMNISTDataModule")


def draw(root: Path, sizes: tuple[int, int] = FULL) -> Images:
    """Random images, written as IDX files below ``root``.

    Args:
        root: An empty folder.
        sizes: How many to train on and to test on.
    """
    (root / RAW).mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    for part, size in zip(("train", "t10k"), sizes, strict=True):
        x = torch.randint(256, (size, 28, 28), dtype=torch.uint8, generator=generator)
        y = torch.randint(10, (size,), dtype=torch.uint8, generator=generator)
        for kind, values in (("images-idx3", x), ("labels-idx1", y)):
            # Two zeros, 8 for uint8, the number of dimensions; then the dimensions, big-endian.
            header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
            (root / RAW / f"{part}-{kind}-ubyte").write_bytes(header + values.numpy().tobytes())
    return _read(root, f"{__name__}.RandomImages")


def _read(root: Path, module: str) -> Images:
    train, test = (FashionMNIST(root, train=train) for train in (True, False))
    return Images(root, module, train.data, train.targets, test.data, test.targets)


class RandomImages(SupervisedDataModule):
    """Images as :func:`draw` writes them; the module of Fashion-MNIST would refuse their content.

    Args:
        root: Folder that holds ``FashionMNIST/raw/``.
        batch_size: Images per batch.
        val_size: Training images held out.
    """

    def __init__(self, root: str, *, batch_size: int = 128, val_size: int = 5000) -> None:
        super().__init__(
            batch_size=batch_size,
            val_size=val_size,
            test_size=0,
            shuffle=True,
            drop_last=False,
            seed=0,
        )
        self.root = root

    def load(self) -> dict[str, Split]:
        """Read the images."""
        images = _read(Path(self.root), __name__)
        train, test = (
            Samples(x[:, None], y, num_classes=10, class_names=list(FashionMNIST.classes))
            for x, y in ((images.x, images.y), (images.x_test, images.y_test))
        )
        return {**self.cut(train), "test": Split(test)}
