"""Fashion-MNIST: 70,000 images of clothes, 28×28 pixels, 10 classes."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from lit_course.datamodules.base import SupervisedDataModule
from lit_course.datamodules.samples import Samples, Split

# Size and SHA-256 of the unpacked IDX files. Repacked .gz files have other checksums than the ones
# torchvision expects of its downloads; what is in them has not.
CONTENTS = {
    "train-images-idx3-ubyte": (
        47_040_016,
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    "train-labels-idx1-ubyte": (
        60_008,
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    "t10k-images-idx3-ubyte": (
        7_840_016,
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    "t10k-labels-idx1-ubyte": (
        10_008,
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}
_BYTES_PER_PIECE = 2**18
# Bytes before the values of an IDX file: a magic number and the size of each dimension, 4 each.
IMAGE_HEADER = 16
LABEL_HEADER = 8


class FashionMNISTDataModule(SupervisedDataModule):
    """Fashion-MNIST as uint8 images ``(B, 1, 28, 28)`` and int64 labels.

    The official 10,000 test images are the test split and are never trained on. The four files are
    read from ``<root>/FashionMNIST/raw/``, where torchvision keeps them, unpacked or as ``.gz``;
    nothing is unpacked on disk, so ``root`` may be read-only. Their content is verified each time
    they are read: hashing takes a tenth of the time of unpacking.

    Args:
        root: Folder that holds ``FashionMNIST/raw/``.
        download: Whether to download the files, with torchvision, if they are not there.
        augment: Whether each training image is mirrored at random and moved by up to 2 pixels.
        validate_on: ``holdout`` holds out ``val_size`` of the 60,000 training images; ``test``
            validates on the test split and trains on all 60,000.
        batch_size: Images per batch of training; evaluation takes four times as many.
        val_size: Training images held out for validation: a fraction, or an integer count; 0 for
            none. Not used with ``validate_on="test"``.
        shuffle: Whether the training images come in a new order each epoch.
        drop_last: Whether training leaves out a last batch that is smaller.
        seed: Seed of the split and of the order.
    """

    def __init__(
        self,
        root: str = "data",
        *,
        download: bool = True,
        augment: bool = False,
        validate_on: Literal["holdout", "test"] = "holdout",
        batch_size: int = 128,
        val_size: int | float = 5000,
        shuffle: bool = True,
        drop_last: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            val_size=val_size,
            test_size=0,
            shuffle=shuffle,
            drop_last=drop_last,
            seed=seed,
        )
        if validate_on not in ("holdout", "test"):
            raise ValueError(f"validate_on must be 'holdout' or 'test', found {validate_on!r}.")
        self.root = root
        self.download = download
        self.augment = augment
        self.validate_on = validate_on
        self._folder = Path(root).expanduser() / "FashionMNIST" / "raw"

    def prepare_data(self) -> None:
        """Download the files if some are missing and ``download`` allows it."""
        if all(self._find(name) is not None for name in CONTENTS):
            return
        if not self.download:
            raise FileNotFoundError(self._how_to_get("download is switched off"))
        from torchvision.datasets import FashionMNIST  # here: it takes seconds to import

        try:
            FashionMNIST(Path(self.root).expanduser(), download=True)
        except (RuntimeError, OSError) as error:
            cause = " ".join(str(error).split())
            raise FileNotFoundError(self._how_to_get(f"download failed: {cause}")) from error

    def load(self) -> dict[str, Split]:
        """Read the images and cut the training images."""
        train, test = self._samples("train"), self._samples("t10k")
        if self.validate_on == "test":
            return {"train": Split(train), "val": Split(test), "test": Split(test)}
        return {**self.cut(train), "test": Split(test)}

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Augment training batches, on the device that they were sent to."""
        if self.augment and self.trainer is not None and self.trainer.training:
            x, y = batch
            return flip_and_shift(x), y
        return batch

    def _samples(self, part: str) -> Samples:
        from torchvision.datasets import FashionMNIST  # here: it takes seconds to import

        return Samples(
            x=self._read(f"{part}-images-idx3-ubyte", IMAGE_HEADER).view(-1, 1, 28, 28),
            y=self._read(f"{part}-labels-idx1-ubyte", LABEL_HEADER).long(),
            num_classes=len(FashionMNIST.classes),
            class_names=list(FashionMNIST.classes),
            target_names=["class"],
        )

    def _find(self, name: str) -> Path | None:
        candidates = (self._folder / name, self._folder / f"{name}.gz")
        return next((path for path in candidates if path.is_file()), None)

    def _read(self, name: str, header: int) -> Tensor:
        """Values of an IDX file as flat uint8, after its content is verified."""
        path = self._find(name)
        if path is None:
            raise FileNotFoundError(self._how_to_get("call prepare_data() first"))
        size, digest = CONTENTS[name]
        content = bytearray(size)
        try:
            found = _fill(content, path)
        except zlib.error as error:
            raise ValueError(f"{path} is damaged ({error}): delete it and start again.") from error
        if found != size:
            raise ValueError(
                f"{path} is truncated or not of Fashion-MNIST: {size:,} unpacked bytes expected, "
                f"{f'{found:,}' if found < size else 'more'} found. Delete it and start again."
            )
        if hashlib.sha256(content).hexdigest() != digest:
            raise ValueError(
                f"{path} is damaged or not of Fashion-MNIST: it has the right size but another "
                "SHA-256 than the original. Delete it and start again."
            )
        return torch.frombuffer(content, dtype=torch.uint8, offset=header)

    def _how_to_get(self, reason: str) -> str:
        return (
            f"Fashion-MNIST is not complete in {self._folder} ({reason}). Put these four files "
            f"there, unpacked or as .gz: {', '.join(CONTENTS)}. Get them from the folder "
            "data/fashion of https://github.com/zalandoresearch/fashion-mnist, or from Debian's "
            "package dataset-fashion-mnist."
        )


def _fill(content: bytearray, path: Path) -> int:
    """Put a file's bytes, unpacked, where the data will stay; how many, at most one too many.

    In pieces: large copies made on the way would be the peak of a whole run's memory.
    """
    place, filled = memoryview(content), 0
    unpack = zlib.decompressobj(wbits=31) if path.suffix == ".gz" else None
    with path.open("rb") as file:
        while filled <= len(place) and (piece := file.read(_BYTES_PER_PIECE)):
            if unpack is not None:
                piece = unpack.decompress(piece, len(place) + 1 - filled)
                if not piece and unpack.eof:
                    break
            place[filled : filled + len(piece)] = piece[: len(place) - filled]
            filled += len(piece)
    return filled


def flip_and_shift(images: Tensor, max_shift: int = 2) -> Tensor:
    """Mirror each image with probability ½ and move it by up to ``max_shift`` pixels each way.

    The transforms of torchvision draw once per batch; here every image has a draw of its own, from
    the global random state of the images' device. Pixels that move in are zero.

    Args:
        images: ``(B, C, H, W)``.
        max_shift: Largest shift in pixels.
    """
    from torchvision.transforms.v2 import functional

    size, device = len(images), images.device
    mirrored = torch.rand(size, 1, 1, 1, device=device) < 0.5
    images = torch.where(mirrored, functional.horizontal_flip(images), images)
    height, width = images.shape[-2:]
    # Every position of a window on the padded image, as a view: (B, C, 2·shift+1, 2·shift+1, H, W).
    windows: Tensor = functional.pad(images, [max_shift]).unfold(2, height, 1).unfold(3, width, 1)
    down, right = torch.randint(2 * max_shift + 1, (2, size), device=device)
    return windows[torch.arange(size, device=device), :, down, right]
