"""Where a classifier of two classes draws the line: given, or found on the validation split."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from lit_course.decisions import DecisionMetrics
from lit_course.kept_precision import KeptPrecision

GivenThreshold = float | Literal["tune"]


class DecisionThreshold(KeptPrecision):
    """What the probability of class 1 must be above for it to be the answer.

    A tuned one is part of the weights; a given one is a hyperparameter.

    Args:
        given: In [0, 1); or ``tune``, which is 0.5 until the first validation.

    Raises:
        ValueError: If it is anything else.
    """

    value: Tensor

    def __init__(self, given: GivenThreshold) -> None:
        super().__init__()
        self.is_tuned = given == "tune"
        if not self.is_tuned and (isinstance(given, str) or not 0 <= given < 1):
            raise ValueError(f"threshold must be in [0, 1), or 'tune', found {given!r}")
        value = torch.tensor(0.5 if isinstance(given, str) else float(given))
        self.register_buffer("value", value, persistent=self.is_tuned)

    def get(self) -> float:
        """The present threshold."""
        return float(self.value)

    def tune(self, metrics: DecisionMetrics) -> bool:
        """Take the one with the best F1 on what the metrics were fed with, if there is one."""
        best = metrics.best_threshold()
        if best is not None:
            self.value.fill_(best)
        return best is not None
