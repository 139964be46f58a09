"""The record of the measurements, and the tables that are made of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.group import Group
from benchmarks.rounds import Rounds

HEAD = ("what", "median", "range of the rounds", "asked for", "reached")


def table(record: Mapping[str, Any], groups: Mapping[str, Group]) -> str:
    """All ratios, in Markdown.

    Args:
        record: Entries by the name of their group; groups that it lacks are left out.
        groups: All groups.
    """
    lines = list(_lines(record, groups))
    widths = [max(map(len, column)) for column in zip(HEAD, *lines, strict=True)]

    def line(cells: tuple[str, ...]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    rule = f"|{'|'.join('-' * (width + 2) for width in widths)}|"
    return "\n".join([line(HEAD), rule, *map(line, lines)])


def _lines(
    record: Mapping[str, Any], groups: Mapping[str, Group]
) -> Iterator[tuple[str, str, str, str, str]]:
    for name, group in groups.items():
        if name not in record:
            continue
        yield f"**{group.about}**", "", "", "", ""
        rounds = Rounds(record[name]["seconds"])
        for row in group.rows:
            if (found := row.measured(rounds)) is not None:
                low, high = (f"{value:.3g}" for value in (found.low, found.high))
                median = f"{found.median:.3g}{row.unit}"
                yield row.what, median, f"{low}–{high}", row.asked, row.reached(found)


def seconds(record: Mapping[str, Any], groups: Mapping[str, Group]) -> str:
    """The medians of the contenders themselves, in Markdown, a line a group."""
    lines = ["| group | medians |", "|---|---|"]
    for name, group in groups.items():
        if name in record:
            rounds = Rounds(record[name]["seconds"])
            medians = (f"{own} {rounds.median(own):.3g}" for own in sorted(rounds.seconds))
            lines.append(f"| {group.about.removesuffix(', against …')} | {'; '.join(medians)} |")
    return "\n".join(lines)


def machines(record: Mapping[str, Any], groups: Mapping[str, Group]) -> str:
    """Where, when, on what and how often was measured; a paragraph for each that differs."""
    measured: dict[str, list[str]] = {}
    for name in (name for name in groups if name in record):
        entry = record[name]
        rounds = len(next(iter(entry["seconds"].values())))
        computing = ", ".join(f"{pool} {count}" for pool, count in entry["threads"].items())
        versions = ", ".join(f"{package} {number}" for package, number in entry["versions"].items())
        text = (
            f"{entry['processor']}, {entry['cores']} cores, {entry['platform']}; threads: "
            f"{computing}; {versions}; {entry['data']}; rounds: {rounds}; load "
            f"before {entry['load']:.1f}; {entry['date']}."
        )
        measured.setdefault(text, []).append(name)
    if len(measured) == 1:
        return next(iter(measured))
    return "\n\n".join(f"{', '.join(names)}: {text}" for text, names in measured.items())


def write(record: Mapping[str, Any], file: Path) -> None:
    """Write the record: sorted, each list on one line."""
    text = json.dumps(record, indent=1, sort_keys=True)
    text = re.sub(r"\[[^\[\]{}]*\]", lambda found: " ".join(found[0].split()), text)
    file.write_text(text + "\n", encoding="utf-8")
