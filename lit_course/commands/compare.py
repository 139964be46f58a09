"""``lit-course compare RUN...``: finished runs side by side, from their folders."""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from lit_course.callbacks.results import cell
from lit_course.commands.comparison import Comparison, Row
from lit_course.messages import UsageError
from lit_course.output_file import check_output, check_picture
from lit_course.recorded import Recorded, find_run, read_run

PICTURE = Path("compare.png")
ARROW = {True: " ↑", False: " ↓", None: ""}
BETTER = {True: "higher", False: "lower", None: None}
WIDE = 10_000  # characters, where no terminal says how many there are


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"compare: {message}; --help lists all")


def compare(args: Sequence[str]) -> None:
    """Print how runs differ and which is the best in what, and draw their curves.

    Args:
        args: What follows ``compare`` on the command line.

    Raises:
        UsageError: If the command line is wrong.
        FileNotFoundError: If there is no such run.
        ValueError: If a run has recorded nothing, or none the metric that shall be drawn.
    """
    asked = _parser().parse_args(args)
    output: Path | None = asked.output
    form = asked.format or (output.suffix[1:] if output else "text")
    if output is not None:
        check_output(output, asked.overwrite, [".txt", ".csv", ".json"])
    picture: Path = asked.picture or PICTURE
    check_picture(picture, asked.overwrite or asked.picture is None)
    if output is not None and output.absolute() == picture.with_suffix(".csv").absolute():
        raise UsageError(f"{output} is where the numbers of {picture} go: give another name")

    folders = dict.fromkeys(find_run(run, asked.runs) for run in asked.run)
    comparison = Comparison({_label(path, asked.runs): read_run(path) for path in folders})
    # Whatever is wrong is said before anything is written.
    metric, chart = asked.metric or comparison.monitored(), None
    if asked.metric or any(metric in run.curves for run in comparison.runs.values()):
        chart = comparison.chart(metric, asked.x == "epoch")
    write = {"text": _text, "txt": _text, "csv": _csv, "json": _json}[form]
    said = []
    if output is None:
        write(comparison, sys.stdout)
    else:
        with output.open("w", encoding="utf-8") as file:
            write(comparison, file)
        said.append(f"table: {output}")
    if chart is not None:
        chart.write(picture)
        said.append(f"picture: {picture}, numbers: {picture.with_suffix('.csv')}")
    # Who reads CSV or JSON from standard output reads nothing else.
    where = sys.stdout if output is not None or form == "text" else sys.stderr
    print("\n".join(said), file=where)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        "lit-course compare",
        description="Show runs side by side: differences of their configurations, numbers of their "
        "best epoch and test, curves in one picture.",
        allow_abbrev=False,
    )
    parser.add_argument("run", nargs="+", help="A run's folder, or a name for its newest run.")
    parser.add_argument(
        "--runs", type=Path, default=Path("lightning_logs"), help="Folder of all runs."
    )
    parser.add_argument(
        "--metric", help="What is drawn, such as val/accuracy; else what the runs monitor."
    )
    parser.add_argument(
        "--x", choices=("epoch", "step"), default="epoch", help="What it is drawn over."
    )
    parser.add_argument("--format", choices=("text", "csv", "json"), help="Of the table.")
    parser.add_argument(
        "--output", type=Path, help="File for the table, .txt, .csv or .json; else it is printed."
    )
    parser.add_argument(
        "--picture", type=Path, help=f"Picture to write, .png; else {PICTURE}, which is replaced."
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="Replace files at --output and --picture."
    )
    return parser


def _label(folder: Path, where: Path) -> str:
    """A run's short name: below the folder of all runs its place in it."""
    inside = folder.absolute().is_relative_to(where.absolute())
    return str(folder.absolute().relative_to(where.absolute()) if inside else folder)


def _state(run: Recorded) -> str:
    """How far it has come."""
    steps = [at for tag, (at, _) in run.curves.items() if tag.startswith(("train/", "val/"))]
    said = f"{max(run.epochs(np.concatenate(steps))):.4g} epochs" if steps else ""
    folds = f"{run.folds} folds" if run.folds else ""
    return ", ".join(filter(None, (said, folds, "" if run.is_finished else "not finished")))


def _text(comparison: Comparison, file: TextIO) -> None:
    terminal = Console(file=file)
    out = terminal if terminal.is_terminal else Console(file=file, width=WIDE)
    runs = [Column(escape(name), justify="right", overflow="fold") for name in comparison.runs]
    table = Table("", *runs)
    table.add_row("trained", *map(_state, comparison.runs.values()), end_section=True)
    for name, values in comparison.differences().items():
        table.add_row(escape(name), *(escape(_said(value)) for value in values))
    table.add_section()
    for row in comparison.metrics():
        table.add_row(f"{escape(row.name)}{ARROW[row.higher]}", *_cells(row))
    out.print(table)
    if any(row.best for row in comparison.metrics()):
        out.print("* best of its row; ↑ higher is better, ↓ lower is better", highlight=False)


def _cells(row: Row) -> list[str]:
    cells = []
    for i, (value, deviation) in enumerate(zip(row.values, row.deviations, strict=True)):
        text = cell(value) + ("" if deviation is None else f" ± {cell(deviation)}")
        cells.append(f"[bold]{text} *[/bold]" if i in row.best else f"{text}  " if text else "")
    return cells


def _said(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def _csv(comparison: Comparison, file: TextIO) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["kind", "name", "better", *comparison.runs])
    for name, values in comparison.differences().items():
        writer.writerow(["configuration", name, "", *map(_said, values)])
    for row in comparison.metrics():
        writer.writerow(["metric", row.name, BETTER[row.higher] or "", *map(_finite, row.values)])


def _json(comparison: Comparison, file: TextIO) -> None:
    names = list(comparison.runs)
    table = {
        "runs": {
            name: {"folder": str(run.folder), "finished": run.is_finished, "folds": run.folds}
            for name, run in comparison.runs.items()
        },
        "configuration": {
            name: dict(zip(names, values, strict=True))
            for name, values in comparison.differences().items()
        },
        "metrics": {
            row.name: {
                "better": BETTER[row.higher],
                "values": dict(zip(names, map(_finite, row.values), strict=True)),
                "best": [names[i] for i in row.best],
            }
            for row in comparison.metrics()
        },
    }
    json.dump(table, file, indent=2)
    file.write("\n")


def _finite(value: float | None) -> float | None:
    """NaN and infinity are no JSON: a value that is not defined is null."""
    return value if value is not None and math.isfinite(value) else None
