"""References beside the numbers of a test, and a warning where the model is no better."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from rich.console import Console
from rich.table import Column, Table
from torchmetrics import Metric

from lit_course.baselines import Reference, TrainingRows, of_classes, of_numbers
from lit_course.callbacks.results import cell, write_metrics
from lit_course.categories import categories
from lit_course.decisions import DecisionMetrics
from lit_course.metrics import half, higher_is_better
from lit_course.modules import MLPClassifier
from lit_course.modules.regressor import Regressor

# What the model and the trivial reference are compared by, unless a metric is monitored.
MAIN = ("accuracy", "rmse")


class Baselines(Callback):
    """Prints references beneath a test's numbers, and adds them to ``test_metrics.json``.

    They are fitted to the training split of the Trainer's data module, and measured on the whole
    test split with the model's own metrics, its loss left out. The first process does it. Of other
    loaders there is no training split, and nothing is said; nor of a module that neither classifies
    nor predicts numbers, nor of a test that is limited.

    Args:
        folder: Where ``Results`` wrote the file; None only prints.
        show: Whether to print them, and a warning.

    Attributes:
        values: Of the last test, as ``baseline/<name>/<metric>``.
    """

    def __init__(self, folder: Path | None = None, show: bool = True) -> None:
        self.folder = folder
        self.show = show
        self.values: dict[str, float] = {}

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fit, measure, show; the model's own numbers are written already."""
        data = getattr(trainer, "datamodule", None)
        limit = trainer.limit_test_batches  # an integer counts batches, 1.0 is all
        limited = isinstance(limit, int) or limit < 1
        known = isinstance(pl_module, MLPClassifier | Regressor)
        if not trainer.is_global_zero or limited or not known or not hasattr(data, "rows_of"):
            return
        started = perf_counter()
        values = dict(_measured(pl_module, data))
        self.values = {
            f"baseline/{name}/{metric}": value
            for name, measured in values.items()
            for metric, value in measured.items()
        }
        if not values or not self.show:
            return
        ours = {
            name.removeprefix("test/"): float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("test/") and name.count("/") == 1
        }
        _show({**values, "this model": ours})
        if (seconds := perf_counter() - started) > 5:
            rank_zero_info(f"baselines took {seconds:.0f} s: leave them out with --baselines false")
        _warn(pl_module, ours, *next(iter(values.items())))
        path = self.folder and self.folder / "test_metrics.json"
        if path is not None and path.is_file():
            write_metrics(path, json.loads(path.read_text(encoding="utf-8")) | self.values)


def _measured(module: Any, data: Any) -> Iterator[tuple[str, dict[str, float]]]:
    """Each reference with its metrics; the trivial one comes first."""
    classifies = isinstance(module, MLPClassifier)
    if not data.split_sizes["train"] or data.train_weight == 0:
        return
    if (data.num_classes is not None) != classifies:
        return
    coded = categories(module.schema)
    rows = TrainingRows(lambda: data.rows_of("train"), data.in_features, coded)
    references = of_classes(rows, module.num_classes) if classifies else of_numbers(rows)
    for name, reference in references.items():
        yield name, _metrics(module, rows, reference, data, classifies)


def _metrics(
    module: Any, rows: TrainingRows, reference: Reference, data: Any, classifies: bool
) -> dict[str, float]:
    metrics = module.configure_metrics()
    if isinstance(metrics, DecisionMetrics):
        metrics.threshold = half  # a tuned one is the model's
    for metric in (part for part in metrics.modules() if isinstance(part, Metric)):
        metric.distributed_available_fn = lambda: False  # the other processes are not here
    for x, y, *_ in data.rows_of("test"):
        answers = reference(rows.columns(x)).contiguous()
        if classifies:
            answers = answers.float()
            metrics.update(answers[:, 1] if answers.shape[1] == 2 else answers, y)
        else:
            metrics.update(answers, y.reshape(len(y), -1))
    return {name: float(value) for name, value in metrics.compute().items()}


def _show(lines: Mapping[str, Mapping[str, float]]) -> None:
    names = list(next(iter(lines.values())))
    table = Table("beside it", *(Column(name, justify="right") for name in names))
    for who, values in lines.items():
        table.add_row(who.replace("_", " "), *(cell(values.get(name)) for name in names))
    Console().print(table)


def _warn(module: Any, ours: Mapping[str, float], name: str, trivial: Mapping[str, float]) -> None:
    """Say it where the model does not beat the trivial reference."""
    monitored = (module.monitor or "").partition("/")[2]
    metric = next((m for m in (monitored, *MAIN) if m in trivial and m in ours), None)
    if metric is None or math.isnan(ours[metric]) or math.isnan(trivial[metric]):
        return
    up = higher_is_better(metric, module.configure_metrics())
    if not (ours[metric] > trivial[metric] if up else ours[metric] < trivial[metric]):
        rank_zero_warn(
            f"the model does not beat the {name.replace('_', ' ')}: test/{metric} "
            f"{cell(ours[metric])}, {cell(trivial[metric])} without learning"
        )
