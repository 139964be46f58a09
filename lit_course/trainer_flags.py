"""Values of the Trainer that Lightning takes without a word and cannot work with.

It checks many values itself, in words; these it divides by, ignores, or ends at once with.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

from lit_course.messages import UsageError

# From a number to the least and the most that it may be, and in words.
RANGES: dict[str, tuple[float, float, str]] = {
    "accumulate_grad_batches": (1, inf, "at least 1"),
    "check_val_every_n_epoch": (1, inf, "at least 1"),
    "gradient_clip_val": (0, 1e38, "a finite number, 0 for no clipping"),
    "log_every_n_steps": (0, inf, "at least 0"),
    "num_sanity_val_steps": (-1, inf, "at least -1, which is all"),
    "val_check_interval": (1e-9, inf, "above 0"),
}
# What a verb works on: zero of it is nothing to do.
AMOUNTS = {
    "fit": ("max_epochs", "max_steps", "limit_train_batches"),
    "validate": ("limit_val_batches",),
    "test": ("limit_test_batches",),
    "predict": ("limit_predict_batches",),
}


def check_trainer(verb: str, flags: Mapping[str, Any], then_test: bool) -> None:
    """Refuse values with which a run would break late, or do nothing and call it done.

    Args:
        verb: ``fit``, ``validate``, ``test`` or ``predict``.
        flags: The Trainer's arguments.
        then_test: Whether a fit shall end with a test of its best checkpoint.

    Raises:
        UsageError: Naming the flag.
    """
    for name, (least, most, words) in RANGES.items():
        value = flags.get(name)
        if isinstance(value, int | float) and not least <= value <= most:
            raise UsageError(f"trainer.{name} must be {words}, found {value}")
    for name in AMOUNTS[verb] + (AMOUNTS["test"] if then_test else ()):
        # A fast_dev_run has amounts of its own.
        if flags.get(name) == 0 and not flags.get("fast_dev_run"):
            raise UsageError(f"trainer.{name} 0 leaves nothing to do: raise it, or leave it out")
    if flags.get("barebones"):
        raise UsageError(
            "trainer.barebones switches off logs, metrics and checkpoints, all that a run leaves: "
            "use it with a Trainer in Python"
        )
    strategy = str(flags.get("strategy"))
    if strategy.startswith(("ddp_spawn", "ddp_fork", "ddp_notebook")):
        raise UsageError(f"strategy {strategy} is for notebooks: give --trainer.strategy ddp")
    if then_test and flags.get("enable_checkpointing") is False:
        raise UsageError(
            "test_best and cross_validate test the best checkpoint: leave enable_checkpointing on"
        )


def check_folds(number: int, flags: Mapping[str, Any], resumes: bool) -> None:
    """Refuse a cross-validation that cannot be one.

    Args:
        number: Number of folds.
        flags: The Trainer's arguments.
        resumes: Whether a checkpoint is given.

    Raises:
        UsageError: Saying why.
    """
    if number < 2:
        raise UsageError(f"cross_validate is a number of folds, at least 2, found {number}")
    if resumes:
        raise UsageError(
            "cross_validate trains every fold from the start, and a checkpoint has seen the rows "
            "that it would be tested on: leave ckpt_path out"
        )
    limit = flags.get("limit_test_batches")  # an integer counts batches, 1.0 is all
    if limit is not None and (isinstance(limit, int) or limit < 1):
        raise UsageError("cross_validate tests every row once: leave limit_test_batches out")
    if flags.get("fast_dev_run"):
        raise UsageError("a fast_dev_run reports nothing: leave it or cross_validate out")
