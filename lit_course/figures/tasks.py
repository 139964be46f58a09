"""Which figures a task has: what every classification shows, and every regression."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lit_course.figures.chart import Chart
from lit_course.figures.confusion import confusion_matrix
from lit_course.figures.regression import fitted_curve, predicted_against_true, residuals
from lit_course.figures.reliability import reliability
from lit_course.figures.seen import Seen
from lit_course.figures.thresholds import precision_recall_curves, roc_curves
from lit_course.figures.tiles import classified

MOST_TARGETS = 4  # that are drawn, each by itself
GRID = 200


def charts_of(
    seen: Seen, class_names: Sequence[str] = (), target_names: Sequence[str] = ()
) -> Iterator[Chart]:
    """Figures of what was seen: of classes, or of numbers; none of anything else.

    Args:
        seen: Answers and targets.
        class_names: Names of the classes; left out, their numbers.
        target_names: Names of the targets; left out, their numbers.
    """
    if "probabilities" in seen.rows:
        yield from classification(seen, class_names)
    elif "prediction" in seen.rows:
        yield from regression(seen, target_names)


def classification(seen: Seen, names: Sequence[str] = ()) -> Iterator[Chart]:
    """Confusion matrix, ROC, precision and recall, reliability; of images mistakes and examples.

    Args:
        seen: ``target`` ``(N,)``, ``probabilities`` ``(N, C)`` and ``class`` ``(N,)``.
        names: Of the classes; of another number than C, their numbers are taken.
    """
    p, classes = seen.rows["probabilities"], seen.rows["class"]
    number = p.shape[1]
    names = list(names) if len(names) == number else [str(c) for c in range(number)]
    if seen.confusion is not None and seen.confusion.any():
        yield confusion_matrix(seen.confusion, names, seen.of)
    known = (seen.rows["target"] >= 0) & (seen.rows["target"] < number)
    target, p, classes = seen.rows["target"][known], p[known], classes[known]
    yield from filter(None, [roc_curves(target, p, names, seen.of)])
    yield from filter(None, [precision_recall_curves(target, p, names, seen.of)])
    if len(target) and number == 2:
        yield reliability(p[:, 1], target == 1, seen.of, names[1])
    elif len(target):
        yield reliability(p.max(1), p.argmax(1) == target, seen.of)
    if seen.image_shape is not None:
        shape = seen.image_shape
        of = f"{seen.of}, the least probable true class first"
        worst = (
            "mistakes",
            "The worst mistakes: answer, its probability, true class",
            seen.mistakes,
        )
        yield from filter(None, [classified(*worst, names, shape, of)])
        some = ("examples", "Samples: answer and its probability", seen.examples)
        yield from filter(None, [classified(*some, names, shape, seen.of)])


def regression(
    seen: Seen,
    names: Sequence[str] = (),
    feature: str = "x",
    ask: Callable[[NDArray[np.float32]], NDArray[np.float64]] | None = None,
) -> Iterator[Chart]:
    """Predicted against true and residuals of each target; of one feature the fitted curve.

    Args:
        seen: ``target`` and ``prediction``, ``(N,)`` or ``(N, K)``, and for the curve ``input``.
        names: Of the targets; of another number than K, their numbers are taken.
        feature: Name of the only feature.
        ask: Features ``(G, 1)`` to predictions ``(G,)`` or ``(G, K)``, for the curve.
    """
    rows = len(seen.rows["target"])
    if not rows:
        return
    target, prediction = (seen.rows[n].reshape(rows, -1) for n in ("target", "prediction"))
    number = target.shape[1]
    names = list(names) if len(names) == number else [str(k) for k in range(number)]
    curves = None
    if ask is not None and "input" in seen.rows:
        x = seen.rows["input"].astype(np.float32)
        grid = np.linspace(x.min(), x.max(), GRID, dtype=np.float32)[:, None]
        curves = ask(grid).reshape(GRID, -1)
    for k, name in enumerate(names[:MOST_TARGETS]):
        columns = target[:, k], prediction[:, k]
        made = [
            predicted_against_true(*columns, name, seen.of),
            residuals(*columns, name, seen.of),
        ]
        if curves is not None:
            axes = (feature, name)
            made.append(
                fitted_curve(x[:, 0], target[:, k], grid[:, 0], curves[:, k], axes, seen.of)
            )
        yield from (
            made
            if number == 1
            else [replace(chart, name=f"{chart.name}_{k + 1}") for chart in made]
        )
