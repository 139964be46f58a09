"""Which class is taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from lit_course.figures.chart import GREY, SKY, Chart, beside, caption, distinct, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_COUNTS = 16  # classes whose counts are written into their cells
MOST_LABELS = 34  # classes that are all named; of more every n-th is
Text = dict[str, Any]
MIDDLE: Text = {"ha": "center", "va": "center"}


def confusion_matrix(counts: ArrayLike, names: Sequence[str], of: str = "") -> Chart:
    """Rows are true classes, coloured by where their samples went; beside them their recall.

    Args:
        counts: Samples ``(C, C)`` by true class and answer.
        names: Of the classes.
        of: What they are of, in words.
    """
    counts = np.asarray(counts)
    total = counts.sum(1)
    with np.errstate(invalid="ignore"):
        share = counts / total[:, None]
    recall = share.diagonal()
    size = len(names)
    columns = {
        "true": list(names),
        **dict(zip(distinct(f"as {n}" for n in names), counts.T.tolist(), strict=True)),
        "samples": total.tolist(),
        "recall": recall.tolist(),
    }

    def draw(axes: Axes) -> None:
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        font = 9 if size <= MOST_COUNTS else 7
        for row, column in zip(*counts.nonzero(), strict=True) if size <= MOST_COUNTS else ():
            color = "white" if share[row, column] > 0.5 else "black"
            # What is inside needs no room: to ask for it takes longer than to draw it.
            axes.text(
                column,
                row,
                f"{counts[row, column]:,}",
                color=color,
                fontsize=font,
                in_layout=False,
                **MIDDLE,
            )
        ticks = range(0, size, -(-size // MOST_LABELS))
        shown = [label(names[tick]) for tick in ticks]
        axes.set_yticks(ticks, shown, fontsize=font)
        if size <= MOST_COUNTS and max(map(len, shown)) > 45 // size:
            slanted: Text = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
            axes.set_xticks(ticks, shown, fontsize=font, **slanted)
        else:
            upright = 90 if size > MOST_COUNTS else 0
            axes.set_xticks(ticks, shown, fontsize=font, rotation=upright)
        axes.set(xlabel="answer", ylabel="true class")
        caption(axes, "Confusion matrix: rows are true classes", of)
        right = beside(axes, 0.16)
        right.barh(range(size), np.nan_to_num(recall), color=SKY, height=0.8)
        right.set(xlim=(0, 1), xticks=(0, 1))
        right.tick_params(labelleft=False, left=False, labelsize=8)
        right.set_title("recall", fontsize=9, color=GREY)
        for row in range(size) if size <= MOST_LABELS else ():
            text = "–" if np.isnan(recall[row]) else f"{recall[row]:.2f}"
            right.text(0.04, row, text, va="center", fontsize=font, in_layout=False)

    sizes = (6.4, 4.8) if size <= 4 else (7.2, 6.0) if size <= MOST_COUNTS else (9.0, 8.0)
    return Chart("confusion_matrix", columns, draw, sizes)
