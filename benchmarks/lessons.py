"""Gives every lesson of the course, and puts what came out into its record, pictures and pages.

``make results``, or ``python -m benchmarks.lessons --only 1 2``. The record is
``docs/lessons.json``; a test holds the pages in ``docs/lessons/`` to it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Mapping
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.results import PACKAGES, ROOT, rounded
from lit_course.cli import main as lit_course
from lit_course.course.contents import CONTENTS
from lit_course.course.teach import cell

RECORD = ROOT / "docs" / "lessons.json"
IMAGES = ROOT / "docs" / "images"
PAGES = ROOT / "docs" / "lessons"
# A table of a page: the answer's name for it, titles, and names of the rows where they have others.
TABLE = re.compile(r"<!-- (\w+): (.+?)(?: // (.+?))? -->\n.*?<!-- end -->", re.DOTALL)


def measure(number: int, data: Path) -> dict[str, Any]:
    """Give a lesson; its pictures go to ``docs/images``.

    Returns:
        Its entry in the record.
    """
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        if lit_course(["lesson", str(number), "--runs", folder, "--data", str(data)]):
            raise SystemExit(f"lesson {number} has failed")
        seconds = time.perf_counter() - started
        place = Path(folder) / f"lesson{number}" / "version_0"
        for old in IMAGES.glob(f"lesson{number}_*.png"):
            if (place / old.name.partition("_")[2]).is_file():
                old.unlink()
        for picture in place.glob("*.png"):
            shutil.copy(picture, IMAGES / f"lesson{number}_{picture.name}")
        return {
            "command": f"lit-course lesson {number}",
            "cores": torch.get_num_threads(),
            "date": date.today().isoformat(),
            "platform": f"{platform.system()} {platform.machine()}",
            "seconds": seconds,
            "seed": 0,
            "tables": json.loads((place / "answer.json").read_text(encoding="utf-8")),
            "versions": {"python": platform.python_version()}
            | {package: version(package) for package in PACKAGES},
        }


def shown(page: str, tables: Mapping[str, Mapping[str, list[Any]]]) -> str:
    """A page with its tables made anew.

    Args:
        page: Its text; ``<!-- name: titles -->`` and ``<!-- end -->`` enclose a table, titles (and
            behind ``//`` the names of the rows) are separated by ``|``.
        tables: Those of the lesson's answer.
    """

    def table(found: re.Match[str]) -> str:
        start = found[0].partition("\n")[0]
        columns = list(tables[found[1]].values())
        titles = [title.strip() for title in found[2].split("|")]
        labels = found[3].split("|") if found[3] else [cell(value) for value in columns[0]]
        if len(titles) != len(columns) or len(labels) != len(columns[0]):
            raise ValueError(f"{start} names {len(titles)} columns and {len(labels)} rows")
        rows = zip(labels, *([cell(v) for v in column] for column in columns[1:]), strict=True)
        lines = [titles, ["---"] + ["---:"] * (len(titles) - 1), *rows]
        drawn = ("| " + " | ".join(c.strip() for c in row) + " |" for row in lines)
        return "\n".join([start, *drawn, "<!-- end -->"])

    return TABLE.sub(table, page)


def main() -> None:
    """Give the lessons that were asked for, all by default."""
    shared = ROOT.parent / "shared" / "data"
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lessons", description=__doc__)
    parser.add_argument("--data", type=Path, default=shared if shared.is_dir() else ROOT / "data")
    parser.add_argument("--only", nargs="*", type=int, choices=CONTENTS, default=list(CONTENTS))
    args = parser.parse_args()
    data = args.data.resolve()
    os.chdir(ROOT)
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {}
    for number in args.only:
        record[str(number)] = rounded(measure(number, data))
        text = json.dumps(record, indent=1, ensure_ascii=False)
        text = re.sub(r"\[[^\[\]{}]*\]", lambda found: " ".join(found[0].split()), text)
        RECORD.write_text(text + "\n", encoding="utf-8")
    for page in sorted(PAGES.glob("??_*.md")):
        entry = record.get(str(int(page.name[:2])))
        if entry:
            text = page.read_text(encoding="utf-8")
            page.write_text(shown(text, entry["tables"]), encoding="utf-8")


if __name__ == "__main__":
    main()
