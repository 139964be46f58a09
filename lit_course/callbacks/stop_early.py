"""Early stopping on the value that everything else follows too."""

from __future__ import annotations

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping


class StopEarly(EarlyStopping):
    """Stops a fit when the module's ``monitored`` value has not become better for a while.

    Args:
        patience: Number of validations without improvement before the fit ends.
        min_delta: Least change that counts as improvement.
    """

    def __init__(self, patience: int = 5, min_delta: float = 0.0) -> None:
        # Not strict: a training that ends within an epoch has not validated, which is no fault. The
        # module refuses a monitor that is never reported.
        super().__init__(monitor="val/loss", patience=patience, min_delta=min_delta, strict=False)

    @property
    def state_key(self) -> str:
        """One key whatever is monitored: a resumed run looks for its state before it is known."""
        return type(self).__name__

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take what to watch from the module, which knows it once its layers are made."""
        self.monitor = getattr(pl_module, "monitored", self.monitor)
        self.mode = getattr(pl_module, "monitor_mode", self.mode)
        self.min_delta = abs(self.min_delta) * (1 if self.mode == "max" else -1)
        if self.best_score.isinf():
            self.best_score = torch.tensor(-torch.inf if self.mode == "max" else torch.inf)
