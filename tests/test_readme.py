"""The README's commands, typed as written."""

import re
import shlex
from pathlib import Path

import pytest

from lit_course.cli import main

ROOT = Path(__file__).resolve().parents[1]


def blocks(language: str) -> list[str]:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)


@pytest.fixture
def fresh_folder(tmp_path, monkeypatch):
    """Where a new user stands: the configurations, a table of their own, no runs."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    rows = "".join(f"{size},{age},{3 * size - age}\n" for size in range(50, 90) for age in range(5))
    (tmp_path / "houses.csv").write_text("size,age,price\n" + rows)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands(fresh_folder, capsys):
    commands = [line for block in blocks("bash") for line in block.splitlines()]
    assert len(commands) > 5
    for command in commands:
        program, *args = shlex.split(command)
        assert program == "lit-course"
        status = main(args)
        assert status == 0, f"{command}\n{capsys.readouterr().err}"
    runs = {
        str(path.parent.relative_to(fresh_folder)) for path in fresh_folder.rglob("config.yaml")
    }
    assert {"lightning_logs/mlp_digits/version_0", "lightning_logs/mlp_digits/version_1"} <= runs
    assert (fresh_folder / "lightning_logs/mlp_digits/version_0/test_metrics.json").exists()


@pytest.mark.filterwarnings("ignore")  # a Trainer of one's own says what it likes
@pytest.mark.parametrize("code", blocks("python"), ids=["arrays", "own project"])
def test_the_python(fresh_folder, code):
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})


def test_the_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    text = (ROOT / "README.md").read_text() + (ROOT / "CONTRIBUTING.md").read_text()
    for target in set(re.findall(r"^make (\S+)", text, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text()):
        assert target.startswith("https://") or (ROOT / target).exists(), target
