"""A picture of numbers, with the numbers beside it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, told apart by the colour-blind.
BLUE, SKY, ORANGE, GREEN, PURPLE = "#0072B2", "#56B4E9", "#D55E00", "#009E73", "#CC79A7"
COLORS = (BLUE, ORANGE, GREEN, PURPLE, "#E69F00", "#000000")
GREY = "#777777"
SIZE, DPI = (6.4, 4.0), 120  # inches, and dots in one


@dataclass(frozen=True, eq=False)
class Chart:
    """A figure, drawn when it is asked for.

    Args:
        name: What it shows, a part of file names: ``ndcg_by_query``.
        columns: Its numbers, by the title of their column; all of one length.
        draw: Draws them.
    """

    name: str
    columns: Mapping[str, Sequence[Any]]
    draw: Callable[[Axes], None]

    def text(self) -> str:
        """Its numbers as a CSV table; NaN is an empty cell."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(self.columns)
        for row in zip(*self.columns.values(), strict=True):
            writer.writerow(["" if value != value else _cell(value) for value in row])
        return buffer.getvalue()

    def pixels(self) -> NDArray[np.uint8]:
        """The picture, ``(H, W, 3)``. No display is needed, and no global state is changed."""
        # Here: it takes most of a second, and only who draws needs it.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        self.draw(figure.add_subplot())
        canvas.draw()  # type: ignore[no-untyped-call]  # as matplotlib has it
        pixels = canvas.buffer_rgba()  # type: ignore[no-untyped-call]  # as above
        return np.asarray(pixels)[..., :3].copy()


def _cell(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
