"""Figures of rankers: the numbers are those of the report, from any number of batches."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader

from lit_course import Ranker, SyntheticQueriesDataModule
from lit_course.callbacks import Figures

NAMES = ("ndcg_by_query", "score_by_relevance")


def trainer(folder: Path | None, logger=False, **flags) -> Trainer:
    return Trainer(
        **flags,
        accelerator="cpu",
        logger=logger,
        callbacks=[Figures(None if folder is None else folder / "figures")],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        max_epochs=1,
    )


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_test_from_the_command_line_draws(lit, tmp_path):
    small = ("--data.num_queries=60", "--trainer.max_epochs=1")
    done = lit(
        "fit", "--model=Ranker", "--data=SyntheticQueriesDataModule", "--test_best=true", *small
    )
    assert done.status == 0, done.err
    run = tmp_path / "runs/Ranker/version_0"
    reported = json.loads((run / "test_metrics.json").read_text())
    assert sorted(path.name for path in (run / "figures").iterdir()) == sorted(
        f"test_{name}.{kind}" for name in NAMES for kind in ("csv", "png")
    )
    queries = rows(run / "figures/test_ndcg_by_query.csv")
    assert len(queries) == 12
    for metric in ("mrr", "ndcg@1", "ndcg@5", "map@3", "recall@5"):
        values = [float(row[metric] or 0) for row in queries]
        assert np.mean(values) == pytest.approx(reported[f"test/{metric}"], abs=1e-5)
    with Image.open(run / "figures/test_ndcg_by_query.png") as picture:
        assert picture.size == (768, 480)
    tags = set()  # Lightning opens a second file of events for the test
    for file in run.glob("events.out.tfevents.*"):
        events = EventAccumulator(str(file))
        events.Reload()
        tags |= set(events.Tags()["images"])
    assert tags == {f"test/{name}" for name in NAMES}

    again = lit("validate", "--ckpt_path", run)
    assert again.status == 0, again.err
    assert {path.name for path in (run / "figures").glob("val_*.csv")} == {
        f"val_{name}.csv" for name in NAMES
    }


def test_the_queries_are_named_and_in_order(tmp_path):
    data, model = SyntheticQueriesDataModule(num_queries=40, batch_size=2), Ranker(in_features=10)
    trainer(tmp_path).test(model, data, verbose=False)
    assert model.test_metrics.kept() == []  # they are forgotten once they are drawn
    named = [row["query"] for row in rows(tmp_path / "figures/test_ndcg_by_query.csv")]
    assert named == data.split_queries["test"]
    sizes = [int(row["items"]) for row in rows(tmp_path / "figures/test_ndcg_by_query.csv")]
    assert sizes == data._splits["test"].samples.group.bincount()[list(map(int, named))].tolist()


@pytest.mark.parametrize("kind", ["csv", "none", "tensorboard"])
def test_another_logger_loses_only_the_log_entry(tmp_path, kind):
    loggers = {"csv": CSVLogger, "tensorboard": TensorBoardLogger}
    logger = loggers[kind](tmp_path / "logs") if kind in loggers else False
    data = SyntheticQueriesDataModule(num_queries=40)
    trainer(tmp_path, logger).test(Ranker(in_features=10), data, verbose=False)
    assert len(list((tmp_path / "figures").iterdir())) == 4


def test_a_fit_draws_nothing(tmp_path):
    data, model = SyntheticQueriesDataModule(num_queries=40), Ranker(in_features=10)
    trainer(tmp_path).fit(model, data)
    assert not (tmp_path / "figures").exists()
    assert model.val_metrics.kept() == model.test_metrics.kept() == []


def test_answers_are_kept_for_nobody_else(tmp_path):
    data, model = SyntheticQueriesDataModule(num_queries=40), Ranker(in_features=10)
    tester = trainer(tmp_path)
    tester.callbacks = [c for c in tester.callbacks if not isinstance(c, Figures)]
    kept = []
    model.before_report = lambda stage, metrics: kept.append(metrics.kept()) or {}
    tester.test(model, data, verbose=False)
    assert kept == [[]]
    assert list(tmp_path.iterdir()) == []


def test_a_rehearsal_draws_nothing(tmp_path):
    data, model = SyntheticQueriesDataModule(num_queries=40), Ranker(in_features=10)
    Trainer(
        accelerator="cpu",
        fast_dev_run=True,
        callbacks=[Figures(tmp_path / "figures")],
        enable_progress_bar=False,
        enable_model_summary=False,
    ).test(model, data, verbose=False)
    assert list(tmp_path.iterdir()) == []


def test_a_loader_of_somebody_else_is_drawn_too(tmp_path):
    x, y = torch.rand(6, 10), torch.tensor([0.0, 1, 2, 0, 0, 1])
    batches = [(x, y, {"group": torch.tensor([7, 7, 7, 3, 3, 3])})] * 2
    loader = DataLoader(batches, batch_size=None)
    trainer(tmp_path).test(Ranker(in_features=10), loader, verbose=False)
    queries = rows(tmp_path / "figures/test_ndcg_by_query.csv")
    assert [row["query"] for row in queries] == ["0", "1", "2", "3"]


def test_scores_may_be_short_floats(tmp_path):
    data = SyntheticQueriesDataModule(num_queries=40)
    runner = trainer(tmp_path, precision="bf16-mixed")
    runner.test(Ranker(in_features=10), data, verbose=False)
    queries = rows(tmp_path / "figures/test_ndcg_by_query.csv")
    mean = np.mean([float(row["ndcg@5"] or 0) for row in queries])
    assert mean == pytest.approx(float(runner.callback_metrics["test/ndcg@5"]), abs=1e-5)
