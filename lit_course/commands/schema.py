"""``lit-course schema``: a JSON schema of a run's configuration, for editors and for completion.

jsonargparse can make one of a parser since 4.53, but not of the Trainer's: it fails on ``type``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from jsonargparse import ArgumentParser
from lightning.pytorch.cli import ArgsType, LightningArgumentParser

from lit_course.closed_table import DATAMODULES, MODULES, class_paths
from lit_course.config_cli import ConfigCLI
from lit_course.losses import CLASSIFICATION_LOSSES, REGRESSION_LOSSES
from lit_course.messages import UsageError
from lit_course.networks import ACTIVATIONS, INITIALIZATIONS
from lit_course.optimizers import OPTIMIZERS
from lit_course.ranking_losses import RANKING_LOSSES
from lit_course.regression_losses import INTERVAL_LOSSES
from lit_course.schedules import SCHEDULES

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
PLAIN: dict[Any, str] = {
    NoneType: "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    Path: "string",
    timedelta: "string",
}
# Arguments that are names out of a closed table; by ``class.argument`` where it is the class's own.
NAMES: dict[str, Iterable[str]] = {
    "activation": ACTIVATIONS,
    "initialization": INITIALIZATIONS,
    "optimizer": OPTIMIZERS,
    "lr_scheduler": SCHEDULES,
    "MLPClassifier.loss": CLASSIFICATION_LOSSES,
    "MLPRegressor.loss": {**REGRESSION_LOSSES, **INTERVAL_LOSSES},
    "LinearRegressor.loss": REGRESSION_LOSSES,
    "Ranker.loss": RANKING_LOSSES,
}
# Somebody else's class is any other path with a dot.
FOREIGN = {"type": "string", "pattern": r"^(?!lit_course\.)\w+(\.\w+)+$"}
AN_OBJECT: Schema = {
    "type": "object",
    "properties": {
        "class_path": {"type": "string"},
        "init_args": {"type": "object"},
        "dict_kwargs": {"type": "object"},
    },
    "required": ["class_path"],
    "additionalProperties": False,
}


def print_schema(args: Sequence[str]) -> None:
    """Print the schema of what ``fit --config`` takes.

    Raises:
        UsageError: If there are arguments.
    """
    usage = "usage: lit-course schema > lit_course.schema.json   a JSON schema of configurations"
    if args and args[0] in ("-h", "--help"):
        print(usage)
    elif args:
        raise UsageError(f"schema takes no arguments, found {args[0]!r}\n{usage}")
    else:
        print(json.dumps(run_schema(), indent=1))


def run_schema() -> Schema:
    """The JSON schema (draft 2020-12) of a run's configuration.

    Nothing is required but the path of a class: what a file leaves out may come as a flag.
    """
    try:
        _Declared("fit", [])
    except _DeclaredError as declared:
        schema = _of_parser(declared.parser)
    schema["properties"]["model"] = _of_classes("modules", MODULES)
    schema["properties"]["data"] = _of_classes("datamodules", DATAMODULES)
    definitions = {name: _of_class(cls) for name, cls in {**MODULES, **DATAMODULES}.items()}
    return {
        "$schema": DIALECT,
        "title": "Configuration of lit-course",
        **schema,
        "$defs": {"object": {"anyOf": [{"type": "string"}, AN_OBJECT]}, **definitions},
    }


class _DeclaredError(Exception):
    def __init__(self, parser: LightningArgumentParser) -> None:
        self.parser = parser


class _Declared(ConfigCLI):
    """A command line that is declared, and parses nothing."""

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        raise _DeclaredError(self._parser(self.verb))


def _of_class(cls: type) -> Schema:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls, fail_untyped=False)
    summary = (cls.__doc__ or "").strip().partition("\n")[0]
    return {"description": summary, **_of_parser(parser, cls.__name__)}


def _of_parser(parser: ArgumentParser, owner: str = "") -> Schema:
    """What all arguments of a parser may be, those with a dot in their name as nested mappings."""
    top = _mapping()
    for action in parser._actions:
        hint = getattr(action, "_typehint", None)
        if hint is None or action.dest.endswith(".help"):
            continue
        *groups, name = action.dest.split(".")
        at = top
        for group in groups:
            at = at["properties"].setdefault(group, _mapping())
        names = NAMES.get(f"{owner}.{name}", NAMES.get(name)) if owner else None
        text = " ".join((action.help or "").replace("``", "`").split())
        said = {"description": text} if text else {}
        at["properties"][name] = {**said, **_of_type(hint, names), **_default(action.default)}
    return top


def _mapping() -> Schema:
    return {"type": "object", "properties": {}, "additionalProperties": False}


def _default(value: object) -> Schema:
    try:
        json.dumps(value)
    except TypeError:  # an object of the parser's own
        return {}
    return {} if value is None else {"default": value}


def _of_type(hint: Any, names: Iterable[str] | None = None) -> Schema:
    """What YAML may say for an argument of a type.

    Args:
        hint: The type.
        names: The texts that it may be, if they are from a closed table.
    """
    origin = get_origin(hint) or hint
    if origin is Any:
        return {}
    if origin is str and names is not None:
        return {"enum": sorted(names)}
    if origin in PLAIN:
        return {"type": PLAIN[origin]}
    if origin is Literal:
        return {"enum": list(get_args(hint))}
    if origin in (Union, UnionType):
        return _any_of([_of_type(part, names) for part in get_args(hint)])
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object"}
    if isinstance(origin, type) and issubclass(origin, Iterable):
        return {"type": "array", "items": _of_type(get_args(hint)[0])} if get_args(hint) else {}
    return {"$ref": "#/$defs/object"}


def _any_of(schemas: list[Schema]) -> Schema:
    """Any of several; those that are but a type in one list."""
    if {} in schemas:
        return {}
    types = list(dict.fromkeys(s["type"] for s in schemas if s.keys() == {"type"}))
    others = [schema for schema in schemas if schema.keys() != {"type"}]
    others = [schema for i, schema in enumerate(others) if schema not in others[:i]]
    if types:
        others.append({"type": types[0] if len(types) == 1 else types})
    return others[0] if len(others) == 1 else {"anyOf": others}


def _of_classes(room: str, table: Mapping[str, type]) -> Schema:
    """A class by its name, or a mapping that says it by its path, with its arguments."""
    paths = {name: class_paths(room, cls) for name, cls in table.items()}
    path = {"anyOf": [{"enum": [path for some in paths.values() for path in some]}, FOREIGN]}
    chosen = [
        {
            "if": {"properties": {"class_path": {"enum": some}}},
            "then": {"properties": {"init_args": {"$ref": f"#/$defs/{name}"}}},
        }
        for name, some in paths.items()
    ]
    properties = {**AN_OBJECT["properties"], "class_path": path}
    by_path = {**AN_OBJECT, "properties": properties, "allOf": chosen}
    return {"if": {"type": "object"}, "then": by_path, "else": {**path}}
