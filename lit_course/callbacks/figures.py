"""Figures of a whole split, drawn when ``validate`` or ``test`` ends."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image

from lit_course.figures import Chart
from lit_course.gather import gather
from lit_course.stage_metrics import StageMetrics


class Figures(Callback):
    """Draws what a module has to show: ``<folder>/<stage>_<name>.png``, as ``.csv`` too.

    A module that has ``charts(stage, answers, targets)`` is asked, once, for those of a whole
    split, of all processes. The pictures go to a ``TensorBoardLogger`` too; with another logger, or
    none, they are in the folder alone.

    Args:
        folder: Where to write, made when it is needed; None only logs.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._metrics: Any = None  # what keeps the answers of the split that is looked at

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Have the answers kept, where this is not within a fit."""
        if trainer.state.fn == "validate":
            self._keep(trainer, pl_module, "val")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Have the answers kept."""
        self._keep(trainer, pl_module, "test")

    # Callbacks are called before the module, which forgets what was kept once it has reported.
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw, where this is not within a fit."""
        self._draw(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw."""
        self._draw(trainer, pl_module, "test")

    def _keep(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        self._metrics = None
        rehearsal = getattr(trainer, "fast_dev_run", False)
        metrics = getattr(module, f"{stage}_metrics", None)
        if isinstance(metrics, StageMetrics) and hasattr(module, "charts") and not rehearsal:
            self._metrics = metrics
            metrics.keep()

    def _draw(self, trainer: Trainer, module: Any, stage: str) -> None:
        if self._metrics is None:
            return
        kept = [piece for part in gather(self._metrics.kept()) for piece in part]
        self._metrics = None
        if trainer.is_global_zero and kept:
            answers, targets = (torch.cat(pieces) for pieces in zip(*kept, strict=True))
            for chart in module.charts(stage, answers, targets):
                self._show(trainer, stage, chart)

    def _show(self, trainer: Trainer, stage: str, chart: Chart) -> None:
        pixels = chart.pixels()
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                tag = f"{stage}/{chart.name}"
                logger.experiment.add_image(tag, pixels, trainer.global_step, dataformats="HWC")
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{stage}_{chart.name}.png"
        partial = path.with_suffix(".part")
        partial.write_text(chart.text(), encoding="utf-8")
        os.replace(partial, path.with_suffix(".csv"))
        Image.fromarray(pixels).save(partial, format="png")
        os.replace(partial, path)
