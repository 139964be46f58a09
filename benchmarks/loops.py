"""Training loops by hand: the arithmetic alone, over whole tensors, and the course's own."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from benchmarks.network import SIZES

Loader = DataLoader[Any]


def order(rows: int, epoch: int = 0) -> Tensor:
    """A shuffled order; that of the first epoch is the one that a data module here has."""
    return torch.randperm(rows, generator=torch.Generator().manual_seed(epoch))


def floor(samples: int, batch_size: int) -> float:
    """Seconds of the matrix products of an epoch: no data, no bias, no update.

    Forward and weights' gradients are three each, inputs' gradients two: the images need none.
    All of it is written into memory that is there already.
    """
    full, rest = divmod(samples, batch_size)
    batches = [_Products(batch_size)] * full + [_Products(rest)] * (rest > 0)
    started = time.perf_counter()
    for batch in batches:
        batch.multiply()
    return time.perf_counter() - started


class _Products:
    def __init__(self, rows: int) -> None:
        self.activations = [torch.rand(rows, width) for width in SIZES]
        self.errors = [torch.rand(rows, width) for width in SIZES]
        self.weights = [torch.rand(rows, columns) for columns, rows in pairwise(SIZES)]
        self.gradients = [torch.empty_like(weight) for weight in self.weights]

    def multiply(self) -> None:
        for layer, weight in enumerate(self.weights):
            torch.mm(self.activations[layer], weight.T, out=self.activations[layer + 1])
        for layer in reversed(range(len(self.weights))):
            error, before = self.errors[layer + 1], self.activations[layer]
            torch.mm(error.T, before, out=self.gradients[layer])
            if layer:
                torch.mm(error, self.weights[layer], out=self.errors[layer])


def bare(
    model: nn.Module, x: Tensor, y: Tensor, order: Tensor, batch_size: int, optimizer: Optimizer
) -> float:
    """Seconds of an epoch over whole tensors, a batch cut out by index; no value is looked at."""
    started = time.perf_counter()
    for rows in torch.split(order, batch_size):
        loss = F.cross_entropy(model(x.index_select(0, rows)), y.index_select(0, rows))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # as torch has it
        optimizer.step()
    return time.perf_counter() - started


def course(model: nn.Module, loader: Loader, optimizer: Optimizer) -> float:
    """Seconds of an epoch of the course's loop, word by word."""
    dataset: Any = loader.dataset
    loss_fn = nn.CrossEntropyLoss()
    started = time.perf_counter()
    size = len(dataset)
    for batch, (X, y) in enumerate(loader):
        pred = model(X)
        loss = loss_fn(pred, y)

        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

        if batch % 100 == 0:
            value, current = loss.item(), batch * len(X)
            print(f"loss: {value:>7f}  [{current:>5d}/{size:>5d}]")
    return time.perf_counter() - started
