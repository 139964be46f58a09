"""A training that diverges ends with a message, and nothing that is not finite is kept."""

import math

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch.utils.data import DataLoader, TensorDataset

from lit_course import LinearRegressor
from lit_course.callbacks import FiniteCheck
from lit_course.callbacks.finite_check import STEPS_PER_LOOK
from lit_course.stage_metrics import StageMetrics
from lit_course.trainer_cli import TrainerCLI

DIVERGING = ("--model", "LinearRegressor", "--data", "DiabetesDataModule", "--model.lr", "1e20")
DIGITS = (
    "--model",
    "MLPClassifier",
    "--model.hidden_features",
    "[8]",
    "--data",
    "DigitsDataModule",
)


def finite(path) -> bool:
    state = torch.load(path, weights_only=True)["state_dict"]
    return all(value.isfinite().all() for value in state.values())


class Spoil(Callback):
    """Makes a parameter NaN before or after an update, in the step of a number."""

    def __init__(self, step: int, value: float, behind: bool) -> None:
        self.step, self.value, self.behind = step, value, behind

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if not self.behind:
            self.spoil(trainer.global_step, pl_module)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if self.behind:
            self.spoil(trainer.global_step - 1, pl_module)

    def spoil(self, step, module):
        if step == self.step:
            with torch.no_grad():
                next(module.parameters()).view(-1)[0] = self.value


@pytest.fixture
def spoilt(monkeypatch):
    ours = TrainerCLI._callbacks

    def spoil(step, value=math.nan, behind=False):
        def callbacks(self):
            return [Spoil(step, value, behind), *ours(self)]

        monkeypatch.setattr(TrainerCLI, "_callbacks", callbacks)

    return spoil


def test_a_rate_far_too_high_ends_in_the_first_epoch(lit, tmp_path):
    done = lit("fit", *DIVERGING, "--trainer.max_epochs", 10, "--name", "run")
    assert done.status == 1
    assert done.err.startswith("error: training diverged: the loss is ")
    for words in ("at step ", "(epoch 1)", "learning rate 1e+20", "--model.lr", "gradient_clip"):
        assert words in done.err
    assert len(done.err.splitlines()) <= 5
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize(("step", "behind"), [(0, False), (37, False), (39, True), (59, True)])
def test_the_first_step_that_went_wrong_is_named(lit, tmp_path, spoilt, step, behind, value):
    """20 updates an epoch; behind an epoch's last update only the parameters show it."""
    spoilt(step, value, behind)
    fit = ("fit", *DIGITS, "--model.lr", "0.003", "--trainer.max_epochs", 5, "--name", "run")
    done = lit(*fit)
    assert done.status == 1
    epoch = step // 20 + 1
    what = "a parameter is not finite" if behind else "the loss is "
    assert what in done.err
    assert f"at step {step + 1} (epoch {epoch}), learning rate 0.003" in done.err
    kept = list(tmp_path.rglob("*.ckpt"))
    assert len(kept) == (2 if epoch > 1 else 0)
    for path in kept:
        assert finite(path)
        assert torch.load(path, weights_only=True)["epoch"] < epoch - 1


def test_a_validation_loss_that_is_not_finite_ends_the_run(lit, tmp_path, monkeypatch):
    """The parameters are finite, the numbers of this model are not."""
    infinite = {"loss": torch.tensor(math.inf)}
    monkeypatch.setattr(StageMetrics, "compute", lambda self, details=False: infinite)
    done = lit("fit", *DIGITS, "--trainer.max_epochs", 3, "--early_stopping", 1)
    assert done.status == 1
    assert "the validation loss is inf" in done.err
    assert not list(tmp_path.rglob("*.ckpt"))


def test_losses_are_looked_at_together(tmp_path):
    """Not one synchronisation a step: they are read once in many steps, and at an epoch's end."""
    looks = []
    check = FiniteCheck()
    ours = check._look
    check._look = lambda *args: looks.append(len(check._steps)) or ours(*args)
    x = torch.randn(300, 2)
    loader = DataLoader(TensorDataset(x, x.sum(1)), batch_size=1)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(accelerator="cpu", max_epochs=2, callbacks=[check], **quiet)
    trainer.fit(LinearRegressor(2, standardize=False), loader)
    assert looks == 2 * [STEPS_PER_LOOK, 300 - STEPS_PER_LOOK]


def test_a_step_that_no_float_can_hold_is_a_divergence(lit):
    """torch says of it that a value cannot be converted without overflow."""
    model = ("--model", "LinearRegressor", "--model.optimizer", "LBFGS", "--model.lr", 1e45)
    done = lit("fit", *model, "--data", "DiabetesDataModule", "--trainer.max_epochs", 1)
    assert done.status == 1
    assert "training diverged: a step of LBFGS is too long for any number" in done.err
    assert "learning rate 1e+45" in done.err
