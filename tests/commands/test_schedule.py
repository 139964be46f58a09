"""The learning rate that is drawn is the one that a fit logs."""

from functools import partial

import numpy as np
import polars as pl
import pytest
from lightning.pytorch.callbacks import LearningRateMonitor
from PIL import Image

from lit_course.commands.schedule import sparkline
from lit_course.modules import MLPClassifier
from lit_course.recorded import read_run
from lit_course.schedules import SCHEDULES

MODEL = ("--model", "MLPClassifier", "--model.hidden_features", "[4]", "--model.optimizer", "SGD")
DATA = ("--data", "DigitsDataModule", "--data.batch_size", 200)  # 7 batches an epoch
RUN = (*MODEL, *DATA, "--model.lr", 0.1, "--trainer.max_epochs", 4)
OPTIONS = {
    "ConstantLR": {"total_iters": 2},
    "CosineAnnealingWarmRestarts": {"T_0": 3},
    "CyclicLR": {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 3},
    "ExponentialLR": {"gamma": 0.7},
    "MultiStepLR": {"milestones": [1, 3]},
    "ReduceLROnPlateau": {"patience": 0, "threshold": 0.2, "cooldown": 1},
    "StepLR": {"step_size": 2},
}


@pytest.fixture
def draws() -> bool:
    return True


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def logged(lit, tmp_path, monkeypatch):
    """A fit, and the rate of each of its updates from the event file."""
    every_step = partial(LearningRateMonitor, logging_interval="step")
    monkeypatch.setattr("lit_course.trainer_cli.LearningRateMonitor", every_step)

    def run(*args):
        every = ("--trainer.log_every_n_steps", 1, "--baselines", "false")
        done = lit("fit", *RUN, *every, "--name", "fitted", *args)
        assert done.status == 0, done.err
        steps, rates = read_run(tmp_path / "runs/fitted/version_0").curves["lr-SGD"]
        assert steps.tolist() == list(range(len(steps)))
        return rates

    return run


def drawn(lit, *args):
    done = lit("schedule", *RUN, *args)
    assert done.status == 0, done.err
    return pl.read_csv("schedule.csv")["SGD"].to_numpy(), done.out


def options(name):
    given = OPTIONS.get(name, {})
    return [
        str(part) for key, v in given.items() for part in (f"--model.lr_scheduler_options.{key}", v)
    ]


SAMPLE = {("CosineAnnealingLR", "step"), ("StepLR", "epoch"), ("ReduceLROnPlateau", "epoch")}
CASES = [
    pytest.param(name, interval, marks=() if (name, interval) in SAMPLE else pytest.mark.slow)
    for name in SCHEDULES
    for interval in ("epoch", "step")
    if (name, interval) != ("ReduceLROnPlateau", "step")  # it counts validations
]


@pytest.mark.filterwarnings("ignore:A `OneCycleLR` scheduler is using 'interval'")
@pytest.mark.parametrize(("name", "interval"), CASES)
def test_it_is_what_a_fit_logs(lit, logged, here, name, interval):
    args = ["--model.lr_scheduler", name, "--model.lr_interval", interval, *options(name)]
    rates = logged(*args)
    assert len(rates) == 28
    curve = ["--curve", "fitted"] if name == "ReduceLROnPlateau" else []
    np.testing.assert_allclose(drawn(lit, *args, *curve)[0], rates, rtol=6e-6)
    assert len(set(rates.tolist())) > 1


COSINE = ("--model.lr_scheduler", "CosineAnnealingLR")
PLATEAU = ("--model.lr_scheduler", "ReduceLROnPlateau", *options("ReduceLROnPlateau"))


@pytest.mark.parametrize(
    "args",
    [
        (*PLATEAU, "--curve", "fitted", "--model.warmup_steps", 10),
        (*COSINE, "--model.lr_interval", "step", "--trainer.accumulate_grad_batches", 2),
        *(
            pytest.param(args, marks=pytest.mark.slow)
            for args in (
                ("--model.warmup_steps", 10),
                (*COSINE, "--model.warmup_steps", 10, "--model.lr_interval", "step"),
                (*COSINE, "--model.lr_frequency", 2),
                (*COSINE, "--model.lr_interval", "step", "--trainer.max_steps", 17),
                (*PLATEAU, "--curve", "fitted", "--trainer.val_check_interval", 0.5),
                (*PLATEAU, "--curve", "fitted", "--trainer.check_val_every_n_epoch", 2),
                (*PLATEAU, "--curve", "fitted", "--data.val_size", 0),
                (*PLATEAU, "--curve", "fitted", "--model.monitor", "val/accuracy"),
            )
        ),
    ],
    ids=lambda args: " ".join(str(arg).removeprefix("--") for arg in args[-4:]),
)
def test_it_is_what_a_fit_logs_however_it_is_stepped(lit, logged, here, args):
    at = args.index("--curve") if "--curve" in args else len(args)
    rates = logged(*args[:at], *args[at + 2 :])
    np.testing.assert_allclose(drawn(lit, *args)[0], rates, rtol=6e-6)


def test_nothing_is_trained_and_nothing_else_is_written(lit, here, monkeypatch):
    def trained(*args):
        raise AssertionError("a batch was computed")

    monkeypatch.setattr(MLPClassifier, "training_step", trained)
    monkeypatch.setattr(MLPClassifier, "validation_step", trained)
    cycle = ("--model.lr_scheduler", "OneCycleLR", "--model.lr_interval", "step")
    rates, out = drawn(lit, *cycle, "--early_stopping", 1)
    assert sorted(path.name for path in here.parent.rglob("*")) == sorted(
        ["here", "schedule.csv", "schedule.png"]
    )
    assert "OneCycleLR: 28 updates, 7 per epoch" in out
    with Image.open("schedule.png") as picture:
        assert picture.size == (768, 480)
        assert len(picture.getcolors(1 << 20)) > 20
    assert rates.argmax() in (7, 8)


def test_the_plateau_sees_an_assumed_metric(lit, here):
    few = ("--model.lr_scheduler", "ReduceLROnPlateau", "--model.lr_scheduler_options.patience", 1)
    rates, out = drawn(lit, *few, "--trainer.max_epochs", 12)
    falls = np.flatnonzero(np.diff(rates)) // 7 + 1  # epochs behind which it has lowered the rate
    # It gets better until epoch 6; 7 and 8 are one more than its patience.
    assert falls.tolist() == [8, 10]
    assert out.count("reduced") == 2
    up = drawn(lit, *few, "--trainer.max_epochs", 12, "--model.monitor", "val/accuracy")[0]
    np.testing.assert_array_equal(up, rates)
    given = drawn(lit, *few, "--metric", "[3, 4, 4, 1]")[0]
    assert (np.flatnonzero(np.diff(given)) // 7 + 1).tolist() == [3]


def test_an_old_picture_is_kept_unless_it_is_the_default(lit, here):
    (here / "mine.png").write_text("old")
    done = lit("schedule", *RUN, "--output", "mine.png")
    assert (done.status, done.err) == (2, "error: mine.png exists: add --overwrite to replace it\n")
    assert lit("schedule", *RUN, "--output", "mine.png", "--overwrite").status == 0
    assert (here / "mine.png").read_bytes()[1:4] == b"PNG"
    assert lit("schedule", *RUN).status == lit("schedule", *RUN).status == 0


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        (("--curve", "nothing"), 1, "no run 'nothing'; there is none in"),
        (("--metric", "[]"), 2, "--metric needs a value at least"),
        (("--metric", "[1]", "--curve", "x"), 2, "give one"),
        (("--metric", "[1]", "--model.lr_scheduler", "LinearLR"), 2, "are for ReduceLROnPlateau"),
        (("--output", "x.pdf"), 2, "--output must end in .png"),
        (("--cross_validate", 3), 2, "leave cross_validate out"),
        (("--trainer.max_epochs", -1), 1, "or no end that is known: set trainer.max_epochs"),
        (("--trainer.devices", 2), 2, "one process: give --trainer.devices 1"),
    ],
)
def test_bad_input_is_one_line(lit, here, args, status, message):
    done = lit("schedule", *RUN, "--model.lr_scheduler", "ReduceLROnPlateau", *args)
    assert done.status == status
    assert message in done.err
    assert len(done.err.splitlines()) <= 2
    assert not list(here.iterdir())


def test_the_exact_solver_has_none(lit, here):
    model = ("--model", "LinearRegressor", "--model.solver", "exact")
    data = ("--data", "DiabetesDataModule", "--trainer.max_epochs", 1)
    done = lit("schedule", *model, *data)
    assert "solver 'exact' has no learning rate" in done.err


def test_somebody_elses_module(lit, here):
    boring = "lightning.pytorch.demos.boring_classes.Boring"
    args = ("--model", f"{boring}Model", "--data", f"{boring}DataModule")
    done = lit("schedule", *args, "--trainer.max_epochs", 3)
    assert done.status == 0, done.err
    rates = pl.read_csv("schedule.csv")["SGD"].to_numpy()
    np.testing.assert_allclose(rates, np.repeat([0.1, 0.01, 0.001], 64))


def test_a_sparkline_goes_from_its_lowest_to_its_highest():
    assert sparkline(np.arange(8.0)) == "▁▂▃▄▅▆▇█"
    assert sparkline(np.ones(3)) == "▁▁▁"
    assert len(sparkline(np.arange(1e5))) == 60


def test_what_is_read_is_not_written_over(lit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = tmp_path / "schedule.csv"
    table.write_text("x,y\n" + "".join(f"{row % 17},{row % 5}.5\n" for row in range(40)))
    before = table.read_text()
    data = ("--data", "CSVDataModule", "--data.path", "schedule.csv", "--data.target", "y")
    done = lit("schedule", "--model", "LinearRegressor", *data, "--trainer.max_epochs", 2)
    assert done.status == 2
    assert "would replace what is read" in done.err
    assert table.read_text() == before
