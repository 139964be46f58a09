"""Runs side by side: in what their configurations differ, and which is the best in what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from lit_course.figures import Chart, curves
from lit_course.metrics import classification_metrics, regression_metrics
from lit_course.ranking_metrics import ranking_metrics
from lit_course.recorded import Recorded

NAMING = ("name", "runs")  # where a run lies, not what it is


@dataclass(frozen=True)
class Row:
    """A metric of every run.

    Args:
        name: Of the metric, with its stage.
        higher: Whether higher is better; None if nobody knows.
        values: One for each run; None where it was not reported.
        deviations: The same of their standard deviations over the folds of a cross-validation.
    """

    name: str
    higher: bool | None
    values: Sequence[float | None]
    deviations: Sequence[float | None]

    @cached_property
    def best(self) -> list[int]:
        """The runs that have the best value; none where all are the same, or none is better."""
        known = {i: v for i, v in enumerate(self.values) if v is not None and np.isfinite(v)}
        if self.higher is None or len(set(known.values())) < 2:
            return []
        top = max(known.values()) if self.higher else min(known.values())
        return [i for i, value in known.items() if value == top]


@dataclass(frozen=True)
class Comparison:
    """Several runs.

    Args:
        runs: By the name that each is shown with.
    """

    runs: Mapping[str, Recorded]

    def differences(self) -> dict[str, list[Any]]:
        """Values of the configurations by dotted name, where not all are the same.

        A run that has no such argument has None.
        """
        flat = [dict(_flat(run.config)) for run in self.runs.values()]
        names = dict.fromkeys(name for config in flat for name in config)
        table = {name: [config.get(name) for config in flat] for name in names}
        return {name: row for name, row in table.items() if any(v != row[0] for v in row)}

    def metrics(self) -> list[Row]:
        """The numbers of every run: of its best epoch, and of its test."""
        numbers = [_numbers(run) for run in self.runs.values()]
        names = sorted({name for of_run in numbers for name in of_run if name.count("/") == 1})
        return [
            Row(
                name,
                higher_is_better(name),
                [of_run.get(name) for of_run in numbers],
                [run.deviations.get(name) for run in self.runs.values()],
            )
            for name in names
        ]

    def monitored(self) -> str:
        """What the pictures show: what all runs monitor, else the loss; on validation if it can."""
        asked = {monitored(run) for run in self.runs.values()}
        return asked.pop() if len(asked) == 1 else "val/loss"

    def chart(self, metric: str, by_epoch: bool) -> Chart:
        """The curve of every run, training as a thin line, the best point of each marked.

        Args:
            metric: ``val/loss``, or any other tag that a run has logged.
            by_epoch: Whether x counts epochs, so that runs of other batch sizes compare.

        Raises:
            ValueError: If no run has recorded it.
        """
        stage, _, name = metric.partition("/")
        lines = dict(self._lines(metric, by_epoch))
        if not lines:
            tags = {tag for run in self.runs.values() for tag in run.curves}
            known = sorted(tag for tag in tags if tag.startswith(("train/", "val/")))
            raise ValueError(
                f"no run has recorded {metric}\nrecorded: {', '.join(known) or 'nothing'}"
            )
        train = dict(self._lines(f"train/{name}", by_epoch)) if stage == "val" else {}
        higher = higher_is_better(metric)
        best_x, best_y = [], []
        for x, y in lines.values():
            if higher is not None and np.isfinite(y).any():
                place = np.nanargmax(np.where(np.isfinite(y), y if higher else -y, np.nan))
                best_x.append(x[place])
                best_y.append(y[place])
        return curves(
            "compare",
            lines,
            faint={run: line for run, line in train.items() if run in lines},
            points={"best": (best_x, best_y)} if best_x else {},
            xlabel="epoch" if by_epoch else "update",
            ylabel=metric,
            title=f"{metric} of {len(lines)} run" + "s" * (len(lines) > 1),
        )

    def _lines(self, tag: str, by_epoch: bool) -> Iterator[tuple[str, tuple[Any, Any]]]:
        for name, run in self.runs.items():
            if tag in run.curves:
                steps, values = run.curves[tag]
                yield name, (run.epochs(steps) if by_epoch else steps + 1, values)


def monitored(run: Recorded) -> str:
    """What drives a run's best checkpoint, as far as its folder tells."""
    arguments = dict(_flat(run.config))
    said = arguments.get("model.monitor") or "val/loss"
    return said if said in run.curves or not run.curves else "train/" + said.partition("/")[2]


@cache
def higher_is_better(name: str) -> bool | None:
    """Which way a reported value is better, by its name; None if nobody knows."""
    name = name.partition("/")[2].partition("@")[0]
    if name in ("loss", "loss_step"):
        return False
    for metrics in (classification_metrics(2), regression_metrics(), ranking_metrics([1])):
        for known, metric in metrics.items(keep_base=True):
            if known.partition("@")[0] == name:
                return metric.higher_is_better
    return None


def _numbers(run: Recorded) -> dict[str, float]:
    """Of the best epoch and the test; of a run that has not ended, of its best epoch so far."""
    said = _merged(run)
    if run.is_finished or monitored(run) not in run.curves:
        return said
    steps, values = run.curves[monitored(run)]
    finite = np.where(np.isfinite(values), values, np.nan)
    if np.isnan(finite).all():
        return said
    higher = higher_is_better(monitored(run))
    best = steps[np.nanargmax(finite) if higher else np.nanargmin(finite)]
    so_far = {
        tag: float(line[np.searchsorted(at, best, side="right") - 1])
        for tag, (at, line) in run.curves.items()
        if tag.startswith(("train/", "val/")) and at[0] <= best
    }
    return {**so_far, **said}


def _merged(run: Recorded) -> dict[str, float]:
    # What a later `validate` has found of some other checkpoint does not count beside the fit's.
    merged: dict[str, float] = {}
    for verb in ("validate", "fit", "test"):
        merged.update(run.metrics.get(verb, {}))
    return merged


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """A configuration by dotted names: ``model``, ``model.lr``, ``trainer.max_epochs``."""
    for key, value in config.items():
        name = f"{prefix}{key}"
        if name in NAMING:
            continue
        if isinstance(value, Mapping) and "class_path" in value:
            yield name, str(value["class_path"]).rpartition(".")[2]
            yield from _flat(value.get("init_args") or {}, f"{name}.")
        elif isinstance(value, Mapping) and value:
            yield from _flat(value, f"{name}.")
        elif value not in (None, {}):
            yield name, value
