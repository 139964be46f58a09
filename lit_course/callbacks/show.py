"""Where a figure goes: a PNG with its numbers as CSV, and the image of a TensorBoard logger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_warn

from lit_course.callbacks.tensorboard import tensorboard_writers
from lit_course.figures import Chart


def show(
    trainer: Trainer, name: str, charts: Iterable[Chart], folder: Path | None, suffix: str = ""
) -> None:
    """Draw charts; one that fails is said in one line, and nothing else is lost.

    Args:
        trainer: Its ``TensorBoardLogger`` gets the image ``<name>/<chart>``, if it has one.
        name: What they are of: ``val``, ``test`` or ``train``.
        charts: The charts; making them may fail too.
        folder: For ``<name>_<chart><suffix>.png`` and ``.csv``, made when it is needed; None only
            logs.
        suffix: Of the files' names.
    """
    for chart in _made(name, charts):
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:  # said once; the log still gets them
            _warn(f"figures into {folder}", error)
            folder = None
        try:
            _show(trainer, name, chart, folder and folder / f"{name}_{chart.name}{suffix}.png")
        except Exception as error:  # no picture is worth a run
            _warn(f"{name}_{chart.name}", error)


def _made(name: str, charts: Iterable[Chart]) -> Iterator[Chart]:
    last = ""
    try:
        for chart in charts:
            last = f" after {chart.name}"
            yield chart
    except Exception as error:  # somebody's own `charts` may raise anything
        _warn(f"figures of {name}{last}", error)


def _warn(what: str, error: Exception) -> None:
    said = (str(error) or "").partition("\n")[0]
    rank_zero_warn(f"{what} could not be drawn: {type(error).__name__}: {said}")


def _show(trainer: Trainer, name: str, chart: Chart, path: Path | None) -> None:
    writers = list(tensorboard_writers(trainer))
    if path is None and not writers:
        return
    pixels = chart.pixels() if path is None else chart.write(path)
    for writer in writers:
        tag = f"{name}/{chart.name}"
        writer.add_image(tag, pixels, trainer.global_step, dataformats="HWC")
