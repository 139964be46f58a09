"""What the folds of a cross-validation say together: mean and deviation of every metric."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from lightning.pytorch import Trainer
from rich.console import Console
from rich.table import Column, Table

from lit_course.callbacks.results import cell

FILE = "cross_validation.json"


def tested(trainer: Trainer) -> dict[str, float]:
    """The numbers of a fold's test."""
    values = trainer.callback_metrics.items()
    return {k: float(v) for k, v in values if k.startswith("test/") and k.count("/") == 1}


def summary(folds: Sequence[Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    """Mean, standard deviation (of n - 1) and the single values of every metric.

    A metric that is not defined on a fold is not defined at all: NaN.
    """
    values = {name: [fold[name] for fold in folds] for name in folds[0]}
    return {
        name: {
            "mean": mean(each),
            "deviation": stdev(each) if all(map(math.isfinite, each)) else math.nan,
            "folds": each,
        }
        for name, each in values.items()
    }


def report(folds: Sequence[Mapping[str, float]], folder: Path) -> None:
    """Print mean ± deviation, and write ``cross_validation.json``."""
    together = summary(folds)
    table = Table("metric", *(Column(title, justify="right") for title in ("mean", "±", "folds")))
    for name, values in together.items():
        each = " ".join(cell(value) for value in values["folds"])
        table.add_row(name, cell(values["mean"]), cell(values["deviation"]), each)
    Console().print(table)
    plain = {
        name: {key: _plain(value) for key, value in values.items()}
        for name, values in together.items()
    }
    path = folder / FILE
    path.write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
    Console().print(f"run: {folder}", soft_wrap=True, highlight=False)


def _plain(value: Any) -> Any:
    """NaN and infinity are no JSON: a value that is not defined is null."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if math.isfinite(value) else None
