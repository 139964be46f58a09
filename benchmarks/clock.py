"""When the parts of a run began and ended, told from within by a callback."""

from __future__ import annotations

import json
import time
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer


class StageClock(Callback):
    """Writes when training and testing began and ended, in seconds of ``time.perf_counter``.

    It has no hook of single batches, which would be a reason to go slower. Training begins with
    the first epoch and ends behind the last one's metrics, logging and checkpoint. The clock of
    Linux is the same in all processes, so that a command's start can be subtracted.

    Args:
        file: Where to write them, as JSON.
    """

    def __init__(self, file: str) -> None:
        self.file = Path(file)
        self.times: dict[str, float] = {}

    def _note(self, moment: str) -> None:
        self.times.setdefault(moment, time.perf_counter())

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Only the first epoch counts."""
        self._note("train_start")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Behind the last epoch."""
        self._note("train_end")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Before the first batch."""
        self._note("test_start")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Behind the report."""
        self._note("test_end")

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write what was noted."""
        self.file.write_text(json.dumps(self.times), encoding="utf-8")
