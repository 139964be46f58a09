"""Weights and gradients as histograms."""

from __future__ import annotations

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from lit_course.callbacks.tensorboard import tensorboard_writers


class Histograms(Callback):
    """Writes a histogram of each trained parameter and of its gradient, for TensorBoard.

    Args:
        every_n_epochs: At the last update of every so many epochs, at least 1.

    Raises:
        ValueError: If ``every_n_epochs`` is less than 1.
    """

    def __init__(self, every_n_epochs: int = 1) -> None:
        if every_n_epochs < 1:
            raise ValueError(f"every_n_epochs must be at least 1, found {every_n_epochs}")
        self.every_n_epochs = every_n_epochs
        self._written = -1

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Nothing is written yet."""
        self._written = -1

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Write both as they are before the update, where it is the last one of an epoch."""
        last = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if not last or (trainer.current_epoch + 1) % self.every_n_epochs:
            return
        if self._written == trainer.global_step:  # LBFGS evaluates a batch several times
            return
        self._written = trainer.global_step
        for writer in tensorboard_writers(trainer):
            for name, weights in pl_module.named_parameters():
                for kind, values in (("weights", weights), ("gradients", weights.grad)):
                    if not weights.requires_grad or values is None:
                        continue
                    if values.is_sparse:  # those that the batch did not touch are 0
                        values = values.coalesce().values()
                    if values.isfinite().all():
                        writer.add_histogram(f"{kind}/{name}", values, trainer.global_step)
