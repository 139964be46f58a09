"""As many threads as help."""

from __future__ import annotations

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

# Multiplications in a layer's pass over a batch, all layers together. Below that a step takes less
# than some milliseconds, and threads that wait for each other cost more than they save: ten times
# as long where the machine has something else to do.
SMALL = 16_000_000


class FewThreads(Callback):
    """Trains a small network on one thread of the processor; ``undisturbed`` sets it back.

    Args:
        batch_size: Rows per batch.
    """

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose, now that the layers are there."""
        work = self.batch_size * sum(p.numel() for p in pl_module.parameters())
        if trainer.strategy.root_device.type == "cpu" and work < SMALL:
            torch.set_num_threads(1)
