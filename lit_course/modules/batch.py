"""The batch contract: ``(x, y)`` or ``(x, y, extras)``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def unpack(batch: Any) -> tuple[Tensor, Tensor, Tensor | None]:
    """Inputs, targets and, where there are any, the weights of the samples ``(B,)``.

    Raises:
        TypeError: If it is neither ``(x, y)`` nor ``(x, y, extras)`` with named extras.
        ValueError: If there is not one weight for each sample: torch would broadcast.
    """
    if not isinstance(batch, list | tuple) or len(batch) not in (2, 3):
        raise TypeError(
            f"a batch must be (x, y) or (x, y, extras), found {type(batch).__name__}"
            + (f" of {len(batch)}" if isinstance(batch, list | tuple) else "")
        )
    if len(batch) == 2:
        return batch[0], batch[1], None
    x, y, extras = batch
    if not isinstance(extras, Mapping):
        raise TypeError(
            f"extras of a batch must be a mapping, found {type(extras).__name__}: give weights of "
            'samples as (x, y, {"weight": w})'
        )
    weight = extras.get("weight")
    shape = getattr(weight, "shape", ())
    if weight is not None and shape != y.shape[:1]:
        raise ValueError(
            f"weights must be of shape ({len(y)},), found {tuple(shape)}: give one for each sample"
        )
    return x, y, weight


def check_weight(weight: Tensor) -> None:
    """Refuse weights of samples that are negative or not finite."""
    wrong = ~(weight.isfinite() & (weight >= 0))
    if wrong.any():
        raise ValueError(
            f"weights must be finite and not negative, found {float(weight[wrong][0])}"
        )
