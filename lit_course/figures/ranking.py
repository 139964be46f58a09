"""How well each query is ranked, and how scores follow relevance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lit_course.figures.chart import BLUE, ORANGE, SKY, Chart, caption

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_GRADES = 10  # boxes; of more grades each box has a range of them
_QUANTILES = {"5%": 0.05, "25%": 0.25, "median": 0.5, "75%": 0.75, "95%": 0.95}


def metric_by_query(
    metric: str,
    values: Mapping[str, ArrayLike],
    queries: Sequence[str],
    sizes: ArrayLike,
    undefined: float = np.nan,
    of: str = "",
) -> Chart:
    """One value for each query, best first, and their mean: what the mean alone would hide.

    Args:
        metric: Name of the one that is drawn, such as ``ndcg@5``.
        values: Values ``(Q,)`` of all metrics by name, from 0 to 1; NaN where it is not defined.
        queries: A name for each of the Q queries.
        sizes: Number of items of each, ``(Q,)``.
        undefined: What a query counts whose value is not defined; NaN leaves it out.
        of: What they are of, in words.
    """
    drawn = np.asarray(values[metric], dtype=float)
    absent = int(np.isnan(drawn).sum())
    note = "left out" if np.isnan(undefined) else f"counted as {undefined:g}"
    drawn = np.where(np.isnan(drawn), undefined, drawn)
    drawn = np.sort(drawn[~np.isnan(drawn)])[::-1]
    title = metric.upper()

    def draw(axes: Axes) -> None:
        edges = np.arange(len(drawn) + 1)
        axes.stairs(drawn, edges, fill=True, color=SKY)
        axes.stairs(drawn, edges, color=BLUE)
        if len(drawn):
            mean = drawn.mean()
            label = f"mean {mean:.3f}" + f"; {absent:,} not defined, {note}" * (absent > 0)
            axes.axhline(mean, color=ORANGE, linestyle="--", label=label)
            axes.legend(loc="lower left")
        axes.set(xlabel=f"{len(drawn):,} queries, best first", ylabel=title, ylim=(0, 1.02))
        caption(axes, f"{title} by query", of)

    numbers = {name: np.asarray(column, dtype=float).tolist() for name, column in values.items()}
    columns = {"query": list(queries), "items": np.asarray(sizes).tolist(), **numbers}
    return Chart(f"{metric.partition('@')[0]}_by_query", columns, draw)


def score_by_relevance(
    scores: ArrayLike, relevance: ArrayLike, query: ArrayLike, of: str = ""
) -> Chart:
    """Scores of the items of each grade, as boxes: half of them in the box, 90 % in the whiskers.

    Only the order within a query matters to a ranker, so the mean of its query is taken from each
    score.

    Args:
        scores: ``(N,)``.
        relevance: ``(N,)``.
        query: Number of each item's query, ``(N,)``, from 0 without gaps.
        of: What they are of, in words.
    """
    query = np.asarray(query)
    above = np.asarray(scores, dtype=float)
    above = above - (np.bincount(query, above) / np.bincount(query))[query]
    grades, labels = _grades(np.asarray(relevance, dtype=float))
    rows = [above[grades == grade] for grade in range(len(labels))]
    columns: dict[str, list[object]] = {"relevance": [*labels], "items": [len(row) for row in rows]}
    for name, part in _QUANTILES.items():
        columns[name] = [float(np.quantile(row, part)) for row in rows]

    def draw(axes: Axes) -> None:
        names = ("whislo", "q1", "med", "q3", "whishi")
        quantiles = zip(*(columns[name] for name in _QUANTILES), strict=True)
        titles = [f"{label}\n{len(row):,}" for label, row in zip(labels, rows, strict=True)]
        axes.bxp(
            [
                {"label": title, **dict(zip(names, numbers, strict=True))}
                for title, numbers in zip(titles, quantiles, strict=True)
            ],
            showfliers=False,
            patch_artist=True,
            boxprops={"facecolor": SKY, "edgecolor": BLUE},
            medianprops={"color": ORANGE, "linewidth": 2},
        )
        axes.set(xlabel="relevance, and number of items", ylabel="score above its query's mean")
        caption(axes, "Score against relevance", of)
        axes.grid(axis="y", alpha=0.3)

    return Chart("score_by_relevance", columns, draw)


def _grades(relevance: NDArray[np.float64]) -> tuple[NDArray[np.int64], list[str]]:
    """The box of each item, from 0, and what each box has."""
    values, grades = np.unique(relevance, return_inverse=True)
    if len(values) <= MOST_GRADES:
        return grades, [f"{value:g}" for value in values]
    edges = np.unique(np.quantile(relevance, np.linspace(0, 1, MOST_GRADES + 1)[1:-1]))
    _, boxes = np.unique(np.searchsorted(edges, relevance), return_inverse=True)
    parts = [relevance[boxes == box] for box in range(boxes.max() + 1)]
    return boxes, [f"{part.min():.3g}–{part.max():.3g}" for part in parts]
