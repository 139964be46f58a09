"""Commands in processes of their own, as a shell starts them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.program import TERMINAL
from benchmarks.results import ROOT

# The console script where the package is installed, so that its own start is in the figures.
_SCRIPT = Path(sys.executable).parent / "lit-course"
LIT_COURSE = [str(_SCRIPT)] if _SCRIPT.is_file() else [sys.executable, "-m", "lit_course"]


def python(code: str) -> list[str]:
    """A program of one line."""
    return [sys.executable, "-c", code]


def seconds(command: list[str], variables: Mapping[str, str] = TERMINAL) -> float:
    """Seconds from the start of a process to its end."""
    started = time.perf_counter()
    output(command, variables)
    return time.perf_counter() - started


def output(command: list[str], variables: Mapping[str, str] = TERMINAL) -> str:
    """What a process writes to its standard output.

    Raises:
        RuntimeError: If it fails.
    """
    environment = {**os.environ, **variables, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout
