"""What the processes of a run have, put together."""

from __future__ import annotations

from typing import TypeVar

import torch.distributed as distributed

T = TypeVar("T")


def gather(part: T) -> list[T]:
    """The parts of all processes in their order; alone, one's own. Every process must call it."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return [part]
    parts = [part] * distributed.get_world_size()
    distributed.all_gather_object(parts, part)
    return parts
