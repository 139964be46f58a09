"""The manual builds without a warning, and has a page for everything that it must have."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from docstring_parser import parse

from lit_course.closed_table import DATAMODULES, MODULES

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def manual(tmp_path_factory):
    folder = tmp_path_factory.mktemp("manual")
    build = ["-W", "--keep-going", "-q", "-b", "html", "docs", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *build],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_it_builds_without_a_warning(manual):
    """Links within it are checked by the build."""
    assert (manual / "index.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MODULES, *DATAMODULES])
def test_every_argument_is_in_the_reference(manual, name):
    cls = {**MODULES, **DATAMODULES}[name]
    explained = {p.arg_name for p in parse(inspect.getdoc(cls)).params if p.description}
    text = (manual / f"configuration/{name}.html").read_text()
    for argument in inspect.signature(cls).parameters:
        assert f".{argument}</" in text, argument
        assert argument in explained


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "lit_course.load",
        "lit_course.callbacks.Figures",
        "lit_course.callbacks.TensorBoardTabs",
        "lit_course.modules.LinearRegressor.coefficients",
        "lit_course.networks.load_network",
        "lit_course.sklearn.LitMLPClassifier",
    ],
)
def test_what_is_public_is_in_the_reference(manual, name):
    assert f'id="{name}"' in (manual / "api.html").read_text()
