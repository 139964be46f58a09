"""What stands beside a test: references equal to scikit-learn's, on the same rows."""

import json
import warnings

import numpy as np
import polars as pl
import pytest
import torch
from lightning.pytorch import Trainer
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes, load_digits
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch.utils.data import DataLoader, TensorDataset

from lit_course import (
    ArrayDataModule,
    DataFrameDataModule,
    LinearRegressor,
    MLPClassifier,
    baselines,
)
from lit_course.callbacks import Baselines, Results

UNLEARNED = "the model does not beat the"


@pytest.fixture
def beside(tmp_path):
    """Test a model that was never trained; what the file says of each reference."""

    def run(model, data, **flags) -> dict[str, dict[str, float]]:
        quiet = {"logger": False, "enable_progress_bar": False, "accelerator": "cpu"}
        callbacks = [Results(tmp_path), Baselines(tmp_path)]
        trainer = Trainer(**{**quiet, **flags}, callbacks=callbacks, default_root_dir=tmp_path)
        trainer.test(model, datamodule=data, verbose=False)
        found: dict[str, dict[str, float]] = {}
        for name, value in json.loads((tmp_path / "test_metrics.json").read_text()).items():
            if name.startswith("baseline/"):
                _, who, metric = name.split("/")
                found.setdefault(who, {})[metric] = value
        return found

    return run


def rows(data, split):
    """Features, targets and weights of a split, as scikit-learn takes them."""
    parts = [(x, y, *extras) for x, y, *extras in data.rows_of(split)]
    x, y = (torch.cat([part[i] for part in parts]).numpy() for i in (0, 1))
    weight = torch.cat([part[2]["weight"] for part in parts]) if len(parts[0]) > 2 else None
    return x.astype(float), y, weight


# ------------------------------------------------------------------- equal to scikit-learn's


def test_of_classes_they_are_scikit_learns(beside):
    X, y = load_digits(return_X_y=True)
    data = ArrayDataModule(X.astype("float32"), y)
    found = beside(MLPClassifier(hidden_features=[4]), data)
    assert list(found) == ["majority_class", "logistic_regression"]
    (x, y, _), (x_test, y_test, _) = rows(data, "train"), rows(data, "test")
    references = {
        "majority_class": DummyClassifier(strategy="most_frequent"),
        "logistic_regression": make_pipeline(StandardScaler(), LogisticRegression()),
    }
    for name, reference in references.items():
        predicted = reference.fit(x, y).predict(x_test)
        p = reference.predict_proba(x_test)
        expected = {
            "accuracy": accuracy_score(y_test, predicted),
            "f1": f1_score(y_test, predicted, average="macro"),
            "auroc": roc_auc_score(y_test, p, multi_class="ovr"),
        }
        assert {m: found[name][m] for m in expected} == pytest.approx(expected, abs=1e-4)
        assert set(found[name]) == {"accuracy", "auroc", "f1", "precision", "recall"}


def test_of_numbers_they_are_scikit_learns(beside):
    X, y = load_diabetes(return_X_y=True)
    weight = np.linspace(0, 2, len(y))
    data = ArrayDataModule(X.astype("float32"), y, sample_weight=weight)
    found = beside(LinearRegressor(in_features=10), data)
    assert list(found) == ["training_mean", "least_squares"]
    (x, y, weight), (x_test, y_test, _) = rows(data, "train"), rows(data, "test")
    references = {"training_mean": DummyRegressor(), "least_squares": LinearRegression()}
    for name, reference in references.items():
        predicted = reference.fit(x, y, sample_weight=weight).predict(x_test)
        expected = {
            "mae": mean_absolute_error(y_test, predicted),
            "rmse": root_mean_squared_error(y_test, predicted),
            "r2": r2_score(y_test, predicted),
        }
        assert {m: found[name][m] for m in expected} == pytest.approx(expected, rel=1e-6)


def test_several_targets_are_measured_on_average(beside):
    X, y = load_diabetes(return_X_y=True)
    both = np.stack([y, 2 * y], 1)
    data = ArrayDataModule(X.astype("float32"), both)
    found = beside(LinearRegressor(out_features=2), data)
    (x, y, _), (x_test, y_test, _) = rows(data, "train"), rows(data, "test")
    predicted = LinearRegression().fit(x, y).predict(x_test)
    assert found["least_squares"]["mae"] == pytest.approx(mean_absolute_error(y_test, predicted))


def test_categories_of_a_table_are_one_hot(beside):
    generator = np.random.default_rng(0)
    colour, size = generator.choice(["red", "green", "blue"], 300), generator.normal(size=300)
    price = np.select([colour == "red", colour == "green"], [3.0, -1.0]) + size
    frame = pl.DataFrame({"colour": colour, "size": size, "price": price + 0.1 * size**2})
    for target, model in (("price", LinearRegressor()), ("dear", MLPClassifier())):
        table = frame.with_columns(dear=frame["price"] > 1)
        ignored = "dear" if target == "price" else "price"
        data = DataFrameDataModule(table, target, ignore=[ignored])
        found = beside(model, data)
        numbers = [data._loaded("")[split].rows.numpy() for split in ("train", "test")]
        train, test = (table[rows].to_pandas() for rows in numbers)
        columns = make_column_transformer(
            (OneHotEncoder(), ["colour"]), ("passthrough", ["size"]), sparse_threshold=0
        )
        if target == "price":
            reference = make_pipeline(columns, LinearRegression()).fit(train, train[target])
            expected = mean_absolute_error(test[target], reference.predict(test))
            assert found["least_squares"]["mae"] == pytest.approx(expected, rel=1e-4)
        else:
            scaled = make_pipeline(columns, StandardScaler(), LogisticRegression())
            expected = scaled.fit(train, train[target]).score(test, test[target])
            assert found["logistic_regression"]["accuracy"] == pytest.approx(expected)


def test_the_majority_is_that_of_the_weights(beside):
    y = np.arange(90) % 3
    X = np.ones((90, 1), "float32")
    data = ArrayDataModule(X, y, sample_weight=np.where(y == 2, 3.0, 0.0), test_size=30)
    found = beside(MLPClassifier(hidden_features=[]), data)
    assert list(found) == ["majority_class"]  # to a regression there is one class
    assert found["majority_class"]["recall"] == pytest.approx(1 / 3)


def test_a_tuned_threshold_is_the_models_alone(beside):
    y = (np.arange(200) % 5 == 0).astype(int)
    X = np.random.default_rng(0).normal(size=(200, 2)).astype("float32") + y[:, None]
    found = []
    for threshold in (0.5, 0.9):
        model = MLPClassifier(hidden_features=[], threshold=threshold)
        found.append(beside(model, ArrayDataModule(X, y)))
    assert found[0] == found[1]
    assert found[0]["logistic_regression"]["recall"] > 0


# ------------------------------------------------------------------- what is said


@pytest.mark.parametrize("monitor", [None, "val/f1"])
def test_a_model_that_does_not_beat_the_majority_is_told(beside, monitor):
    """By accuracy, or by the metric that is monitored."""
    y = np.repeat([0, 1], [180, 20])
    data = ArrayDataModule(np.zeros((200, 1), "float32"), y)
    model = MLPClassifier(1, 2, hidden_features=[], monitor=monitor)
    torch.nn.init.zeros_(model.network.output.weight)
    # Always class 1: nothing of the accuracy, and an F1 that the majority, class 0, does not have.
    model.network.output.bias.data = torch.tensor([0.0, 1.0])
    if monitor is None:
        with pytest.warns(
            UserWarning, match=f"{UNLEARNED} majority class: test/accuracy 0.1000, 0.9"
        ):
            beside(model, data)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            warnings.filterwarnings("ignore", ".*does not have many workers")
            beside(model, data)


def test_a_model_that_does_not_beat_the_mean_is_told(beside):
    X, y = load_diabetes(return_X_y=True)
    data = ArrayDataModule(X.astype("float32"), y)
    with pytest.warns(UserWarning, match=f"{UNLEARNED} training mean: test/rmse"):
        beside(LinearRegressor(10), data)


def test_on_the_command_line_they_are_shown_and_can_be_left_out(fit, lit):
    run = fit("--test_best", "true")
    file = run / "test_metrics.json"
    accuracy = json.loads(file.read_text())["baseline/logistic_regression/accuracy"]
    done = lit("test", "--ckpt_path", run)
    assert "logistic regression" in done.out
    assert f"{accuracy:.4f}" in done.out
    with_them = json.loads(file.read_text())
    done = lit("test", "--ckpt_path", run, "--baselines", "false")
    assert (done.status, "logistic regression" in done.out) == (0, False)
    without = json.loads(file.read_text())
    assert without == {k: v for k, v in with_them.items() if not k.startswith("baseline/")}
    assert "beside it" not in lit("validate", "--ckpt_path", run).out


# ------------------------------------------------------------------- where there are none


def test_a_limited_test_has_none(beside):
    X, y = load_digits(return_X_y=True)
    data = ArrayDataModule(X.astype("float32"), y)
    assert not beside(MLPClassifier(hidden_features=[4]), data, limit_test_batches=1)


def test_somebody_elses_loader_has_none(tmp_path, capsys):
    samples = TensorDataset(torch.randn(40, 3), torch.arange(40) % 2)
    callbacks = [Results(), Baselines()]
    trainer = Trainer(logger=False, enable_progress_bar=False, callbacks=callbacks)
    trainer.test(MLPClassifier(3, 2, [4]), DataLoader(samples, 8), verbose=False)
    assert "beside it" not in capsys.readouterr().out


def test_what_would_take_long_is_left_out(beside, monkeypatch):
    X, y = load_digits(return_X_y=True)
    monkeypatch.setattr(baselines, "MOST_VALUES", 1257 * 64 - 1)
    monkeypatch.setattr(baselines, "MOST_PRODUCTS", 1257 * 64**2 - 1)
    options = {"val_size": 270, "test_size": 270}
    data = ArrayDataModule(X.astype("float32"), y, **options)
    assert list(beside(MLPClassifier(hidden_features=[4]), data)) == ["majority_class"]
    data = ArrayDataModule(X.astype("float32"), y.astype(float), **options)
    assert list(beside(LinearRegressor(64), data)) == ["training_mean"]


def test_what_took_long_says_how_to_leave_it_out(beside, monkeypatch, caplog):
    clock = iter([0.0, 7.0])
    monkeypatch.setattr("lit_course.callbacks.baselines.perf_counter", lambda: next(clock))
    data = ArrayDataModule(np.eye(40, dtype="float32"), np.arange(40) % 2)
    with caplog.at_level("INFO"):
        beside(MLPClassifier(hidden_features=[4]), data)
    assert "baselines took 7 s: leave them out with --baselines false" in caplog.text
