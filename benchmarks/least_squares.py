"""The exact linear regressor against scikit-learn's, and against gradient descent.

``python -m benchmarks.least_squares --rounds 3`` prints speeds as multiples and writes no file.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from sklearn.linear_model import LinearRegression
from threadpoolctl import threadpool_limits

from benchmarks.rounds import ROUNDS, Contender, Rounds, interleave
from lit_course import ArrayDataModule, DiabetesDataModule, LinearRegressor
from lit_course.datamodules.batches import Batches
from lit_course.solvers import least_squares

THREADS = 2
ROWS, COLUMNS = 1_000_000, 100
R2_TOLERANCE = 1e-4


def seconds(work: Callable[[], Any]) -> float:
    """How long something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def trainer(epochs: int) -> Trainer:
    """A Trainer that does nothing but train."""
    return Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def fit_large(data: ArrayDataModule) -> None:
    """A whole ``fit`` of the exact solver: statistics, solution, metrics of the training split."""
    trainer(1).fit(LinearRegressor(solver="exact"), datamodule=data)


def large(rounds: int) -> dict[str, Any]:
    """A million rows of a hundred columns against scikit-learn in both precisions."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((ROWS, COLUMNS), dtype=np.float32)
    weights = generator.standard_normal(COLUMNS)
    y = (x @ weights + generator.standard_normal(ROWS)).astype(np.float32)
    x64, y64 = x.astype(np.float64), y.astype(np.float64)
    batches = Batches(torch.from_numpy(x), torch.from_numpy(y)[:, None], batch_size=8192)
    data = ArrayDataModule(x, y, batch_size=8192, val_size=0, test_size=0, shuffle=False)
    data.setup("fit")

    def solve() -> torch.Tensor:
        return least_squares(lambda: (batch[:2] for batch in batches), COLUMNS).weight[0]

    contenders: dict[str, Contender] = {
        "solver": lambda: seconds(solve),
        "fit": lambda: seconds(lambda: fit_large(data)),
        "sklearn_float64": lambda: seconds(lambda: LinearRegression().fit(x64, y64)),
        "sklearn_float32": lambda: seconds(lambda: LinearRegression().fit(x, y)),
    }
    timed = interleave(contenders, rounds)
    reference = LinearRegression().fit(x64, y64).coef_
    error = np.linalg.norm(solve().numpy() - reference) / np.linalg.norm(reference)
    found = {
        f"{ours}_against_{other}": speed(timed, ours, other)
        for ours in ("solver", "fit")
        for other in ("sklearn_float64", "sklearn_float32")
    }
    medians = {f"{name}_seconds": timed.median(name) for name in contenders}
    return {**found, **medians, "relative_error": float(error)}


def speed(timed: Rounds, name: str, against: str) -> list[float]:
    """Median, lowest and highest ratio."""
    ratio = timed.speed(name, against)
    return [ratio.median, ratio.low, ratio.high]


def fit_diabetes(epochs: int, **arguments: Any) -> float:
    """A whole ``fit`` on diabetes; returns R² of the training split."""
    model = LinearRegressor(**arguments)
    runner = trainer(epochs)
    runner.fit(model, datamodule=DiabetesDataModule(batch_size=1000))
    return float(runner.callback_metrics["train/r2"])


def diabetes(rounds: int) -> dict[str, Any]:
    """The whole ``fit`` against gradient descent with the fewest epochs that find the same R²."""
    descent = {"optimizer": "SGD", "lr": 0.2, "optimizer_options": {"momentum": 0.9}}
    best = fit_diabetes(1, solver="exact")
    epochs = 1
    while best - fit_diabetes(epochs, **descent) > R2_TOLERANCE:
        epochs *= 2
    contenders: dict[str, Contender] = {
        "exact": lambda: seconds(lambda: fit_diabetes(1, solver="exact")),
        "descent": lambda: seconds(lambda: fit_diabetes(epochs, **descent)),
    }
    timed = interleave(contenders, rounds)
    medians = {f"{name}_seconds": timed.median(name) for name in contenders}
    return {"exact_against_descent": speed(timed, "exact", "descent"), **medians, "epochs": epochs}


def measure(rounds: int = ROUNDS) -> dict[str, Any]:
    """All ratios, as plain values: a ratio is its median, lowest and highest."""
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    logging.disable(logging.INFO)
    try:
        with threadpool_limits(THREADS), warnings.catch_warnings(action="ignore"):
            return {"large": large(rounds), "diabetes": diabetes(rounds)}
    finally:
        logging.disable(logging.NOTSET)
        torch.set_num_threads(before)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    print(json.dumps(measure(parser.parse_args().rounds), indent=1))
