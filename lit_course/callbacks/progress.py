"""Progress of a run: a bar with loss and learning rate, plain lines where there is no terminal."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from time import monotonic
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from torch import Tensor

SECONDS_PER_REDRAW = 0.5
LINES_PER_RUN = 20
SHOWN = ("train/loss", "val/loss", "val/accuracy", "val/mae")


class RunProgress(ProgressBar):
    """Redraws a bar twice a second; prints about 20 lines a run into a file or pipe.

    Drawing takes as long as a small step, and reading the loss makes a device wait: neither is done
    more often than an eye can follow.

    Args:
        console: Where to draw; None is standard output.
    """

    def __init__(self, console: Console | None = None) -> None:
        super().__init__()
        self._console = console or Console()
        self._enabled = True
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._drawn = -inf
        self._line = ""
        self._epochs_done = 0

    def enable(self) -> None:
        """Show progress."""
        self._enabled = True

    def disable(self) -> None:
        """Show nothing."""
        self._enabled = False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the line of the epoch before, and begin the bar anew."""
        self._print_line(trainer)
        if self._enabled and self._console.is_terminal:
            if self._bar is None:
                self._open()
            assert self._bar is not None
            assert self._task is not None
            batches = self.total_train_batches
            total = None if batches == float("inf") else batches
            self._bar.reset(self._task, total=total, description=_epoch(trainer))

    def _open(self) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[values]}"),
            console=self._console,
            auto_refresh=False,
            transient=True,
        )
        self._task = self._bar.add_task("", total=None, values="")
        self._bar.start()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Tensor | Mapping[str, Any] | None,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Redraw the bar now and then."""
        if self._bar is None or self._task is None:
            return
        now = monotonic()
        if now - self._drawn >= SECONDS_PER_REDRAW:
            self._drawn = now
            loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
            values = "" if loss is None else f"loss {float(loss):.4g}  "
            values += f"lr {_learning_rate(trainer):.3g}"
            self._bar.update(self._task, completed=batch_idx + 1, values=values)
            self._bar.refresh()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep what the epoch's line will say; its metrics are reported after this."""
        self._line = f"{_epoch(trainer)}  lr {_learning_rate(trainer):.3g}"
        self._epochs_done = trainer.current_epoch + 1

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the bar."""
        self._close()
        self._print_line(trainer, last=True)

    def _print_line(self, trainer: Trainer, last: bool = False) -> None:
        line, self._line = self._line, ""
        if not line or not self._enabled or self._console.is_terminal:
            return
        if last or self._epochs_done % max(1, (trainer.max_epochs or 1) // LINES_PER_RUN) == 0:
            metrics = trainer.callback_metrics
            shown = (name for name in SHOWN if name in metrics)
            values = "".join(f"  {name} {float(metrics[name]):.4g}" for name in shown)
            self._console.print(line + values, soft_wrap=True, highlight=False)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Close the bar, so that the message stands on a line of its own."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = self._task = None


def _epoch(trainer: Trainer) -> str:
    epochs = trainer.max_epochs
    limit = f"/{epochs}" if epochs is not None and epochs > 0 else ""
    return f"epoch {trainer.current_epoch + 1}{limit}"


def _learning_rate(trainer: Trainer) -> float:
    optimizers = trainer.optimizers
    return float(optimizers[0].param_groups[0]["lr"]) if optimizers else 0.0
