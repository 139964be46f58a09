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
    """What every contender took, in Markdown: the medians that the ratios are not made of."""
    lines = ["| group | contender | median |", "|---|---|---|"]
    for name, group in groups.items():
        for contender in record[name]["seconds"] if name in record else ():
            median = Rounds(record[name]["seconds"]).median(contender)
            lines.append(f"| {group.about} | {contender} | {median:.3g} |")
    return "\n".join(lines)


def write(record: Mapping[str, Any], file: Path) -> None:
    """Write the record: sorted, figures of four digits, each list on one line."""
    text = json.dumps(rounded(record), indent=1, sort_keys=True)
    text = re.sub(r"\[[^\[\]{}]*\]", lambda found: " ".join(found[0].split()), text)
    file.write_text(text + "\n", encoding="utf-8")


def rounded(value: Any) -> Any:
    """The same structure with floats of four significant digits."""
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
