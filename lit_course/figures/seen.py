"""What figures are drawn from: the answers to a whole split."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS = 10_000  # the most answers that are kept
TILES = 25  # the most inputs that are drawn as images

Rows = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Seen:
    """Answers and targets of a split.

    Args:
        split: ``train``, ``val`` or ``test``.
        of: What a picture says it is of: ``test split, 10,000 of 60,000 samples``.
        rows: Arrays ``(N, ...)`` by name: ``target``, the answers as the step returned them, and
            ``input`` ``(N, 1)`` where there is one feature. In the order of the split, all or a
            uniform sample; finite.
        count: How many samples the split has.
        confusion: Counts ``(C, C)`` of all samples, true class by answer; None if there are no
            probabilities of classes.
        examples: As ``rows``, with images as ``input``: some at random; empty without images.
        mistakes: The same, wrongly classified, the least probable true class first.
        image_shape: Channels, height and width of an input that is an image.
    """

    split: str
    of: str
    rows: Rows
    count: int
    confusion: NDArray[np.int64] | None = None
    examples: Rows = field(default_factory=dict)
    mistakes: Rows = field(default_factory=dict)
    image_shape: tuple[int, ...] | None = None
