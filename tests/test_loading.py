"""A trained model from its file alone: the right class, the same answers, nothing else read."""

import pickle
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
import torch
from lightning.pytorch import Trainer

import lit_course
from lit_course import MLPClassifier

RUNS = {
    "MLPClassifier": ("--data", "DigitsDataModule", "--model.hidden_features", "[8]"),
    "LinearRegressor": ("--data", "DiabetesDataModule", "--model.solver", "exact"),
    "MLPRegressor": ("--data", "DiabetesDataModule", "--model.hidden_features", "[8]"),
    "Ranker": ("--data", "SyntheticQueriesDataModule"),
}


def features(name, row):
    from sklearn.datasets import load_diabetes, load_digits

    if name == "Ranker":
        data = lit_course.SyntheticQueriesDataModule()
        data.setup("predict")
        return data._splits["test"].samples.x[row]
    data = load_digits() if name == "MLPClassifier" else load_diabetes(scaled=False)
    return data.data[row]


@pytest.mark.parametrize("name", RUNS)
def test_every_module_is_loaded_as_it_was_and_answers_as_predict_does(lit, tmp_path, name):
    options = (*RUNS[name], "--name", "run", "--trainer.max_epochs", 1)
    done = lit("fit", "--model", name, *options)
    assert done.status == 0, done.err
    run = tmp_path / "runs/run/version_0"
    assert lit("predict", "--ckpt_path", run).status == 0
    table = pl.read_csv(run / "predictions.csv")
    model = lit_course.load(run)
    assert type(model) is getattr(lit_course, name)
    assert not model.training
    assert type(lit_course.load(str(run / "checkpoints/last.ckpt"))) is type(model)
    answers = model.predict(features(name, table["row"].to_numpy()))
    written = next(c for c in ("class", "prediction", "score") if c in table.columns)
    np.testing.assert_allclose(answers, table[written], rtol=1e-6)
    if name == "MLPClassifier":
        p = table.select(pl.col("^probability_.*$")).to_numpy()
        proba = model.predict_proba(features(name, table["row"].to_numpy()))
        np.testing.assert_allclose(proba, p, atol=1e-6)
    else:
        assert not hasattr(model, "predict_proba")


class Mine(MLPClassifier):
    """Somebody's own."""


def test_a_class_of_ones_own_is_loaded_by_itself(tmp_path):
    trainer = Trainer(logger=False, barebones=True, max_epochs=0)
    trainer.strategy.connect(Mine(4, 3, [8]))
    trainer.save_checkpoint(tmp_path / "mine.ckpt")
    with pytest.raises(ValueError, match=r"written by Mine, .* call Mine\.load_from_checkpoint\('"):
        lit_course.load(tmp_path / "mine.ckpt")
    assert type(Mine.load_from_checkpoint(tmp_path / "mine.ckpt")) is Mine


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="checkpoint not found"):
        lit_course.load(tmp_path / "none.ckpt")
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        lit_course.load(tmp_path)
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    with pytest.raises(ValueError, match="written by none of lit_course's modules"):
        lit_course.load(tmp_path / "foreign.ckpt")
    (tmp_path / "code.ckpt").write_bytes(pickle.dumps(print))
    with pytest.raises(ValueError, match="no readable checkpoint"):
        lit_course.load(tmp_path / "code.ckpt")


@pytest.mark.slow
def test_one_import_in_a_fresh_process_is_enough(fit):
    run = fit()
    script = (
        "import sys; sys.modules['jsonargparse'] = None\n"
        "import lit_course\n"
        "print(lit_course.load(sys.argv[1]).predict([[0.0] * 64]).tolist())\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", script, str(run)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[")
