"""Schedules by name: torch's own, behind a warm-up, over the length of the training."""

import math
import re

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from lit_course.schedules import (
    PacedSchedule,
    check_schedule,
    make_schedule,
    schedule_steps,
)


def sgd(lr=0.1):
    return torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=lr, momentum=0.9)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        # The course documents' own slips.
        ("CosineAnnealingLR", {"T_MAX": 10}, "'T_MAX'; did you mean 'T_max'?"),
        ("CossineAnnealingLR", {"T_max": 10}, "did you mean 'CosineAnnealingLR'?"),
        ("ReduceLROnPlateau", {"cool_down": 1}, "'cool_down'; did you mean 'cooldown'?"),
        ("ReduceLROnPlateau", {"T_MAX": 10}, "unknown option of ReduceLROnPlateau 'T_MAX'"),
        ("StepLR", {}, "option of StepLR missing: step_size"),
        ("CyclicLR", {"base_lr": 0.1}, "option of CyclicLR missing: max_lr"),
        ("StepLR", {"step_size": 1, "optimizer": 1}, "it is the model's own"),
        ("StepLR", {"step_size": 1, "last_epoch": 1}, "restores it from the checkpoint"),
        ("ReduceLROnPlateau", {"factor": 2.0}, "ReduceLROnPlateau refuses its options: Factor"),
        ("ReduceLROnPlateau", {"mode": "up"}, "mode up is unknown"),
        ("LambdaLR", {}, "'LambdaLR' is not taken: it takes a function"),
        ("SequentialLR", {}, "warmup_steps puts a warm-up before any one"),
        (None, {"gamma": 0.1}, "are given, but no lr_scheduler: name one"),
    ],
)
def test_wrong_schedules_are_refused(name, options, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        check_schedule(name, sgd(), 0.1, options)
    assert len(str(caught.value).splitlines()) <= 5


def test_no_schedule_is_fine():
    check_schedule(None, sgd(), 0.1, {})


@pytest.mark.parametrize(
    ("name", "option", "horizon"),
    [
        ("CosineAnnealingLR", "T_max", 12),
        ("LinearDecay", "total_iters", 12),
        ("PolynomialLR", "total_iters", 12),
        ("OneCycleLR", "total_steps", 12),
    ],
)
def test_the_horizon_is_asked_for_only_where_it_was_not_given(name, option, horizon):
    def unknown():
        raise AssertionError("asked for")

    filled = make_schedule(name, sgd(), 0.1, {}, lambda: horizon)
    assert getattr(filled, option) == horizon
    given = make_schedule(name, sgd(), 0.1, {option: 7}, unknown)
    assert getattr(given, option) == 7


def test_one_cycle_takes_the_rate_as_its_maximum_and_epochs_as_a_length():
    optimizer = sgd()
    make_schedule("OneCycleLR", optimizer, 0.3, {}, lambda: 10)
    assert optimizer.param_groups[0]["max_lr"] == 0.3
    make_schedule("OneCycleLR", optimizer, 0.3, {"max_lr": 0.7}, lambda: 10)
    assert optimizer.param_groups[0]["max_lr"] == 0.7
    told = {"epochs": 3, "steps_per_epoch": 5}
    assert make_schedule("OneCycleLR", sgd(), 0.3, told, lambda: 10).total_steps == 15


def paced(schedule=None, **arguments):
    optimizer = sgd()
    made = schedule and schedule(optimizer)
    return PacedSchedule(optimizer, made, counts_updates=True, **arguments), optimizer


def rates(paced_schedule, optimizer, updates):
    seen = []
    for _ in range(updates):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        paced_schedule.step()
    return seen


def test_a_warm_up_ramps_to_the_first_rate_and_then_the_schedule_starts():
    schedule, optimizer = paced(lambda o: lr_scheduler.ExponentialLR(o, 0.5), warmup_steps=4)
    expected = [0.1 * share for share in (0.25, 0.5, 0.75, 1, 1, 0.5, 0.25)]
    assert rates(schedule, optimizer, 7) == pytest.approx(expected)
    assert schedule.get_last_lr() == [pytest.approx(0.1 / 8)]


def test_a_warm_up_without_a_schedule_holds_the_rate():
    assert rates(*paced(warmup_steps=2), 5) == pytest.approx([0.05, 0.1, 0.1, 0.1, 0.1])


def test_a_warm_up_ramps_to_the_first_rate_of_a_schedule_that_starts_low():
    schedule, optimizer = paced(
        lambda o: lr_scheduler.LinearLR(o, start_factor=0.5, total_iters=2), warmup_steps=2
    )
    expected = [0.025, 0.05, 0.05, 0.075, 0.1, 0.1]
    assert rates(schedule, optimizer, 6) == pytest.approx(expected)


def test_the_state_is_plain_and_goes_on_where_it_was():
    def make():
        return paced(lambda o: lr_scheduler.MultiStepLR(o, [1, 3]), warmup_steps=2, frequency=2)

    whole = rates(*make(), 12)
    for stop in (1, 2, 3, 5, 8):
        schedule, optimizer = make()
        head = rates(schedule, optimizer, stop)
        resumed, fresh = make()
        fresh.load_state_dict(optimizer.state_dict())
        resumed.load_state_dict(schedule.state_dict())
        assert head + rates(resumed, fresh, 12 - stop) == pytest.approx(whole)


@pytest.mark.parametrize(
    ("interval", "frequency", "warmup_steps", "expected"),
    [
        ("step", 1, 0, 35),
        ("step", 1, 5, 30),
        ("step", 4, 5, 8),
        ("epoch", 1, 0, 4),
        ("epoch", 2, 0, 2),
        ("epoch", 1, 9, 4),
        ("epoch", 1, 10, 3),  # the first epoch's end belongs to the warm-up
        ("epoch", 1, 25, 2),
    ],
)
def test_a_training_of_35_updates_in_epochs_of_nine_and_a_half(
    interval, frequency, warmup_steps, expected
):
    steps = schedule_steps(
        interval, frequency, total_updates=35, updates_per_epoch=9.5, warmup_steps=warmup_steps
    )
    assert steps == expected


@pytest.mark.parametrize(
    ("interval", "total", "per_epoch", "warmup_steps", "message"),
    [
        ("step", math.inf, 10, 0, "set max_epochs or max_steps"),
        ("epoch", math.inf, 10, 0, "set max_epochs or max_steps"),
        ("epoch", 35, math.inf, 0, "does not say how many batches an epoch has"),
        ("step", 35, 10, 35, "warmup_steps=35 leaves nothing of the training's 35"),
        ("epoch", 35, 10, 40, "warmup_steps=40 leaves nothing of the training's 35"),
    ],
)
def test_a_horizon_that_is_not_known_is_refused(interval, total, per_epoch, warmup_steps, message):
    with pytest.raises(ValueError, match=message):
        schedule_steps(
            interval,
            1,
            total_updates=total,
            updates_per_epoch=per_epoch,
            warmup_steps=warmup_steps,
        )
