"""Predictions, written as they come."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor


class PredictionFile(Callback):
    """Writes one row per sample to a CSV file: row number, class and probabilities, or prediction.

    Rows are in data order and written batch by batch to a partial file, which takes the final name
    at the end: the file is either the old one or whole.

    Args:
        path: Where to write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._partial = path.with_name(path.name + ".part")
        self._file: IO[str] | None = None
        self._rows = 0

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the partial file."""
        self._file = self._partial.open("w", newline="", encoding="utf-8")
        self._rows = 0

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
        writer = csv.writer(self._file)
        named = {"prediction": outputs} if isinstance(outputs, Tensor) else outputs
        columns = dict(_columns(named, pl_module))
        size = len(next(iter(columns.values())))
        has_rows = isinstance(batch, list | tuple) and len(batch) == 3 and "row" in batch[2]
        rows = batch[2]["row"].tolist() if has_rows else range(self._rows, self._rows + size)
        if self._rows == 0:
            writer.writerow(["row", *columns])
        writer.writerows(zip(rows, *columns.values(), strict=True))
        self._rows += size

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the whole file its name."""
        if self._file is not None:
            self._file.close()
            os.replace(self._partial, self.path)
            self._file = None
            print(f"{self._rows:,} predictions in {self.path}")

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Leave no partial file."""
        if self._file is not None:
            self._file.close()
            self._partial.unlink(missing_ok=True)
            self._file = None


def _columns(outputs: Mapping[str, Any], module: LightningModule) -> Iterator[tuple[str, Any]]:
    """Columns of the file, from what a module's ``predict_step`` gives."""
    for name, values in outputs.items():
        if isinstance(values, Tensor) and values.ndim == 2:
            names = getattr(module, "output_names", None) or range(values.shape[1])
            stem = "probability" if name == "probabilities" else name
            for label, column in zip(names, values.T.tolist(), strict=True):
                yield f"{stem}_{label}", column
        else:
            yield name, values.tolist() if isinstance(values, Tensor) else values
