"""Lesson 6: every schedule over a run, and the plateau that waits for a metric."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lit_course.course.lesson import Lesson, Run, Table
from lit_course.course.ran import Ran
from lit_course.figures import Chart
from lit_course.figures.chart import BLUE, ORANGE, SKY
from lit_course.figures.curves import curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EPOCHS, RATE = 20, 0.1
PLAIN = (
    "fit --model LinearRegressor --data DiabetesDataModule --data.batch_size 32"
    f" --model.optimizer SGD --model.lr {RATE} --trainer.max_epochs {EPOCHS}"
    " --trainer.log_every_n_steps 1 --figures false"
)
SCHEDULES = {
    "step": (
        "StepLR",
        "--model.lr_scheduler_options.step_size 5 --model.lr_scheduler_options.gamma 0.5",
    ),
    "multi_step": (
        "MultiStepLR",
        "--model.lr_scheduler_options.milestones '[4, 14]' --model.lr_scheduler_options.gamma 0.3",
    ),
    "linear": ("LinearDecay", ""),
    "cosine": ("CosineAnnealingLR", "--model.lr_scheduler_options.eta_min 0.01"),
    "warm_up": ("CosineAnnealingLR", "--model.lr_interval step --model.warmup_steps 50"),
    "one_cycle": ("OneCycleLR", "--model.lr_interval step"),
}
LOOKED_AT = (0, 4, 5, 10, 14, 15, 19)  # epochs, the first one is 0


def answer(ran: Mapping[str, Ran]) -> Iterator[Table | Chart]:
    """The rates of every schedule, and the reductions of the plateau."""
    rates = {name: by_epoch(ran[name]) for name in SCHEDULES}
    yield Table(
        "rates",
        f"The learning rate in epoch t of {EPOCHS}, as it was logged; lr is {RATE}",
        {
            "t": list(LOOKED_AT),
            **{name: [rates[name][epoch] for epoch in LOOKED_AT] for name in SCHEDULES},
        },
    )
    yield drawn(ran)
    loss, rate = ran["plateau"].series("val/loss"), by_epoch(ran["plateau"])
    yield plateau(loss, rate)
    cuts = reductions(rate)
    yield Table(
        "reductions",
        "ReduceLROnPlateau, factor 0.1, patience 3: when it gave up waiting",
        {
            "after epoch": cuts,
            "lr before": [rate[epoch - 1] for epoch in cuts],
            "lr after": [rate[epoch] for epoch in cuts],
            "best val/loss": [min(loss[:epoch]) for epoch in cuts],
            "reached in epoch": [int(np.argmin(loss[:epoch])) + 1 for epoch in cuts],
        },
    )


def logged(run: Ran) -> list[float]:
    """The rate of every update."""
    [name] = [tag for tag in run.recorded.curves if tag.startswith("lr-")]
    return run.series(name)


def by_epoch(run: Ran) -> list[float]:
    """The rate of the first update of every epoch."""
    rates, epochs = logged(run), run.checkpoint()["epoch"] + 1
    return rates[:: len(rates) // epochs][:epochs]


def reductions(rates: list[float]) -> list[int]:
    """Epochs, from 1, behind which the rate fell."""
    return [epoch for epoch in range(1, len(rates)) if rates[epoch] < 0.99 * rates[epoch - 1]]


def drawn(ran: Mapping[str, Ran]) -> Chart:
    """The rate of every update, a curve a schedule."""
    lines = {}
    for name, (schedule, _) in SCHEDULES.items():
        values = logged(ran[name])
        title = schedule + (" after a warm-up" if name == "warm_up" else "")
        ends = np.arange(len(values) + 1) * EPOCHS / len(values)  # a rate holds for a while
        lines[title] = (np.repeat(ends, 2)[1:-1], np.repeat(values, 2))
    return curves(
        "schedules",
        lines,
        xlabel="epoch",
        ylabel="learning rate",
        title="Six schedules, as they were logged",
    )


def plateau(loss: list[float], rate: list[float]) -> Chart:
    """What is monitored, with the reductions marked."""
    epochs = np.arange(1, len(loss) + 1)
    cuts = reductions(rate)

    def draw(axes: Axes) -> None:
        for number, epoch in enumerate(cuts):
            axes.axvline(epoch + 0.5, color=ORANGE, linestyle="--", linewidth=1.5)
            text = f"lr {rate[epoch]:.1g}"
            axes.annotate(
                text,
                (epoch + 0.5, 1),
                (3, -12 - 12 * number),
                color=ORANGE,
                fontsize=9,
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
            )
        axes.plot(epochs, loss, ".-", color=BLUE, label="val/loss")
        best = np.minimum.accumulate(loss)
        axes.plot(epochs, best, color=SKY, drawstyle="steps-post", label="the best so far")
        axes.set(xlabel="epoch", ylabel="val/loss", ylim=(0, None))
        axes.set_title(f"ReduceLROnPlateau: lr {rate[0]:g}, a tenth after each wait in vain")
        axes.legend(loc="lower right")
        axes.grid(alpha=0.3)

    columns: dict[str, Sequence[float]] = {"epoch": epochs.tolist(), "val/loss": loss, "lr": rate}
    return Chart("plateau", columns, draw)


LESSON = Lesson(
    runs={
        **{
            name: Run(f"{PLAIN} --model.lr_scheduler {schedule} {options}".rstrip())
            for name, (schedule, options) in SCHEDULES.items()
        },
        "plateau": Run(
            "fit --config configs/lessons/lesson6_plateau.yaml --trainer.log_every_n_steps 1"
        ),
    },
    answer=answer,
)
