"""Runs side by side, from what their folders hold."""

import csv
import io
import json
import shutil

import pytest
from PIL import Image

from lit_course.callbacks.results import cell
from lit_course.commands.comparison import higher_is_better
from lit_course.modules import LinearRegressor, MLPClassifier, Ranker


@pytest.fixture
def draws() -> bool:
    return True


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


DIGITS = (
    "--model",
    "MLPClassifier",
    "--model.hidden_features",
    "[16]",
    "--data",
    "DigitsDataModule",
)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Two runs: the second has another rate, and a test."""
    from lit_course.cli import main

    runs = tmp_path_factory.mktemp("fitted") / "runs"
    other = ("--model.lr", "0.01", "--data.batch_size", "32", "--test_best", "true")
    for epochs, args in ((2, ()), (3, other)):
        where = ("--runs", str(runs), "--name", "digits", "--trainer.max_epochs", str(epochs))
        assert main(["fit", *DIGITS, *where, *args]) == 0
    return runs


@pytest.fixture
def two(fitted, tmp_path):
    """The folders of these runs, in the folder of all runs."""
    shutil.copytree(fitted, tmp_path / "runs")
    return tuple(tmp_path / f"runs/digits/version_{number}" for number in (0, 1))


def numbers(run, verb="fit"):
    return json.loads((run / f"{verb}_metrics.json").read_text())


def cells(out: str) -> dict[str, list[str]]:
    lines = [line.split("│")[1:-1] for line in out.splitlines() if line.startswith("│")]
    return {row[0].strip(): [text.strip() for text in row[1:]] for row in lines}


def drawn() -> list[list[str]]:
    with open("compare.csv") as file:
        return list(csv.reader(file))


def test_two_runs(lit, two, here):
    done = lit("compare", "digits/version_0", "digits")
    assert done.status == 0, done.err
    rows = cells(done.out)
    assert rows["trained"] == ["2 epochs", "3 epochs"]
    assert rows["model.lr"] == ["0.001", "0.01"]
    assert rows["data.batch_size"] == ["64", "32"]
    assert rows["trainer.max_epochs"] == ["2", "3"]
    assert rows["test_best"] == ["false", "true"]
    assert not {"name", "model.hidden_features", "model", "runs"} & rows.keys()
    first, second = map(numbers, two)
    assert rows["val/loss ↓"] == [cell(first["val/loss"]), cell(second["val/loss"]) + " *"]
    assert rows["val/accuracy ↑"][1] == cell(second["val/accuracy"]) + " *"
    assert rows["test/accuracy ↑"] == ["", cell(numbers(two[1], "test")["test/accuracy"])]
    assert not any(name.startswith("test/f1/") for name in rows)
    with Image.open("compare.png") as picture:
        assert picture.size == (768, 480)
    curves = drawn()
    assert curves[0] == ["curve", "epoch", "val/loss"]
    assert [row[1] for row in curves if row[0] == "digits/version_1"] == ["1", "2", "3"]
    assert sum(row[0] == "digits/version_0 (train)" for row in curves) == 2


def test_the_same_numbers_in_every_form(lit, two, here):
    plain = cells(lit("compare", *two).out)
    printed = lit("compare", *two, "--format", "json")
    table = json.loads(printed.out)
    assert "picture: compare.png" in printed.err
    names = ["digits/version_0", "digits/version_1"]
    assert list(table["runs"]) == names
    loss = table["metrics"]["val/loss"]
    assert loss == {
        "better": "lower",
        "values": dict(zip(names, (numbers(run)["val/loss"] for run in two), strict=True)),
        "best": [names[1]],
    }
    assert table["metrics"]["test/loss"]["values"][names[0]] is None
    assert table["configuration"]["model.lr"] == dict(zip(names, (0.001, 0.01), strict=True))
    rows = list(csv.reader(io.StringIO(lit("compare", *two, "--format", "csv").out)))
    assert rows[0] == ["kind", "name", "better", *names]
    said = {row[1]: row for row in rows[1:]}
    assert said["val/loss"][2] == "lower"
    assert [float(value) for value in said["val/loss"][3:]] == list(loss["values"].values())
    assert {name.split()[0] for name in plain} - {"trained"} == said.keys()


def test_files(lit, two, here):
    for name in ("table.json", "table.csv", "table.txt"):
        done = lit("compare", *two, "--output", name)
        assert (done.status, done.out.splitlines()[0]) == (0, f"table: {name}")
        assert lit("compare", *two, "--output", name).status == 2
    assert json.loads((here / "table.json").read_text())["metrics"]
    assert cells((here / "table.txt").read_text())["trained"]
    done = lit("compare", *two, "--picture", "acc.png", "--metric", "val/accuracy", "--x", "step")
    assert done.status == 0, done.err
    assert (here / "acc.csv").read_text().startswith("curve,update,val/accuracy\n")
    assert "acc.png exists" in lit("compare", *two, "--picture", "acc.png").err
    assert lit("compare", *two, "--picture", "acc.png", "--overwrite").status == 0


def test_a_run_that_has_not_ended_shows_its_best_so_far(lit, two, here):
    (two[1] / "fit_metrics.json").unlink()
    rows = cells(lit("compare", *two).out)
    assert rows["trained"] == ["2 epochs", "3 epochs, not finished"]
    table = json.loads(lit("compare", *two, "--format", "json").out)
    values = [float(row[2]) for row in drawn() if row[0] == "digits/version_1"]
    shown = table["metrics"]["val/loss"]["values"]["digits/version_1"]
    assert shown == pytest.approx(min(values), rel=1e-5)


def test_a_cross_validation_is_a_mean_over_its_folds(lit, two, fit, here):
    run = fit("--cross_validate", 2, name="folds", epochs=1)
    table = json.loads(lit("compare", run, two[0], "--format", "json").out)
    summary = json.loads((run / "cross_validation.json").read_text())["test/accuracy"]
    assert table["runs"]["folds/version_0"]["folds"] == 2
    shown = table["metrics"]["test/accuracy"]["values"]["folds/version_0"]
    assert shown == pytest.approx(summary["mean"])
    rows = cells(lit("compare", run).out)
    assert rows["trained"] == ["1 epochs, 2 folds"]
    assert rows["test/accuracy ↑"] == [f"{cell(shown)} ± {cell(summary['deviation'])}"]
    (run / "cross_validation.json").unlink()
    assert cells(lit("compare", run).out)["trained"] == ["1 epochs, 1 folds, not finished"]
    one = lit("compare", run / "fold_1")
    assert one.status == 0, one.err


def test_models_of_two_kinds(lit, two, here):
    model = ("--model", "LinearRegressor", "--data", "DiabetesDataModule")
    assert lit("fit", *model, "--trainer.max_epochs", 2, "--name", "linear").status == 0
    rows = cells(lit("compare", "digits", "linear").out)
    assert rows["model"] == ["MLPClassifier", "LinearRegressor"]
    assert rows["model.hidden_features"] == ["[16]", ""]
    assert rows["val/r2 ↑"][0] == ""


def test_bad_input_is_one_line(lit, two, here, tmp_path):
    empty = tmp_path / "runs/empty/version_0"
    (empty / "checkpoints").mkdir(parents=True)
    (tmp_path / "bare").mkdir()
    cases = {
        ("nothing",): (1, "no run 'nothing'; the newest in"),
        (): (2, "compare: the following arguments are required: run"),
        ("empty", "digits"): (1, f"{empty} has recorded no metrics"),
        (tmp_path / "bare",): (1, f"{tmp_path / 'bare'} is empty"),
        ("digits", "--metric", "val/nothing"): (1, "no run has recorded val/nothing"),
        ("digits", "--format", "xml"): (2, "invalid choice: 'xml'"),
        ("digits", "--output", "x.pdf"): (2, "--output must end in .txt or .csv or .json"),
        ("digits", "--picture", "no/x.png"): (2, "cannot be written"),
        ("digits", "--nonsense"): (2, "unrecognized arguments: --nonsense"),
    }
    for args, (status, message) in cases.items():
        done = lit("compare", *args)
        assert done.status == status, args
        assert message in done.err
        assert len(done.err.splitlines()) <= 2
        assert done.out == ""
    assert not list(here.iterdir())


def test_help(lit):
    done = lit("compare", "--help")
    assert (done.status, done.err) == (0, "")
    assert "usage: lit-course compare" in done.out


def test_directions_are_those_of_the_models():
    models = (MLPClassifier(4, 3), LinearRegressor(4), Ranker(4))
    for model in models:
        for name in ("loss", *model.configure_metrics()):
            assert higher_is_better(f"val/{name}") == model.higher_is_better(name), name
    assert higher_is_better("val/somebody's") is None


def test_the_table_and_the_numbers_are_two_files(lit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = lit("compare", "a", "b", "--output", "compare.csv")
    assert done.status == 2
    assert "is where the numbers of compare.png go" in done.err
