"""Whole tables against scikit-learn: imputer, one-hot, scaler, linear or logistic model."""

import csv

import numpy as np
import polars as pl
import pytest
import sklearn.metrics as sk
import torch
from lightning.pytorch import Trainer, seed_everything
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from lit_course.datamodules import CSVDataModule, DataFrameDataModule
from lit_course.modules import LinearRegressor, MLPClassifier
from lit_course.raw_table import RawTable
from lit_course.tables import MISSING, Table

NOT_LEARNED = "ignore:'(note|id)' "


def defective(rows: int, seed: int) -> pl.DataFrame:
    """A table with everything that goes wrong, and targets that depend on what is in it."""
    draw = np.random.default_rng(seed)
    number, skewed = draw.normal(5, 2, rows), draw.lognormal(3, 1, rows)
    city, flag = draw.choice(["Bonn", "Köln", "Ulm", "Zug"], rows), draw.random(rows) < 0.3
    grade, year = draw.integers(1, 5, rows), draw.integers(1990, 2024, rows)
    value = number + np.log(skewed) + 2 * (city == "Ulm") - (city == "Zug") + flag + 0.5 * grade
    value += (year - 2000) / 10 + draw.normal(0, 1, rows)

    def holes(values, share, mark=None):
        return [mark if draw.random() < share else v for v in values]

    return pl.DataFrame(
        {
            "id": np.arange(rows),
            "number": holes(number.tolist(), 0.1),
            "quoted": holes([f" {v:.4f}" for v in skewed], 0.05, "?"),
            "city": holes(city.tolist(), 0.05, "NA"),
            "flag": holes(flag.tolist(), 0.0),
            "grade": holes([str(g) for g in grade], 0.02, ""),
            "since": [f"{y}-06-{1 + i % 28:02}" for i, y in enumerate(year)],
            "constant": ["here"] * rows,
            "note": [f"note {i}: {v:.3f}" for i, v in enumerate(number)],
            "value": value,
            "label": np.where(value > np.median(value), "high", "low"),
        },
        strict=False,
    )


NUMBERS = ["number", "quoted", "flag", "year", "month", "day", "weekday"]
LEVELS = ["city", "grade"]


def by_hand(frame: pl.DataFrame) -> dict[str, np.ndarray]:
    """The columns as a user of scikit-learn would prepare them."""
    text = pl.col(pl.String)
    frame = frame.with_columns(
        pl.when(text.is_in(list(MISSING))).then(None).otherwise(text).name.keep()
    )
    since = frame["since"].str.to_date()
    numbers = frame.select(
        pl.col("number"),
        pl.col("quoted").str.strip_chars().cast(pl.Float64),
        pl.col("flag").cast(pl.Float64),
    ).with_columns(
        since.dt.year().alias("year"),
        since.dt.month().alias("month"),
        since.dt.day().alias("day"),
        since.dt.weekday().alias("weekday"),
    )
    levels = frame.select(pl.col(LEVELS).fill_null("missing"))
    return {**numbers.to_dict(), **levels.to_dict()}


def pipeline(model):
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    columns = ColumnTransformer(
        [
            ("numbers", numbers, slice(0, 7)),
            ("levels", OneHotEncoder(handle_unknown="ignore"), slice(7, 9)),
        ]
    )
    return make_pipeline(columns, model)


def matrix(columns) -> np.ndarray:
    return np.column_stack([np.array(columns[n].to_list(), dtype=object) for n in NUMBERS + LEVELS])


def trainer(tmp_path, **flags) -> Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    quiet |= {"enable_checkpointing": False, "accelerator": "cpu", "default_root_dir": tmp_path}
    return Trainer(**{**quiet, "max_epochs": 30, **flags})


LBFGS = {
    "optimizer": "LBFGS",
    "lr": 1.0,
    "optimizer_options": {"line_search_fn": "strong_wolfe"},
}


def classifier() -> MLPClassifier:
    seed_everything(0, verbose=False)
    return MLPClassifier(hidden_features=[], **LBFGS)


def parts(data, frame, name):
    return frame[data._splits[name].rows.tolist()]


@pytest.mark.filterwarnings(NOT_LEARNED)
def test_a_regression_on_a_defective_table_equals_the_pipeline(tmp_path):
    frame = defective(1000, seed=0)
    data = DataFrameDataModule(frame, "value", ignore=["label", "id"], categorical=["grade"])
    model = LinearRegressor(solver="exact")
    run = trainer(tmp_path, max_epochs=1)
    run.fit(model, data)
    (tested,) = run.test(model, data, verbose=False)
    train, test = parts(data, frame, "train"), parts(data, frame, "test")
    reference = pipeline(LinearRegression()).fit(matrix(by_hand(train)), train["value"])
    predicted = reference.predict(matrix(by_hand(test)))
    assert tested["test/mae"] == pytest.approx(
        sk.mean_absolute_error(test["value"], predicted), rel=0.01
    )
    assert tested["test/r2"] == pytest.approx(sk.r2_score(test["value"], predicted), rel=0.01)
    assert tested["test/r2"] > 0.6


@pytest.mark.filterwarnings(NOT_LEARNED)
def test_a_classification_of_a_defective_table_equals_the_pipeline(tmp_path):
    frame = defective(1000, seed=1)
    data = DataFrameDataModule(
        frame, "label", ignore=["value", "id"], categorical=["grade"], batch_size=1000
    )
    model = classifier()
    run = trainer(tmp_path)
    run.fit(model, data)
    (tested,) = run.test(model, data, verbose=False)
    train, test = parts(data, frame, "train"), parts(data, frame, "test")
    reference = pipeline(LogisticRegression(C=np.inf, max_iter=1000, tol=1e-8))
    reference.fit(matrix(by_hand(train)), train["label"])
    p = reference.predict_proba(matrix(by_hand(test)))
    assert tested["test/loss"] == pytest.approx(sk.log_loss(test["label"], p), rel=0.01)
    accuracy = sk.accuracy_score(test["label"], reference.predict(matrix(by_hand(test))))
    assert tested["test/accuracy"] == pytest.approx(accuracy, rel=0.01)
    assert tested["test/accuracy"] > 0.75


# Of the classes those columns that do not separate them: else the weights grow without end.
@pytest.mark.filterwarnings("ignore:'target' ")
@pytest.mark.parametrize(
    ("load", "columns"), [(load_iris, [0, 1]), (load_wine, [1, 2, 3]), (load_breast_cancer, [4, 9])]
)
def test_bundled_classes_equal_the_pipeline(load, columns, tmp_path):
    bundled = load()
    x, target = bundled.data[:, columns], bundled.target_names[bundled.target].astype(object)
    frame = pl.DataFrame({**{f"x{i}": x[:, i] for i in range(len(columns))}, "target": target})
    data = DataFrameDataModule(frame, "target", test_size=0.3, batch_size=len(x))
    model, run = classifier(), trainer(tmp_path)
    run.fit(model, data)
    (tested,) = run.test(model, data, verbose=False)
    train, test = (data._splits[name].rows.numpy() for name in ("train", "test"))
    reference = make_pipeline(StandardScaler(), LogisticRegression(C=np.inf, tol=1e-8))
    p = reference.fit(x[train], target[train]).predict_proba(x[test])
    assert tested["test/loss"] == pytest.approx(sk.log_loss(target[test], p), rel=0.01)
    accuracy = sk.accuracy_score(target[test], reference.predict(x[test]))
    assert tested["test/accuracy"] == pytest.approx(accuracy, rel=0.01)


def test_diabetes_equals_the_pipeline(tmp_path):
    x, y = load_diabetes(return_X_y=True, scaled=False)
    frame = pl.DataFrame({**{f"x{i}": column for i, column in enumerate(x.T)}, "y": y})
    data = DataFrameDataModule(frame, "y", test_size=0.3)
    model, run = LinearRegressor(solver="exact"), trainer(tmp_path, max_epochs=1)
    run.fit(model, data)
    (tested,) = run.test(model, data, verbose=False)
    train, test = (data._splits[name].rows.numpy() for name in ("train", "test"))
    predicted = LinearRegression().fit(x[train], y[train]).predict(x[test])
    assert tested["test/mae"] == pytest.approx(sk.mean_absolute_error(y[test], predicted), rel=0.01)


def test_boston_equals_the_pipeline(shared_data, tmp_path):
    path = shared_data / "boston.csv"
    data = CSVDataModule(str(path), "medv")
    model = LinearRegressor(solver="exact")
    run = trainer(tmp_path, max_epochs=1)
    run.fit(model, data)
    (tested,) = run.test(model, data, verbose=False)
    with path.open() as file:
        _, *rows = csv.reader(file)
    table = np.array(rows, dtype=float)
    train, test = (table[data._splits[name].rows.numpy()] for name in ("train", "test"))
    model = make_pipeline(StandardScaler(), LinearRegression()).fit(train[:, :-1], train[:, -1])
    expected = sk.mean_absolute_error(test[:, -1], model.predict(test[:, :-1]))
    assert tested["test/mae"] == pytest.approx(expected, rel=0.01)


@pytest.mark.filterwarnings(NOT_LEARNED)
def test_predictions_survive_checkpoint_and_file(lit, tmp_path):
    frame = defective(300, seed=2)
    frame.write_csv(tmp_path / "table.csv")
    new = frame[:40].drop("label").with_columns(city=pl.lit("Rom"), more=pl.lit(1.0))
    new.write_csv(tmp_path / "new.csv")
    columns = ("--data.ignore", "[value, id]", "--data.categorical", "[grade]")
    table = ("--data", "CSVDataModule", "--data.path", tmp_path / "table.csv")
    flags = (*table, "--data.target", "label", *columns, "--name", "table")
    done = lit("fit", "--model", "MLPClassifier", *flags, "--trainer.max_epochs", 2)
    assert done.status == 0, done.err
    assert "city" in done.out
    run = tmp_path / "runs/table/version_0"
    (tmp_path / "table.csv").unlink()  # a trained model needs the new rows only
    predict = ("predict", "--ckpt_path", run, "--data.predict_path", tmp_path / "new.csv")
    done = lit(*predict)
    assert done.status == 0, done.err
    assert "'more'" in done.err
    with (run / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    model = MLPClassifier.load_from_checkpoint(run / "checkpoints/best.ckpt").eval()
    new = RawTable(pl.read_csv(tmp_path / "new.csv"))
    [x] = Table.from_state(model.schema["table"]).transform(new)
    with torch.no_grad():
        p = model(x).softmax(1)
    assert [row["class_name"] for row in rows] == [["high", "low"][c] for c in p.argmax(1).tolist()]
    found = [float(row["probability_high"]) for row in rows]
    assert found == pytest.approx(p[:, 0].tolist(), abs=1e-6)
