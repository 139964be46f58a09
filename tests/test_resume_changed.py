"""What is given on a resume acts, is said, and leaves the rest as it was."""

import shutil
from itertools import product
from pathlib import Path

import pytest
import torch

from lit_course import LinearRegressor, MLPClassifier
from lit_course.schedules import SCHEDULES

MODEL = (
    *("--model", "MLPClassifier", "--model.hidden_features", "[8]", "--model.optimizer", "SGD"),
    *("--data", "DigitsDataModule", "--data.batch_size", "256", "--name", "run"),
)
OPTIONS = {
    "CyclicLR": '{"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 3, "cycle_momentum": false}',
    "ExponentialLR": '{"gamma": 0.8}',
    "MultiStepLR": '{"milestones": [1, 3]}',
    "StepLR": '{"step_size": 2}',
    "CosineAnnealingWarmRestarts": '{"T_0": 3}',
    "OneCycleLR": '{"cycle_momentum": false}',
    "ReduceLROnPlateau": '{"patience": 0, "threshold": 0.9, "factor": 0.5}',
}
FIXED = ("CyclicLR",)  # its rates are its options


def checkpoint(run: Path, which: str = "last") -> dict:
    return torch.load(run / "checkpoints" / f"{which}.ckpt", weights_only=True)


def rate(run: Path) -> float:
    return checkpoint(run)["optimizer_states"][0]["param_groups"][0]["lr"]


@pytest.fixture
def run(tmp_path):
    return tmp_path / "runs" / "run" / "version_0"


@pytest.fixture
def rates(lit, run, kicked):
    """The rate behind so many epochs of a horizon; each ``(epochs, options)`` resumes."""

    def train(*parts, horizons=(6, 6)) -> float:
        shutil.rmtree(run, ignore_errors=True)
        for i, ((epochs, *options), horizon) in enumerate(zip(parts, horizons, strict=False)):
            kicked(5 * epochs - 1)
            start = ("--ckpt_path", run) if i else MODEL
            done = lit("fit", *start, "--trainer.max_epochs", horizon, *options)
            assert done.status == 143, done.err
        return rate(run)

    return train


def schedule(name: str, interval: str) -> tuple[str, ...]:
    options = ("--model.lr_scheduler", name, "--model.lr_interval", interval)
    return (*options, "--model.lr_scheduler_options", OPTIONS.get(name, "{}"))


QUICK = {("CosineAnnealingLR", "epoch", 7)}
CASES = [
    pytest.param(*case, marks=[] if case in QUICK else [pytest.mark.slow])
    for case in product(SCHEDULES, ["epoch", "step"], [0, 7])
    # The plateau counts nothing; OneCycleLR has a warm-up of its own and counts updates.
    if case[0] != "ReduceLROnPlateau" and (case[0] != "OneCycleLR" or case[1:] == ("step", 0))
]


@pytest.mark.parametrize(("name", "interval", "warmup"), CASES)
def test_a_new_rate_is_the_new_base_times_the_present_factor(rates, name, interval, warmup):
    """As it would be now had the new base been given from the start."""
    chosen = (*schedule(name, interval), "--model.warmup_steps", warmup)
    for epochs in (3, 4):
        old = rates((epochs, *chosen, "--model.lr", 0.1))
        new = rates((epochs, *chosen, "--model.lr", 0.4))
        resumed = rates((2, *chosen, "--model.lr", 0.1), (epochs, "--model.lr", 0.4))
        assert resumed == pytest.approx(new, rel=1e-9)
        if name not in FIXED:
            assert new == pytest.approx(4 * old, rel=1e-9)


@pytest.mark.parametrize("warmup", [0, pytest.param(7, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", [None, "ReduceLROnPlateau"])
def test_a_new_rate_where_no_count_tells_the_factor(rates, name, warmup):
    chosen = ("--model.warmup_steps", warmup, *(schedule(name, "epoch") if name else ()))
    old = rates((4, *chosen, "--model.lr", 0.1))
    at_once = rates((2, *chosen, "--model.lr", 0.1))
    factor = rates((4, *chosen, "--model.lr", 0.4)) / 0.4
    resumed = rates((2, *chosen, "--model.lr", 0.1), (4, "--model.lr", 0.4))
    assert resumed == pytest.approx(0.4 * factor)
    if name:
        assert at_once <= 0.1
        assert old < 0.1


def test_options_of_optimizer_and_schedule_can_be_changed(lit, run):
    chosen = ("--model.lr", 0.1, *schedule("ReduceLROnPlateau", "epoch"))
    assert lit("fit", *MODEL, *chosen, "--trainer.max_epochs", 2).status == 0
    options = ("--model.optimizer_options", '{"momentum": 0.5}')
    patience = ("--model.lr_scheduler_options", '{"patience": 7}')
    done = lit("fit", "--ckpt_path", run, *options, *patience, "--trainer.max_epochs", 3)
    assert done.status == 0, done.err
    after = checkpoint(run)
    assert after["optimizer_states"][0]["param_groups"][0]["momentum"] == 0.5
    assert after["lr_schedulers"][0]["schedule"]["patience"] == 7
    assert after["hyper_parameters"]["optimizer_options"] == {"momentum": 0.5}


@pytest.mark.parametrize(
    ("name", "interval"),
    [
        ("OneCycleLR", "step"),
        pytest.param("CosineAnnealingLR", "epoch", marks=pytest.mark.slow),
        *(
            pytest.param(name, interval, marks=pytest.mark.slow)
            for name in ("LinearDecay", "PolynomialLR")
            for interval in ("epoch", "step")
        ),
    ],
)
def test_a_longer_training_has_a_longer_schedule(rates, name, interval):
    """The length that was filled in follows the training, not the checkpoint."""
    chosen = ("--model.lr", 0.1, *schedule(name, interval))
    expected = rates((4, *chosen), horizons=[5])
    resumed = rates((2, *chosen), (4,), horizons=[3, 5])
    assert resumed == pytest.approx(expected)
    assert expected > 0


def test_every_difference_is_said_in_a_line(lit, run, fit):
    folder = fit("--model.optimizer", "SGD", "--model.lr", "0.1")
    done = lit("fit", "--ckpt_path", folder, "--trainer.max_epochs", 3)
    assert (done.status, done.err) == (0, "")
    options = ("--model.lr", 0.4, "--model.label_smoothing", 0.1, "--trainer.max_epochs", 4)
    done = lit("fit", "--ckpt_path", folder, *options)
    assert done.status == 0
    assert sorted(done.err.splitlines()) == [
        "label_smoothing: 0.1, in the checkpoint 0.0",
        "lr: 0.4, in the checkpoint 0.1",
    ]
    after = checkpoint(folder)["hyper_parameters"]
    assert (after["lr"], after["label_smoothing"], after["hidden_features"]) == (0.4, 0.1, [16])


# ------------------------------------------------------------------- best


def test_best_stays_right_across_a_resume(lit, fit, tmp_path):
    """Also where the folder was moved in between; the best of a new folder is its own."""
    folder = fit("--model.lr", 0.01)
    best = checkpoint(folder, "best")
    spoil = ("--model.lr", 3.0, "--model.optimizer_options", '{"betas": [0.5, 0.5]}')
    moved = folder.rename(tmp_path / "moved")
    done = lit("fit", "--ckpt_path", moved, *spoil, "--trainer.max_epochs", 4)
    assert done.status == 0, done.err
    assert checkpoint(moved)["lit_course"]["metrics"]["val/loss"] > best_loss(best)
    assert best_loss(checkpoint(moved, "best")) == best_loss(best)
    assert checkpoint(moved, "best")["epoch"] == best["epoch"]
    done = lit("fit", "--ckpt_path", moved, *spoil, "--trainer.max_epochs", 5, "--name", "new")
    assert done.status == 0, done.err
    new = checkpoint(tmp_path / "runs" / "new" / "version_0", "best")
    assert new["epoch"] == 4
    assert best_loss(new) > best_loss(best)


def best_loss(saved: dict) -> float:
    return saved["lit_course"]["metrics"]["val/loss"]


# ------------------------------------------------------------------- files of other makes


@pytest.mark.filterwarnings("default:the checkpoint has hyperparameters")
def test_an_unknown_hyperparameter_warns_once(lit, fit):
    folder = fit()
    path = folder / "checkpoints" / "best.ckpt"
    saved = checkpoint(folder, "best")
    saved["hyper_parameters"]["depth_of_thought"] = 42
    torch.save(saved, path)
    done = lit("test", "--ckpt_path", path)
    assert done.status == 0, done.err
    assert done.err.count("depth_of_thought") == 1
    assert "does not know" in done.err
    with pytest.warns(UserWarning, match="depth_of_thought") as caught:
        MLPClassifier.load_from_checkpoint(path)
    assert len(caught) == 1


def test_a_newer_format_is_refused(lit, fit):
    folder = fit()
    path = folder / "checkpoints" / "best.ckpt"
    saved = checkpoint(folder, "best")
    saved["lit_course"]["format"] = 2
    torch.save(saved, path)
    done = lit("test", "--ckpt_path", path)
    assert done.status != 0
    assert "has format 2" in done.err
    assert "update lit-course" in done.err
    with pytest.raises(ValueError, match="has format 2"):
        MLPClassifier.load_from_checkpoint(path)


def test_another_class_is_refused_by_name(lit, fit):
    folder = fit()
    path = folder / "checkpoints" / "best.ckpt"
    done = lit(
        "test", "--ckpt_path", path, "--model", "LinearRegressor", "--data", "DiabetesDataModule"
    )
    assert done.status != 0
    assert "MLPClassifier" in done.err
    assert "LinearRegressor" in done.err
    with pytest.raises(ValueError, match="is of MLPClassifier, not of LinearRegressor"):
        LinearRegressor.load_from_checkpoint(path)
