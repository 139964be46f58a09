"""Optimizers and schedules by name, without a Trainer; through ``fit`` in tests/modules."""

import re

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from lit_course.optimizers import (
    OPTIMIZERS,
    REFUSED_OPTIMIZERS,
    check_optimizer,
    make_optimizer,
)
from lit_course.schedules import (
    REFUSED_SCHEDULES,
    SCHEDULES,
)


def sgd(lr=0.1):
    return torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=lr, momentum=0.9)


def test_every_name_of_torch_is_taken_or_refused():
    optimizers = {
        name
        for name, value in vars(torch.optim).items()
        if isinstance(value, type) and issubclass(value, torch.optim.Optimizer)
    }
    assert optimizers - {"Optimizer"} == {*OPTIMIZERS, *REFUSED_OPTIMIZERS}
    schedules = {
        name
        for name, value in vars(lr_scheduler).items()
        if isinstance(value, type)
        and issubclass(value, lr_scheduler.LRScheduler)
        and not name.startswith("_")
    }
    ours = {*SCHEDULES, *REFUSED_SCHEDULES} - {"LinearDecay"}
    assert schedules - {"LRScheduler", "SWALR"} == ours


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_is_torchs_own_with_our_rate(name):
    made = make_optimizer(name, [nn.Parameter(torch.ones(2, 2))], 0.05, {})
    assert isinstance(made, getattr(torch.optim, name))
    assert type(made).__name__ == name
    assert made.param_groups[0]["lr"] == 0.05


def test_options_reach_the_optimizer():
    options = {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}
    group = make_optimizer("SGD", [nn.Parameter(torch.ones(1))], 0.1, options).param_groups[0]
    assert options.items() <= group.items()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Muon", 0.1, {}), "optimizer 'Muon' is not taken: it takes matrices only"),
        (("SparseAdam", 0.1, {}), "'SparseAdam' is not taken: it takes sparse gradients only"),
        (("Addam", 0.1, {}), "unknown optimizer 'Addam'; did you mean 'Adam'?\nknown: ASGD, Ada"),
        (("adamw", 0.1, {}), "did you mean 'AdamW'?"),
        (("SGD", 0.1, {"momemtum": 0.9}), "option of SGD 'momemtum'; did you mean 'momentum'?"),
        (("SGD", 0.1, {"lr": 0.2}), "'lr' is no option of SGD: give it as lr"),
        (("SGD", 0.1, {"params": []}), "'params' is no option of SGD: they are the model's"),
        (("SGD", -0.1, {}), "SGD refuses its options: Invalid learning rate"),
        (("SGD", 0.1, {"nesterov": True}), "SGD refuses its options: Nesterov"),
        (("Adam", 0.1, {"betas": "x"}), "Adam refuses its options"),
        (("Adam", "fast", {}), "Adam refuses its options"),
    ],
)
def test_wrong_optimizers_are_refused(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        check_optimizer(*arguments)
    assert len(str(caught.value).splitlines()) <= 5
