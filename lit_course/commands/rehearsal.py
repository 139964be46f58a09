"""A fit without its batches: optimizer and schedule are stepped as the fit would step them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from math import inf
from typing import TypeAlias

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lit_course.modules import SupervisedModule
from lit_course.modules.optimized import PLATEAU

# From the number of a report, counted from 0, and the part of the training that is over, to what
# the monitored value is taken to be.
Assumed: TypeAlias = Callable[[int, float], float]


class Rehearsal(Callback):
    """Takes the place of a training: when ``fit`` has set everything up, it goes through all steps.

    The objects are those of ``configure_optimizers``, when they are stepped is decided by the
    Trainer's own loop; no batch is computed, no weight is changed.

    Args:
        assumed: What the plateau schedule shall see; it is the only one that looks.
    """

    def __init__(self, assumed: Assumed) -> None:
        self.assumed = assumed
        self.rates: dict[str, list[float]] = {}  # of every update, by parameter group
        self.reports: list[tuple[int, float]] = []  # updates done, what the plateau was told then
        self.reductions: list[int] = []  # updates after which it has lowered the rate
        self.updates_per_epoch = 0
        self.monitored = ""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Rehearse; then nothing is left to train."""
        trainer.fit_loop.setup_data()
        total = trainer.estimated_stepping_batches
        if not 0 < total < inf:
            raise ValueError(
                "the training has no batches, or no end that is known: set trainer.max_epochs or "
                "max_steps"
            )
        _check_stepped(trainer, pl_module)
        self.rates = {name: [] for name in _rates(trainer)}
        with warnings.catch_warnings():
            # An optimizer without gradients has done nothing, and schedules are told so.
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
            while self.updates < total:
                self._epoch(trainer, int(total))
        trainer.fit_loop.max_epochs = 0

    @property
    def updates(self) -> int:
        """Number of updates that were rehearsed."""
        return len(next(iter(self.rates.values())))

    def _epoch(self, trainer: Trainer, total: int) -> None:
        """One epoch, in the order of Lightning's loops and of what our modules do at reports."""
        loop, before = trainer.fit_loop.epoch_loop, self.updates
        progress = loop.batch_progress
        progress.reset_on_run()
        while not progress.is_last_batch and self.updates < total:
            progress.increment_ready()
            progress.is_last_batch = progress.current.ready == trainer.num_training_batches
            if not loop._should_accumulate():
                self._update(trainer)
            loop.update_lr_schedulers("step", update_plateau_schedulers=False)
            if progress.is_last_batch:
                loop.update_lr_schedulers("epoch", update_plateau_schedulers=False)
            fetcher = trainer.fit_loop._data_fetcher
            assert fetcher is not None
            if loop._should_check_val_fx(fetcher):
                self._report(trainer, "val", self.updates / total)
        self._report(trainer, "train", self.updates / total)
        trainer.fit_loop.epoch_progress.increment_processed()
        self.updates_per_epoch = max(self.updates_per_epoch, self.updates - before)

    def _update(self, trainer: Trainer) -> None:
        for name, rate in _rates(trainer).items():
            self.rates[name].append(rate)
        for optimizer in trainer.optimizers:
            optimizer.step(lambda: 0.0)

    def _report(self, trainer: Trainer, stage: str, share: float) -> None:
        module = trainer.lightning_module
        if not isinstance(module, SupervisedModule):
            return
        values = {}
        if module.lr_scheduler == PLATEAU and module.monitored.startswith(stage):
            self.monitored = module.monitored
            value = self.assumed(len(self.reports), share)
            self.reports.append((self.updates, value))
            values[module.monitored] = torch.tensor(value)
        before = _rates(trainer)
        module.advance_schedule(values, epoch_ended=stage == "train")
        if values and _rates(trainer) != before:
            self.reductions.append(self.updates)


def _rates(trainer: Trainer) -> dict[str, float]:
    """The present rate of every parameter group, by name."""
    groups = [
        (type(optimizer).__name__, number, float(group["lr"]))
        for optimizer in trainer.optimizers
        for number, group in enumerate(optimizer.param_groups, 1)
    ]
    if len(groups) == 1:
        return {groups[0][0]: groups[0][2]}
    return {f"{name} group {number}": rate for name, number, rate in groups}


def _check_stepped(trainer: Trainer, module: LightningModule) -> None:
    """Refuse a module whose schedule nobody steps, or one by a metric that only it knows."""
    name = type(module).__name__
    if getattr(module, "solver", None) == "exact":
        raise ValueError("solver 'exact' has no learning rate: there is no schedule to draw")
    if not module.automatic_optimization:
        raise ValueError(f"{name} steps its optimizers by hand: its schedule is not known before")
    if any(config.reduce_on_plateau for config in trainer.lr_scheduler_configs):
        raise ValueError(f"{name} hands {PLATEAU} to Lightning: it is drawn for our modules only")
