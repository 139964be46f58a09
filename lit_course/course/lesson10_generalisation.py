"""Lesson 10: learning by heart, stopping in time, and starting from what is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from lit_course.course.lesson import Lesson, Run, Table
from lit_course.course.ran import Ran
from lit_course.figures import Chart
from lit_course.figures.curves import curves

BASE = "fit --config configs/lessons/lesson10_overfitting.yaml"
CLEAN, TRAINING, VALIDATION = 1200, 50, 300  # digits
NOISE = 5.0  # standard deviation, of pixels from 0 to 16
MLP = (
    "fit --model MLPClassifier --model.hidden_features '[64, 64]' --model.standardize false"
    " --trainer.max_epochs 30 --figures false --data ArrayDataModule"
)
STARTS = {
    "scratch": "",
    "transfer": " --model.init_from {clean}",
    "frozen": " --model.init_from {clean} --model.freeze '[network.linear1.*, network.linear2.*]'",
}


def write_digits(folder: Path) -> None:
    """Clean digits in one file, other ones by a bad camera in another."""
    images, labels = load_digits(return_X_y=True)
    noise = np.random.default_rng(0).normal(0, NOISE, images[CLEAN:].shape)
    files = {"clean": images[:CLEAN], "noisy": (images[CLEAN:] + noise).clip(0, 16)}
    for (name, x), y in zip(files.items(), (labels[:CLEAN], labels[CLEAN:]), strict=True):
        np.savez(folder / f"{name}.npz", X=x.astype("float32"), y=y)


def answer(ran: Mapping[str, Ran]) -> Iterator[Table | Chart]:
    """Two curves that part; what stopping restores; transfer against scratch."""
    whole, stopped = ran["overfitting"], ran["stopped"]
    train, val = whole.series("train/loss"), whole.series("val/loss")
    epochs = range(1, len(val) + 1)
    best, last = int(np.argmin(val)), len(val) - 1
    yield curves(
        "overfitting",
        {"validation": (epochs, val), "training": (epochs, train)},
        points={f"best epoch, {best + 1}": ([best + 1], [val[best]])},
        xlabel="epoch",
        ylabel="loss",
        title="100 training rows: two curves that part",
    )
    mae = whole.series("val/mae")
    yield Table(
        "overfitting",
        "The same training at its best epoch and at its end",
        {
            "epoch": [best + 1, last + 1],
            "train/loss": [train[best], train[last]],
            "val/loss": [val[best], val[last]],
            "val/mae": [mae[best], mae[last]],
        },
    )
    restored = stopped.checkpoint("best")
    yield Table(
        "stopping",
        "With --early_stopping 8: where it stopped, and what it kept",
        {
            "stopped after epoch": [stopped.checkpoint("last")["epoch"] + 1],
            "kept epoch": [restored["epoch"] + 1],
            "val/loss then": [stopped.series("val/loss")[restored["epoch"]]],
            "val/loss of best.ckpt": [stopped.metrics("validate")["val/loss"]],
            "test/mae": [stopped.metrics("test")["test/mae"]],
        },
    )
    accuracies = {name: ran[name].series("val/accuracy") for name in STARTS}
    yield curves(
        "transfer",
        {name: (range(1, 31), values) for name, values in accuracies.items()},
        xlabel="epoch",
        ylabel="val/accuracy",
        title=f"Noisy digits from {TRAINING} images, knowing clean ones and not",
    )
    yield Table(
        "transfer",
        f"Noisy digits from {TRAINING} images",
        {
            "start": list(STARTS),
            "trained numbers": [trained(ran[name]) for name in STARTS],
            "val/accuracy, epoch 1": [values[0] for values in accuracies.values()],
            "epoch 30": [values[-1] for values in accuracies.values()],
            "test/accuracy": [ran[name].metrics("test")["test/accuracy"] for name in STARTS],
        },
    )


def trained(run: Ran) -> int:
    """How many numbers were trained."""
    return sum(p.numel() for p in run.model().parameters() if p.requires_grad)


NOISY = (
    f"{MLP} --data.X {{folder}}/noisy.npz --data.batch_size 5 --data.val_size {VALIDATION}"
    f" --data.test_size {1797 - CLEAN - VALIDATION - TRAINING} --test_best true"
)
LESSON = Lesson(
    runs={
        "overfitting": Run(BASE),
        "stopped": Run(f"{BASE} --early_stopping 8 --test_best true"),
        "validate": Run("validate --ckpt_path {stopped}"),
        "clean": Run(f"{MLP} --data.X {{folder}}/clean.npz"),
        **{name: Run(NOISY + flags) for name, flags in STARTS.items()},
    },
    answer=answer,
    prepare=write_digits,
)
