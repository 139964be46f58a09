"""The network of all contenders, and the weights that each of them starts from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.optim import SGD, Adam, Optimizer

SIZES = (784, 512, 512, 10)
LEARNING_RATES = {"SGD": 0.1, "Adam": 1e-3}


def network(sizes: Sequence[int] = SIZES) -> nn.Sequential:
    """A multilayer perceptron with ReLU, as torch's users write it; flattens what it is given."""
    layers: list[nn.Module] = [nn.Flatten()]
    for width, following in pairwise(sizes):
        layers += [nn.Linear(width, following), nn.ReLU()]
    made = nn.Sequential(*layers[:-1])
    start(made)
    return made


def start(module: nn.Module) -> None:
    """Draw the weights of all linear layers, the same for every network of these sizes."""
    torch.manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()


def optimizer(name: str, module: nn.Module, fused: bool) -> Optimizer:
    """SGD or Adam at its rate, in torch's fused implementation or in the one it chooses itself."""
    lr = LEARNING_RATES[name]
    if name == "SGD":
        return SGD(module.parameters(), lr, fused=fused or None)
    return Adam(module.parameters(), lr, fused=fused or None)
