"""The classes that a run's folder may name: nothing else is built from it, nothing imported."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from lit_course import datamodules, modules
from lit_course.config_files import AbsurdConfigError, parse, read_config, walk
from lit_course.datamodules import SupervisedDataModule
from lit_course.modules import SupervisedModule


def _concrete(room: ModuleType, base: type) -> dict[str, Any]:
    found = ((name, getattr(room, name)) for name in room.__all__)
    return {
        name: cls for name, cls in found if issubclass(cls, base) and not inspect.isabstract(cls)
    }


MODULES: dict[str, type[SupervisedModule]] = _concrete(modules, SupervisedModule)
DATAMODULES: dict[str, type[SupervisedDataModule]] = _concrete(datamodules, SupervisedDataModule)


def class_paths(room: str, cls: type) -> list[str]:
    """All ways to write one of our classes, its name alone first."""
    places = ("lit_course", f"lit_course.{room}", cls.__module__)
    return [cls.__name__, *(f"{place}.{cls.__name__}" for place in places)]


def _paths(room: str, table: Mapping[str, type]) -> set[str]:
    """All full paths of the classes of a table."""
    return {path for cls in table.values() for path in class_paths(room, cls)[1:]}


_PARTS = {"model": _paths("modules", MODULES), "data": _paths("datamodules", DATAMODULES)}
_CALLBACKS = {
    *(f"lit_course.callbacks.{name}" for name in ("EpochAxis", "Histograms", "StopEarly")),
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


_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# jsonargparse checks a list in time that grows with its square: 5 s for so many, 200 s for 16,000.
MAX_TYPED = 3_000
_KEY = re.compile(r"\w+")  # the parser knows more ways to write one, as in `trainer.callbacks+`
_COLLECTION = re.compile(r"[:{\[?&*]")  # no YAML that could matter is without one of these
_SPECIFICATION = {"class_path", "init_args", "dict_kwargs"}


def refuse_foreign_classes(config: Path) -> None:
    """Look through the configuration in a run's folder before anything is built from it.

    Whatever could make the parser import something is held against closed tables: model, data,
    callbacks and loggers by class, the Trainer's other objects by shorthand.

    Raises:
        ValueError: If it names anything else.
    """
    for foreign in _foreign(read_config(config, aliases=False)):
        raise ValueError(
            f"{config} names {_class_path(foreign)!r:.120}, which is not one of lit_course's: if "
            f"you trust it, say so with --config {config}"
        )


def refuse_hidden_classes(hyperparameters: Mapping[str, Any], path: Path) -> None:
    """Look through a checkpoint's hyperparameters before a parser takes them for defaults.

    Raises:
        ValueError: If the parser would make an object of one.
    """
    for foreign in _hidden(hyperparameters):
        raise ValueError(
            f"{path} is no readable checkpoint: its hyperparameters name "
            f"{_class_path(foreign)!r:.120}"
        )


def _foreign(values: Mapping[str, Any]) -> Iterator[object]:
    """All that a configuration names and no closed table knows."""
    trainer = {} if values.get("trainer") is None else values["trainer"]
    if not isinstance(trainer, Mapping):
        yield trainer
        return
    for part, known in _PARTS.items():
        yield from _not_of(values.get(part), known)
    for key, known in (("callbacks", _CALLBACKS), ("logger", _LOGGERS)):
        given = trainer.get(key)
        for item in given if isinstance(given, list) else [given]:
            if not (item is None or isinstance(item, bool)):
                yield from _not_of(item, known)
    for key in _SHORTHANDS:
        if not re.fullmatch(r"[\w-]+", str(trainer.get(key))) and trainer.get(key) != []:
            yield trainer[key]
    for group, checked in ((values, (*_PARTS, "trainer")), (trainer, ("callbacks", "logger"))):
        yield from _hidden({key: value for key, value in group.items() if key not in checked})


def _class_path(value: object) -> object:
    return value.get("class_path") if isinstance(value, Mapping) else value


def _not_of(value: object, known: set[str]) -> Iterator[object]:
    """What is foreign about an object that should be of a known class, made of plain values."""
    if (
        isinstance(value, Mapping)
        and str(value.get("class_path")) in known
        and value.keys() <= {"class_path", "init_args"}
        and isinstance(value.get("init_args", {}), Mapping | None)
    ):
        yield from _hidden(value.get("init_args") or {})
    else:
        yield value


def _hidden(arguments: Mapping[str, Any]) -> Iterator[object]:
    """Specifications of classes, also in texts, which the parser may read as YAML."""
    yield from (name for name in arguments if not _KEY.fullmatch(str(name)))
    typed = {name: value for name, value in arguments.items() if name != "schema"}
    if next(islice(walk(typed), MAX_TYPED, None), None) is not None:
        raise ValueError(f"its arguments have more than {MAX_TYPED:,} values")
    for value, _ in walk(arguments):
        if isinstance(value, Mapping):
            if not _SPECIFICATION.isdisjoint(value):
                yield value
        elif isinstance(value, str) and _may_specify(value):
            yield value


def _may_specify(text: str) -> bool:
    if not _COLLECTION.search(text):
        return False
    try:
        parsed = parse(text, "a text", aliases=False)
    except AbsurdConfigError:
        return True
    except yaml.YAMLError:
        return False
    inside = (value for value, _ in walk(parsed) if not isinstance(parsed, str))
    return any(
        not _SPECIFICATION.isdisjoint(value)
        if isinstance(value, Mapping)
        else isinstance(value, str) and _may_specify(value)
        for value in inside
    )
