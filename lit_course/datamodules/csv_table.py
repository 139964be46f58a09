"""A table in a CSV, TSV or Parquet file."""

from __future__ import annotations

import textwrap
from collections import Counter
from typing import Literal

import polars as pl
import torch
from torch import Tensor

from lit_course.datamodules.base import SupervisedDataModule
from lit_course.datamodules.samples import Samples, Split
from lit_course.datamodules.table_files import read_table
from lit_course.names import nearest

# An integer column with more values than this is a quantity, unless told otherwise.
MAX_CLASSES = 20
# So many a network can have, whatever the number of rows.
FEW_CLASSES = 1000


class CSVDataModule(SupervisedDataModule):
    """A table of numbers, one row per sample, read with polars.

    Columns must be numeric and complete: text, dates and missing values are refused by name. Rows
    are counted from 1 after the header.

    Args:
        path: File with a header: ``.csv``, ``.tsv`` or ``.parquet``.
        target: Name of the target column, or several names for a regression.
        features: Names of the feature columns; all others if not given.
        task: ``auto`` takes the target for a class if it is one boolean column, or one integer
            column that holds exactly the values 0..C-1 with C from 2 to 20; else it is a
            regression. ``classification`` and ``regression`` say which.
        batch_size: Rows per batch of training; evaluation takes four times as many.
        val_size: Rows held out for validation: a fraction, or an integer count; 0 for none.
        test_size: Rows held out for testing, in the same way.
        shuffle: Whether the training rows come in a new order each epoch.
        drop_last: Whether training leaves out a last batch that is smaller.
        seed: Seed of the split and of the order.
    """

    def __init__(
        self,
        path: str,
        target: str | list[str],
        features: list[str] | None = None,
        *,
        task: Literal["auto", "classification", "regression"] = "auto",
        batch_size: int = 64,
        val_size: int | float = 0.1,
        test_size: int | float = 0.1,
        shuffle: bool = True,
        drop_last: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            val_size=val_size,
            test_size=test_size,
            shuffle=shuffle,
            drop_last=drop_last,
            seed=seed,
        )
        if task not in ("auto", "classification", "regression"):
            raise ValueError(
                f"task must be 'auto', 'classification' or 'regression', found {task!r}."
            )
        self.path = path
        self.target = target
        self.features = features
        self.task = task

    def load(self) -> dict[str, Split]:
        """Read the file, choose the columns and cut the rows."""
        table = read_table(self.path)
        features, targets = self._choose(table.columns)
        self._check_numbers(table.select(features + targets), targets)
        y, num_classes, class_names = self._targets(table.select(targets))
        return self.cut(
            Samples(
                x=_tensor(table.select(features)),
                y=y,
                num_classes=num_classes,
                feature_names=features,
                class_names=class_names,
                target_names=targets,
                first_row=1,
            )
        )

    def _choose(self, columns: list[str]) -> tuple[list[str], list[str]]:
        """Names of the feature columns and of the target columns."""
        targets = [self.target] if isinstance(self.target, str) else self.target
        features = self.features
        if features is None:
            features = [name for name in columns if name not in targets]
        if not features or not targets:
            raise ValueError(
                f"At least one feature and one target are needed, found {len(features)} and "
                f"{len(targets)}. {self.path} has the columns: {_listed(columns)}."
            )
        for name, count in Counter(features + targets).items():
            if name not in columns:
                raise ValueError(
                    f"{self.path} has no column {name!r}{nearest(name, columns)}\n"
                    f"Its columns: {_listed(columns)}."
                )
            if count > 1:
                raise ValueError(
                    f"Column {name!r} is chosen {count} times: a column is either a feature or a "
                    "target, and only once."
                )
        return features, targets

    def _check_numbers(self, table: pl.DataFrame, targets: list[str]) -> None:
        text, missing = [], []
        for column in table:
            boolean_class = column.dtype == pl.Boolean and [column.name] == targets
            if (absent := column.is_null()).any():
                first = absent.arg_max() or 0
                missing.append(f"{column.name!r} ({absent.sum()} rows, first row {first + 1})")
            elif not column.dtype.is_numeric() and not boolean_class:
                text.append(f"{column.name!r} ({_first_text(column)})")
        found = {"Not numeric": text, "With missing values": missing}
        faults = [f"{fault}: {_listed(names)}.\n" for fault, names in found.items() if names]
        if faults:
            raise ValueError(
                f"{self.path}: columns must be numeric and complete.\n{''.join(faults)}"
                "Rows count from 1 after the header. Correct the file, or choose other `features`."
            )

    def _targets(self, table: pl.DataFrame) -> tuple[Tensor, int | None, list[str] | None]:
        """Targets, and for a classification the number of classes and their names."""
        columns = table.get_columns()
        single = len(columns) == 1
        auto = single and _looks_like_classes(columns[0])
        if self.task == "regression" or (self.task == "auto" and not auto):
            y = _tensor(table)
            return y.squeeze(1) if single else y, None, None
        boolean = columns[0].dtype == pl.Boolean
        if not single or not (boolean or columns[0].dtype.is_integer()):
            found = ", ".join(f"{column.name!r} ({column.dtype})" for column in columns)
            raise ValueError(
                "A classification needs one target column of integers 0..C-1, found "
                f"{found}: write whole numbers without a decimal point, or set task to regression."
            )
        labels = torch.from_numpy(columns[0].cast(pl.Int64).to_numpy(writable=True))
        if boolean:
            return labels, 2, ["false", "true"]
        largest = int(labels.max())
        if largest >= max(len(labels), FEW_CLASSES):
            raise ValueError(
                f"Class labels are 0..C-1, and column {columns[0].name!r} holds {largest} in "
                f"{len(labels)} rows: number the classes from 0 without gaps, or set task to "
                "regression."
            )
        return labels, largest + 1, None


def _tensor(table: pl.DataFrame) -> Tensor:
    return torch.from_numpy(table.cast(pl.Float32).to_numpy(order="c", writable=True))


def _looks_like_classes(column: pl.Series) -> bool:
    """Boolean, or integers that are exactly 0..C-1."""
    if column.dtype == pl.Boolean:
        return True
    num_values = column.n_unique()
    return (
        column.dtype.is_integer()
        and 2 <= num_values <= MAX_CLASSES
        and column.min() == 0
        and column.max() == num_values - 1
    )


def _first_text(column: pl.Series) -> str:
    """The first value that is not a number, with its row."""
    offending = column.is_not_null()
    if column.dtype == pl.String:
        offending &= column.cast(pl.Float64, strict=False).is_null()
    row = offending.arg_max() or 0
    return f"row {row + 1}: {repr(column[row])[:40]}"


def _listed(names: list[str]) -> str:
    return textwrap.shorten(", ".join(names), 300, placeholder=" …")
