"""The abstract data module of tables: what its columns are, how its rows are cut."""

from __future__ import annotations

import textwrap
from abc import abstractmethod
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import polars as pl
import torch
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor

from lit_course.columns import as_text, cleaned, in_order
from lit_course.datamodules.base import SupervisedDataModule
from lit_course.datamodules.samples import Samples, Split
from lit_course.datamodules.splits import split_groups, split_in_time, split_rows
from lit_course.names import nearest
from lit_course.scaling import ColumnStatistics
from lit_course.tables import MISSING, Described, Table
from lit_course.targets import Targets, Task

_ONE_COLUMN = "\nThere is one only: a .csv file separates values by commas, a .tsv file by tabs."
# What the column that names the split may say.
SPLIT_NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val"}
SPLIT_NAMES |= {"validation": "val", "dev": "val", "test": "test", "testing": "test"}


class TableDataModule(SupervisedDataModule):
    """A table of raw columns, one row per sample. Abstract: a subclass says where it comes from.

    Everything fitted is taken from the training rows alone and kept in ``schema["table"]``, as
    plain data. A model that has been trained brings its own, and new rows become what its training
    rows became.
    """

    def __init__(
        self,
        target: str | list[str],
        features: list[str] | None = None,
        *,
        task: Task,
        categorical: list[str],
        ignore: list[str],
        missing_values: list[str],
        min_frequency: int,
        group_column: str | None,
        time_column: str | None,
        split_column: str | None,
        weight_column: str | None,
        id_column: str | None,
        batch_size: int,
        val_size: int | float,
        test_size: int | float,
        shuffle: bool,
        drop_last: bool,
        seed: int,
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
        if min_frequency < 1:
            raise ValueError(f"min_frequency must be at least 1, found {min_frequency}.")
        cuts = {"group": group_column, "time": time_column, "split": split_column}
        if len(given := [f"{name}_column" for name, column in cuts.items() if column]) > 1:
            raise ValueError(f"{' and '.join(given)} each say how to cut the rows: give one.")
        self.target = target
        self.features = features
        self.task: Task = task
        self.categorical = categorical
        self.ignore = ignore
        self.missing_values = missing_values
        self.min_frequency = min_frequency
        self.group_column = group_column
        self.time_column = time_column
        self.split_column = split_column
        self.weight_column = weight_column
        self.id_column = id_column
        self.columns: list[Described] = []  # what the user is shown before training
        self._table: Table | None = None
        self._targets: Targets | None = None

    # ------------------------------------------------------------- where it comes from

    @abstractmethod
    def read(self) -> dict[str, pl.DataFrame]:
        """Read the tables.

        Returns:
            ``"train"``, and where they come apart ``"val"``, ``"test"`` and ``"predict"``. Without
            ``"val"`` and ``"test"`` they are cut from ``"train"``. Of a model that was trained
            before, ``"predict"`` alone is enough.
        """

    @abstractmethod
    def describe(self, name: str) -> str:
        """What to call the table ``name`` in messages."""

    # ------------------------------------------------------------- load

    def load(self) -> dict[str, Split]:
        """Judge the columns by the training rows, and turn all rows into tensors."""
        frames = self.read()
        rows = self._cut(frames) if "train" in frames else {}
        self._table, self._targets = self.fitted() or self._fit(frames["train"], rows["train"])
        samples = {name: self._samples_of(name, frame) for name, frame in frames.items()}
        splits = {name: Split(samples["train"], numbers) for name, numbers in rows.items()}
        for name in frames.keys() - {"train"}:
            labelled = samples[name].labelled
            with_target = None if labelled is None or name == "predict" else _rows(labelled)
            splits[name] = Split(samples[name], with_target)
        if self.id_column is not None:
            predicted = next(name for name in ("predict", "test", "train") if name in frames)
            self.row_names = self._ids(predicted, frames[predicted])
        return splits

    def fitted(self) -> tuple[Table, Targets] | None:
        """What the Trainer's model knows of its columns, if it was trained on some."""
        model = getattr(self.trainer, "lightning_module", None)
        schema = getattr(model, "schema", None) or self.known_schema
        if "table" not in schema:
            return None
        targets = Targets(schema["target_names"], schema["class_names"])
        return Table.from_state(schema["table"]), targets

    def _fit(self, frame: pl.DataFrame, rows: Tensor) -> tuple[Table, Targets]:
        index = pl.Series(rows.numpy())
        with self._naming("train"):
            table = Table.fit(
                frame,
                rows,
                self._feature_columns(frame.columns),
                categorical=self.categorical,
                missing_values=self.missing_values,
                min_frequency=self.min_frequency,
            )
            known = [column.gather(index) for column in self._target_columns(frame)]
            targets = Targets.fit(known, self.task)
        self.columns = table.described
        for line in table.described:
            if line.warning:
                rank_zero_warn(line.warning)
        return table, targets

    def _samples_of(self, name: str, frame: pl.DataFrame) -> Samples:
        assert self._table is not None
        assert self._targets is not None
        self._mention_unknown(name, frame.columns)
        with self._naming(name):
            x = self._table.transform(frame)
            if name == "predict":  # a target may be there, but nothing is measured by it
                y = self._targets.unknown(len(frame))
            else:
                columns = [self._column(frame, target) for target in self._targets.names]
                y = self._targets.tensor([self._clean(column) for column in columns])
            return Samples(
                x=x,
                y=y,
                num_classes=self._targets.num_classes,
                feature_names=self._table.feature_names,
                class_names=self._targets.class_names,
                target_names=self._targets.names,
                first_row=1,
                labelled=self._targets.labelled(y),
                weight=None if name == "predict" else self._weights(frame),
            )

    def _weights(self, frame: pl.DataFrame) -> Tensor | None:
        if self.weight_column is None:
            return None
        weights = self._clean(self._column(frame, self.weight_column))
        numbers = weights.cast(pl.Float32, strict=False).fill_null(float("nan"))
        return torch.from_numpy(numbers.to_numpy(writable=True))

    def _ids(self, name: str, frame: pl.DataFrame) -> list[str]:
        assert self.id_column is not None
        with self._naming(name):
            ids = self._column(frame, self.id_column)
        return as_text(ids).fill_null("").to_list()

    @staticmethod
    def _column(frame: pl.DataFrame, name: str) -> pl.Series:
        if name not in frame.columns:
            raise ValueError(f"no column {name!r}{nearest(name, frame.columns)}")
        return frame[name]

    def _mention_unknown(self, name: str, columns: Collection[str]) -> None:
        assert self._table is not None
        known = {*self._target_names, *self.ignore, *self._roles}
        known |= {column.name for column in self._table.columns}
        known |= {line.name for line in self.columns}
        if name != "train" and (unknown := [repr(c) for c in columns if c not in known]):
            rank_zero_info(f"{self.describe(name)}: not known to the model: {_listed(unknown)}")

    @contextmanager
    def _naming(self, name: str) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise ValueError(f"{self.describe(name)}: {error}") from error

    # ------------------------------------------------------------- columns

    def _feature_columns(self, columns: Collection[str]) -> list[str]:
        """Names of the columns to learn from."""
        targets = self._target_names
        roles = self._roles
        taken = {*targets, *self.ignore, *roles}
        features = self.features
        if features is None:
            features = [name for name in columns if name not in taken]
        if not features or not targets:
            raise ValueError(
                f"At least one feature and one target are needed, found {len(features)} and "
                f"{len(targets)}. Its columns: {_listed(columns)}."
            )
        for name in (*features, *targets, *roles, *self.ignore, *self.categorical):
            if name not in columns:
                raise ValueError(
                    f"no column {name!r}{nearest(name, columns)}\nIts columns: {_listed(columns)}."
                    + _ONE_COLUMN * (len(columns) == 1)
                )
        for name, count in Counter([*features, *targets]).items():
            if count > 1:
                raise ValueError(
                    f"Column {name!r} is chosen {count} times: a column is either a feature or a "
                    "target, and only once."
                )
        return features

    @property
    def _roles(self) -> list[str]:
        """Columns that say something of the rows, and are not learned from."""
        cuts = (self.group_column, self.time_column, self.split_column)
        return [name for name in (*cuts, self.weight_column, self.id_column) if name]

    @property
    def _target_names(self) -> list[str]:
        return [self.target] if isinstance(self.target, str) else self.target

    def _target_columns(self, frame: pl.DataFrame) -> list[pl.Series]:
        return [self._clean(frame[name]) for name in self._target_names]

    def _clean(self, column: pl.Series) -> pl.Series:
        return cleaned(column, self.marks)

    @property
    def marks(self) -> list[str]:
        """Texts that stand for a missing value."""
        return [*MISSING, *self.missing_values]

    # ------------------------------------------------------------- rows

    def _cut(self, frames: Mapping[str, pl.DataFrame]) -> dict[str, Tensor]:
        """Row numbers of the splits that come out of the training table, in its order."""
        frame = frames["train"]
        with self._naming("train"):
            self._feature_columns(frame.columns)  # refuse what is not there
            targets = self._target_columns(frame)
            absent = pl.Series([False] * len(frame))
            for column in targets:
                absent |= column.is_null()
            if absent.any():
                rank_zero_info(
                    f"{absent.sum():,} of {len(frame):,} rows of {self.describe('train')} have no "
                    "target: not trained or evaluated on"
                )
            labelled = (~absent).arg_true()
            if labelled.is_empty():
                raise ValueError(f"no row has a target: {', '.join(map(repr, self._target_names))}")
            # What comes in a table of its own is not cut out of this one.
            val_size = 0 if "val" in frames else self.val_size
            test_size = 0 if "test" in frames else self.test_size
            parts = self._cut_rows(frame, targets, labelled, val_size, test_size)
        rows = _tensor(labelled)
        return {
            name: rows[part]
            for name, part in parts.items()
            if name == "train" or name not in frames
        }

    def _cut_rows(
        self,
        frame: pl.DataFrame,
        targets: Sequence[pl.Series],
        labelled: pl.Series,
        val_size: int | float,
        test_size: int | float,
    ) -> dict[str, Tensor]:
        if self.split_column is not None:
            return _named(self._clean(frame[self.split_column]).gather(labelled), labelled)
        if self.time_column is not None:
            times = in_order(self._clean(frame[self.time_column]))
            ranks = _tensor(times.gather(labelled).rank("dense"))
            return split_in_time(ranks, val_size=val_size, test_size=test_size)
        if self.group_column is not None:
            groups = _codes(frame[self.group_column].gather(labelled))
            return split_groups(groups, val_size=val_size, test_size=test_size, seed=self.seed)
        first = targets[0].gather(labelled)
        known = [first, *(column.gather(labelled) for column in targets[1:])]
        fitted = self.fitted()
        found = Targets.fit(known, self.task) if fitted is None else fitted[1]
        return split_rows(
            len(labelled),
            val_size=val_size,
            test_size=test_size,
            seed=self.seed,
            labels=None if found.class_names is None else _codes(first),
        )

    # What a Survey asks for may be None: it then counts for itself.
    @property
    def train_statistics(self) -> ColumnStatistics | None:  # type: ignore[override]
        """Statistics of the features; None where some are codes, which have no mean."""
        coded = self._table is not None and any(c.kind == "category" for c in self._table.columns)
        return None if coded else super().train_statistics

    @property
    def schema(self) -> dict[str, Any]:
        """Names, and under ``table`` all that was fitted on the columns."""
        schema = super().schema
        assert self._table is not None
        return {**schema, "table": self._table.state_dict()}


def _named(names: pl.Series, rows: pl.Series) -> dict[str, Tensor]:
    """Row numbers of each split, of a column that names it."""
    said = names.cast(pl.String).str.to_lowercase().replace_strict(SPLIT_NAMES, default=None)
    if said.has_nulls():
        position = said.is_null().arg_max() or 0
        raise ValueError(
            f"{names.name!r} says {names[position]!r} in row {rows[position] + 1}: a split is "
            "train, val or test"
        )
    return {name: _tensor((said == name).arg_true()) for name in ("train", "val", "test")}


def _codes(values: pl.Series) -> Tensor:
    """A number for each different value, in their order."""
    return _tensor(values.rank("dense").fill_null(0))


def _tensor(values: pl.Series) -> Tensor:
    return torch.from_numpy(values.cast(pl.Int64).to_numpy(writable=True))


def _rows(chosen: Tensor) -> Tensor:
    return chosen.nonzero().flatten()


def _listed(names: Collection[str]) -> str:
    return textwrap.shorten(", ".join(names), 300, placeholder=" …")
