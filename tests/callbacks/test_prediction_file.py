"""Predictions in a file: every sample once, in data order, with its row."""

import csv
import json
from math import isfinite
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from processes import run_script
from torch.utils.data import DataLoader, TensorDataset

from lit_course.callbacks import PredictionFile
from lit_course.callbacks.prediction_file import _merge


@pytest.fixture
def fitted(fit):
    return fit(epochs=1)


def test_rows_names_and_probabilities(fit, lit):
    run = fit("--data.batch_size", 50, "--data.test_size", 101)
    assert lit("predict", "--ckpt_path", run).status == 0
    table = pl.read_csv(run / "predictions.csv")
    assert len(table) == 101
    rows = table["row"].to_numpy()
    assert (np.diff(rows) > 0).all()
    p = table.select(pl.col("^probability_.*$")).to_numpy()
    assert p.shape == (101, 10)
    assert p.sum(1) == pytest.approx(np.ones(101), abs=1e-5)
    assert (p.argmax(1) == table["class"].to_numpy()).all()


def test_classes_of_the_file_give_the_metrics_of_test(fit, lit, tmp_path):
    from sklearn.datasets import load_digits
    from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

    run = fit("--test_best", "true", epochs=3)
    assert lit("predict", "--ckpt_path", run).status == 0
    table = pl.read_csv(run / "predictions.csv")
    truth = load_digits().target[table["row"].to_numpy()]
    p = table.select(pl.col("^probability_.*$")).to_numpy()
    p /= p.sum(1, keepdims=True)
    found = {
        "accuracy": accuracy_score(truth, table["class_name"].cast(pl.Int64)),
        "f1": f1_score(truth, table["class"], average="macro"),
        "auroc": roc_auc_score(truth, p, multi_class="ovr"),
        "loss": -np.log(p[range(len(p)), truth]).mean(),
    }
    reported = json.loads((run / "test_metrics.json").read_text())
    for name, value in found.items():
        assert value == pytest.approx(reported[f"test/{name}"], rel=1e-5), name


@pytest.mark.parametrize("transform", ["identity", "log"])
def test_residuals_of_the_file_give_the_metrics_of_test(lit, tmp_path, transform):
    options = ("--data", "DiabetesDataModule", "--trainer.max_epochs", 2, "--name", "d")
    model = ("--model", "MLPRegressor", "--model.target_transform", transform)
    assert lit("fit", *model, *options, "--test_best", "true").status == 0
    run = tmp_path / "runs/d/version_0"
    assert lit("predict", "--ckpt_path", run).status == 0
    table = pl.read_csv(run / "predictions.csv")
    assert table.columns == ["row", "prediction", "residual"]
    residual, target = table["residual"], table["prediction"] + table["residual"]
    found = {
        "mae": residual.abs().mean(),
        "rmse": (residual**2).mean() ** 0.5,
        "r2": 1 - (residual**2).sum() / ((target - target.mean()) ** 2).sum(),
    }
    reported = json.loads((run / "test_metrics.json").read_text())
    for name, value in found.items():
        assert value == pytest.approx(reported[f"test/{name}"], rel=1e-9), name


# ---------------------------------------------------------------------------------- --output


READ = {"csv": pl.read_csv, "parquet": pl.read_parquet, "jsonl": pl.read_ndjson}


def test_one_table_in_three_formats(fit, lit, tmp_path):
    run = fit("--data.batch_size", 20)
    assert lit("predict", "--ckpt_path", run).status == 0
    expected = pl.read_csv(run / "predictions.csv", schema_overrides={"class_name": pl.String})
    before = set(run.iterdir())
    for suffix, read in READ.items():
        file = tmp_path / f"out.{suffix}"
        done = lit("predict", "--ckpt_path", run, "--output", file)
        assert done.status == 0, done.err
        assert f"{len(expected)} predictions of the test split in {file}" in done.out
        table = read(file)
        assert table.with_columns(pl.col("class_name").cast(pl.String)).equals(expected)
    assert pl.read_parquet_schema(tmp_path / "out.parquet") == expected.schema
    assert set(run.iterdir()) == before
    assert {path.name for path in tmp_path.glob("out*")} == {f"out.{suffix}" for suffix in READ}


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("old.csv", "old.csv exists: add --overwrite to replace it"),
        ("new.xlsx", "--output must end in .csv or .parquet or .jsonl, found "),
        ("folder.csv", "is a folder: give a file in it"),
        ("nowhere/new.csv", "cannot be written: No such file or directory"),
        ("/proc/new.csv", "cannot be written: "),
        ("old.csv/new.csv", "cannot be written: Not a directory"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_anything_is_computed(
    fitted, lit, tmp_path, monkeypatch, output, said
):
    monkeypatch.setattr("lit_course.trainer_cli.TrainerCLI.instantiate_classes", None)
    (tmp_path / "old.csv").write_text("precious")
    (tmp_path / "folder.csv").mkdir()
    done = lit("predict", "--ckpt_path", fitted, "--output", tmp_path / output)
    assert done.status == 2
    assert said in done.err
    assert len(done.err.splitlines()) == 1
    assert (tmp_path / "old.csv").read_text() == "precious"


@pytest.mark.parametrize("overwrite", [["--overwrite"], ["--overwrite", "true"]])
def test_an_old_output_is_replaced_if_that_is_said(fitted, lit, tmp_path, overwrite):
    file = tmp_path / "old.jsonl"
    file.write_text("old")
    done = lit("predict", *overwrite, "--ckpt_path", fitted, "--output", file)
    assert done.status == 0, done.err
    assert pl.read_ndjson(file).columns[:2] == ["row", "class"]


def test_a_failing_prediction_leaves_the_old_output(fitted, lit, tmp_path, monkeypatch):
    file = tmp_path / "old.parquet"
    file.write_text("old")

    def full(self, path):
        Path(path).write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(pl.LazyFrame, "sink_parquet", full)
    done = lit("predict", "--overwrite", "--ckpt_path", fitted, "--output", file)
    assert done.status == 1
    assert "disk full" in done.err
    assert file.read_text() == "old"
    assert not list(tmp_path.glob("*.part"))


def test_new_rows_with_names_and_some_targets(lit, tmp_path):
    rows = [f"{i // 2},{i % 7},{3 * (i // 2) - i % 7},house {i}" for i in range(100)]
    (tmp_path / "old.csv").write_text("size,age,price,id\n" + "\n".join(rows) + "\n")
    news = {
        "none": "age,id,size\n1,b,10\n2,,20\n",
        "some": "age,id,size,price\n1,b,10,29\n2,,20,unknown\n",
        "all": "age,id,size,price\n1,b,10,29\n2,,20,58\n",
    }
    data = ("--data", "CSVDataModule", "--data.path", tmp_path / "old.csv")
    model = ("--model", "LinearRegressor", "--model.solver", "exact", "--trainer.max_epochs", 1)
    options = ("--data.target", "price", "--data.id_column", "id", "--name", "houses")
    assert lit("fit", *model, *data, *options).status == 0
    run = tmp_path / "runs/houses/version_0"
    for case, text in news.items():
        (tmp_path / "new.csv").write_text(text)
        output = ("--output", tmp_path / f"{case}.jsonl", "--data.predict_path")
        done = lit("predict", "--ckpt_path", run, *output, tmp_path / "new.csv")
        assert done.status == 0, done.err
        table = pl.read_ndjson(tmp_path / f"{case}.jsonl")
        assert table["name"].to_list() == ["b", ""]
        assert table["row"].to_list() == [0, 1]
        assert table["prediction"].to_list() == pytest.approx([29, 58], abs=1e-3)
        if case == "none":
            assert table.columns == ["name", "row", "prediction"]
        else:
            first, second = table["residual"].to_list()
            assert first == pytest.approx(0, abs=1e-3)
            assert second == (pytest.approx(0, abs=1e-3) if case == "all" else None)


# ---------------------------------------------------------------------------------- its parts


LABELS = ('plain, "quoted"', "two\nlines", "étå 東京", "")


class Theirs(LightningModule):
    """Somebody else's, which answers what it is given."""

    def predict_step(self, batch, batch_idx):
        answers, number = batch[0], batch[1]
        return {
            "label": [LABELS[i % 4] for i in number.tolist()],
            "sure": answers[:, 0] > 0,
            "answer": answers,
            "residual": answers[:, 0].double() / 3,
        }


class Named(LightningDataModule):
    """Rows with odd names, and answers with odd values."""

    row_names = ("a,b", 'c"d', "e\nf", "é 東", " spaced ", "", "7", "g\rh", "nan")

    def __init__(self) -> None:
        super().__init__()
        odd = [float("nan"), 0.1, 1e-7, 1e-5, 1e22, -0.0, float("inf"), 1 / 3, 3e38]
        self.answers = torch.tensor([odd, odd[::-1]]).T.contiguous()

    def predict_dataloader(self):
        return DataLoader(TensorDataset(self.answers, torch.arange(9)), batch_size=4)


@pytest.mark.parametrize("piece", [8 << 20, 7])
@pytest.mark.parametrize("suffix", READ)
def test_every_cell_is_what_was_answered(tmp_path, monkeypatch, suffix, piece):
    monkeypatch.setattr("lit_course.callbacks.prediction_file.PIECE", piece)
    data, file = Named(), tmp_path / f"out.{suffix}"
    trainer = Trainer(callbacks=[PredictionFile(file)], barebones=True, accelerator="cpu")
    trainer.predict(Theirs(), datamodule=data, return_predictions=False)
    expected = {
        "name": list(data.row_names),
        "row": list(range(9)),
        "label": [LABELS[i % 4] for i in range(9)],
        "sure": (data.answers[:, 0] > 0).tolist(),
        "answer_0": data.answers[:, 0].tolist(),
        "answer_1": data.answers[:, 1].tolist(),
        "residual": [None, *(data.answers[1:, 0].double() / 3).tolist()],
    }
    if suffix == "jsonl":  # JSON has finite numbers only
        for name in ("answer_0", "answer_1", "residual"):
            cells = expected[name]
            expected[name] = [c if c is not None and isfinite(c) else None for c in cells]
    found = READ[suffix](file).to_dict(as_series=False)
    if suffix == "csv":  # it has no types
        with file.open(newline="", encoding="utf-8") as text:
            _, *rows = csv.reader(text)
        found["name"], found["label"] = ([row[i] for row in rows] for i in (0, 2))
    assert repr(found) == repr(expected)  # NaN, and the sign of zero


def test_an_interrupted_prediction_leaves_the_old_file(fit, lit, monkeypatch):
    run = fit()
    assert lit("predict", "--ckpt_path", run).status == 0
    before = (run / "predictions.csv").read_bytes()

    def broken(*args):
        raise RuntimeError("disk on fire")

    monkeypatch.setattr("lit_course.MLPClassifier.predictions", broken)
    done = lit("predict", "--ckpt_path", run)
    assert done.status != 0
    assert "disk on fire" in done.err
    assert (run / "predictions.csv").read_bytes() == before
    assert not list(run.glob("*.part"))


@pytest.mark.parametrize("parts", [[[0, 1], [2], []], [[0, 2], [1], []], [[1], [0], [2]]])
def test_the_parts_of_several_processes_are_merged_by_row(tmp_path, parts):
    paths = [tmp_path / f"{rank}.part" for rank in range(3)]
    for path, rows in zip(paths, parts, strict=True):
        header = "row,class_name\r\n"  # written with the first batch, an empty one too
        path.write_bytes((header + "".join(f'{r},"a,\n{r}"\r\n' for r in rows)).encode())
    assert _merge(paths) == 3
    assert list(tmp_path.iterdir()) == paths[:1]
    expected = "row,class_name\r\n" + "".join(f'{r},"a,\n{r}"\r\n' for r in range(3))
    assert paths[0].read_bytes() == expected.encode()


def test_parts_with_names_are_merged_by_row_too(tmp_path):
    """The name comes first, and may look like a number."""
    paths = [tmp_path / f"{rank}.part" for rank in range(2)]
    for path, rows in zip(paths, ([(0, "9"), (3, "1")], [(1, "5"), (2, "0")]), strict=True):
        lines = "".join(f"{name},{row}\r\n" for row, name in rows)
        path.write_text(f"name,row\r\n{lines}", newline="")
    assert _merge(paths) == 4
    assert paths[0].read_bytes() == b"name,row\r\n9,0\r\n5,1\r\n0,2\r\n1,3\r\n"


def test_what_is_read_is_not_written_over(lit, fit, tmp_path):
    fit(epochs=1)
    new = tmp_path / "new.csv"
    new.write_text("x\n1\n")
    data = ("--data", "CSVDataModule", "--data.path", new, "--data.target", "y")
    where = ("--data.predict_path", new, "--output", new, "--overwrite")
    done = lit("predict", "--ckpt_path", "best", *data, *where)
    assert done.status == 2
    assert "would replace what is read: give another name" in done.err
    assert new.read_text() == "x\n1\n"


def test_the_split_that_is_predicted_is_said(lit, fit):
    fit(epochs=1)
    assert "270 predictions of the test split in" in lit("predict", "--ckpt_path", "best").out
    whole = lit("predict", "--ckpt_path", "best", "--data.test_size", 0)
    assert "1,797 predictions in" in whole.out


def test_arrays_without_targets_are_predicted(lit, tmp_path):
    generator = np.random.default_rng(0)
    X = generator.normal(size=(60, 3)).astype("float32")
    np.savez(tmp_path / "old.npz", X=X, y=(X[:, 0] > 0).astype(int))
    np.savez(tmp_path / "new.npz", X=X[:7])
    small = ("--model", "MLPClassifier", "--trainer.max_epochs", 1, "--name", "arrays")
    data = ("--data", "ArrayDataModule", "--data.X")
    assert lit("fit", *small, *data, tmp_path / "old.npz").status == 0
    asked = ("--ckpt_path", "best", "--data.X", tmp_path / "new.npz")
    assert "7 predictions in" in lit("predict", *asked, "--output", tmp_path / "new.csv").out
    assert pl.read_csv(tmp_path / "new.csv").height == 7
    refused = lit("test", *asked)
    assert refused.status == 1
    assert "There is no y" in refused.err


# ---------------------------------------------------------------------------------- memory

# A loader that holds nothing, so that what grows is what the file took.
LONG = """
import threading, time, warnings
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer

from lit_course.callbacks import PredictionFile

warnings.simplefilter("ignore")
peak = 0


def watch():
    # Pages of a file that is looked into are the system's, which takes them back when it likes.
    global peak
    while True:
        status = Path("/proc/self/status").read_text()
        peak = max(peak, int(status.partition("RssAnon:")[2].split()[0]))
        time.sleep(0.005)


class Numbers(torch.utils.data.IterableDataset):
    def __iter__(self):
        for _ in range(rows // 1000):
            yield torch.rand(1000, 10)


class Echo(LightningModule):
    def predict_step(self, batch, batch_idx):
        return {"probabilities": batch}


trainer = Trainer(
    accelerator="cpu",
    logger=False,
    callbacks=[PredictionFile(Path(path))],
    enable_checkpointing=False,
    enable_progress_bar=False,
)
loader = torch.utils.data.DataLoader(Numbers(), batch_size=None)
threading.Thread(target=watch, daemon=True).start()
trainer.predict(Echo(), loader, return_predictions=False)
Path(path + ".peak").write_text(str(peak / 1024))
"""


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_memory_does_not_grow_with_the_file(tmp_path, suffix):
    """A million rows more are 88 MB of numbers, and twice that as text."""
    peaks = []
    for rows in (250_000, 1_250_000):
        path = tmp_path / f"{rows}.{suffix}"
        assert run_script(LONG, seconds=300, rows=rows, path=str(path)) == 0
        assert path.is_file()
        peaks.append(float(Path(f"{path}.peak").read_text()))
    assert peaks[1] - peaks[0] < 44
