"""A picture of numbers, with the numbers beside it."""

from __future__ import annotations

import csv
import io
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

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
        size: Width and height in inches of 120 dots.
    """

    name: str
    columns: Mapping[str, Sequence[Any]]
    draw: Callable[[Axes], None]
    size: tuple[float, float] = SIZE

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

        figure = Figure(figsize=self.size, dpi=DPI, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        with warnings.catch_warnings():
            # A name in letters that the font lacks is drawn as boxes; the table has it.
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            self.draw(figure.add_subplot())
            canvas.draw()  # type: ignore[no-untyped-call]  # as matplotlib has it
        pixels = canvas.buffer_rgba()  # type: ignore[no-untyped-call]  # as above
        return np.asarray(pixels)[..., :3].copy()

    def write(self, path: Path) -> NDArray[np.uint8]:
        """Draw into a PNG, the numbers beside it as ``.csv``; each file is the old one or whole.

        Args:
            path: Of the PNG, in a folder that is there.

        Returns:
            The picture, as ``pixels``.
        """
        pixels, partial = self.pixels(), path.with_suffix(".part")
        try:
            partial.write_text(self.text(), encoding="utf-8")
            os.replace(partial, path.with_suffix(".csv"))
            Image.fromarray(pixels).save(partial, format="png")
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        return pixels


def caption(axes: Axes, title: str, of: str) -> None:
    """Head a picture with what it shows, and beneath it of which samples."""
    axes.figure.suptitle(title, fontsize=12)
    axes.set_title(of, fontsize=9, color=GREY)


def beside(axes: Axes, share: float, below: bool = False) -> Axes:
    """Smaller axes to the right, or below, with the same scale on the side that they touch.

    Args:
        axes: What is there; it makes room.
        share: Width of the new ones, or height, as a part of that of the others.
        below: Whether they are below.
    """
    place = axes.get_subplotspec()
    assert place is not None
    if below:
        parts = place.subgridspec(2, 1, height_ratios=(1, share))
    else:
        parts = place.subgridspec(1, 2, width_ratios=(1, share))
    axes.set_subplotspec(parts[0])
    shared = {"sharex": axes} if below else {"sharey": axes}
    return axes.figure.add_subplot(parts[1], **shared)


def label(name: object, length: int = 14) -> str:
    """A name as it can be drawn: on one line, cut in the middle where it is long, no formula."""
    text = " ".join(str(name).split())
    if len(text) > length:  # long names often differ at their ends
        end = (length - 1) // 3
        text = f"{text[: length - 1 - end]}…{text[-end:]}"
    return text.replace("$", r"\$")


def distinct(names: Iterable[str]) -> list[str]:
    """Names as titles of columns: equal ones get a number."""
    found: dict[str, None] = {}
    for name in names:
        title, number = name, 2
        while title in found:
            title, number = f"{name} ({number})", number + 1
        found[title] = None
    return list(found)


def _cell(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
