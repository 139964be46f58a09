"""``fit --cross_validate K``: every fold fitted and tested, and what they say together."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from rich.console import Console
from rich.table import Column, Table

from lit_course import datamodules, runs
from lit_course.callbacks import Baselines, RunPlan, StopOnSignal
from lit_course.callbacks.results import cell
from lit_course.callbacks.save_config import SaveConfig
from lit_course.config_cli import known_before
from lit_course.datamodules.folds import Fold
from lit_course.messages import UsageError
from lit_course.trainer_cli import TrainerCLI
from lit_course.trainer_flags import check_folds

FILE = "cross_validation.json"


def fit(args: list[str]) -> None:
    """Run ``fit``: by folds where ``--cross_validate`` asks for them, else once.

    Args:
        args: What follows it on the command line.
    """
    if known_before(args, "cross_validate")["cross_validate"] in (None, "null", "~"):
        TrainerCLI("fit", args)
    else:
        CrossValidationCLI(args)


class CrossValidationCLI(TrainerCLI):
    """Fits and tests every fold with a new model and new data, from the same seed.

    Args:
        args: What follows ``fit`` on the command line, ``--cross_validate K`` among it.
    """

    fold: Fold
    baselines = Baselines()  # of none

    def __init__(self, args: list[str]) -> None:
        super().__init__("fit", args)

    def _check_values(self, config: Namespace) -> None:
        check_folds(config.cross_validate, config.trainer, resumes=self.given is not None)
        self.fold = Fold(0, config.cross_validate)
        super()._check_values(config)
        if config.get("model") is not None and config.model.init_args.get("init_from"):
            rank_zero_warn(
                "init_from: where these weights have seen rows of this data, folds are tested on "
                "rows that the model knows"
            )

    @property
    def _tests(self) -> bool:
        return True

    def _check_data(self) -> None:
        if not isinstance(self.datamodule, datamodules.SupervisedDataModule):
            raise UsageError("cross_validate cuts the rows of a data module of lit_course")
        self.datamodule.fold = self.fold
        super()._check_data()

    def _make_folder(self) -> Path | None:
        """A folder for each fold, in that of the run."""
        if self.fold.number == 0 and super()._make_folder() is None:
            return None
        assert self.claimed is not None
        folder = self.claimed / f"fold_{self.fold.number + 1}"
        folder.mkdir()
        return folder

    def _stop_on_signal(self) -> StopOnSignal:
        return StopOnSignal(goes_on=False)

    def _reports(self) -> Iterator[Callback]:
        """The plan and the configuration, once; what a result stands beside, for every fold."""
        if self.fold.number == 0:
            yield RunPlan()
            if self.claimed is not None:
                yield SaveConfig(self._parser(self.verb), self._asked, self.claimed)
        if self._asked.baselines:
            self.baselines = Baselines(show=False)
            yield self.baselines

    def _run(self, verb: str) -> None:
        if self.trainer.world_size > 1:
            raise UsageError("cross_validate works with one process: give --trainer.devices 1")
        assert self.claimed is not None
        folds = []
        for number in range(self.fold.of):
            if number:
                self.fold = Fold(number, self.fold.of)
                self._set_seed()
                self.instantiate_classes()
            super()._run(verb)
            folds.append({**tested(self.trainer), **self.baselines.values})
            rank_zero_info(f"fold {number + 1} of {self.fold.of} is done")
        report(folds, self.claimed)

    def _give_back(self) -> None:
        """Give back what was claimed, unless a fold is there already."""
        if self.fold.number == 0:
            if self.folder is not None:
                runs.release(self.folder)
            super()._give_back()


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
