"""The built wheel: all that is needed, nothing else, and it works installed in another place."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from processes import in_one_worker

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ("pyproject.toml", "README.md", "LICENSE", "lit_course", "configs", "tests", "docs")
pytestmark = in_one_worker


def run(*command: object, where: Path) -> subprocess.CompletedProcess[str]:
    """A program that does not see the repository."""
    hidden = {"PYTHONPATH", "PYTHONHOME", "COVERAGE_PROCESS_START"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    given = [str(part) for part in command]
    return subprocess.run(given, cwd=where, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built as for a release: a source distribution, and of that a wheel; not in the repository."""
    source = tmp_path_factory.mktemp("source")
    for name in SHIPPED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name, **({"symlinks": True} if copy is shutil.copytree else {}))
    done = run(sys.executable, "-m", "build", "--no-isolation", source, where=source)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = (source / "dist").glob("*.whl")
    return built


def test_what_is_in_it(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    package = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "lit_course").rglob("*.py")
        if path.is_file()
    }
    configs = {
        f"lit_course/{path.relative_to(ROOT)}" for path in (ROOT / "configs").rglob("*.yaml")
    }
    assert names == package | configs | {"lit_course/py.typed"}
    files = zipfile.ZipFile(wheel)
    for name in configs:
        assert files.read(name) == (ROOT / name.removeprefix("lit_course/")).read_bytes()


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The ``bin`` of an environment with the wheel, and beside it this one's dependencies."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder)
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps")
    done = run(*pip, wheel, where=folder)
    assert done.returncode == 0, done.stderr
    # Only now, so that pip sees no other lit-course. What a .pth of that folder adds, as the
    # repository installed for editing, is not added: the wheel's is the only one.
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "beside.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin"


@pytest.mark.slow
def test_it_works_installed_elsewhere(installed, tmp_path):
    program = installed / "lit-course"
    where = "import lit_course, lit_course.modules as m; print(lit_course.__file__, m.__file__)"
    done = run(installed / "python", "-W", "error", "-c", "import lit_course", where=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run(installed / "python", "-c", where, where=tmp_path)
    assert all(Path(file).is_relative_to(installed.parent) for file in done.stdout.split())

    assert run(program, "--version", where=tmp_path).stdout.startswith("lit-course 0")
    done = run(program, "init", "mine", where=tmp_path)
    assert done.returncode == 0, done.stderr
    short = ("--trainer.max_epochs", 1, "--test_best", "true")
    given = ("--config", "configs/mlp_digits.yaml", *short)
    done = run(program, "fit", *given, where=tmp_path / "mine")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "mine").rglob("best.ckpt"))) == 1


@pytest.mark.slow
def test_its_types_are_seen(installed, tmp_path):
    script = tmp_path / "typed.py"
    script.write_text(
        "from lit_course.names import nearest\nreveal_type(nearest)\nnearest(1, [])\n"
    )
    mypy = (sys.executable, "-m", "mypy", "--python-executable", installed / "python", script)
    done = run(*mypy, where=tmp_path)
    assert "def (name: str, known: typing.Collection[str]) -> str" in done.stdout, done.stdout
    assert 'Argument 1 to "nearest" has incompatible type' in done.stdout
