"""Data frames in memory: polars, pandas, pyarrow."""

from __future__ import annotations

from typing import Any

from lit_course.datamodules.table import TableDataModule
from lit_course.raw_table import RawTable, as_polars
from lit_course.targets import Task


class DataFrameDataModule(TableDataModule):
    """A data frame, one row per sample; columns are judged as those of ``CSVDataModule``.

    Args:
        frame: A polars, pandas or pyarrow table, or any other with the Arrow PyCapsule interface
            (``__arrow_c_stream__``).
        target: Name of the target column, or several names for a regression.
        features: Names of the feature columns; all others if not given.
        val: Frame of the validation rows; else they are cut from ``frame``.
        test: Frame of the test rows; else they are cut from ``frame``.
        predict: Frame of new rows for ``predict``; it needs no target.
        task: See ``CSVDataModule``, as for all that follow.
        categorical: Columns whose values are categories whatever they look like.
        ignore: Columns that are not looked at.
        missing_values: More texts that stand for a missing value.
        min_frequency: A category seen in fewer training rows is no category of its own.
        group_column: Rows that are alike in this column stay in one split.
        time_column: Train on the earliest rows, validate on later ones, test on the last.
        split_column: The split of each row: train, val or test.
        query_column: The query that each row is an item of, for a ``Ranker``; the target is its
            relevance. Rows of a query stand together; ``batch_size`` counts queries, and so do
            sizes where no other column says how to cut.
        weight_column: How much each row weighs in the loss; not negative.
        id_column: What names each row in a file of predictions.
        batch_size: Rows per batch of training; evaluation takes four times as many.
        val_size: Rows held out for validation: a fraction, or an integer count; 0 for none.
        test_size: Rows held out for testing, in the same way.
        shuffle: Whether the training rows come in a new order each epoch.
        drop_last: Whether training leaves out a last batch that is smaller.
        seed: Seed of the split and of the order.
    """

    def __init__(
        self,
        frame: Any,
        target: str | list[str],
        features: list[str] | None = None,
        *,
        val: Any = None,
        test: Any = None,
        predict: Any = None,
        task: Task = "auto",
        categorical: list[str] = [],  # noqa: B006  # read only
        ignore: list[str] = [],  # noqa: B006  # read only
        missing_values: list[str] = [],  # noqa: B006  # read only
        min_frequency: int = 1,
        group_column: str | None = None,
        time_column: str | None = None,
        split_column: str | None = None,
        query_column: str | None = None,
        weight_column: str | None = None,
        id_column: str | None = None,
        batch_size: int = 64,
        val_size: int | float = 0.1,
        test_size: int | float = 0.1,
        shuffle: bool = True,
        drop_last: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(
            target,
            features,
            task=task,
            categorical=categorical,
            ignore=ignore,
            missing_values=missing_values,
            min_frequency=min_frequency,
            group_column=group_column,
            time_column=time_column,
            split_column=split_column,
            query_column=query_column,
            weight_column=weight_column,
            id_column=id_column,
            batch_size=batch_size,
            val_size=val_size,
            test_size=test_size,
            shuffle=shuffle,
            drop_last=drop_last,
            seed=seed,
        )
        frames = {"train": frame, "val": val, "test": test, "predict": predict}
        self._frames = {name: given for name, given in frames.items() if given is not None}

    def read(self) -> dict[str, RawTable]:
        """Turn the frames into polars', without a copy where the memory's layout allows it."""
        frames = self._frames.items()
        return {name: RawTable(as_polars(self.describe(name), frame)) for name, frame in frames}

    def describe(self, name: str) -> str:
        """The argument's name."""
        return "frame" if name == "train" else name
