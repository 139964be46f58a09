"""A model as it is asked, not trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def at_rest(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards every layer is in the mode that it was in.

    Not ``torch.inference_mode``: what a layer keeps from it could not be differentiated later.
    """
    modes = [(layer, layer.training) for layer in model.modules()]
    try:
        with torch.no_grad():
            model.eval()
            yield
    finally:
        for layer, mode in modes:
            layer.training = mode
