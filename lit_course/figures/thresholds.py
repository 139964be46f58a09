"""Curves over all thresholds: true against false positives, precision against recall."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lit_course.figures.chart import COLORS, GREY, Chart, caption, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Numbers = NDArray[np.float64]
MOST_POINTS = 200  # of a curve; of several each has fewer
MACRO = "macro average"
MOST_CURVES = 100  # of classes
_NAMED = 5  # of many classes the worst have a colour and a name
_GRID = np.linspace(0, 1, 101)


@dataclass(frozen=True, eq=False)
class Curve:
    """Points of a curve, and the area below it.

    Args:
        name: Of the class.
        threshold: A sample is taken for the class where its probability is at least this, ``(P,)``.
        x: ``(P,)``.
        y: ``(P,)``.
        area: Below all points, also those that were left out since.
    """

    name: str
    threshold: Numbers
    x: Numbers
    y: Numbers
    area: float

    def thinned(self, most: int) -> Curve:
        """The same with fewer points, those of straight pieces first, the others evenly spread."""
        x, y = np.diff(self.x), np.diff(self.y)
        bends = np.abs(x[1:] * y[:-1] - x[:-1] * y[1:]) > 1e-12
        kept = np.flatnonzero(np.concatenate([[True], bends, [True]]))
        if len(kept) > most:
            way = np.concatenate([[0], np.cumsum(np.abs(x) + np.abs(y))])[kept]
            kept = kept[np.unique(np.searchsorted(way, np.linspace(0, way[-1], most)))]
        return Curve(self.name, self.threshold[kept], self.x[kept], self.y[kept], self.area)


def roc(name: str, positive: ArrayLike, score: ArrayLike) -> Curve | None:
    """False positive rate against true positive rate; None if samples are all of one kind.

    Args:
        name: Of the class.
        positive: Which samples are of it, ``(N,)``.
        score: Their probability of it, ``(N,)``.
    """
    threshold, hits, taken = _taken(positive, score)
    positives, negatives = hits[-1], taken[-1] - hits[-1]
    if not positives or not negatives:
        return None
    x, y = (taken - hits) / negatives, hits / positives
    return Curve(name, threshold, x, y, float(np.trapezoid(y, x)))


def precision_recall(name: str, positive: ArrayLike, score: ArrayLike) -> Curve | None:
    """Recall against precision, its area the average precision; None without positive samples.

    Args:
        name: Of the class.
        positive: Which samples are of it, ``(N,)``.
        score: Their probability of it, ``(N,)``.
    """
    threshold, hits, taken = _taken(positive, score)
    if not hits[-1]:
        return None
    hits, taken, threshold = hits[1:], taken[1:], threshold[1:]
    x, y = hits / hits[-1], hits / taken
    area = float((np.diff(x, prepend=0) * y).sum())
    # As scikit-learn has it, the curve begins at recall 0 with precision 1.
    x, y, threshold = (np.append(a, b) for a, b in ((0, x), (1, y), (np.inf, threshold)))
    return Curve(name, threshold, x, y, area)


def _taken(positive: ArrayLike, score: ArrayLike) -> tuple[Numbers, Numbers, Numbers]:
    """Thresholds from none taken to all, how many of those taken are positive, and how many are."""
    positive, score = np.asarray(positive, dtype=bool), np.asarray(score, dtype=float)
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    hits = np.cumsum(positive[order])[last]
    return (
        np.concatenate([[np.inf], score[order][last]]),
        np.concatenate([[0.0], hits]),
        np.concatenate([[0.0], last + 1]),
    )


def roc_curves(
    target: ArrayLike, probabilities: ArrayLike, names: Sequence[str], of: str = ""
) -> Chart | None:
    """True against false positive rate at every threshold, and the area below.

    Of two classes that of class 1; of more each against the rest, and their mean.

    Args:
        target: Labels ``(N,)``.
        probabilities: ``(N, C)``.
        names: Of the classes.
        of: What they are of, in words.
    """
    found = _one_against_rest(roc, target, probabilities, names)
    if not found:
        return None
    if len(found) > 1:
        mean = np.mean([np.interp(_GRID, curve.x, curve.y) for curve in found], axis=0)
        found.append(_macro(np.concatenate([[0], _GRID]), np.concatenate([[0], mean]), found))

    def decorate(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
        axes.set(xlabel="false positive rate", ylabel="true positive rate")
        caption(axes, "ROC: who is found, at what price", of)

    return _chart("roc", ("false_positive_rate", "true_positive_rate"), "AUC", found, decorate)


def precision_recall_curves(
    target: ArrayLike, probabilities: ArrayLike, names: Sequence[str], of: str = ""
) -> Chart | None:
    """Precision against recall at every threshold, and the average precision; as ``roc_curves``.

    Args:
        target: Labels ``(N,)``.
        probabilities: ``(N, C)``.
        names: Of the classes.
        of: What they are of, in words.
    """
    found = _one_against_rest(precision_recall, target, probabilities, names)
    if not found:
        return None
    if len(found) > 1:
        # The precision at a recall is that of the first threshold at which it is reached.
        mean = np.mean([c.y[np.searchsorted(c.x, _GRID - 1e-12)] for c in found], axis=0)
        found.append(_macro(_GRID, mean, found))

    def decorate(axes: Axes) -> None:
        axes.set(xlabel="recall", ylabel="precision")
        caption(axes, "Precision against recall", of)

    return _chart("precision_recall", ("recall", "precision"), "AP", found, decorate, "steps-pre")


def _one_against_rest(
    curve: Callable[[str, ArrayLike, ArrayLike], Curve | None],
    target: ArrayLike,
    probabilities: ArrayLike,
    names: Sequence[str],
) -> list[Curve]:
    target, probabilities = np.asarray(target), np.asarray(probabilities)
    classes = [1] if len(names) == 2 else range(min(len(names), MOST_CURVES))
    if not len(target):
        return []
    made = (curve(names[c], target == c, probabilities[:, c]) for c in classes)
    return [each for each in made if each is not None]


def _macro(x: Numbers, y: Numbers, curves: Sequence[Curve]) -> Curve:
    area = float(np.mean([curve.area for curve in curves]))
    return Curve(MACRO, np.full(len(x), np.nan), x, y, area)


def _chart(
    name: str,
    titles: tuple[str, str],
    area: str,
    found: Sequence[Curve],
    decorate: Callable[[Axes], None],
    style: str = "default",
) -> Chart:
    most = MOST_POINTS if len(found) < 10 else MOST_POINTS // 4
    single = [curve.thinned(most) for curve in found if curve.name != MACRO]
    mean = next((curve for curve in found if curve.name == MACRO), None)
    curves = [*single, mean] if mean is not None else single
    worst = sorted(single, key=lambda curve: curve.area)[:_NAMED]
    colors = dict(zip(map(id, worst), COLORS, strict=False))
    columns = {
        "class": [curve.name for curve in curves for _ in curve.x],
        "threshold": [value for curve in curves for value in curve.threshold.tolist()],
        titles[0]: [value for curve in curves for value in curve.x.tolist()],
        titles[1]: [value for curve in curves for value in curve.y.tolist()],
        area: [curve.area for curve in curves for _ in curve.x],
    }

    def draw(axes: Axes) -> None:
        decorate(axes)
        for curve in single:
            if id(curve) not in colors:
                axes.plot(curve.x, curve.y, color="0.8", lw=0.8, ds=style, zorder=1)
        for curve in worst:
            text = f"{label(curve.name)}, {area} {curve.area:.3f}"
            axes.plot(curve.x, curve.y, color=colors[id(curve)], lw=1.5, ds=style, label=text)
        if mean is not None:
            text = f"mean of {len(single)}, {area} {mean.area:.3f}"
            axes.plot(mean.x, mean.y, color="black", ls="--", lw=2, ds=style, label=text)
        title = f"the {len(worst)} worst of {len(single)}" if len(single) > len(worst) else None
        axes.legend(
            fontsize=8,
            title=title,
            title_fontsize=8,
            loc="lower left" if name != "roc" else "lower right",
        )
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
        axes.grid(alpha=0.3)

    return Chart(name, columns, draw, (6.4, 4.8))
