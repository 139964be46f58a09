"""Early stopping that goes back to the best epoch, without a file."""

from __future__ import annotations

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lit_course.callbacks import StopEarly


class StopAtBest(StopEarly):
    """Stops as ``StopEarly`` does, and leaves the module in the state that was judged best.

    Args:
        patience: Number of epochs without improvement before the fit ends.
    """

    def __init__(self, patience: int) -> None:
        super().__init__(patience)
        self._best: dict[str, Tensor] = {}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge, and keep the weights if they are better than ever."""
        before = self.best_score
        super().on_train_epoch_end(trainer, pl_module)
        if self.best_score is not before:
            self._best = {name: value.clone() for name, value in pl_module.state_dict().items()}

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go back; where no value was ever finite, there is nothing better than the last."""
        if self._best:
            pl_module.load_state_dict(self._best)
