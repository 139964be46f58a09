"""Whether a probability of 0.8 is right in 8 cases of 10."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from lit_course.figures.chart import BLUE, GREY, ORANGE, SKY, Chart, beside, caption

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 10
FEW = 10  # samples of which a share says little


def reliability(
    confidence: ArrayLike, right: ArrayLike, of: str = "", of_two: str | None = None
) -> Chart:
    """The share of right answers by their probability, and the expected calibration error.

    That is the mean distance of the two over ten bins of equal width, weighted by their samples:
    Guo et al. (2017), "On Calibration of Modern Neural Networks".

    Args:
        confidence: Probability of each answer, ``(N,)``; of two classes that of class 1.
        right: Whether it is right, ``(N,)``; of two classes whether it is class 1.
        of: What they are of, in words.
        of_two: Of two classes the name of class 1.
    """
    confidence, right = np.asarray(confidence, dtype=float), np.asarray(right, dtype=float)
    edges = np.linspace(0, 1, BINS + 1)
    bins = np.searchsorted(edges[1:-1], confidence)
    count = np.bincount(bins, minlength=BINS)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(bins, confidence, BINS) / count
        share = np.bincount(bins, right, BINS) / count
    error = float(np.nansum(np.abs(mean - share) * count) / max(1, len(bins)))
    columns = {
        "from": edges[:-1].tolist(),
        "to": edges[1:].tolist(),
        "samples": count.tolist(),
        "mean_probability": mean.tolist(),
        "share_right": share.tolist(),
        "expected_calibration_error": [error] * BINS,
    }

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="as often as said")
        filled = count > 0
        axes.vlines(mean[filled], mean[filled], share[filled], color=ORANGE, linewidth=2)
        axes.plot(mean[filled], share[filled], "o-", color=BLUE, label="found")
        few = filled & (count < FEW)
        if few.any():
            axes.plot(mean[few], share[few], "o", color=BLUE, mfc="white", label=f"of under {FEW}")
        axes.set(xlim=(0, 1), ylim=(-0.02, 1.02), xticks=edges[::2])
        axes.set_ylabel("share right" if of_two is None else f"share of {of_two}")
        axes.legend(fontsize=8, loc="lower right")
        axes.grid(alpha=0.3)
        axes.tick_params(labelbottom=False)
        caption(axes, f"Reliability: expected calibration error {error:.3f}", of)
        below = beside(axes, 0.3, below=True)
        below.bar(edges[:-1], count, width=1 / BINS, align="edge", color=SKY, edgecolor=BLUE)
        which = "the answer" if of_two is None else of_two
        below.set(xlabel=f"probability of {which}", ylabel="samples")
        below.locator_params(axis="y", nbins=3)

    return Chart("reliability", columns, draw, (6.4, 5.2))
