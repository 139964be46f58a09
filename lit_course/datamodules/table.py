"""The abstract data module of tables: what its columns are, how its rows are cut."""

from __future__ import annotations

import textwrap
from abc import abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import polars as pl
import torch
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor

from lit_course.columns import as_text, cleaned
from lit_course.datamodules.base import SupervisedDataModule
from lit_course.datamodules.samples import Samples, Split
from lit_course.datamodules.table_rows import Cut, number_queries
from lit_course.names import nearest
from lit_course.raw_table import RawTable
from lit_course.scaling import ColumnStatistics
from lit_course.tables import MISSING, Described, Table
from lit_course.targets import Targets, Task

_ONE_COLUMN = "\nThere is one only: a .csv file separates values by commas, a .tsv file by tabs."

_PARTIAL = "some rows have no target, and a query is not ranked in part: drop or fill them"


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
        query_column: str | None,
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
        if query_column is not None and task == "classification":
            raise ValueError(
                "query_column is for ranking, whose target is a number: leave task out."
            )
        self.target = target
        self.features = features
        self.task: Task = task if query_column is None else "regression"
        self.categorical = categorical
        self.ignore = ignore
        self.missing_values = missing_values
        self.min_frequency = min_frequency
        self.cut_by = Cut(group_column, time_column, split_column)
        self.query_column = query_column
        self.weight_column = weight_column
        self.id_column = id_column
        self.columns: list[Described] = []  # what the user is shown before training
        self._table: Table | None = None
        self._targets: Targets | None = None

    # ------------------------------------------------------------- where it comes from

    @abstractmethod
    def read(self) -> dict[str, RawTable]:
        """Open the tables.

        Returns:
            ``"train"``, and where they come apart ``"val"``, ``"test"`` and ``"predict"``. Without
            ``"val"`` and ``"test"`` they are cut from ``"train"``. Of a model that was trained
            before, ``"predict"`` alone is enough.
        """

    @abstractmethod
    def describe(self, name: str) -> str:
        """What to call the table ``name`` in messages."""

    def hold(self, name: str, table: Table, raw: RawTable) -> Tensor:
        """Features ``(N, D)`` of all rows of the table ``name``, held in memory."""
        x = torch.empty(len(raw), len(table.feature_names))
        start = 0
        for piece in table.transform(raw):
            x[start : start + len(piece)] = piece
            start += len(piece)
        return x

    # ------------------------------------------------------------- load

    def load(self) -> dict[str, Split]:
        """Judge the columns by the training rows, and turn all rows into tensors."""
        raw = self.read()
        rows = self._cut(raw) if "train" in raw else {}
        self._table, self._targets = self.fitted() or self._fit(raw["train"], rows["train"])
        samples = {name: self._samples_of(name, table) for name, table in raw.items()}
        splits = {name: Split(samples["train"], numbers) for name, numbers in rows.items()}
        for name in raw.keys() - {"train"}:
            labelled = samples[name].labelled
            with_target = None if labelled is None or name == "predict" else _rows(labelled)
            splits[name] = Split(samples[name], with_target)
        if self.id_column is not None:
            own = [name for name in ("predict", "test") if name in raw and len(splits[name])]
            predicted = own[0] if own else "train"
            with self._naming(predicted):
                self.row_names = _texts(raw[predicted].column(self.id_column))
        return splits

    def fitted(self) -> tuple[Table, Targets] | None:
        """What the Trainer's model knows of its columns, if it was trained on some."""
        schema = self._model_schema
        if "table" not in schema:
            return None
        targets = Targets(schema["target_names"], schema["class_names"])
        return Table.from_state(schema["table"]), targets

    def _fit(self, raw: RawTable, rows: Tensor) -> tuple[Table, Targets]:
        with self._naming("train"):
            table = Table.fit(
                raw,
                rows,
                self._feature_columns(raw.columns),
                categorical=self.categorical,
                missing_values=self.missing_values,
                min_frequency=self.min_frequency,
            )
            index = pl.Series(rows.numpy())
            known = [column.gather(index) for column in self._cleaned(raw, self._target_names)]
            targets = Targets.fit(known, self.task)
        self.columns = [*table.described, *self._described(known, targets)]
        for line in table.described:
            if line.warning:
                rank_zero_warn(line.warning)
        return table, targets

    def _described(self, known: list[pl.Series], targets: Targets) -> Iterator[Described]:
        """Lines of the columns that are not learned from."""
        kind = "number" if targets.class_names is None else "class"
        for column in known:
            yield Described(column.name, kind, 0, column.n_unique(), "target")
        uses = {self.cut_by.column: "says the split", self.query_column: "query"}
        uses |= {self.weight_column: "weight", self.id_column: "names the row"}
        for name, use in uses.items():
            if name is not None:
                yield Described(name, "", None, None, use, left_out=True)

    def _samples_of(self, name: str, raw: RawTable) -> Samples:
        table, targets = self._table, self._targets
        assert table is not None
        assert targets is not None
        self._mention_unknown(name, table, raw.columns)
        with self._naming(name):
            x = self.hold(name, table, raw)
            y = self._targets_of(name, targets, raw)
            group, query_names = self._queries(raw)
            if name != "predict" and group is not None and not targets.labelled(y).all():
                raise ValueError(_PARTIAL)
            return Samples(
                x=x,
                y=y,
                num_classes=targets.num_classes,
                feature_names=table.feature_names,
                class_names=targets.class_names,
                target_names=targets.names,
                first_row=1,
                labelled=targets.labelled(y),
                weight=None if name == "predict" else self._weights(raw),
                group=group,
                query_names=query_names,
            )

    def _targets_of(self, name: str, targets: Targets, raw: RawTable) -> Tensor:
        if name != "predict":
            return targets.tensor(self._cleaned(raw, targets.names))
        # New rows need no target. Numbers are compared with; whatever else stands there is none.
        if targets.class_names is not None or not set(targets.names) <= set(raw.columns):
            return targets.unknown(len(raw))
        numbers = [c.cast(pl.Float32, strict=False) for c in self._cleaned(raw, targets.names)]
        return targets.tensor([n.set(~n.is_finite().fill_null(value=True), None) for n in numbers])

    def _queries(self, raw: RawTable) -> tuple[Tensor, list[str]] | tuple[None, None]:
        """Number of each row's query, and the name of each query."""
        if self.query_column is None:
            return None, None
        return number_queries(*self._cleaned(raw, [self.query_column]))

    def _weights(self, raw: RawTable) -> Tensor | None:
        if self.weight_column is None:
            return None
        [cells] = self._cleaned(raw, [self.weight_column])
        weights = cells.cast(pl.Float32, strict=False)
        wrong = (weights.is_null() | ~weights.is_finite() | (weights < 0)).fill_null(value=True)
        if wrong.any():
            row = wrong.arg_max() or 0
            raise ValueError(
                f"{cells.name!r}: {cells[row]!r} in row {row + 1} is no weight: weights are "
                "finite and not negative, 0 leaves a row out of the loss"
            )
        return torch.from_numpy(weights.to_numpy(writable=True))

    def _mention_unknown(self, name: str, table: Table, columns: Collection[str]) -> None:
        known = {*self._target_names, *self.ignore, *self._roles}
        known |= {column.name for column in table.columns} | set(table.left_out)
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
        for name in self.ignore:
            if name in {*(self.features or ()), *targets, *roles}:
                raise ValueError(f"Column {name!r} is to be used, and is in `ignore` too.")
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
        roles = (self.cut_by.column, self.query_column, self.weight_column, self.id_column)
        return [name for name in roles if name]

    @property
    def _target_names(self) -> list[str]:
        return [self.target] if isinstance(self.target, str) else self.target

    def _cleaned(self, raw: RawTable, names: Iterable[str]) -> list[pl.Series]:
        return [cleaned(raw.column(name), self.marks) for name in names]

    @property
    def marks(self) -> list[str]:
        """Texts that stand for a missing value."""
        return [*MISSING, *self.missing_values]

    # ------------------------------------------------------------- rows

    def _cut(self, tables: Mapping[str, RawTable]) -> dict[str, Tensor]:
        """Row numbers of the splits that come out of the training table, in its order."""
        raw = tables["train"]
        with self._naming("train"):
            self._feature_columns(raw.columns)  # refuse what is not there
            targets = self._cleaned(raw, self._target_names)
            labelled = self._labelled(targets)
            queries, _ = self._queries(raw)
            if queries is not None and len(labelled) < len(raw):
                raise ValueError(_PARTIAL)
            said = self._cleaned(raw, [self.cut_by.column] if self.cut_by.column else [])
            rows = self.cut_by.split(
                said[0] if said else None,
                labelled,
                # What comes in a table of its own is not cut out of this one.
                val_size=0 if "val" in tables else self.val_size,
                test_size=0 if "test" in tables else self.test_size,
                seed=self.seed,
                classes=targets[0] if self._has_classes(targets, labelled) else None,
                fold=self.fold,
                queries=queries,
            )
            if not len(rows["train"]):
                raise ValueError(f"{self.cut_by.column!r} leaves no row to train on")
        self._held_out = rows["test"]
        return {name: part for name, part in rows.items() if name == "train" or name not in tables}

    def _labelled(self, targets: list[pl.Series]) -> pl.Series:
        """Numbers of the rows that have every target."""
        absent = pl.repeat(value=False, n=len(targets[0]), eager=True)
        for column in targets:
            absent |= column.is_null()
        if absent.all():
            raise ValueError(f"no row has a target: {', '.join(map(repr, self._target_names))}")
        if absent.any():
            rank_zero_info(
                f"{absent.sum():,} of {len(absent):,} rows of {self.describe('train')} have no "
                "target: not trained or evaluated on"
            )
        return (~absent).arg_true()

    def _has_classes(self, targets: list[pl.Series], rows: pl.Series) -> bool:
        fitted = self.fitted()
        if fitted is not None:
            return fitted[1].class_names is not None
        return Targets.fit([c.gather(rows) for c in targets], self.task).class_names is not None

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


def _texts(ids: pl.Series) -> list[str]:
    return as_text(ids).fill_null("").to_list()


def _rows(chosen: Tensor) -> Tensor:
    return chosen.nonzero().flatten()


def _listed(names: Collection[str]) -> str:
    return textwrap.shorten(", ".join(names), 300, placeholder=" …")
