"""SIGINT and SIGTERM end a run in a known state."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from lit_course.callbacks.best_checkpoint import BestCheckpoint

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopOnSignal(Callback):
    """Ends a fit after the present batch or validation, saved, with ``SystemExit(128 + signal)``.

    The state is kept by the Trainer's ``BestCheckpoint`` as ``last.ckpt``; a fit resumed from it
    goes on as if it had never been stopped. A second SIGINT leaves at once. The other verbs have
    nothing to save and end at once. Of several processes all end at the same step.

    Lightning 2.6 ends in the middle of a batch on SIGINT, saves nothing, exits with 0 after SIGTERM
    (github.com/Lightning-AI/pytorch-lightning/issues/19916), and may hang after it where there are
    several processes, because its handler is a collective operation (issue 20806).

    Args:
        goes_on: Whether the run as a whole can be resumed, and the last line shall say how.
    """

    def __init__(self, goes_on: bool = True) -> None:
        self.goes_on = goes_on
        self._received = 0
        self._saves = False
        self._ends_here = False

    # ------------------------------------------------------------- receiving

    # Lightning sets handlers of its own just before these, and puts the old ones back at the end.
    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen."""
        self._listen(saves=True)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen."""
        self._listen(saves=True)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen, where this is not within a fit."""
        if trainer.state.fn != "fit":
            self._listen(saves=False)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen."""
        self._listen(saves=False)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen."""
        self._listen(saves=False)

    def _listen(self, saves: bool) -> None:
        is_main = threading.current_thread() is threading.main_thread()
        if not is_main or signal.getsignal(signal.SIGTERM) == self._receive:
            return
        self._received, self._saves, self._ends_here = 0, saves, False
        for number in _SIGNALS:
            signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if not self._saves:
            raise SystemExit(128 + number)
        if self._received and number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)
            raise KeyboardInterrupt
        self._received = self._received or number
        # print() is not to be called from a handler.
        text = f"{signal.Signals(number).name}: ending after this batch; Ctrl-C again leaves now\n"
        os.write(2, text.encode())

    # ------------------------------------------------------------- ending

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and end, unless a validation or the epoch's end comes first."""
        loop, fetcher = trainer.fit_loop.epoch_loop, trainer.fit_loop._data_fetcher
        # Gradients that are still being gathered are in no checkpoint.
        if not self._agreed(trainer) or loop._should_accumulate():
            return
        assert fetcher is not None
        validates = loop._should_check_val_fx(fetcher)
        if validates or loop._is_training_done or trainer.should_stop:
            self._ends_here = True  # what follows saves a state of its own
            return
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, BestCheckpoint):
                callback.keep_last(trainer)
        self._end(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End behind this validation, once its state is saved."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            accumulates = trainer.fit_loop.epoch_loop._should_accumulate()
            self._ends_here = self._ends_here or (self._agreed(trainer) and not accumulates)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """End behind a validation within an epoch."""
        self._end_if_saved(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End behind an epoch."""
        self._end_if_saved(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End behind the last epoch."""
        self._end_if_saved(trainer)

    def _end_if_saved(self, trainer: Trainer) -> None:
        if self._ends_here:
            self._end(trainer)

    def _agreed(self, trainer: Trainer) -> bool:
        """Whether any process received a signal; all must end at the same step."""
        if trainer.world_size > 1:
            received = torch.tensor(self._received, device=trainer.strategy.root_device)
            agreed = int(trainer.strategy.reduce(received, reduce_op="max"))
            if not agreed:
                return False  # what came in the meantime is for the next time
            self._received = agreed
        return self._received > 0

    def _end(self, trainer: Trainer) -> None:
        kept = [c for c in trainer.checkpoint_callbacks if isinstance(c, BestCheckpoint)]
        if not self.goes_on:
            advice = "it cannot be resumed: start it again"
        else:
            file = kept[0].last_model_path if kept else None
            advice = f"go on: fit --ckpt_path {file}" if file else "nothing is saved"
        name = signal.Signals(self._received).name
        rank_zero_info(f"ended by {name} after step {trainer.global_step}; {advice}")
        environment = getattr(trainer.strategy, "cluster_environment", None)
        if isinstance(environment, LightningEnvironment) and trainer.local_rank > 0:
            # The Trainer's launcher kills the first process when another one ends with a status
            # before it; nobody else reads that status.
            raise SystemExit(0)
        raise SystemExit(128 + self._received)
