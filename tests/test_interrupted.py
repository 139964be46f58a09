"""However a run ends, its state is known: exit status, checkpoints, event file, nothing left."""

import fcntl
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from processes import Command, in_one_worker
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_resume import assert_same_run

from lit_course import DigitsDataModule, MLPClassifier
from lit_course.callbacks import RunProgress

pytestmark = in_one_worker
FIT = ("fit", "--model", "MLPClassifier", "--data", "DigitsDataModule", "--name", "run")
SMALL = (*FIT, "--model.hidden_features", "[32]", "--data.batch_size", "256")
# Thirteen megabytes with Adam's state.
SAVING = (*FIT, "--model.hidden_features", "[1000, 1000]", "--data.batch_size", "256")


@pytest.fixture
def start(tmp_path):
    """Start ``lit-course`` with its runs below ``tmp_path``; no process outlives its test."""
    started = []

    def run(*args, runs=tmp_path / "runs", **options):
        command = Command(tmp_path / f"log{len(started)}", *args, "--runs", runs, **options)
        started.append(command)
        return command

    yield run
    for command in started:
        command.kill()


@pytest.fixture
def run(tmp_path):
    return tmp_path / "runs" / "run" / "version_0"


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of its own with little room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no right to mount a small file system here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def loads(path: Path) -> dict:
    return torch.load(path, map_location="cpu", weights_only=True)


def points(run: Path) -> int:
    events = EventAccumulator(str(run)).Reload()
    return len(events.Scalars("val/loss"))


def assert_in_words(log: str, *words: str) -> None:
    assert "Traceback" not in log
    error = log[log.index("error: ") :].splitlines()
    assert len(error) <= 5
    assert all(word in log for word in words), log


# ------------------------------------------------------------------- signals


@pytest.mark.parametrize(
    ("number", "status"),
    [pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow), (signal.SIGTERM, 143)],
)
def test_a_signal_ends_a_fit_saved_and_says_how_to_go_on(start, run, number, status):
    last = run / "checkpoints" / "last.ckpt"
    command = start(*SMALL, "--trainer.max_epochs", 100_000)
    command.wait_for(last.is_file)
    command.send(number)
    assert command.status() == status
    checkpoint = loads(last)
    log = command.log.read_text()
    assert f"after step {checkpoint['global_step']}" in log
    assert f"fit --ckpt_path {last}" in log
    assert points(run) == checkpoint["global_step"] // 5


@pytest.mark.slow
def test_a_second_interrupt_leaves_at_once(start, run, tmp_path):
    """Also from a batch that lasts; what was saved before is whole."""
    waiting = tmp_path / "waiting"
    callback = ("--trainer.callbacks", "processes.Wait", "--trainer.callbacks.batch", 17)
    command = start(*SMALL, *callback, "--trainer.max_epochs", 10, WAITING=str(waiting))
    command.wait_for(waiting.exists)
    command.send(signal.SIGINT)
    command.wait_for(lambda: "again leaves now" in command.log.read_text())
    time.sleep(0.3)
    begin = time.monotonic()
    command.send(signal.SIGINT)
    assert command.status() == 130
    assert time.monotonic() - begin < 10
    assert loads(run / "checkpoints" / "last.ckpt")["global_step"] == 15


@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_another_verb_ends_at_once(fit, lit, monkeypatch, verb):
    folder = fit()
    step = {"validate": "validation_step"}.get(verb, f"{verb}_step")
    ours = getattr(MLPClassifier, step)

    def kicked(*args):
        os.kill(os.getpid(), signal.SIGTERM)
        return ours(*args)

    monkeypatch.setattr(MLPClassifier, step, kicked)
    before = sorted(folder.rglob("*"))
    assert lit(verb, "--ckpt_path", folder).status == 143
    assert sorted(folder.rglob("*")) == before


# ------------------------------------------------------------------- killed


@pytest.mark.slow
@pytest.mark.parametrize("kills", [5, 50])
def test_killed_while_saving(start, run, tmp_path, kills, record_property):
    """The files are the old ones or the new ones, and the run goes on as if nothing had been."""
    seed = random.Random(kills)
    command = ("--trainer.max_epochs", 100_000, "--ckpt_path", run)
    checkpoints = run / "checkpoints"
    other_disk = {"TMPDIR": "/dev/shm"}
    within_a_save = 0
    fitting = start(*SAVING, "--trainer.max_epochs", 100_000, **other_disk)
    before = 0
    for _ in range(kills):
        fitting.wait_for(lambda seen=before: _step(checkpoints) > seen)
        fitting.wait_for(lambda: list(checkpoints.glob("*.part")))
        time.sleep(seed.uniform(0, 0.02))
        fitting.kill()
        assert fitting.status() == -signal.SIGKILL
        within_a_save += bool(list(checkpoints.glob("*.part")))
        best, last = (loads(checkpoints / f"{name}.ckpt") for name in ("best", "last"))
        assert best["global_step"] <= last["global_step"] + 5
        before = last["global_step"]
        fitting = start("fit", *command, **other_disk)
    record_property("within a save", within_a_save)
    assert within_a_save >= kills // 4  # two in three hit it; of five all may nearly miss
    fitting.wait_for(lambda: _step(checkpoints) > before)
    fitting.send(signal.SIGTERM)
    assert fitting.status() == 143
    assert not list(checkpoints.glob("*.part"))
    epochs = 1 + loads(checkpoints / "last.ckpt")["epoch"]
    assert start("fit", "--ckpt_path", run, "--trainer.max_epochs", epochs).status() == 0
    whole = tmp_path / "whole"
    assert start(*SAVING, "--trainer.max_epochs", epochs, runs=whole).status(300) == 0
    assert_same_run(run, whole / "run" / "version_0")


def test_the_next_run_of_a_name_clears_what_a_killed_one_left(lit, fit):
    """But not what somebody is writing just now."""
    folder = fit() / "checkpoints"
    left, written = folder / "best.ckpt.part", folder / "last.ckpt.part"
    left.touch()
    with written.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        fit()
        assert not left.exists()
        assert written.exists()
    fit()
    assert not written.exists()


def _step(checkpoints: Path) -> int:
    last = checkpoints / "last.ckpt"
    return loads(last)["global_step"] if last.is_file() else 0


# ------------------------------------------------------------------- no room, no right


@pytest.mark.slow
def test_a_checkpoint_that_does_not_fit_ends_the_run(start, run):
    """The sixth epoch's file is larger than the files before: the previous one stays whole."""
    command = start(*SMALL, "--trainer.max_epochs", 3)
    assert command.status() == 0
    last = run / "checkpoints" / "last.ckpt"
    kept = last.read_bytes()
    again = ("fit", "--ckpt_path", run, "--trainer.max_epochs", 6)
    command = start(*again, file_limit=len(kept) // 2)
    assert command.status() == 1
    assert_in_words(command.log.read_text(), str(last.parent), "could not be saved", "too large")
    assert last.read_bytes() == kept
    assert not list(last.parent.glob("*.part"))


def test_a_full_disk_ends_the_run(start, tiny_disk):
    command = start(*SAVING, "--trainer.max_epochs", 3, runs=tiny_disk)
    assert command.status() == 1
    assert_in_words(command.log.read_text(), "could not be saved", "No space left")
    assert not list(tiny_disk.rglob("*.ckpt*"))


@pytest.mark.slow
def test_a_full_disk_under_the_event_file_ends_the_run(start, tiny_disk):
    (tiny_disk / "filler").write_bytes(bytes(950_000))
    options = ("--trainer.enable_checkpointing", "false", "--trainer.log_every_n_steps", 1)
    command = start(*SMALL, *options, "--trainer.max_epochs", 100_000, runs=tiny_disk)
    assert command.status() == 1
    assert_in_words(command.log.read_text(), str(tiny_disk), "No space left")


@pytest.mark.slow
def test_a_folder_that_may_not_be_written_ends_the_run(start, run):
    command = start(*SMALL, "--trainer.max_epochs", 2)
    assert command.status() == 0
    checkpoints = run / "checkpoints"
    checkpoints.chmod(0o555)
    command = start("fit", "--ckpt_path", run, "--trainer.max_epochs", 4)
    status = command.status()
    checkpoints.chmod(0o755)
    assert status == 1
    assert_in_words(command.log.read_text(), "could not be saved", "Permission denied")
    assert loads(checkpoints / "last.ckpt")["epoch"] == 1


# ------------------------------------------------------------------- starts


def test_two_starts_at_the_same_moment_get_two_folders(start, run):
    commands = [start(*SMALL, "--trainer.max_epochs", 2) for _ in range(2)]
    assert [command.status() for command in commands] == [0, 0]
    for folder in (run, run.with_name("version_1")):
        assert points(folder) == 2
        assert loads(folder / "checkpoints" / "last.ckpt")["epoch"] == 1


# ------------------------------------------------------------------- crashes


@pytest.mark.parametrize("where", ["callback", "logger", "data module", "model"])
def test_a_crash_leaves_what_was_saved(lit, run, monkeypatch, where):
    """In the third epoch."""
    owner, name = {
        "callback": (RunProgress, "on_train_batch_end"),
        "logger": (TensorBoardLogger, "log_metrics"),
        "data module": (DigitsDataModule, "on_after_batch_transfer"),
        "model": (MLPClassifier, "training_step"),
    }[where]
    ours = getattr(owner, name)

    def crash(*args, **kwargs):
        last = run / "checkpoints" / "last.ckpt"
        if last.is_file() and loads(last)["epoch"] == 1:
            raise ConnectionError(f"the {where} lost its connection")
        return ours(*args, **kwargs)

    monkeypatch.setattr(owner, name, crash)
    done = lit(*SMALL, "--trainer.max_epochs", 5)
    assert done.status == 1
    assert done.err.splitlines()[-1] == f"error: the {where} lost its connection"
    assert loads(run / "checkpoints" / "last.ckpt")["epoch"] == 1
    assert points(run) == 2
    monkeypatch.undo()
    assert lit("fit", "--ckpt_path", run).status == 0
    assert points(run) == 5
