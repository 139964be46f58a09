"""What is done with the large table: each in its own process, which imports what it needs.

``python -m benchmarks.large_table_work WORK FOLDER FILE [FLAG ...]`` prints its peak memory, bytes.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path

TARGET = "y"


def fit(folder: Path, name: str, *flags: str) -> None:
    """One epoch of a linear classifier over nine tenths of the rows, the rest evaluated."""
    _lit_course(
        "fit",
        "--model=MLPClassifier",
        "--model.hidden_features=[]",
        "--data=CSVDataModule",
        "--data.batch_size=1024",
        f"--data.path={folder / name}",
        f"--data.target={TARGET}",
        "--data.test_size=0",
        "--trainer.max_epochs=1",
        f"--runs={folder / 'runs'}",
        "--name=large",
        *flags,
    )


def predict(folder: Path, name: str) -> None:
    """Class and probabilities of all rows."""
    path = folder / name
    run = ("--ckpt_path=best", f"--runs={folder / 'runs'}", "--name=large")
    _lit_course("predict", *run, f"--data.predict_path={path}")


def _lit_course(*args: str) -> None:
    from lit_course.cli import main

    if status := main(list(args)):
        raise SystemExit(status)


def sgd_fit(folder: Path, name: str) -> None:
    """The same with polars, NumPy and scikit-learn."""
    import numpy as np
    import polars as pl
    from sklearn.linear_model import SGDClassifier
    from sklearn.preprocessing import StandardScaler

    table = pl.read_csv(folder / name)
    y = table[TARGET].to_numpy()
    x = table.drop(TARGET).to_numpy()
    train = np.random.default_rng(0).random(len(x)) < 0.9
    scaler = StandardScaler().fit(x[train])
    model = SGDClassifier(loss="log_loss", max_iter=1, tol=None)
    model.fit(scaler.transform(x[train]), y[train])
    print(model.score(scaler.transform(x[~train]), y[~train]))
    (folder / "sgd.pkl").write_bytes(pickle.dumps((scaler, model)))


def sgd_predict(folder: Path, name: str) -> None:
    """Class and probabilities of all rows."""
    import polars as pl

    scaler, model = pickle.loads((folder / "sgd.pkl").read_bytes())
    x = pl.read_csv(folder / name).drop(TARGET).to_numpy()
    likely = model.predict_proba(scaler.transform(x))
    columns = {"class": model.classes_[likely.argmax(1)], "no": likely[:, 0], "yes": likely[:, 1]}
    pl.DataFrame(columns).write_csv(folder / "sgd.csv")


WORK: dict[str, Callable[..., None]] = {
    "fit": fit,
    "predict": predict,
    "sgd_fit": sgd_fit,
    "sgd_predict": sgd_predict,
}


if __name__ == "__main__":
    work, folder, *args = sys.argv[1:]
    WORK[work](Path(folder), *args)
    # Of this program alone: getrusage would begin with the peak of the process that started it.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    print(1024 * int(status.partition("VmHWM:")[2].split()[0]))
