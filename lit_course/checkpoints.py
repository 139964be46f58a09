"""Checkpoint files: read safely, refused in words.

Nothing is made from a file before its archive and its pickle are looked through: no code, no
memory beyond the file's own size, no name that Lightning or a parser would import.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import torch

from lit_course.archive import DamagedArchiveError, read_archive
from lit_course.plain_pickle import describe
from lit_course.tensor_shapes import NotPlainError, TensorShape

# What Lightning 2 writes and our code relies on. There may be more keys; ANY stands for all others.
ANY = "*"
_NUMBER = int | float
_PROGRESS = {"total": {ANY: int}, "current": {ANY: int}}
_KINDS: dict[str, Any] = {
    "state_dict": {ANY: TensorShape | dict},
    "hyper_parameters": {},
    "lit_course": {
        "format": int,
        "class": str,
        "metrics": {ANY: _NUMBER},
        "positions": [{"random": {ANY: TensorShape}, "metrics": {}}],
    },
    "callbacks": {ANY: {}},
    "loops": {
        "fit_loop": {
            "epoch_progress": _PROGRESS,
            "epoch_loop.batch_progress": _PROGRESS,
            "epoch_loop.scheduler_progress": _PROGRESS,
            "epoch_loop.val_loop.batch_progress": _PROGRESS,
            "epoch_loop.state_dict": {},
            "epoch_loop.automatic_optimization.optim_progress": {
                "optimizer": {"step": _PROGRESS, "zero_grad": _PROGRESS}
            },
        },
        ANY: {},
    },
    "optimizer_states": [{"state": {ANY: {}}, "param_groups": [{}]}],
    "lr_schedulers": [{"last_epoch": int}],
    "epoch": int,
    "global_step": int,
    "pytorch-lightning_version": str,
    "hparams_name": str,
}
# Lightning takes hyperparameters from these too, or makes something of them.
_PAST = {"hparams", "module_arguments", "hparams_type"}
# Hyperparameters by which Lightning's loader or jsonargparse would find a class or a function.
_IMPORTS = {"_instantiator", "_class_path", "class_path", "__path__"}
_LIGHTNING_CLI = "lightning.pytorch.cli.instantiate_module"
_MAX_TEXT = 4096  # the parser reads some texts as YAML, by recursion
# Where ModelCheckpoint's state says its files are. It deletes them when there are better ones.
_FILES = ("best_model_path", "kth_best_model_path", "last_model_path")

_REMOTE = re.compile("://|::")  # fsspec would take it for another file system


def read(path: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Read a checkpoint: tensors and plain values only, no code.

    What somebody's ``LightningCLI`` notes among the hyperparameters is left out.

    Args:
        path: The file.
        map_location: Where to put the tensors, as in ``torch.load``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, holds more than tensors and plain values, or says what no
            checkpoint of ours does.
    """
    path = Path(path)
    if not path.is_file():  # a pipe would be waited for
        raise FileNotFoundError(f"checkpoint not found: {path}")
    try:
        with path.open("rb") as file:
            archive = read_archive(file)
            _check_contents(describe(archive.pickled, archive.storages))
            checkpoint: dict[str, Any] = torch.load(
                file, map_location=map_location, weights_only=True
            )
            if "hyper_parameters" in checkpoint:
                checkpoint["hyper_parameters"] = _arguments(checkpoint)
            return checkpoint
    except (DamagedArchiveError, NotPlainError) as error:
        raise ValueError(f"{path} is no readable checkpoint: {error}") from error
    except OSError:
        raise
    except Exception as error:  # torch raises whatever it stumbles on
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{path} is no readable checkpoint\n({reason[:200]})") from error


def _check_contents(contents: Any) -> None:
    """Refuse what no checkpoint of ours holds, where something would act on it."""
    if not isinstance(contents, dict) or "state_dict" not in contents:
        raise NotPlainError("it holds no state_dict")
    for key in contents:
        if key in _PAST or not isinstance(key, str):
            raise NotPlainError(f"its entry {key!r:.80} is of no version of lit_course")
    _check_kind("its content", contents, _KINDS)
    _check_hyperparameters(_arguments(contents))
    _check_signature(contents)
    for state in contents.get("callbacks", {}).values():
        if not state.keys().isdisjoint(_FILES):
            _check_files(state)


def _check_kind(name: str, value: Any, kind: Any) -> None:
    """Hold a value against a kind: a type, ``[kind of all items]``, or ``{key: kind}``."""
    expected: Any = type(kind) if isinstance(kind, dict | list) else kind
    if not isinstance(value, expected) or (expected is int and value < 0):
        raise NotPlainError(f"its entry {name} is not as in a checkpoint: {value!r:.40}")
    if isinstance(kind, list):
        for item in value:
            _check_kind(name, item, kind[0])
    elif isinstance(kind, dict):
        for key, item in value.items():
            _check_kind(f"{key!s:.80}", item, kind.get(key, kind.get(ANY, object)))


def _arguments(contents: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters without the class that a LightningCLI notes: it is the one that wrote it.

    Whatever else goes by those names stays, to be refused.
    """
    arguments: dict[str, Any] = contents.get("hyper_parameters", {})
    wrote = contents.get("lit_course", {}).get("class")
    class_path = arguments.get("_class_path", wrote)
    named = class_path.rpartition(".")[2] if isinstance(class_path, str) else None
    if arguments.get("_instantiator") != _LIGHTNING_CLI or named is None or named != wrote:
        return arguments
    notes = ("_instantiator", "_class_path")
    return {name: value for name, value in arguments.items() if name not in notes}


def _check_hyperparameters(value: Any) -> None:
    if isinstance(value, TensorShape):
        raise NotPlainError("a hyperparameter is a tensor")
    if isinstance(value, str) and len(value) > _MAX_TEXT:
        raise NotPlainError(f"a hyperparameter is a text of {len(value):,} characters")
    if isinstance(value, Mapping):
        for key in value:
            if key in _IMPORTS or not isinstance(key, str):
                raise NotPlainError(
                    f"the hyperparameter {key!r:.80} could make a program import what the file says"
                )
    if isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            _check_hyperparameters(item)


def _check_signature(contents: Mapping[str, Any]) -> None:
    """What wrote the file: Lightning edits files of its versions before 2."""
    version = contents.get("pytorch-lightning_version", "2")
    if not version.partition(".")[0].isdecimal() or int(version.partition(".")[0]) < 2:
        raise NotPlainError(f"it was written by Lightning {version!r:.40}")
    if contents.get("hparams_name", "kwargs") != "kwargs":
        raise NotPlainError("its hyperparameters are given as one argument")
    signature = contents.get("lit_course", {"class": "Foreign", "format": 0, "metrics": {}})
    for key in ("class", "format", "metrics"):
        if key not in signature:
            raise NotPlainError(f"its entry lit_course has no {key}")
    if not signature["class"].isidentifier():
        raise NotPlainError(f"the class {signature['class']!r:.80} wrote it")


def _check_files(state: Mapping[str, Any]) -> None:
    """Refuse paths that lead out of the folder that the state names, or to no folder at all."""
    folder = state.get("dirpath")
    best = state.get("best_k_models", {})
    paths = [state.get(name) for name in _FILES] + list(best if isinstance(best, dict) else [best])
    for path in paths:
        inside = (
            isinstance(path, str)
            and isinstance(folder, str)
            and not _REMOTE.search(path)
            and ".." not in PurePath(path).parts
            and PurePath(folder) in PurePath(path).parents
        )
        if path and not inside:
            raise NotPlainError(f"it would have the file {path!r:.80} managed")
