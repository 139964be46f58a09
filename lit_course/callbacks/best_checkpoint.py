"""Checkpoints of the best and of the last state."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from lit_course.checkpoint_io import AtomicCheckpointIO, sweep

BEST, LAST = "best.ckpt", "last.ckpt"


class BestCheckpoint(ModelCheckpoint):
    """Keeps ``checkpoints/best.ckpt`` and ``checkpoints/last.ckpt``.

    Which state is best is judged by the module's own ``monitored`` value in its own direction; for
    a module without one the last is taken for the best. A value that is not finite is never best.
    Both are written at the end of an epoch, and behind every validation within one.

    Args:
        dirpath: Where to keep them; None is the logger's folder.
    """

    def __init__(self, dirpath: Path | None = None) -> None:
        super().__init__(dirpath=dirpath, filename="best", enable_version_counter=False)
        self._is_judged = True  # whether the present monitored value was looked at

    @property
    def state_key(self) -> str:
        """One key whatever is monitored: a resumed run looks for its state before it is known."""
        return type(self).__name__

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the folder; clear it of what a killed run left half written."""
        super().setup(trainer, pl_module, stage)
        if stage == "fit" and trainer.is_global_zero and self.dirpath:
            sweep(Path(self.dirpath))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take what to watch from the module, which knows it once its layers are made."""
        self.monitor = getattr(pl_module, "monitored", None)
        self.mode = getattr(pl_module, "monitor_mode", "min")

    # ------------------------------------------------------------- when

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: states are kept behind epochs and validations."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge and keep a state within an epoch; at its end there is one more thing to report."""
        self._is_judged = False
        if not trainer.is_last_batch:
            self._keep(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge and keep the state behind an epoch."""
        if self.monitor is None or self.monitor.startswith("train/"):
            self._is_judged = False
        self._keep(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the last state if there were steps since."""
        self.keep_last(trainer)

    def on_exception(self, *args: Any) -> None:
        """Nothing: what was kept before is whole, and the present state may not be."""

    # ------------------------------------------------------------- what

    def _keep(self, trainer: Trainer) -> None:
        self._last_global_step_saved = -1  # of this step there is a state with less in it
        if self._should_skip_saving_checkpoint(trainer):
            return
        is_best = not self._is_judged and self._judge(trainer)
        writer = trainer.strategy.checkpoint_io
        if is_best and isinstance(writer, AtomicCheckpointIO):
            self.last_model_path = self._path(LAST)
            if trainer.is_global_zero:
                writer.copy_checkpoint(Path(self.best_model_path), Path(self.last_model_path))
            trainer.strategy.barrier()
        else:
            self._last_global_step_saved = -1
            self.keep_last(trainer)

    def _judge(self, trainer: Trainer) -> bool:
        """Write ``best.ckpt`` if the present state is the best one; whether it is."""
        self._is_judged = True
        score = trainer.callback_metrics.get(self.monitor or "")
        if self.monitor is not None:
            if score is None or not score.isfinite():
                return False
            if self.best_model_score is not None:
                better = torch.gt if self.mode == "max" else torch.lt
                if not better(score, self.best_model_score.to(score)):
                    return False
            self.best_model_score = score.detach().cpu()
        self.best_model_path = self._path(BEST)
        self._save_checkpoint(trainer, self.best_model_path)
        return True

    def keep_last(self, trainer: Trainer) -> None:
        """Write ``last.ckpt``, unless it is of this step already."""
        if not self._should_skip_saving_checkpoint(trainer):
            self.last_model_path = self._path(LAST)
            self._save_checkpoint(trainer, self.last_model_path)

    def _path(self, name: str) -> str:
        return os.path.join(self.dirpath or "", name)

    # ------------------------------------------------------------- resuming

    def state_dict(self) -> dict[str, Any]:
        """The best value; its file is ``best.ckpt``, wherever the run's folder is by then."""
        return {"best_model_score": self.best_model_score}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on judging by the best value, if the best file is in this folder."""
        if Path(self._path(BEST)).is_file():
            self.best_model_score = state_dict["best_model_score"]
            self.best_model_path = self._path(BEST)


def best_path(trainer: Trainer) -> str:
    """The best checkpoint that this fit kept; empty if it kept none."""
    ours = (c for c in trainer.checkpoint_callbacks if isinstance(c, BestCheckpoint))
    return next((callback.best_model_path for callback in ours), "")
