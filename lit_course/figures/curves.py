"""Several curves in one picture: learning curves, learning rates, a loss over learning rates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lit_course.figures.chart import BLUE, ORANGE, SKY, Chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Line: TypeAlias = tuple[ArrayLike, ArrayLike]  # x (N,) and y (N,)
Read: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]

# More of Okabe and Ito's; with the styles there are 28 kinds of lines before one comes again.
COLORS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#000000", "#E69F00", SKY)
STYLES = ("-", "--", "-.", ":")
MARKERS = "ovsD^P"
MOST_DOTS = 15  # points of a line that are shown one by one


def curves(
    name: str,
    lines: Mapping[str, Line],
    *,
    xlabel: str,
    ylabel: str,
    title: str = "",
    faint: Mapping[str, Line] | None = None,
    faint_label: str = "train",
    points: Mapping[str, Line] | None = None,
    log_x: bool = False,
    log_y: bool = False,
    ylim: tuple[float, float] | None = None,
) -> Chart:
    """One line for each name, told apart by colour and by style.

    A line whose last values are not finite ends in a cross that says ``diverged``, where it was
    finite last or left the picture. A value that is not finite in between is a gap.

    Its table is long: ``curve``, ``xlabel``, ``ylabel``, a row for each value, those of ``faint``
    as ``name (faint_label)``; NaN is an empty cell.

    Args:
        name: Of the chart, a part of file names.
        lines: x ``(N,)`` and y ``(N,)`` of each, by name; N may differ.
        xlabel: What x is.
        ylabel: What y is.
        title: Above the picture.
        faint: Thin lines in the colours of their namesakes among ``lines``: training beside
            validation, single batches behind a mean.
        faint_label: What the thin lines are.
        points: Sets of single points by name: reductions of a rate, a suggestion.
        log_x: Whether x is drawn by its logarithm; values that have none are left out.
        log_y: The same of y.
        ylim: Lowest and highest y in the picture; None shows all finite ones, of a line that
            diverges as long as it is not far from everything else.

    Raises:
        ValueError: If x and y of a line differ in length, or a thin line has no namesake.
    """
    main, behind, single = _read(lines), _read(faint or {}), _read(points or {})
    if strangers := sorted(behind.keys() - main.keys()):
        raise ValueError(f"faint lines have namesakes in lines, found {strangers[0]!r}")

    def draw(axes: Axes) -> None:
        everything = [*main.values(), *behind.values(), *single.values()]
        if log_x and any((x > 0).any() for x, _ in everything):
            axes.set_xscale("log", nonpositive="mask")
        if log_y and any((y > 0).any() for _, y in everything):
            axes.set_yscale("log", nonpositive="mask")
        colors = {line: COLORS[i % len(COLORS)] for i, line in enumerate(main)}
        styles = {line: STYLES[i % len(STYLES)] for i, line in enumerate(main)}
        for line, (x, y) in behind.items():
            axes.plot(x, y, styles[line], color=colors[line], linewidth=0.9, alpha=0.5)
        for line, (x, y) in main.items():
            dots = "." if len(x) <= MOST_DOTS else ""
            axes.plot(x, y, styles[line], color=colors[line], lw=1.8, marker=dots, label=line)
        for i, (kind, (x, y)) in enumerate(single.items()):
            color = COLORS[(len(main) + i) % len(COLORS)]
            marker = MARKERS[i % len(MARKERS)]
            (hollow,) = axes.plot(x, y, marker, color=color, ms=7, mew=1.8, zorder=3, label=kind)
            hollow.set_markerfacecolor("white")
        limits = ylim or _limits([y for _, y in main.values()], log_y)
        if limits is not None:
            axes.set_ylim(*limits)
        for line, (x, y) in main.items():
            if (end := _divergence(x, y, limits)) is not None:
                _cross_out(axes, end, colors[line])
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.set_title(title)
        axes.grid(alpha=0.3)
        if behind:
            axes.plot([], [], color="gray", linewidth=0.9, label=faint_label)
        if len(main) + len(single) + len(behind) > 1:
            handles, names = _highest_first(axes, main)
            axes.legend(
                handles,
                names,
                frameon=False,
                loc="center left",
                bbox_to_anchor=(1, 0.5),
                fontsize="small",
            )

    rows = [*_rows(main), *_rows(behind, f" ({faint_label})"), *_rows(single)]
    header = ("curve", xlabel, ylabel)
    columns = {column: [row[place] for row in rows] for place, column in enumerate(header)}
    return Chart(name, columns, draw)


def _read(lines: Mapping[str, Line]) -> dict[str, Read]:
    read = {
        name: (np.asarray(x, dtype=float).ravel(), np.asarray(y, dtype=float).ravel())
        for name, (x, y) in lines.items()
    }
    for name, (x, y) in read.items():
        if len(x) != len(y):
            raise ValueError(f"{name}: {len(x)} values of x, {len(y)} of y")
    return read


def _rows(lines: Mapping[str, Read], suffix: str = "") -> Iterator[tuple[str, float, float]]:
    for name, (x, y) in lines.items():
        for place, value in zip(x.tolist(), y.tolist(), strict=True):
            yield name + suffix, place, value


def _diverged(y: NDArray[np.float64]) -> bool:
    return bool(len(y) and not np.isfinite(y[-1]))


def _limits(lines: Sequence[NDArray[np.float64]], log_y: bool) -> tuple[float, float] | None:
    """What to show where a line diverges: its last values would press all others flat."""
    if log_y or not any(map(_diverged, lines)):
        return None
    finite = [y[np.isfinite(y)] for y in lines]
    telling = [f[:1] if _diverged(y) else f for y, f in zip(lines, finite, strict=True)]
    shown, every = np.concatenate(telling), np.concatenate(finite)
    if not len(every):
        return None
    margin = (shown.max() - shown.min()) or abs(shown.max()) or 1.0
    low = max(every.min(), shown.min() - margin)
    high = min(every.max(), shown.max() + margin)
    padding = 0.05 * (high - low) or 1.0
    return low - padding, high + padding


def _divergence(
    x: NDArray[np.float64], y: NDArray[np.float64], limits: tuple[float, float] | None
) -> tuple[float, float] | None:
    """Where a line that diverges was seen last; None if it does not, or never was finite."""
    places = np.flatnonzero(np.isfinite(y))
    if not _diverged(y) or not len(places):
        return None
    last = places[-1]
    if limits is not None:
        low, high = limits
        inside = places[(y[places] >= low) & (y[places] <= high)]
        first_out = places[places > inside[-1]] if len(inside) else places
        last = first_out[0] if len(first_out) else last
        return float(x[last]), float(np.clip(y[last], low, high))
    return float(x[last]), float(y[last])


def _cross_out(axes: Axes, end: tuple[float, float], color: str) -> None:
    axes.plot(*end, "X", color=color, markersize=8, clip_on=False, zorder=4)
    left = (axes.transScale + axes.transLimits).transform(end)[0] < 0.5
    offset, ha = ((7, -3), "left") if left else ((-7, -3), "right")
    look = {"textcoords": "offset points", "va": "top", "color": color, "fontsize": "small"}
    axes.annotate("diverged", end, xytext=offset, ha=ha, **look)  # type: ignore[arg-type]


def _highest_first(axes: Axes, lines: Mapping[str, Read]) -> tuple[list[Any], list[str]]:
    """The legend, its lines in the order in which they end."""

    def height(entry: tuple[Any, str]) -> float:
        y = lines[entry[1]][1] if entry[1] in lines else np.array([])
        finite = y[np.isfinite(y)]
        if _diverged(y):
            return np.inf
        return float(finite[-1]) if len(finite) else -np.inf

    entries = sorted(zip(*axes.get_legend_handles_labels(), strict=True), key=height, reverse=True)
    return [handle for handle, _ in entries], [name for _, name in entries]
