"""An ordinary Lightning program, as tutorials write it: what most users have today."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from benchmarks.clock import StageClock
from benchmarks.loops import Loader
from benchmarks.network import SIZES, network, optimizer
from benchmarks.program import terminal


class UsualModule(LightningModule):
    """A classifier that logs loss, accuracy and F1 of every step and of the epoch.

    Args:
        optimizer_name: ``SGD`` or ``Adam``.
        sizes: Widths of the network.
    """

    def __init__(self, optimizer_name: str, sizes: tuple[int, ...] = SIZES) -> None:
        super().__init__()
        self.optimizer_name = optimizer_name
        self.model = network(sizes)
        self.accuracy = MulticlassAccuracy(num_classes=10, average="micro")
        self.f1 = MulticlassF1Score(num_classes=10, average="macro")

    def forward(self, x: Tensor) -> Tensor:
        """Images to logits."""
        logits: Tensor = self.model(x)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Loss of a batch, everything logged."""
        x, y = batch
        logits = self(x)
        loss = F.cross_entropy(logits, y)
        self.accuracy(logits, y)
        self.f1(logits, y)
        self.log("train_loss", loss, on_step=True, on_epoch=True, prog_bar=True)
        self.log("train_acc", self.accuracy, on_step=True, on_epoch=True, prog_bar=True)
        self.log("train_f1", self.f1, on_step=True, on_epoch=True)
        return loss

    def configure_optimizers(self) -> Optimizer:
        """The one that was asked for."""
        return optimizer(self.optimizer_name, self, fused=False)


def usual_lightning(
    loader: Loader, optimizer_name: str, sizes: tuple[int, ...] = SIZES, epochs: int = 1
) -> float:
    """Seconds of training from the first epoch's start to behind its checkpoint.

    Progress bar, TensorBoard and checkpoints are Lightning's own defaults.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, terminal():
        clock = StageClock(str(Path(folder, "clock.json")))
        module = UsualModule(optimizer_name, sizes)
        trainer = Trainer(
            accelerator="cpu", max_epochs=epochs, callbacks=[clock], default_root_dir=folder
        )
        trainer.fit(module, loader)
    return clock.times["train_end"] - clock.times["train_start"]
