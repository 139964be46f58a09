"""What a regression predicts, and what it weighs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lit_course.figures.chart import BLUE, COLORS, GREY, ORANGE, SKY, Chart, beside, caption, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_POINTS = 2000  # drawn one by one; more are counted in hexagons
MOST_COEFFICIENTS = 30


def predicted_against_true(
    target: ArrayLike, prediction: ArrayLike, name: str, of: str = ""
) -> Chart:
    """Each sample's prediction by its target; on the line they are equal.

    Args:
        target: ``(N,)``.
        prediction: ``(N,)``.
        name: Of the target.
        of: What they are of, in words.
    """
    target, prediction = np.asarray(target, dtype=float), np.asarray(prediction, dtype=float)

    def draw(axes: Axes) -> None:
        _points(axes, target, prediction)
        ends = [min(target.min(), prediction.min()), max(target.max(), prediction.max())]
        axes.plot(ends, ends, color=ORANGE, linestyle="--", label="equal")
        axes.set(xlabel=f"true {label(name, 30)}", ylabel=f"predicted {label(name, 30)}")
        axes.legend(fontsize=8, loc="upper left")
        caption(axes, "Predicted against true", of)

    columns = {"true": target.tolist(), "predicted": prediction.tolist()}
    return Chart("predicted_against_true", columns, draw, (6.4, 4.8))


def residuals(target: ArrayLike, prediction: ArrayLike, name: str, of: str = "") -> Chart:
    """What is left of each target beside its prediction, and how that is spread.

    Args:
        target: ``(N,)``.
        prediction: ``(N,)``.
        name: Of the target.
        of: What they are of, in words.
    """
    prediction = np.asarray(prediction, dtype=float)
    left = np.asarray(target, dtype=float) - prediction

    def draw(axes: Axes) -> None:
        _points(axes, prediction, left)
        axes.axhline(0, color=ORANGE, linestyle="--")
        axes.set(xlabel=f"predicted {label(name, 30)}", ylabel="residual: true less predicted")
        text = f"Residuals: mean {left.mean():.3g}, deviation {left.std():.3g}"
        caption(axes, text, of)
        right = beside(axes, 0.2)
        bins = min(40, max(5, int(np.sqrt(len(left)))))
        right.hist(left, bins=bins, orientation="horizontal", color=SKY, edgecolor=BLUE)
        right.tick_params(labelleft=False)
        right.set_xlabel("samples")

    columns = {"predicted": prediction.tolist(), "residual": left.tolist()}
    return Chart("residuals", columns, draw)


def coefficients(
    weights: Mapping[str, ArrayLike], targets: Sequence[str], of: str = ""
) -> Chart | None:
    """The weight of each feature in original units, the largest first.

    Args:
        weights: ``()`` or ``(K,)`` by the name of the feature, and ``intercept``.
        targets: K names.
        of: What they are of, in words.
    """
    table = np.stack([np.atleast_1d(np.asarray(w, dtype=float)) for w in weights.values()])
    names = list(weights)
    columns = {"feature": names}
    titles = ["coefficient"] if len(targets) == 1 else [f"coefficient_{t}" for t in targets]
    columns |= dict(zip(titles, table.T.tolist(), strict=True))
    features = [i for i, name in enumerate(names) if name != "intercept"]
    if not features or not np.isfinite(table).all():
        return None
    size = np.abs(table[features]).max(1)
    most = MOST_COEFFICIENTS // (1 if len(targets) == 1 else 2)
    chosen = [features[i] for i in np.argsort(-size, kind="stable")[:most]]
    shown = table[chosen, : len(COLORS)]
    width = 0.8 / shown.shape[1]

    def draw(axes: Axes) -> None:
        rows, scale = np.arange(len(chosen)), ""
        for number, (values, color) in enumerate(zip(shown.T, COLORS, strict=False)):
            place = rows + (number - (shown.shape[1] - 1) / 2) * width
            bars = axes.barh(place, values, height=width, color=color, label=label(targets[number]))
            if shown.shape[1] == 1:
                axes.bar_label(bars, [f" {v:.3g} " for v in values], fontsize=8)
        axes.set_yticks(rows, [label(names[i], 24) for i in chosen], fontsize=8)
        axes.invert_yaxis()
        axes.axvline(0, color=GREY, linewidth=1)
        sizes = np.abs(shown[shown != 0])
        if len(sizes) and sizes.max() > 100 * sizes.min():
            axes.set_xscale("symlog", linthresh=max(sizes.min(), sizes.max() * 1e-6))
            axes.set_xticks([0])
            scale = ", logarithmic"
        axes.margins(x=0.15, y=0.02)
        axes.set_xlabel(f"change of the target per unit of the feature{scale}")
        if shown.shape[1] > 1:
            axes.legend(fontsize=8)
        left_out = len(features) - len(chosen)
        text = f"{of}, the largest {len(chosen)} of {len(features)}" if left_out else of
        at = names.index("intercept") if "intercept" in names else None
        if at is not None and shown.shape[1] == 1:
            text += f", intercept {table[at, 0]:.4g}"
        caption(axes, "Coefficients", text)

    height = max(3.2, 1.4 + 0.24 * len(chosen) * (1 + 0.3 * (shown.shape[1] - 1)))
    return Chart("coefficients", columns, draw, (6.4, round(height, 1)))


def fitted_curve(
    x: ArrayLike,
    y: ArrayLike,
    grid: ArrayLike,
    curve: ArrayLike,
    names: tuple[str, str],
    of: str = "",
) -> Chart:
    """What a model of one feature answers, over the points.

    Args:
        x: The feature ``(N,)``.
        y: The target ``(N,)``.
        grid: Where the model was asked, ``(G,)``.
        curve: Its answers ``(G,)``.
        names: Of feature and target.
        of: What the points are of, in words.
    """
    x, y, grid, curve = (np.asarray(v, dtype=float) for v in (x, y, grid, curve))

    def draw(axes: Axes) -> None:
        _points(axes, x, y)
        axes.plot(grid, curve, color=ORANGE, linewidth=2, label="model")
        # The points alone say what is shown: pictures of one run compare, whatever the model does.
        room = 0.15 * (np.ptp(y) or 1)
        axes.set_ylim(y.min() - room, y.max() + room)
        axes.set(xlabel=label(names[0], 30), ylabel=label(names[1], 30))
        axes.legend(fontsize=8)
        caption(axes, "Fitted curve", of)

    columns = {
        "kind": ["point"] * len(x) + ["model"] * len(grid),
        "x": [*x.tolist(), *grid.tolist()],
        "y": [*y.tolist(), *curve.tolist()],
    }
    return Chart("fitted_curve", columns, draw)


def _points(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    if len(x) > MOST_POINTS:
        axes.hexbin(x, y, gridsize=50, cmap="Blues", mincnt=1, bins="log", linewidths=0.1)
    else:
        alpha = 0.8 if len(x) <= 100 else 0.4
        axes.scatter(x, y, s=14, color=BLUE, alpha=alpha, linewidths=0)
    axes.grid(alpha=0.3)
