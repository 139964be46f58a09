"""Numbers that stay as precise as they are, whatever a Trainer trains in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from torch import Tensor, nn


class KeptPrecision(nn.Module):
    """A module whose buffers go along to another device, not to another precision.

    A target of 200,123 ± 1 must stay apart from its neighbours in bfloat16 too.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        moved = super()._apply(lambda value: value.to(fn(value).device), recurse)  # type: ignore[no-untyped-call]  # as torch has it
        assert moved is self
        return self
