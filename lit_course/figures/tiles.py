"""Many small images in one picture, each with a line or two of words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lit_course.figures.chart import BLUE, ORANGE, Chart, caption, distinct, label
from lit_course.figures.seen import TILES, Rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ACROSS = 5
MOST_UNITS = 64  # of a heat map
_MOST_PIXELS = 96  # of an image's height and width; of more every n-th is drawn


def classified(
    name: str, title: str, rows: Rows, names: Sequence[str], shape: Sequence[int], of: str = ""
) -> Chart | None:
    """Images with the class that is the answer, its probability, and the true class.

    Args:
        name: Of the chart.
        title: Of the picture.
        rows: ``input``, ``target``, ``class``, ``probabilities`` and ``place`` of each image.
        names: Of the classes.
        shape: Channels, height and width of an image.
        of: What they are of, in words.
    """
    if not len(rows.get("target", ())):
        return None
    target, answer, p = rows["target"], rows["class"], rows["probabilities"]
    everyone = np.arange(len(target))
    columns = {
        "sample": (rows["place"] % 2**40).tolist(),
        "true": [names[c] for c in target],
        "answer": [names[c] for c in answer],
        "probability_of_answer": p[everyone, answer].tolist(),
        "probability_of_true": p[everyone, target].tolist(),
    }
    lines = []
    for said, true, likely in zip(answer, target, columns["probability_of_answer"], strict=True):
        said_so = f"{label(names[said], 11)} {likely:.2f}"
        lines.append(said_so if said == true else f"{said_so}\nis {label(names[true], 11)}")
    colors = [BLUE if good else ORANGE for good in answer == target]
    images = _as_pictures(rows["input"].reshape(len(target), *shape))
    height = 2 if (answer != target).any() else 1

    def draw(axes: Axes) -> None:
        caption(axes, title, of)
        _draw_tiles(axes, images, lines, colors, height)

    return Chart(name, columns, draw, _size(images, height))


def weight_images(
    weight: ArrayLike, shape: Sequence[int], units: Sequence[str] | None = None, of: str = ""
) -> Chart:
    """What each unit of a first layer looks for, as an image: red adds to it, blue takes away.

    Args:
        weight: ``(units, features)``; the units with the largest are drawn.
        shape: Channels, height and width of an input; channels are averaged.
        units: Names of the units; None numbers them.
        of: What they are of, in words.
    """
    weight = np.asarray(weight, dtype=float)
    chosen = _largest(weight, TILES)
    names = [f"unit {u}" if units is None else units[u] for u in chosen]
    columns = dict(zip(distinct(names), weight[chosen].tolist(), strict=True))
    maps = weight[chosen].reshape(len(chosen), *shape).mean(1)
    maps = maps / (np.abs(maps).max((1, 2), keepdims=True) + 1e-30)
    title = "First layer: what each unit looks for"
    if len(chosen) < len(weight):
        of = f"{of}, {len(chosen)} of {len(weight)} units, those with the largest weights"

    def draw(axes: Axes) -> None:
        from matplotlib import colormaps

        caption(axes, title, of)
        pictures = colormaps["RdBu_r"]((maps + 1) / 2)[..., :3]
        _draw_tiles(axes, pictures, [label(name, 12) for name in names], ["black"] * len(names), 1)

    return Chart("first_layer", columns, draw, _size(maps, 1))


def weight_map(
    weight: ArrayLike, features: Sequence[str], units: Sequence[str] | None = None, of: str = ""
) -> Chart:
    """Weights of a first layer, feature by unit.

    Args:
        weight: ``(units, features)``.
        features: Names of the features.
        units: Names of the units; None numbers them.
        of: What they are of, in words.
    """
    weight = np.asarray(weight, dtype=float)
    chosen = _largest(weight, MOST_UNITS)
    if len(chosen) < len(weight):
        of = f"{of}, {len(chosen)} of {len(weight)} units, those with the largest weights"
    names = [f"unit {u}" if units is None else units[u] for u in chosen]
    weight = weight[chosen].T
    columns = dict(
        zip(distinct(["feature", *names]), [list(features), *weight.T.tolist()], strict=True)
    )
    most = max(np.abs(weight).max(), 1e-30)

    def draw(axes: Axes) -> None:
        picture = axes.imshow(
            weight, cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto", interpolation="nearest"
        )
        axes.set_yticks(range(len(features)), [label(f, 20) for f in features], fontsize=8)
        if units is not None:
            axes.set_xticks(range(len(names)), [label(n) for n in names], fontsize=8)
        else:
            axes.set_xticks([])
        axes.set_xlabel("class" if units is not None else f"{len(names)} units")
        axes.figure.colorbar(picture, ax=axes, label="weight")
        caption(axes, "First layer: the weight of each feature in each unit", of)

    return Chart("first_layer", columns, draw, (6.4, max(3.2, 0.18 * len(features) + 1.4)))


def _largest(weight: NDArray[np.float64], most: int) -> NDArray[np.intp]:
    """The units with the largest weights, in their order."""
    return np.sort(np.argsort(-np.linalg.norm(weight, axis=1), kind="stable")[:most])


def _size(images: NDArray[Any], lines: int) -> tuple[float, float]:
    down = -(-len(images) // ACROSS)
    ratio = min(2.0, max(0.5, images.shape[1] / images.shape[2]))
    return 6.4, round(0.7 + down * (1.2 * ratio + 0.17 * lines), 1)


def _as_pictures(images: NDArray[Any]) -> NDArray[np.float64]:
    """Images ``(N, C, H, W)`` as ``(N, H, W)`` or ``(N, H, W, 3)``, from 0 to 1."""
    step = -(-max(images.shape[2:]) // _MOST_PIXELS)
    images = np.moveaxis(images[..., ::step, ::step], 1, -1)
    images = np.nan_to_num(images.astype(float)) / (255 if images.dtype == np.uint8 else 1)
    if images.min() < 0 or images.max() > 1:
        images = (images - images.min()) / (np.ptp(images) or 1)
    return images[..., 0] if images.shape[-1] == 1 else images


def _draw_tiles(
    axes: Axes, images: NDArray[Any], lines: Sequence[str], colors: Sequence[str], height: int
) -> None:
    rows, columns = images.shape[1:3]
    gap = max(1, columns // 8)
    room = round(columns * 0.16 * height) + gap  # above each image, for its words
    down = -(-len(images) // ACROSS)
    shape = (down * (rows + room), ACROSS * (columns + gap) - gap, *images.shape[3:])
    canvas = np.ones(shape)
    for number, (image, line, color) in enumerate(zip(images, lines, colors, strict=True)):
        top = number // ACROSS * (rows + room) + room
        left = number % ACROSS * (columns + gap)
        canvas[top : top + rows, left : left + columns] = image
        middle = left + columns / 2 - 0.5
        font: dict[str, Any] = {"fontsize": 8, "color": color, "in_layout": False}
        axes.text(middle, top - 0.7, line, ha="center", va="bottom", **font)
    axes.imshow(canvas, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()
