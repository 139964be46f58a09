"""``fit --cross_validate K``: what it reports, what it leaves, and that nothing leaks."""

import json
from statistics import mean, stdev

import numpy as np
import polars as pl
import pytest
import torch
from lightning.pytorch import Trainer

from lit_course import ArrayDataModule, DataFrameDataModule, MLPClassifier, MLPRegressor
from lit_course.datamodules.folds import Fold

DIGITS = (
    "--model",
    "MLPClassifier",
    "--model.hidden_features",
    "[8]",
    "--data",
    "DigitsDataModule",
)
TWO_PROCESSES = ("--trainer.devices", 2, "--trainer.accelerator", "cpu")
LINEAR = ("--model", "LinearRegressor", "--model.solver", "exact", "--trainer.max_epochs", 1)
pytestmark = pytest.mark.filterwarnings("ignore:Total length of .* across ranks is zero")


@pytest.fixture
def table(tmp_path):
    generator = np.random.default_rng(0)
    x = generator.normal(size=60)
    path = tmp_path / "table.csv"
    pl.DataFrame(
        {
            "x": x,
            "colour": generator.choice(["red", "green", "blue"], 60),
            "who": np.arange(60) % 12,
            "when": np.arange(60) // 2,
            "y": 2 * x + generator.normal(size=60),
        }
    ).write_csv(path)
    return path


# ------------------------------------------------------------------- what it reports


def test_mean_and_deviation_of_folds_that_are_scikit_learns_by_hand(lit, tmp_path, table):
    """An exact solution has nothing to draw: each fold is that of the closed form."""
    where = ("--data", "CSVDataModule", "--data.path", table, "--data.target", "y")
    options = ("--data.features", '["x"]', "--data.val_size", 0, "--data.seed", 5)
    done = lit("fit", *LINEAR, *where, *options, "--cross_validate", 4, "--name", "cv")
    assert done.status == 0, done.err
    run = tmp_path / "runs/cv/version_0"
    written = json.loads((run / "cross_validation.json").read_text())

    frame = pl.read_csv(table)
    x, y = frame["x"].to_numpy(), frame["y"].to_numpy()
    expected = []
    for number in range(4):
        rows = Fold(number, 4).split_rows(60, val_size=0, seed=5)
        slope, intercept = np.polyfit(x[rows["train"]], y[rows["train"]], 1)
        expected.append(np.abs(y[rows["test"]] - slope * x[rows["test"]] - intercept).mean())
    mae = written["test/mae"]
    assert mae["folds"] == pytest.approx(expected, rel=1e-5)
    assert mae["mean"] == pytest.approx(mean(expected), rel=1e-5)
    assert mae["deviation"] == pytest.approx(stdev(expected), rel=1e-4)
    assert f"{mae['mean']:.4f}" in done.out
    beside = written["baseline/least_squares/mae"]["folds"]  # the same solution, on "x" alone
    assert beside == pytest.approx(mae["folds"], rel=1e-5)
    assert written["baseline/training_mean/mae"]["mean"] > mae["mean"]
    assert f"{mae['deviation']:.4f}" in done.out
    assert sorted(path.name for path in run.iterdir()) == [
        "config.yaml",
        "cross_validation.json",
        *(f"fold_{number}" for number in (1, 2, 3, 4)),
    ]
    assert (run / "fold_4/checkpoints/best.ckpt").is_file()
    assert done.out.count("samples ") == 1  # the plan is said once


def test_each_fold_is_a_fit_from_the_same_seed(lit, tmp_path):
    options = ("--cross_validate", 2, "--trainer.max_epochs", 1, "--name", "cv")
    for _ in range(2):
        assert lit("fit", *DIGITS, *options).status == 0
    first, again = (
        json.loads((tmp_path / f"runs/cv/version_{n}/cross_validation.json").read_text())
        for n in (0, 1)
    )
    assert first == again
    weights = [
        torch.load(
            tmp_path / f"runs/cv/version_0/fold_{n}/checkpoints/last.ckpt", weights_only=True
        )["state_dict"]
        for n in (1, 2)
    ]
    # Half of the digits each: other rows, other statistics.
    assert not torch.equal(weights[0]["network.scaling.mean"], weights[1]["network.scaling.mean"])


def test_the_configuration_does_it_again(lit, tmp_path, table):
    where = ("--data", "CSVDataModule", "--data.path", table, "--data.target", "y")
    assert lit("fit", *LINEAR, *where, "--cross_validate", 2, "--name", "cv").status == 0
    config = tmp_path / "runs/cv/version_0/config.yaml"
    assert lit("fit", "--config", config, "--name", "again").status == 0
    assert (tmp_path / "runs/again/version_0/cross_validation.json").is_file()


# ------------------------------------------------------------------- nothing leaks


def trained(model, data):
    """The whole state of a model trained on the first of three folds, and its data's schema."""
    data.fold = Fold(0, 3)
    torch.manual_seed(0)
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, datamodule=data)
    return model.state_dict(), model.schema


def test_rows_held_out_move_no_fitted_number():
    """Scaling, class weights and every trained weight are the same whatever the fold holds."""
    generator = np.random.default_rng(0)
    X, y = generator.normal(size=(90, 4)).astype("float32"), np.arange(90) % 3
    held_out = Fold(0, 3).split_rows(90, val_size=0.2, seed=0, labels=torch.tensor(y))["test"]
    other = X.copy()
    other[held_out] = 1000 * generator.normal(size=(30, 4))
    states = [
        trained(
            MLPClassifier(hidden_features=[8], class_weights="balanced"),
            ArrayDataModule(x, y, val_size=0.2),
        )[0]
        for x in (X, other)
    ]
    train = Fold(0, 3).split_rows(90, val_size=0.2, seed=0, labels=torch.tensor(y))["train"]
    counts = np.bincount(y[train])
    assert states[0]["loss.class_weights"].tolist() == pytest.approx(len(train) / 3 / counts)
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
    other[0 if 0 not in held_out else 1] += 1  # it would be seen: a row that is not held out
    moved, _ = trained(
        MLPClassifier(hidden_features=[8], class_weights="balanced"),
        ArrayDataModule(other, y, val_size=0.2),
    )
    assert not torch.equal(moved["network.output.weight"], states[0]["network.output.weight"])


def test_rows_held_out_of_a_table_move_no_encoder():
    """Categories, medians of missing values and the scaling of the target."""
    generator = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "size": generator.normal(size=90),
            "colour": generator.choice(["red", "green"], 90),
            "price": generator.normal(size=90),
        }
    )
    missing = generator.random(90) < 0.2
    frame = frame.with_columns(size=pl.when(pl.Series(~missing)).then("size"))
    held_out = pl.Series(
        np.isin(np.arange(90), Fold(0, 3).split_rows(90, val_size=0.2, seed=0)["test"])
    )
    other = frame.with_columns(
        size=pl.when(held_out).then(1e6).otherwise("size"),
        colour=pl.when(held_out).then(pl.lit("blue")).otherwise("colour"),
        price=pl.when(held_out).then(-1e6).otherwise("price"),
    )
    found = [
        trained(MLPRegressor(hidden_features=[8]), DataFrameDataModule(f, "price", val_size=0.2))
        for f in (frame, other)
    ]
    assert found[0][1] == found[1][1]
    assert "blue" not in json.dumps(found[0][1])
    for name, value in found[0][0].items():
        assert torch.equal(value, found[1][0][name]), name


def test_groups_are_held_out_as_a_whole(table):
    frame = pl.read_csv(table)
    seen = []
    for number in range(3):
        data = DataFrameDataModule(frame, "y", group_column="who", val_size=0.2)
        data.fold = Fold(number, 3)
        data.setup("fit")
        groups = {
            name: set(frame["who"].gather(pl.Series(split.rows.numpy())))
            for name, split in data._splits.items()
        }
        assert not groups["test"] & (groups["train"] | groups["val"])
        seen += groups["test"]
    assert sorted(seen) == list(range(12))


# ------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (("--cross_validate", 1), 2, "cross_validate is a number of folds, at least 2, found 1"),
        (("--cross_validate", "x"), 2, "cross_validate"),
        (("--cross_validate", 175), 1, "175 rows of the rarest class at least, found 174"),
        (("--cross_validate", 2, "--trainer.fast_dev_run", "true"), 2, "fast_dev_run"),
        (("--cross_validate", 2, "--trainer.enable_checkpointing", "false"), 2, "best checkpoint"),
        (("--cross_validate", 2, "--trainer.limit_test_batches", 1), 2, "tests every row once"),
        (("--cross_validate", 2, *TWO_PROCESSES), 2, "works with one process"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_no_folder(lit, tmp_path, options, status, said):
    done = lit("fit", *DIGITS, "--trainer.max_epochs", 1, *options)
    assert (done.status, done.out) == (status, "")
    assert said in done.err
    assert len(done.err.splitlines()) <= 5
    assert not list(tmp_path.rglob("version_*"))


def test_a_checkpoint_has_seen_the_rows(fit, lit):
    run = fit("--model.hidden_features", "[8]", epochs=1)
    done = lit("fit", *DIGITS, "--cross_validate", 2, "--ckpt_path", run)
    assert done.status == 2
    assert "leave ckpt_path out" in done.err


@pytest.mark.parametrize("column", ["time_column", "split_column"])
def test_rows_in_an_order_of_their_own_are_refused(lit, tmp_path, table, column):
    where = ("--data", "CSVDataModule", "--data.path", table, "--data.target", "y")
    done = lit("fit", *LINEAR, *where, f"--data.{column}", "when", "--cross_validate", 3)
    assert done.status == 1
    assert f"{column} says which rows are tested on" in done.err
    assert not list(tmp_path.rglob("version_*"))


def test_a_test_table_of_its_own_is_refused(lit, tmp_path, table):
    where = ("--data", "CSVDataModule", "--data.path", table, "--data.target", "y")
    done = lit("fit", *LINEAR, *where, "--data.test_path", table, "--cross_validate", 3)
    assert done.status == 1
    assert "CSVDataModule has a test split of its own" in done.err


def test_a_fold_that_fails_at_once_leaves_no_folder(lit, tmp_path, table):
    where = ("--data", "CSVDataModule", "--data.path", table, "--data.target", "y")
    model = ("--model", "MLPRegressor", "--model.target_transform", "log")  # targets below 0
    done = lit("fit", *model, *where, "--cross_validate", 3, "--trainer.max_epochs", 1)
    assert done.status == 1
    assert "target_transform 'log'" in done.err
    assert not list(tmp_path.rglob("version_*"))


def test_an_interrupt_says_that_folds_start_again_and_loses_nothing(lit, tmp_path, kicked):
    kicked(3)
    options = ("--cross_validate", 2, "--trainer.max_epochs", 2, "--name", "cv")
    done = lit("fit", *DIGITS, *options)
    assert done.status == 143
    assert "cannot be resumed: start it again" in done.err
    assert "--ckpt_path" not in done.err
    run = tmp_path / "runs/cv/version_0"
    assert (run / "config.yaml").is_file()
    assert (run / "fold_1/checkpoints/last.ckpt").is_file()


def test_null_is_one_fit(lit, tmp_path):
    options = ("--cross_validate", "null", "--trainer.max_epochs", 1, "--name", "one")
    assert lit("fit", *DIGITS, *options).status == 0
    assert (tmp_path / "runs/one/version_0/fit_metrics.json").is_file()


@pytest.mark.filterwarnings("default:init_from")
def test_weights_to_start_from_may_know_the_rows(fit, lit):
    run = fit("--model.hidden_features", "[8]", epochs=1)
    options = ("--model.init_from", run, "--trainer.max_epochs", 1, "--baselines", "false")
    done = lit("fit", *DIGITS, *options, "--cross_validate", 2)
    assert done.status == 0
    assert "rows that the model knows" in done.err


def test_the_references_of_folds_can_be_left_out(lit, tmp_path):
    options = ("--trainer.max_epochs", 1, "--baselines", "false", "--name", "cv")
    assert lit("fit", *DIGITS, *options, "--cross_validate", 2).status == 0
    written = json.loads((tmp_path / "runs/cv/version_0/cross_validation.json").read_text())
    assert all(name.startswith("test/") for name in written)
