"""Writing what no honest program writes: archives of chosen records, edited checkpoints."""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch


def archive(records: dict[str, bytes], folder: str = "archive") -> bytes:
    """An archive as ``torch.save`` writes it, sums and all, of any records."""
    buffer = io.BytesIO()
    writer = torch._C.PyTorchFileWriter(buffer)
    for name, content in records.items():
        writer.write_record(name, content, len(content))
    writer.write_end_of_file()
    return buffer.getvalue()


def records(content: bytes) -> dict[str, bytes]:
    """The records of an archive, but those that every archive gets."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        named = {name.partition("/")[2]: file.read(name) for name in file.namelist()}
    return {
        name: named[name] for name in named if name not in ("version", ".data/serialization_id")
    }


def zipped(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip file of Python's, of any names and compression, with the end that torch writes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression, compresslevel=1) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    content = buffer.getvalue()
    *_, count, length, offset, _ = struct.unpack("<4s4H2LH", content[-22:])
    end = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, length, offset)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, offset + length, 1)
    return content[:-22] + end + locator + content[-22:]


def saved(value: Any, **options: Any) -> bytes:
    """What ``torch.save`` writes."""
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def edited(honest: bytes, edit: Callable[[dict[str, Any]], object], **options: Any) -> bytes:
    """A checkpoint, edited in place before it is written again."""
    checkpoint = torch.load(io.BytesIO(honest), weights_only=True)
    edit(checkpoint)
    return saved(checkpoint, **options)


def pickled(honest: bytes, program: bytes) -> bytes:
    """A checkpoint with another ``data.pkl``; all sums are right."""
    return archive({**records(honest), "data.pkl": program})


@dataclass(frozen=True)
class Call:
    """Unpickled as ``function(*args)``."""

    function: Callable[..., Any]
    args: tuple[Any, ...]

    def __reduce__(self):
        return self.function, self.args


@dataclass(frozen=True)
class Storage:
    """Pickled as a storage of so many floats, whatever the record of that key holds."""

    numel: int
    key: str = "0"


class Declared:
    """Pickled as a tensor of chosen shape; its storage is the record ``data/0``."""

    def __init__(self, numel: int, size=(4,), stride=(1,), offset=0, hooks=None, grad=False):
        hooks = OrderedDict() if hooks is None else hooks
        self.args = (Storage(numel), offset, size, stride, grad, hooks)

    def __reduce__(self):
        return torch._utils._rebuild_tensor_v2, self.args


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: object) -> object:
        if isinstance(value, Storage):
            return ("storage", torch.FloatStorage, value.key, "cpu", value.numel)
        return None


def declared(value: Any) -> bytes:
    """An archive of a value with ``Declared`` tensors, over one storage of 4 floats."""
    buffer = io.BytesIO()
    _Pickler(buffer, 2).dump(value)
    return archive({"data.pkl": buffer.getvalue(), "byteorder": b"little", "data/0": bytes(16)})
