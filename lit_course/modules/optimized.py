"""Optimizer and schedule of a module: by name, stepped when they should be."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from math import inf
from typing import Any, Literal

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lit_course.modules.hyperparameters import plain
from lit_course.optimizers import (
    check_optimizer,
    make_optimizer,
)
from lit_course.schedules import (
    Interval,
    PacedSchedule,
    check_schedule,
    fast_forward,
    make_schedule,
    schedule_steps,
    settings,
)

PLATEAU = "ReduceLROnPlateau"


class OptimizedModule(LightningModule, ABC):
    """A module whose optimizer and learning-rate schedule are declared by plain arguments."""

    def __init__(
        self,
        *,
        optimizer: str,
        lr: float,
        optimizer_options: Mapping[str, Any] | None,
        lr_scheduler: str | None,
        lr_scheduler_options: Mapping[str, Any] | None,
        lr_interval: Interval,
        lr_frequency: int,
        warmup_steps: int,
        monitor: str | None,
    ) -> None:
        super().__init__()
        self.optimizer = optimizer
        self.lr = lr
        self.optimizer_options = plain("optimizer_options", optimizer_options or {})
        self.lr_scheduler = lr_scheduler
        self.lr_scheduler_options = plain("lr_scheduler_options", lr_scheduler_options or {})
        self.lr_interval = lr_interval
        self.lr_frequency = lr_frequency
        self.warmup_steps = warmup_steps
        self.monitor = monitor
        self._check_arguments()

    def _check_arguments(self) -> None:
        throwaway = check_optimizer(self.optimizer, self.lr, self.optimizer_options)
        check_schedule(self.lr_scheduler, throwaway, self.lr, self.lr_scheduler_options)
        if self.lr_interval not in ("epoch", "step"):
            raise ValueError(f"lr_interval must be 'epoch' or 'step', found {self.lr_interval!r}")
        if self.lr_frequency < 1:
            raise ValueError(f"lr_frequency must be at least 1, found {self.lr_frequency}")
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps must be at least 0, found {self.warmup_steps}")
        if self.lr_scheduler == "OneCycleLR" and self.warmup_steps:
            raise ValueError("OneCycleLR has its own warm-up (pct_start): leave out warmup_steps")
        if self.lr_scheduler == PLATEAU and self.lr_interval == "step":
            raise ValueError(
                f"{PLATEAU} counts validations: leave lr_interval at 'epoch', and set the "
                "Trainer's val_check_interval to validate more often"
            )

        if self.monitor is not None and not self.monitor.startswith(("train/", "val/")):
            raise ValueError(f"monitor must be 'val/...' or 'train/...', found {self.monitor!r}")

    @abstractmethod
    def higher_is_better(self, name: str) -> bool:
        """Which way a reported value is better, by its name without the stage."""

    @property
    def monitored(self) -> str:
        """The value that drives the plateau schedule, the best checkpoint and early stopping.

        ``monitor``, or ``val/loss``; without validation data its counterpart on the training split.
        """
        name = self.monitor or "val/loss"
        return name if self._validates() else "train/" + name.partition("/")[2]

    @property
    def monitor_mode(self) -> Literal["min", "max"]:
        """Which way the monitored value is better."""
        name = (self.monitor or "val/loss").partition("/")[2]
        return "max" if self.higher_is_better(name) else "min"

    def check_direction(self) -> None:
        """Refuse a monitor that is not reported, and a plateau ``mode`` against its direction.

        Raises:
            ValueError: Naming what is reported, or the contradiction.
        """
        mode = self.lr_scheduler_options.get("mode", self.monitor_mode)
        if self.lr_scheduler == PLATEAU and mode != self.monitor_mode:
            raise ValueError(
                f"{PLATEAU}: mode {mode!r} contradicts the monitored "
                f"{self.monitor or 'val/loss'}, which is better "
                f"{'higher' if self.monitor_mode == 'max' else 'lower'}: leave mode out"
            )

    def _validates(self) -> bool:
        if self._trainer is None:
            return True
        # Ours say how many rows are held out; Lightning calls an empty list of loaders validation.
        sizes = getattr(getattr(self.trainer, "datamodule", None), "split_sizes", {"val": 1})
        empty = self.trainer.val_dataloaders == []  # None until they are set up
        return bool(self.trainer.enable_validation and sizes["val"] and not empty)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimizer over what is not frozen, and its schedule."""
        trainable = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer = make_optimizer(self.optimizer, trainable, self.lr, self.optimizer_options)
        schedule = self._make_schedule(optimizer)
        if schedule is None:
            return optimizer
        interval = "step" if isinstance(schedule, PacedSchedule) else self.lr_interval
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": interval},
        }

    def _make_schedule(self, optimizer: Optimizer) -> LRScheduler | None:
        schedule = self._make_main_schedule(optimizer)
        # Lightning counts the steps of a frequency anew in every epoch, and counts batches.
        paced = self.lr_frequency > 1 or self.lr_scheduler == PLATEAU
        if not self.warmup_steps and not (schedule and paced):
            return schedule
        return PacedSchedule(
            optimizer,
            schedule,
            counts_updates=self.lr_interval == "step",
            frequency=self.lr_frequency,
            warmup_steps=self.warmup_steps,
        )

    def _make_main_schedule(self, optimizer: Optimizer) -> LRScheduler | None:
        if self.lr_scheduler is None:
            return None
        options = dict(self.lr_scheduler_options)
        if self.lr_scheduler == PLATEAU:
            options["mode"] = self.monitor_mode
        return make_schedule(self.lr_scheduler, optimizer, self.lr, options, self._schedule_steps)

    def resume_schedule(self, saved: Mapping[str, Any]) -> None:
        """Let arguments that differ from the checkpoint's act on what the Trainer has restored.

        A new ``lr`` replaces the base rate: the present rate is the new base times the present
        factor of the schedule. A schedule whose options or length differ is where it would be now
        had it had them from the start; the plateau, which no count determines, goes on from its
        history.

        Args:
            saved: The arguments of the checkpoint.
        """
        groups = self.trainer.optimizers[0].param_groups
        schedule = self.lr_schedulers()
        main = schedule.schedule if isinstance(schedule, PacedSchedule) else schedule
        same = self.optimizer_options == saved.get("optimizer_options")
        model = check_optimizer(self.optimizer, self.lr, self.optimizer_options)
        new = model.param_groups[0]
        if isinstance(main, LRScheduler) and not isinstance(main, ReduceLROnPlateau):
            fresh = self._make_main_schedule(model)
            assert fresh is not None
            if same and settings(fresh) == settings(main):
                return
            fast_forward(fresh, main.last_epoch)
            main.load_state_dict(fresh.state_dict())
            rates = [new["lr"]] * len(groups)
        elif same and self.lr == saved.get("lr"):
            return
        else:
            base = saved.get("lr")  # of zero there is no factor
            rates = [self.lr * (group["lr"] / base if base else 1) for group in groups]
        for group, rate in zip(groups, rates, strict=True):
            group.update({**new, "params": group["params"], "lr": rate})
        if isinstance(schedule, PacedSchedule):
            schedule.warm_up()

    def _schedule_steps(self) -> int:
        trainer = self.trainer
        trainer.fit_loop.setup_data()  # the training loader, whose length is needed
        total_updates = trainer.estimated_stepping_batches
        return schedule_steps(
            self.lr_interval,
            self.lr_frequency,
            # Of a loader without a length Lightning says max_steps, -1 if there is none.
            total_updates=total_updates if total_updates > 0 else inf,
            updates_per_epoch=trainer.num_training_batches / trainer.accumulate_grad_batches,
            warmup_steps=self.warmup_steps,
        )

    def _check_monitored(self, values: Mapping[str, Tensor]) -> None:
        name = self.monitored
        loss = values.get(name.partition("/")[0] + "/loss")
        # A loss that is NaN too is a training that went wrong, not a metric.
        if name in values and values[name].isnan() and loss is not None and loss.isfinite():
            raise ValueError(
                f"the monitored {name} is not defined on its samples: too few, or of one class "
                "only; hold out more of them, or monitor the loss"
            )

    def advance_schedule(self, values: Mapping[str, Tensor], epoch_ended: bool) -> None:
        """Step a schedule that Lightning can't step at the right moment.

        Called with every report, so before the checkpoint of that epoch or validation is written:
        Lightning steps ``ReduceLROnPlateau`` after it, and a resumed run would lose a reduction.

        Args:
            values: What was just reported, by full name.
            epoch_ended: Whether it ends a training epoch.

        Raises:
            ValueError: If the monitored value is not defined on its split.
        """
        self._check_monitored(values)
        schedule = self.lr_schedulers()
        if not isinstance(schedule, PacedSchedule) or schedule.counts_updates:
            return
        if isinstance(schedule.schedule, ReduceLROnPlateau):
            if self.monitored in values:
                schedule.advance(float(values[self.monitored]))
        elif epoch_ended:
            schedule.advance()
