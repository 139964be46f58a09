"""A learning-rate range test: one short training in which the rate grows with every update.

L. N. Smith, Cyclical Learning Rates for Training Neural Networks, 2017 (arXiv 1506.01186),
section 3.3; the rate grows exponentially, as in fastai's ``lr_find`` and in Lightning's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

DIVERGED = 4.0  # times the lowest loss so far, as fastai and Lightning have it
FORGET = 0.98  # of the running mean that is held against that, as they have it too
SURE = 6  # standard deviations that the loss must fall by: noise alone spans some four


class RangeTest(Callback):
    """Sets the rate of all parameters before every update, and notes the loss of its batches.

    Lightning's own ``lr_find`` works on the Trainer of a fit: it writes a checkpoint and restores
    it, which an interrupt leaves behind (github.com/Lightning-AI/pytorch-lightning/issues/13856),
    and takes callbacks away for that time. A Trainer that is made for the test alone needs neither.

    Args:
        min_lr: Rate of the first update.
        max_lr: Rate of the last one.
        steps: Number of updates, at least 2.
    """

    def __init__(self, min_lr: float, max_lr: float, steps: int) -> None:
        self.rates = np.geomspace(min_lr, max_lr, steps)
        self.losses: list[float] = []  # of every update, before it
        self._batches: list[Tensor] = []
        self._mean = 0.0
        self._lowest = np.inf

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the schedule away: the rate is set here."""
        trainer.strategy.lr_scheduler_configs = []

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Set the rate of this update."""
        for group in optimizer.param_groups:
            group["lr"] = float(self.rates[min(len(self.losses), len(self.rates) - 1)])

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the loss; end the test where it diverges."""
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if isinstance(loss, Tensor):
            # Lightning has divided it by the number of batches of an update.
            self._batches.append(loss.detach() * trainer.accumulate_grad_batches)
        if trainer.global_step == len(self.losses) or not self._batches:
            return  # more batches come before the update
        mean = float(torch.stack(self._batches).mean())
        self._batches = []
        self.losses.append(mean)
        self._mean = FORGET * self._mean + (1 - FORGET) * mean
        smooth = self._mean / (1 - FORGET ** len(self.losses))
        self._lowest = min(self._lowest, smooth)
        # A loss below zero has no such multiple: there only what is not finite ends the test.
        if not np.isfinite(mean) or (0 < DIVERGED * self._lowest < smooth):
            trainer.should_stop = True

    @property
    def diverged_at(self) -> float | None:
        """The rate at which the test ended early."""
        done = len(self.losses)
        return float(self.rates[done - 1]) if done < len(self.rates) else None


def smoothed(losses: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Losses ``(N,)`` as means over their neighbours, with the weights of a bell curve.

    A running mean over the past, as others take it, would lag behind: at a hundred updates over six
    decades by more than a factor of ten in the rate.

    Args:
        losses: Finite ones.
        width: Standard deviation of the bell, in updates.
    """
    away = np.arange(len(losses))[:, None] - np.arange(len(losses))
    weights = np.exp(-0.5 * (away / width) ** 2)
    means: NDArray[np.float64] = weights @ losses / weights.sum(1)
    return means


def steepest(rates: NDArray[np.float64], losses: NDArray[np.float64]) -> int | None:
    """Where a smoothed loss falls fastest with the logarithm of the rate.

    Args:
        rates: Ascending, ``(N,)``.
        losses: Smoothed, ``(N,)``.

    Returns:
        Its index; None if the loss falls nowhere.
    """
    if len(losses) < 2:
        return None
    slopes = np.gradient(losses, np.log(rates))
    lowest = int(losses.argmin())
    if lowest == 0:
        return None
    place = int(slopes[: lowest + 1].argmin())
    return place if slopes[place] < 0 else None


def suggestion(
    rates: NDArray[np.float64], losses: NDArray[np.float64]
) -> tuple[float | None, NDArray[np.float64]]:
    """The rate to train with, and the smoothed losses that it was read from.

    Args:
        rates: Ascending, ``(N,)``.
        losses: As they were measured, ``(N,)``, finite.

    Returns:
        Where the smoothed loss falls fastest, None if it falls by no more than its own noise; and
        the smoothed losses ``(N,)``.
    """
    width = max(1.0, len(losses) / 40)
    # Where it diverges a single loss would outweigh all of its neighbours.
    smooth = smoothed(np.minimum(losses, highest(losses)), width)
    # Of a bell-shaped mean; the median is not moved by the few losses where it bends.
    noise = 1.5 * np.median(np.abs(losses - smooth)) / np.sqrt(2 * np.sqrt(np.pi) * width)
    place = steepest(rates, smooth)
    if place is None or smooth[: place + 1].max() - smooth.min() <= SURE * noise:
        return None, smooth
    return float(rates[place]), smooth


def highest(losses: NDArray[np.float64]) -> float:
    """The highest loss before the lowest one: how high it was before it began to diverge."""
    return float(losses[: losses.argmin() + 1].max())
