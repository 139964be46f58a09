"""Checkpoints of the best and of the last state."""

from __future__ import annotations

import os
from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint


class BestCheckpoint(ModelCheckpoint):
    """Keeps ``checkpoints/best.ckpt`` and ``checkpoints/last.ckpt``.

    Which state is best is judged by the module's own ``monitored`` value in its own direction; for
    a module without one the last is taken for the best.

    Args:
        dirpath: Where to keep them; None is the logger's folder. Give it as an absolute path: a
            resumed run knows its best again by it.
    """

    def __init__(self, dirpath: Path | None = None) -> None:
        super().__init__(
            dirpath=dirpath,
            filename="best",
            save_top_k=1,
            save_last=True,
            enable_version_counter=False,
        )

    @property
    def state_key(self) -> str:
        """One key whatever is monitored: a resumed run looks for its state before it is known."""
        return type(self).__name__

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take what to watch from the module, which knows it once its layers are made."""
        self.monitor = getattr(pl_module, "monitored", None)
        self.mode = getattr(pl_module, "monitor_mode", "min")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge the epoch, unless it ended before its validation, and keep its state."""
        if self.monitor is None or self.monitor in trainer.callback_metrics:
            super().on_train_epoch_end(trainer, pl_module)
        self._keep_last(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the last state where the training ended within an epoch; all that super would do."""
        self._keep_last(trainer)

    def _keep_last(self, trainer: Trainer) -> None:
        """Lightning 2.6 saves the last state only along with a new best one."""
        if self._last_global_step_saved != trainer.global_step:
            self._last_global_step_saved = trainer.global_step
            self.last_model_path = os.path.join(self.dirpath or "", "last.ckpt")
            trainer.save_checkpoint(self.last_model_path)


def best_path(trainer: Trainer) -> str:
    """The best checkpoint that this fit kept; empty if it kept none."""
    ours = (c for c in trainer.checkpoint_callbacks if isinstance(c, BestCheckpoint))
    return next((callback.best_model_path for callback in ours), "")
