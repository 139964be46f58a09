"""The reference of the configuration, from docstrings: a page for each model and data module."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docstring_parser import parse

from lit_course.closed_table import DATAMODULES, MODULES
from lit_course.commands.schema import Schema, run_schema


def write_pages(folder: Path) -> None:
    """Write a page for each class that a configuration may name, and one for what is beside them.

    Args:
        folder: Where; made, and pages that are there are replaced.
    """
    folder.mkdir(exist_ok=True)
    schema = run_schema()
    parts: dict[str, Mapping[str, type]] = {"model": MODULES, "data": DATAMODULES}
    for part, classes in parts.items():
        for name, cls in classes.items():
            doc = parse(inspect.getdoc(cls) or "")
            texts = {param.arg_name: param.description or "" for param in doc.params}
            rows = _rows(schema["$defs"][name]["properties"], texts, f"--{part}.")
            lines = [f"# {name}", "", f"`--{part} {name}`", "", doc.short_description or "", ""]
            lines += [doc.long_description or "", "", *rows]
            (folder / f"{name}.md").write_text(_text(lines), encoding="utf-8")
    own = {n: of for n, of in schema["properties"].items() if n not in (*parts, "trainer")}
    lines = ["# The run", "", "Beside `model`, `data` and Lightning's `trainer`:", ""]
    lines += _rows(own, {n: of.get("description", "") for n, of in own.items()}, "--")
    (folder / "run.md").write_text(_text(lines), encoding="utf-8")


def _text(lines: list[str]) -> str:
    return "\n".join(lines).replace("``", "`").rstrip() + "\n"


def _rows(properties: Schema, texts: Mapping[str, str], prefix: str) -> list[str]:
    """A definition list of the arguments: name, what it may be, default, what it is."""
    lines = []
    for name, of in properties.items():
        said = " ".join(texts.get(name, "").split())
        default = f", default `{of['default']!r}`" if "default" in of else ""
        lines += [f"**`{prefix}{name}`** ({_kind(of)}{default})", "", said, ""]
    return lines


def _kind(of: Schema) -> str:
    """What a value may be, in words."""
    if "enum" in of:
        return " | ".join(f"`{value}`" for value in of["enum"])
    if "anyOf" in of:
        return " | ".join(dict.fromkeys(_kind(part) for part in of["anyOf"]))
    kind: Any = of.get("type", "any")
    if kind == "array" and "items" in of:
        return f"list of {_kind(of['items'])}"
    return kind if isinstance(kind, str) else " | ".join(kind)
