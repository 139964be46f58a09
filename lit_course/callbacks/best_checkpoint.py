"""Checkpoints of the best and of the last state."""

from __future__ import annotations

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint


class BestCheckpoint(ModelCheckpoint):
    """Keeps ``checkpoints/best.ckpt`` and ``checkpoints/last.ckpt``.

    Which state is best is judged by the module's own ``monitored`` value in its own direction; for
    a module without one the last is taken for the best.
    """

    def __init__(self) -> None:
        super().__init__(
            filename="best", save_top_k=1, save_last=True, enable_version_counter=False
        )

    @property
    def state_key(self) -> str:
        """One key whatever is monitored: a resumed run looks for its state before it is known."""
        return type(self).__name__

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take what to watch from the module, which knows it once its layers are made."""
        self.monitor = getattr(pl_module, "monitored", None)
        self.mode = getattr(pl_module, "monitor_mode", "min")
