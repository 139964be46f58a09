"""A learning rate from a range test."""

import numpy as np
import polars as pl
import pytest
import yaml
from PIL import Image

from lit_course.commands.range_test import smoothed, suggestion
from lit_course.optimizers import OPTIMIZERS
from lit_course.recorded import read_run

MODEL = ("--model", "MLPClassifier", "--model.hidden_features", "[16]", "--model.optimizer", "SGD")
RUN = (*MODEL, "--data", "DigitsDataModule")
QUICK = ("--steps", 30, "--min_lr", 1e-3, "--max_lr", 10)


@pytest.fixture
def draws() -> bool:
    return True


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def found(done) -> float:
    assert done.status == 0, done.err
    (line,) = [line for line in done.out.splitlines() if line.startswith("suggested")]
    return float(line.split()[3])


def losses(name="lr_find.csv"):
    table = pl.read_csv(name).filter(pl.col("curve") == "smoothed (each update)")
    return table["learning rate"].to_numpy(), table["loss before the update"].to_numpy()


def test_its_losses_are_those_of_a_fit_with_such_a_schedule(lit, here, tmp_path):
    assert lit("lr_find", *RUN, *QUICK, "--max_lr", 0.1).status == 0
    rates, measured = losses()
    np.testing.assert_allclose(rates, np.geomspace(1e-3, 0.1, 30), rtol=1e-5)
    gamma = 100 ** (1 / 29)
    schedule = ("--model.lr_scheduler", "ExponentialLR", "--model.lr_interval", "step")
    schedule += ("--model.lr", 1e-3, "--model.lr_scheduler_options.gamma", gamma)
    fit = ("--trainer.max_steps", 30, "--trainer.log_every_n_steps", 1, "--name", "fitted")
    done = lit("fit", *RUN, *schedule, *fit)
    assert done.status == 0, done.err
    logged = read_run(tmp_path / "runs/fitted/version_0").curves["train/loss_step"][1]
    np.testing.assert_allclose(measured, logged, rtol=1e-5)


def test_it_leaves_nothing_but_its_picture(lit, here):
    stopping = "--trainer.callbacks=lightning.pytorch.callbacks.EarlyStopping"
    callbacks = (stopping, "--trainer.callbacks.monitor=val/loss", "--early_stopping", 1)
    rest = ("--model.normalization", "batch", "--model.optimizer_options.weight_decay", 0.01)
    schedule = ("--model.lr_scheduler", "OneCycleLR", "--trainer.max_epochs", 3)
    asked = (*RUN, *QUICK, *callbacks, *rest, *schedule)
    first, second = (found(lit("lr_find", *asked)) for _ in range(2))
    assert first == second
    assert 0.01 < first < 10
    names = sorted(path.name for path in here.parent.rglob("*"))
    assert names == ["here", "lr_find.csv", "lr_find.png"]
    with Image.open("lr_find.png") as picture:
        assert picture.size == (768, 480)
        assert len(picture.getcolors(1 << 20)) > 20


def test_accumulated_batches_are_one_update(lit, here):
    accumulated = ("--data.batch_size", 16, "--trainer.accumulate_grad_batches", 4)
    assert lit("lr_find", *RUN, *QUICK, *accumulated).status == 0
    few = losses()[1]
    assert lit("lr_find", *RUN, *QUICK).status == 0
    np.testing.assert_allclose(few[0], losses()[1][0], rtol=1e-5)  # the same 64 samples


def test_it_stops_where_the_loss_diverges(lit, here):
    linear = ("--model", "LinearRegressor", "--data", "DiabetesDataModule")
    done = lit("lr_find", *linear, "--model.optimizer", "SGD", "--max_lr", 1e6, "--min_lr", 1e-4)
    assert found(done) < 1
    rates, measured = losses()
    assert 20 < len(rates) < 100
    assert f"{len(rates)} updates, diverged at {rates[-1]:.3g}" in done.out
    assert np.isfinite(measured[:-1]).all()


QUICKLY = {"AdamW"}
TESTABLE = sorted(OPTIMIZERS.keys() - {"LBFGS", "Rprop"})


@pytest.mark.parametrize(
    "optimizer",
    [pytest.param(name, marks=() if name in QUICKLY else pytest.mark.slow) for name in TESTABLE],
)
def test_optimizers(lit, here, optimizer):
    rate = found(lit("lr_find", *RUN, "--model.optimizer", optimizer, "--max_lr", 100))
    assert 1e-5 < rate < 100


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--model.optimizer", "LBFGS"), "LBFGS has no learning rate to find: it looks for"),
        (("--model.optimizer", "Rprop"), "Rprop has no learning rate to find: the rate is but"),
        (("--min_lr", 0), "--min_lr must be above 0 and below --max_lr, found 0 and 1"),
        (("--min_lr", 2), "--min_lr must be above 0 and below --max_lr, found 2 and 1"),
        (("--max_lr", "inf"), "max_lr: expected a number, found 'inf'"),
        (("--steps", 5), "--steps must be at least 20, found 5"),
        (("--apply", "x.json"), "--apply must end in .yaml or .yml"),
        (("--apply", "no/x.yaml"), "--apply no/x.yaml cannot be written"),
        (("--ckpt_path", "last"), "no 'last' checkpoint"),
        (("--solver", 1), "unknown flag --solver"),
    ],
)
def test_bad_input_is_one_line(lit, here, args, message):
    done = lit("lr_find", *RUN, *args)
    assert done.status in (1, 2)
    assert message in done.err
    assert len(done.err.splitlines()) == 1
    assert not list(here.iterdir())


def test_the_exact_solver_has_none(lit, here):
    model = ("--model", "LinearRegressor", "--model.solver", "exact")
    done = lit("lr_find", *model, "--data", "DiabetesDataModule")
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert "it solves in one update" in done.err


def test_a_loss_that_does_not_fall_suggests_nothing(lit, here):
    done = lit("lr_find", *RUN, "--min_lr", 1e-12, "--max_lr", 1e-10, "--steps", 20)
    assert done.status == 1
    assert "no learning rate to suggest" in done.err
    assert (here / "lr_find.png").exists()


def test_what_is_applied_runs(lit, here, tmp_path):
    given = {
        "model": {
            "class_path": "MLPClassifier",
            "init_args": {"hidden_features": [16], "optimizer": "SGD", "lr": 9.0},
        },
        "data": {"class_path": "DigitsDataModule", "init_args": {"batch_size": 32}},
        "trainer": {"max_epochs": 1},
    }
    (here / "given.yaml").write_text(yaml.safe_dump(given))
    args = ("--config", "given.yaml", "--data.seed", 3, *QUICK, "--apply", "tuned.yaml")
    rate = found(lit("lr_find", *args))
    assert yaml.safe_load((here / "given.yaml").read_text()) == given
    refused = lit("lr_find", *args)
    assert refused.status == 2
    assert refused.err == "error: tuned.yaml exists, and --apply writes a new file: name another\n"
    done = lit("fit", "--config", "tuned.yaml")
    assert done.status == 0, done.err
    config = read_run(tmp_path / "runs/tuned/version_0").config
    assert config["model"]["init_args"]["lr"] == rate
    assert config["model"]["init_args"]["hidden_features"] == [16]
    assert config["data"]["init_args"]["batch_size"] == 32
    assert config["data"]["init_args"]["seed"] == 3
    assert config["trainer"]["max_epochs"] == 1


def test_somebody_elses_module(lit, here):
    boring = "lightning.pytorch.demos.boring_classes.Boring"
    args = ("--model", f"{boring}Model", "--data", f"{boring}DataModule")
    many = ("--trainer.max_epochs", 3, "--steps", 600)  # of one sample each: much noise
    assert 1e-3 < found(lit("lr_find", *args, *many)) < 0.1
    refused = lit("lr_find", *args, "--apply", "tuned.yaml")
    assert "--apply replaces the model's lr or learning_rate: it has neither" in refused.err


RATES = np.geomspace(1e-6, 1, 100)


def test_the_suggestion_is_where_the_loss_falls_fastest():
    for middle in (1e-4, 1e-3, 1e-2):
        falls = 1 / (1 + (RATES / middle) ** 2)  # steepest over the logarithm at the middle
        noisy = 2 + falls + np.random.default_rng(0).normal(0, 0.01, 100)
        rate, _ = suggestion(RATES, noisy)
        assert rate == pytest.approx(middle, rel=0.3)
        blown_up = np.where(RATES > 0.3, 1e6, noisy)
        assert suggestion(RATES, blown_up)[0] == pytest.approx(middle, rel=0.3)


@pytest.mark.parametrize("seed", range(10))
def test_noise_suggests_nothing(seed):
    noise = np.random.default_rng(seed).normal(2, 0.1, 100)
    assert suggestion(RATES, noise)[0] is None
    assert suggestion(RATES, np.linspace(1, 2, 100))[0] is None


def test_smoothing_does_not_lag():
    line = np.arange(50.0)
    np.testing.assert_allclose(smoothed(line, 2.0)[10:-10], line[10:-10])
