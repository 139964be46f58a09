"""Tensors as a checkpoint declares them: known by shape, held against the storages of the file."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

_ITEM_SIZES = {
    "Bool": 1,
    "Byte": 1,
    "Char": 1,
    "Short": 2,
    "Half": 2,
    "BFloat16": 2,
    "Int": 4,
    "Float": 4,
    "Long": 8,
    "Double": 8,
    "ComplexFloat": 8,
    "ComplexDouble": 16,
}
STORAGES = {f"torch {name}Storage": size for name, size in _ITEM_SIZES.items()}
_DEVICE = re.compile(r"(cpu|cuda|mps|xpu|hpu|xla)(:[0-9]{1,3})?")


class NotPlainError(ValueError):
    """The pickle describes more than tensors and plain values, or more of them than is sound."""


@dataclass(frozen=True)
class TensorShape:
    """A tensor that ``torch.load`` would make."""

    size: tuple[int, ...]
    nbytes: int


class StorageShape(NamedTuple):
    """A storage that ``torch.load`` would read."""

    numel: int
    item_size: int


def only(kind: type, value: Any) -> Any:
    """The value, if it is of exactly this type; a damaged pickle may put anything anywhere."""
    if type(value) is not kind:
        raise NotPlainError("its data.pkl is damaged")
    return value


def storage_shape(
    name: str, key: str, device: str, numel: int, storages: Mapping[str, int]
) -> StorageShape:
    """Note a storage, if its record holds as many values as are declared.

    Args:
        name: Its class, as the pickle names it.
        key: Of its record.
        device: Where it was saved from.
        numel: The number of values declared.
        storages: The size of each record in bytes.
    """
    if not _DEVICE.fullmatch(device):
        raise NotPlainError(f"it has a storage on {device!r:.80}")
    item_size = STORAGES[name]
    if _size(numel) * item_size != storages[key]:
        raise NotPlainError(
            f"storage {key} has {storages[key]:,} bytes, {numel:,} values are declared"
        )
    return StorageShape(numel, item_size)


def tensor_shape(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any,
    hooks: Any,
) -> TensorShape:
    """Note a tensor, if it lies within its storage and has no value twice."""
    storage = only(StorageShape, storage)
    size = [_size(n) for n in only(tuple, size)]
    last = _size(offset) + sum(
        (n - 1) * _size(step) for n, step in zip(size, only(tuple, stride), strict=True)
    )
    numel = prod(size)
    if numel > storage.numel or (numel and last >= storage.numel):
        raise NotPlainError(f"a tensor of shape {size!r:.80} goes beyond its storage")
    only(bool, requires_grad)
    if len(only(OrderedDict, hooks)):
        raise NotPlainError("a tensor has hooks")
    return TensorShape(tuple(size), numel * storage.item_size)


def _size(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 48:
        raise NotPlainError(f"it has a size of {value!r:.80}")
    return value
