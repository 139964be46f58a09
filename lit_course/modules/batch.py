"""The batch contract: ``(x, y)`` or ``(x, y, extras)``."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def unpack(batch: Any) -> tuple[Tensor, Tensor]:
    """Inputs and targets of a batch ``(x, y)`` or ``(x, y, extras)``.

    Raises:
        TypeError: If it is anything else.
    """
    if not isinstance(batch, list | tuple) or len(batch) not in (2, 3):
        raise TypeError(
            f"a batch must be (x, y) or (x, y, extras), found {type(batch).__name__}"
            + (f" of {len(batch)}" if isinstance(batch, list | tuple) else "")
        )
    return batch[0], batch[1]
