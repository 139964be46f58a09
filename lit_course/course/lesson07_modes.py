"""Lesson 7: what ``train()`` and ``eval()`` switch, and what ``no_grad`` does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lit_course.course.lesson import Lesson, Run, Table
from lit_course.course.ran import Ran
from lit_course.figures import Chart
from lit_course.figures.chart import BLUE, ORANGE, SKY

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PASSES, UNITS = 500, 100_000


def answer(ran: Mapping[str, Ran]) -> Iterator[Table | Chart]:
    """Two evaluations, both modes with and without gradients, the two layers, one digit."""
    run = ran["modes"]
    first, second = (
        (run.folder.parents[1] / f"{name}.csv").read_bytes() for name in ("first", "second")
    )
    yield Table(
        "evaluations",
        "Two predictions of one checkpoint, for the digits of the test split",
        {
            "file": ["first.csv", "second.csv"],
            "rows": [len(each.splitlines()) - 1 for each in (first, second)],
            "equal to the first, byte for byte": [True, first == second],
        },
    )
    x, y = run.rows("test")
    yield Table("modes", "The same 64 digits twice through the same model", modes(run, x[:64]))
    yield Table("layers", "What each layer does in each mode", layers())
    yield one_digit(run, x, y)


def modes(run: Ran, x: Tensor) -> dict[str, list[Any]]:
    """Each mode with and without gradients: what differs, and what is kept."""
    rows: dict[str, list[Any]] = {
        name: []
        for name in ("mode", "gradients", "passes equal", "statistics changed", "keeps a graph")
    }
    for mode in ("train", "eval"):
        for gradients in ("enabled", "no_grad"):
            model = run.model()
            model.train(mode == "train")
            before = statistics(model)
            torch.manual_seed(0)
            with torch.set_grad_enabled(gradients == "enabled"):
                first, second = model(x), model(x)
            row = (
                mode,
                gradients,
                torch.equal(first, second),
                not torch.equal(before, statistics(model)),
                first.requires_grad,
            )
            for values, value in zip(rows.values(), row, strict=True):
                values.append(value)
    return rows


def statistics(model: nn.Module) -> Tensor:
    """The running means of batch normalisation."""
    return torch.cat([b.clone() for name, b in model.named_buffers() if "running_mean" in name])


def layers() -> dict[str, list[Any]]:
    """Dropout and batch normalisation on their own, in both modes."""
    torch.manual_seed(0)
    dropout, ones = nn.Dropout(0.5), torch.ones(UNITS)
    dropped = dropout(ones)
    normalization, x = nn.BatchNorm1d(1), torch.randn(UNITS, 1) * 3 + 10
    trained = normalization(x)
    after_one = normalization.running_mean.item()  # type: ignore[union-attr]  # it is tracked
    dropout.eval(), normalization.eval()
    evaluated = normalization(x)
    return {
        "what": [
            "dropout 0.5 of ones: share of zeros",
            "dropout 0.5 of ones: the others",
            "dropout 0.5 of ones: mean",
            "batch norm of values around 10: mean of the outputs",
            "batch norm of values around 10: its running mean",
        ],
        "train()": [
            float((dropped == 0).float().mean()),
            float(dropped.max()),
            float(dropped.mean()),
            round(float(trained.detach().mean()), 4),
            after_one,
        ],
        "eval()": [
            float((dropout(ones) == 0).float().mean()),
            float(dropout(ones).max()),
            float(dropout(ones).mean()),
            float(evaluated.detach().mean()),
            float(normalization.running_mean),  # type: ignore[arg-type]
        ],
    }


def one_digit(run: Ran, x: Tensor, y: Tensor) -> Chart:
    """The probability of one digit's class, over many passes in both modes."""
    model = run.model()
    probabilities = torch.from_numpy(model.predict_proba(x))
    right = probabilities[torch.arange(len(y)), y]
    chosen = int((right - 0.7).abs().argmin())
    rest = x[torch.arange(len(x)) != chosen][:63]
    batch = torch.cat([x[chosen : chosen + 1], rest])  # batch normalisation needs company
    values: dict[str, NDArray[np.float64]] = {}
    for mode in ("train", "eval"):
        model.train(mode == "train")
        torch.manual_seed(0)
        with torch.no_grad():
            passes = [model(batch)[0].softmax(0)[y[chosen]].item() for _ in range(PASSES)]
        values[mode] = np.array(passes)

    def draw(axes: Axes) -> None:
        bins = np.linspace(0, 1, 41).tolist()
        axes.hist(
            values["train"], bins, color=SKY, edgecolor=BLUE, label=f"train(), {PASSES} passes"
        )
        axes.axvline(
            values["eval"][0],
            color=ORANGE,
            linewidth=3,
            label=f"eval(), {PASSES} passes: always {values['eval'][0]:.3f}",
        )
        axes.set(xlabel=f"probability of its class, {int(y[chosen])}", ylabel="passes")
        axes.set_title("One digit, one model, two modes")
        axes.legend(loc="upper right")
        axes.grid(alpha=0.3)

    columns = {"pass": list(range(PASSES)), **{k: v.tolist() for k, v in values.items()}}
    return Chart("modes", columns, draw)


LESSON = Lesson(
    runs={
        "modes": Run(
            "fit --config configs/lessons/lesson7_modes.yaml --test_best true --figures false"
        ),
        **{
            name: Run(f"predict --ckpt_path {{modes}} --output {{folder}}/{name}.csv")
            for name in ("first", "second")
        },
    },
    answer=answer,
)
