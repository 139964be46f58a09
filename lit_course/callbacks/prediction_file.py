"""Predictions, written as they come."""

from __future__ import annotations

import csv
import heapq
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

import polars as pl
from lightning.pytorch import Callback, LightningModule, Trainer
from polars.io.plugins import register_io_source
from torch import Tensor

FORMATS = (".csv", ".parquet", ".jsonl")
PIECE = 8 << 20  # bytes of a file that are converted at a time


class PredictionFile(Callback):
    """Writes one row per sample: row number, class and probabilities, or prediction and residual.

    A data module that has ``row_names``, one for each row of the data set, gets them as the first
    column, ``name``; one that has ``query_names`` gets them for the numbers in a column ``query``.

    Rows are in data order and written batch by batch to a partial CSV file, which takes the final
    name at the end: the file is either the old one or whole. Each of several processes writes a
    partial file of its own beside the final one, and the first process merges them. What shall be
    no CSV is made from that file, some rows at a time.

    Args:
        path: Where to write, a name that ends in one of ``FORMATS``; the same for every process.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO | None = None
        self._rows = 0
        self._types: dict[str, pl.DataType] = {}

    def _partial(self, rank: int | str) -> Path:
        return self.path.with_name(f"{self.path.name}.{rank}.part")

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the partial file."""
        partial = self._partial(trainer.global_rank)
        self._file = partial.open("w", newline="", encoding="utf-8")
        self._rows, self._types = 0, {}

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Mapping[str, Any] | Tensor,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write the rows of one batch."""
        assert self._file is not None
        named = {"prediction": outputs} if isinstance(outputs, Tensor) else outputs
        columns = {name: _series(name, values) for name, values in _columns(named, pl_module)}
        data = getattr(trainer, "datamodule", None)
        queries = getattr(data, "query_names", None)
        if queries is not None and "query" in columns:
            columns["query"] = pl.Series([queries[number] for number in columns["query"]])
        size = len(next(iter(columns.values())))
        if isinstance(batch, list | tuple) and len(batch) == 3 and "row" in batch[2]:
            rows: Sequence[int] = batch[2]["row"].tolist()
        elif trainer.world_size > 1:
            rows = _sampled_rows(trainer, batch_idx)
        else:
            rows = range(self._rows, self._rows + size)
        which = {"row": pl.Series(rows, dtype=pl.Int64)}
        names = getattr(data, "row_names", None)
        if names is not None:
            named_rows = [names[row] or None for row in rows]  # an empty name is an empty cell
            which = {"name": pl.Series(named_rows, dtype=pl.String), **which}
        table = pl.DataFrame({**which, **columns})
        self._file.write(table.write_csv(include_header=not self._types, line_terminator="\r\n"))
        self._types = self._types or dict(table.schema)
        self._rows += size

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the whole file its name."""
        if self._file is None:
            return
        self._file.close()
        self._file = None
        trainer.strategy.barrier("PredictionFile")  # every partial file is whole
        if trainer.is_global_zero:
            partials = [self._partial(rank) for rank in range(trainer.world_size)]
            if len(partials) > 1:
                self._rows = _merge(partials)
            if self.path.suffix in (".parquet", ".jsonl"):
                _convert(partials[0], self._types, self._partial("whole"), self.path.suffix)
            os.replace(partials[0], self.path)
            which = getattr(getattr(trainer, "datamodule", None), "predicted_split", None)
            of = " of the test split" if which == "test" else ""
            print(f"{self._rows:,} predictions{of} in {self.path}")
        trainer.strategy.barrier("PredictionFile")  # the file is there

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Leave no partial file."""
        if self._file is not None:
            self._file.close()
            self._file = None
        # The first process outlives the others, whatever ended them.
        ranks = range(trainer.world_size) if trainer.is_global_zero else [trainer.global_rank]
        for rank in (*ranks, "whole"):
            self._partial(rank).unlink(missing_ok=True)


def _sampled_rows(trainer: Trainer, batch_idx: int) -> list[int]:
    """Row numbers of a batch of a ``DataLoader``, which Lightning has its sampler keep."""
    sampler = getattr(trainer.predict_dataloaders, "batch_sampler", None)
    seen: list[list[int]] | None = getattr(sampler, "seen_batch_indices", None)
    if seen is None:
        raise ValueError(
            "of several processes none knows which rows it predicts: give one DataLoader, or "
            'batches (x, y, {"row": numbers}), or predict with one process'
        )
    return seen[batch_idx]


def _merge(partials: list[Path]) -> int:
    """Merge partial files, each in order of its rows, into the first one; count the rows."""
    count = 0
    merged = partials[0].with_suffix(".merged.part")
    with ExitStack() as stack:
        files = [stack.enter_context(p.open(newline="", encoding="utf-8")) for p in partials]
        readers = [csv.reader(file) for file in files]
        headers = [next(reader) for reader in readers]
        out = stack.enter_context(merged.open("w", newline="", encoding="utf-8"))
        writer = csv.writer(out)
        writer.writerow(headers[0])
        number = headers[0].index("row")
        for row in heapq.merge(*readers, key=lambda row: int(row[number])):
            writer.writerow(row)
            count += 1
    os.replace(merged, partials[0])
    for partial in partials[1:]:
        partial.unlink()
    return count


def _convert(file: Path, types: Mapping[str, Any], whole: Path, suffix: str) -> None:
    """Replace a CSV file by one of another format."""
    if suffix == ".parquet":
        register_io_source(lambda *_: _pieces(file, types), schema=dict(types)).sink_parquet(whole)
    else:
        with whole.open("wb") as out:
            for piece in _pieces(file, types):
                piece.write_ndjson(out)
    os.replace(whole, file)


def _pieces(file: Path, types: Mapping[str, Any]) -> Iterator[pl.DataFrame]:
    """The rows of a CSV file, some at a time; polars' own reader holds all of it."""
    rest, has_header = b"", True
    with file.open("rb") as source:
        while block := source.read(PIECE):
            rest += block
            end = rest.rfind(b"\n") + 1
            while rest.count(b'"', 0, end) % 2:  # that line goes on: the end is within quotes
                end = rest.rfind(b"\n", 0, end - 1) + 1
            if not end:
                continue
            rows = pl.read_csv(rest[:end], has_header=has_header, schema=types)
            yield rows.with_columns(pl.col(pl.String).fill_null(""))
            rest, has_header = rest[end:], False


def _columns(outputs: Mapping[str, Any], module: LightningModule) -> Iterator[tuple[str, Any]]:
    """Columns of the file, from what a module's ``predict_step`` gives."""
    for name, values in outputs.items():
        if isinstance(values, Tensor) and values.ndim == 2:
            names = getattr(module, "output_names", None) or range(values.shape[1])
            stem = "probability" if name == "probabilities" else name
            for label, column in zip(names, values.T, strict=True):
                yield f"{stem}_{label}", column
        else:
            yield name, values


def _series(name: str, values: Any) -> pl.Series:
    """A column as it is written: floats as double, no residual where no target is known."""
    if not isinstance(values, Tensor):
        return pl.Series(values, strict=False)
    values = values.double() if values.is_floating_point() else values
    return pl.Series(values.numpy(force=True), nan_to_null=name.startswith("residual"))
