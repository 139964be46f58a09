"""The classes that a run's folder may name: nothing else is built from it, nothing imported."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
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


def _paths(room: str, table: Mapping[str, type]) -> set[str]:
    """All ways to write the classes of a table."""
    return {
        f"{place}.{name}"
        for name, cls in table.items()
        for place in ("lit_course", f"lit_course.{room}", cls.__module__)
    }


_PARTS = {"model": _paths("modules", MODULES), "data": _paths("datamodules", DATAMODULES)}
_CALLBACKS = {
    "lit_course.callbacks.StopEarly",
    "lightning.pytorch.callbacks.DeviceStatsMonitor",
    "lightning.pytorch.callbacks.EarlyStopping",
    "lightning.pytorch.callbacks.GradientAccumulationScheduler",
    "lightning.pytorch.callbacks.LearningRateMonitor",
    "lightning.pytorch.callbacks.ModelCheckpoint",
    "lightning.pytorch.callbacks.ModelSummary",
    "lightning.pytorch.callbacks.RichModelSummary",
    "lightning.pytorch.callbacks.StochasticWeightAveraging",
    "lightning.pytorch.callbacks.Timer",
}
_LOGGERS = {f"lightning.pytorch.loggers.{name}" for name in ("CSVLogger", "TensorBoardLogger")}
# Trainer arguments that may name classes; their shorthands have no dot.
_SHORTHANDS = ("accelerator", "plugins", "profiler", "strategy")


def read_config(path: Path) -> Mapping[str, Any]:
    """A config file as plain values, to look into before it is parsed; empty if it is none."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}  # the parser will say what is wrong with it
    return values if isinstance(values, Mapping) else {}


def refuse_foreign_classes(config: Path) -> None:
    """Look through the configuration in a run's folder before anything is built from it.

    Whatever could make the parser import something is held against closed tables: model, data,
    callbacks and loggers by class, the Trainer's other objects by shorthand.

    Raises:
        ValueError: If it names anything else.
    """
    values = read_config(config)
    trainer = values.get("trainer")
    trainer = trainer if isinstance(trainer, Mapping) else {}
    foreign = [
        values.get(part)
        for part, known in _PARTS.items()
        if not isinstance(values.get(part), Mapping) or values[part].get("class_path") not in known
    ]
    for key, known in (("callbacks", _CALLBACKS), ("logger", _LOGGERS)):
        given = trainer.get(key)
        objects = given if isinstance(given, list) else [given]
        foreign += [item for item in objects if not _is_plain(item) and not _is_of(item, known)]
    foreign += [
        trainer[key]
        for key in _SHORTHANDS
        if not re.fullmatch(r"[\w-]+", str(trainer.get(key))) and trainer.get(key) != []
    ]
    if foreign:
        raise ValueError(
            f"{config} names {_class_path(foreign[0]) or foreign[0]!r}, which is not one of "
            f"lit_course's: if you trust it, say so with --config {config}"
        )


def _class_path(value: object) -> object:
    return value.get("class_path") if isinstance(value, Mapping) else value


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, bool)


def _is_of(value: object, known: set[str]) -> bool:
    """Whether it is an object of a known class, made from numbers and names without a dot."""
    return (
        isinstance(value, Mapping)
        and value.get("class_path") in known
        and "class_path" not in str(value.get("init_args") or "")
    )
