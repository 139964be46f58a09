"""The page that shows the record: ``docs/performance.md``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.group import Group
from benchmarks.results import ROOT
from benchmarks.table import machines, seconds, table

PAGE = ROOT / "docs" / "performance.md"
PARTS: dict[str, Callable[[Mapping[str, Any], Mapping[str, Group]], str]] = {
    "machines": machines,
    "table": table,
    "seconds": seconds,
}


def shown(page: str, record: Mapping[str, Any], groups: Mapping[str, Group]) -> str:
    """The page with its figures taken from the record.

    Args:
        page: Its text; ``<!-- table -->`` and ``<!-- end -->`` enclose what is put there.
        record: Entries by the name of their group.
        groups: All groups.
    """
    for name, part in PARTS.items():
        start, end = f"<!-- {name} -->", "<!-- end -->"
        before, found, rest = page.partition(start)
        _, ended, after = rest.partition(end)
        if not (found and ended):
            raise ValueError(f"the page has no place for {name}: {start} to {end}")
        page = f"{before}{start}\n{part(record, groups)}\n{end}{after}"
    return page
