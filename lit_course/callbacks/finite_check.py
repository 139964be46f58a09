"""A training that diverged ends, and says where."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

STEPS_PER_LOOK = 256


class FiniteCheck(Callback):
    """Ends a fit whose loss or parameters are not finite any more.

    The losses of the batches are gathered where they are and looked at together, so that a device
    is waited for once in 256 batches; they and the parameters are looked at before every
    validation and at the end of an epoch, before a checkpoint could be taken of them.

    Raises:
        FloatingPointError: Naming the step, the learning rate and what to try.
    """

    def __init__(self) -> None:
        self._losses = torch.empty(0)  # one tensor: kept one by one they would split the memory
        self._steps: list[tuple[int, float]] = []  # of each loss: the update and its learning rate
        self._rate = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew."""
        self._losses = torch.empty(STEPS_PER_LOOK, device=pl_module.device)
        self._steps = []

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Note the learning rate; a schedule will have changed it when the batch ends."""
        self._rate = optimizer.param_groups[0]["lr"]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take the loss of a batch, without looking at it."""
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if isinstance(loss, Tensor):
            self._losses[len(self._steps)] = loss.detach()
            self._steps.append((trainer.global_step, self._rate))
            if len(self._steps) == STEPS_PER_LOOK:
                self._look(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look before a validation."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._look(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the loss of the validation."""
        loss = trainer.callback_metrics.get("val/loss")
        if trainer.state.fn == "fit" and not trainer.sanity_checking and loss is not None:
            self._refuse(trainer, loss.isfinite(), f"the validation loss is {float(loss):g}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the end of an epoch; checkpoints are taken after this."""
        self._look(trainer, pl_module)

    def _look(self, trainer: Trainer, module: LightningModule | None = None) -> None:
        steps, self._steps = self._steps, []
        if steps:
            values = self._losses[: len(steps)]
            bad = (~values.isfinite()).nonzero()
            first = int(bad[0]) if len(bad) else 0
            what = f"the loss is {float(values[first]):g}"
            self._refuse(trainer, torch.tensor(not len(bad)), what, *steps[first])
        trained = [p for p in module.parameters() if p.requires_grad] if module else []
        if trained:
            finite = torch.stack([parameter.detach().isfinite().all() for parameter in trained])
            self._refuse(trainer, finite.all(), "a parameter is not finite")

    def _refuse(
        self,
        trainer: Trainer,
        finite: Tensor,
        what: str,
        step: int | None = None,
        rate: float | None = None,
    ) -> None:
        # All processes must end, also those whose own part of the data went well.
        if trainer.strategy.reduce_boolean_decision(bool(finite), all=True):
            return
        if finite:
            what = "a loss or parameter of another process is not finite"
        step = trainer.global_step if step is None else step
        rate = self._rate if rate is None else rate
        raise FloatingPointError(
            f"training diverged: {what} at step {step} (epoch {trainer.current_epoch + 1}), "
            f"learning rate {rate:g}\n"
            "try a lower --model.lr, a warm-up (--model.warmup_steps 100) or clipped gradients "
            "(--trainer.gradient_clip_val 1),\nand look for values in the data that are not finite"
        )
