"""The progress bar: on a terminal four redraws a second, elsewhere plain lines."""

import io
import itertools
import re

import pytest
import torch
from lightning.pytorch import Trainer
from rich.console import Console
from rich.progress import Progress
from torch.utils.data import DataLoader, TensorDataset

from lit_course import MLPClassifier
from lit_course.callbacks import RunProgress, progress


@pytest.fixture
def train(tmp_path):
    def run(console: Console, epochs: int, batches: int = 200) -> None:
        samples = TensorDataset(torch.randn(batches * 2, 3), torch.arange(batches * 2) % 2)
        trainer = Trainer(
            max_epochs=epochs,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            callbacks=[RunProgress(console)],
            default_root_dir=tmp_path,
        )
        trainer.fit(MLPClassifier(3, 2, [4], lr=0.002), DataLoader(samples, batch_size=2))

    return run


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_the_bar_is_redrawn_twice_a_second_however_fast_the_steps_are(train, monkeypatch):
    drawn, seconds = [], itertools.count(step=0.01)
    refresh = Progress.refresh
    monkeypatch.setattr(Progress, "refresh", lambda bar: (drawn.append(1), refresh(bar)))
    monkeypatch.setattr(progress, "monotonic", lambda: next(seconds))
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    train(console, epochs=3, batches=200)
    expected = 3 * 200 * 0.01 / 0.5
    assert expected <= len(drawn) <= expected + 4  # it is drawn when it opens and closes too
    shown = console.file.getvalue()
    assert re.search(r"loss .*lr 0.002", shown)
    assert "epoch 3/3" in shown


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_into_a_file_it_prints_lines(train):
    console = Console(file=io.StringIO(), width=40)
    train(console, epochs=50, batches=2)
    lines = console.file.getvalue().splitlines()
    assert 20 <= len(lines) <= 26
    assert all(re.fullmatch(r"epoch \d+/50  lr 0.002  train/loss [\d.]+", line) for line in lines)
    assert "\r" not in console.file.getvalue()
    assert lines[-1].startswith("epoch 50/50")


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_disabled_it_says_nothing(tmp_path):
    console = Console(file=io.StringIO())
    progress = RunProgress(console)
    progress.disable()
    samples = TensorDataset(torch.randn(8, 3), torch.arange(8) % 2)
    trainer = Trainer(max_epochs=1, logger=False, enable_checkpointing=False, callbacks=[progress])
    trainer.fit(MLPClassifier(3, 2, [4]), DataLoader(samples, batch_size=2))
    assert console.file.getvalue() == ""
