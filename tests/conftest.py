"""Fixtures of all tests.

Nothing heavy is imported here: the process that hands tests out to others reads this file too.
"""

import gc
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# Two workers share two cores; threads of their own on top of that make tiny layers ten times
# slower. It is read when torch is imported.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is imported stays: to look for garbage in it costs seconds, now and in every test."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_unconfigure() -> None:
    """Some libraries complain of what is never freed."""
    gc.unfreeze()


@pytest.fixture(scope="session")
def loader_methods() -> dict[str, object]:
    """The special methods of ``DataLoader``, before anybody patches them."""
    from torch.utils.data import DataLoader

    return {name: value for name, value in vars(DataLoader).items() if name.startswith("__")}


@pytest.fixture(autouse=True)
def loaders_as_they_were(loader_methods):
    """Lightning patches ``DataLoader`` around a loader hook, and leaves it so if the hook fails."""
    from torch.utils.data import DataLoader

    yield
    for name in ("__init__", "__setattr__", "__delattr__"):
        if vars(DataLoader).get(name) is not loader_methods.get(name):
            if name in loader_methods:
                setattr(DataLoader, name, loader_methods[name])
            else:
                delattr(DataLoader, name)
        if f"__old{name}" in vars(DataLoader):
            delattr(DataLoader, f"__old{name}")


WHOLE_COMMANDS = {"lit", "fit", "start", "fresh_folder"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that give whole commands are told apart from those of a part: ``-m "not command"``."""
    for item in items:
        if WHOLE_COMMANDS & set(getattr(item, "fixturenames", ())):
            item.add_marker("command")


@pytest.fixture(autouse=True)
def seeded():
    """What a test draws depends on no test before it, in whichever process that was."""
    import torch

    torch.manual_seed(0)


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
def draws() -> bool:
    """Whether the figures of a run are drawn, which takes most of its second; tests of them do."""
    return False


@pytest.fixture
def lit(tmp_path, capsys, monkeypatch, draws):
    """``lit-course`` in this process: ``lit("fit", "--model", ...)``, runs below ``tmp_path``."""
    from lit_course.cli import main
    from lit_course.figures import Chart

    if not draws:
        monkeypatch.setattr(Chart, "pixels", lambda chart: np.zeros((1, 1, 3), np.uint8))

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


@pytest.fixture
def kicked(monkeypatch):
    """Put a ``Kick`` beside the callbacks of the next commands."""
    from kick import Kick

    from lit_course.trainer_cli import TrainerCLI

    ours = TrainerCLI._callbacks

    def kick(*args, **kwargs):
        callback = Kick(*args, **kwargs)
        monkeypatch.setattr(TrainerCLI, "_callbacks", lambda self: [*ours(self), callback])

    yield kick
    monkeypatch.setattr(TrainerCLI, "_callbacks", ours)


@pytest.fixture(scope="session")
def reported():
    """The numbers that a verb wrote into a run's folder: ``reported(run, "test")``."""

    def read(run: Path, verb: str) -> dict[str, float]:
        return json.loads((run / f"{verb}_metrics.json").read_text())

    return read
