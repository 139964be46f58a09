"""Checkpoint files: read safely, refused in words.

Nothing is made from a file before its archive and its pickle are looked through: no code, no
memory beyond the file's own size, no name that Lightning or a parser would import.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePath
from pickle import UnpicklingError
from typing import Any

import torch

from lit_course.archive import DamagedArchiveError, read_archive
from lit_course.plain_pickle import NotPlainError, TensorShape, describe

# What Lightning 2 writes and our code relies on; more keys are fine, these must be of their kind.
_KINDS: dict[str, type] = {
    "state_dict": dict,
    "hyper_parameters": dict,
    "lit_course": dict,
    "callbacks": dict,
    "loops": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
    "epoch": int,
    "global_step": int,
    "pytorch-lightning_version": str,
    "hparams_name": str,
}
# Lightning takes hyperparameters from these too, or makes something of them.
_PAST = {"hparams", "module_arguments", "hparams_type"}
# Hyperparameters by which Lightning's loader or jsonargparse would find a class or a function.
_IMPORTS = {"_instantiator", "_class_path", "class_path", "__path__"}
_MAX_TEXT = 4096  # the parser reads some texts as YAML, by recursion
# Where ModelCheckpoint's state says its files are. It deletes them when there are better ones.
_FILES = ("best_model_path", "kth_best_model_path", "last_model_path")

_REMOTE = re.compile("://|::")  # fsspec would take it for another file system


def read(path: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Read a checkpoint: tensors and plain values only, no code.

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
            return checkpoint
    except (DamagedArchiveError, NotPlainError) as error:
        raise ValueError(f"{path} is no readable checkpoint: {error}") from error
    except (RuntimeError, UnpicklingError, EOFError, ValueError, KeyError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{path} is no readable checkpoint\n({reason[:200]})") from error


def _check_contents(contents: Any) -> None:
    """Refuse what no checkpoint of ours holds, where something would act on it."""
    if not isinstance(contents, dict) or "state_dict" not in contents:
        raise NotPlainError("it holds no state_dict")
    for key, value in contents.items():
        if key in _PAST or not isinstance(key, str):
            raise NotPlainError(f"its entry {key!r:.80} is of no version of lit_course")
        kind = _KINDS.get(key, object)
        if not isinstance(value, kind) or (isinstance(value, int) and value < 0):
            raise NotPlainError(f"its entry {key} is no {kind.__name__} of a checkpoint")
    for name, value in contents["state_dict"].items():
        if not isinstance(name, str) or not isinstance(value, TensorShape | dict):
            raise NotPlainError(f"its state_dict has {name!r:.80}, which is no tensor")
    _check_hyperparameters(contents.get("hyper_parameters", {}))
    _check_signature(contents)
    for state in contents.get("callbacks", {}).values():
        if isinstance(state, dict) and not state.keys().isdisjoint(_FILES):
            _check_files(state)


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
    signature = contents.get("lit_course", {"class": "", "format": 0, "metrics": {}})
    expected = {"class": str, "format": int, "metrics": dict}
    for key, kind in expected.items():
        if not isinstance(signature.get(key), kind):
            raise NotPlainError(f"its entry lit_course has no {key}")
    if signature["class"] and not signature["class"].isidentifier():
        raise NotPlainError(f"the class {signature['class']!r:.80} wrote it")
    for value in signature["metrics"].values():
        if not isinstance(value, int | float):
            raise NotPlainError("its metrics are no numbers")


def _check_files(state: Mapping[str, Any]) -> None:
    """Refuse paths that lead out of the folder that the state names, or to no folder at all."""
    folder = state.get("dirpath")
    paths = [state.get(name) for name in _FILES] + list(state.get("best_k_models") or ())
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
