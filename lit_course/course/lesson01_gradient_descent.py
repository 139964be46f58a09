"""Lesson 1: three numbers fitted to a roller coaster, by hand and by the program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lit_course.course.lesson import Lesson, Run, Table
from lit_course.course.ran import Ran
from lit_course.datamodules import RollerCoasterDataModule
from lit_course.figures import Chart
from lit_course.figures.chart import BLUE, GREY, ORANGE, SKY
from lit_course.figures.curves import curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# What the document printed: the loss before the first update, and after each of ten.
DOCUMENT = (25823.8, 5435.5, 1577.4, 847.4, 709.2, 683.1, 678.1, 677.2, 677.0, 676.96, 676.95)
RATE, STEPS = 1e-5, 11
COASTER = "fit --config configs/linear_roller_coaster.yaml"
PLAIN = f"{COASTER} --figures false"
MADE = "--model LinearRegressor --model.degree 2 --data RollerCoasterDataModule --data.seed 42"
RATES = {
    "barely_moves": "1.0e-07",
    "right": "1.0e-05",
    "bounces": "3.4e-05",
    "diverges": "1.0e-04",
}


def by_hand(
    t: Tensor, speed: Tensor, start: list[float]
) -> tuple[list[float], list[Tensor], Tensor]:
    """The document's loop: losses, parameters ``(a, b, c)`` before each, and the first gradient."""
    parameters = torch.tensor(start, requires_grad=True)
    losses, path, first = [], [], torch.empty(0)
    for _ in range(STEPS):
        a, b, c = parameters
        loss = ((a * t**2 + b * t + c - speed) ** 2).mean()
        loss.backward()
        assert parameters.grad is not None
        first = first if len(first) else parameters.grad.clone()
        losses.append(loss.item())
        path.append(parameters.detach().clone())
        with torch.no_grad():
            parameters -= RATE * parameters.grad
        parameters.grad = None  # or the next backward() adds to it
    return losses, path, first


def points(noise: float = 3.0) -> tuple[Tensor, Tensor]:
    """Time and speed, with the document's noise."""
    data = RollerCoasterDataModule(noise=noise, seed=42)
    data.setup()
    [(t, speed, *_)] = data.train_dataloader()
    return t[:, 0], speed


def answer(ran: Mapping[str, Ran]) -> Iterator[Table | Chart]:
    """Fall and plateau, what helps, the fan of rates, the two valleys."""
    t, speed = points()
    own = [-0.76583862, -0.75062233, 1.35254776]
    hand, path, gradient = by_hand(t, speed, own)
    losses = ran["document"].series("train/loss")
    quiet = ran["without_noise"].series("train/loss")
    yield Table(
        "losses",
        "Loss before the first update and after each of ten",
        {
            "updates": list(range(STEPS)),
            "the document": list(DOCUMENT),
            "by hand": hand,
            "lit-course": losses,
            "without noise": quiet,
        },
    )
    *_, gradient_quiet = by_hand(*points(noise=0), [-0.7658, -0.7506, 1.3525])
    yield Table(
        "gradients",
        "The first gradient: one update of a moves the loss, those of b and c hardly do",
        {
            "gradient of": ["a", "b", "c"],
            "the document": [-53195.9, -3419.7, -253.9],
            "by hand": gradient.tolist(),
            "without noise": gradient_quiet.tolist(),
        },
    )
    yield every_step(t, speed, path)
    names = ("document", "standardised", "exact")
    weights = [list(ran[name].model().coefficients().values()) for name in names]
    yield Table(
        "solutions",
        "Where each ends; the points are 0.75 t² - 14.25 t + 68.69 and noise",
        {
            "run": ["plain", "standardised", "exact"],
            "updates": [ran[name].checkpoint()["global_step"] for name in names],
            "loss": [ran[name].metrics()["train/loss"] for name in names],
            **{
                title: [float(each[at]) for each in weights]
                for title, at in (("a", 1), ("b", 0), ("c", 2))
            },
        },
    )
    yield fan(ran)
    yield rates(t, ran)
    yield two_valleys()
    yield Table("valleys", "Two valleys: where each optimizer stops", valleys())


def every_step(t: Tensor, speed: Tensor, path: list[Tensor]) -> Chart:
    """The curve before each update, over the points."""
    fine = torch.linspace(0, 19, 96)
    curves = {f"after {step}": a * fine**2 + b * fine + c for step, (a, b, c) in enumerate(path)}

    def draw(axes: Axes) -> None:
        shades = np.linspace(0.85, 0.0, len(curves))
        for shade, (name, curve) in zip(shades, curves.items(), strict=True):
            first, last = name == "after 0", name == f"after {STEPS - 1}"
            color = ORANGE if last else (shade, shade, shade) if not first else SKY
            label = "before the first update" if first else f"{name} updates" if last else None
            axes.plot(fine, curve, color=color, linewidth=2 if first or last else 1, label=label)
        axes.plot(t, speed, "o", color=BLUE, label="points")
        axes.set(xlabel="t", ylabel="speed", ylim=(-300, 120))
        axes.set_title("The fitted curve at every step: one leap, then it stands still")
        axes.legend(loc="lower left")
        axes.grid(alpha=0.3)

    columns = {"t": fine.tolist(), **{name: curve.tolist() for name, curve in curves.items()}}
    return Chart("every_step", columns, draw)


def fan(ran: Mapping[str, Ran]) -> Chart:
    """The loss under each learning rate; one ends in a cross."""
    lines = {}
    for name, rate in RATES.items():
        values = ran[name].series("train/loss")
        if ran[name].diverged:
            values.append(float("inf"))
        lines[f"{rate}: {name.replace('_', ' ')}"] = (range(len(values)), values)
    return curves(
        "learning_rates",
        lines,
        xlabel="updates",
        ylabel="loss",
        title="One loss, four learning rates",
        log_y=True,
        ylim=(3e2, 1e7),
    )


def rates(t: Tensor, ran: Mapping[str, Ran]) -> Table:
    """What each rate makes of the error along the steepest direction, and of the loss."""
    x = torch.stack([t**2, t, torch.ones_like(t)], 1).double()
    curvature = float(torch.linalg.eigvalsh(2 * x.T @ x / len(t))[-1])  # of the loss
    losses = {name: ran[name].series("train/loss") for name in RATES}
    return Table(
        "rates",
        f"Four learning rates; the largest curvature of the loss is {curvature:,.0f}",
        {
            "learning rate": list(RATES.values()),
            "error is multiplied by": [1 - float(rate) * curvature for rate in RATES.values()],
            "loss after 10": [losses[name][10] for name in RATES],
            "loss after 40": [[*losses[name], *[float("nan")] * 41][40] for name in RATES],
            "": [name.replace("_", " ") for name in RATES],
        },
    )


# ------------------------------------------------------------------- local and global minima

START, VALLEY_RATE, VALLEY_STEPS = 2.0, 0.01, 300


def quartic(x: Tensor) -> Tensor:
    """``x⁴ - 3x² + x``: two valleys, the left one lower."""
    return x**4 - 3 * x**2 + x


def descend(momentum: float) -> list[float]:
    """The positions of ``torch.optim.SGD`` from the start on."""
    x = torch.tensor(START, requires_grad=True)
    optimizer = torch.optim.SGD([x], lr=VALLEY_RATE, momentum=momentum)
    path = [x.item()]
    for _ in range(VALLEY_STEPS):
        optimizer.zero_grad()
        quartic(x).backward()  # type: ignore[no-untyped-call]  # as torch has it
        optimizer.step()
        path.append(x.item())
    return path


def valleys() -> dict[str, list[object]]:
    """Where each path ends, and how deep."""
    ends = [descend(momentum)[-1] for momentum in (0.0, 0.9)]
    return {
        "optimizer": ["gradient descent", "momentum 0.9"],
        "x": list(ends),
        "height": [quartic(torch.tensor(x)).item() for x in ends],
    }


def two_valleys() -> Chart:
    """Both paths on the curve."""
    paths = {"gradient descent": descend(0.0), "momentum 0.9": descend(0.9)}

    def draw(axes: Axes) -> None:
        x = torch.linspace(-2.05, 2.05, 200)
        axes.plot(x, quartic(x), color=GREY)
        for (name, path), color, marker in zip(
            paths.items(), (ORANGE, BLUE), ("o", "s"), strict=True
        ):
            height = quartic(torch.tensor(path))
            axes.plot(path, height, marker, color=color, markersize=4, alpha=0.5)
            axes.plot(
                path[-1],
                height[-1],
                marker,
                color=color,
                markersize=11,
                markeredgecolor="black",
                label=f"{name} ends at {path[-1]:.2f}",
            )
        axes.plot(START, quartic(torch.tensor(START)), "*", color="black", markersize=12)
        axes.annotate("start", (START, 6), (-10, -4), textcoords="offset points", ha="right")
        axes.set(xlabel="x", ylabel="x⁴ - 3x² + x", ylim=(-4.2, 6.8))
        axes.set_title("Two valleys, one start, one learning rate")
        axes.legend(loc="upper center")
        axes.grid(alpha=0.3)

    return Chart("two_valleys", {"updates": list(range(VALLEY_STEPS + 1)), **paths}, draw)


FAN = {
    name: Run(f"{PLAIN} --model.lr {rate} --trainer.max_epochs 41", diverges=name == "diverges")
    for name, rate in RATES.items()
}
LESSON = Lesson(
    runs={
        "document": Run(f"{COASTER} --figures every_step"),
        "without_noise": Run(
            f"{PLAIN} --data.noise 0 --model.initial_weights '[-0.7506, -0.7658, 1.3525]'"
        ),
        "standardised": Run(
            f"{PLAIN} --model.standardize true --model.lr 0.2 --trainer.max_epochs 150"
            " --model.optimizer_options.momentum 0.9"
        ),
        "exact": Run(f"fit {MADE} --model.solver exact --trainer.max_epochs 1 --figures false"),
        **FAN,
    },
    answer=answer,
)
