"""Lesson 8: weights, training state, exported program; and what unpickling may do."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from lit_course import checkpoints
from lit_course.course.lesson import Lesson, Run, Table
from lit_course.course.ran import Ran
from lit_course.figures import Chart
from lit_course.figures.chart import COLORS
from lit_course.networks import load_network

FILES = {"checkpoint": "best.ckpt", "state_dict": "weights.pt", "torch_export": "program.pt2"}
TRACE = "a_stranger_was_here.txt"


class Stranger:
    """What says, when it is unpickled, which function is to be called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        """Here a file is written; it might as well be anything else."""
        return open, (str(self.folder / TRACE), "w")


def answer(ran: Mapping[str, Ran]) -> Iterator[Table | Chart]:
    """What each file holds and needs; that all answer alike; and the stranger's file."""
    run = ran["saved"]
    lesson = run.folder.parents[1]
    paths = [
        run.folder / "checkpoints" / "best.ckpt",
        lesson / "weights.pt",
        lesson / "program.pt2",
    ]
    x, _ = run.rows("test")
    model = run.model()
    with torch.inference_mode():
        expected = model(x).softmax(1)
        answers = [
            expected,
            load_network(paths[1])(x).softmax(1),
            torch.export.load(paths[2]).module()(x)[1],  # behind the class
        ]
    yield Table(
        "files",
        "Three ways to save the same model",
        {
            "file": list(FILES),
            "bytes": [path.stat().st_size for path in paths],
            "needed to load it": ["lit_course", "lit_course's networks", "torch"],
            "training can go on": [True, False, False],
            "largest difference of a probability": [
                float((a - expected).abs().max()) for a in answers
            ],
        },
    )
    contents = sizes(run.checkpoint("best"))
    yield Table("checkpoint", "What a checkpoint keeps", contents)
    yield kept(contents)
    yield Table("stranger", "A stranger's file, opened in two ways", dict(stranger(lesson)))


def sizes(checkpoint: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Numbers and bytes of the tensors in each part of a checkpoint."""
    parts = {
        "weights": checkpoint["state_dict"],
        "optimizer": checkpoint["optimizer_states"],
        "everything else": {
            k: v for k, v in checkpoint.items() if k not in ("state_dict", "optimizer_states")
        },
    }
    found = {name: list(tensors(part)) for name, part in parts.items()}
    return {
        "part": list(found),
        "numbers": [sum(t.numel() for t in each) for each in found.values()],
        "bytes": [sum(t.nbytes for t in each) for each in found.values()],
    }


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """All tensors in nested mappings and lists."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors(item)


def kept(contents: Mapping[str, list[Any]]) -> Chart:
    """The parts of a checkpoint by their size."""

    def draw(axes: Any) -> None:
        kilobytes = [size / 1000 for size in contents["bytes"]]
        bars = axes.barh(contents["part"], kilobytes, color=COLORS[: len(kilobytes)])
        axes.bar_label(bars, fmt=lambda size: f" {size:,.0f} kB")
        axes.invert_yaxis()
        axes.margins(x=0.15)
        axes.set(xlabel="kB of tensors", title="What a checkpoint keeps, trained with AdamW")
        axes.grid(axis="x", alpha=0.3)

    return Chart("checkpoint", contents, draw)


def stranger(folder: Path) -> Iterator[tuple[str, list[Any]]]:
    """Open a file that calls a function: as the documents do, and as lit_course does."""
    path, trace = folder / "stranger.ckpt", folder / TRACE
    torch.save({"state_dict": Stranger(folder)}, path)
    said = []
    written = []
    for load in (_as_the_documents, checkpoints.read):
        trace.unlink(missing_ok=True)
        try:
            load(path)
            said.append("opened")
        except (ValueError, pickle.UnpicklingError) as error:
            said.append("refused: " + str(error).partition("\n")[0].replace(f"{path} ", ""))
        written.append(trace.exists())
    trace.unlink(missing_ok=True)
    yield "opened by", ["torch.load(weights_only=False)", "lit_course"]
    yield "it wrote a file of its own", written
    yield "outcome", said


def _as_the_documents(path: Path) -> None:
    loaded = torch.load(path, weights_only=False)
    loaded["state_dict"].close()


EXPORT = "export --ckpt_path {saved} --output {folder}/"
LESSON = Lesson(
    runs={
        "saved": Run("fit --config configs/mlp_digits.yaml --trainer.max_epochs 5 --figures false"),
        "weights": Run(f"{EXPORT}weights.pt --format state_dict"),
        "program": Run(f"{EXPORT}program.pt2"),
    },
    answer=answer,
)
