"""What a run recorded, read back from its folder: curves, numbers, configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lit_course import runs
from lit_course.config_files import read_config

Curve: TypeAlias = tuple[NDArray[np.int64], NDArray[np.float64]]  # steps (N,) and values (N,)

EVENTS = "events.out.tfevents.*"
METRICS, CROSS_VALIDATION = "{}_metrics.json", "cross_validation.json"
VERBS = ("fit", "validate", "test")


@dataclass(frozen=True, eq=False)
class Recorded:
    """A run as its folder tells of it; it may still be training.

    Args:
        folder: Where it lies.
        curves: What was logged, by tag: steps ``(N,)``, ascending, each once, and values ``(N,)``.
        metrics: Final numbers by verb (``fit``, ``validate``, ``test``) and name; NaN where a value
            was not defined. ``fit``'s are those of the best checkpoint.
        config: ``config.yaml``; empty where there is none.
        folds: Number of folds of a cross-validation, else 0. Curves and numbers are means over
            them then; curves end where the first fold ends.
        deviations: Standard deviations of the folds' numbers (of n - 1), by name.
    """

    folder: Path
    curves: Mapping[str, Curve]
    metrics: Mapping[str, Mapping[str, float]]
    config: Mapping[str, Any]
    folds: int = 0
    deviations: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_finished(self) -> bool:
        """Whether a fit, or that of all folds, has come to its end here."""
        return "fit" in self.metrics or bool(self.folds and self.metrics)

    def epochs(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """Steps, counted from 0, as epochs that have passed behind them; a part is a fraction."""
        logged, epoch = self.curves.get("epoch", (np.array([], int), np.array([])))
        if not len(logged):
            return (steps + 1).astype(float)
        # Behind a validation within an epoch it is logged too: its end is where it is logged last.
        numbers = np.unique(epoch)
        ends = np.array([logged[epoch == number].max() + 1 for number in numbers])
        # Of a run that goes on from another's checkpoint the first part is not in this folder.
        lengths = np.append(np.diff(ends), ends[0] / (numbers[0] + 1))
        return (steps + 1) / float(lengths.max())


def read_run(folder: Path) -> Recorded:
    """Read what a run's folder holds; of a cross-validation what its folds hold.

    Raises:
        ValueError: If it holds neither curves nor numbers.
    """
    config = read_config(folder / runs.CONFIG)
    found = [fold for fold in folder.glob("fold_*") if fold.name[5:].isdecimal()]
    folds = [_read(fold, config) for fold in sorted(found, key=lambda fold: int(fold.name[5:]))]
    run = _together(folder, folds) if folds else _read(folder, config)
    if not run.curves and not run.metrics:
        what = "has recorded no metrics" if any(folder.iterdir()) else "is empty"
        raise ValueError(f"{folder} {what}: there is nothing to show of it")
    return run


def _read(folder: Path, config: Mapping[str, Any]) -> Recorded:
    metrics = {verb: _read_metrics(folder / METRICS.format(verb)) for verb in VERBS}
    said = {verb: numbers for verb, numbers in metrics.items() if numbers}
    return Recorded(folder, read_curves(folder), said, config)


def _together(folder: Path, folds: Sequence[Recorded]) -> Recorded:
    """What a cross-validation reported, and the means of its folds' curves."""
    said = _read_json(folder / CROSS_VALIDATION)
    if not said and len(folds) > 1:  # the last one was not done
        folds = folds[:-1]
    curves = {}
    for tag, (steps, _) in folds[0].curves.items():
        lines = [fold.curves[tag][1] for fold in folds if tag in fold.curves]
        shortest = min(map(len, lines))
        mean = np.mean([line[:shortest] for line in lines], axis=0)
        curves[tag] = (steps[:shortest], mean)
    means, deviations = (
        {name: _number(values[kind]) for name, values in said.items()}
        for kind in ("mean", "deviation")
    )
    metrics = {"test": means} if means else {}
    return Recorded(folder, curves, metrics, folds[0].config, len(folds), deviations)


def read_curves(folder: Path) -> dict[str, Curve]:
    """All scalars of a folder's event files, by tag.

    A run that was resumed has several files; what its later parts have written anew counts. The
    last, half-written record of a run that is training, or was killed, is left out. Nothing is
    sampled: a curve has every point that was logged.
    """
    # Here: it takes a fifth of a second. It ships no type information.
    from tensorboard.backend.event_processing import (  # type: ignore[import-untyped]
        event_file_loader,
    )
    from tensorboard.compat.proto import event_pb2  # type: ignore[import-untyped]

    found: dict[str, dict[int, float]] = {}
    for path in sorted(folder.glob(EVENTS)):
        for event in event_file_loader.LegacyEventFileLoader(str(path)).Load():
            if event.session_log.status == event_pb2.SessionLog.START:
                for tag, points in found.items():
                    found[tag] = {s: value for s, value in points.items() if s < event.step}
            for value in event.summary.value:
                if value.WhichOneof("value") == "simple_value":
                    found.setdefault(value.tag, {})[event.step] = value.simple_value
    return {
        tag: (np.array(steps, np.int64), np.array([points[step] for step in steps]))
        for tag, points in found.items()
        if (steps := sorted(points))
    }


def _read_metrics(path: Path) -> dict[str, float]:
    return {name: _number(value) for name, value in _read_json(path).items()}


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)


def _read_json(path: Path) -> dict[str, Any]:
    """An object of JSON; empty if there is no such file."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ValueError(f"{path} is not what a run has written: {error}") from error
    return dict(said)


def find_run(given: str | Path, where: Path) -> Path:
    """The folder of a run.

    Args:
        given: A run's folder; or a name, or a folder with a name's runs, for the newest of them.
        where: The folder of all runs, in which a name is looked for.

    Raises:
        FileNotFoundError: If there is none; it names the newest ones there are.
    """
    for folder in (Path(given), where / given):
        if not folder.is_dir():
            continue
        versions = runs.versions(folder)
        return versions[-1] if versions else folder
    known = sorted(where.glob("*/version_*"), key=lambda path: path.stat().st_mtime_ns)
    newest = ", ".join(str(path.relative_to(where)) for path in known[:-4:-1])
    hint = f"; the newest in {where}: {newest}" if newest else f"; there is none in {where}"
    raise FileNotFoundError(f"no run {str(given)!r}{hint}")
