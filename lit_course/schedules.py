"""Learning-rate schedules by name, options checked before anything is built."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lit_course.names import check_options, lookup

Interval = Literal["epoch", "step"]


def linear_decay(optimizer: Optimizer, total_iters: int) -> LRScheduler:
    """The rate falls in a straight line to zero: ``lr · (1 - t / total_iters)``."""
    return lr_scheduler.PolynomialLR(optimizer, total_iters=total_iters, power=1.0)


SCHEDULES: dict[str, Callable[..., LRScheduler]] = {
    "ConstantLR": lr_scheduler.ConstantLR,
    "CosineAnnealingLR": lr_scheduler.CosineAnnealingLR,
    "CosineAnnealingWarmRestarts": lr_scheduler.CosineAnnealingWarmRestarts,
    "CyclicLR": lr_scheduler.CyclicLR,
    "ExponentialLR": lr_scheduler.ExponentialLR,
    "LinearDecay": linear_decay,
    "LinearLR": lr_scheduler.LinearLR,
    "MultiStepLR": lr_scheduler.MultiStepLR,
    "OneCycleLR": lr_scheduler.OneCycleLR,
    "PolynomialLR": lr_scheduler.PolynomialLR,
    "ReduceLROnPlateau": ReduceLROnPlateau,
    "StepLR": lr_scheduler.StepLR,
}
REFUSED_SCHEDULES = {
    "ChainedScheduler": "it takes schedules, not numbers",
    "LambdaLR": "it takes a function, and hyperparameters are plain values",
    "MultiplicativeLR": "it takes a function, and hyperparameters are plain values",
    "SequentialLR": "it takes schedules, not numbers; warmup_steps puts a warm-up before any one",
}
# Which option is the length of the whole schedule, and so filled in from the Trainer.
HORIZON_OPTION = {
    "CosineAnnealingLR": "T_max",
    "LinearDecay": "total_iters",
    "OneCycleLR": "total_steps",
    "PolynomialLR": "total_iters",
}


def check_schedule(
    name: str | None, optimizer: Optimizer, lr: float, options: Mapping[str, Any]
) -> None:
    """Refuse a schedule that could not be built, whatever the length of the training.

    Args:
        name: One of ``SCHEDULES``, or None.
        optimizer: One of the kind whose rate it will set; it is not used any more after this.
        lr: The base rate.
        options: Its other arguments, as torch names them.

    Raises:
        ValueError: If the name or an option is unknown or missing, or torch refuses a value.
    """
    if name is None:
        if options:
            raise ValueError(
                f"lr_scheduler_options {dict(options)} are given, but no lr_scheduler: name one"
            )
        return
    make_schedule(name, optimizer, lr, options, horizon=lambda: 1000)


def make_schedule(
    name: str,
    optimizer: Optimizer,
    lr: float,
    options: Mapping[str, Any],
    horizon: Callable[[], int],
) -> LRScheduler:
    """Build a schedule of ``torch.optim.lr_scheduler`` (or ``LinearDecay``) by name.

    Args:
        name: One of ``SCHEDULES``.
        optimizer: Whose learning rate it sets.
        lr: The base rate; ``OneCycleLR.max_lr`` where that is left out.
        options: Its other arguments, as torch names them.
        horizon: Called for the number of times the schedule will be stepped, where it needs to
            know and was not told: ``CosineAnnealingLR.T_max``, ``LinearDecay.total_iters``,
            ``PolynomialLR.total_iters``, ``OneCycleLR.total_steps``.

    Raises:
        ValueError: If the name or an option is unknown or missing, or torch refuses a value.
    """
    factory = lookup("lr_scheduler", name, SCHEDULES, REFUSED_SCHEDULES)
    length = HORIZON_OPTION.get(name)
    supplied = [length] if length else []
    if name == "OneCycleLR":
        supplied.append("max_lr")
    reserved = {
        "optimizer": "it is the model's own",
        "last_epoch": "a resumed run restores it from the checkpoint",
    }
    check_options(f"option of {name}", factory, options, reserved=reserved, supplied=supplied)
    filled = dict(options)
    if name == "OneCycleLR":
        filled.setdefault("max_lr", lr)
        told = "epochs" in options and "steps_per_epoch" in options
        length = None if told else length
    if length is not None and length not in filled:
        filled[length] = horizon()
    try:
        return factory(optimizer, **filled)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} refuses its options: {error}") from error


# What a schedule's state tells of the past; the rest is what it was made with.
_HISTORY = {
    *("last_epoch", "_step_count", "_last_lr", "_get_lr_called_within_step", "_is_initial"),
    *("T_cur", "T_i"),  # CosineAnnealingWarmRestarts
    *("best", "num_bad_epochs", "cooldown_counter"),  # ReduceLROnPlateau
}


def settings(schedule: LRScheduler) -> dict[str, Any]:
    """What a schedule was made with: base rates, options and length."""
    state = schedule.state_dict()
    return {name: value for name, value in state.items() if name not in _HISTORY}


def fast_forward(schedule: LRScheduler, steps: int) -> None:
    """Step a new schedule as often as another was, without the updates in between."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
        for _ in range(steps):
            schedule.step()


class PacedSchedule(LRScheduler):
    """A schedule stepped by the events it counts, behind an optional warm-up.

    Lightning steps a schedule after updates or after epochs. That leaves out two things: a warm-up
    counted in updates before a schedule counted in epochs, and ``ReduceLROnPlateau``, which must
    count validations and be stepped before the checkpoint of its epoch is written. For update t of
    the first ``warmup_steps`` the rate is the schedule's first one times ``(t + 1) /
    warmup_steps``; the schedule starts after them.

    Args:
        optimizer: Whose learning rate is set.
        schedule: The schedule after the warm-up; None holds the rate.
        counts_updates: Whether the schedule moves with updates; else whoever owns it calls
            ``advance`` at the end of an epoch or validation.
        frequency: Move the schedule at every n-th event.
        warmup_steps: Number of updates of the warm-up.
    """

    # LRScheduler's own __init__ is left out on purpose: it would count and step by itself. The base
    # class is there because Trainers take nothing else.
    def __init__(
        self,
        optimizer: Optimizer,
        schedule: LRScheduler | None,
        *,
        counts_updates: bool,
        frequency: int = 1,
        warmup_steps: int = 0,
    ) -> None:
        self.optimizer = optimizer
        self.schedule = schedule
        self.counts_updates = counts_updates
        self.frequency = frequency
        self.warmup_steps = warmup_steps
        self.updates = 0
        self.events = 0
        self._first_rates = [group["lr"] for group in optimizer.param_groups]
        self.warm_up()

    def warm_up(self) -> None:
        """Set the rate, if the warm-up is not over."""
        if self.updates < self.warmup_steps:
            share = (self.updates + 1) / self.warmup_steps
            for group, rate in zip(self.optimizer.param_groups, self._first_rates, strict=True):
                group["lr"] = rate * share

    def step(self, epoch: int | None = None) -> None:
        """Count one optimizer update; Lightning calls this."""
        self.updates += 1
        self.warm_up()
        if self.counts_updates:
            self.advance()

    def advance(self, metric: float | None = None) -> None:
        """Count one update, epoch or validation, whichever the schedule moves with.

        Args:
            metric: The monitored value, for ``ReduceLROnPlateau``.
        """
        warming_up = self.warmup_steps > 0 and self.updates <= self.warmup_steps
        if self.schedule is None or warming_up:
            return
        self.events += 1
        if self.events % self.frequency:
            return
        if isinstance(self.schedule, ReduceLROnPlateau):
            assert metric is not None, "the plateau schedule is stepped with a metric"
            self.schedule.step(metric)
        else:
            self.schedule.step()

    def get_last_lr(self) -> list[float | torch.Tensor]:
        """The present rate of each parameter group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        schedule = None if self.schedule is None else self.schedule.state_dict()
        return {"updates": self.updates, "events": self.events, "schedule": schedule}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the state of a checkpoint; the optimizer restores the rate itself."""
        self.updates = state["updates"]
        self.events = state["events"]
        restored = state["schedule"]
        if isinstance(self.schedule, ReduceLROnPlateau):
            # What it has seen; how it acts on that is said by the arguments.
            restored = {name: restored[name] for name in _HISTORY if name in restored}
        if self.schedule is not None:
            self.schedule.load_state_dict(restored)


def schedule_steps(
    interval: Interval,
    frequency: int,
    *,
    total_updates: float,
    updates_per_epoch: float,
    warmup_steps: int,
) -> int:
    """How often a schedule will be stepped over a whole training.

    Args:
        interval: What it counts.
        frequency: It is stepped at every n-th of these.
        total_updates: Optimizer updates of the training; infinite if it has no end.
        updates_per_epoch: Optimizer updates of one epoch, of which a part counts as one;
            infinite if nobody can tell.
        warmup_steps: Updates of the warm-up, during which it stands still.

    Raises:
        ValueError: If the training has no known end, or the warm-up lasts until then.
    """
    if math.isinf(total_updates):
        raise ValueError(
            "this lr_scheduler needs the length of the training, and the Trainer has no limit: "
            "set max_epochs or max_steps, or give the schedule's length in lr_scheduler_options"
        )
    if interval == "step":
        events = int(total_updates) - warmup_steps
    elif math.isinf(updates_per_epoch):
        raise ValueError(
            "this lr_scheduler counts epochs, and the training loader does not say how many "
            "batches an epoch has: give the schedule's length in lr_scheduler_options"
        )
    else:
        whole = math.ceil(updates_per_epoch)
        events = math.ceil(total_updates / whole) - warmup_steps // whole
    if events < 1:
        raise ValueError(
            f"warmup_steps={warmup_steps} leaves nothing of the training's {int(total_updates)} "
            "updates to the lr_scheduler: lower it"
        )
    return math.ceil(events / frequency)
