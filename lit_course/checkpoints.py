"""Checkpoint files: read safely, refused in words."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch


def read(path: Path) -> dict[str, Any]:
    """Read a checkpoint of one of our modules; tensors and plain values only, no code.

    Args:
        path: The file.

    Raises:
        ValueError: If it is damaged, holds more than tensors and plain values, or is not ours.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, UnpicklingError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{path} is no readable checkpoint: it is damaged, or holds more than plain values\n"
            f"({reason[:200]})"
        ) from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise ValueError(f"{path} is no checkpoint: it holds no state_dict")
    return checkpoint
