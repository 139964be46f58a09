"""Optimizers by name, options checked before anything is built."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from lit_course.names import check_options, lookup


class LBFGS(torch.optim.LBFGS):
    """torch's, whose step is a Python float: torch refuses to multiply by one beyond float32."""

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]  # as torch's does
        """Make one update.

        Raises:
            FloatingPointError: If its length is beyond the type of the parameters.
        """
        try:
            return super().step(closure)  # type: ignore[no-untyped-call]  # torch has no type
        except RuntimeError as error:
            if "without overflow" not in str(error):
                raise
            raise FloatingPointError(
                "training diverged: a step of LBFGS is too long for any number, learning rate "
                f"{self.param_groups[0]['lr']:g}\n"
                "try a lower --model.lr, and --model.target_transform standard for large targets"
            ) from error


OPTIMIZERS: dict[str, type[Optimizer]] = {
    name: LBFGS if name == "LBFGS" else getattr(torch.optim, name)
    for name in (
        "ASGD",
        "Adadelta",
        "Adafactor",
        "Adagrad",
        "Adam",
        "AdamW",
        "Adamax",
        "LBFGS",
        "NAdam",
        "RAdam",
        "RMSprop",
        "Rprop",
        "SGD",
    )
}
REFUSED_OPTIMIZERS = {
    "Muon": "it takes matrices only, and every layer here has a bias vector",
    "SparseAdam": "it takes sparse gradients only, and no layer here makes them",
}


def check_optimizer(name: str, lr: float, options: Mapping[str, Any]) -> Optimizer:
    """Refuse an optimizer that could not be built.

    Returns:
        A throwaway of its kind, for ``check_schedule``.

    Raises:
        ValueError: If the name or an option is unknown, or torch refuses a value.
    """
    return make_optimizer(name, [nn.Parameter(torch.zeros(1))], lr, options)


def make_optimizer(
    name: str, parameters: Iterable[nn.Parameter], lr: float, options: Mapping[str, Any]
) -> Optimizer:
    """Build an optimizer of ``torch.optim`` by name.

    Args:
        name: One of ``OPTIMIZERS``.
        parameters: What it updates.
        lr: Learning rate.
        options: Its other arguments, as torch names them.
    """
    factory = lookup("optimizer", name, OPTIMIZERS, REFUSED_OPTIMIZERS)
    reserved = {"lr": "give it as lr", "params": "they are the model's"}
    check_options(f"option of {name}", factory, options, reserved=reserved)
    try:
        if lr == math.inf:  # torch takes it
            raise ValueError(f"Invalid learning rate: {lr}")
        return factory(parameters, lr=lr, **options)  # type: ignore[call-arg]  # each takes lr
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} refuses its options: {error}") from error
