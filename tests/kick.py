"""A signal in the middle of a run, sent by a callback."""

import os
import signal

from lightning.pytorch import Callback


class Kick(Callback):
    """Sends this process a signal in the middle of a batch, or of a validation."""

    def __init__(self, step: int, validation: bool = False) -> None:
        self.step = step
        self.validation = validation

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.fit_loop.total_batch_idx == self.step and not self.validation:
            os.kill(os.getpid(), signal.SIGTERM)

    def on_validation_start(self, trainer, pl_module):
        if (
            self.validation
            and not trainer.sanity_checking
            and trainer.fit_loop.total_batch_idx >= self.step
        ):
            self.validation, self.step = False, -1
            os.kill(os.getpid(), signal.SIGTERM)
