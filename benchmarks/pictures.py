"""Draws the pictures of README and docs: ``make pictures``.

From ``docs/results.json``, or where it holds too little, by running a configuration anew.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from PIL import Image

from benchmarks.results import CONFIGS, RECORD, ROOT, command
from benchmarks.tensorboard import screenshot, serve
from lit_course.cli import main as lit_course

matplotlib.use("Agg")  # no display is needed

from matplotlib import pyplot as plt

IMAGES = ROOT / "docs" / "images"
# Okabe and Ito's colours, told apart by the colour-blind.
BLUE, ORANGE, BLACK = "#0072B2", "#D55E00", "#000000"
# What the course's document printed for its network, which has a ReLU on the output.
DOCUMENT = (27.5, 38.9, 41.2, 44.4, 46.4, 47.5, 48.3, 48.7, 49.1, 49.5)


def lesson5_accuracy(record: dict[str, Any]) -> None:
    """Test accuracy by epoch, with and without the ReLU on the output."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    runs = {
        "without the output ReLU": ("lesson5_no_output_relu", BLUE, "o-"),
        "with it": ("lesson5_output_relu", ORANGE, "s-"),
    }
    for label, (name, color, style) in runs.items():
        curves = 100 * np.array(record[name]["curves"]["val/accuracy"])
        epochs = np.arange(1, curves.shape[1] + 1)
        axes.plot(epochs, curves.mean(0), style, color=color, label=f"{label}, mean of 3 seeds")
        axes.fill_between(epochs, curves.min(0), curves.max(0), color=color, alpha=0.2)
    epochs = np.arange(1, len(DOCUMENT) + 1)
    axes.plot(epochs, DOCUMENT, "x--", color=BLACK, label="the course's document")
    axes.set(xlabel="epoch", ylabel="test accuracy (%)", ylim=(0, 100), xticks=epochs)
    axes.set_title("Fashion-MNIST, 784-512-512-10: a ReLU on the logits kills classes")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(IMAGES / "lesson5_accuracy.png", dpi=120)
    plt.close(figure)


# What a run draws, and what it is called here.
DRAWN = {
    "mlp_ranker_synthetic": {
        "test_ndcg_by_query": "lesson9_ndcg_by_query",
        "test_score_by_relevance": "lesson9_score_by_relevance",
    },
    "mlp_digits": {
        "test_confusion_matrix": "figures_confusion_matrix",
        "test_mistakes": "figures_mistakes",
        "test_reliability": "figures_reliability",
    },
    "linear_diabetes_exact": {"test_coefficients": "figures_coefficients"},
    "linear_roller_coaster": {"train_fitted_curve": "figures_fitted_curve"},
}


def drawn_by_runs() -> None:
    """What the figures of a run are."""
    os.chdir(ROOT)  # the commands name the configurations from here
    for name, pictures in DRAWN.items():
        with tempfile.TemporaryDirectory() as folder:
            if lit_course([*command(CONFIGS[name]), "--runs", folder]):
                raise SystemExit(f"{name} has failed")
            (figures,) = Path(folder).glob("*/*/figures")
            for drawn, here in pictures.items():
                shutil.copy(figures / f"{drawn}.png", IMAGES / f"{here}.png")


def commands_figures() -> None:
    """What the commands of docs/commands.md draw."""
    config = f"--config={CONFIGS['mlp_digits']}"
    plateau = ("--model.lr_scheduler", "ReduceLROnPlateau", "--model.lr_interval", "epoch")
    patience = ("--model.lr_scheduler_options.patience", "2")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for command in (
            ("schedule", config),
            ("schedule", config, *plateau, *patience, "--output", "plateau.png"),
            ("lr_find", config, "--apply", "tuned.yaml"),
            ("fit", config, "--trainer.max_epochs", "10"),
            ("fit", "--config", "tuned.yaml", "--trainer.max_epochs", "10"),
            ("fit", config, "--trainer.max_epochs", "10", "--model.lr", "0.3", "--name", "fast"),
            ("compare", "mlp_digits", "tuned", "fast"),
        ):
            if lit_course(command):
                raise SystemExit(f"{command[0]} has failed")
        for picture in Path(folder).glob("*.png"):
            shutil.copy(picture, IMAGES / f"commands_{picture.name}")
        os.chdir(ROOT)


TABS = ("scalars", "custom_scalars", "images", "text", "hparams", "histograms")
LOOKED_AT = "&tagFilter=^(val/%7Ctrain/gradient_norm)&_smoothingWeight=0"


def tensorboard_tabs() -> None:
    """What docs/tensorboard.md shows: two runs in a real TensorBoard, in a real browser."""
    config = f"--config={CONFIGS['mlp_digits']}"
    more = ("--trainer.max_epochs", "10", "--trainer.callbacks+=Histograms", "--test_best", "true")
    with tempfile.TemporaryDirectory() as folder:
        for lr in ("0.003", "0.0003"):
            if lit_course(["fit", config, *more, "--model.lr", lr, "--runs", folder]):
                raise SystemExit("fit has failed")
        with serve(Path(folder)) as server:
            for tab in TABS:
                path = IMAGES / f"tensorboard_{tab}.png"
                url = f"{server.url}?darkMode=false#{tab}{LOOKED_AT * (tab == 'scalars')}"
                screenshot(url, path, width=1800)
                with Image.open(path) as image:
                    image.convert("RGB").quantize(64).save(path, optimize=True)


def main() -> None:
    """Draw all of them."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    lesson5_accuracy(record)
    drawn_by_runs()
    commands_figures()
    tensorboard_tabs()


if __name__ == "__main__":
    main()
