"""Figures of a split, drawn when ``validate`` or ``test`` ends, and of a fit's last validation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn

from lit_course.callbacks.show import show
from lit_course.figures import Chart, Collector, charts_of, together
from lit_course.figures.seen import ROWS
from lit_course.gather import gather
from lit_course.modules import SupervisedModule
from lit_course.modules.at_rest import at_rest

IN_WORDS = {"train": "training", "val": "validation", "test": "test"}
SHARE = 0.01  # of a fit's time that drawing along the way may take
FIRST = 200.0  # seconds of a fit before the first drawing along the way


class Figures(Callback):
    """Draws what a model answered: ``<folder>/<split>_<name>.png``, as ``.csv`` too.

    Works with every LightningModule whose ``validation_step`` or ``test_step`` returns a mapping:

    - ``target``: labels ``(B,)`` from 0, or numbers ``(B,)`` or ``(B, K)``;
    - ``probabilities`` ``(B, C)``, or ``(B,)`` those of class 1 of two, with ``class`` ``(B,)``
      where that is not the most probable one; or ``prediction``, of the target's shape;
    - ``input``, where that is not the first part of the batch: images ``(B, 1 or 3, H, W)`` are
      drawn as such. A data module may say ``image_shape`` for inputs that are flat.

    Names are the module's or the data module's ``class_names`` and ``target_names``, where there
    are any. A module that has ``charts(seen)`` is asked for its charts instead; the modules of this
    package have. Of a large split a uniform sample of 10,000 answers is drawn (the confusion matrix
    is of all); the module's ``figure_rows`` may say another number, or None for all.

    Drawn is the end of ``validate`` and ``test``, and at the end of a fit its last validation, of
    the model as it is then; without validation, the first training rows of a data module that has
    ``rows_of``. Along the way a long fit logs its validation too, at times that double, so that
    this takes no more than a hundredth of it. A ``TensorBoardLogger`` gets the images; with another
    logger, or none, they are in the folder alone. What cannot be drawn is said in one line. Of
    several loaders the first one is drawn. A ``fast_dev_run`` draws nothing.

    Args:
        folder: Where to write, made when it is needed; None only logs.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        self._collector: Collector | None = None  # of the split that was looked at last
        self._epoch: int | None = None  # of the fit's last validation
        self._started = self._due = self._spent = 0.0  # seconds of this fit

    # ------------------------------------------------------------- gathering

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Nothing is seen yet."""
        self._collector = self._epoch = None
        self._started, self._due, self._spent = perf_counter(), FIRST, 0.0

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew."""
        self._begin(trainer, pl_module)
        if not trainer.sanity_checking:
            self._epoch = trainer.current_epoch

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew."""
        self._begin(trainer, pl_module)

    def _begin(self, trainer: Trainer, module: LightningModule) -> None:
        self._collector = None
        if not trainer.sanity_checking and not getattr(trainer, "fast_dev_run", False):
            shape = getattr(getattr(trainer, "datamodule", None), "image_shape", None)
            rows = getattr(module, "figure_rows", ROWS)
            self._collector = Collector(rows, shape, trainer.global_rank)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take what the step returned."""
        self._take(outputs, batch, dataloader_idx)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take what the step returned."""
        self._take(outputs, batch, dataloader_idx)

    def _take(self, outputs: Any, batch: Any, dataloader_idx: int = 0) -> None:
        if self._collector is None or dataloader_idx:
            return
        try:
            self._collector.add(outputs, batch)
        except Exception as error:  # whatever somebody's step returns, the run goes on
            self._collector = None
            rank_zero_warn(f"no figures: {type(error).__name__}: {error}")

    # ------------------------------------------------------------- drawing

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw; within a fit only the log gets it, now and then."""
        if trainer.state.fn == "validate":
            self._draw(trainer, pl_module, "val", self.folder)
        elif not trainer.sanity_checking and trainer.loggers:
            self._draw_along_the_way(trainer, pl_module)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw."""
        self._draw(trainer, pl_module, "test", self.folder)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the last validation; without one, training rows."""
        trained = trainer.fit_loop.epoch_loop.batch_progress.total.completed
        if getattr(trainer, "fast_dev_run", False) or not trained:
            return
        if self._epoch is not None:
            self._draw(trainer, pl_module, "val", self.folder, f", epoch {self._epoch + 1}")
        elif trainer.is_global_zero:
            show(trainer, "train", _of_training_rows(trainer, pl_module), self.folder)

    def _draw_along_the_way(self, trainer: Trainer, module: LightningModule) -> None:
        began = perf_counter() - self._started
        if trainer.strategy.broadcast(began >= self._due):
            self._draw(trainer, module, "val", None, f", epoch {trainer.current_epoch + 1}")
            ended = perf_counter() - self._started
            self._spent += ended - began
            self._due = max(2 * ended, self._spent / SHARE)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget what was seen."""
        self._collector = None

    def _draw(
        self,
        trainer: Trainer,
        module: LightningModule,
        split: str,
        folder: Path | None,
        when: str = "",
    ) -> None:
        mine = None
        try:
            mine = self._collector and self._collector.cpu()
        except Exception as error:  # parts that do not fit together; the other processes wait
            rank_zero_warn(f"no figures: {type(error).__name__}: {error}")
        found = [each for each in gather(mine) if each is not None]
        if trainer.is_global_zero and found:
            of = f"{IN_WORDS[split]} split{when}"
            show(trainer, split, _charts(trainer, module, found, split, of), folder)


def _charts(
    trainer: Trainer, module: LightningModule, found: list[Collector], split: str, of: str
) -> Iterator[Chart]:
    seen = together(found).seen(split, of)
    if seen is None:
        return
    own = getattr(module, "charts", None)
    if callable(own):
        yield from own(seen)
        return
    said = (module, getattr(trainer, "datamodule", None))
    names = (
        next((list(n) for each in said if (n := getattr(each, name, None))), [])
        for name in ("class_names", "target_names")
    )
    yield from charts_of(seen, *names)


def _of_training_rows(trainer: Trainer, module: LightningModule) -> Iterator[Chart]:
    data: Any = getattr(trainer, "datamodule", None)
    rows = getattr(module, "figure_rows", ROWS)
    if not isinstance(module, SupervisedModule) or not hasattr(data, "rows_of") or rows is None:
        return
    collector = Collector(rows, getattr(data, "image_shape", None))
    with at_rest(module), trainer.precision_plugin.forward_context():
        for x, y, *_ in data.rows_of("train"):
            batch = trainer.precision_plugin.convert_input((x[:rows], y[:rows]))
            batch = trainer.strategy.batch_to_device(batch)
            collector.add(module.evaluate(batch), batch)
            break
    of = f"training split, epoch {trainer.current_epoch}"
    yield from _charts(trainer, module, [collector.cpu()], "train", of)
