"""A table of 5 million rows: read, learned from for an epoch, and predicted to a file."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.fresh import output
from benchmarks.group import Group, Row, Setting
from benchmarks.large_table_work import TARGET
from benchmarks.rounds import Contender, Rounds, interleave

ROWS, NUMBERS, CODES = 5_000_000, 26, 4
FEW_ROWS = 5_000  # of a single round, which only shows that it works
ROUNDS = 3  # each takes minutes
PROGRAM = [sys.executable, "-m", "benchmarks.large_table_work"]


def write(folder: Path, rows: int) -> None:
    """Write the table as CSV and as Parquet: numbers, small integers, and a class."""
    generator = np.random.default_rng(0)
    numbers = generator.normal(size=(rows, NUMBERS)).round(4)
    likely = numbers[:, :8].sum(1) + generator.normal(size=rows) > 0
    table = pl.DataFrame(
        [
            *(pl.Series(f"x{i}", numbers[:, i]) for i in range(NUMBERS)),
            *(pl.Series(f"k{i}", generator.integers(0, 50, rows)) for i in range(CODES)),
            pl.Series(TARGET, np.where(likely, "yes", "no")),
        ]
    )
    table.write_csv(folder / "table.csv")
    table.write_parquet(folder / "table.parquet")


def measure(setting: Setting) -> Rounds:
    """Every piece of work in a process of its own: seconds to its end, and its peak in GB."""
    peaks: dict[str, list[float]] = {}

    def contender(name: str, work: str, *args: str) -> Contender:
        def run() -> float:
            started = time.perf_counter()
            *_, last = output([*PROGRAM, work, str(folder), *args]).splitlines()
            seconds = time.perf_counter() - started
            peaks.setdefault(f"{name}, GB", []).append(int(last) / 1e9)
            return seconds

        return run

    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        write(folder, ROWS if setting.rounds > 1 else FEW_ROWS)
        text, cache = "table.csv", f"--data.cache_dir={folder / 'cache'}"
        rounds = interleave(
            {
                "fit": contender("fit", "fit", text),
                "fit, Parquet": contender("fit, Parquet", "fit", "table.parquet"),
                "fit, on disk": contender("fit, on disk", "fit", text, cache),
                "predict": contender("predict", "predict", text),
                "scikit-learn's fit": contender("scikit-learn's fit", "sgd_fit", text),
                "scikit-learn's predict": contender("scikit-learn's predict", "sgd_predict", text),
            },
            min(ROUNDS, setting.rounds),
        )
    counted = {name: values[1:] for name, values in peaks.items()}  # the first was a rehearsal
    return Rounds({**rounds.seconds, **counted})


GROUP = Group(
    f"a table of {ROWS:,} rows and {NUMBERS + CODES} columns",
    (
        Row("fit, one epoch: polars and SGDClassifier", "fit", "scikit-learn's fit"),
        Row("the same from Parquet", "fit, Parquet", "scikit-learn's fit"),
        Row("the same from a copy on disk", "fit, on disk", "scikit-learn's fit"),
        Row("predictions in a file", "predict", "scikit-learn's predict"),
        Row("peak memory of the fit", "fit, GB", at_most=4, unit=" GB"),
        Row("of that from Parquet", "fit, Parquet, GB", at_most=4, unit=" GB"),
        Row("of that from a copy on disk", "fit, on disk, GB", at_most=4, unit=" GB"),
        Row("of the predictions", "predict, GB", at_most=4, unit=" GB"),
        Row("of scikit-learn's fit", "scikit-learn's fit, GB", unit=" GB"),
    ),
    measure,
)
