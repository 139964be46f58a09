"""Bad input: at most five lines that name the thing, exit status not 0, nothing left or lost."""

import os
from pathlib import Path

import numpy as np
import pytest

MLP = ("--model", "MLPClassifier", "--model.hidden_features", "[4]")
LINEAR = ("--model", "LinearRegressor")
DIGITS = ("--data", "DigitsDataModule")
DIABETES = ("--data", "DiabetesDataModule")
SHORT = ("--trainer.max_epochs", "1")


def schedule(name: str, options: str = "{}") -> tuple[str, ...]:
    return ("--model.lr_scheduler", name, "--model.lr_scheduler_options", options)


# What is typed after `fit`, and words that the message must have.
COMMANDS = {
    "unknown flag": ((*MLP, *DIGITS, "--trainer.max_epoch", "1"), ["trainer.max_epochs"]),
    "unknown class": (("--model", "MLPClasifier", *DIGITS), ["'MLPClasifier'", "'MLPClassifier'"]),
    "unknown data": ((*MLP, "--data", "DigitDataModule"), ["'DigitsDataModule'"]),
    "class without a module": (("--model", "no.such.Thing", *DIGITS), ["no.such.Thing"]),
    "no model": (DIGITS, ["no model", "--config"]),
    "no data": (MLP, ["no data", "--config"]),
    "unknown argument": ((*MLP, *DIGITS, "--model.lrr", "1"), ["'lrr'", "'lr'"]),
    "wrong type": ((*MLP, *DIGITS, "--model.lr", "fast"), ["model.lr", "number", "'fast'"]),
    "wrong choice": ((*MLP, *DIGITS, "--model.normalization", "batsh"), ["'batch'", "'batsh'"]),
    "wrong Trainer value": ((*MLP, *DIGITS, "--trainer.max_epochs", "x"), ["max_epochs", "'x'"]),
    "unknown optimizer": ((*MLP, *DIGITS, "--model.optimizer", "Adamm"), ["'Adamm'", "'Adam'"]),
    "refused optimizer": ((*MLP, *DIGITS, "--model.optimizer", "Muon"), ["Muon", "matrices"]),
    "unknown activation": ((*MLP, *DIGITS, "--model.activation", "rellu"), ["'relu'", "gelu"]),
    "unknown loss": ((*MLP, *DIGITS, "--model.loss", "crossentropy"), ["'cross_entropy'"]),
    "option of the optimizer": (
        (*MLP, *DIGITS, "--model.optimizer_options.momentun", "0.9", "--model.optimizer", "SGD"),
        ["'momentun'", "'momentum'"],
    ),
    "the course's T_MAX": (
        (*MLP, *DIGITS, *schedule("CosineAnnealingLR", '{"T_MAX": 10}')),
        ["'T_MAX'", "'T_max'"],
    ),
    "the course's plateau": (
        (*MLP, *DIGITS, *schedule("ReduceLROnPlateau", '{"T_MAX": 10, "eta_min": 0}')),
        ["'T_MAX'", "patience"],
    ),
    "the course's spelling": (
        (*MLP, *DIGITS, *schedule("CossineAnnealingLR")),
        ["'CosineAnnealingLR'"],
    ),
    "the course's cool_down": (
        (*MLP, *DIGITS, *schedule("ReduceLROnPlateau", '{"cool_down": 1}')),
        ["'cool_down'", "'cooldown'"],
    ),
    "plateau by the step": (
        (*MLP, *DIGITS, *schedule("ReduceLROnPlateau"), "--model.lr_interval", "step"),
        ["validations", "lr_interval"],
    ),
    "plateau against its direction": (
        (*MLP, *DIGITS, *schedule("ReduceLROnPlateau", '{"mode": "max"}'), *SHORT),
        ["'max'", "val/loss", "lower"],
    ),
    "warm-up twice": (
        (*MLP, *DIGITS, *schedule("OneCycleLR"), "--model.warmup_steps", "3"),
        ["pct_start", "warmup_steps"],
    ),
    "a schedule without an end": (
        (*MLP, *DIGITS, *schedule("CosineAnnealingLR"), "--trainer.max_epochs", "-1"),
        ["max_epochs", "max_steps"],
    ),
    "unknown monitor": (
        (*MLP, *DIGITS, "--model.monitor", "val/acuracy", *SHORT),
        ["'acuracy'", "'accuracy'"],
    ),
    "bce for ten classes": ((*MLP, *DIGITS, "--model.loss", "bce", *SHORT), ["bce", "two classes"]),
    "nll on a ReLU": (
        (*MLP, *DIGITS, "--model.loss", "nll", "--model.output_activation", "relu"),
        ["nll", "log_softmax"],
    ),
    "log_softmax under cross entropy": (
        (*MLP, *DIGITS, "--model.output_activation", "log_softmax"),
        ["log_softmax", "cross_entropy"],
    ),
    "freezing what is not there": (
        (*MLP, *DIGITS, "--model.freeze", '["network.linear9.*"]', *SHORT),
        ["network.linear9.*", "network.linear1.weight"],
    ),
    "a classifier for a regression": ((*MLP, *DIABETES, *SHORT), ["num_classes"]),
    "no rows left to train": (
        (*MLP, *DIGITS, "--data.val_size", "0.6", "--data.test_size", "0.5"),
        ["val_size=0.6", "test_size=0.5", "1797"],
    ),
    "an empty split": ((*MLP, *DIGITS, "--data.test_size", "0.0001"), ["test_size", "1797"]),
    "no such checkpoint": ((*MLP, *DIGITS, "--ckpt_path", "nowhere.ckpt"), ["nowhere.ckpt"]),
}


def check(done, words) -> None:
    lines = done.err.strip().splitlines()
    assert done.status not in (0, None)
    assert lines[0].startswith("error: ")
    assert len(lines) <= 5, done.err
    assert "Traceback" not in done.err
    for word in words:
        assert word in done.err


@pytest.mark.parametrize("command", COMMANDS)
def test_a_bad_command(lit, tmp_path, command):
    args, words = COMMANDS[command]
    check(lit("fit", *args), words)
    assert not list((tmp_path / "runs").rglob("*.ckpt"))


CONFIGS = {
    "not there": (None, ["not found", "config.yaml"]),
    "not YAML": ("model: [", ["YAML", "line"]),
    "no mapping": ("only text", ["only text"]),
    "unknown key": ("modle: MLPClassifier\n", ["'modle'", "'model'"]),
    "unknown nested key": ("trainer: {max_epoch: 3}\n", ["trainer.max_epoch", "max_epochs"]),
    "unknown argument": (
        "model: {class_path: MLPClassifier, init_args: {hiden_features: [3]}}\n",
        ["'hiden_features'", "'hidden_features'"],
    ),
    "wrong type": (
        "model: {class_path: MLPClassifier, init_args: {dropout: much}}\n",
        ["model.dropout", "'much'"],
    ),
}


@pytest.mark.parametrize("fault", CONFIGS)
def test_a_bad_config(lit, tmp_path, fault):
    text, words = CONFIGS[fault]
    config = tmp_path / "config.yaml"
    if text is not None:
        config.write_text(text)
    check(lit("fit", "--config", config, *DIGITS), words)
    assert not (tmp_path / "runs").exists()


ROWS = "a,b,y\n" + "".join(f"{i},{i % 7},{2 * i}\n" for i in range(20))
TABLES = {
    "not there": (None, ["table.csv"]),
    "empty": ("", ["table.csv"]),
    "header only": ("a,b,y\n", ["table.csv"]),
    "one row": ("a,b,y\n1,2,3\n", ["2 rows"]),
    "no target": (ROWS.replace("y", "z", 1), ["'y'", "a, b, z"]),
    "text": (ROWS.replace("5,5,", "5,five,"), ["'b'", "row 6", "five"]),
    "missing": (ROWS.replace("5,5,", "5,,"), ["'b'", "row 6"]),
    "NaN": (ROWS.replace("5,5,", "5,NaN,"), ["nan", "'b'"]),
    "infinite target": (ROWS.replace("5,5,10", "5,5,inf"), ["inf", "'y'"]),
}


@pytest.mark.parametrize("fault", TABLES)
def test_a_bad_table(lit, tmp_path, fault):
    text, words = TABLES[fault]
    path = tmp_path / "table.csv"
    if text is not None:
        path.write_text(text)
    data = ("--data", "CSVDataModule", "--data.path", path, "--data.target", "y")
    check(lit("fit", *LINEAR, *data, *SHORT), words)
    assert not list((tmp_path / "runs").rglob("version_*"))


X = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
ARRAYS = {
    "label above": (X, np.arange(40) % 4, ("--data.num_classes", "3"), ["0..2", "found 3"]),
    "label below": (X, np.arange(40) % 4 - 1, (), ["found -1"]),
    "labels that are no integers": (
        X,
        np.arange(40) % 4 / 2,
        ("--data.num_classes", "4"),
        ["whole numbers", "0.5"],
    ),
    "infinite features": (np.where(X.max() == X, np.inf, X), np.arange(40) % 2, (), ["inf"]),
    "other lengths": (X, np.arange(39) % 2, (), ["(40, 3)", "(39,)"]),
}


@pytest.mark.parametrize("fault", ARRAYS)
def test_bad_arrays(lit, tmp_path, fault):
    x, y, options, words = ARRAYS[fault]
    np.savez(tmp_path / "data.npz", X=x, y=y)
    data = ("--data", "ArrayDataModule", "--data.X", tmp_path / "data.npz", *options)
    check(lit("fit", *MLP, *data, *SHORT), words)


def test_two_targets_for_one_output(lit, tmp_path):
    np.savez(tmp_path / "data.npz", X=X, y=X[:, :2])
    data = ("--data", "ArrayDataModule", "--data.X", tmp_path / "data.npz")
    check(lit("fit", *LINEAR, *data, *SHORT), ["(4, 1)", "(4, 2)", "out_features"])


def test_another_number_of_features(fit, lit, tmp_path):
    run = fit()
    np.savez(tmp_path / "data.npz", X=X, y=np.arange(40) % 2)
    data = ("--data", "ArrayDataModule", "--data.X", tmp_path / "data.npz")
    check(lit("test", "--ckpt_path", run, *data), ["in_features=64", "3"])


@pytest.mark.parametrize("which", ["truncated", "text", "no checkpoint"])
def test_a_damaged_checkpoint(fit, lit, which):
    file = fit() / "checkpoints/best.ckpt"
    if which == "truncated":
        file.write_bytes(file.read_bytes()[:-2000])
    elif which == "text":
        file.write_text("weights")
    else:
        import torch

        torch.save({"a": 1}, file)
    check(lit("test", "--ckpt_path", file), [str(file), "checkpoint"])


def test_the_checkpoint_of_another_class(fit, lit):
    file = fit() / "checkpoints/best.ckpt"
    for verb in ("fit", "test"):
        check(
            lit(verb, "--ckpt_path", file, *LINEAR, *DIABETES, *SHORT),
            ["MLPClassifier", "LinearRegressor"],
        )


def test_going_on_with_another_optimizer(fit, lit):
    run = fit()
    check(lit("fit", "--ckpt_path", run, "--model.optimizer", "SGD"), ["Adam", "SGD", "init_from"])
    other = ("--model.lr_scheduler", "LinearDecay")
    check(lit("fit", "--ckpt_path", run, *other), ["LinearDecay", "init_from"])
    assert lit("test", "--ckpt_path", run, "--model.optimizer", "SGD").status == 0


def test_a_folder_that_cannot_be_written(lit, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = lit("fit", *MLP, *DIGITS, *SHORT, "--runs", tmp_path / "file")
    check(done, [str(tmp_path / "file")])
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(lit, tmp_path):
    tmp_path.chmod(0o500)
    check(lit("fit", *MLP, *DIGITS, *SHORT), ["ermission"])
    tmp_path.chmod(0o700)


def test_fashion_mnist_without_files_or_network(lit, tmp_path, monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", offline)
    data = ("--data", "FashionMNISTDataModule", "--data.root", tmp_path / "none")
    done = lit("fit", *MLP, *data, *SHORT)
    check(done, ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte", str(tmp_path / "none")])


def test_fashion_mnist_truncated(lit, tmp_path, shared_data):
    folder = tmp_path / "FashionMNIST/raw"
    folder.mkdir(parents=True)
    for file in (shared_data / "FashionMNIST/raw").iterdir():
        (folder / file.name).write_bytes(
            file.read_bytes()[: 20_000 if "images" in file.name else None]
        )
    data = ("--data", "FashionMNISTDataModule", "--data.root", tmp_path)
    check(lit("fit", *MLP, *data, *SHORT), ["train-images-idx3-ubyte", "47,040,016"])


def test_an_unknown_command(lit):
    check(lit("fti"), ["'fti'", "'fit'"])
    check(lit("--config", "x.yaml"), ["comes first"])


def test_debug_shows_where_it_happened(lit, monkeypatch):
    with pytest.raises(ValueError, match="Adamm"):
        lit("fit", *MLP, *DIGITS, "--model.optimizer", "Adamm", "--debug")
    monkeypatch.setenv("LIT_COURSE_DEBUG", "1")
    with pytest.raises(ValueError, match="Adamm"):
        lit("fit", *MLP, *DIGITS, "--model.optimizer", "Adamm")


def test_a_failed_run_overwrites_nothing(fit, lit):
    run = fit("--test_best", "true")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert lit("fit", *MLP, *DIGITS, "--name", "digits", "--model.loss", "bce").status != 0
    assert lit("test", "--ckpt_path", run, "--data", "DiabetesDataModule").status != 0
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_messages_are_cut_to_five_lines():
    from lit_course.messages import shorten

    assert len(shorten("\n".join(map(str, range(9)))).splitlines()) == 5
    assert len(shorten("x" * 5000)) < 500


def test_every_path_of_this_file_is_temporary():
    assert not Path("lightning_logs/MLPClassifier").exists()
