"""The fitted curve of a model of one feature, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn

from lit_course.callbacks.show import show
from lit_course.figures import Chart, Collector
from lit_course.modules.at_rest import at_rest
from lit_course.modules.regressor import Regressor


class FittedCurve(Callback):
    """Draws ``train_fitted_curve`` before the first step and every ``log_every_n_steps``.

    Over the points of the batch that comes next, of the model before it. ``Figures`` draws the end.
    A ``TensorBoardLogger`` gets the images ``train/fitted_curve``, to be leafed through; start it
    with ``--samples_per_plugin images=1000``, it shows ten of them otherwise.

    Args:
        folder: Where to write ``train_fitted_curve_step_<n>.png`` and ``.csv``; None only logs.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        self._drawn = -1  # the last step

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say it where there will be nothing to draw."""
        self._drawn = -1
        if not _has_curve(pl_module):
            rank_zero_warn("a curve is drawn of a regression on one feature, and this is none")

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Draw where the log is due."""
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set on construction
        rehearsal = getattr(trainer, "fast_dev_run", False)
        due = every and trainer.global_step % every == 0 and trainer.global_step != self._drawn
        if due and not rehearsal and trainer.is_global_zero and _has_curve(pl_module):
            self._drawn = trainer.global_step
            charts = _curves(pl_module, batch, self._drawn)
            show(trainer, "train", charts, self.folder, f"_step_{self._drawn}")


def _has_curve(module: LightningModule) -> TypeGuard[Regressor]:
    return isinstance(module, Regressor) and getattr(module, "in_features", 0) == 1


def _curves(module: Regressor, batch: Any, step: int) -> Iterator[Chart]:
    collector = Collector()
    with at_rest(module):
        collector.add(module.evaluate(batch), batch)
    seen = collector.seen("train", f"before step {step}")
    if seen is not None:
        yield from (c for c in module.charts(seen) if c.name.startswith("fitted_curve"))
