"""The classes that a run's folder may name: nothing else is built from it, nothing imported."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from lit_course import datamodules, modules
from lit_course.datamodules import SupervisedDataModule
from lit_course.modules import SupervisedModule


def _concrete(room: ModuleType, base: type) -> dict[str, Any]:
    found = ((name, getattr(room, name)) for name in room.__all__)
    return {
        name: cls for name, cls in found if issubclass(cls, base) and not inspect.isabstract(cls)
    }


MODULES: dict[str, type[SupervisedModule]] = _concrete(modules, SupervisedModule)
DATAMODULES: dict[str, type[SupervisedDataModule]] = _concrete(datamodules, SupervisedDataModule)

_NAMES = "|".join([*MODULES, *DATAMODULES])
_OURS = re.compile(
    rf"lit_course\.((modules|datamodules)\.(\w+\.)?)?({_NAMES})|lit_course\.callbacks\.[\w.]+"
)
_LIGHTNING = re.compile(r"lightning\.pytorch\.(?:callbacks|loggers)\.[\w.]+")


def read_config(path: Path) -> Mapping[str, Any]:
    """A config file as plain values, to look into before it is parsed; empty if it is none."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}  # the parser will say what is wrong with it
    return values if isinstance(values, Mapping) else {}


def refuse_foreign_classes(config: Path) -> None:
    """Look through the configuration in a run's folder before anything is built from it.

    Raises:
        ValueError: If it names a class that is neither ours nor a callback or logger of Lightning.
    """
    for class_path in _class_paths(read_config(config)):
        if not _OURS.fullmatch(class_path) and not _LIGHTNING.fullmatch(class_path):
            raise ValueError(
                f"{config} names the class {class_path}, which is not one of lit_course's: "
                f"if you trust it, say so with --config {config}"
            )


def _class_paths(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        if isinstance(value.get("class_path"), str):
            yield value["class_path"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _class_paths(item)
