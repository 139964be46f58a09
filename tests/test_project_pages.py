"""The pages about other projects, as written: files saved under their names, commands typed."""

import re
from pathlib import Path

import pytest
from processes import in_one_worker, run_script

pytestmark = pytest.mark.command

ROOT = Path(__file__).resolve().parents[1]
# The first line of a block names its file; one without a name would not be tested.
BLOCK = re.compile(r"^```(python|yaml|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"# (\S+\.(?:py|yaml))\n")
# In a process of its own: other people's programs set up logging, signals and the working folder.
SCRIPT = """
import os, re, runpy, shlex, sys, warnings
from lit_course.cli import main

log = os.open("log", os.O_WRONLY | os.O_CREAT)
os.dup2(log, 1), os.dup2(log, 2)
warnings.simplefilter("ignore")  # those of other people's programs
sys.path.insert(0, os.getcwd())
for command in commands:
    print(">", command, flush=True)
    program, *args = shlex.split(command)
    assert program == "python"
    if args[:2] == ["-m", "lit_course"]:
        assert main(args[2:]) == 0, command
    else:
        sys.argv = args
        runpy.run_path(args[0], run_name="__main__")
"""


def blocks(page: str) -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))


def save(page: str, folder: Path) -> list[str]:
    """Write the files of a page; returns the commands, and first those files that none names."""
    commands, scripts = [], []
    for language, text in blocks(page):
        if language == "bash":
            commands += text.splitlines()
            continue
        named = NAMED.match(text)
        assert named, text
        path = folder / named[1]
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        scripts += [f"python {named[1]}"] if language == "python" else []
    typed = " ".join(commands)
    imported = {f"python {name}.py" for name in re.findall(r"\b(my_\w+)\.", typed)}
    return [s for s in scripts if s not in typed and s not in imported] + commands


@in_one_worker
@pytest.mark.parametrize(
    "page",
    [
        "docs/projects.md",
        "docs/own_parts.md",
        *(
            pytest.param(f"docs/own_{part}.md", marks=pytest.mark.slow)
            for part in ("loss", "metric", "data")
        ),
    ],
)
def test_the_page(tmp_path, monkeypatch, page):
    commands = save(page, tmp_path)
    assert len(commands) > 1
    monkeypatch.chdir(tmp_path)
    status = run_script(SCRIPT, seconds=120, commands=commands)
    assert status == 0, (tmp_path / "log").read_text()
