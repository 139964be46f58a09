"""Where a process was within its training, beside its weights and the Trainer's own counters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch.loops.fit_loop import _FitLoop
from lightning.pytorch.loops.loop import _Loop
from torch import Tensor, distributed

from lit_course.stage_metrics import StageMetrics


@dataclass
class Update:
    """The update under way; not in the module itself, which looks twice at what is set on it."""

    loss: Tensor | None = None  # of its batch, without penalty, once that is known
    logged: int = -1  # the number of the last update whose loss was logged


def positions(metrics: StageMetrics, device: torch.device) -> list[dict[str, Any]]:
    """Random states and the sums of an unfinished epoch, of each process, for a checkpoint.

    Args:
        metrics: Those of the training split.
        device: Where this process trains.
    """
    own = {"random": _random_states(device), "metrics": metrics.partial()}
    if not (distributed.is_available() and distributed.is_initialized()):
        return [own]
    gathered: list[dict[str, Any]] = [{}] * distributed.get_world_size()
    distributed.all_gather_object(gathered, own)
    return gathered


def take_up(
    saved: Sequence[dict[str, Any]], rank: int, metrics: StageMetrics, device: torch.device
) -> None:
    """Go on from the position that this process had.

    Args:
        saved: What ``positions`` gave; nothing is done for a process that it does not know.
        rank: Number of this process.
        metrics: Those of the training split.
        device: Where this process trains.
    """
    if rank >= len(saved):
        return
    metrics.resume(saved[rank]["metrics"])
    states = saved[rank]["random"]
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def end_epoch(loop: _FitLoop) -> None:
    """Let a fit that was saved behind an epoch go on with the next one.

    With ``max_steps`` Lightning 2.6 runs the end of the saved epoch again, and counts it twice
    (github.com/Lightning-AI/pytorch-lightning/issues/19617).
    """
    if loop.restarted_on_epoch_end:
        loop.epoch_progress.increment_completed()
        loop.reset_restart_stage()
        _Loop.restarting.fset(loop, False)  # type: ignore[attr-defined]  # the loop's own says True


def _random_states(device: torch.device) -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states
