"""Curves over epochs, beside those over updates: runs of different batch sizes compare."""

from __future__ import annotations

from lightning.pytorch import Callback, LightningModule, Trainer


class EpochAxis(Callback):
    """Logs each epoch's values once more as ``epochs/<name>``, over the number of epochs done."""

    def __init__(self) -> None:
        self._logged = 0
        self._validated = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin where the fit begins."""
        self._logged, self._validated = trainer.current_epoch, False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """An epoch without validation has nothing new to say of it."""
        self._validated = True

    # An epoch's values are all there once it is over: callbacks are called before the module.
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the epoch before."""
        self._log(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the last epoch."""
        self._log(trainer)

    def _log(self, trainer: Trainer) -> None:
        epochs = trainer.fit_loop.epoch_progress.current.completed
        if epochs > self._logged:
            self._logged = epochs
            values = {
                f"epochs/{name}": float(value)
                for name, value in trainer.callback_metrics.items()
                if self._validated or not name.startswith("val")
            }
            self._validated = False
            for logger in trainer.loggers:
                logger.log_metrics(values, epochs)
