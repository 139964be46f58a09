"""Class names as the labels that they were made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def class_labels(names: Sequence[str]) -> NDArray[Any]:
    """The labels that a data set had: whole numbers and booleans go by their text in a schema.

    >>> class_labels(["3", "10"])
    array([ 3, 10])
    >>> class_labels(["false", "true"])
    array([False,  True])
    >>> class_labels(["007", "8"]).tolist()
    ['007', '8']
    """
    if set(names) <= {"false", "true"}:
        return np.array([name == "true" for name in names])
    try:
        numbers = np.array([int(name) for name in names], dtype=np.int64)
    except (ValueError, OverflowError):
        return np.array(names)
    exact = [str(number) for number in numbers.tolist()] == list(names)  # not 007: that is text
    return numbers if exact else np.array(names)
