"""What the regressors for scikit-learn share: their targets and answers."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin

from lit_course.modules.regressor import Regressor
from lit_course.sklearn.base import LitEstimator
from lit_course.sklearn.validation import validated


class RegressorEstimator(RegressorMixin, LitEstimator):  # type: ignore[misc]
    """An estimator of one target or several. Abstract."""

    module_: Regressor

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train on rows ``(N, D)`` and targets ``(N,)`` or ``(N, K)``.

        Args:
            X: Finite numbers, an array or a DataFrame.
            y: Finite numbers.
            sample_weight: Weight of each row in the loss, ``(N,)``, not negative.

        Raises:
            ValueError: If the data or an argument is refused, in one line.
        """
        x, given = validated(self, X, y, multi_output=True, y_numeric=True, ensure_min_samples=2)
        self._single = given.ndim == 1
        outputs = 1 if self._single else given.shape[1]
        return self._fit(x, given.astype(np.float32), sample_weight, {"out_features": outputs})

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """The targets of each row in their units, of the shape that ``fit`` was given."""
        outputs = self._asked(X)
        answers = self.module_.answer(outputs)
        return answers[:, 0].numpy() if self._single else answers.numpy()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
