"""A trained model from its file alone: the right class, the same answers, nothing else read."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import CSVLogger

import lit_course
from lit_course import DigitsDataModule, MLPClassifier

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


class Wider(MLPClassifier):
    """Hands its other arguments on."""

    def __init__(self, times: int = 2, **kwargs) -> None:
        super().__init__(**kwargs)


@pytest.fixture
def their_run(tmp_path, monkeypatch):
    """A fit of somebody else's ``LightningCLI``, as Lightning makes it; returns its folder."""
    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.chdir(tmp_path)

    def fit(*classes, **model):
        named = (
            []
            if classes
            else ["--model", model.pop("cls"), "--data", "lit_course.DigitsDataModule"]
        )
        given = [f"--model.{name}={value}" for name, value in model.items()]
        options = ["max_epochs=1", "enable_progress_bar=false", "enable_model_summary=false"]
        options = [f"--trainer.{option}" for option in options]
        return Path(LightningCLI(*classes, args=["fit", *named, *given, *options]).trainer.log_dir)

    return fit


THEIRS = pytest.mark.filterwarnings("ignore")  # those of other people's programs


@THEIRS
@pytest.mark.parametrize("classes", [(), (MLPClassifier, DigitsDataModule)])
def test_the_run_of_an_ordinary_lightning_cli(their_run, lit, classes):
    """It notes in the file which class to import."""
    named = {} if classes else {"cls": "lit_course.MLPClassifier"}
    run = their_run(*classes, **named, hidden_features="[8]")
    (file,) = (run / "checkpoints").iterdir()
    assert "_instantiator" in torch.load(file, weights_only=True)["hyper_parameters"]
    for path in (file, run):
        model = lit_course.load(path)
        assert type(model) is MLPClassifier
        assert model.hparams["num_classes"] == 10
        assert not model.hparams.keys() & {"_instantiator", "_class_path"}
        assert len(model.predict(np.zeros((2, 64)))) == 2
    done = lit("test", "--ckpt_path", run)
    assert (done.status, "no data is named" in done.err) == (2, True), done.err
    done = lit("test", "--ckpt_path", run, "--data", "DigitsDataModule")
    assert done.status == 0, done.err
    assert "test/accuracy" in (run / "test_metrics.json").read_text()


def test_what_a_lightning_cli_notes_is_not_imported(tmp_path, monkeypatch):
    """Not even a class of the right name."""
    (tmp_path / "canary.py").write_text("class MLPClassifier: pass")
    monkeypatch.syspath_prepend(tmp_path)
    trainer = Trainer(logger=False, barebones=True, max_epochs=0)
    model = MLPClassifier(4, 3, [8])
    model.hparams["_instantiator"] = "lightning.pytorch.cli.instantiate_module"
    model.hparams["_class_path"] = "canary.MLPClassifier"
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "noted.ckpt")
    assert type(lit_course.load(tmp_path / "noted.ckpt")) is MLPClassifier
    assert "canary" not in sys.modules


def test_the_run_of_a_plain_trainer(tmp_path):
    """Its folder has one checkpoint, named after its epoch; of several, one must be given."""
    data = DigitsDataModule()
    trainer = Trainer(
        max_epochs=1,
        default_root_dir=tmp_path,
        logger=CSVLogger(tmp_path),
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(MLPClassifier(hidden_features=[8]), datamodule=data)
    run = tmp_path / "lightning_logs/version_0"
    assert type(lit_course.load(run)) is MLPClassifier
    (only,) = (run / "checkpoints").iterdir()
    (run / "checkpoints/second.ckpt").write_bytes(only.read_bytes())
    with pytest.raises(FileNotFoundError, match=r"holds epoch=0.*, second\.ckpt: give one of"):
        lit_course.load(run)
    only.rename(run / "checkpoints/best.ckpt")
    assert type(lit_course.load(run)) is MLPClassifier


@THEIRS
def test_a_class_of_ones_own_from_an_ordinary_lightning_cli(their_run):
    run = their_run(cls=f"{__name__}.Wider", hidden_features="[8]")
    (file,) = (run / "checkpoints").iterdir()
    assert type(Wider.load_from_checkpoint(file)) is Wider


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
