"""Fixtures of all tests."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from PIL import Image
from torch.utils.data import DataLoader

from lit_course.cli import main
from lit_course.trainer_cli import TrainerCLI

# Two workers share two cores; threads of their own on top of that make tiny layers ten times
# slower.
torch.set_num_threads(1)

_LOADER = {name: value for name, value in vars(DataLoader).items() if name.startswith("__")}


@pytest.fixture(autouse=True)
def loaders_as_they_were():
    """Lightning patches ``DataLoader`` around a loader hook, and leaves it so if the hook fails."""
    yield
    for name in ("__init__", "__setattr__", "__delattr__"):
        if vars(DataLoader).get(name) is not _LOADER.get(name):
            if name in _LOADER:
                setattr(DataLoader, name, _LOADER[name])
            else:
                delattr(DataLoader, name)
        if f"__old{name}" in vars(DataLoader):
            delattr(DataLoader, f"__old{name}")


SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the repository; it is read-only and not everywhere."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real data: {SHARED_DATA} does not exist")
    return SHARED_DATA


@pytest.fixture
def flowers(tmp_path) -> Path:
    """A folder of 20 images, 8 x 8, of each of three classes, told apart by their colour."""
    random = np.random.default_rng(0)
    for name, colour in (("daisy", (230,) * 3), ("rose", (220, 20, 60)), ("tulip", (240, 200, 30))):
        folder = tmp_path / "flowers" / name
        folder.mkdir(parents=True)
        for number in range(20):
            image = np.clip(colour + random.integers(-20, 20, size=(8, 8, 3)), 0, 255)
            Image.fromarray(image.astype("uint8")).save(folder / f"{number}.png")
    return tmp_path / "flowers"


@dataclass(frozen=True)
class Done:
    """What a command did: its exit status and what it wrote."""

    status: int
    out: str
    err: str


@pytest.fixture
def lit(tmp_path, capsys):
    """``lit-course`` in this process: ``lit("fit", "--model", ...)``, runs below ``tmp_path``."""

    def run(*args: object) -> Done:
        capsys.readouterr()
        verb, *rest = [str(arg) for arg in args]
        where = [] if "--runs" in rest else ["--runs", str(tmp_path / "runs")]
        status = main([verb, *where, *rest])
        return Done(status, *capsys.readouterr())

    return run


MODEL = ("--model", "MLPClassifier", "--model.hidden_features", "[16]")
DIGITS = (*MODEL, "--data", "DigitsDataModule")


@pytest.fixture
def fit(lit, tmp_path):
    """A short fit on the digits; more options may be given. Returns the run's folder."""

    def run(*args: object, name: str = "digits", epochs: int = 2) -> Path:
        options = ("--name", name, "--trainer.max_epochs", epochs, *args)
        done = lit("fit", *DIGITS, *options)
        assert done.status == 0, done.err
        return max((tmp_path / "runs" / name).glob("version_*"), key=lambda p: int(p.name[8:]))

    return run


class Kick(Callback):
    """Sends this process a signal in the middle of a batch, or of a validation."""

    def __init__(self, step: int, validation: bool = False) -> None:
        self.step = step
        self.validation = validation

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.fit_loop.total_batch_idx == self.step and not self.validation:
            os.kill(os.getpid(), signal.SIGTERM)

    def on_validation_start(self, trainer, pl_module):
        if (
            self.validation
            and not trainer.sanity_checking
            and trainer.fit_loop.total_batch_idx >= self.step
        ):
            self.validation, self.step = False, -1
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def kicked(monkeypatch):
    """Put a ``Kick`` beside the callbacks of the next commands."""
    ours = TrainerCLI._callbacks

    def kick(*args, **kwargs):
        callback = Kick(*args, **kwargs)
        monkeypatch.setattr(TrainerCLI, "_callbacks", lambda self: [*ours(self), callback])

    yield kick
    monkeypatch.setattr(TrainerCLI, "_callbacks", ours)
