"""Made-up samples of three classes, one of them rare."""

from __future__ import annotations

from pathlib import Path

import numpy as np

CLASSES = ("healthy", "cold", "rare")
COUNTS = (1800, 160, 40)
CENTRES = ((0.0, 0.0), (2.0, 0.5), (1.2, 2.2))
VALIDATION, TEST = 400, 800
FILE = "rare_classes.npz"


def write(folder: Path) -> None:
    """Two features, a round cloud a class: 1,800, 160 and 40 samples around centres near by."""
    random = np.random.default_rng(0)
    clouds = [
        random.normal(centre, 1.0, (count, 2))
        for centre, count in zip(CENTRES, COUNTS, strict=True)
    ]
    labels = np.repeat(np.arange(len(COUNTS)), COUNTS)
    np.savez(folder / FILE, X=np.concatenate(clouds).astype("float32"), y=labels)


FLAGS = (
    "fit --model MLPClassifier --model.hidden_features '[32]' --model.lr 0.01 --figures false"
    f" --data ArrayDataModule --data.X {{folder}}/{FILE}"
    f" --data.class_names '[{', '.join(CLASSES)}]'"
    f" --data.val_size {VALIDATION} --data.test_size {TEST} --trainer.max_epochs 20"
    " --test_best true"
)
