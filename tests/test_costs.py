"""What makes a step slow is counted, not timed: nothing may creep back into the loop."""

from collections import Counter

import pytest
import torch
from lightning.pytorch.core.module import LightningModule
from lightning.pytorch.loggers import TensorBoardLogger
from rich.progress import Progress
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.tensorboard import SummaryWriter
from torchmetrics import Metric

from lit_course import ArrayDataModule
from lit_course.modules.lean_loop import LeanEpochLoop
from lit_course.trainer_cli import TrainerCLI

ROWS, BATCH = 6400, 16
UPDATES = ROWS // BATCH


class Operations(TorchDispatchMode):
    """Counts what torch is asked to compute."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture
def counted(monkeypatch):
    """Counts calls of methods: ``counted(owner, name)``."""
    calls = Counter()

    def count(owner, name, label):
        ours = getattr(owner, name)

        def call(*args, **kwargs):
            calls[label] += 1
            return ours(*args, **kwargs)

        call.__module__ = ours.__module__
        monkeypatch.setattr(owner, name, call)

    count(TensorBoardLogger, "log_metrics", "logged")
    count(TensorBoardLogger, "save", "flushed")
    count(SummaryWriter, "flush", "flushed to disk")
    count(LightningModule, "log", "self.log")
    count(Metric, "compute", "computed")
    count(Progress, "refresh", "redrawn")
    return calls


@pytest.fixture
def epoch(tmp_path, monkeypatch):
    """One epoch of the whole program on images; returns the operations within it."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (ROWS, 1, 4, 4), dtype=torch.uint8, generator=generator)
    y = torch.randint(0, 10, (ROWS,), generator=generator)
    data = ArrayDataModule(x, y, batch_size=BATCH, val_size=0, test_size=0)
    found = Operations()
    advance = LeanEpochLoop.advance

    def counting(loop, fetcher):
        with found:
            return advance(loop, fetcher)

    monkeypatch.setattr(LeanEpochLoop, "advance", counting)

    def run(lit):
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setattr(TrainerCLI, "instantiate_classes", _with(data))
        done = lit(
            *("fit", "--model", "MLPClassifier", "--model.hidden_features", "[8]"),
            *("--model.optimizer", "SGD"),  # Adam's loop reads its own counters on a processor
            *("--data", "DigitsDataModule", "--trainer.max_epochs", 1, "--name", "run"),
        )
        assert done.status == 0, done.err
        return found.counts

    return run


def _with(data):
    ours = TrainerCLI.instantiate_classes

    def instantiate(cli):
        ours(cli)
        cli.datamodule = data

    return instantiate


def test_an_epoch_asks_for_little(lit, epoch, counted, monkeypatch):
    updates = Counter()
    monkeypatch.setattr(Metric, "_wrap_update", _counting_updates(Metric._wrap_update, updates))
    operations = epoch(lit)
    assert operations["addmm"] == 2 * UPDATES  # it was counted: two layers
    # Reading a value makes a device wait: for the log every 50 updates, for the bar, to look at
    # losses every 256.
    assert operations["_local_scalar_dense"] <= UPDATES / 50 + UPDATES / 256 + 40
    assert operations["index_select"] == 2 * UPDATES  # images and labels, once each
    assert operations["_to_copy"] <= UPDATES + 20  # pixels to floats
    assert operations["stack"] + operations["cat"] <= 40
    assert operations["nonzero"] <= 20
    assert updates["update"] <= 30
    assert counted["logged"] <= 3 * UPDATES / 50 + 5  # loss, learning rate, gradient's norm
    assert counted["flushed"] <= UPDATES / 50 + 5
    assert counted["flushed to disk"] <= UPDATES / 50 + 5
    assert counted["self.log"] <= 20
    assert counted["computed"] <= 20
    assert counted["redrawn"] <= 40  # four a second


def _counting_updates(wrap, calls):
    def wrapped(metric, update):
        call = wrap(metric, update)

        def counting(*args, **kwargs):
            calls["update"] += 1
            return call(*args, **kwargs)

        return counting

    return wrapped
