"""The exact linear regressor against scikit-learn's, and against gradient descent."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from sklearn.linear_model import LinearRegression

from benchmarks.group import Group, Row, Setting
from benchmarks.rounds import Rounds, interleave
from lit_course import ArrayDataModule, DiabetesDataModule, LinearRegressor
from lit_course.datamodules.batches import Batches
from lit_course.solvers import least_squares

COLUMNS = 100
R2_TOLERANCE = 1e-4
DESCENT: dict[str, Any] = {"optimizer": "SGD", "lr": 0.2, "optimizer_options": {"momentum": 0.9}}


def seconds(work: Callable[[], Any]) -> float:
    """How long something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def fit(model: LinearRegressor, data: Any, epochs: int = 1) -> float:
    """A whole ``fit`` that does nothing else; returns R² of the training split."""
    with warnings.catch_warnings(action="ignore"):  # advice on loaders and validation
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=epochs,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model, datamodule=data)
    return float(trainer.callback_metrics["train/r2"])


def measure_large(setting: Setting) -> Rounds:
    """Many rows of a hundred columns against scikit-learn in both precisions."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    rows = 1_000_000 if len(setting.images.x) >= 60_000 else 2_000  # the quick form
    generator = np.random.default_rng(0)
    x = generator.standard_normal((rows, COLUMNS), dtype=np.float32)
    y = (x @ generator.standard_normal(COLUMNS) + generator.standard_normal(rows)).astype(x.dtype)
    x64, y64 = x.astype(np.float64), y.astype(np.float64)
    batches = Batches(torch.from_numpy(x), torch.from_numpy(y)[:, None], batch_size=8192)
    data = ArrayDataModule(x, y, batch_size=8192, val_size=0, test_size=0, shuffle=False)

    def solve() -> None:
        least_squares(lambda: (batch[:2] for batch in batches), COLUMNS)

    return interleave(
        {
            "solver": lambda: seconds(solve),
            "whole fit": lambda: seconds(lambda: fit(LinearRegressor(solver="exact"), data)),
            "scikit-learn, float64": lambda: seconds(lambda: LinearRegression().fit(x64, y64)),
            "scikit-learn, float32": lambda: seconds(lambda: LinearRegression().fit(x, y)),
        },
        setting.rounds,
    )


def measure_diabetes(setting: Setting) -> Rounds:
    """Whole fits: the exact one, and descent over the fewest doublings of epochs to its R²."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    def exact() -> float:
        return fit(LinearRegressor(solver="exact"), DiabetesDataModule(batch_size=1000))

    def descent(epochs: int) -> float:
        return fit(LinearRegressor(**DESCENT), DiabetesDataModule(batch_size=1000), epochs)

    best, epochs = exact(), 1
    while best - descent(epochs) > R2_TOLERANCE:
        epochs *= 2
    return interleave(
        {
            "exact": lambda: seconds(exact),
            "gradient descent": lambda: seconds(lambda: descent(epochs)),
        },
        setting.rounds,
    )


GROUPS = {
    "least_squares": Group(
        "exact least squares, 1,000,000 rows of 100 columns, against …",
        (
            Row("scikit-learn, float64", "solver", "scikit-learn, float64", at_least=5),
            Row("scikit-learn, float32", "solver", "scikit-learn, float32"),
            Row("float64, the whole fit", "whole fit", "scikit-learn, float64"),
            Row("float32, the whole fit", "whole fit", "scikit-learn, float32"),
        ),
        measure_large,
    ),
    "diabetes": Group(
        "the exact fit on diabetes against …",
        (Row("gradient descent to R² within 1e-4", "exact", "gradient descent", at_least=10),),
        measure_diabetes,
    ),
}
