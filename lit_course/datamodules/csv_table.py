"""A table in a CSV, TSV or Parquet file."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from lit_course.datamodules.table import TableDataModule
from lit_course.datamodules.table_cache import TableCache, identity
from lit_course.datamodules.table_files import scan_table
from lit_course.raw_table import RawTable
from lit_course.tables import Table
from lit_course.targets import Task


class CSVDataModule(TableDataModule):
    """A table in a file, one row per sample, read with polars.

    What each column is, is judged by the training rows and printed before training: numbers
    (quoted ones too), booleans and dates become numbers, a missing one the training median with an
    indicator beside it; text becomes categories, a missing value one of its own. Constant columns
    and free text are left out. Rows are counted from 1 after the header. Missing are empty cells,
    ``?``, ``NA``, ``N/A``, ``NaN``, ``null`` and ``None``. Rows without a target are not trained
    or evaluated on.

    Args:
        path: File with a header: ``.csv``, ``.tsv`` or ``.parquet``.
        target: Name of the target column, or several names for a regression.
        features: Names of the feature columns; all others if not given.
        task: ``auto`` takes the target for a class if it is one column of text or booleans, or of
            integers that are exactly 0..C-1 with C from 2 to 20; else it is a regression.
            ``classification`` and ``regression`` say which.
        categorical: Columns whose values are categories whatever they look like: codes, postcodes.
        ignore: Columns that are not looked at.
        missing_values: Texts that stand for a missing value, beside those above.
        min_frequency: A category seen in fewer training rows is no category of its own: all such
            are one.
        group_column: Rows that are alike in this column stay in one split.
        time_column: Train on the earliest rows, validate on later ones, test on the last.
        split_column: The split of each row: train, val or test.
        query_column: The query that each row is an item of, for a ``Ranker``; the target is its
            relevance. Rows of a query stand together; ``batch_size`` counts queries, and so do
            sizes where no other column says how to cut.
        weight_column: How much each row weighs in the loss; not negative.
        id_column: What names each row in a file of predictions.
        val_path: File of the validation rows; else they are cut from ``path``.
        test_path: File of the test rows; else they are cut from ``path``.
        predict_path: File of new rows for ``predict``; it needs no target. A trained model needs no
            other file then.
        cache_dir: For tables that do not fit in memory: a folder for copies that batches are read
            from, with the same results. Processes of one machine share them, later runs find them.
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
        task: Task = "auto",
        categorical: list[str] = [],  # noqa: B006  # read only; shown by --help
        ignore: list[str] = [],  # noqa: B006  # read only
        missing_values: list[str] = [],  # noqa: B006  # read only
        min_frequency: int = 1,
        group_column: str | None = None,
        time_column: str | None = None,
        split_column: str | None = None,
        query_column: str | None = None,
        weight_column: str | None = None,
        id_column: str | None = None,
        val_path: str | None = None,
        test_path: str | None = None,
        predict_path: str | None = None,
        cache_dir: str | None = None,
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
        self.path = path
        self.val_path = val_path
        self.test_path = test_path
        self.predict_path = predict_path
        self.cache_dir = cache_dir
        self._cache = None if cache_dir is None else TableCache(cache_dir)

    def read(self) -> dict[str, RawTable]:
        """Open the files, all with the same columns of text."""
        paths = {"predict": self.predict_path} if self.only_predicts else self._paths
        fitted = self.fitted()
        known = [] if fitted is None else fitted[0].columns
        texts = {*self.categorical, *self._roles, *(c.name for c in known if c.kind == "category")}
        tables = {}
        for name, path in paths.items():
            if path is not None:
                tables[name] = scan_table(path, self.marks, self._cache, texts)
                texts |= tables[name].texts if name == "train" else set()
        return tables

    def hold(self, name: str, table: Table, raw: RawTable) -> Tensor:
        """Features ``(N, D)`` of all rows, in memory, or with ``cache_dir`` on disk."""
        if self._cache is None:
            return super().hold(name, table, raw)
        key = [identity(Path(self.describe(name)).expanduser()), self.marks, table.state_dict()]
        shape = (len(raw), len(table.feature_names))
        return self._cache.rows(key, shape, table.transform(raw))

    @property
    def _paths(self) -> dict[str, str | None]:
        others = {"val": self.val_path, "test": self.test_path, "predict": self.predict_path}
        return {"train": self.path, **others}

    @property
    def only_predicts(self) -> bool:
        """Whether a trained model is to predict new rows, and nothing else is asked for."""
        new = self._verb == "predict" and self.predict_path is not None
        return new and self.fitted() is not None

    def describe(self, name: str) -> str:
        """The file's path."""
        return str(self._paths[name])
