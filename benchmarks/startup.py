"""From a command to its first word, its first step and its end, in new processes."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from benchmarks.fresh import LIT_COURSE, output, python, seconds
from benchmarks.group import Group, Row, Setting
from benchmarks.program import clock_flags
from benchmarks.rounds import Contender, Rounds, interleave
from benchmarks.training import Epoch

# Ends with an error if torch was imported for so little.
LIGHT = (
    "import sys; from lit_course.cli import main; main([{!r}]); "
    "sys.exit('torch was imported' if 'torch' in sys.modules else 0)"
)
FIRST_STEP, WHOLE = "command to first step", "command to end"


def measure(setting: Setting) -> Rounds:
    """Words, imports, and one epoch of training."""
    contenders: dict[str, Contender] = {}
    for flag in ("--version", "--help"):
        output(python(LIGHT.format(flag)))
        contenders[f"lit-course {flag}"] = partial(seconds, [*LIT_COURSE, flag])
    contenders["python"] = partial(seconds, python("pass"))
    for package in ("lit_course", "torch", "lightning"):
        contenders[f"import {package}"] = partial(seconds, python(f"import {package}"))
    first_steps: list[float] = []

    def fit() -> float:
        with tempfile.TemporaryDirectory() as folder:
            clock = Path(folder, "clock.json")
            epoch = Epoch(setting.images, 64, "SGD").command(runs=folder)
            started = time.perf_counter()
            took = seconds([*LIT_COURSE, *epoch, *clock_flags(clock)])
            times: Mapping[str, float] = json.loads(clock.read_text(encoding="utf-8"))
        first_steps.append(times["train_start"] - started)
        return took

    rounds = interleave({**contenders, WHOLE: fit}, setting.rounds)
    # The first one was the warm-up.
    return Rounds({**rounds.seconds, FIRST_STEP: first_steps[1:]})


def _value(what: str, own: str, at_most: float | None = None) -> Row:
    return Row(what, own, at_most=at_most, unit=" s")


GROUP = Group(
    "new processes",
    (
        _value("lit-course --version", "lit-course --version", 0.5),
        _value("lit-course --help", "lit-course --help", 0.5),
        _value("python alone", "python"),
        _value("import lit_course", "import lit_course"),
        _value("import torch", "import torch"),
        _value("import lightning", "import lightning"),
        _value("fit, one epoch of images, batch 64: command to first step", FIRST_STEP),
        _value("the same: command to end", WHOLE),
    ),
    measure,
)
