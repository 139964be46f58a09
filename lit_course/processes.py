"""Which of a machine's processes this is, known before any of them talks to another."""

from __future__ import annotations

import os


def local_rank() -> int:
    """Number of this process on its machine, as the Trainer, torchrun or SLURM gave it; else 0."""
    given = (os.environ.get(name) for name in ("LOCAL_RANK", "SLURM_LOCALID"))
    return next((int(number) for number in given if number), 0)
