"""A data set in memory, refused at the door where no model could learn from it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lit_course.scaling import rows_per_piece


@dataclass(frozen=True, eq=False)
class Samples:
    """Features and targets of a data set, with their names; checked once, when made.

    Args:
        x: Raw features, ``(N, D)`` or ``(N, C, H, W)``, uint8 or float32.
        y: Class labels ``(N,)`` int64, or values ``(N,)`` or ``(N, k)`` float32.
        num_classes: Number of classes; ``None`` means regression.
        feature_names: Name of each feature after flattening.
        class_names: Name of each class.
        target_names: Name of each target.
        first_row: The number that messages give to the first row.
        labelled: Which rows have a target, ``(N,)`` bool; all, if not given. The others can only
            be predicted.
        weight: Weight of each sample in the loss, ``(N,)`` float32, not negative; ``None`` weighs
            all alike.
        group: Number of the query that each row is an item of, ``(N,)`` int64: from 0 in data-set
            order, the rows of a query together; ``None`` where rows belong to no query.
        query_names: Name of each query; their numbers, if not given.

    Raises:
        ValueError: If shapes, dtypes or values break this contract; the first offending row is
            named.
    """

    x: Tensor
    y: Tensor
    num_classes: int | None = None
    feature_names: list[str] | None = None
    class_names: list[str] | None = None
    target_names: list[str] | None = None
    first_row: int = 0
    labelled: Tensor | None = None
    weight: Tensor | None = None
    group: Tensor | None = None
    query_names: list[str] | None = None

    def __post_init__(self) -> None:
        self._check_features()
        if self.group is not None:
            self._check_group(self.group)
        if self.weight is not None:
            self._check_weight(self.weight)
        if self.num_classes is None:
            self._check_values()
        else:
            self._check_labels(self.num_classes)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def in_features(self) -> int:
        """Number of features of a sample after flattening."""
        return self.x.shape[1:].numel()

    @property
    def schema(self) -> dict[str, Any]:
        """Names of features, classes and targets, as plain data."""
        return {
            "feature_names": self.feature_names,
            "class_names": self.class_names,
            "target_names": self.target_names,
        }

    def _check_features(self) -> None:
        if self.x.ndim < 2:
            raise ValueError(
                f"X must be a table with one row per sample, found shape {tuple(self.x.shape)}: "
                "reshape a single feature to (N, 1)."
            )
        if self.x.dtype not in (torch.uint8, torch.float32):
            raise ValueError(f"X must be uint8 or float32, found {self.x.dtype}: convert it.")
        if self.y.ndim == 0 or len(self.x) != len(self.y):
            raise ValueError(
                f"X and y must have one row per sample, found shapes {tuple(self.x.shape)} and "
                f"{tuple(self.y.shape)}."
            )
        if len(self) == 0 or self.in_features == 0:
            raise ValueError(
                f"At least 1 row and 1 feature are needed, found {len(self)} and "
                f"{self.in_features}."
            )
        _check_names("feature_names", self.feature_names, self.in_features)
        self._check_finite("X", self.x.flatten(1), self.feature_names)

    def _check_values(self) -> None:
        if self.y.dtype != torch.float32:
            raise ValueError(
                f"Targets of a regression must be float32, found {self.y.dtype}: convert them, "
                "or give num_classes if they are class labels."
            )
        num_targets = self.y.shape[1:].numel()
        if self.y.ndim > 2 or num_targets == 0:
            raise ValueError(
                f"y must have shape (N,) or (N, k), found {tuple(self.y.shape)}: flatten it."
            )
        _check_names("target_names", self.target_names, num_targets)
        known = self.y if self.labelled is None else self.y.where(_like(self.labelled, self.y), 0)
        self._check_finite("y", known.reshape(len(self), -1), self.target_names)

    def _check_labels(self, num_classes: int) -> None:
        if num_classes < 2:
            raise ValueError(
                f"At least 2 classes are needed, found {num_classes}: give num_classes if there "
                "are more than the labels show."
            )
        _check_names("class_names", self.class_names, num_classes)
        if self.y.ndim != 1:
            raise ValueError(
                f"Class labels must have shape (N,), found {tuple(self.y.shape)}: "
                "flatten them, with one class per row."
            )
        if self.y.is_floating_point():
            self._refuse_float_labels()
        if self.y.dtype != torch.int64:
            raise ValueError(f"Class labels must be int64, found {self.y.dtype}: convert them.")
        outside = (self.y < 0) | (self.y >= num_classes)
        if self.labelled is not None:
            outside &= self.labelled
        if outside.any():
            row = int(outside.nonzero()[0])
            raise ValueError(
                f"Class labels must be 0..{num_classes - 1}, found {int(self.y[row])} in row "
                f"{row + self.first_row}: number the classes from 0, or correct num_classes."
            )

    def _refuse_float_labels(self) -> None:
        fractional = self.y != self.y.round()
        if fractional.any():
            row = int(fractional.nonzero()[0])
            raise ValueError(
                f"Class labels must be whole numbers, found {float(self.y[row])} in row "
                f"{row + self.first_row}. For a regression leave num_classes out."
            )
        raise ValueError(
            f"Class labels must be integers, found {self.y.dtype}. They are all whole numbers: "
            "convert them to integers, or leave num_classes out for a regression."
        )

    def _check_group(self, group: Tensor) -> None:
        if group.dtype != torch.int64 or group.shape != self.x.shape[:1]:
            raise ValueError(
                f"Numbers of queries must be int64 of shape ({len(self)},), found {group.dtype} of "
                f"{tuple(group.shape)}: give one for each row."
            )
        if self.weight is not None:
            raise ValueError("Items of queries are not weighted: leave the weights out.")
        steps = group.diff(prepend=group.new_tensor([-1]))
        wrong = (steps < 0) | (steps > 1)
        wrong[0] = group[0] != 0
        if wrong.any():
            row = int(wrong.nonzero()[0])
            raise ValueError(
                f"Queries are numbered from 0 in the order of their rows, which stand together, "
                f"found {int(group[row])} in row {row + self.first_row}."
            )
        _check_names("query_names", self.query_names, int(group[-1]) + 1)

    def _check_weight(self, weight: Tensor) -> None:
        if weight.dtype != torch.float32:
            raise ValueError(f"Weights must be float32, found {weight.dtype}: convert them.")
        if weight.shape != self.x.shape[:1]:
            raise ValueError(
                f"Weights must have shape ({len(self)},), found {tuple(weight.shape)}: give one "
                "for each row."
            )
        wrong = ~(weight.isfinite() & (weight >= 0))
        if wrong.any():
            row = int(wrong.nonzero()[0])
            raise ValueError(
                f"Weights must be finite and not negative, found {float(weight[row])} in row "
                f"{row + self.first_row}: 0 leaves a row out of the loss."
            )

    def _check_finite(self, what: str, values: Tensor, names: list[str] | None) -> None:
        if not values.is_floating_point():
            return
        first_row = self.first_row
        for piece in torch.split(values, rows_per_piece(values.shape[1:])):
            finite = piece.isfinite()
            if not finite.all():
                row, column = (~finite).nonzero()[0].tolist()
                where = f"column {column}" if names is None else f"column {names[column]!r}"
                raise ValueError(
                    f"{what} holds {float(piece[row, column])} in row {first_row + row}, {where}: "
                    "values must be finite float32 numbers. Fill in or drop such rows."
                )
            first_row += len(piece)


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of a data set that serve one purpose; the samples themselves are shared, not copied.

    Args:
        samples: The data set.
        rows: Row numbers in data-set order; ``None`` takes every row.
    """

    samples: Samples
    rows: Tensor | None = None

    def __len__(self) -> int:
        return len(self.samples if self.rows is None else self.rows)

    @property
    def y(self) -> Tensor:
        """Targets of this split."""
        return self.samples.y if self.rows is None else self.samples.y[self.rows]

    @property
    def queries(self) -> Tensor | None:
        """Numbers of the queries, all whole, that this split's rows are items of, if any."""
        group = self.samples.group
        if group is None:
            return None
        mine = group if self.rows is None else group[self.rows]
        queries: Tensor
        queries, counts = torch.unique_consecutive(mine, return_counts=True)
        cut = counts != group.bincount()[queries]
        if cut.any():
            number, names = int(queries[cut][0]), self.samples.query_names
            raise ValueError(
                f"Query {number if names is None else names[number]!r} is in more than one split: "
                "cut data by query."
            )
        return queries

    @property
    def weight(self) -> Tensor | None:
        """Weights of this split's samples, if there are any."""
        weight = self.samples.weight
        return weight if weight is None or self.rows is None else weight[self.rows]


def _like(rows: Tensor, values: Tensor) -> Tensor:
    """What is said of rows, of the shape of values that broadcasts with it."""
    return rows.reshape(-1, *[1] * (values.ndim - 1))


def _check_names(what: str, names: list[str] | None, expected: int) -> None:
    if names is not None and len(names) != expected:
        raise ValueError(f"{what} must have {expected} entries, found {len(names)}.")
    repeated = [name for name, count in Counter(names or ()).items() if count > 1]
    if repeated:
        raise ValueError(f"{what} must differ, found {repeated[0]!r} more than once: rename one.")
