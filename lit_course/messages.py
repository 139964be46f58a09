"""Errors in words: five lines at most, what was wrong, what was found, what to do.

jsonargparse reports a bad value as the tree of everything that it tried. This finds the branch
that the user meant: which key, what was given, what would have been right.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence

from lit_course.names import nearest

LINES = 5
WIDTH = 400


class UsageError(ValueError):
    """The command line or the configuration was wrong; nothing was started."""


def in_words(error: BaseException) -> str:
    """What an exception says, without a stack trace."""
    if isinstance(error, OSError) and error.strerror:
        return ": ".join(str(part) for part in (error.filename, error.strerror) if part)
    # A KeyError's text is the bare key, a plain exception's may be empty: then its type says more.
    try:
        said = repr(error) if isinstance(error, KeyError) else str(error)
    except Exception:  # somebody's own class
        said = ""
    return shorten(said or type(error).__name__)


def shorten(text: str) -> str:
    """The first five lines of a message, none of them endless or with codes for the terminal."""
    # Worker processes send their stack trace as text; its last line is the error.
    text = re.sub(r"(?s)(Original )?Traceback \(most recent call last\):.*\n", "", text.strip())
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    # What a file says may be in it.
    lines = [
        "".join(c if c.isprintable() or c == "\t" else "�" for c in line) for line in lines[:LINES]
    ]
    return "\n".join(line if len(line) <= WIDTH else line[:WIDTH] + " …" for line in lines)


def lost_process(text: str) -> str | None:
    """Put into words that another process was gone when it was needed; None for anything else."""
    if re.search(r"\b(gloo|nccl)\b.*(closed|reset|refused|remote)", text, re.I | re.S):
        return "another process of this run has ended; what ended it stands above"
    return None


def explain_parser(
    text: str,
    flags: Collection[str],
    classes: Callable[[str], Sequence[str]],
    arguments: Callable[[str], Sequence[str]],
) -> str:
    """Put a message of the argument parser into words.

    Args:
        text: jsonargparse's message.
        flags: All flags that the parser knows, without dashes.
        classes: From a key (``model``) to the class names that it takes.
        arguments: From a class path to the names of its arguments.
    """
    key = ".".join(re.findall(r'Parser key "([^"]+)"', text))
    if found := re.search(r"[Uu]nrecognized arguments?: --?(\S+)", text):
        return _unknown("flag --" + _flag(found[1]), _flag(found[1]), flags)
    if found := re.search(r"does not accept option '([^']+)'", text):
        return _unknown(f"key {found[1]!r} in the configuration", found[1], flags)
    if found := re.search(r"class_path '([^']+)':\s+Option '([^']+)' is not accepted", text):
        path, option = found.groups()
        name = path.rpartition(".")[2]
        return _unknown(f"argument {option!r} of {name}", option, arguments(path), list_all=True)
    if found := re.search(r"Expected a dot import path string: (.*)", text):
        known = classes(key)
        return _unknown(f"class {found[1]!r} for {key}", found[1], known, list_all=True)
    if found := re.search(
        r"class_path '([^']+)':\s+(No module named .*|.*has no attribute.*)", text
    ):
        return f"{key}: cannot import {found[1]}: {found[2].strip()}"
    if found := re.search(
        r"class_path '([^']+)':\s+the following arguments are required: (.*)", text
    ):
        return f"{key}: {found[1].rpartition('.')[2]} needs {found[2].strip()}: give it"
    if found := re.search(r"Import path does not correspond to (.*)", text):
        return f"{key}: {text.rpartition('Given value: ')[2].strip()[:80]} is not {found[1]}"
    if found := re.search(r"Path is not a file: (.*)", text):
        return f"{key}: not a file: {found[1]}"
    if found := re.search(r"arguments are required: \w+\.(\S+)", text):
        return f"no {found[1]} is named: give --config FILE, or --{found[1]} NAME"
    if found := re.search(r"File does not exist: '?([^'\n]+)", text):
        return f"config file not found: {found[1]}"
    if found := re.search(r"Problems parsing config: (.*)", text, re.DOTALL):
        return "the config file is not YAML: " + " ".join(found[1].split())
    if found := re.search(r"Unexpected config: (.*)", text):
        return f"the config file is no mapping of names to values, it says {found[1][:80]!r}"
    return _wrong_value(key, text)


def _wrong_value(key: str, text: str) -> str:
    expected = re.findall(r"Expected an? (.*?)(?:\. Got value: (.*))?$", text, re.MULTILINE)
    kinds = [_kind(kind) for kind, _ in expected if "NoneType" not in kind]
    # Branches that were tried are listed from the outermost type to the innermost.
    kinds = [kind for kind in dict.fromkeys(kinds) if kind]
    values = [value for _, value in expected if value]
    values += re.findall(r"Given value: (.*)", text)
    if not (key and kinds and values):
        # What a class or its file raised, if there is such a line.
        raised = re.findall(r"^\s+- (?!Expected |Problem )(.+)$", text, re.MULTILINE)
        raised = [line for line in raised if not line.startswith("Does not validate")]
        given = values[0][:80] + ": " if values else ""
        return f"{key}: {given}{raised[0]}" if key and raised else shorten(text)
    return f"{key}: expected {' or '.join(kinds)}, found {values[0][:120]!r}"


def _kind(kind: str) -> str:
    if found := re.search(r"Literal\[(.*)\]", kind):
        return "one of " + found[1]
    if found := re.fullmatch(r"<class '([\w.]+)'>", kind):
        names = {"int": "an integer", "float": "a number", "bool": "true or false"}
        names |= {"str": "text", "list": "a list", "dict": "a mapping"}
        return names.get(found[1], found[1])
    return "" if "path" in kind else kind


def _flag(text: str) -> str:
    return text.lstrip("-").partition("=")[0]


def _unknown(what: str, name: str, known: Collection[str], list_all: bool = False) -> str:
    text = f"unknown {what}{nearest(name, known)}"
    if list_all and known:
        text += f"\nknown: {', '.join(sorted(known))}"
    elif "did you mean" not in text:
        text += "; --help lists all"
    return text
