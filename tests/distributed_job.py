"""What several processes must find as one does; ``test_distributed.py`` runs it with both.

``python distributed_job.py FOLDER`` or ``torchrun ... distributed_job.py FOLDER`` writes
``<rank>.json``.
"""

import csv
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from lit_course import (
    ArrayDataModule,
    CSVDataModule,
    LinearRegressor,
    MLPClassifier,
    MLPRegressor,
    Ranker,
    SyntheticQueriesDataModule,
)
from lit_course.callbacks import Figures, PredictionFile, StopEarly
from lit_course.ranking_losses import RANKING_LOSSES

RANK, WORLD = (
    int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1))
)
GLOBAL_BATCH = 24


def trainer(**flags: Any) -> Trainer:
    quiet = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    strategy = "ddp" if WORLD > 1 else "auto"
    return Trainer(accelerator="cpu", devices=WORLD, strategy=strategy, **{**quiet, **flags})


def samples(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features, and labels of which the classes are of unequal size."""
    generator = torch.Generator().manual_seed(0)
    y = (torch.arange(count) % 7).clamp(max=2)
    x = torch.nn.functional.one_hot(y, 4) * 1.5 + torch.randn(count, 4, generator=generator)
    return x * torch.tensor([1.0, 10.0, 0.1, 1.0]) + torch.tensor([0.0, 5.0, -1.0, 100.0]), y


def found(model: LightningModule, runner: Trainer) -> dict[str, Any]:
    state = {name: value.tolist() for name, value in model.state_dict().items()}
    return state | {name: float(value) for name, value in runner.callback_metrics.items()}


def numbers_of(table: Path) -> list[list[float]]:
    """The cells of a CSV file that are numbers."""
    _, *rows = csv.reader(table.open())
    return [[float({"": -1, "inf": 9}.get(cell, cell)) for cell in row] for row in rows]


def penalties_and_accumulated_gradients() -> dict[str, Any]:
    x, _ = samples(167)
    data = ArrayDataModule(
        x.numpy(), x.sum(1).numpy(), batch_size=GLOBAL_BATCH // WORLD, val_size=40, test_size=0
    )
    model = LinearRegressor(l1=0.1, l2=5.0, optimizer="SGD", lr=0.05)
    runner = trainer(max_epochs=2, accumulate_grad_batches=2)
    runner.fit(model, datamodule=data)
    return found(model, runner)


def lbfgs() -> dict[str, Any]:
    """Processes that saw losses of their own would stop its inner loop at different moments."""
    x, _ = samples(167)
    data = ArrayDataModule(
        x.numpy(), x.square().sum(1).numpy(), batch_size=200 // WORLD + 1, val_size=0, test_size=0
    )
    options = {"max_iter": 20, "line_search_fn": "strong_wolfe"}
    model = LinearRegressor(optimizer="LBFGS", lr=1.0, optimizer_options=options)
    runner = trainer(max_epochs=2)
    runner.fit(model, datamodule=data)
    return found(model, runner)


def exact_solutions() -> dict[str, Any]:
    """By the normal equations, with a penalty, and by the second pass: a column is there twice."""
    results = {}
    for case, columns, arguments in (
        ("plain", [0, 1, 2, 3], {}),
        ("ridge", [0, 1, 2, 3], {"l2": 50.0}),
        ("deficient", [0, 1, 1, 3], {}),
        ("raw", [0, 1, 2, 3], {"standardize": False}),
    ):
        x, y = samples(167)
        data = ArrayDataModule(
            x[:, columns].numpy(), (x.sum(1) + y).numpy(), batch_size=20 // WORLD, test_size=0
        )
        model = LinearRegressor(solver="exact", **arguments)
        runner = trainer(max_epochs=1)
        runner.fit(model, datamodule=data)
        assert runner.global_step == 1
        results |= {f"{case} {name}": value for name, value in found(model, runner).items()}
    return results


def foreign_loader() -> dict[str, Any]:
    """Statistics, class weights and the ragged last batch of a loader that is not ours."""
    dataset = TensorDataset(*samples(99))
    part = DistributedSampler(dataset, WORLD, RANK, shuffle=False)
    loader = DataLoader(dataset, GLOBAL_BATCH // WORLD, sampler=part)
    model = MLPClassifier(4, 3, [8], class_weights="balanced", optimizer="SGD", lr=0.1)
    runner = trainer(max_epochs=2)
    runner.fit(model, loader)
    return found(model, runner)


def weighted_samples_and_a_tuned_threshold() -> dict[str, Any]:
    """Ragged batches; of two validation rows the last process has none."""
    x, y = samples(167)
    weight = (torch.arange(167) * 0.37) % 1
    weight[: GLOBAL_BATCH // 3] = 0
    results = {}
    for case, val_size in (("many", 60), ("few", 2)):
        seed_everything(0)
        data = ArrayDataModule(
            x.numpy(),
            (y == 2).long().numpy(),
            sample_weight=weight.numpy(),
            batch_size=GLOBAL_BATCH // WORLD,
            val_size=val_size,
            test_size=30,
            shuffle=case == "many",
        )
        model = MLPClassifier(
            hidden_features=[8],
            class_weights="balanced",
            threshold="tune",
            optimizer="SGD",
            lr=0.1,
        )
        figures = Path(sys.argv[1]) / f"{case}{WORLD}"
        runner = trainer(max_epochs=2, callbacks=[Figures(figures)])
        runner.fit(model, datamodule=data)
        results |= {f"{case} {name}": value for name, value in found(model, runner).items()}
        runner.test(model, datamodule=data, verbose=False)
        runner.strategy.barrier()  # the first process has drawn
        for file in figures.glob("*_[cpr]*.csv"):  # units of the first layer have no order
            results |= {f"{case} {file.stem}": numbers_of(file)}
        values = {name: float(value) for name, value in runner.callback_metrics.items()}
        results |= {f"{case} {name}": value for name, value in values.items()}
    for solver in ("gradient", "exact"):
        data = ArrayDataModule(
            x.numpy(),
            x.sum(1).numpy(),
            sample_weight=weight.numpy(),
            batch_size=GLOBAL_BATCH // WORLD,
        )
        steps = {"optimizer": "SGD", "lr": 0.05} if solver == "gradient" else {}
        seed_everything(0)
        line = LinearRegressor(solver=solver, l2=5.0, **steps)
        runner = trainer(max_epochs=1)
        runner.fit(line, datamodule=data)
        results |= {f"{solver} {name}": value for name, value in found(line, runner).items()}
    return results


def scaled_targets() -> dict[str, Any]:
    """Their statistics, of a data module of ours and counted by each process."""
    x, y = samples(99)
    targets = 200_000 + 1000 * (x[:, :2] + y[:, None])
    data = ArrayDataModule(
        x.numpy(), targets.numpy(), batch_size=GLOBAL_BATCH // WORLD, val_size=20, test_size=0
    )
    dataset = TensorDataset(x, targets)
    part = DistributedSampler(dataset, WORLD, RANK, shuffle=False)
    results = {}
    for name, source in (
        ("ours", {"datamodule": data}),
        (
            "foreign",
            {"train_dataloaders": DataLoader(dataset, GLOBAL_BATCH // WORLD, sampler=part)},
        ),
    ):
        seed_everything(0)
        model = MLPRegressor(4, 2, [8], loss="gaussian_nll", optimizer="SGD", lr=0.1)
        runner = trainer(max_epochs=2)
        runner.fit(model, **source)
        results |= {f"{name} {key}": value for key, value in found(model, runner).items()}
    return results


def ranking() -> dict[str, Any]:
    """Queries of different sizes, shared unevenly; of two test queries one process has none."""
    results = {}
    for loss in RANKING_LOSSES:
        seed_everything(0)
        data = SyntheticQueriesDataModule(
            80, batch_size=GLOBAL_BATCH // WORLD, val_size=22, test_size=2
        )
        model = Ranker(hidden_features=[8], bins=4, loss=loss, optimizer="SGD", lr=0.05)
        runner = trainer(max_epochs=2)
        runner.fit(model, datamodule=data)
        results |= {f"{loss} {name}": value for name, value in found(model, runner).items()}
        file = Path(sys.argv[1]) / "ranks.csv"
        runner = trainer(callbacks=[PredictionFile(file), Figures(file.parent / "figures")])
        runner.test(model, datamodule=data, verbose=False)
        values = {name: float(value) for name, value in runner.callback_metrics.items()}
        results |= {f"{loss} {name}": value for name, value in values.items()}
        runner.predict(model, datamodule=data, return_predictions=False)
        rows = list(csv.DictReader(file.open()))
        for column in ("query", "item", "score", "rank"):
            results[f"{loss} {column}"] = [float(row[column]) for row in rows]
        for table in file.parent.glob("figures/*.csv"):
            results[f"{loss} {table.stem}"] = numbers_of(table)
    return results


def more_processes_than_rows() -> dict[str, Any]:
    x, y = samples(154)
    data = ArrayDataModule(
        x.numpy(), y.numpy(), batch_size=GLOBAL_BATCH // WORLD, val_size=2, test_size=2
    )
    model = MLPClassifier(hidden_features=[8], optimizer="SGD", lr=0.1)
    runner = trainer(max_epochs=1)
    runner.fit(model, datamodule=data)
    result = found(model, runner)
    runner.test(model, datamodule=data, verbose=False)
    return result | {name: float(value) for name, value in runner.callback_metrics.items()}


def plateau_and_early_stopping() -> dict[str, Any]:
    x, y = samples(150)
    data = ArrayDataModule(x.numpy(), y.numpy(), batch_size=GLOBAL_BATCH // WORLD, val_size=31)
    model = MLPClassifier(
        hidden_features=[8],
        optimizer="SGD",
        lr=3.0,
        lr_scheduler="ReduceLROnPlateau",
        lr_scheduler_options={"patience": 1, "cooldown": 1},
        monitor="val/f1",
    )
    runner = trainer(max_epochs=40, callbacks=[StopEarly(patience=6)])
    runner.fit(model, datamodule=data)
    rate = runner.optimizers[0].param_groups[0]["lr"]
    return {"epochs": runner.current_epoch, "rate": rate, "f1": found(model, runner)["val/f1"]}


def predictions_of_a_foreign_loader() -> dict[str, Any]:
    """Lightning deals single rows out to the processes in turn."""
    x, y = samples(100)
    model = LinearRegressor(4, standardize=False, initial_weights=[1.0, 2.0, 3.0, 4.0, 5.0])
    file = Path(sys.argv[1]) / "predictions.csv"
    runner = trainer(callbacks=[PredictionFile(file)])
    runner.predict(model, DataLoader(TensorDataset(x, y), 8), return_predictions=False)
    rows = list(csv.DictReader(file.open()))
    assert [int(row["row"]) for row in rows] == list(range(100))
    return {"predictions": [float(row["prediction"]) for row in rows]}


def table_on_disk() -> dict[str, Any]:
    """Alone it is in memory; several processes share a copy that one of them makes."""
    x, y = samples(167)
    folder = Path(sys.argv[1])
    path = folder / f"table{WORLD}.csv"
    if RANK == 0:
        columns = {f"x{i}": x[:, i].tolist() for i in range(4)}
        written = folder / "written.csv"
        pl.DataFrame({**columns, "level": ["abc"[i] for i in y], "kind": y}).write_csv(written)
        written.rename(path)
    while not path.exists():
        time.sleep(0.01)
    data = CSVDataModule(
        str(path),
        "kind",
        batch_size=GLOBAL_BATCH // WORLD,
        cache_dir=str(folder / "cache") if WORLD > 1 else None,
    )
    model = MLPClassifier(hidden_features=[8], optimizer="SGD", lr=0.1)
    runner = trainer(max_epochs=3)
    runner.fit(model, datamodule=data)
    if RANK == 0 and WORLD > 1:
        copies = sorted(file.suffix for file in (folder / "cache").iterdir())
        assert copies == ["", ".npy", ".parquet"]
    return found(model, runner)


CASES: list[Callable[[], dict[str, Any]]] = [
    penalties_and_accumulated_gradients,
    lbfgs,
    exact_solutions,
    foreign_loader,
    weighted_samples_and_a_tuned_threshold,
    scaled_targets,
    ranking,
    more_processes_than_rows,
    plateau_and_early_stopping,
    predictions_of_a_foreign_loader,
    table_on_disk,
]

if __name__ == "__main__":
    warnings.simplefilter("error")
    for known in (
        ".*LeafSpec.*",
        ".*does not have many workers.*",
        ".*no .val_dataloader.*",
        ".*logging interval.*",
        ".*leaves out classes.*",
        "Total length of .list. across ranks is zero",
    ):
        warnings.filterwarnings("ignore", known)
    results = {}
    for case in CASES:
        seed_everything(0)
        results[case.__name__] = case()
    (Path(sys.argv[1]) / f"{RANK}.json").write_text(json.dumps(results))
