"""``lit-course init``: the configurations in a folder of one's own, nothing overwritten."""

import os
from pathlib import Path

import pytest

from lit_course.cli import main
from lit_course.commands import init as module

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_every_configuration_is_copied_and_runs_where_it_lies(tmp_path, monkeypatch, capsys):
    assert main(["init", str(tmp_path / "new" / "mine")]) == 0
    copied = contents(tmp_path / "new" / "mine" / "configs")
    assert b"lit-course fit --config configs/" in copied.pop("README.md")
    assert copied == contents(CONFIGS)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2

    monkeypatch.chdir(tmp_path / "new" / "mine")
    _, *command = said[1].split()
    assert main([*command, "--trainer.fast_dev_run", "1"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("there", ["a file", "a dangling link"])
def test_nothing_is_overwritten(tmp_path, capsys, there):
    mine = tmp_path / "configs" / "mlp_digits.yaml"
    mine.parent.mkdir()
    if there == "a file":
        mine.write_text("mine")
    else:
        mine.symlink_to(tmp_path / "nowhere")
    assert main(["init", str(tmp_path)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"error: {mine} exists: nothing was written, give another folder"
    ]
    assert os.listdir(tmp_path) == ["configs"]
    assert os.listdir(tmp_path / "configs") == ["mlp_digits.yaml"]
    assert there != "a file" or mine.read_text() == "mine"


def test_where_a_file_stands_in_the_way(tmp_path, capsys):
    (tmp_path / "configs").write_text("mine")
    assert main(["init", str(tmp_path)]) == 2
    assert "is no folder: nothing was written" in capsys.readouterr().err
    assert main(["init", str(tmp_path / "configs")]) == 2
    assert (tmp_path / "configs").read_text() == "mine"


def test_what_was_begun_is_removed(tmp_path, capsys, monkeypatch):
    texts = module._configurations(tmp_path / "configs")
    broken = {path: text if i < 2 else "\ud800" for i, (path, text) in enumerate(texts.items())}
    monkeypatch.setattr(module, "_configurations", lambda folder: broken)
    assert main(["init", str(tmp_path)]) == 1
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("args", [[], ["a", "b"], ["--force"], [""]])
def test_it_takes_one_folder(tmp_path, monkeypatch, capsys, args):
    monkeypatch.chdir(tmp_path)
    assert main(["init", *args]) == 2
    assert "usage: lit-course init DIR" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_its_help(capsys):
    assert main(["init", "--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: lit-course init DIR")
