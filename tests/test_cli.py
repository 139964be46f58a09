"""The command line as a user meets it, in this process unless a new one is the point."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lit_course.cli import main
from lit_course.losses import CLASSIFICATION_LOSSES, REGRESSION_LOSSES
from lit_course.optimizers import (
    OPTIMIZERS,
)
from lit_course.schedules import (
    SCHEDULES,
)


def scalars(run: Path) -> dict[str, list]:
    events = EventAccumulator(str(run)).Reload()
    return {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}


def metrics(run: Path, verb: str) -> dict[str, float]:
    return json.loads((run / f"{verb}_metrics.json").read_text())


def weights(run: Path, which: str = "last") -> dict[str, torch.Tensor]:
    return torch.load(run / f"checkpoints/{which}.ckpt", weights_only=True)["state_dict"]


# ------------------------------------------------------------------- a run and its folder


def test_a_run_leaves_what_its_folder_promises(fit):
    run = fit()
    assert {path.name for path in run.iterdir() if "tfevents" not in path.name} == {
        "best",
        "checkpoints",
        "config.yaml",
        "figures",
        "fit_metrics.json",
        "hparams.yaml",
    }
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert len(list(run.glob("events.out.tfevents.*"))) == 1
    hparams = yaml.safe_load((run / "hparams.yaml").read_text())
    assert (hparams["in_features"], hparams["num_classes"]) == (64, 10)
    logged = scalars(run)
    assert {"train/loss", "val/loss", "val/accuracy", "val/f1", "lr-Adam"} <= logged.keys()
    assert len(logged["val/loss"]) == 2


def test_the_name_is_given_or_the_configs_or_the_models(lit, tmp_path):
    config = tmp_path / "my_digits.yaml"
    config.write_text(
        "model: {class_path: MLPClassifier, init_args: {hidden_features: [4]}}\n"
        "data: DigitsDataModule\ntrainer: {max_epochs: 1}\n"
    )
    for args in (("--name", "named"), ()):
        assert lit("fit", "--config", config, *args).status == 0
    short = ("--model", "MLPClassifier", "--data", "DigitsDataModule", "--trainer.max_epochs", 1)
    assert lit("fit", *short).status == 0
    names = {path.name for path in (tmp_path / "runs").iterdir()}
    assert names == {"named", "my_digits", "MLPClassifier"}


def test_the_saved_config_is_reusable_as_it_is(fit, lit, tmp_path):
    run = fit("--model.lr", 0.01)
    done = lit("fit", "--config", run / "config.yaml")
    assert done.status == 0, done.err
    again = tmp_path / "runs/digits/version_1"  # it names the run as the first one was named
    assert metrics(again, "fit") == metrics(run, "fit")
    assert (again / "config.yaml").read_text() == (run / "config.yaml").read_text()


def test_two_runs_are_equal_and_another_seed_differs(fit):
    first, second = fit(), fit()
    other = fit("--seed_everything", 1)
    assert first != second
    assert all(torch.equal(weights(first)[k], v) for k, v in weights(second).items())
    assert not torch.equal(
        weights(first)["network.output.weight"], weights(other)["network.output.weight"]
    )


def test_what_fit_says(lit):
    options = ("--data", "DigitsDataModule", "--trainer.max_epochs", 3, "--trainer.max_steps", -1)
    done = lit("fit", "--model", "MLPClassifier", "--model.hidden_features", "[8]", *options)
    assert done.status == 0
    assert "1,257 train · 270 val · 270 test" in done.out
    assert "20 per epoch, 60 in all, 3 epochs, 64 samples a batch" in done.out
    assert "610 trainable, 0 frozen" in done.out  # 64·8 + 8 + 8·10 + 10
    assert re.search(r"device\s+cpu", done.out)
    assert done.out.count("epoch ") >= 3
    assert "best (epoch" in done.out
    assert "val/accuracy" in done.out
    assert "version_0" in done.out.splitlines()[-1]
    assert done.err == ""


def test_a_fit_with_its_test_ends_in_one_table(lit):
    options = (
        *("--model", "MLPClassifier", "--model.hidden_features", "[8]"),
        "--test_best",
        "true",
    )
    done = lit("fit", *options, "--data", "DigitsDataModule", "--trainer.max_epochs", 2)
    assert done.status == 0, done.err
    assert done.out.count("metric ") == 1
    assert re.search(r"metric\W+best \(epoch 2\)\W+last\W+test\W", done.out)
    assert "test/accuracy" in done.out


def test_a_long_fit_prints_about_twenty_lines(lit):
    options = ("--data", "DiabetesDataModule", "--trainer.max_epochs", 63)
    done = lit("fit", "--model", "LinearRegressor", *options)
    assert 15 <= done.out.count("  train/loss") <= 25


# ------------------------------------------------------------------- checkpoints


def test_evaluating_says_what_fit_reported(fit, lit):
    run = fit("--model.monitor", "val/accuracy", epochs=4)
    reported = metrics(run, "fit")
    assert lit("validate", "--ckpt_path", run).status == 0
    found = metrics(run, "validate")
    for name in ("val/loss", "val/accuracy", "val/f1", "val/auroc"):
        assert found[name] == pytest.approx(reported[name], rel=1e-6)
    assert {"val/f1/3", "val/recall/9"} <= found.keys()
    before = sorted(path.name for path in run.parent.iterdir())
    assert lit("test", "--ckpt_path", "best", "--name", "digits").status == 0
    assert lit("test", "--ckpt_path", run / "checkpoints/last.ckpt").status == 0
    assert lit("predict", "--ckpt_path", run).status == 0
    assert sorted(path.name for path in run.parent.iterdir()) == before
    assert len((run / "predictions.csv").read_text().splitlines()) == 1 + 270


@pytest.mark.slow
def test_a_new_process_finds_the_numbers_again(fit):
    """Without Lightning's memory of the fit, and with nothing but the run's folder."""
    run = fit("--test_best", "true")
    reported = metrics(run, "test")
    (run / "test_metrics.json").unlink()
    command = [sys.executable, "-m", "lit_course", "test", "--ckpt_path", str(run)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=run)
    assert (done.returncode, done.stderr) == (0, "")
    assert metrics(run, "test") == pytest.approx(reported, rel=1e-6)
    assert not (run / "lightning_logs").exists()


def test_best_follows_the_direction_of_its_metric(fit):
    run = fit("--model.monitor", "val/accuracy", "--model.lr", 0.02, epochs=8)
    curve = [event.value for event in scalars(run)["val/accuracy"]]
    assert metrics(run, "fit")["val/accuracy"] == pytest.approx(max(curve))
    assert torch.load(run / "checkpoints/best.ckpt", weights_only=True)["epoch"] == (
        curve.index(max(curve))
    )


def test_last_is_the_last_state_though_it_is_not_the_best(fit):
    run = fit("--model.lr", 0, epochs=4)  # nothing becomes better after the first epoch
    epochs = {
        which: torch.load(run / f"checkpoints/{which}.ckpt", weights_only=True)["epoch"]
        for which in ("best", "last")
    }
    assert epochs == {"best": 0, "last": 3}


@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_nobody_evaluates_random_weights(fit, lit, verb):
    run = fit()
    done = lit(verb, "--model", "MLPClassifier", "--data", "DigitsDataModule")
    assert done.status != 0
    assert "--ckpt_path" in done.err
    assert str(run / "checkpoints/best.ckpt") in done.err


def test_best_and_last_are_of_the_newest_run_that_saved_one(fit, lit):
    first, second = fit(), fit("--model.lr", 0.01)
    fit("--trainer.enable_checkpointing", "false")
    fit(name="another")
    assert lit("test", "--ckpt_path", "last", "--name", "digits").status == 0
    assert (second / "test_metrics.json").exists()
    assert not (first / "test_metrics.json").exists()
    done = lit("test", "--ckpt_path", "best", "--name", "nobody")
    assert done.status != 0
    assert "no 'best' checkpoint" in done.err


def test_a_resumed_fit_goes_on_in_its_folder(fit, lit):
    run = fit(epochs=2)
    done = lit("fit", "--ckpt_path", run, "--trainer.max_epochs", 4)
    assert done.status == 0, done.err
    assert [path.name for path in run.parent.iterdir()] == [run.name]
    assert (run / "config_resume_1.yaml").exists()
    straight = fit(epochs=4, name="straight")
    assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["epoch"] == 3
    for name, value in weights(straight).items():
        assert torch.equal(weights(run)[name], value), name


@pytest.mark.parametrize("ckpt_path", ["last", "best"])
def test_last_of_a_name_goes_on_in_its_folder_and_another_name_begins_one(fit, lit, ckpt_path):
    run = fit(epochs=1)
    more = "--trainer.max_epochs"
    assert lit("fit", "--ckpt_path", ckpt_path, "--name", "digits", more, 2).status == 0
    assert [path.name for path in run.parent.iterdir()] == [run.name]
    assert lit("fit", "--ckpt_path", run, "--name", "other", more, 3).status == 0
    assert (run.parents[1] / "other" / "version_0" / "checkpoints" / "last.ckpt").is_file()


def test_checkpoint_over_default_config_over_checkpoint_flag_over_config(fit, lit, tmp_path):
    run = fit("--model.dropout", 0.25, "--model.lr", 0.01)
    alone = tmp_path / "elsewhere.ckpt"
    alone.write_bytes((run / "checkpoints/last.ckpt").read_bytes())
    config = tmp_path / "config.yaml"
    config.write_text(
        "model: {class_path: MLPClassifier, init_args: {lr: 0.02, in_features: null}}\n"
    )
    data = ("--data", "DigitsDataModule", "--config", config, "--model.warmup_steps", 3)
    done = lit("fit", "--ckpt_path", alone, *data, "--trainer.max_epochs", 3, "--name", "on")
    assert done.status == 0, done.err
    found = yaml.safe_load((tmp_path / "runs/on/version_0/config.yaml").read_text())["model"]
    expected = {"dropout": 0.25, "hidden_features": [16], "lr": 0.02, "warmup_steps": 3}
    assert {key: found["init_args"][key] for key in expected} == expected
    assert found["init_args"]["in_features"] == 64


FOREIGN = {
    "data by path": {"data": {"class_path": "evil.Data"}},
    "model as text": {"model": "evil.Model"},
    "callback as text": {"trainer": {"callbacks": ["evil.Callback"]}},
    "a callback that calls": {
        "trainer": {
            "callbacks": [
                {
                    "class_path": "lightning.pytorch.callbacks.LambdaCallback",
                    "init_args": {"on_test_start": "evil.function"},
                }
            ]
        }
    },
    "logger": {"trainer": {"logger": "evil.Logger"}},
    "plugin": {"trainer": {"plugins": ["evil.Plugin"]}},
    "strategy": {"trainer": {"strategy": "evil.Strategy"}},
    "profiler": {"trainer": {"profiler": {"class_path": "evil.Profiler"}}},
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_runs_own_config_builds_only_what_is_ours(fit, lit, tmp_path, monkeypatch, what):
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    run = fit()
    config = yaml.safe_load((run / "config.yaml").read_text())
    for key, value in FOREIGN[what].items():
        config[key] = {**config[key], **value} if key == "trainer" else value
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    done = lit("test", "--ckpt_path", run)
    assert done.status != 0
    assert "if you trust it" in done.err
    assert "--config" in done.err
    assert not (tmp_path / "ran").exists()


def test_a_resumed_fit_knows_its_best_again(lit, tmp_path, monkeypatch):
    """From the run's folder as a user types it: relative."""
    monkeypatch.chdir(tmp_path)
    options = ("--name", "r", "--runs", "runs", "--trainer.max_epochs")
    model = ("--model", "MLPClassifier", "--model.hidden_features", "[4]", "--model.lr", 0.01)
    assert lit("fit", *model, "--data", "DigitsDataModule", *options, 2).status == 0
    best = torch.load("runs/r/version_0/checkpoints/best.ckpt", weights_only=True)
    # Smoothed labels make every later loss worse than the best one so far.
    worse = ("--trainer.max_epochs", 4, "--model.label_smoothing", 0.9, "--runs", "runs")
    done = lit("fit", "--ckpt_path", "runs/r/version_0", *worse)
    assert done.status == 0, done.err
    again = torch.load("runs/r/version_0/checkpoints/best.ckpt", weights_only=True)
    assert again["epoch"] == best["epoch"] == 1
    last = torch.load("runs/r/version_0/checkpoints/last.ckpt", weights_only=True)
    assert last["epoch"] == 3


def test_a_later_config_wins_and_an_earlier_one_still_counts(tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text(f"name: mine\nruns: {tmp_path / 'elsewhere'}\ntrainer: {{max_epochs: 9}}\n")
    second.write_text("trainer: {max_epochs: 1}\n")
    configs = ["--config", str(first), f"--config={second}"]
    assert main(["fit", *configs, "--model", "MLPClassifier", "--data", "DigitsDataModule"]) == 0
    run = tmp_path / "elsewhere/mine/version_0"
    assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["epoch"] == 0


def test_a_name_is_one_folder(lit, tmp_path):
    options = ("--data", "DigitsDataModule", "--name", "../escaped")
    done = lit("fit", "--model", "MLPClassifier", *options)
    assert done.status != 0
    assert "'../escaped'" in done.err
    assert not (tmp_path / "escaped").exists()


def test_evaluating_with_a_logger_in_the_config_adds_no_folder(fit, lit, tmp_path):
    logger = {
        "class_path": "lightning.pytorch.loggers.CSVLogger",
        "init_args": {"save_dir": str(tmp_path / "csv")},
    }
    run = fit("--trainer.logger", json.dumps(logger))
    assert (run / "checkpoints/best.ckpt").exists()
    before = sorted((tmp_path / "csv").rglob("*"))
    assert lit("test", "--ckpt_path", run).status == 0
    assert sorted((tmp_path / "csv").rglob("*")) == before


# ------------------------------------------------------------------- everything by name


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_from_the_command_line(fit, name):
    run = fit("--model.optimizer", name, epochs=1)
    assert metrics(run, "fit")["train/loss"] > 0
    assert f"lr-{name}" in scalars(run)


NEEDED = {
    "CosineAnnealingWarmRestarts": {"T_0": 2},
    "CyclicLR": {"base_lr": 0.001, "max_lr": 0.01, "cycle_momentum": False},
    "ExponentialLR": {"gamma": 0.5},
    "MultiStepLR": {"milestones": [1, 2]},
    "StepLR": {"step_size": 1},
}


@pytest.mark.slow
@pytest.mark.parametrize("interval", ["epoch", "step"])
@pytest.mark.parametrize("name", sorted(SCHEDULES))
@pytest.mark.filterwarnings("ignore:A `OneCycleLR` scheduler is using 'interval'")
def test_every_schedule_from_the_command_line(fit, name, interval):
    if (name, interval) == ("ReduceLROnPlateau", "step"):
        pytest.skip("the plateau counts validations; test_errors has the refusal")
    options = json.dumps(NEEDED.get(name, {}))
    run = fit(
        *("--model.lr_scheduler", name, "--model.lr_scheduler_options", options),
        *("--model.lr_interval", interval, "--trainer.log_every_n_steps", 1),
        epochs=3,
    )
    rates = [event.value for event in scalars(run)["lr-Adam"]]
    # A constant factor for 5 epochs, and a plateau that never comes, have nothing to change.
    still = name == "ReduceLROnPlateau" or (name, interval) == ("ConstantLR", "epoch")
    assert (len(set(rates)) > 1) != still


@pytest.mark.slow
@pytest.mark.parametrize("loss", sorted(CLASSIFICATION_LOSSES))
def test_every_classification_loss_from_the_command_line(lit, tmp_path, loss):
    data = tmp_path / "two.npz"
    x, y = torch.randn(200, 3), torch.arange(200) % 2
    import numpy as np

    np.savez(data, X=(x + y[:, None]).numpy(), y=y.numpy())
    model = ("--model", "MLPClassifier", "--model.loss", loss, "--model.class_weights", "balanced")
    done = lit(
        *("fit", *model, "--data", "ArrayDataModule", "--data.X", data),
        *("--trainer.max_epochs", 30, "--model.lr", 0.01, "--name", "two"),
    )
    assert done.status == 0, done.err
    assert metrics(tmp_path / "runs/two/version_0", "fit")["val/accuracy"] > 0.7


@pytest.mark.slow
@pytest.mark.parametrize("loss", sorted(REGRESSION_LOSSES))
def test_every_regression_loss_from_the_command_line(lit, tmp_path, loss):
    done = lit(
        *("fit", "--model", "LinearRegressor", "--model.loss", loss, "--model.lr", 3),
        *("--data", "DiabetesDataModule", "--trainer.max_epochs", 60, "--name", "d"),
    )
    assert done.status == 0, done.err
    assert metrics(tmp_path / "runs/d/version_0", "fit")["val/r2"] > 0.2


def test_a_users_own_classes_work_by_their_path(lit, tmp_path, monkeypatch):
    (tmp_path / "a_users_own.py").write_text(
        "import torch\n"
        "from lit_course import MLPClassifier, DigitsDataModule\n"
        "class Wide(MLPClassifier):\n"
        "    '''Mine.'''\n"
        "    def __init__(self, width: int = 7, hidden_features: list[int] = [3]):\n"
        "        self.width = width\n"
        "        super().__init__(hidden_features=hidden_features)\n"
        "    def configure_network(self):\n"
        "        return torch.nn.Sequential(torch.nn.Linear(64, self.width), torch.nn.ReLU(),\n"
        "                                   torch.nn.Linear(self.width, self.num_classes))\n"
        "class Mine(DigitsDataModule):\n"
        "    '''Mine.'''\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    options = ("--trainer.max_epochs", 1, "--name", "mine", "--model.width", 5)
    done = lit("fit", "--model", "a_users_own.Wide", "--data", "a_users_own.Mine", *options)
    assert done.status == 0, done.err
    run = tmp_path / "runs/mine/version_0"
    assert weights(run)["network.0.weight"].shape == (5, 64)
    done = lit("test", "--config", run / "config.yaml", "--ckpt_path", "best")
    assert done.status == 0, done.err


def test_somebody_elses_module_and_data(lit, tmp_path):
    demo = "lightning.pytorch.demos.boring_classes."
    options = ("--trainer.max_epochs", 1, "--trainer.limit_train_batches", 2, "--name", "theirs")
    done = lit("fit", "--model", demo + "BoringModel", *options)
    assert done.status == 0, done.err
    assert (tmp_path / "runs/theirs/version_0/checkpoints/best.ckpt").exists()
    config = tmp_path / "runs/theirs/version_0/config.yaml"
    options = ("--data", demo + "BoringDataModule", "--config", config)
    done = lit("test", "--ckpt_path", "best", *options)
    assert done.status == 0, done.err


# ------------------------------------------------------------------- the Trainer's own flags


def test_fast_dev_run_writes_nothing(lit, tmp_path):
    options = ("--trainer.fast_dev_run", "true", "--test_best", "true")
    done = lit("fit", "--model", "MLPClassifier", "--data", "DigitsDataModule", *options)
    assert done.status == 0, done.err
    assert not (tmp_path / "runs").exists()


def test_limits_count_batches(fit):
    run = fit("--trainer.limit_train_batches", 3, "--trainer.limit_val_batches", 1)
    assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 6


def test_overfit_batches_sees_the_same_batches(fit):
    run = fit("--trainer.overfit_batches", 2, "--model.lr", 0.01, epochs=40)
    assert metrics(run, "fit")["train/accuracy"] == 1.0


def test_max_steps_counts_updates(fit):
    run = fit("--trainer.max_steps", 7, epochs=-1)
    assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 7


def test_max_time_ends_a_run(fit):
    fit("--trainer.max_time", "00:00:00:01", epochs=-1)


def test_val_check_interval_validates_within_the_epoch(fit):
    run = fit("--trainer.val_check_interval", 0.5, epochs=1)
    assert [event.step for event in scalars(run)["val/loss"]] == [9, 19]


def test_check_val_every_n_epoch(fit):
    run = fit("--trainer.check_val_every_n_epoch", 2, epochs=4)
    assert len(scalars(run)["val/loss"]) == 2
    assert len(scalars(run)["train/loss"]) == 4


def test_gradient_clipping_clips(fit):
    options = ("--model.optimizer", "SGD", "--model.lr", 1, "--trainer.limit_train_batches", 1)
    start = weights(fit("--trainer.limit_train_batches", 1, "--model.lr", 0, epochs=1))
    clipped = weights(fit(*options, "--trainer.gradient_clip_val", 0.01, epochs=1))
    moved = [(clipped[k] - start[k]).flatten() for k in start if k.endswith((".weight", ".bias"))]
    assert float(torch.cat(moved).norm()) == pytest.approx(0.01, rel=1e-3)


def test_accumulated_batches_are_one_update(fit, lit):
    run = fit(
        *("--trainer.accumulate_grad_batches", 3, "--model.lr_scheduler", "LinearDecay"),
        *("--model.lr_interval", "step", "--trainer.log_every_n_steps", 1),
    )
    # 20 batches make 6 whole updates and one of the 2 that are left.
    assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 14
    rates = sorted({event.value for event in scalars(run)["lr-Adam"]}, reverse=True)
    assert rates == pytest.approx([0.001 * (1 - t / 14) for t in range(14)])


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_precision(fit, precision):
    run = fit("--trainer.precision", precision, "--model.lr", 0.01, epochs=3)
    assert metrics(run, "fit")["val/accuracy"] > 0.8


def test_without_a_logger_the_run_still_has_a_folder(fit):
    run = fit("--trainer.logger", "false")
    assert not list(run.glob("events*"))
    assert {"checkpoints", "config.yaml", "fit_metrics.json"} <= {p.name for p in run.iterdir()}


def test_with_a_csv_logger(fit, tmp_path):
    logger = {
        "class_path": "lightning.pytorch.loggers.CSVLogger",
        "init_args": {"save_dir": str(tmp_path / "csv")},
    }
    fit("--trainer.logger", json.dumps(logger))
    (table,) = (tmp_path / "csv").rglob("metrics.csv")
    assert "val/accuracy" in table.read_text().splitlines()[0]


def test_without_checkpoints(fit):
    run = fit("--trainer.enable_checkpointing", "false")
    assert not (run / "checkpoints").exists()
    assert metrics(run, "fit")["val/accuracy"] > 0.1


def test_without_a_progress_bar(fit, lit, capsys):
    done = lit(
        *("fit", "--model", "MLPClassifier", "--data", "DigitsDataModule"),
        *("--trainer.enable_progress_bar", "false", "--trainer.max_epochs", 1),
    )
    assert done.status == 0
    assert "epoch 1/1" not in done.out


def test_without_validation_batches(fit):
    run = fit("--trainer.limit_val_batches", 0, "--model.lr_scheduler", "ReduceLROnPlateau")
    assert (run / "checkpoints/best.ckpt").exists()
    assert not [name for name in metrics(run, "fit") if name.startswith("val/")]


# ------------------------------------------------------------------- callbacks


def test_adding_a_callback_keeps_the_defaults(lit, tmp_path, monkeypatch):
    (tmp_path / "my_callbacks.py").write_text(
        "from lightning.pytorch import Callback\n"
        "class Counting(Callback):\n"
        "    def state_dict(self):\n"
        "        return {'count': 3}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = tmp_path / "more.yaml"
    config.write_text(
        "model: {class_path: MLPClassifier, init_args: {hidden_features: [4]}}\n"
        "data: DigitsDataModule\n"
        "trainer: {max_epochs: 2, callbacks: [{class_path: my_callbacks.Counting}]}\n"
    )
    assert lit("fit", "--config", config).status == 0
    run = tmp_path / "runs/more/version_0"
    saved = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    assert {"Counting", "BestCheckpoint"} <= saved["callbacks"].keys()
    assert "lr-Adam" in scalars(run)


def test_early_stopping_is_one_line_and_follows_the_monitor(lit, tmp_path):
    config = tmp_path / "early.yaml"
    config.write_text(
        "model: {class_path: MLPClassifier, init_args: {lr: 0.0, monitor: val/accuracy}}\n"
        "data: DigitsDataModule\n"
        "trainer: {max_epochs: 50}\n"
        "early_stopping: 3\n"
    )
    assert lit("fit", "--config", config).status == 0
    run = tmp_path / "runs/early/version_0"
    # The first validation sets the mark; three more without improvement end it.
    assert len(scalars(run)["val/accuracy"]) == 4


def test_plateau_and_early_stopping_agree_on_an_accuracy_that_rises(fit):
    run = fit(
        *("--model.monitor", "val/accuracy", "--early_stopping", 3, "--model.lr", 0.0005),
        *("--model.lr_scheduler", "ReduceLROnPlateau"),
        *("--model.lr_scheduler_options", '{"patience": 0}'),
        epochs=4,
    )
    rises = [event.value for event in scalars(run)["val/accuracy"]]
    assert rises == sorted(rises)
    assert len({event.value for event in scalars(run)["lr-Adam"]}) == 1


# ------------------------------------------------------------------- help


@pytest.mark.parametrize("verb", ["fit", "validate", "test", "predict"])
def test_print_config_and_help(lit, fit, verb):
    run = fit()
    args = ("--model", "MLPClassifier", "--data", "DigitsDataModule", "--ckpt_path", run)
    done = lit(verb, *args, "--print_config")
    assert done.status == 0
    assert yaml.safe_load(done.out)["model"]["init_args"]["hidden_features"] == [16]
    assert done.err == ""


@pytest.mark.parametrize("verb", ["predict", "export"])
def test_help_needs_no_checkpoint(lit, verb):
    done = lit(verb, "--help")
    assert (done.status, done.err) == (0, "")
    assert "--output" in done.out
    assert ("--format" in done.out) == (verb == "export")


def test_help_is_made_of_the_docstrings(lit):
    done = lit("fit", "--help")
    assert done.status == 0
    assert "--early_stopping" in done.out
    assert "--optimizer " not in done.out
    done = lit("fit", "--model.help", "MLPClassifier")
    assert done.status == 0
    assert "Width of each hidden layer" in " ".join(done.out.split())


ONE_BATCH = """
import sys, sklearn.metrics
from lit_course.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("said", ["flag", "config"])
def test_one_batch_is_one_whatever_was_imported_before(tmp_path, said):
    """The order of a Union is that in which the process first saw it, here scipy's."""
    model = ["--model", "MLPClassifier", "--data", "DigitsDataModule"]
    where = ["--runs", str(tmp_path), "--name", "one", "--trainer.max_epochs", "1"]
    if said == "flag":
        limit = ["--trainer.limit_train_batches", "1"]
    else:
        (tmp_path / "one.yaml").write_text("trainer:\n  limit_train_batches: 1\n")
        limit = ["--config", str(tmp_path / "one.yaml")]
    command = [sys.executable, "-W", "ignore", "-c", ONE_BATCH, "fit", *model, *where, *limit]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    last = tmp_path / "one/version_0/checkpoints/last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == 1
