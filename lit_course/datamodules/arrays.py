"""Arrays that are already in memory, or in an ``.npz`` file."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any
from zipfile import ZipFile, is_zipfile

import numpy as np
import torch
from torch import Tensor

from lit_course.datamodules.base import SupervisedDataModule
from lit_course.datamodules.expansion import UnsoundFileError, check_expansion
from lit_course.datamodules.samples import Samples, Split


class ArrayDataModule(SupervisedDataModule):
    """NumPy or torch arrays as a data set.

    Integer or boolean ``y`` holds class labels, floating-point ``y`` the targets of a regression.
    uint8 features stay as they are, all others become float32. The arrays are never changed; where
    their dtype fits they are used without a copy.

    Args:
        X: Features, one row per sample: a NumPy array or torch tensor ``(N, D)`` or
            ``(N, C, H, W)``; or the path of an ``.npz`` file that holds arrays ``X`` and ``y``, and
            ``sample_weight`` if there are weights.
        y: Targets, ``(N,)`` or, for a regression, ``(N, k)``. Left out if ``X`` is a path.
        sample_weight: Weight of each sample in the loss, ``(N,)``, not negative; ``None`` weighs
            all alike. Left out if ``X`` is a path.
        num_classes: Number of classes; the largest label + 1 if not given.
        feature_names: Name of each feature.
        class_names: Name of each class.
        batch_size: Rows per batch of training; evaluation takes four times as many.
        val_size: Rows held out for validation: a fraction, or an integer count; 0 for none.
        test_size: Rows held out for testing, in the same way.
        shuffle: Whether the training rows come in a new order each epoch.
        drop_last: Whether training leaves out a last batch that is smaller.
        seed: Seed of the split and of the order.
    """

    def __init__(
        self,
        X: str | Any,  # not NDArray | Tensor: --help would list every subclass of Tensor
        y: Any = None,
        *,
        sample_weight: Any = None,
        num_classes: int | None = None,
        feature_names: list[str] | None = None,
        class_names: list[str] | None = None,
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
        if isinstance(X, str | PathLike) and not (y is None is sample_weight):
            raise ValueError(
                "Give X and y as arrays, and sample_weight if there are weights, or X alone as the "
                "path of an .npz file that holds them."
            )
        self._X = X
        self._y = y
        self._sample_weight = sample_weight
        self._num_classes = num_classes
        self._feature_names = feature_names
        self._class_names = class_names

    def load(self) -> dict[str, Split]:
        """Turn the arrays into tensors and cut them; without y they can be predicted."""
        X, y, weight = self._X, self._y, self._sample_weight
        if isinstance(X, str | PathLike):
            X, y, weight = _read_npz(X)
        x = _features(X)
        if y is None:
            return self._without_targets(x)
        y = _targets(y)
        num_classes = self._num_classes
        if num_classes is None and not y.is_floating_point():
            num_classes = _count_classes(y)
        return self.cut(
            Samples(
                x=x,
                y=y,
                num_classes=num_classes,
                feature_names=self._feature_names,
                class_names=self._class_names,
                weight=None if weight is None else _as_tensor("sample_weight", weight).float(),
            )
        )

    def _without_targets(self, x: Tensor) -> dict[str, Split]:
        if self._verb != "predict":
            raise ValueError("There is no y to learn from or to compare with: only predict goes.")
        rows = len(x)
        unknown = torch.zeros(rows, dtype=torch.bool)
        return {"predict": Split(Samples(x=x, y=torch.zeros(rows), labelled=unknown))}


def _read_npz(path: str | PathLike[str]) -> tuple[Any, Any, Any]:
    """X, y and the weights, each of these or None."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"No file {path}: X names an .npz file with arrays X and y.")
    if not is_zipfile(path):
        raise ValueError(f"{path} is not an .npz file: write one with np.savez(path, X=X, y=y).")
    try:
        with ZipFile(path) as file:
            check_expansion(Path(path), sum(member.file_size for member in file.infolist()))
        with np.load(path, allow_pickle=False) as arrays:
            if "X" in arrays:
                return arrays["X"], arrays.get("y"), arrays.get("sample_weight")
            found = ", ".join(arrays) or "none"
    except UnsoundFileError:
        raise
    # Of a damaged file zipfile, zlib and NumPy raise whatever they stumble on; MemoryError too,
    # for a header that declares more than there is.
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{path} holds an array that cannot be read: {reason}.") from error
    raise ValueError(f"{path} must hold an array named X, and y to learn from, found: {found}.")


def _features(X: Any) -> Tensor:
    x = _as_tensor("X", X)
    return x if x.dtype == torch.uint8 else x.to(torch.float32)


def _targets(y: Any) -> Tensor:
    targets = _as_tensor("y", y)
    return targets.to(torch.float32 if targets.is_floating_point() else torch.int64)


def _as_tensor(name: str, array: Any) -> Tensor:
    """Share the array's memory where torch can."""
    if isinstance(array, Tensor):
        if not array.is_complex():
            return array.detach().cpu()
    elif (array := np.asarray(array)).dtype.kind in "biuf":
        # Torch needs native byte order, and writable memory without gaps; only else is it copied.
        return torch.from_numpy(np.require(array, array.dtype.newbyteorder("="), ["C", "W"]))
    raise ValueError(f"{name} must hold real numbers, found dtype {array.dtype}: convert it.")


def _count_classes(labels: Tensor) -> int:
    largest = int(labels.max()) if labels.numel() > 0 else -1
    if largest >= labels.numel() > 0:
        raise ValueError(
            f"y holds integers, which are class labels, but its largest is {largest} in "
            f"{labels.numel()} rows. For a regression convert y to floating point; "
            "if these are class labels, give num_classes."
        )
    return largest + 1
