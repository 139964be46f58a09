"""The test images with all metrics, against the course's test loop and the forward pass alone."""

from __future__ import annotations

import tempfile
import time
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import FashionMNIST
from torchvision.transforms import ToTensor

from benchmarks.group import Group, Row, Setting
from benchmarks.images import Images
from benchmarks.loops import Loader
from benchmarks.network import network
from benchmarks.program import ON_CPU, run_program
from benchmarks.rounds import Contender, Rounds, interleave
from benchmarks.training import OURS, Epoch

BATCH_SIZE = 64


def test_loop(model: nn.Module, dataloader: Loader) -> float:
    """Seconds of the course's test loop, but for the mean loss, which is one."""
    dataset: Any = dataloader.dataset
    loss_fn = nn.CrossEntropyLoss()
    started = time.perf_counter()
    size = len(dataset)
    test_loss, correct = 0.0, 0.0
    with torch.no_grad():
        for X, y in dataloader:
            pred = model(X)
            test_loss += loss_fn(pred, y).item()
            correct += (pred.argmax(1) == y).type(torch.float).sum().item()
    test_loss /= len(dataloader)
    correct /= size
    print(f"Test Error: \n Accuracy: {100 * correct:>0.1f}%, Avg loss: {test_loss:>8f} \n")
    return time.perf_counter() - started


def forward(model: nn.Module, x: Tensor, batch_size: int) -> float:
    """Seconds of the network over images that are floats already; no answer is looked at."""
    started = time.perf_counter()
    with torch.inference_mode():
        for batch in torch.split(x, batch_size):
            model(batch)
    return time.perf_counter() - started


@dataclass(frozen=True)
class Evaluation:
    """The test images, evaluated by each contender.

    Args:
        images: What to evaluate.
        run: Folder of a run whose last checkpoint is tested.
    """

    images: Images
    run: Path

    def contenders(self) -> dict[str, Contender]:
        """Seconds of one evaluation of each, by name."""
        whole = len(self.images.x_test)
        x = self.images.x_test.flatten(1) / 255
        return {
            OURS: lambda: self.tested(BATCH_SIZE, "test_start", "test_end"),
            f"{OURS}, one batch": lambda: self.tested(whole, "test_start", "test_end"),
            f"{OURS}, whole command": lambda: self.tested(BATCH_SIZE, "start", "end"),
            "forward pass": lambda: forward(self._network, x, BATCH_SIZE),
            "forward pass, one batch": lambda: forward(self._network, x, whole),
            "course's test loop": self.course,
        }

    def tested(self, batch_size: int, first: str, last: str) -> float:
        """Seconds between two moments of the command that tests."""
        size = f"--data.batch_size={batch_size}"
        config = f"--config={self.run / 'config.yaml'}"  # it may name a class of the bench
        times = run_program("test", config, f"--ckpt_path={self.run}", size, ON_CPU)
        return times[last] - times[first]

    def course(self) -> float:
        """The course's test loop."""
        dataset = FashionMNIST(self.images.root, train=False, transform=ToTensor())
        with redirect_stdout(StringIO()):
            return test_loop(self._network, DataLoader(dataset, batch_size=BATCH_SIZE))

    @cached_property
    def _network(self) -> nn.Module:
        return network()


def measure(setting: Setting) -> Rounds:
    """Train once, then test again and again."""
    with tempfile.TemporaryDirectory() as folder:
        epoch = Epoch(setting.images, 1024, "Adam")
        run_program(*epoch.command(runs=folder), "--name=tested", timed=False)
        evaluation = Evaluation(setting.images, Path(folder, "tested", "version_0"))
        return interleave(evaluation.contenders(), setting.rounds)


GROUP = Group(
    "evaluation of the test images, all metrics, batch 64, against …",
    (
        Row("the course's test loop", OURS, "course's test loop", at_least=5),
        Row("the forward pass alone: times as long", OURS, "forward pass", at_most=1.6),
        Row(
            "the same in one batch: times as long",
            f"{OURS}, one batch",
            "forward pass, one batch",
            at_most=1.6,
        ),
        Row(
            "the course's test loop, whole command", f"{OURS}, whole command", "course's test loop"
        ),
    ),
    measure,
)
