"""What a run of a lesson left: its numbers by epoch, its metrics, its weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from lit_course import checkpoints, loading
from lit_course.modules import SupervisedModule


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
    def _events(self) -> Any:
        # tensorboard ships no type information.
        from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
            EventAccumulator,
        )

        return EventAccumulator(str(self.folder), size_guidance={"scalars": 0}).Reload()

    def scalars(self) -> list[str]:
        """Names of all that was logged."""
        names: list[str] = self._events.Tags()["scalars"]
        return names

    def series(self, name: str) -> list[float]:
        """A value in the order in which it was logged; losses of an epoch, rates of an update."""
        return [event.value for event in self._events.Scalars(name)]

    def steps(self, name: str) -> list[int]:
        """The update after which each was logged."""
        return [event.step for event in self._events.Scalars(name)]

    def metrics(self, verb: str = "fit") -> dict[str, float]:
        """The final numbers of a verb."""
        path = self.folder / f"{verb}_metrics.json"
        found: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def model(self) -> SupervisedModule:
        """The model of its best checkpoint."""
        return loading.load(self.folder)

    def checkpoint(self, which: str = "last") -> dict[str, Any]:
        """The contents of ``best`` or ``last``."""
        return checkpoints.read(self.folder / "checkpoints" / f"{which}.ckpt")

    def weights(self, which: str = "last") -> dict[str, Tensor]:
        """The network's parameters and buffers by name."""
        state: dict[str, Tensor] = self.checkpoint(which)["state_dict"]
        return state
