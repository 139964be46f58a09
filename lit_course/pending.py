"""Outputs of batches, kept until there are enough of them for the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

ROOM = 16384  # samples


class Pending:
    """Outputs, targets and losses of many batches, in memory that is taken once.

    Kept one by one, as they come, they would lie between the large tensors of every step and keep
    freed memory from being used again: processes grew by a third of what they need.
    """

    def __init__(self) -> None:
        self._outputs = _Rows()
        self._targets = _Rows()
        self._losses = _Rows(torch.float64)
        self._weights = _Rows(torch.float64)
        self._counts: list[int] = []  # the weights that are plain numbers

    @property
    def samples(self) -> int:
        """How many samples are kept."""
        return self._targets.length

    @property
    def batches(self) -> int:
        """How many batches they came in."""
        return self._losses.length

    def clear(self) -> None:
        """Forget all; the memory stays."""
        for rows in (self._outputs, self._targets, self._losses, self._weights):
            rows.length = 0
        self._counts = []

    def takes(self, outputs: Tensor, target: Tensor, weight: Tensor | int) -> bool:
        """Whether a batch is like those that are kept, so that they form one tensor."""
        return not self.batches or (
            isinstance(weight, int) == bool(self._counts)
            and self._outputs.takes(outputs)
            and self._targets.takes(target)
        )

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
        self._losses.append(loss.view(1))
        if isinstance(weight, int):
            self._counts.append(weight)
        else:
            self._weights.append(weight.view(1))

    def take(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Outputs ``(N, ...)``, targets ``(N, ...)``, float64 losses and weights; then clear."""
        kept = (self._outputs.values, self._targets.values, self._losses.values, self._divisors)
        outputs, targets, losses, weights = (values.clone() for values in kept)
        self.clear()
        return outputs, targets, losses, weights

    @property
    def _divisors(self) -> Tensor:
        losses = self._losses.values
        return losses.new_tensor(self._counts) if self._counts else self._weights.values

    def state_dict(self) -> dict[str, Any]:
        """What is kept, as tensors and plain numbers; empty if that is nothing."""
        if not self.batches:
            return {}
        return {
            "outputs": self._outputs.values.clone(),
            "targets": self._targets.values.clone(),
            "losses": self._losses.values.clone(),
            "weights": list(self._counts) or self._weights.values.clone(),
        }

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Keep what ``state_dict`` gave, and nothing else."""
        self.clear()
        if not state:
            return
        self._outputs.append(state["outputs"].to(device))
        self._targets.append(state["targets"].to(device))
        self._losses.append(state["losses"].to(device))
        if isinstance(state["weights"], list):
            self._counts = list(state["weights"])
        else:
            self._weights.append(state["weights"].to(device))


class _Rows:
    """A tensor that grows at its end, of a given dtype or that of what is appended."""

    def __init__(self, dtype: torch.dtype | None = None) -> None:
        self.length = 0
        self._dtype = dtype
        self._memory = torch.empty(0, dtype=dtype)

    @property
    def values(self) -> Tensor:
        """What was appended, ``(length, ...)``."""
        return self._memory[: self.length]

    def takes(self, values: Tensor) -> bool:
        """Whether values are of the shape, dtype and device of those before."""
        memory = self._memory
        return (
            values.shape[1:] == memory.shape[1:]
            and (self._dtype or values.dtype) == memory.dtype
            and values.device == memory.device
        )

    def append(self, values: Tensor) -> None:
        """Copy values ``(N, ...)`` to the end."""
        start, end = self.length, self.length + values.shape[0]
        if end > self._memory.shape[0] or not (start or self.takes(values)):
            kept = self._memory[:start]
            # Made in evaluation, it must also serve outside of it.
            with torch.inference_mode(False):
                shape = (end + ROOM, *values.shape[1:])
                self._memory = values.new_empty(shape, dtype=self._dtype)
            if start:
                self._memory[:start] = kept
        self._memory[start:end] = values
        self.length = end
