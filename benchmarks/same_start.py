"""The common start, given to a run by a callback."""

from __future__ import annotations

from lightning.pytorch import Callback, LightningModule, Trainer

from benchmarks.network import start


class SameStart(Callback):
    """Lets a fit start from the weights of all other contenders."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw them; the layers are made by now."""
        start(pl_module)
