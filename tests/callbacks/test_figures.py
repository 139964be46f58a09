"""What is drawn of a run, and when: of our modules, of rankers, and of anybody's."""

import csv
import json
from collections import Counter
from pathlib import Path
from time import process_time

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lit_course import (
    ArrayDataModule,
    DigitsDataModule,
    LinearRegressor,
    MLPClassifier,
    MLPRegressor,
    Ranker,
    RollerCoasterDataModule,
    SyntheticQueriesDataModule,
)
from lit_course.callbacks import Figures, FittedCurve, figures, show
from lit_course.figures import Chart

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def draws() -> bool:
    return True


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


def files(folder: Path) -> list[str]:
    """Names of figures; each has its picture, that shows something, and its table."""
    names = sorted(path.stem for path in folder.glob("*.png"))
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        f"{name}.{kind}" for name in names for kind in ("csv", "png")
    )
    for name in names:
        with Image.open(folder / f"{name}.png") as picture:
            assert np.asarray(picture).std() > 5
        assert rows(folder / f"{name}.csv")
    return names


def images(folder: Path) -> dict[str, list[int]]:
    """The steps of each image in a folder's files of events."""
    found: dict[str, list[int]] = {}
    for file in sorted(folder.rglob("events.out.tfevents.*")):
        events = EventAccumulator(str(file), size_guidance={"images": 0})
        events.Reload()
        for tag in events.Tags()["images"]:
            found.setdefault(tag, []).extend(event.step for event in events.Images(tag))
    return found


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
    assert files(run / "figures") == sorted(
        f"{s}_{name}" for s in ("test", "val") for name in NAMES
    )
    queries = rows(run / "figures/test_ndcg_by_query.csv")
    assert len(queries) == 12
    for metric in ("mrr", "ndcg@1", "ndcg@5", "map@3", "recall@5"):
        values = [float(row[metric] or 0) for row in queries]
        assert np.mean(values) == pytest.approx(reported[f"test/{metric}"], abs=1e-5)
    with Image.open(run / "figures/test_ndcg_by_query.png") as picture:
        assert picture.size == (768, 480)


def test_the_queries_are_named_and_in_order(tmp_path):
    data, model = SyntheticQueriesDataModule(num_queries=40, batch_size=2), Ranker(in_features=10)
    trainer(tmp_path).test(model, data, verbose=False)
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


def test_a_rehearsal_draws_nothing(tmp_path):
    data, model = SyntheticQueriesDataModule(num_queries=40), Ranker(in_features=10)
    runner = Trainer(
        accelerator="cpu",
        fast_dev_run=True,
        callbacks=[Figures(tmp_path / "figures")],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    runner.fit(model, data)
    runner.test(model, data, verbose=False)
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


# ------------------------------------------------------------- our modules

CLASSES = ["confusion_matrix", "examples", "first_layer", "mistakes", "precision_recall"]
CLASSES += ["reliability", "roc"]


def test_a_fit_from_the_command_line_draws_classes(lit, tmp_path):
    """The same numbers in the table, in the report and in TensorBoard."""
    options = ("--model.hidden_features", "[16]", "--trainer.max_epochs", 2, "--test_best", "true")
    done = lit("fit", "--model=MLPClassifier", "--data=DigitsDataModule", *options)
    assert done.status == 0, done.err
    run = tmp_path / "runs/MLPClassifier/version_0"
    assert files(run / "figures") == [f"{s}_{name}" for s in ("test", "val") for name in CLASSES]
    logged = images(run)
    assert logged == {f"{s}/{name}": [40] for s in ("test", "val") for name in CLASSES}
    reported = json.loads((run / "test_metrics.json").read_text())
    counts = rows(run / "figures/test_confusion_matrix.csv")
    right = sum(int(row[f"as {row['true']}"]) for row in counts)
    assert right / 270 == pytest.approx(reported["test/accuracy"], abs=1e-6)
    for row in counts:
        recall = reported[f"test/recall/{row['true']}"]
        assert float(row["recall"]) == pytest.approx(recall, abs=1e-5)
    curves = rows(run / "figures/test_roc.csv")
    (macro,) = {float(row["AUC"]) for row in curves if row["class"] == "macro average"}
    assert macro == pytest.approx(reported["test/auroc"], abs=1e-5)
    wrong = rows(run / "figures/test_mistakes.csv")
    assert len(wrong) == min(25, 270 - right)
    likely = [float(row["probability_of_true"]) for row in wrong]
    assert likely == sorted(likely)

    again = lit("validate", "--ckpt_path", run, "--figures", "false")
    assert again.status == 0, again.err
    assert (run / "figures/val_roc.png").stat().st_mtime < (
        run / "validate_metrics.json"
    ).stat().st_mtime
    without = lit(
        "fit", "--model=MLPClassifier", "--data=DigitsDataModule", *options[:4], "--figures=false"
    )
    assert without.status == 0, without.err
    assert not (tmp_path / "runs/MLPClassifier/version_1/figures").exists()


def test_a_table_has_a_map_of_weights_and_no_images(tmp_path):
    x = np.random.default_rng(0).normal(size=(90, 3)).astype("float32")
    data = ArrayDataModule(x, (x[:, 0] > 0).astype(int), val_size=20, test_size=20)
    trainer(tmp_path).fit(MLPClassifier(hidden_features=[4]), data)
    names = ("confusion_matrix", "first_layer", "precision_recall", "reliability", "roc")
    assert files(tmp_path / "figures") == [f"val_{name}" for name in names]
    assert len(rows(tmp_path / "figures/val_first_layer.csv")) == 3


def test_a_tuned_threshold_decides_what_is_counted(tmp_path):
    x = np.random.default_rng(0).normal(size=(200, 2)).astype("float32")
    data = ArrayDataModule(x, (x[:, 0] > 1.2).astype(int), val_size=60, test_size=60)
    model, runner = MLPClassifier(hidden_features=[4], threshold=0.1), trainer(tmp_path)
    runner.test(model, data, verbose=False)
    counts = rows(tmp_path / "figures/test_confusion_matrix.csv")
    recall = float(runner.callback_metrics["test/recall"])
    assert float(counts[1]["recall"]) == pytest.approx(recall, abs=1e-5)


def test_a_regression_has_residuals_and_coefficients(tmp_path):
    x = np.random.default_rng(0).normal(size=(90, 3)).astype("float32")
    data = ArrayDataModule(x, x @ np.array([1.0, -2, 3], "float32"), val_size=20, test_size=30)
    model = LinearRegressor(solver="exact")
    runner = trainer(tmp_path)
    runner.fit(model, data)
    runner.test(model, data, verbose=False)
    names = ("coefficients", "predicted_against_true", "residuals")
    assert files(tmp_path / "figures") == [f"{s}_{name}" for s in ("test", "val") for name in names]
    weights = [
        float(row["coefficient"]) for row in rows(tmp_path / "figures/test_coefficients.csv")
    ]
    assert weights == pytest.approx([1, -2, 3, 0], abs=1e-5)
    points = rows(tmp_path / "figures/test_predicted_against_true.csv")
    assert len(points) == 30
    errors = [float(row["true"]) - float(row["predicted"]) for row in points]
    assert np.abs(errors).mean() == pytest.approx(
        float(runner.callback_metrics["test/mae"]), abs=1e-5
    )


@pytest.mark.filterwarnings("ignore:Total length of")  # Lightning's, of an empty split
@pytest.mark.parametrize("model", [LinearRegressor(degree=2), MLPRegressor(hidden_features=[4])])
def test_one_feature_has_a_curve_and_training_rows_where_nothing_is_held_out(tmp_path, model):
    trainer(tmp_path).fit(model, RollerCoasterDataModule())
    curve = rows(tmp_path / "figures/train_fitted_curve.csv")
    points = [row for row in curve if row["kind"] == "point"]
    assert [float(row["x"]) for row in points] == list(range(20))
    line = [(float(row["x"]), float(row["y"])) for row in curve if row["kind"] == "model"]
    x, y = zip(*line, strict=True)
    assert y == pytest.approx(model.predict(np.array(x, "float32")[:, None]).tolist(), abs=1e-4)
    assert model.training


def test_every_step_on_request(lit, tmp_path):
    done = lit(
        *("fit", "--model=LinearRegressor", "--data=RollerCoasterDataModule"),
        *("--model.degree=2", "--model.optimizer=SGD", "--model.lr=0.1"),
        *("--trainer.max_epochs=4", "--trainer.log_every_n_steps=2", "--figures=every_step"),
    )
    assert done.status == 0, done.err
    run = tmp_path / "runs/LinearRegressor/version_0"
    curves = sorted(name for name in files(run / "figures") if "curve" in name)
    assert curves == ["train_fitted_curve", *(f"train_fitted_curve_step_{n}" for n in (0, 2))]
    assert images(run)["train/fitted_curve"] == [0, 2, 4]
    texts = [(run / f"figures/{name}.csv").read_text() for name in curves]
    assert len(set(texts)) == 3


def test_steps_without_a_curve_are_said(tmp_path):
    x = np.random.default_rng(0).normal(size=(90, 3)).astype("float32")
    runner = trainer(tmp_path)
    runner.callbacks.append(FittedCurve(tmp_path))
    with pytest.warns(UserWarning, match="one feature"):
        runner.fit(LinearRegressor(), ArrayDataModule(x, x[:, 0]))
    assert not list(tmp_path.glob("*step*"))


# ------------------------------------------------------------- anybody's modules


class Theirs(LightningModule):
    """Returns what is documented, and knows nothing of this package."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.layer = nn.Linear(12, classes)
        self.classifies = classes > 1

    def training_step(self, batch, batch_idx):
        return self.layer(batch[0].flatten(1)).square().mean()

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        x, y = batch
        outputs = self.layer(x.flatten(1))
        if self.classifies:
            return {"probabilities": outputs.softmax(1), "target": y}
        return {"prediction": outputs.squeeze(1), "target": y}

    test_step = validation_step

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class TheirData(LightningDataModule):
    class_names = ("cat", "dog", "cow")

    def __init__(self, classifies: bool = True) -> None:
        super().__init__()
        x = torch.rand(50, 3, 2, 2)
        y = torch.arange(50) % 3 if classifies else torch.rand(50)
        self.samples = TensorDataset(x, y)

    def train_dataloader(self):
        return DataLoader(self.samples, 8)

    val_dataloader = test_dataloader = train_dataloader


@pytest.mark.parametrize("classes", [3, 1])
def test_anybodys_module_is_drawn(tmp_path, classes):
    runner = trainer(tmp_path, TensorBoardLogger(tmp_path / "logs"), log_every_n_steps=1)
    runner.fit(Theirs(classes), TheirData(classes > 1))
    names = CLASSES if classes > 1 else ["predicted_against_true", "residuals"]
    names = [name for name in names if name != "first_layer"]
    assert files(tmp_path / "figures") == [f"val_{name}" for name in names]
    assert images(tmp_path) == {f"val/{name}": [7] for name in names}
    if classes > 1:
        counts = rows(tmp_path / "figures/val_confusion_matrix.csv")
        assert [row["true"] for row in counts] == ["cat", "dog", "cow"]
        assert sum(int(row["samples"]) for row in counts) == 50


def test_charts_of_ones_own(tmp_path):
    class Own(Theirs):
        def charts(self, seen):
            yield Chart("mine", {"n": [seen.count]}, lambda axes: axes.plot([0, 1]))

    trainer(tmp_path).test(Own(), TheirData(), verbose=False)
    assert files(tmp_path / "figures") == ["test_mine"]
    assert rows(tmp_path / "figures/test_mine.csv") == [{"n": "50"}]


def test_what_cannot_be_drawn_is_one_line_and_the_rest_is_there(tmp_path):
    class Own(Theirs):
        def charts(self, seen):
            yield Chart("first", {"n": [1]}, lambda axes: axes.plot([0, 1]))
            yield Chart("broken", {"n": [1]}, lambda axes: 1 / 0)
            yield Chart("second", {"n": [1]}, lambda axes: axes.plot([0, 1]))
            raise ValueError("no more\nof this")

    with pytest.warns(UserWarning, match="could not be drawn") as said:
        trainer(tmp_path).fit(Own(), TheirData())
    assert [str(w.message) for w in said if "drawn" in str(w.message)] == [
        "val_broken could not be drawn: ZeroDivisionError: division by zero",
        "figures of val after second could not be drawn: ValueError: no more",
    ]
    assert files(tmp_path / "figures") == ["val_first", "val_second"]


def test_answers_that_fit_nothing_are_one_line(tmp_path):
    class Wrong(Theirs):
        def test_step(self, batch, batch_idx):
            return {"prediction": torch.rand(3), "target": batch[1]}

    with pytest.warns(UserWarning, match="no figures: ValueError: targets of shape"):
        trainer(tmp_path).test(Wrong(), TheirData(), verbose=False)
    assert not (tmp_path / "figures").exists()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    class Own(Theirs):
        def charts(self, seen):
            for name in ("mine", "yours"):
                yield Chart(name, {"n": [seen.count]}, lambda axes: axes.plot([0, 1]))

    (tmp_path / "figures").write_text("in the way")
    with pytest.warns(UserWarning, match="could not be drawn") as said:
        trainer(tmp_path).test(Own(), TheirData(), verbose=False)
    (line,) = [str(each.message) for each in said if "could not be drawn" in str(each.message)]
    assert line.startswith(f"figures into {tmp_path / 'figures'} could not be drawn: FileExists")


def test_answers_that_do_not_fit_together_end_no_run(tmp_path):
    """Sequences of another length in every batch, say."""

    class Growing(Theirs):
        def test_step(self, batch, batch_idx):
            answers = torch.zeros(4, 3 + batch_idx)
            return {"prediction": answers, "target": answers}

    with pytest.warns(UserWarning, match="no figures"):
        trainer(tmp_path).test(Growing(), TheirData(), verbose=False)
    assert list(tmp_path.iterdir()) == []


def test_modules_that_return_no_answers_draw_nothing(tmp_path):
    class Silent(Theirs):
        def test_step(self, batch, batch_idx):
            return torch.tensor(0.0)

    trainer(tmp_path).test(Silent(), TheirData(), verbose=False)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------- how much


def test_a_long_fit_logs_along_the_way_and_seldom(tmp_path, monkeypatch):
    """A clock that says 100 s an epoch, and 3 s a drawing."""
    now = [0.0]
    monkeypatch.setattr(figures, "perf_counter", lambda: now[0])

    class Slow(Theirs):
        drawn = 0

        def on_train_epoch_start(self):
            now[0] += 100

        def charts(self, seen):
            now[0] += 3
            self.drawn += 1
            yield Chart("mine", {"of": [seen.of]}, lambda axes: axes.plot([0, 1]))

    model = Slow()
    logger = TensorBoardLogger(tmp_path / "logs")
    runner = trainer(tmp_path, logger, log_every_n_steps=1)
    runner.fit_loop.max_epochs = 40
    runner.fit(model, TheirData())
    # From 200 s on, each time when twice the time has gone by; and at the end.
    epochs = [step // 7 for step in images(tmp_path)["val/mine"]]
    assert epochs == [2, 5, 11, 23, 40]
    assert files(tmp_path / "figures") == ["val_mine"]
    (row,) = rows(tmp_path / "figures/val_mine.csv")
    assert row["of"] == "validation split, epoch 40, 50 samples"


def test_a_short_fit_draws_once(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(show, "_show", lambda *args: drawn.append(args[2].name))
    runner = trainer(tmp_path, TensorBoardLogger(tmp_path / "logs"), log_every_n_steps=9)
    runner.fit_loop.max_epochs = 3
    runner.fit(MLPClassifier(hidden_features=[4]), DigitsDataModule())
    assert sorted(drawn) == CLASSES


def test_the_random_state_is_left_alone(tmp_path, monkeypatch):
    drawn, states = [], []
    monkeypatch.setattr(show, "_show", lambda *args: drawn.append(args[2].name))
    for callbacks in ([], [Figures(tmp_path / "figures")]):
        torch.manual_seed(3)
        data = DigitsDataModule()
        runner = trainer(tmp_path)
        runner.callbacks = [c for c in runner.callbacks if not isinstance(c, Figures)] + callbacks
        model = MLPClassifier(hidden_features=[4], dropout=0.5)
        runner.fit(model, data)
        states.append((torch.get_rng_state(), model.network.output.weight))
    assert all(torch.equal(a, b) for a, b in zip(*states, strict=True))
    assert sorted(drawn) == CLASSES


@pytest.mark.slow
def test_drawing_takes_less_than_three_seconds(lit, monkeypatch):
    """Of the processor: fourteen pictures, and what is gathered in thirty validations."""
    spent = Counter()

    def clocked(name: str):
        ours = getattr(Figures, name)

        def call(*args, **kwargs):
            began = process_time()
            ours(*args, **kwargs)
            spent[name] += process_time() - began

        monkeypatch.setattr(Figures, name, call)

    drawing, gathering = (
        ("on_fit_end", "on_test_end"),
        ("on_validation_batch_end", "on_test_batch_end"),
    )
    for name in drawing + gathering:
        clocked(name)
    began = process_time()
    done = lit("fit", "--config", ROOT / "configs/mlp_digits.yaml", "--test_best", "true")
    whole = process_time() - began
    assert done.status == 0, done.err
    assert 0 < sum(spent[name] for name in drawing) < 3
    assert 0 < sum(spent[name] for name in gathering) < 0.02 * whole
