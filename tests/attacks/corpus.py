"""Hostile checkpoints, made of an honest one. Nothing of this is kept in files.

Each entry is a function of the honest file's content and of the path of a canary: a file that
appears only if code of the hostile file's choice has run.
"""

import builtins
import io
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from attacks.archives import (
    Call,
    Declared,
    archive,
    declared,
    edited,
    pickled,
    records,
    saved,
    zipped,
)

Hostile = Callable[[bytes, Path], bytes]
HUGE = 10**12


def _touch(canary: Path) -> Call:
    return Call(os.system, (f"touch {canary}",))


def _with(key: str, value: object) -> Hostile:
    """The honest checkpoint with another top-level entry."""
    return lambda honest, canary: edited(honest, lambda c: c.update({key: value}))


def _hyper(**values: object) -> Hostile:
    """The honest checkpoint with other hyperparameters."""
    return lambda honest, canary: edited(honest, lambda c: c["hyper_parameters"].update(values))


def _tensor(value: Any) -> Hostile:
    """The honest checkpoint with a tensor more."""
    return lambda honest, canary: edited(honest, lambda c: c["state_dict"].update(more=value))


def _claims(**shape: Any) -> Hostile:
    """A checkpoint with one tensor, which declares what it likes."""
    return lambda honest, canary: declared({"state_dict": {"a": Declared(**{"numel": 4, **shape})}})


def _program(program: bytes) -> Hostile:
    """The honest archive with this ``data.pkl``."""
    return lambda honest, canary: pickled(honest, b"\x80\x02" + program + b".")


def _with_call(protocol: int) -> Hostile:
    return lambda honest, canary: edited(
        honest, lambda c: c.update(evil=_touch(canary)), pickle_protocol=protocol
    )


def _bare(protocol: int) -> Hostile:
    return lambda honest, canary: pickle.dumps({"state_dict": {}, "e": _touch(canary)}, protocol)


def _evaluates(function: Callable[..., Any]) -> Hostile:
    code = "__import__('pathlib').Path({!r}).touch()"
    return lambda honest, canary: edited(
        honest, lambda c: c.update(evil=Call(function, (code.format(str(canary)),)))
    )


def _legacy(honest: bytes, canary: Path) -> bytes:
    value = {"state_dict": {}, "evil": _touch(canary)}
    return saved(value, _use_new_zipfile_serialization=False)


def _tar(honest: bytes, canary: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        content = pickle.dumps(_touch(canary))
        info = tarfile.TarInfo("pickle")
        info.size = len(content)
        file.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _makes_file(as_text: Callable[[str, str], object]) -> Hostile:
    """A class whose construction makes the canary, hidden where the parser takes any value."""

    def make(honest: bytes, canary: Path) -> bytes:
        options = {"betas": as_text("logging.FileHandler", str(canary))}
        return edited(honest, lambda c: c["hyper_parameters"].update(optimizer_options=options))

    return make


def _as_mapping(cls: str, file: str) -> object:
    return {"class_path": cls, "init_args": {"filename": file}}


def _as_yaml(cls: str, file: str) -> object:
    return f'{{class_path: {cls}, init_args: {{filename: "{file}"}}}}'


def _as_escaped_yaml(cls: str, file: str) -> object:
    return rf'{{"class\u005fpath": {cls}, "init\u005fargs": {{filename: "{file}"}}}}'


def _as_yaml_in_yaml(cls: str, file: str) -> object:
    return [f"'{{class_path: {cls}, init_args: {{filename: {file}}}}}'", _as_yaml(cls, file)]


def _position(**parts: Any) -> Hostile:
    """A place within an epoch that no process was at."""

    def make(honest: bytes, canary: Path) -> bytes:
        def edit(checkpoint: dict[str, Any]) -> None:
            checkpoint["lit_course"]["positions"] = [parts]

        return edited(honest, edit)

    return make


def _managed(name: str, path: str) -> Hostile:
    """A state of ModelCheckpoint that names a file of others to delete, or to load."""

    def make(honest: bytes, canary: Path) -> bytes:
        def edit(checkpoint: dict[str, Any]) -> None:
            for state in checkpoint["callbacks"].values():
                folder = state.setdefault("dirpath", str(canary.parent / "runs"))
                places = {"folder": folder, "precious": canary.parent / "precious"}
                state[name] = path.format(**places)

        return edited(honest, edit)

    return make


def _record(name: str, content: bytes) -> Hostile:
    return lambda honest, canary: archive({**records(honest), name: content})


def _zip(*entries: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> Hostile:
    def make(honest: bytes, canary: Path) -> bytes:
        all_ = {f"archive/{name}": value for name, value in records(honest).items()}
        return zipped({**all_, "archive/version": b"3\n", **dict(entries)}, compression)

    return make


def _patch_directory(field: int, value: bytes) -> Hostile:
    """Overwrite a field of the last entry in the archive's directory."""

    def make(honest: bytes, canary: Path) -> bytes:
        at = honest.rindex(b"PK\x01\x02") + field
        return honest[:at] + value + honest[at + len(value) :]

    return make


def _overlapping(honest: bytes, canary: Path) -> bytes:
    """Two entries of the directory for the same place in the file."""
    entries = [i for i in range(len(honest) - 4) if honest[i : i + 4] == b"PK\x01\x02"]
    first, second = entries[4] + 42, entries[5] + 42
    return honest[:second] + honest[first : first + 4] + honest[second + 4 :]


def _shared(levels: int) -> object:
    value: object = [0.5] * 10
    for _ in range(levels):
        value = [value] * 10
    return value


def _state(state: object) -> Hostile:
    return lambda honest, canary: edited(
        honest, lambda c: c["optimizer_states"][0].update(state=state)
    )


_NUMBER = b"\x8a\xff" + b"\x7f" * 255  # LONG1 of 255 bytes
_COLLIDING = b"".join(  # integers of one hash
    b"\x8a\x0a" + (i * (2**61 - 1)).to_bytes(10, "little") + b"N" for i in range(20_000)
)
_SPARSE = torch.sparse_coo_tensor([[0]], [1.0], (HUGE,), check_invariants=True)
_SHARED_YAML = "[&a [1, 1], " + ", ".join(
    f"&{new} [*{old}, *{old}, *{old}]" for old, new in pairwise("abcdefghijklmnop")
)
_ODD_NAMES = ("os.system", "torch.optim.SGD", "../../x", "__class__", "\x1b[2J")

CODE: dict[str, Hostile] = {
    **{f"call in protocol {n}": _with_call(n) for n in (0, 1, 2, 3, 4, 5)},
    **{f"bare pickle of protocol {n}": _bare(n) for n in (0, 2, 4, 5)},
    "eval": _evaluates(builtins.eval),
    "exec": _evaluates(builtins.exec),
    "torch's legacy format": _legacy,
    "torch's tar format": _tar,
    "a global that is not called": _program(b"cposix\nsystem\n"),
    "INST": _program(b"(X\x04\x00\x00\x00trueiposix\nsystem\n"),
    "STACK_GLOBAL": _program(b"\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R"),
    "an extension code": _program(b"\x82\x01"),
    "NEWOBJ of a tensor": _program(b"ctorch\nTensor\n)\x81"),
    "a codec": _program(b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x04\x00\x00\x00zlib\x86R"),
    "constants.pkl of TorchScript": _record("constants.pkl", b"\x80\x02)."),
    "code of TorchScript": _record("code/__torch__.py", b"import os\n"),
    "_instantiator": _hyper(_instantiator="os.system"),
    "_instantiator of LightningCLI": _hyper(
        _instantiator="lightning.pytorch.cli.instantiate_module", _class_path="os.system"
    ),
    "_instantiator and another class": _hyper(
        _instantiator="lightning.pytorch.cli.instantiate_module",
        _class_path="lit_course.LinearRegressor",
    ),
    "_instantiator within": _hyper(
        schema={"_instantiator": "lightning.pytorch.cli.instantiate_module"}
    ),
    "_class_path": _hyper(_class_path="lit_course.LinearRegressor"),
    "class_path of the schema": _hyper(schema={"class_path": "os.system", "init_args": {}}),
    "a class among the options": _makes_file(_as_mapping),
    "a class in YAML": _makes_file(_as_yaml),
    "a class in escaped YAML": _makes_file(_as_escaped_yaml),
    "a class in YAML in YAML": _makes_file(_as_yaml_in_yaml),
    "hparams_type": _with("hparams_type", "os.system"),
    "hparams": _with("hparams", {"optimizer": "SGD"}),
    "hparams_name": _with("hparams_name", "schema"),
    **{
        f"{key} {name!r}": _hyper(**{key: name})
        for key in ("optimizer", "lr_scheduler", "loss", "activation")
        for name in _ODD_NAMES
    },
    "normalization": _hyper(normalization="os.system"),
    "initialization": _hyper(initialization="torch.nn.init.zeros_"),
    "a position of text": _position(random="os.system", metrics="os.system"),
    "a random state of text": _position(random={"cpu": "os.system"}, metrics={}),
    "sums of text": _position(random={}, metrics=["os.system"]),
    "a managed folder": _managed("best_model_path", "local://{precious}"),
    "a managed parent": _managed("kth_best_model_path", "{folder}/../../../../precious"),
    "a managed address": _managed("best_model_path", "http://localhost:9/x"),
    "a managed other file": _managed("last_model_path", "{precious}/x"),
}

SIZES: dict[str, Hostile] = {
    "more values than the record": _claims(numel=HUGE, size=(HUGE,)),
    "fewer values than the record": _claims(numel=3, size=(3,)),
    "negative storage": _claims(numel=-4),
    "larger than its storage": _claims(size=(HUGE,)),
    "one value a billion times": _claims(size=(10**9,), stride=(0,)),
    "stride beyond the storage": _claims(size=(2,), stride=(HUGE,)),
    "negative stride": _claims(stride=(-1,)),
    "negative size": _claims(size=(-1,)),
    "size of another type": _claims(size=(True,)),
    "offset beyond the storage": _claims(offset=HUGE),
    "hooks": _claims(hooks=Declared(4)),
    "an expanded weight": _tensor(torch.zeros(1).expand(HUGE)),
    "a sparse tensor": _tensor(_SPARSE),
    "a tensor without values": _tensor(torch.empty(HUGE, device="meta")),
    "a conjugate": _tensor(torch.zeros(2, dtype=torch.complex64).conj()),
    "a parameter": _tensor(torch.nn.Parameter(torch.zeros(2))),
    "wide layers": _hyper(hidden_features=[10**6, 10**6]),
    "many layers": _hyper(hidden_features=[1] * 50_000),
    "many frozen": _hyper(freeze=["network.*"] * 50_000),
    "many features": _hyper(in_features=HUGE),
    "many classes": _hyper(num_classes=HUGE),
    "no sizes": _hyper(in_features=None, hidden_features=[10**9]),
    "a bomb for data.pkl": _zip(
        ("archive/data.pkl", bytes(1 << 28)), compression=zipfile.ZIP_DEFLATED
    ),
    "a bomb for a storage": _zip(
        ("archive/data/3", bytes(1 << 28)), compression=zipfile.ZIP_DEFLATED
    ),
    "a record packed otherwise": _zip(("archive/version", b"3"), compression=zipfile.ZIP_LZMA),
    "an endianness of a million digits": _record("byteorder", b"1" * 10**6),
    "100,000 records": lambda honest, canary: archive(
        {**records(honest), **{f"data/{i}": b"" for i in range(100, 100_000)}}
    ),
    "a record twice": lambda honest, canary: _twice(honest),
    "a record of a larger size": _patch_directory(24, struct.pack("<L", 10**9)),
    "a record of two larger sizes": _patch_directory(20, struct.pack("<LL", 10**9, 10**9)),
    "a record elsewhere": _patch_directory(42, struct.pack("<L", 64)),
    "an encrypted record": _patch_directory(8, b"\x01"),
    "overlapping records": _overlapping,
    "a record outside its folder": lambda honest, canary: honest.replace(
        b"archive/data/3", b"archive/../d/3"
    ),
    "a name with a zero": lambda honest, canary: honest.replace(
        b"archive/data/3", b"archive/data/\x00"
    ),
    "something before it": lambda honest, canary: b"#!/bin/sh\n" + honest,
    "something behind it": lambda honest, canary: honest + bytes(100),
    "another end behind it": lambda honest, canary: honest + honest[-22:],
    "nothing": lambda honest, canary: b"",
    "text": lambda honest, canary: b"weights",
    "zeros": lambda honest, canary: bytes(1 << 20),
    "10,000 nested lists": _program(b"]" * 10_000 + b"a" * 9_999),
    "100,000 nested lists": _program(b"]" * 100_000 + b"a" * 99_999),
    "10,000 nested tuples": _program(b")" + b"\x85" * 10_000),
    "nested hyperparameters": lambda honest, canary: pickled(
        honest,
        b"\x80\x02}(X\x0a\x00\x00\x00state_dict}X\x10\x00\x00\x00hyper_parameters}X\x06\x00\x00"
        b"\x00schema" + b"]" * 5_000 + b"a" * 4_999 + b"su.",
    ),
    "a list in itself": _program(b"]q\x00h\x00a"),
    "lists in lists, shared": _state(_shared(12)),
    "one tensor a thousand times": _state(dict.fromkeys(range(1000), torch.zeros(1000))),
    "one text a thousand times": _hyper(schema={"feature_names": ["x" * 4000] * 20_000}),
    "600,000 lists": _program(b"]" * 600_000),
    "a million mappings": _program(b"}" * 1_000_000),
    "a larger data.pkl": _program(b"N" * (9 << 20)),
    "a memo of four billion": _program(b"Nr\xff\xff\xff\xff"),
    "a text of four billion": _program(b"X\xff\xff\xff\xff"),
    "a number of 255 bytes": _program(_NUMBER),
    "a number of four billion bytes": _program(b"\x8b\xff\xff\xff\x7f"),
    "keys of one hash": _program(b"}(" + _COLLIDING + b"u"),
    "a tuple for a key": _program(b"})Ns"),
    "half a surrogate pair": _program(b"}X\x03\x00\x00\x00\xed\xa0\x80Ns"),
    "nothing in the pickle": _program(b""),
    "only marks": _program(b"(" * 1000),
    "a text of a megabyte": _hyper(optimizer="A" * 10**6),
    "nested YAML in a text": _hyper(optimizer_options={"betas": "[" * 4000}),
    "shared YAML in a text": _hyper(optimizer_options={"betas": _SHARED_YAML + "]"}),
}

KINDS: dict[str, Hostile] = {
    "no state_dict": lambda honest, canary: edited(honest, lambda c: c.pop("state_dict")),
    "a list": lambda honest, canary: saved([1, 2]),
    "a tensor": lambda honest, canary: saved(torch.zeros(3)),
    "state_dict of a list": _with("state_dict", [1]),
    "state_dict of numbers": _with("state_dict", {"a": 1}),
    "numbers for keys": lambda honest, canary: edited(honest, lambda c: c.update({1: 2})),
    "hyper_parameters of a list": _with("hyper_parameters", [1]),
    "hyper_parameters of a tensor": _hyper(lr=torch.zeros(3)),
    "optimizer_states of a mapping": _with("optimizer_states", {"a": 1}),
    "lr_schedulers of a text": _with("lr_schedulers", "os.system"),
    "callbacks of a list": _with("callbacks", [1]),
    "loops of a list": _with("loops", [1]),
    "an epoch of text": _with("epoch", "1"),
    "an epoch below 0": _with("epoch", -1),
    "a step of a tensor": _with("global_step", torch.zeros(10**5)),
    "Lightning 0.5": _with("pytorch-lightning_version", "0.5"),
    "Lightning of no version": _with("pytorch-lightning_version", "x" * 1000),
    "lit_course of a list": _with("lit_course", [1]),
    "lit_course without a class": _with("lit_course", {"format": 1, "metrics": {}}),
    "a class of codes for the terminal": _with(
        "lit_course", {"format": 1, "class": "\x1b[2J\x07" * 100, "metrics": {}}
    ),
}

CORPUS: dict[str, Hostile] = {**CODE, **SIZES, **KINDS}


def _twice(honest: bytes) -> bytes:
    at = honest.rindex(b"archive/data/3")
    return honest[:at] + b"archive/data/4" + honest[at + 14 :]
