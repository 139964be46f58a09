"""Configuration files, looked into before the parser acts on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

# As much as a list of 100,000 feature names needs.
MAX_BYTES = 4 << 20
MAX_VALUES = 100_000
MAX_DEPTH = 20

_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class AbsurdConfigError(ValueError):
    """Larger or deeper than any configuration."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} is no configuration: it is larger than {MAX_BYTES >> 20} MiB or has more than "
            f"{MAX_VALUES:,} values, is nested more than {MAX_DEPTH} deep, or has aliases"
        )


def read_config(path: Path, aliases: bool = True) -> Mapping[str, Any]:
    """A config file as plain values; empty if it is none, of which the parser will say why.

    Args:
        path: The file.
        aliases: Whether values may refer to others; a few such lines can stand for billions.

    Raises:
        AbsurdConfigError: If it is larger or deeper than any configuration.
    """
    try:
        with path.open("rb") as file:
            values = parse(file.read(MAX_BYTES + 1).decode(), str(path), aliases)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return values if isinstance(values, Mapping) else {}


def parse(text: str, what: str, aliases: bool = True) -> object:
    """Read YAML as plain values, within the limits of this file.

    Args:
        text: The YAML.
        what: What it is, for the message.
        aliases: Whether values may refer to others.

    Raises:
        AbsurdConfigError: If it goes beyond a limit.
        yaml.YAMLError: If it is not YAML, or of more than plain values.
    """
    if len(text) > MAX_BYTES:
        raise AbsurdConfigError(what)
    # libyaml makes values by recursion, which would overflow the stack of the process: first the
    # events alone, which it gives one by one.
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH or (depth and isinstance(event, yaml.AliasEvent) and not aliases):
            raise AbsurdConfigError(what)
    try:
        values: object = yaml.load(text, Loader=_LOADER)
    except ValueError as error:  # such as the date 2026-99-99
        raise yaml.YAMLError(str(error)) from error
    if any(n > MAX_VALUES or depth > MAX_DEPTH for n, (_, depth) in enumerate(walk(values))):
        raise AbsurdConfigError(what)
    return values


def walk(value: object) -> Iterator[tuple[object, int]]:
    """A value and all keys and values within, each with its depth; only as far as is asked for."""
    path = [iter((value,))]
    while path:
        for item in path[-1]:
            yield item, len(path)
            if isinstance(item, Mapping):
                path.append(chain(item, item.values()))
                break
            if isinstance(item, list | tuple | set):
                path.append(iter(item))
                break
        else:
            path.pop()
