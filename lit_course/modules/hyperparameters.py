"""Plain hyperparameters: what a checkpoint, a YAML file and TensorBoard can all hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def check_size(name: str, value: int | None, least: int) -> None:
    """Refuse a size below ``least``; None is not known yet."""
    if value is not None and value < least:
        raise ValueError(f"{name} must be at least {least}, found {value}")


def plain(name: str, value: Any) -> Any:
    """Turn a hyperparameter into ``str | int | float | bool | None | list | dict``.

    Tuples, other sequences (Hydra's lists are no ``list``) and NumPy arrays become lists, NumPy
    scalars numbers, paths strings, so that every checkpoint loads with ``weights_only=True``.

    Args:
        name: Its name, for the message.
        value: Its value.

    Raises:
        TypeError: If it is anything else: a function, a class, a tensor, a module.
    """
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(name, item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(f"{name}.{key}", item) for key, item in value.items()}
    raise TypeError(
        f"{name} must be a plain value (text, number, list, mapping), found "
        f"{type(value).__name__}: for a network, loss or metric of your own, subclass and "
        "override configure_network, configure_loss or configure_metrics"
    )
