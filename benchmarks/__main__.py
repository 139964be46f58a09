"""Measures the program beside what else its users could run: ``make bench``.

All contenders of a group run in turn in every round; a ratio is paired within a round. The record
is ``docs/performance.json``, and ``docs/performance.md`` shows it.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

from benchmarks.group import Setting
from benchmarks.groups import GROUPS
from benchmarks.images import draw, unpack
from benchmarks.machine import described, threads
from benchmarks.page import PAGE, shown
from benchmarks.results import ROOT, rounded
from benchmarks.rounds import ROUNDS
from benchmarks.table import table, write

RECORD = ROOT / "docs" / "performance.json"
QUICK = (512, 128)  # images


def main() -> None:
    """Measure the groups that were asked for, all by default; the others keep their record."""
    shared = ROOT.parent / "shared" / "data"
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--data",
        type=Path,
        default=shared if shared.is_dir() else ROOT / "data",
        help="folder that holds FashionMNIST/; random images if it does not",
    )
    parser.add_argument(
        "--quick", action="store_true", help="few random images, one round, to see that it works"
    )
    parser.add_argument(
        "--output", type=Path, help="another record than docs/performance.json, and no page"
    )
    args = parser.parse_args()
    if args.quick and args.output is None:
        parser.error("--quick measures nothing worth a record: give --output FILE")
    output = RECORD if args.output is None else args.output.resolve()
    record = json.loads(output.read_text(encoding="utf-8")) if output.is_file() else {}
    load = os.getloadavg()[0]  # what else ran; the bench itself is not in it yet
    with tempfile.TemporaryDirectory() as folder, threads(args.threads):
        root = Path(folder)
        if args.quick:
            images = draw(root, QUICK)
        elif (args.data / "FashionMNIST").is_dir():
            images = unpack(args.data, root)
        else:
            images = draw(root)
        setting = Setting(images, 1 if args.quick else args.rounds)
        for name in args.only:
            rounds = GROUPS[name].measure(setting)
            entry = {"data": images.source, "load": load, "seconds": dict(rounds.seconds)}
            record[name] = rounded({**entry, **described()})
            write({group: record[group] for group in GROUPS if group in record}, output)
            if output == RECORD:
                page = PAGE.read_text(encoding="utf-8")
                written = json.loads(output.read_text(encoding="utf-8"))
                PAGE.write_text(shown(page, written, GROUPS), encoding="utf-8")
    print(table({name: record[name] for name in args.only}, GROUPS))


if __name__ == "__main__":
    main()
