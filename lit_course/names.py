"""Names that users type: looked up in closed tables, their options held against real signatures.

An error names what was typed, the nearest name there is, and all the others.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

T = TypeVar("T")


def nearest(name: str, known: Collection[str]) -> str:
    """Say which of the known names was probably meant: ``"; did you mean 'x'?"``, or nothing."""
    by_folded = {candidate.replace("_", "").lower(): candidate for candidate in known}
    matches = get_close_matches(name.replace("_", "").lower(), list(by_folded), n=1, cutoff=0.5)
    return f"; did you mean {by_folded[matches[0]]!r}?" if matches else ""


def lookup(
    what: str, name: str, table: Mapping[str, T], refused: Mapping[str, str] | None = None
) -> T:
    """Find a name in a closed table.

    Args:
        what: What the names stand for, for the message: ``"optimizer"``.
        name: The name as typed.
        table: All names that are known.
        refused: Names that exist elsewhere but are not taken, each with its reason.

    Raises:
        TypeError: If it is no name, but the thing itself.
        ValueError: If the name is unknown or refused.
    """
    if not isinstance(name, str):
        raise TypeError(
            f"{what} must be given by name, found {type(name).__name__}: for one of your own, "
            f"subclass the module\nknown: {', '.join(sorted(table))}"
        )
    if name in table:
        return table[name]
    if refused and name in refused:
        raise ValueError(f"{what} {name!r} is not taken: {refused[name]}")
    raise ValueError(
        f"unknown {what} {name!r}{nearest(name, table)}\nknown: {', '.join(sorted(table))}"
    )


def check_options(
    what: str,
    function: Callable[..., Any],
    options: Mapping[str, Any],
    *,
    reserved: Mapping[str, str] | None = None,
    supplied: Collection[str] = (),
) -> None:
    """Hold options against the signature of what they are for.

    Args:
        what: Whose options they are, for the message: ``"option of StepLR"``.
        function: The function or class that will take them.
        options: The options as typed.
        reserved: Parameters that are not options, each with what to do instead.
        supplied: Parameters that the caller fills in, so that they may be missing.

    Raises:
        ValueError: If an option is unknown or reserved, or one without a default is missing.
    """
    reserved = reserved or {}
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in reserved
    }
    for name in options:
        if name in reserved:
            raise ValueError(f"{name!r} is no {what}: {reserved[name]}")
        if name not in parameters:
            known = ", ".join(sorted(parameters)) or "none"
            raise ValueError(f"unknown {what} {name!r}{nearest(name, parameters)}\nknown: {known}")
    missing = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty and name not in {*options, *supplied}
    ]
    if missing:
        raise ValueError(f"{what} missing: {', '.join(missing)}")
