"""What a run of a lesson left: its numbers by epoch, its metrics, its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lit_course import checkpoints, loading
from lit_course.closed_table import DATAMODULES
from lit_course.recorded import Recorded, read_run


@dataclass(frozen=True)
class Ran:
    """A run that has ended.

    Args:
        folder: Where it wrote.
        seconds: How long it took.
        diverged: What was said when it diverged; None if it did not.
    """

    folder: Path
    seconds: float = 0.0
    diverged: str | None = None

    @cached_property
    def recorded(self) -> Recorded:
        """Its curves, numbers and configuration."""
        return read_run(self.folder)

    def series(self, name: str) -> list[float]:
        """The values of a curve, in the order in which they were logged."""
        values: list[float] = self.recorded.curves[name][1].tolist()
        return values

    def metrics(self, verb: str = "fit") -> Mapping[str, float]:
        """The final numbers of a verb; those of a fit are of its best checkpoint."""
        return self.recorded.metrics[verb]

    def model(self) -> Any:
        """The model of its best checkpoint."""
        return loading.load(self.folder)

    def rows(self, split: str) -> tuple[Tensor, Tensor]:
        """Features and targets of a split of its data: ``train``, ``val`` or ``test``."""
        of = self.recorded.config["data"]
        data = DATAMODULES[of["class_path"].rpartition(".")[2]](**of["init_args"])
        data.prepare_data()
        data.setup()
        x, y = zip(*((x, y) for x, y, *_ in getattr(data, f"{split}_dataloader")()), strict=True)
        return torch.cat(x), torch.cat(y)

    def checkpoint(self, which: str = "last") -> dict[str, Any]:
        """The contents of ``best`` or ``last``."""
        return checkpoints.read(self.folder / "checkpoints" / f"{which}.ckpt")

    def weights(self, which: str = "last") -> dict[str, Tensor]:
        """The network's parameters and buffers by name."""
        state: dict[str, Tensor] = self.checkpoint(which)["state_dict"]
        return state
