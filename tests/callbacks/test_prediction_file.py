"""Predictions in a file: every sample once, in data order, with its row."""

import numpy as np
import polars as pl
import pytest

from lit_course.callbacks.prediction_file import _merge


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


def test_test_and_predict_agree(fit, lit):
    from sklearn.datasets import load_digits

    run = fit("--test_best", "true", epochs=5)
    assert lit("predict", "--ckpt_path", run).status == 0
    table = pl.read_csv(run / "predictions.csv")
    truth = load_digits().target[table["row"].to_numpy()]
    import json

    reported = json.loads((run / "test_metrics.json").read_text())["test/accuracy"]
    assert (table["class"].to_numpy() == truth).mean() == pytest.approx(reported)


def test_predictions_of_a_regression(lit, tmp_path):
    options = ("--data", "DiabetesDataModule", "--trainer.max_epochs", 1, "--name", "d")
    assert lit("fit", "--model", "LinearRegressor", *options).status == 0
    run = tmp_path / "runs/d/version_0"
    assert lit("predict", "--ckpt_path", run).status == 0
    assert pl.read_csv(run / "predictions.csv").columns == ["row", "prediction"]


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
