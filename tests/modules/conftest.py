"""Somebody else's project: a plain Trainer, ordinary loaders over ordinary data sets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset


@pytest.fixture
def make_trainer(tmp_path: Path) -> Callable[..., Trainer]:
    """Make a quiet Trainer for one epoch on the CPU; any flag may be given."""

    def make(**flags: Any) -> Trainer:
        quiet = {
            "accelerator": "cpu",
            "max_epochs": 1,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "default_root_dir": tmp_path,
        }
        return Trainer(**{**quiet, **flags})

    return make


@pytest.fixture
def loader() -> Callable[..., DataLoader]:
    """Make a loader of batches ``(x, y)`` in their order, unless told otherwise."""

    def make(x: Tensor, y: Tensor, batch_size: int = 32, **options: Any) -> DataLoader:
        return DataLoader(TensorDataset(x, y), batch_size, **options)

    return make


@pytest.fixture
def blobs() -> tuple[Tensor, Tensor]:
    """101 samples of four features in three classes that overlap a little."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(101) % 3
    x = 1.5 * torch.nn.functional.one_hot(y, 4) + torch.randn(101, 4, generator=generator)
    return x * torch.tensor([1.0, 10.0, 0.1, 1.0]) + torch.tensor([0.0, 5.0, -1.0, 100.0]), y


@pytest.fixture
def line() -> tuple[Tensor, Tensor]:
    """101 samples of three features and a target that is nearly linear in them."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(101, 3, generator=generator) + torch.tensor([0.0, 2.0, -1.0])
    noise = 0.1 * torch.randn(101, generator=generator)
    return x, x @ torch.tensor([1.0, -2.0, 0.5]) + 3 + noise


class RecordRates(Callback):
    """The learning rate of each optimizer update, as the update used it."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        self.rates.append(float(optimizer.param_groups[0]["lr"]))


@pytest.fixture
def record_rates() -> RecordRates:
    """A callback that records the learning rate of each update in ``rates``."""
    return RecordRates()


@pytest.fixture
def weighted_loader() -> Callable[..., DataLoader]:
    """Make a loader of batches ``(x, y, {"weight": w})`` in their order."""

    def make(x: Tensor, y: Tensor, weight: Tensor, batch_size: int = 32) -> DataLoader:
        samples = [(x[i], y[i], {"weight": weight[i]}) for i in range(len(x))]
        return DataLoader(samples, batch_size)

    return make
