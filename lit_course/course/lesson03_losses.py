"""Lesson 3: what losses punish: outliers, rare classes, certainty; and identities between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from lit_course.course import rare_classes
from lit_course.course.lesson import Lesson, Run, Table
from lit_course.course.ran import Ran
from lit_course.figures import Chart
from lit_course.figures.chart import BLUE, COLORS, GREY, ORANGE
from lit_course.losses import BinaryCrossEntropy, CrossEntropy, FocalLoss

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COASTER = "fit --config configs/lessons/lesson3_outliers.yaml --figures false"
REGRESSION = {
    "mse": "mean squared error",
    "l1": "mean absolute error",
    "huber": "Huber, delta 5",
}
BROKEN = [5, 10, 14]  # three of 20 points, evenly spread
TRUE = (0.75, -14.25, 68.6875)  # a, b, c of 0.75 (t - 9.5)² + 1
CLASSIFICATION = {
    "cross_entropy": "",
    "class_weights": " --model.class_weights balanced",
    "focal": " --model.loss focal --model.loss_options.gamma 2",
    "label_smoothing": " --model.label_smoothing 0.1",
}


def answer(ran: Mapping[str, Ran]) -> Iterator[Table | Chart]:
    """Three curves through outliers, four losses on a rare class, identities."""
    fitted = {name: ran[name].model().coefficients() for name in REGRESSION}
    rows = {
        name: [float(c["t^2"]), float(c["t"]), float(c["intercept"])] for name, c in fitted.items()
    }
    yield Table(
        "outliers",
        "Three of 20 points measured 100 too low",
        {
            "loss": ["without noise and outliers", *REGRESSION.values()],
            **{
                letter: [TRUE[at], *(row[at] for row in rows.values())]
                for at, letter in enumerate("abc")
            },
            "mean error on the other 17": [0.0, *(good_error(row) for row in rows.values())],
        },
    )
    yield curves_through(ran["mse"], rows)
    yield Table("identities", "Equal, to the last digits of float64", identities())
    yield Table("punished", "The loss of one sample by the probability of its class", punished())
    yield Table("rare", "Three classes of 1,800, 160 and 40 samples, on the test split", rare(ran))
    yield recalls(ran)


def good_error(row: list[float]) -> float:
    """Mean distance from the curve without noise, where nothing was measured wrongly."""
    t = np.delete(np.arange(20.0), BROKEN)
    return float(np.abs(np.polyval(row, t) - np.polyval(TRUE, t)).mean())


def curves_through(run: Ran, rows: Mapping[str, list[float]]) -> Chart:
    """The fitted curves over the points."""
    t, speed = (part.flatten() for part in run.rows("train"))
    fine = np.linspace(0, 19, 96)
    lines = {REGRESSION[name]: np.polyval(row, fine) for name, row in rows.items()}

    def draw(axes: Axes) -> None:
        axes.plot(fine, np.polyval(TRUE, fine), ":", color=GREY, label="without noise, outliers")
        styles = zip(("-", "--", "-."), (ORANGE, *COLORS[2:]), strict=False)
        for (name, line), (style, color) in zip(lines.items(), styles, strict=True):
            axes.plot(fine, line, style, color=color, linewidth=2, label=name)
        axes.plot(t, speed, "o", color=BLUE, label="points")
        axes.plot(t[BROKEN], speed[BROKEN], "X", color=BLUE, markersize=10, label="outliers")
        axes.set(xlabel="t", ylabel="speed", ylim=(-150, 90), title="Three outliers, three losses")
        axes.legend(fontsize=8, loc="lower center", ncols=3)
        axes.grid(alpha=0.3)

    columns = {"t": fine.tolist(), **{name: line.tolist() for name, line in lines.items()}}
    return Chart("outliers", columns, draw)


def identities() -> dict[str, list[object]]:
    """Pairs of losses that are one, and how far apart they are on random logits."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1000, 5, generator=generator, dtype=torch.float64)
    y = torch.randint(5, (1000,), generator=generator)
    one = torch.randn(1000, 1, generator=generator, dtype=torch.float64)
    binary = y % 2
    two = torch.cat([torch.zeros_like(one), one], 1)
    pairs = {
        "cross entropy = log-softmax, then NLL": (
            CrossEntropy()(logits, y),
            F.nll_loss(logits.log_softmax(1), y),
        ),
        "BCE on a logit z = cross entropy on (0, z)": (
            BinaryCrossEntropy()(one, binary),
            CrossEntropy()(two, binary),
        ),
        "focal loss, gamma 0 = cross entropy": (
            FocalLoss(gamma=0.0)(logits, y),
            CrossEntropy()(logits, y),
        ),
    }
    return {
        "identity": list(pairs),
        "left": [a.item() for a, _ in pairs.values()],
        "right": [b.item() for _, b in pairs.values()],
        "difference": [abs(a.item() - b.item()) for a, b in pairs.values()],
    }


def punished() -> dict[str, list[object]]:
    """Cross entropy, its naive form and the focal loss, of two classes."""
    logits = torch.tensor([-200.0, -2.1972246, 0.0, 2.1972246, 4.5951199])
    two = torch.stack([torch.zeros_like(logits), logits], 1)
    y = torch.ones(len(logits), dtype=torch.int64)
    p = two.softmax(1)[:, 1]
    return {
        "logit": [round(z, 3) for z in logits.tolist()],
        "probability": [round(value, 6) for value in p.tolist()],
        "-log of the probability": [
            str(v) if v == float("inf") else v for v in (-p.log()).tolist()
        ],
        "cross entropy on the logit": CrossEntropy().each(two, y).tolist(),
        "focal loss, gamma 2": FocalLoss(gamma=2.0).each(two, y).tolist(),
    }


def rare(ran: Mapping[str, Ran]) -> dict[str, list[object]]:
    """Accuracy, recalls, and how sure each model is."""
    sure = {}
    for name in CLASSIFICATION:
        x, _ = ran[name].rows("test")
        sure[name] = float(ran[name].model().predict_proba(x).max(1).mean())
    tests = {name: ran[name].metrics("test") for name in CLASSIFICATION}
    shown = {"accuracy": "test/accuracy", "macro F1": "test/f1"}
    shown |= {f"recall of {name}": f"test/recall/{name}" for name in rare_classes.CLASSES}
    return {
        "loss": [name.replace("_", " ") for name in CLASSIFICATION],
        **{title: [test[name] for test in tests.values()] for title, name in shown.items()},
        "mean certainty": list(sure.values()),
    }


def recalls(ran: Mapping[str, Ran]) -> Chart:
    """Recall of each class under each loss."""
    names = list(CLASSIFICATION)
    values = {
        c: [ran[name].metrics("test")[f"test/recall/{c}"] for name in names]
        for c in rare_classes.CLASSES
    }

    def draw(axes: Axes) -> None:
        places = np.arange(len(names))
        for number, ((c, row), color) in enumerate(zip(values.items(), COLORS, strict=False)):
            count = rare_classes.COUNTS[number]
            bars = axes.bar(
                places + 0.27 * (number - 1), row, 0.25, color=color, label=f"{c}, {count:,}"
            )
            axes.bar_label(bars, fmt="%.2f", fontsize=8)
        axes.set_xticks(places, [name.replace("_", " ") for name in names])
        axes.set(ylabel="recall", ylim=(0, 1.25), title="Who is found, under which loss")
        axes.legend(title="class, samples", ncols=3, loc="upper center", fontsize=8)

    return Chart("recalls", {"loss": names, **values}, draw)


LESSON = Lesson(
    runs={
        "mse": Run(COASTER),
        "l1": Run(f"{COASTER} --model.loss l1"),
        "huber": Run(f"{COASTER} --model.loss huber --model.loss_options.delta 5"),
        **{name: Run(rare_classes.FLAGS + flags) for name, flags in CLASSIFICATION.items()},
    },
    answer=answer,
    prepare=rare_classes.write,
)
