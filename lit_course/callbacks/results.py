"""The numbers of a finished run: in a file, and as a table."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.table import Column, Table
from torch import Tensor

from lit_course import checkpoints
from lit_course.callbacks.best_checkpoint import best_path


class Results(Callback):
    """Writes ``<folder>/<verb>_metrics.json`` and prints a table when a run has ended.

    A fit's file holds the numbers of its best checkpoint (of the last epoch where none is kept),
    so that they are those that ``validate`` will find; its table shows the last ones too.

    Args:
        folder: Where to write; None only prints.
        test_follows: Whether a fit is followed by a test, and one table shall show both.
    """

    def __init__(self, folder: Path | None = None, test_follows: bool = False) -> None:
        self.folder = folder
        self.test_follows = test_follows
        self._fitted: dict[str, dict[str, float]] = {}

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write and show the best and the last numbers, if anything was trained."""
        trained = trainer.fit_loop.epoch_loop.batch_progress.total.completed
        if not trainer.is_global_zero or _is_rehearsal(trainer) or not trained:
            return
        best = Best.of(trainer, pl_module)
        self._fitted = {best.title: best.numbers, "last": last_numbers(trainer, pl_module)}
        if not self.test_follows:
            self._show(self._fitted)
        self._write("fit", best.numbers)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write and show the numbers of ``validate``."""
        if trainer.state.fn == "validate":
            self._evaluated(trainer)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write and show the numbers of ``test``."""
        self._evaluated(trainer)

    def _evaluated(self, trainer: Trainer) -> None:
        if trainer.is_global_zero and not _is_rehearsal(trainer):
            metrics = floats(trainer.callback_metrics)
            verb = str(trainer.state.fn.value) if trainer.state.fn else "test"
            if self._fitted:
                whole = {name: value for name, value in metrics.items() if name.count("/") < 2}
                self._show({**self._fitted, verb: whole})
            else:
                self._show({verb: metrics})
            self._write(verb, metrics)

    def _write(self, verb: str, metrics: Mapping[str, float]) -> None:
        if self.folder is not None:
            write_metrics(self.folder / f"{verb}_metrics.json", metrics)

    def _show(self, columns: Mapping[str, Mapping[str, float]]) -> None:
        for table in _tables(columns):
            Console().print(table)
        values = (item for column in columns.values() for item in column.items())
        if undefined := {name for name, value in values if math.isnan(value)}:
            text = f"nan: not defined on so few samples or classes: {', '.join(sorted(undefined))}"
            Console().print(text, soft_wrap=True, highlight=False)
        if self.folder is not None:
            Console().print(f"run: {self.folder}", soft_wrap=True, highlight=False)


def last_numbers(trainer: Trainer, module: LightningModule) -> dict[str, float]:
    """The numbers that a fit reported last."""
    return getattr(module, "reported", None) or floats(trainer.callback_metrics)


@dataclass(frozen=True)
class Best:
    """The numbers of a fit's best checkpoint; the last ones where none is kept.

    Args:
        numbers: By full name.
        step: The update behind which they were measured, from 0.
        title: What to call them.
    """

    numbers: dict[str, float]
    step: int
    title: str

    @classmethod
    def of(cls, trainer: Trainer, module: LightningModule) -> Self:
        """Those of a Trainer that has fitted a module."""
        path = best_path(trainer)
        # Only modules of ours put their numbers into checkpoints, and nothing but plain values.
        if not hasattr(module, "monitored") or not Path(path).is_file():
            return cls(last_numbers(trainer, module), trainer.global_step - 1, "last")
        checkpoint = checkpoints.read(path)
        numbers = checkpoint["lit_course"]["metrics"]
        return cls(
            numbers, checkpoint["global_step"] - 1, f"best (epoch {checkpoint['epoch'] + 1})"
        )


def write_metrics(path: Path, metrics: Mapping[str, float | None]) -> None:
    """Write values by name; the file is either the old one or whole."""
    # NaN and infinity are no JSON: a value that is not defined is null.
    plain = {name: v if v is not None and math.isfinite(v) else None for name, v in metrics.items()}
    partial = path.with_suffix(".json.part")
    partial.write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
    os.replace(partial, path)


def floats(metrics: Mapping[str, Tensor]) -> dict[str, float]:
    """What was reported, as plain numbers."""
    # The learning-rate monitor puts its rates among the metrics.
    return {name: float(value) for name, value in metrics.items() if not name.startswith("lr-")}


def _tables(columns: Mapping[str, Mapping[str, float]]) -> Iterator[Table]:
    """A table with a row for each value, and one for each class or target; none without rows."""
    names = sorted({name for values in columns.values() for name in values})
    if not names:
        return
    table = Table("metric", *(Column(title, justify="right") for title in columns))
    for name in (name for name in names if name.count("/") < 2):
        table.add_row(name, *(cell(values.get(name)) for values in columns.values()))
    yield table
    by_output = per_output({k: v for values in columns.values() for k, v in values.items()})
    if by_output:
        metrics = list(next(iter(by_output.values())))
        table = Table("output", *(Column(metric, justify="right") for metric in metrics))
        for label, row in by_output.items():
            table.add_row(label, *(cell(row.get(metric)) for metric in metrics))
        yield table


def per_output(values: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """What was reported as ``stage/metric/name``: by the name of a class or target, by metric."""
    found: dict[str, dict[str, float]] = {}
    for name, value in values.items():
        if name.count("/") > 1:
            _, metric, label = name.split("/", 2)
            found.setdefault(label, {})[metric] = value
    return found


def cell(value: float | None) -> str:
    """A number as the tables show it; empty where there is none."""
    return "" if value is None else f"{value:.4f}" if abs(value) < 1e4 else f"{value:.6g}"


def _is_rehearsal(trainer: Trainer) -> bool:
    return bool(getattr(trainer, "fast_dev_run", False))
