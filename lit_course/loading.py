"""A trained model, from its file alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lit_course import checkpoints, runs
from lit_course.closed_table import MODULES
from lit_course.modules import SupervisedModule


def load(path: str | Path, map_location: Any = "cpu") -> SupervisedModule:
    """Load a trained model, of the class that was trained, ready to predict.

    Nothing but tensors and plain values is read, whatever the file holds.

    Args:
        path: A checkpoint, or a run's folder: its ``best`` one is taken.
        map_location: Where to put the weights, as in ``torch.load``.

    Returns:
        The model in evaluation mode; call ``train()`` to go on training it with a Trainer.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: If the file is refused (see ``checkpoints.read``), or no class of lit_course's
            own wrote it.
    """
    file = runs.checkpoint_of(path)
    wrote = checkpoints.read(file, map_location="meta").get("lit_course", {}).get("class")
    if wrote is None:
        raise ValueError(f"{file} was written by none of lit_course's modules")
    if wrote not in MODULES:
        raise ValueError(
            f"{file} was written by {wrote}, which is not one of lit_course's own: import it and "
            f"call {wrote}.load_from_checkpoint({str(file)!r})"
        )
    return MODULES[wrote].load_from_checkpoint(file, map_location).eval()
