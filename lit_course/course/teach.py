"""Gives a lesson: says its question, runs its commands, shows and writes its answer."""

from __future__ import annotations

import io
import json
import math
import os
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib.resources import files
from pathlib import Path
from typing import Any, TextIO

from PIL import Image
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from lit_course import runs
from lit_course.course.contents import CONTENTS
from lit_course.course.lesson import Lesson, Run, Table, load
from lit_course.course.ran import Ran
from lit_course.figures import Chart
from lit_course.messages import UsageError

Execute = Callable[[str, list[str]], object]  # a verb, and what follows it
OUTPUT = "output.txt"  # what the runs said
ANSWER = "answer.json"


def teach(
    number: int, execute: Execute, *, folder: Path, data: Path = Path("data"), quick: bool = False
) -> Path:
    """Give a lesson.

    Args:
        number: Its number.
        execute: Runs a command of ``lit-course``.
        folder: Of all runs.
        data: Folder that holds ``boston.csv`` and ``FashionMNIST/``.
        quick: Whether to take its quicker runs.

    Returns:
        The lesson's folder: its runs, ``answer.json``, and its pictures.

    Raises:
        UsageError: If it has no quick variant.
        FileNotFoundError: If a file that it needs is not there.
        ValueError: If a run that is meant to diverge does not.
    """
    lesson = load(number)
    if quick and lesson.quick is None:
        raise UsageError(f"lesson {number} has no quick variant: leave --quick out")
    for file, source in lesson.needs.items():
        if not (data / file).is_file():
            raise FileNotFoundError(f"lesson {number} needs {data / file}: {source}")
    entry = CONTENTS[number]
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]Lesson {number}: {entry.title}[/bold]\n{entry.question}\n")
    place = runs.claim(folder, f"lesson{number}")
    if lesson.prepare:
        lesson.prepare(place)
    asked = lesson.quick if quick and lesson.quick else lesson.runs
    ran = _run_all(asked, lesson, execute, place, data, console)
    numbers: dict[str, Mapping[str, Sequence[Any]]] = {}
    for part in lesson.answer(ran):
        console.print()
        if isinstance(part, Table):
            console.print(_as_rich(part), soft_wrap=False)
            numbers[part.name] = part.columns
        else:
            console.print(f"picture: {_draw(part, place)}")
    text = json.dumps(_plain(numbers), indent=1, ensure_ascii=False)
    _write(place / ANSWER, text + "\n")
    console.print(f"\nlesson: {place}   its page: docs/lessons/{number:02}_{entry.file}.md")
    return place


def _run_all(
    asked: Mapping[str, Run],
    lesson: Lesson,
    execute: Execute,
    place: Path,
    data: Path,
    console: Console,
) -> dict[str, Ran]:
    ran: dict[str, Ran] = {}
    with (place / OUTPUT).open("w", encoding="utf-8") as said:
        for name, run in asked.items():
            places = {done: str(each.folder) for done, each in ran.items()}
            command = run.command.format(data=data, folder=place, **places)
            console.print(f"$ lit-course {command}", markup=False)
            ran[name] = each = _run(name, run, shlex.split(command), execute, place, said)
            if each.diverged:
                console.print(f"  diverged, as it should: {each.diverged.splitlines()[0]}")
            console.print(f"  {each.seconds:.1f} s")
    return ran


def _run(name: str, run: Run, args: list[str], execute: Execute, place: Path, said: TextIO) -> Ran:
    """Run one command; what it says goes to a file."""
    verb, *flags = args
    flags = [_found(flag) for flag in flags]
    if verb == "fit":
        flags += ["--name", name, "--runs", str(place)]
    said.write(f"$ lit-course {shlex.join(args)}\n")
    diverged = None
    started = time.perf_counter()
    try:
        with redirect_stdout(said), redirect_stderr(said):
            execute(verb, flags)
    except FloatingPointError as error:
        if not run.diverges:
            raise
        diverged = str(error)
    if run.diverges and diverged is None:
        raise ValueError(f"{name} should have diverged and did not: {place / name}")
    return Ran(place / name / "version_0", time.perf_counter() - started, diverged)


def _found(flag: str) -> str:
    """A configuration where it lies: here, else in the package."""
    if not flag.startswith("configs/") or Path(flag).is_file():
        return flag
    return str(files("lit_course") / flag)


def _as_rich(table: Table) -> RichTable:
    shown = RichTable(title=escape(table.title), title_justify="left")
    for number, title in enumerate(table.columns):
        shown.add_column(title, justify="right" if number else "left")
    for row in zip(*table.columns.values(), strict=True):
        shown.add_row(*(cell(value) for value in row))
    return shown


def cell(value: Any) -> str:
    """A value as the tables show it: four significant digits, of large numbers five."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    if not isinstance(value, float):
        return str(value)
    if value and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.3g}"
    order = math.floor(math.log10(abs(value))) if value else 0
    digits = max(0, 4 - order if order > 1 else 3 - order)
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _draw(chart: Chart, place: Path) -> Path:
    """The picture, and its numbers beside it."""
    path = place / f"{chart.name}.png"
    _write(path.with_suffix(".csv"), chart.text())
    buffer = io.BytesIO()
    Image.fromarray(chart.pixels()).quantize(64).save(buffer, format="png", optimize=True)
    path.write_bytes(buffer.getvalue())
    return path


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".part")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def _plain(value: Any) -> Any:
    """The same without NaN and infinity, which are no JSON."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
