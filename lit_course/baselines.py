"""What a result is measured against: trivial and closed-form references of the same rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lit_course.categories import Categories, OneHot
from lit_course.scaling import ColumnStatistics, InputScaling, as_float
from lit_course.solvers import least_squares

# Above these a reference would take longer than a test may.
MOST_VALUES = 10_000_000  # rows · columns, of the logistic regression
MOST_PRODUCTS = 50_000_000_000  # rows · columns², of the least squares

# One pass over rows, in batches (x, y) or (x, y, {"weight": w}).
Read = Callable[[], Iterable[Any]]
# From columns (B, D) to probabilities (B, C) or predictions (B, K), float64.
Reference = Callable[[Tensor], Tensor]


class TrainingRows:
    """Training rows as the references take them: categories one-hot, every column standardised.

    Args:
        read: Gives the rows, again each time.
        in_features: Features per row after flattening.
        categories: Features that hold codes, see ``categories.py``.
    """

    def __init__(self, read: Read, in_features: int, categories: Categories) -> None:
        self._read = read
        self._one_hot = OneHot(in_features, categories) if categories else None
        self.width = self._one_hot.out_features if self._one_hot else in_features
        self._scaling = InputScaling(self.width)
        statistics = ColumnStatistics()
        targets, weights = [], []
        for x, y, weight in self._batches():
            statistics.update(self._coded(x))
            targets.append(y)
            weights.append(torch.ones(len(y)) if weight is None else weight)
        self._scaling.fit(statistics)
        self.y = torch.cat(targets)
        self.weight = torch.cat(weights).double()

    def _batches(self) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        for x, y, *extras in self._read():
            yield x, y, extras[0].get("weight") if extras else None

    def _coded(self, x: Tensor) -> Tensor:
        return x if self._one_hot is None else self._one_hot(x, torch.float64)

    def columns(self, x: Tensor) -> Tensor:
        """Raw features ``(B, ...)`` to columns ``(B, width)`` float64."""
        columns: Tensor = self._scaling(self._coded(x), torch.float64)
        return columns

    def batches(self) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Columns, targets ``(B, K)`` and, where there are any, weights."""
        for x, y, weight in self._batches():
            yield self.columns(x), as_float(y.reshape(len(y), -1), torch.float64), weight


def of_classes(rows: TrainingRows, num_classes: int) -> dict[str, Reference]:
    """The most frequent class (by weight), and scikit-learn's logistic regression.

    The latter as it comes, but with 100 iterations at most whether it has converged or not, and up
    to ``MOST_VALUES`` values.
    """
    frequency = torch.bincount(rows.y, rows.weight, minlength=num_classes)
    majority = torch.zeros(num_classes, dtype=torch.float64)
    majority[frequency.argmax()] = 1
    references: dict[str, Reference] = {
        "majority_class": lambda columns: majority.expand(len(columns), -1)
    }
    seen = (frequency > 0).sum()
    if len(rows.y) * rows.width <= MOST_VALUES and seen > 1:
        references["logistic_regression"] = _logistic_regression(rows, num_classes)
    return references


def of_numbers(rows: TrainingRows) -> dict[str, Reference]:
    """The (weighted) training mean, and the exact least squares up to ``MOST_PRODUCTS``."""
    y = rows.y.reshape(len(rows.y), -1).double()
    mean = (y * rows.weight[:, None]).sum(0) / rows.weight.sum()
    references: dict[str, Reference] = {
        "training_mean": lambda columns: mean.expand(len(columns), -1)
    }
    if len(y) * rows.width**2 <= MOST_PRODUCTS:
        solution = least_squares(rows.batches, rows.width, y.shape[1])
        weight, intercept = solution.weight.T, solution.intercept
        references["least_squares"] = lambda columns: columns @ weight + intercept
    return references


def _logistic_regression(rows: TrainingRows, num_classes: int) -> Reference:
    from sklearn.exceptions import ConvergenceWarning  # here: it takes a second to import
    from sklearn.linear_model import LogisticRegression

    columns = torch.cat([columns for columns, *_ in rows.batches()]).numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        kept = rows.weight.numpy() > 0  # a class of weight 0 has nothing to be fitted to
        model = LogisticRegression(max_iter=100).fit(
            columns[kept], rows.y.numpy()[kept], rows.weight.numpy()[kept]
        )

    def predict(columns: Tensor) -> Tensor:
        p = np.zeros((len(columns), num_classes))
        p[:, model.classes_] = model.predict_proba(columns.numpy())
        return torch.from_numpy(p)

    return predict
