"""lit_course as its users start it: the command line, in this process, with everything on."""

from __future__ import annotations

import io
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

from torchmetrics import MetricCollection

from benchmarks.network import LEARNING_RATES
from lit_course import MLPClassifier
from lit_course.cli import main

# A terminal as far as rich can tell, so that progress bars are drawn.
TERMINAL = {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}

ON_CPU = "--trainer.accelerator=cpu"  # where all other contenders are


class WithoutMetrics(MLPClassifier):
    """Reports nothing but the loss."""

    def configure_metrics(self) -> MetricCollection:
        """None."""
        return MetricCollection([])


class InLightningsLoop(MLPClassifier):
    """Trains in the Trainer's own loop, whatever is faster."""

    lean_loop = False


@contextmanager
def terminal() -> Iterator[io.StringIO]:
    """A terminal that nobody looks at: output and errors go into it."""
    sink = io.StringIO()
    with mock.patch.dict(os.environ, TERMINAL), redirect_stdout(sink), redirect_stderr(sink):
        yield sink


def run_program(*args: str, drawn: str = "", timed: bool = True) -> dict[str, float]:
    """Run a command in an empty folder of its own, from the common start.

    Args:
        *args: The command line; ``{folder}`` in it is that folder.
        drawn: What the progress bar must have shown.
        timed: Whether to look inside; else only the whole command is timed.

    Returns:
        ``start`` and ``end`` of the command and, if ``timed``, the moments of ``StageClock``.
    """
    with tempfile.TemporaryDirectory() as folder, terminal() as sink:
        clock = Path(folder, "clock.json")
        flags = [arg.replace("{folder}", folder) for arg in args] + clock_flags(clock) * timed
        started = time.perf_counter()
        status = main(flags)
        ended = time.perf_counter()
        if status or drawn not in sink.getvalue():
            raise RuntimeError(f"lit-course {' '.join(flags)}: {status}\n{sink.getvalue()}")
        times: dict[str, float] = json.loads(clock.read_text(encoding="utf-8")) if timed else {}
    return {**times, "start": started, "end": ended}


def clock_flags(clock: Path) -> list[str]:
    """Flags that put the clock and the common start into a command."""
    return [
        "--trainer.callbacks+=benchmarks.same_start.SameStart",
        "--trainer.callbacks+=benchmarks.clock.StageClock",
        f"--trainer.callbacks.file={clock}",
    ]


def model_flags(optimizer: str) -> list[str]:
    """Flags of the model's optimizer: its rate, and torch's fused implementation."""
    return [
        f"--model.optimizer={optimizer}",
        f"--model.lr={LEARNING_RATES[optimizer]}",
        "--model.optimizer_options={fused: true}",
    ]
