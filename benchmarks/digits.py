"""Ten epochs of the digits, whole fits: so little data that starting and ending dominate."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from benchmarks import digits_loop, peers
from benchmarks.digits_loop import BATCH_SIZE, EPOCHS, SIZES, data
from benchmarks.fresh import LIT_COURSE, seconds
from benchmarks.group import Group, Row, Setting
from benchmarks.program import ON_CPU, model_flags, run_program
from benchmarks.rounds import Contender, Rounds, interleave
from benchmarks.training import OURS
from benchmarks.usual_lightning import usual_lightning

COMMAND = "whole command"
LOOP = [sys.executable, "-m", digits_loop.__name__]


@dataclass(frozen=True)
class Digits:
    """Whole fits of all digits with Adam, none held out, by each contender.

    Args:
        data: Features and labels.
    """

    data: tuple[Tensor, Tensor]

    def contenders(self) -> dict[str, Contender]:
        """Seconds of one fit of each, by name; then of programs in processes of their own."""
        contenders: dict[str, Contender] = {
            "bare loop": partial(digits_loop.fit, *self.data),
            OURS: self.lit_course,
            "usual Lightning": self.usual_lightning,
            "scikit-learn": partial(self.peer, peers.scikit_learn),
        }
        if peers.HAS_SKORCH:
            contenders["skorch"] = partial(self.peer, peers.skorch)
        return {
            **contenders,
            f"{OURS}, {COMMAND}": self.command,
            f"bare loop, {COMMAND}": partial(seconds, LOOP),
        }

    def lit_course(self) -> float:
        """The command in this process: configuration, data, run folder, checkpoints and all."""
        times = run_program(*self.flags("{folder}"), timed=False)
        return times["end"] - times["start"]

    def usual_lightning(self) -> float:
        """An ordinary Lightning program, from the making of its Trainer."""
        started = time.perf_counter()
        loader = DataLoader(TensorDataset(*self.data), batch_size=BATCH_SIZE, shuffle=True)
        usual_lightning(loader, "Adam", SIZES, EPOCHS)
        return time.perf_counter() - started

    def peer(self, fit: Callable[..., float]) -> float:
        """The whole ``fit`` of a peer."""
        return fit(*self.data, BATCH_SIZE, SIZES, EPOCHS)

    def command(self) -> float:
        """The command in a process of its own."""
        with tempfile.TemporaryDirectory() as folder:
            return seconds([*LIT_COURSE, *self.flags(folder)])

    def flags(self, runs: str) -> list[str]:
        """The command line."""
        data = ["--data=DigitsDataModule", "--data.val_size=0", "--data.test_size=0"]
        model = model_flags("Adam")
        where = [ON_CPU, f"--trainer.max_epochs={EPOCHS}", f"--runs={runs}"]
        return ["fit", "--model=MLPClassifier", *model, *data, *where]


def measure(setting: Setting) -> Rounds:
    """Run all fits."""
    return interleave(Digits(data()).contenders(), setting.rounds)


GROUP = Group(
    f"the digits, whole fits of {EPOCHS} epochs, batch {BATCH_SIZE}, Adam, against …",
    (
        Row("bare loop over tensors", OURS, "bare loop"),
        Row("usual Lightning", OURS, "usual Lightning"),
        Row("scikit-learn", OURS, "scikit-learn"),
        Row("skorch", OURS, "skorch"),
        Row("bare loop, both in new processes", f"{OURS}, {COMMAND}", f"bare loop, {COMMAND}"),
    ),
    measure,
)
