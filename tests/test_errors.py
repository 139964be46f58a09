"""Bad input: at most five lines that name the thing, exit status not 0, nothing left or lost."""

import dataclasses
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from lit_course.cli import main

MLP = ("--model", "MLPClassifier", "--model.hidden_features", "[4]")
LINEAR = ("--model", "LinearRegressor")
DIGITS = ("--data", "DigitsDataModule")
DIABETES = ("--data", "DiabetesDataModule")
ROLLER = ("--data", "RollerCoasterDataModule")
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
    "an infinite rate": ((*MLP, *DIGITS, "--model.lr", ".inf"), ["learning rate: inf"]),
    "no width": ((*MLP, *DIGITS, "--model.hidden_features", "[8, 0]"), ["hidden_features", "0"]),
    "one class asked for": ((*MLP, *DIGITS, "--model.num_classes", "1"), ["num_classes", "2", "1"]),
    "other classes": ((*MLP, *DIGITS, "--model.num_classes", "3", *SHORT), ["num_classes=3", "10"]),
    "no features": ((*MLP, *DIGITS, "--model.in_features", "0"), ["in_features", "1", "0"]),
    "too few weights": (
        (*MLP, *DIGITS, "--model.class_weights", "[1]", *SHORT),
        ["class_weights", "10"],
    ),
    "weights of 0": ((*MLP, *DIGITS, "--model.class_weights", "[0, 0]"), ["class weights", "0.0"]),
    "weights of NaN": (
        (*MLP, *DIGITS, "--model.class_weights", "[.nan]"),
        ["class weights", "nan"],
    ),
    "no weights file": ((*MLP, *DIGITS, "--model.init_from", "no.ckpt", *SHORT), ["no.ckpt"]),
    "an infinite penalty": ((*LINEAR, *DIABETES, "--model.l1", ".inf"), ["l1", "finite", "inf"]),
    "a penalty of NaN": ((*LINEAR, *DIABETES, "--model.l2", ".nan"), ["l2", "finite", "nan"]),
    "too many monomials": ((*LINEAR, *DIABETES, "--model.degree", "10", *SHORT), ["184,755"]),
    "weights to start from": (
        (*LINEAR, *DIABETES, "--model.initial_weights", "[1, 2]", *SHORT),
        ["initial_weights", "11", "2"],
    ),
    "weights of NaN to start from": (
        (*LINEAR, *ROLLER, "--model.initial_weights", "[.nan, 1]", *SHORT),
        ["initial_weights", "finite", "nan"],
    ),
    "two outputs": (
        (*LINEAR, *DIABETES, "--model.out_features", "2", *SHORT),
        ["out_features is 2", "names 1 target"],
    ),
    "no batches": ((*MLP, *DIGITS, "--data.batch_size", "0"), ["batch_size", "1", "0"]),
    "batches below nothing": ((*MLP, *DIGITS, "--data.batch_size", "-1"), ["batch_size", "-1"]),
    "an endless seed": ((*MLP, *DIGITS, "--data.seed", str(2**70)), ["seed", "64 bits"]),
    "all rows held out": ((*MLP, *DIGITS, "--data.val_size", "1.0"), ["val_size", "[0, 1)", "1.0"]),
    "less than no rows": ((*MLP, *DIGITS, "--data.test_size", "-5"), ["test_size", "-5"]),
    "rows of NaN": ((*MLP, *DIGITS, "--data.val_size", ".nan"), ["val_size", "nan"]),
    "more than all rows": ((*MLP, *DIGITS, "--data.val_size", "2000"), ["val_size=2000", "1797"]),
    "dropping every batch": (
        (*MLP, *DIGITS, "--data.drop_last", "true", "--data.batch_size", "5000", *SHORT),
        ["drop_last", "5000"],
    ),
    "no data arguments": ((*MLP, "--data", "ArrayDataModule"), ["data", "ArrayDataModule", "X"]),
    "not a model": (
        ("--model", "torch.nn.Linear", *DIGITS),
        ["torch.nn.Linear", "LightningModule"],
    ),
    "not a file": (("--config", "."), ["config", "not a file"]),
    "one point": ((*LINEAR, *ROLLER, "--data.num_points", "1"), ["2"]),
    "noise below nothing": (
        (*LINEAR, "--data", "RollerCoasterDataModule", "--data.noise", "-1"),
        ["noise", "-1"],
    ),
    "a name too long for a folder": ((*MLP, *DIGITS, "--name", "x" * 300), ["name too long"]),
    "runs in a place that is none": ((*MLP, *DIGITS, "--runs", "/proc/no/runs"), ["/proc/no"]),
    "a share below one batch": (
        (*MLP, *DIGITS, "--trainer.limit_train_batches", "0.0001", *SHORT),
        ["limit_train_batches"],
    ),
    "a share above all": ((*MLP, *DIGITS, "--trainer.limit_val_batches", "1.5"), ["1.5"]),
    "fewer epochs than none": ((*MLP, *DIGITS, "--trainer.max_epochs", "-2"), ["max_epochs", "-2"]),
    "validating too late": (
        (*MLP, *DIGITS, "--trainer.val_check_interval", "1000", *SHORT),
        ["val_check_interval", "1000", "20"],
    ),
    "unknown precision": ((*MLP, *DIGITS, "--trainer.precision", "7"), ["precision", "'7'"]),
    "unknown accelerator": ((*MLP, *DIGITS, "--trainer.accelerator", "abacus"), ["abacus"]),
    "an accelerator that is not there": ((*MLP, *DIGITS, "--trainer.accelerator", "mps"), ["MPS"]),
    "no devices": (
        (*MLP, *DIGITS, "--trainer.accelerator", "cpu", "--trainer.devices", "0"),
        ["devices", "0"],
    ),
    "unknown strategy": ((*MLP, *DIGITS, "--trainer.strategy", "chess"), ["chess"]),
    "unknown profiler": ((*MLP, *DIGITS, "--trainer.profiler", "x"), ["profiler", "simple"]),
    "time in words": ((*MLP, *DIGITS, "--trainer.max_time", "soon"), ["soon", "DD:HH:MM:SS"]),
    "no time": ((*MLP, *DIGITS, "--trainer.max_time", "00:00:00:00"), ["before its first batch"]),
    "unknown callback": ((*MLP, *DIGITS, "--trainer.callbacks", "StopLate"), ["StopLate"]),
    "a callback that lacks something": (
        (*MLP, *DIGITS, "--trainer.callbacks", "EarlyStopping"),
        ["EarlyStopping", "monitor"],
    ),
}
# What would do nothing, or break late: refused before anything is read.
FLAGS = {
    "no epochs": (("--trainer.max_epochs", "0"), ["max_epochs"]),
    "no steps": (("--trainer.max_steps", "0"), ["max_steps"]),
    "no batches": (("--trainer.limit_train_batches", "0"), ["limit_train_batches"]),
    "no share of batches": (("--trainer.limit_train_batches", "0.0"), ["limit_train_batches"]),
    "no test batches": (
        ("--test_best", "true", "--trainer.limit_test_batches", "0"),
        ["limit_test_batches"],
    ),
    "testing what is not kept": (
        ("--test_best", "true", "--trainer.enable_checkpointing", "false"),
        ["test_best", "enable_checkpointing"],
    ),
    "accumulating nothing": (("--trainer.accumulate_grad_batches", "0"), ["accumulate", "1"]),
    "accumulating less": (("--trainer.accumulate_grad_batches", "-1"), ["accumulate", "-1"]),
    "clipping below nothing": (("--trainer.gradient_clip_val", "-1"), ["gradient_clip_val", "-1"]),
    "clipping at NaN": (("--trainer.gradient_clip_val", ".nan"), ["gradient_clip_val", "nan"]),
    "validating every 0": (("--trainer.val_check_interval", "0"), ["val_check_interval"]),
    "validating every -1": (("--trainer.check_val_every_n_epoch", "-1"), ["every_n_epoch", "-1"]),
    "validating every 0 epochs": (("--trainer.check_val_every_n_epoch", "0"), ["every_n_epoch"]),
    "logging every -1": (("--trainer.log_every_n_steps", "-1"), ["log_every_n_steps", "-1"]),
    "checking -2 batches": (("--trainer.num_sanity_val_steps", "-2"), ["num_sanity", "-2"]),
    "barebones": (("--trainer.barebones", "true"), ["barebones", "Python"]),
    "no patience": (("--early_stopping", "0"), ["early_stopping", "1"]),
    "a seed below 0": (("--seed_everything", "-1"), ["seed_everything", "-1"]),
    "a seed above": (("--seed_everything", str(2**40)), ["seed_everything", "4294967295"]),
    "no name": (("--name=",), ["--name", "''"]),
    "the folder above": (("--name", ".."), ["--name", "'..'"]),
    "this folder": (("--name", "."), ["--name", "'.'"]),
    "two folders": (("--name", "a/b"), ["--name", "'a/b'"]),
    "an absolute name": (("--name", "/tmp"), ["--name", "'/tmp'"]),
    "two lines": (("--name", "a\nb"), ["--name"]),
    "a null byte": (("--name", "a\0b"), ["--name"]),
    "no checkpoint": (("--ckpt_path", ""), ["ckpt_path", "last"]),
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
    assert not list((tmp_path / "runs").rglob("*")), "something was left behind"


@pytest.mark.parametrize("flags", FLAGS)
def test_a_bad_flag(lit, tmp_path, flags):
    args, words = FLAGS[flags]
    done = lit("fit", *MLP, *DIGITS, *args)
    check(done, words)
    assert done.status == 2
    assert sorted(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_evaluating_nothing(fit, lit, verb):
    limit = "val" if verb == "validate" else verb
    done = lit(verb, "--ckpt_path", fit(), f"--trainer.limit_{limit}_batches", 0)
    check(done, [f"limit_{limit}_batches"])


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
    "a folder": (Path, ["table.csv", "folder"]),
    "not UTF-8": (ROWS.encode("utf-16"), ["table.csv", "UTF-8"]),
    "not text": (bytes(range(256)), ["table.csv", "UTF-8"]),
    "one name twice": (ROWS.replace("a,b", "a,a", 1), ["'a'", "rename"]),
    "only the target": ("y\n1\n2\n", ["feature", "y"]),
    "more cells than names": (
        ROWS.replace("5,5,10", "5,5,10,1"),
        ["table.csv", "row 6 has 4 values"],
    ),
    "a column of NaN": (re.sub(r",\d+,", ",NaN,", ROWS), ["no value", "'b'", "ignore"]),
    "a column of nothing": (re.sub(r",\d+,", ",,", ROWS), ["no value", "'b'", "ignore"]),
    "above float32": (ROWS.replace("5,5,", "5,1e39,"), ["1e+39", "row 6", "'b'", "float32"]),
    "a null byte": (ROWS.replace("5,5,", "5,\0005,"), ["'b'", "row 6"]),
    "empty": ("", ["table.csv"]),
    "header only": ("a,b,y\n", ["table.csv"]),
    "one row": ("a,b,y\n1,2,3\n", ["test_size", "1 rows"]),
    "no target": (ROWS.replace("y", "z", 1), ["'y'", "a, b, z"]),
    "text": (ROWS.replace("5,5,", "5,five,"), ["'b'", "row 6", "five"]),
    "separated otherwise": (ROWS.replace(",", ";"), ["'y'", "a;b;y", "commas"]),
    "infinite target": (ROWS.replace("5,5,10", "5,5,inf"), ["inf", "'y'"]),
}


@pytest.mark.parametrize("fault", TABLES)
def test_a_bad_table(lit, tmp_path, fault):
    text, words = TABLES[fault]
    path = tmp_path / "table.csv"
    if text is Path:
        path.mkdir()
    elif text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    data = ("--data", "CSVDataModule", "--data.path", path, "--data.target", "y")
    check(lit("fit", *LINEAR, *data, *SHORT), words)
    assert not (tmp_path / "runs").exists()


COLUMNS = {
    "target among the features": (("--data.features", "[a, y]"), ["'y'", "2 times"]),
    "a feature twice": (("--data.features", "[a, a]"), ["'a'", "2 times"]),
    "no features": (("--data.features", "[]"), ["feature", "a, b, y"]),
    "no target": (("--data.target", "[]"), ["target", "a, b, y"]),
    "an unknown feature": (("--data.features", "[aa]"), ["'aa'", "'a'"]),
    "every class once": (("--data.task", "classification"), ["'y'", "each of the 20 rows"]),
}


@pytest.mark.parametrize("fault", COLUMNS)
def test_bad_columns(lit, tmp_path, fault):
    options, words = COLUMNS[fault]
    text = ROWS.replace("y", "y,p", 1).replace("0\n", "0,9999\n")
    rows = [line if line.count(",") == 3 else line + ",0" for line in text.splitlines()]
    (tmp_path / "table.csv").write_text("\n".join(rows))
    data = ("--data", "CSVDataModule", "--data.path", tmp_path / "table.csv", "--data.target", "y")
    if "--data.features" not in options:
        data += ("--data.features", "[a, b]")
    check(lit("fit", *LINEAR, *data, *options, *SHORT), words)
    assert not (tmp_path / "runs").exists()


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


USERS = """
import threading
import torch
from lightning.pytorch import Callback, LightningDataModule
from lit_course import MLPClassifier

class Key(MLPClassifier):
    def __init__(self): raise KeyError("colour")
class Silent(MLPClassifier):
    def training_step(self, batch, batch_idx): raise ValueError
class Speechless(Exception):
    def __str__(self): raise RuntimeError
class WithoutWords(MLPClassifier):
    def training_step(self, batch, batch_idx): raise Speechless
class Endless(MLPClassifier):
    def forward(self, x): return self.forward(x)
class Chatty(MLPClassifier):
    def configure_network(self): raise ValueError("line\\n" * 99)
class Leaving(MLPClassifier):
    def training_step(self, batch, batch_idx): raise SystemExit("I am leaving")
class Careless(Callback):
    def on_train_batch_start(self, *args): self.nothing()
class Thread(Callback):
    def on_train_start(self, *args):
        thread = threading.Thread(target=lambda: 1 / 0, name="counting")
        thread.start()
        thread.join()
class Gone:
    def __del__(self): raise ValueError("not now")
class Collected(Callback):
    def on_train_start(self, *args): Gone()
class Samples:
    def __len__(self): return 8
    def __getitem__(self, i): raise ValueError(f"sample {i} is broken")
class Workers(LightningDataModule):
    in_features = num_classes = 3
    def train_dataloader(self): return torch.utils.data.DataLoader(Samples(), 4, num_workers=1)
class Nothing(LightningDataModule):
    in_features = num_classes = 3
    def train_dataloader(self): return []
"""
FAULTS = {
    "constructor": (("--model", "users.Key"), ["KeyError", "colour"]),
    "no message": (("--model", "users.Silent"), ["ValueError"]),
    "no words": (("--model", "users.WithoutWords"), ["Speechless"]),
    "recursion": (("--model", "users.Endless"), ["recursion"]),
    "too many words": (("--model", "users.Chatty"), ["line"]),
    "exit": (("--model", "users.Leaving"), ["I am leaving"]),
    "callback": ((*MLP, "--trainer.callbacks", "users.Careless"), ["Careless", "nothing"]),
    "import": (("--model", "users_broken.Any"), ["users_broken.Any", "broken at import"]),
    "syntax": (("--model", "users_syntax.Any"), ["users_syntax", "invalid syntax"]),
    "a module that is not installed": (("--model", "users_needs.Any"), ["no_such_package"]),
    "worker": ((*MLP, "--data", "users.Workers"), ["worker process 0", "sample 0 is broken"]),
    "an empty loader": ((*MLP, "--data", "users.Nothing"), ["before its first batch"]),
}


@pytest.fixture
def users(tmp_path, monkeypatch):
    """A project of somebody's, with a fault in everything."""
    (tmp_path / "project").mkdir()
    broken = {"broken": "raise RuntimeError('broken at import')", "syntax": "def ("}
    for name, text in {**broken, "needs": "import no_such_package"}.items():
        (tmp_path / f"project/users_{name}.py").write_text(text)
    (tmp_path / "project/users.py").write_text(USERS)
    monkeypatch.syspath_prepend(tmp_path / "project")
    yield
    for name in [name for name in sys.modules if name.startswith("users")]:
        del sys.modules[name]


@pytest.mark.usefixtures("users")
@pytest.mark.filterwarnings("ignore:Total length of .CombinedLoader. across ranks is zero")
@pytest.mark.parametrize(
    # A worker whose loader failed is waited for, 5 seconds.
    "fault",
    [pytest.param(f, marks=pytest.mark.slow if f == "worker" else ()) for f in FAULTS],
)
def test_a_fault_in_somebodys_code(lit, tmp_path, fault):
    args, words = FAULTS[fault]
    data = () if "--data" in args else DIGITS
    done = lit("fit", *args, *data, *SHORT)
    said = re.sub(r"(?m)^(one pass over|training in Lightning's own loop).*\n", "", done.err)
    check(dataclasses.replace(done, err=said), words)
    assert not list((tmp_path / "runs").rglob("*"))


@pytest.mark.usefixtures("users")
@pytest.mark.parametrize(
    ("callback", "words"),
    [("Thread", "error in counting: division"), ("Collected", "error: not now")],
)
def test_an_error_that_nobody_catches_is_one_line(lit, callback, words):
    done = lit("fit", *MLP, *DIGITS, *SHORT, "--trainer.callbacks", f"users.{callback}")
    assert words in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("args", [("--help",), ("fit", *MLP, *DIGITS, *SHORT)], ids=["help", "fit"])
def test_output_that_nobody_reads_ends_the_run_in_silence(tmp_path, monkeypatch, capsys, args):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as broken:  # a pipe has no path
        monkeypatch.setattr("sys.stdout", broken)
        where = ("--runs", str(tmp_path)) if args[0] == "fit" else ()
        assert main([*args, *where]) == 141
    assert not capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_output_without_room(monkeypatch, capsys):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stdout", full)
        assert main(["--help"]) == 1
    assert capsys.readouterr().err == "error: No space left on device\n"


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


def test_a_stack_trace_within_a_message_is_left_out():
    from lit_course.messages import shorten

    trace = 'Original Traceback (most recent call last):\n  File "x.py", line 3, in f\n    g()\n'
    sent = f"Caught ValueError in DataLoader worker process 0.\n{trace}ValueError: no\n"
    assert shorten(sent) == "Caught ValueError in DataLoader worker process 0.\nValueError: no"


def test_every_path_of_this_file_is_temporary():
    assert not Path("lightning_logs/MLPClassifier").exists()


def test_a_table_is_not_the_name_of_a_data_module(lit, tmp_path):
    table = tmp_path / "people.csv"
    table.write_text("x,y\n1,2\n")
    check(
        lit("fit", "--model", "LinearRegressor", "--data", table),
        [f"{table} is a file", f"--data CSVDataModule --data.path {table}"],
    )


def test_what_is_for_fit_is_not_passed_over(lit):
    for flag in ("--cross_validate", "--early_stopping", "--test_best"):
        check(lit("test", "--ckpt_path", "best", flag, 3), [f"{flag} is for fit: test has no use"])


def test_numbers_that_are_classes(lit, tmp_path):
    table = tmp_path / "codes.csv"
    table.write_text("x,y\n" + "".join(f"{row % 17},{3 + 7 * (row % 2)}\n" for row in range(40)))
    data = ("--data", "CSVDataModule", "--data.path", table, "--data.target", "y")
    check(lit("fit", *MLP, *data, *SHORT), ["num_classes", "task classification"])
    named = (*data, "--data.task", "classification")
    assert lit("fit", *MLP, *named, *SHORT).status == 0
