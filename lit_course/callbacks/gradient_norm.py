"""The size of the gradient, which tells a step that is too long from one that is too short."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer


class GradientNorm(Callback):
    """Logs ``train/gradient_norm`` at every ``log_every_n_steps``-th update.

    It is the Euclidean norm of all gradients of an update together, before they are clipped; of
    several optimizers, those of the one that makes the update.
    """

    def __init__(self) -> None:
        self._logged = -1

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Nothing is logged yet."""
        self._logged = -1

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Log it, once an update: LBFGS evaluates a batch several times."""
        step = trainer.global_step
        every: Any = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set on construction
        if not every or (step + 1) % every or step == self._logged:
            return
        self._logged = step
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
        for logger in trainer.loggers:
            logger.log_metrics({"train/gradient_norm": float(norm)}, step)
