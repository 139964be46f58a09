"""The Trainer's verbs: a run's folder, what runs beside the Trainer, and what is left behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import LambdaCallback, LearningRateMonitor
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

from lit_course import datamodules, runs
from lit_course.callbacks import (
    Baselines,
    BestCheckpoint,
    EndTogether,
    Figures,
    FiniteCheck,
    FittedCurve,
    GradientNorm,
    PredictionFile,
    Results,
    RunPlan,
    RunProgress,
    StopEarly,
    StopOnSignal,
    TensorBoardTabs,
)
from lit_course.callbacks.best_checkpoint import best_path
from lit_course.callbacks.save_config import SaveConfig
from lit_course.checkpoint_io import AtomicCheckpointIO, sweep
from lit_course.config_cli import ConfigCLI
from lit_course.messages import UsageError
from lit_course.trainer_flags import check_trainer


class TrainerCLI(ConfigCLI):
    """Runs one of the Trainer's verbs from a configuration; arguments as those of its base."""

    claimed: Path | None = None  # the folder of a new run
    folder: Path | None = None  # where to write

    def _check_values(self, config: Namespace) -> None:
        super()._check_values(config)
        check_trainer(self.verb, config.trainer, then_test=self._tests)

    @property
    def _tests(self) -> bool:
        """Whether a fit ends with a test."""
        return self.verb == "fit" and bool(self._asked.test_best)

    def instantiate_classes(self) -> None:
        """Build model, data and Trainer."""
        super().instantiate_classes()
        self.trainer = self.instantiate_trainer()

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """A Trainer with the run's folder, its logger and our callbacks."""
        self._check_data()
        self.folder = self._make_folder()
        trainer = self._asked.trainer
        if self.verb != "fit":
            kwargs["logger"] = False  # evaluating adds no folder
        elif trainer.logger in (None, True):
            kwargs["logger"] = self._logger()
        if trainer.default_root_dir is None and self.folder is not None:
            kwargs["default_root_dir"] = str(self.folder)
        config = {**self._get(self.config_init, "trainer", default={}), **kwargs}
        given = config.get("plugins") or []
        given = given if isinstance(given, list) else [given]
        if not any(isinstance(plugin, CheckpointIO) for plugin in given):
            config["plugins"] = [*given, AtomicCheckpointIO()]
        try:
            return self._instantiate_trainer(config, list(self._callbacks()))
        except Exception:  # whatever it was, it is raised again
            self._give_back()
            raise

    def _check_data(self) -> None:
        """Load the data before the run's folder is made, so that bad data leaves none behind."""
        if isinstance(self.datamodule, datamodules.SupervisedDataModule) and _is_first_process():
            self._load_data()
            if self._tests and not self.datamodule.split_sizes["test"]:
                raise UsageError(
                    "test_best needs rows to test on, and the data holds none out: give test_size "
                    "(a fraction or a count) if it has one, or leave test_best out"
                )

    def _make_folder(self) -> Path | None:
        """Where this run writes; only the first process makes it, a fast_dev_run writes nothing."""
        resumed = None if self.given is None else self.given.run
        if self._asked.trainer.fast_dev_run:
            return None
        if self.verb != "fit":
            assert self.given is not None
            return resumed or self.given.path.parent
        if not _is_first_process():
            return None
        named = self.runs / self._asked.name
        if resumed and (not self.named or resumed.parent.resolve() == named.resolve()):
            return resumed
        self.claimed = runs.claim(self.runs, self._asked.name)
        for kept in self.claimed.parent.glob(f"version_*/{runs.CHECKPOINTS}"):
            sweep(kept)  # what a killed run of this name left half written
        return self.claimed

    def _logger(self) -> TensorBoardLogger | bool:
        if self.folder is None:
            return not self._asked.trainer.fast_dev_run
        return TensorBoardLogger(
            save_dir=str(self.folder.parent.parent),
            name=self.folder.parent.name,
            version=self.folder.name,
            default_hp_metric=False,
            purge_step=None if self.given is None else self.given.contents.get("global_step"),
        )

    @property
    def _keeps_best(self) -> bool:
        trainer = self._asked.trainer
        return trainer.enable_checkpointing is not False and not trainer.fast_dev_run

    def _callbacks(self) -> Iterator[Callback]:
        """What a run needs, and what is said of it."""
        trainer = self._asked.trainer
        yield self._stop_on_signal()
        yield EndTogether()
        if self.given is not None:
            yield LambdaCallback(setup=self.given.check_agreement)
        if trainer.enable_progress_bar is not False:
            yield RunProgress()
        yield from self._reports()
        if self.verb == "predict" and self.folder is not None:
            yield PredictionFile(Path(self._asked.output or self.folder / "predictions.csv"))
        if self.verb != "fit":
            return
        yield FiniteCheck()
        if self._keeps_best:
            folder = None if self.folder is None else (self.folder / runs.CHECKPOINTS).absolute()
            yield BestCheckpoint(folder)
        if trainer.logger not in (False, []) and not trainer.fast_dev_run:
            yield LearningRateMonitor()
            yield GradientNorm()
            yield TensorBoardTabs()
        if self._asked.early_stopping is not None:
            yield StopEarly(self._asked.early_stopping)

    def _stop_on_signal(self) -> StopOnSignal:
        return StopOnSignal()

    def _reports(self) -> Iterator[Callback]:
        if self.verb == "fit":
            yield RunPlan()
            if self.folder is not None:
                yield SaveConfig(self._parser(self.verb), self._asked, self.folder)
        yield Results(self.folder, test_follows=self._asked.test_best and self._keeps_best)
        if self._asked.baselines:
            yield Baselines(self.folder)
        figures = None if self.folder is None else self.folder / runs.FIGURES
        if self._asked.figures is not False:
            yield Figures(figures)
        if self._asked.figures == "every_step" and self.verb == "fit":
            yield FittedCurve(figures)

    # ------------------------------------------------------------- running it

    def _run_subcommand(self, subcommand: str) -> None:
        """Run the verb; what fails before its first batch is done leaves no folder behind."""
        for line in self.given.changed if self.given is not None else ():
            rank_zero_info(line)
        try:
            self._run(subcommand)
        except BaseException as error:  # an interrupt too; it is raised again
            if isinstance(error, OSError) and error.filename is None and error.errno is not None:
                error.filename = self.folder  # TensorBoard's writer does not say what it wrote
            if not self._batches_done:
                self._give_back()
            raise

    def _run(self, verb: str) -> None:
        super()._run_subcommand(verb)

    @property
    def _batches_done(self) -> int:
        return self.trainer.fit_loop.epoch_loop.batch_progress.total.completed

    def _give_back(self) -> None:
        if self.claimed is not None:
            runs.release(self.claimed)

    def after_fit(self) -> None:
        """Refuse to call nothing a fit; with ``--test_best``, test the best checkpoint of it."""
        if not self._batches_done:
            raise ValueError(
                "the fit ended before its first batch: look at max_time and at the training loader"
            )
        best = best_path(self.trainer)
        if self._keeps_best and not best:
            lacking = (
                f"no best checkpoint: {getattr(self.model, 'monitored', 'what it monitors')} was "
                "never reported; last.ckpt holds the last state (see check_val_every_n_epoch and "
                "val_check_interval)"
            )
            if self._tests:
                raise ValueError(lacking)
            rank_zero_info(lacking)
        if self._tests and best:
            self.trainer.test(
                self.model,
                datamodule=self.datamodule,
                ckpt_path=best,
                weights_only=True,
                verbose=False,
            )

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        """The Trainer's arguments, with the checkpoint found and nothing but plain values read."""
        kwargs: dict[str, Any] = super()._prepare_subcommand_kwargs(subcommand)
        kwargs["ckpt_path"] = None if self.given is None else str(self.given.path)
        kwargs["weights_only"] = True
        if subcommand == "predict":
            kwargs["return_predictions"] = False
        elif subcommand in ("validate", "test"):
            kwargs["verbose"] = False
        return kwargs


def _is_first_process() -> bool:
    return bool(getattr(rank_zero_only, "rank", 0) == 0)
