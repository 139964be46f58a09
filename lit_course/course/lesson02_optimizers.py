"""Lesson 2: epochs, batches and updates; nine optimizers on the same start; freezing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from lit_course.course.lesson import Lesson, Run, Table
from lit_course.course.ran import Ran
from lit_course.figures import Chart
from lit_course.figures.curves import curves
from lit_course.optimizers import make_optimizer

BASE = "fit --config configs/lessons/lesson2_optimizers.yaml --figures false"
# The usual rate of each; batch gradient descent and SGD differ in the batch alone.
OPTIMIZERS = {
    "gradient_descent": ("batch gradient descent", 0.1, "--data.batch_size 2000"),
    "sgd": ("SGD", 0.1, ""),
    "momentum": ("SGD, momentum 0.9", 0.1, "--model.optimizer_options.momentum 0.9"),
    "adagrad": ("Adagrad", 0.01, "--model.optimizer Adagrad"),
    "rmsprop": ("RMSprop", 0.001, "--model.optimizer RMSprop"),
    "adadelta": ("Adadelta", 1.0, "--model.optimizer Adadelta"),
    "adam": ("Adam", 0.001, "--model.optimizer Adam"),
    "adamw": ("AdamW", 0.001, "--model.optimizer AdamW"),
    "nadam": ("NAdam", 0.001, "--model.optimizer NAdam"),
}
UPDATES = (1, 10, 100, 1000)


def answer(ran: Mapping[str, Ran]) -> Iterator[Table | Chart]:
    """Arithmetic, comparison, step sizes, and what freezing leaves alone."""
    counted = ran["hundred_rows"].checkpoint()
    yield Table(
        "arithmetic",
        "Epochs, batches and updates",
        {
            "training samples": [100],
            "batch": [20],
            "batches an epoch": [100 // 20],
            "epochs": [counted["epoch"] + 1],
            "updates": [counted["global_step"]],
        },
    )
    yield Table(
        "optimizers",
        "The same data and initial weights, 15 epochs",
        {
            "optimizer": [title for title, _, _ in OPTIMIZERS.values()],
            "lr": [rate for _, rate, _ in OPTIMIZERS.values()],
            "updates": [ran[name].checkpoint()["global_step"] for name in OPTIMIZERS],
            "first loss": [ran[name].series("train/loss")[0] for name in OPTIMIZERS],
            "last loss": [ran[name].series("train/loss")[-1] for name in OPTIMIZERS],
            "accuracy": [ran[name].metrics("test")["test/accuracy"] for name in OPTIMIZERS],
        },
    )
    yield losses(ran)
    yield Table(
        "step_sizes",
        "The size of a step under a gradient that is always 1, lr 0.01",
        {
            "optimizer": list(STEPPING),
            **{
                f"step {number}": [
                    step_size(name, **options)[number - 1] for name, options in STEPPING.items()
                ]
                for number in UPDATES
            },
        },
    )
    yield frozen(ran["sgd"], ran["frozen"])


def losses(ran: Mapping[str, Ran]) -> Chart:
    """Training loss of each optimizer by epoch."""
    lines = {}
    for name, (title, _, _) in OPTIMIZERS.items():
        values = ran[name].series("train/loss")
        lines[title] = (range(1, len(values) + 1), values)
    return curves(
        "optimizers",
        lines,
        xlabel="epoch",
        ylabel="training loss",
        title="The digits, the same initial weights, nine optimizers",
        log_y=True,
    )


STEPPING: dict[str, dict[str, float]] = {
    "SGD": {},
    "Adagrad": {},
    "RMSprop": {},
    "Adadelta": {},
    "Adam": {},
}


def step_size(name: str, **options: float) -> list[float]:
    """How far each of a thousand updates goes where the gradient stays the same."""
    weight = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    optimizer = make_optimizer(name, [weight], 0.01, options)
    sizes = []
    for _ in range(max(UPDATES)):
        before = weight.item()
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        sizes.append(abs(weight.item() - before))
    return sizes


def frozen(start: Ran, after: Ran) -> Table:
    """How many numbers of each parameter another training changed, the first layer frozen."""
    old, new = start.weights("best"), after.weights("last")
    names = [name for name in old if name.endswith((".weight", ".bias"))]
    return Table(
        "freezing",
        "Trained on from the run of SGD, with --model.freeze '[network.linear1.*]'",
        {
            "parameter": [name.removeprefix("network.") for name in names],
            "trainable": ["linear1" not in name for name in names],
            "numbers": [old[name].numel() for name in names],
            "changed": [changed(old[name], new[name]) for name in names],
        },
    )


def changed(old: Tensor, new: Tensor) -> int:
    """How many numbers differ in any bit."""
    return int((old.view(torch.int32) != new.view(torch.int32)).sum())


LESSON = Lesson(
    runs={
        "hundred_rows": Run(
            "fit --model LinearRegressor --data DiabetesDataModule --data.val_size 242"
            " --data.test_size 100 --data.batch_size 20 --trainer.max_epochs 10"
        ),
        **{
            name: Run(f"{BASE} --model.lr {rate} {flags} --test_best true".replace("  ", " "))
            for name, (_, rate, flags) in OPTIMIZERS.items()
        },
        "frozen": Run(
            f"{BASE} --model.init_from {{sgd}} --model.freeze '[network.linear1.*]'"
            " --trainer.max_epochs 3"
        ),
    },
    answer=answer,
)
