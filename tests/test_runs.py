"""A run's folder: claimed once, found again."""

import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from lit_course import runs


def checkpoint(root: Path, name: str, version: int, file: str, age: int = 0) -> Path:
    path = root / name / f"version_{version}" / "checkpoints" / f"{file}.ckpt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (1e9 - age, 1e9 - age))
    return path


def test_versions_are_counted_on_from_the_highest(tmp_path):
    for name in ("version_7", "version_x", "notes"):
        (tmp_path / "a" / name).mkdir(parents=True)
    assert runs.claim(tmp_path, "a").name == "version_8"
    assert runs.claim(tmp_path, "a").name == "version_9"
    assert runs.claim(tmp_path, "b").name == "version_0"


def test_starts_at_the_same_moment_get_folders_of_their_own(tmp_path):
    with ProcessPoolExecutor(4) as pool:
        claimed = list(pool.map(partial(runs.claim, tmp_path), ["same"] * 40))
    assert sorted(path.name for path in claimed) == sorted(f"version_{i}" for i in range(40))


def test_a_folder_is_given_back_unless_it_holds_a_checkpoint(tmp_path):
    started, used = runs.claim(tmp_path, "a"), runs.claim(tmp_path, "a")
    for folder in (started, used):
        for name in ("config.yaml", "hparams.yaml", "events.out.tfevents.1.host.2.0"):
            (folder / name).touch()
        (folder / "checkpoints").mkdir()
    (used / "checkpoints/best.ckpt").touch()
    runs.release(used)
    assert len(list(used.rglob("*.*"))) == 4
    runs.release(started)
    assert not started.exists()
    shutil.rmtree(used)
    runs.release(used)
    assert not (tmp_path / "a").exists(), "a name without a run"
    assert runs.claim(tmp_path, "a").name == "version_0"


def test_what_ckpt_path_may_say(tmp_path):
    old = checkpoint(tmp_path, "a", 0, "best", age=10)
    best, last = (checkpoint(tmp_path, "a", 1, file, age=5) for file in ("best", "last"))
    other = checkpoint(tmp_path, "b", 0, "last")
    find = partial(runs.resolve, runs=tmp_path)
    assert find("best", name="a") == best
    assert find("last", name="a") == last
    assert find("last", name=None) == other
    assert find(str(tmp_path / "a/version_0"), name=None) == old
    assert find(str(tmp_path / "a/version_1/checkpoints"), name=None) == best
    assert find(str(tmp_path / "b/version_0"), name=None) == other  # no best was kept
    assert find(str(last), name="b") == last
    assert runs.run_of(last) == tmp_path / "a/version_1"
    assert runs.run_of(tmp_path / "alone.ckpt") is None


@pytest.mark.parametrize("value", ["best", "nowhere.ckpt", "."])
def test_what_is_not_there_is_refused_with_what_is(tmp_path, monkeypatch, value):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is none yet"):
        runs.resolve(value, tmp_path, "a")
    found = checkpoint(tmp_path, "b", 0, "last")
    with pytest.raises(FileNotFoundError) as error:
        runs.resolve(value, tmp_path, "a")
    assert str(found) in str(error.value)


def test_a_picture_of_what_never_began_is_given_back_too(tmp_path):
    folder = runs.claim(tmp_path, "name")
    (folder / "figures").mkdir()
    for suffix in ("png", "csv"):
        (folder / f"figures/train_fitted_curve_step_0.{suffix}").write_text("")
    runs.release(folder)
    assert not folder.parent.exists()
