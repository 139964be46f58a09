"""Outputs of batches, kept until there are enough of them for the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

ROOM = 16384  # samples


class Pending:
    """Outputs, targets and losses of many batches, outputs and targets in memory taken once.

    Kept one by one, as they come, they would lie between the large tensors of every step and keep
    freed memory from being used again: processes grew by a third of what they need.
    """

    def __init__(self) -> None:
        self._outputs = _Rows()
        self._targets = _Rows()
        self._losses: list[Tensor] = []
        self._weights: list[Tensor | int] = []

    @property
    def samples(self) -> int:
        """How many samples are kept."""
        return self._targets.length

    @property
    def batches(self) -> int:
        """How many batches they came in."""
        return len(self._losses)

    def clear(self) -> None:
        """Forget all; the memory stays."""
        self._outputs.length = self._targets.length = 0
        self._losses, self._weights = [], []

    def takes(self, outputs: Tensor, target: Tensor) -> bool:
        """Whether a batch is like those that are kept, so that they form one tensor."""
        return not self._losses or (self._outputs.takes(outputs) and self._targets.takes(target))

    def add(self, outputs: Tensor, target: Tensor, loss: Tensor, weight: Tensor | int) -> None:
        """Keep one batch.

        Args:
            outputs: ``(B, ...)``.
            target: ``(B, ...)``.
            loss: The mean loss of the batch.
            weight: What that mean was divided by.
        """
        self._outputs.append(outputs)
        self._targets.append(target)
        self._losses.append(loss)
        self._weights.append(weight)

    def take(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Outputs ``(N, ...)``, targets ``(N, ...)``, float64 losses and weights; then clear."""
        outputs, targets = self._outputs.values.clone(), self._targets.values.clone()
        losses = torch.stack(self._losses).double()
        measured = [weight for weight in self._weights if isinstance(weight, Tensor)]
        weights = torch.stack(measured) if measured else losses.new_tensor(self._weights)
        self.clear()
        return outputs, targets, losses, weights

    def state_dict(self) -> dict[str, Any]:
        """What is kept, as tensors and plain numbers; empty if that is nothing."""
        if not self._losses:
            return {}
        return {
            "outputs": self._outputs.values.clone(),
            "targets": self._targets.values.clone(),
            "losses": torch.stack(self._losses),
            "weights": list(self._weights),
        }

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Keep what ``state_dict`` gave, and nothing else."""
        self.clear()
        if state:
            self._outputs.append(state["outputs"].to(device))
            self._targets.append(state["targets"].to(device))
            self._losses = list(state["losses"].to(device))
            weights = list(state["weights"])
            self._weights = [w.to(device) if isinstance(w, Tensor) else w for w in weights]


class _Rows:
    """A tensor that grows at its end."""

    def __init__(self) -> None:
        self.length = 0
        self._memory = torch.empty(0)

    @property
    def values(self) -> Tensor:
        """What was appended, ``(length, ...)``."""
        return self._memory[: self.length]

    def takes(self, values: Tensor) -> bool:
        """Whether values are of the shape, dtype and device of those before."""
        memory = self._memory
        return (
            values.shape[1:] == memory.shape[1:]
            and values.dtype == memory.dtype
            and values.device == memory.device
        )

    def append(self, values: Tensor) -> None:
        """Copy values ``(N, ...)`` to the end."""
        start, end = self.length, self.length + len(values)
        if end > len(self._memory) or not (start or self.takes(values)):
            kept = self._memory[:start]
            # Made in evaluation, it must also serve outside of it.
            with torch.inference_mode(False):
                self._memory = values.new_empty(end + ROOM, *values.shape[1:])
            if start:
                self._memory[:start] = kept
        self._memory[start:end] = values
        self.length = end
