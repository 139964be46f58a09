"""Fixtures of all tests."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from lit_course.cli import main

# Two workers share two cores; threads of their own on top of that make tiny layers ten times
# slower.
torch.set_num_threads(1)

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the repository; it is read-only and not everywhere."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real data: {SHARED_DATA} does not exist")
    return SHARED_DATA


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
