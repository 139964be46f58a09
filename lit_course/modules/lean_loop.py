"""The Trainer's own loop over the batches of an epoch, without what it costs to call nobody.

Around each batch Lightning 2.6 offers some twenty hooks to every callback, module and strategy,
each through a profiler, and wraps the update into closures: on a processor a quarter of the time of
a small network's step. Here the same hooks are called in the same order with the same counters,
those that somebody implements; the arithmetic is the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import gcd
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.core.hooks import DataHooks
from lightning.pytorch.loops.fetchers import _DataFetcher
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.utilities import rank_zero_info
from torch.optim import LBFGS, Optimizer

# Hooks that are told of a batch; what a callback or the module makes of them is called.
_TOLD = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)
# Hooks through which a batch goes on its way to the device.
_TRANSFER = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
# What makes the update: ours, or Lightning's loop is needed.
_DECIDING = (
    "training_step",
    "optimizer_zero_grad",
    "backward",
    "configure_gradient_clipping",
    "optimizer_step",
)


class LeanEpochLoop(_TrainingEpochLoop):
    """The epoch loop of a Trainer, for as long as nothing asks for more than plain updates.

    Else it is Lightning's own, and a line says why (see ``obstacle``).
    """

    _said: str | None = None
    _is_lean = False
    _module: LightningModule
    _optimizer: Optimizer
    _hooks: dict[str, list[Callable[..., Any]]]
    _transfers: list[Callable[[Any], Any]]
    _batches_per_look: int

    @classmethod
    def install(cls, trainer: Trainer) -> None:
        """Make a Trainer's loop a lean one; its counters stay."""
        if type(trainer.fit_loop.epoch_loop) is _TrainingEpochLoop:
            trainer.fit_loop.epoch_loop.__class__ = cls

    def on_run_start(self, data_fetcher: _DataFetcher) -> None:
        """Find out who is to be called in this epoch; callbacks may have changed the Trainer."""
        super().on_run_start(data_fetcher)
        reason = obstacle(self.trainer)
        updates_by_itself = not self.trainer.lightning_module.automatic_optimization
        if reason not in (None, self._said) and not updates_by_itself:
            rank_zero_info(f"training in Lightning's own loop: {reason}")
        self._said = reason
        self._is_lean = reason is None
        self._module, self._optimizer = self.trainer.lightning_module, self.trainer.optimizers[0]
        self._hooks = {hook: _implemented(self.trainer, hook) for hook in _TOLD}
        self._transfers = _transfers(self.trainer)
        self._batches_per_look = self._find_batches_per_look()

    @torch.enable_grad()
    def advance(self, data_fetcher: _DataFetcher) -> None:
        """Train up to the next batch behind which Lightning has something to do, or on that one."""
        if self.restarting or not self._is_lean:
            return super().advance(data_fetcher)
        self.val_loop.restarting = False
        self._update(data_fetcher)
        while not self._is_due():
            self._batches_that_stepped += 1
            self._update(data_fetcher)

    def _is_due(self) -> bool:
        """Whether a validation, the end of the epoch or of the fit may come behind this batch."""
        trainer, progress = self.trainer, self.batch_progress
        return (
            progress.is_last_batch
            or progress.current.ready % self._batches_per_look == 0
            or trainer.should_stop
            or trainer.received_sigterm
            or 0 <= self.max_steps <= self.automatic_optimization.optim_progress.optimizer_steps
        )

    def _find_batches_per_look(self) -> int:
        trainer = self.trainer
        # By the clock, or counted over epochs, a validation may come behind any batch.
        if trainer._val_check_time_interval is not None or trainer.check_val_every_n_epoch is None:
            return 1
        batches = [trainer.num_training_batches]
        if self._should_check_val_epoch():
            batches.append(trainer.val_check_batch)
        finite = [int(number) for number in batches if number != float("inf")]
        return gcd(*finite) or 1

    def _update(self, data_fetcher: _DataFetcher) -> None:
        """One batch, as ``_TrainingEpochLoop.advance`` and what that calls take it."""
        trainer, progress, optimizer = self.trainer, self.batch_progress, self._optimizer
        updates = self.automatic_optimization.optim_progress.optimizer

        batch, _, _ = next(data_fetcher)
        batch_idx = self.batch_idx + 1
        progress.is_last_batch = data_fetcher.done
        for transfer in self._transfers:
            batch = transfer(batch)
        progress.increment_ready()
        logged = self._results  # what a callback logs with `self.log`: of ours, nothing
        logged.batch = batch
        if trainer._logger_connector._first_loop_iter is not False:
            trainer._logger_connector.on_batch_start(batch)
        self._tell("on_train_batch_start", batch, batch_idx)
        progress.increment_started()

        updates.step.increment_ready()
        loss: Any = self._module.training_step(batch, batch_idx)
        updates.zero_grad.increment_ready()
        self._tell("on_before_zero_grad", optimizer)
        updates.zero_grad.increment_started()
        # As zero_grad() does; that takes longer to enter a profiler than to do this.
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None
        updates.zero_grad.increment_completed()
        self._tell("on_before_backward", loss)
        loss.backward()
        self._tell("on_after_backward")
        self._tell("on_before_optimizer_step", optimizer)
        optimizer.step()
        updates.step.increment_completed()

        progress.increment_processed()
        if trainer.lr_scheduler_configs:
            self.update_lr_schedulers("step", update_plateau_schedulers=False)
            if self._num_ready_batches_reached():
                self.update_lr_schedulers("epoch", update_plateau_schedulers=False)
        self._tell("on_train_batch_end", {"loss": loss.detach()}, batch, batch_idx)
        if logged:
            trainer._logger_connector.on_batch_end()
        logged.batch = logged.batch_size = None
        progress.increment_completed()
        if logged:
            trainer._logger_connector.update_train_step_metrics()

    def _tell(self, hook: str, *args: object) -> None:
        if implemented := self._hooks[hook]:
            attributes = vars(self._module)  # its __setattr__ looks for parameters
            before, attributes["_current_fx_name"] = attributes["_current_fx_name"], hook
            for call in implemented:
                call(*args)
            attributes["_current_fx_name"] = before


def obstacle(trainer: Trainer) -> str | None:
    """Why the epoch must run in Lightning's own loop; None if it need not."""
    module = trainer.lightning_module
    reasons = {
        "lean_loop is off": not getattr(module, "lean_loop", False),
        "optimization is manual": not module.automatic_optimization,
        f"strategy {type(trainer.strategy).__name__}": (
            type(trainer.strategy) is not SingleDeviceStrategy
        ),
        "the model is compiled": trainer.strategy.model is not module,
        f"precision is {trainer.precision}": type(trainer.precision_plugin) is not Precision,
        "accumulate_grad_batches is set": trainer.accumulate_grad_batches != 1,
        "gradient_clip_val is set": bool(trainer.gradient_clip_val),
        "a profiler listens": not isinstance(
            trainer.profiler,  # type: ignore[attr-defined]  # set on construction
            PassThroughProfiler,
        ),
        "LBFGS evaluates a batch several times": isinstance(trainer.optimizers[0], LBFGS),
        "a callback skips the updates": trainer.fit_loop._skip_backward,
    }
    for reason, holds in reasons.items():
        if holds:
            return reason
    for hook in (*_TOLD, *_DECIDING):
        own = getattr(module, hook)
        inherited = getattr(own, "__func__", None) is getattr(LightningModule, hook)
        if not inherited and not own.__module__.startswith("lit_course.modules."):
            return f"{type(module).__name__} has its own {hook}"
    return None


def _implemented(trainer: Trainer, hook: str) -> list[Callable[..., Any]]:
    """Those who do something in a hook, in Lightning's order: callbacks, then the module."""
    module = trainer.lightning_module
    calls: list[Callable[..., Any]] = []
    for callback in trainer.callbacks:  # type: ignore[attr-defined]  # set on construction
        own = getattr(callback, hook)
        if getattr(own, "__func__", None) is not getattr(Callback, hook):
            calls.append(partial(own, trainer, module))
    own = getattr(module, hook)
    if own.__func__ is not getattr(LightningModule, hook):
        calls.append(own)
    return calls


def _transfers(trainer: Trainer) -> list[Callable[[Any], Any]]:
    """What is done to a batch before it is trained on, other than leaving it where it is."""
    selector, device = trainer._data_connector._datahook_selector, trainer.strategy.root_device
    assert selector is not None
    before, move, after = (getattr(selector.get_instance(hook), hook) for hook in _TRANSFER)
    steps: list[Callable[[Any], Any]] = []
    if before.__func__ is not DataHooks.on_before_batch_transfer:
        steps.append(lambda batch: before(batch, 0))
    if move.__func__ is not DataHooks.transfer_batch_to_device or device.type != "cpu":
        steps.append(lambda batch: move(batch, device, 0))
    if after.__func__ is not DataHooks.on_after_batch_transfer:
        steps.append(lambda batch: after(batch, 0))
    return steps
