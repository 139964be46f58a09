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
from benchmarks.results import ROOT
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
    parser.add_argument("--quick", action="store_true", help="few random images, one round")
    parser.add_argument("--output", type=Path, default=RECORD)
    args = parser.parse_args()
    output = args.output.resolve()
    record = json.loads(output.read_text(encoding="utf-8")) if output.is_file() else {}
    with tempfile.TemporaryDirectory() as folder, threads(args.threads):
        root = Path(folder)
        if args.quick:
            images = draw(root, QUICK)
        elif (args.data / "FashionMNIST").is_dir():
            images = unpack(args.data, root)
        else:
            images = draw(root)
        setting = Setting(images, 1 if args.quick else args.rounds, args.quick)
        for name in args.only:
            rounds = GROUPS[name].measure(setting)
            record[name] = {"data": images.source, "seconds": rounds.seconds, **described()}
            write({group: record[group] for group in GROUPS if group in record}, output)
    print(table(record, GROUPS))


if __name__ == "__main__":
    main()
