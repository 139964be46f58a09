"""scikit-learn's look at arrays, at whichever place its version has it."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import validation


def validated(estimator: BaseEstimator, *arrays: Any, **options: Any) -> Any:
    """Features as float32, and targets if given, as ``sklearn.utils.validation.validate_data``."""
    if hasattr(validation, "validate_data"):
        return validation.validate_data(estimator, *arrays, dtype=np.float32, **options)
    return estimator._validate_data(*arrays, dtype=np.float32, **options)  # scikit-learn 1.5
