"""Completion, in a real bash; in a real zsh where there is one."""

import os
import pty
import select
import shutil
import subprocess
import time

import pytest

from lit_course.cli import COMMANDS, HELP, main
from lit_course.closed_table import DATAMODULES, MODULES
from lit_course.commands.completion import completion_script
from lit_course.optimizers import OPTIMIZERS

# Asks for the completion of each line, given as its words; prints one line of words for each.
ASK = """
source "$1"; shift
ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _lit_course; echo "${COMPREPLY[*]}"; }
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("completion") / "lit-course.bash"
    path.write_text(completion_script(COMMANDS))
    return path


@pytest.fixture(scope="module")
def complete(script):
    if shutil.which("bash") is None:
        pytest.skip("no bash")

    def completed(*words: str) -> list[str]:
        line = " ".join(f"'{word}'" for word in ("lit-course", *words))
        command = ["bash", "--norc", "-uc", f"{ASK}\nask {line}", "bash", str(script)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout.split()

    return completed


def test_commands(complete):
    assert complete("") == [*COMMANDS, "--help", "--version"]
    assert complete("va") == ["validate"]
    assert complete("completion", "") == ["bash", "zsh"]
    assert all(f"\n  {command} " in HELP for command in COMMANDS)


def test_classes_and_names(complete):
    assert complete("fit", "--model", "") == list(MODULES)
    assert complete("fit", "--data", "") == list(DATAMODULES)
    assert set(complete("fit", "--model.optimizer", "")) == set(OPTIMIZERS)
    assert complete("fit", "--model.optimizer", "=", "Ada") == complete(
        "fit", "--model.optimizer", "Ada"
    )
    assert complete("fit", "--test_best", "") == ["true", "false"]
    assert complete("export", "--format", "o") == ["onnx"]
    assert complete("test", "--ckpt_path", "") == ["best", "last"]


def test_options(complete):
    assert complete("fit", "--trainer.max_e") == ["--trainer.max_epochs"]
    assert complete("fit", "--debug", "--early") == ["--early_stopping"]
    assert complete("predict", "--out") == ["--output"]
    assert complete("fit", "--out") == []
    assert complete("fit", "--model.top") == ["--model.top_k"]
    assert complete("fit", "--model", "MLPClassifier", "--model.top") == []
    assert complete("fit", "--model", "lit_course.MLPClassifier", "--model.top") == []
    assert "--data.val_size" in complete("fit", "--data", "DigitsDataModule", "--data.")


@pytest.mark.parametrize("flag", ["--config", "--name", "--data.path", "--model.lr"])
def test_what_only_the_user_knows_is_left_to_the_shell(complete, flag):
    """No word is offered; then bash completes names of files."""
    assert complete("fit", flag, "") == []


@pytest.mark.parametrize("model", MODULES)
def test_every_option_that_is_offered_is_known(complete, model, lit):
    """The parser refuses an unknown flag before it looks at anything else."""
    flags = [flag for flag in complete("fit", "--model", model, "--model.") if "help" not in flag]
    assert len(flags) > 10
    nulls = [part for flag in flags for part in (flag, "null")]
    said = lit("fit", "--model", model, "--data", "DigitsDataModule", *nulls, "--nonsense", 1)
    assert "unknown flag --nonsense" in said.err


def test_the_command(capsys, script):
    assert main(["completion", "bash"]) == 0
    assert capsys.readouterr().out == script.read_text()
    assert main(["completion", "zsh"]) == 0
    assert capsys.readouterr().out.endswith(script.read_text())
    assert main(["completion", "--help"]) == 0
    assert "usage: lit-course completion" in capsys.readouterr().out
    for wrong in ([], ["fish"], ["bash", "zsh"]):
        assert main(["completion", *wrong]) == 2
        assert "usage: lit-course completion" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("zsh") is None, reason="no zsh")
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("lit-course vali", "validate"),
        ("lit-course fit --model.optimizer SG", "SGD"),
        ("lit-course fit --trainer.max_e", "max_epochs"),
    ],
)
def test_in_zsh(tmp_path, capsys, typed, completed):
    assert main(["completion", "zsh"]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)
    (tmp_path / ".zshrc").write_text(
        f"autoload -U compinit; compinit -D -u\nsource {tmp_path}/script\nPS1='ready '\n"
    )
    process, terminal = pty.fork()
    if process == 0:
        os.execvpe("zsh", ["zsh", "-i"], {**os.environ, "TERM": "dumb", "ZDOTDIR": str(tmp_path)})

    def wait_for(text: str) -> bool:
        shown, end = "", time.monotonic() + 20
        while text not in shown and time.monotonic() < end:
            if select.select([terminal], [], [], 0.1)[0]:
                shown += os.read(terminal, 4096).decode(errors="replace")
        return text in shown

    try:
        assert wait_for("ready ")
        os.write(terminal, typed.encode() + b"\t")
        assert wait_for(completed)
    finally:
        os.kill(process, 9)
        os.waitpid(process, 0)
        os.close(terminal)
