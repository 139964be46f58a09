"""Degenerate data: it works, or is refused by name; from the command line and from Python."""

import json
import math

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, TensorDataset

from lit_course import ArrayDataModule, LinearRegressor, MLPClassifier, MLPRegressor

MODELS = {
    "MLPClassifier": {"hidden_features": [4]},
    "batch normalised": {"hidden_features": [4], "normalization": "batch"},
    "LinearRegressor": {},
    "MLPRegressor": {"hidden_features": [4]},
    "interval": {"hidden_features": [4], "loss": "gaussian_nll"},
    "polynomial": {"degree": 2},
}
CLASS_OF = {
    "batch normalised": "MLPClassifier",
    "polynomial": "LinearRegressor",
    "interval": "MLPRegressor",
}

X = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
Y = (X @ np.array([1.0, 2.0, 3.0])).astype("float32")
LABELS = np.arange(40) % 2
CONSTANT = np.where(np.arange(3) == 1, np.float32(5), X)
LONELY = np.array([0] * 20 + [1] * 19 + [2])
ONE_EACH = {"val_size": 1, "test_size": 1}
NONE_HELD_OUT = {"val_size": 0, "test_size": 0}

# What is trained on what, with which options of the data; and words that must be said.
WORKS = {
    "a constant feature": ("MLPClassifier", CONSTANT, LABELS, {}, ""),
    "a constant feature to the line": ("LinearRegressor", CONSTANT, Y, {}, ""),
    "a constant feature squared": ("polynomial", CONSTANT, Y, {}, ""),
    "one sample again and again": ("MLPClassifier", X[:1].repeat(40, 0), LABELS, {}, ""),
    "one sample again and again to the line": ("LinearRegressor", X[:1].repeat(40, 0), Y, {}, ""),
    "a constant target": ("LinearRegressor", X, np.full(40, 3.5, "float32"), {}, ""),
    "the same to an MLP": ("MLPRegressor", X, np.full(40, 3.5, "float32"), {}, ""),
    "a constant target with an interval": ("interval", X, np.full(40, 3.5, "float32"), {}, ""),
    "huge targets": ("MLPRegressor", X, Y * np.float32(1e18), {}, ""),
    "tiny targets": ("MLPRegressor", X, Y * np.float32(1e-30), {}, ""),
    "two samples to an MLP": ("MLPRegressor", X[:2], Y[:2], NONE_HELD_OUT, ""),
    "a batch larger than the data": ("MLPClassifier", X, LABELS, {"batch_size": 10**9}, ""),
    "the same to the line": ("LinearRegressor", X, Y, {"batch_size": 10**9}, ""),
    "batches of one": ("MLPClassifier", X, LABELS, {"batch_size": 1}, ""),
    "batches of one to the line": ("LinearRegressor", X, Y, {"batch_size": 1}, ""),
    "one feature": ("MLPClassifier", X[:, :1], LABELS, {}, ""),
    "one feature to the line": ("LinearRegressor", X[:, :1], Y, {}, ""),
    "features true and false": ("MLPClassifier", X > 0, LABELS, {}, ""),
    "labels true and false": ("MLPClassifier", X, LABELS > 0, {}, ""),
    "huge features": ("MLPClassifier", X * np.float32(1e38), LABELS, {}, ""),
    "huge features to the line": ("LinearRegressor", X * np.float32(1e38), Y, {}, ""),
    "tiny features": ("MLPClassifier", X * np.float32(1e-38), LABELS, {}, ""),
    "no validation rows": ("MLPClassifier", X, LABELS, {"val_size": 0}, ""),
    "no validation rows for the line": ("LinearRegressor", X, Y, {"val_size": 0}, ""),
    "two samples": ("LinearRegressor", X[:2], Y[:2], NONE_HELD_OUT, ""),
    "two samples of two classes": ("MLPClassifier", X[:2], LABELS[:2], NONE_HELD_OUT, ""),
    "two samples and one held out each": ("MLPClassifier", X[:4], LABELS[:4], ONE_EACH, "auroc"),
    "the same of a line": ("LinearRegressor", X[:4], Y[:4], ONE_EACH, "val/r2"),
    "a class with one member": ("MLPClassifier", X, LONELY, {}, "2"),
    "a class that is nowhere": ("MLPClassifier", X, LABELS * 2, {}, "1 of 3 classes"),
    "labels with gaps": ("MLPClassifier", X, LABELS * 10, {}, "9 of 11 classes"),
    "only one of two classes": ("MLPClassifier", X, LABELS * 0 + 1, {}, "row: 0"),
    "one class of three": ("MLPClassifier", X, LABELS * 0, {"num_classes": 3}, "2 of 3 classes"),
    "the last batch of two": ("batch normalised", X[:10], LABELS[:10], {"batch_size": 3}, ""),
    "a last batch of one that is dropped": (
        "batch normalised",
        X[:33],
        LABELS[:33],
        {"batch_size": 8, "drop_last": True, **NONE_HELD_OUT},
        "",
    ),
}
REFUSED = {
    "a last batch of one": (
        "batch normalised",
        X[:33],
        LABELS[:33],
        {"batch_size": 8, **NONE_HELD_OUT},
        "last batch .* one sample.* batch_size.* drop_last",
    ),
    "batches of one, normalised": ("batch normalised", X, LABELS, {"batch_size": 1}, "batch_size"),
    "no samples": ("MLPClassifier", X[:0], LABELS[:0], {}, "1 row and 1 feature.* 0 and 3"),
    "no features": ("LinearRegressor", X[:, :0], Y, {}, "1 row and 1 feature.* 40 and 0"),
    "one sample": ("LinearRegressor", X[:1], Y[:1], NONE_HELD_OUT, "2 rows .* found 1"),
    "one sample left": ("LinearRegressor", X[:3], Y[:3], ONE_EACH, "2 rows .* found 1"),
    "features in one row": ("LinearRegressor", X[:, 0], Y, {}, r"\(40,\).*reshape"),
    "one class": ("MLPClassifier", X, LABELS * 0, {}, "2 classes.* found 1.*num_classes"),
    "fewer classes than labels": ("MLPClassifier", X, LABELS, {"num_classes": 1}, "2 classes"),
    "every class once": ("MLPClassifier", X, np.arange(40), {}, "40 classes keeps one row"),
    "labels below 0": ("MLPClassifier", X, LABELS * 2 - 1, {}, "0..1, found -1 in row 0"),
    "labels like prices": ("MLPClassifier", X, LABELS * 10**9, {}, "1000000000.*regression"),
    "labels as floats": ("MLPClassifier", X, Y * 0, {}, "num_classes.*ArrayDataModule has none"),
    "labels in a column": ("MLPClassifier", X, LABELS[:, None], {}, r"\(N,\), found \(40, 1\)"),
    "labels as text": ("MLPClassifier", X, LABELS.astype(str), {}, "y must hold real numbers"),
    "classes for a line": ("LinearRegressor", X, Y, {"num_classes": 2}, "whole numbers"),
    "a column of NaN": ("LinearRegressor", CONSTANT * [1, math.nan, 1], Y, {}, "nan.*column 1"),
    "classes for an MLP": ("MLPRegressor", X, LABELS, {}, "needs out_features, .* has none"),
    "an infinite target": ("LinearRegressor", X, Y * math.inf, {}, "y holds -?inf"),
    "above float32": ("MLPClassifier", X.astype(float) * 1e39, LABELS, {}, "inf.* float32"),
    "two names alike": (
        "LinearRegressor",
        X,
        Y,
        {"feature_names": ["a", "b", "a"]},
        "feature_names must differ, found 'a'",
    ),
    "two classes alike": ("MLPClassifier", X, LABELS, {"class_names": ["a", "a"]}, "class_names"),
    "half a batch": ("MLPClassifier", X, LABELS, {"batch_size": 0}, "batch_size"),
}


def flags(name, x, y, options, folder):
    """The command line of a case."""
    np.savez(folder / "data.npz", X=x, y=y)
    given = [f"--data.X={folder / 'data.npz'}"]
    given += [f"--data.{key}={json.dumps(value)}" for key, value in options.items()]
    given += [f"--model.{key}={value}" for key, value in MODELS[name].items()]
    return ["--model", CLASS_OF.get(name, name), "--data", "ArrayDataModule", *given]


def fit_in_python(name, x, y, options, folder, epochs=1):
    data = ArrayDataModule(x, y, **options)
    known = {model.__name__: model for model in (MLPClassifier, MLPRegressor, LinearRegressor)}
    model = known[CLASS_OF.get(name, name)](**MODELS[name])
    quiet = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    trainer = Trainer(max_epochs=epochs, accelerator="cpu", default_root_dir=folder, **quiet)
    trainer.fit(model, datamodule=data)
    return trainer


# All of them from Python below; from the command line a sample of them is quick.
SAMPLED = [
    pytest.param(case, marks=() if i % 6 == 0 else pytest.mark.slow) for i, case in enumerate(WORKS)
]


@pytest.mark.parametrize("case", SAMPLED)
@pytest.mark.filterwarnings("default")
def test_it_works_from_the_command_line(lit, tmp_path, case):
    *what, words = WORKS[case]
    has_test = what[3].get("test_size") != 0
    given = ("--name", "run", "--trainer.max_epochs", 1, "--test_best", str(has_test).lower())
    done = lit("fit", *flags(*what, tmp_path), *given)
    assert done.status == 0, done.err
    assert words in done.out + done.err
    run = tmp_path / "runs/run/version_0"
    for verb in ("fit", "test") if has_test else ("fit",):
        values = json.loads((run / f"{verb}_metrics.json").read_text())
        losses = [value for key, value in values.items() if key.endswith("/loss")]
        assert losses
        assert all(value is not None for value in losses), values
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert lit("predict", "--ckpt_path", run).status == 0


@pytest.mark.parametrize("case", WORKS)
@pytest.mark.filterwarnings("default")
def test_it_works_from_python(tmp_path, case):
    *what, _ = WORKS[case]
    trainer = fit_in_python(*what, tmp_path)
    assert trainer.callback_metrics["train/loss"].isfinite()


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.filterwarnings("ignore:Total length of .list. across ranks is zero")
def test_it_is_refused_by_name(lit, tmp_path, case):
    *what, words = REFUSED[case]
    done = lit("fit", *flags(*what, tmp_path), "--trainer.max_epochs", 1)
    assert done.status == 1
    assert len(done.err.splitlines()) <= 5
    assert not list((tmp_path / "runs").rglob("*")), "something was left behind"
    with pytest.raises(ValueError, match=f"(?s){words}") as refusal:
        fit_in_python(*what, tmp_path)
    assert done.err.removeprefix("error: ").split("\n")[0] in str(refusal.value)


class Stream:
    """Batches without a length."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


@pytest.mark.parametrize("limit", [1.0, 4])
def test_a_foreign_loader_is_told_before_the_first_step_or_in_words(tmp_path, limit):
    """A ``DataLoader`` says how it ends; of a stream nobody knows until its last batch comes."""
    samples = TensorDataset(torch.from_numpy(X[:33]), torch.from_numpy(LABELS[:33]))
    for loader in (DataLoader(samples, 8), Stream(DataLoader(samples, 8))):
        model = MLPClassifier(3, 2, [4], normalization="batch", standardize=False)
        before = model.network.linear1.weight.detach().clone()
        trainer = Trainer(
            max_epochs=1,
            accelerator="cpu",
            limit_train_batches=limit,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        if limit == 4:  # of five: the last one is not reached
            trainer.fit(model, loader)
            continue
        with pytest.raises(ValueError, match=r"one sample: .* drop_last"):
            trainer.fit(model, loader)
        known = isinstance(loader, DataLoader)
        assert model.network.linear1.weight.equal(before) == known


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("case", "metric"),
    [("the same of a line", "val/r2"), ("two samples and one held out each", "val/auroc")],
)
def test_what_is_not_defined_cannot_be_monitored(lit, tmp_path, case, metric):
    *what, _ = WORKS[case]
    given = ("--model.monitor", metric, "--trainer.max_epochs", 2)
    done = lit("fit", *flags(*what, tmp_path), *given)
    assert done.status == 1
    assert f"the monitored {metric} is not defined" in done.err


DIGITS = (
    "--model",
    "MLPClassifier",
    "--model.hidden_features",
    "[4]",
    "--data",
    "DigitsDataModule",
)
# The monitored value never comes.
UNSEEN = {
    "too few epochs": ("--trainer.check_val_every_n_epoch", 9),
    "too few steps": ("--trainer.max_steps", 1),
    "too few batches": (
        "--trainer.check_val_every_n_epoch",
        "null",
        "--trainer.val_check_interval",
        "999",
    ),
}


@pytest.mark.parametrize("case", UNSEEN)
def test_a_fit_that_never_validates_says_so_and_keeps_its_last_state(lit, tmp_path, case):
    short = ("--name", "run", "--trainer.max_epochs", 2, *UNSEEN[case])
    driven = ("--early_stopping", 1, "--model.lr_scheduler", "ReduceLROnPlateau")
    done = lit("fit", *DIGITS, *short, *driven)
    assert done.status == 0, done.err
    assert "no best checkpoint: val/loss was never reported" in done.err
    done = lit("fit", *DIGITS, *short, "--test_best", "true")
    assert done.status == 1
    assert done.err.startswith("error: no best checkpoint: val/loss")
    for version in (0, 1):
        folder = tmp_path / f"runs/run/version_{version}/checkpoints"
        assert [path.name for path in folder.iterdir()] == ["last.ckpt"]
    assert lit("test", "--ckpt_path", folder).status == 0


# Values of the Trainer that look odd and mean something.
FLAGS = {
    "one epoch": (),
    "one batch": ("--trainer.limit_train_batches", 1),
    "more batches than there are": ("--trainer.limit_train_batches", 10**6),
    "no validation": ("--trainer.limit_val_batches", 0),
    "one batch again and again": ("--trainer.overfit_batches", 1),
    "an update of more than an epoch": ("--trainer.accumulate_grad_batches", 1000),
    "the same with a schedule": (
        "--trainer.accumulate_grad_batches",
        1000,
        "--model.lr_scheduler",
        "CosineAnnealingLR",
    ),
    "clipping at 0, which is none": ("--trainer.gradient_clip_val", 0),
    "logging no steps": ("--trainer.log_every_n_steps", 0),
    "checking all": ("--trainer.num_sanity_val_steps", -1),
    "checking nothing": ("--trainer.num_sanity_val_steps", 0),
    "fewer epochs at most than at least": ("--trainer.min_epochs", 3),
    "no rate": ("--model.lr", 0),
    "null for a default": ("--data.batch_size", "null", "--model.hidden_features", "null"),
    "an odd name": ("--name", "-x ä~"),
}


@pytest.mark.parametrize("case", FLAGS)
def test_an_odd_flag_means_something(lit, tmp_path, case):
    done = lit("fit", *DIGITS, "--trainer.max_epochs", 1, *FLAGS[case])
    assert done.status == 0, done.err
    said = done.err.replace(
        "training in Lightning's own loop: accumulate_grad_batches is set\n", ""
    )
    assert not said
    assert len(list((tmp_path / "runs").glob("*/version_0/checkpoints/best.ckpt"))) == 1


def test_a_rehearsal_leaves_nothing_even_with_a_test(lit, tmp_path):
    done = lit("fit", *DIGITS, "--trainer.fast_dev_run", "true", "--test_best", "true")
    assert (done.status, done.err) == (0, "")
    assert not list(tmp_path.iterdir())


def test_nobody_tests_on_rows_that_are_not_held_out(lit, tmp_path):
    done = lit("fit", *DIGITS, "--data.test_size", 0, "--test_best", "true")
    assert done.status == 2
    assert "test_best" in done.err
    assert "test_size" in done.err
    assert not list(tmp_path.iterdir())


def test_a_test_after_the_fit_is_no_matter_of_other_verbs(fit, lit, tmp_path):
    run = fit("--test_best", "true")
    without = ("--data.test_size", 0, "--trainer.limit_test_batches", 0)
    for verb in ("validate", "predict"):
        done = lit(verb, "--ckpt_path", run, *without)
        assert done.status == 0, done.err


@pytest.mark.parametrize("verb", ["validate", "test"])
def test_evaluating_without_rows(fit, lit, verb):
    run = fit("--data.val_size", 0, "--data.test_size", 0)
    done = lit(verb, "--ckpt_path", run)
    assert done.status == 1
    assert f"no rows to {verb} on" in done.err
    assert not list(run.glob(f"{verb}_metrics.json"))
