"""Several processes are as good as one: real ones, on gloo, by the Trainer and by torchrun."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from socket import socket
from types import SimpleNamespace

import polars as pl
import pytest
import torch
from processes import Command, in_one_worker

from lit_course.console import quiet

pytestmark = pytest.mark.command

ROOT = Path(__file__).resolve().parents[1]
MODEL = (
    *("--model", "MLPClassifier", "--model.hidden_features", "[16]"),
    *("--model.optimizer", "SGD", "--model.lr", 0.1, "--model.optimizer_options.momentum", 0.9),
)
DIGITS = ("--data", "DigitsDataModule", "--data.test_size", 101)

TORCHRUN = ("-m", "torch.distributed.run", "--standalone")
# A run's own configuration says how many processes it had.
ONE = ("--trainer.devices", 1, "--trainer.strategy", "auto")


@pytest.fixture
def command(tmp_path):
    """Arguments of ``Popen`` that start ``lit-course`` in several processes."""

    def of(verb: str, *args: object, processes: int, torchrun: bool = False) -> dict:
        many = ("--trainer.accelerator", "cpu", "--trainer.strategy", "ddp")
        options = (*many, "--trainer.devices", processes, *args)
        launcher = (*TORCHRUN, f"--nproc_per_node={processes}") if torchrun else ()
        words = (sys.executable, *launcher, "-m", "lit_course", verb, *options)
        return {
            "args": [str(word) for word in words],
            "cwd": tmp_path,
            "env": {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{tmp_path}"},
            "text": True,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        }

    return of


@pytest.fixture
def start(command):
    """Run ``lit-course`` in several processes until all have ended."""

    def run(*args: object, **options: object):
        return subprocess.run(**command(*args, **options), timeout=120)

    return run


@pytest.fixture
def forked(tmp_path, monkeypatch):
    """Run ``lit-course`` in two processes that somebody else has started, as torchrun does."""
    monkeypatch.chdir(tmp_path)
    logs = tmp_path.parent / f"{tmp_path.name}-logs"

    def run(*args: object, processes: int) -> SimpleNamespace:
        logs.mkdir()
        with socket() as any_port:
            any_port.bind(("localhost", 0))
            port = str(any_port.getsockname()[1])
        cluster = {"MASTER_ADDR": "localhost", "MASTER_PORT": port, "WORLD_SIZE": str(processes)}
        many = ("--trainer.accelerator", "cpu", "--trainer.strategy", "ddp")
        options = (*args, *many, "--trainer.devices", processes)
        commands = [
            Command(logs / str(rank), *options, LOCAL_RANK=str(rank), **cluster)
            for rank in range(processes)
        ]
        statuses = [command.status() for command in commands]
        said = "".join(command.log.read_text() for command in commands)
        return SimpleNamespace(returncode=max(statuses), stdout=said, stderr=said)

    return run


def metrics(run: Path, verb: str) -> dict[str, float]:
    return json.loads((run / f"{verb}_metrics.json").read_text())


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


def assert_alike(found: dict[str, float], expected: dict[str, float], tolerance: float) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=tolerance, nan_ok=True), name


def assert_trains_alike(run: Path, one: Path) -> None:
    expected = weights(one)
    for name, value in weights(run).items():
        assert torch.allclose(value, expected[name], rtol=0, atol=1e-5), name
    assert_alike(metrics(run, "fit"), metrics(one, "fit"), 1e-4)


# 1425 training rows: steps of 64, and a last one of 17, which no two processes share evenly.
RAGGED = (*DIGITS, "--data.val_size", 271, "--model.class_weights", "balanced")


@in_one_worker
@pytest.mark.parametrize("how", ["forked", pytest.param("start", marks=pytest.mark.slow)])
def test_two_processes_train_and_test_as_one(request, lit, tmp_path, how):
    start = request.getfixturevalue(how)
    fit = ("fit", *MODEL, *RAGGED, "--trainer.max_epochs", 2, "--test_best", "true")
    done = start(*fit, "--data.batch_size", 32, "--name", "two", processes=2)
    assert done.returncode == 0, done.stderr
    own = "training in Lightning's own loop: strategy DDPStrategy\n"
    assert done.stderr == own or how == "forked"  # whose log is one
    for said in ("samples     1,425 train", "epoch 2/2", "test/auroc", "run: lightning_logs"):
        assert done.stdout.count(said) == 1, said
    run = tmp_path / "lightning_logs/two/version_0"
    assert {path.name for path in (tmp_path / "lightning_logs").rglob("version_*")} == {"version_0"}
    assert [path.name for path in run.glob("config*.yaml")] == ["config.yaml"]
    assert list(tmp_path.iterdir()) == [tmp_path / "lightning_logs"]

    assert lit(*fit, "--data.batch_size", 64, "--name", "one").status == 0
    assert_trains_alike(run, tmp_path / "runs/one/version_0")

    two = {verb: metrics(run, verb) for verb in ("fit", "test")}
    right = two["test"]["test/accuracy"] * 101
    assert right == pytest.approx(round(right), abs=1e-4)
    for verb in ("validate", "test"):
        assert lit(verb, "--ckpt_path", run, *ONE).status == 0
    validated = metrics(run, "validate")
    whole = {name: two["fit"][name] for name in validated if name in two["fit"]}
    assert len(whole) == 6  # loss, accuracy, F1, precision, recall, AUROC
    assert_alike(whole, {name: validated[name] for name in whole}, 1e-6)
    assert_alike(two["test"], metrics(run, "test"), 1e-6)


@pytest.mark.slow
def test_predictions_of_torchrun_are_those_of_one_process(fit, lit, start):
    run = fit("--data.batch_size", 50, "--data.test_size", 101)
    assert lit("predict", "--ckpt_path", run).status == 0
    one = pl.read_csv(run / "predictions.csv")
    (run / "predictions.csv").unlink()
    done = start("predict", "--ckpt_path", run, processes=2, torchrun=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("101 predictions of the test split in") == 1
    two = pl.read_csv(run / "predictions.csv")
    assert two["row"].equals(one["row"])
    assert two["class"].equals(one["class"])
    probabilities = pl.col("^probability_.*$")
    difference = two.select(probabilities).to_numpy() - one.select(probabilities).to_numpy()
    assert abs(difference).max() < 1e-6
    file = run.parent / "two.parquet"
    done = start("predict", "--ckpt_path", run, "--output", file, processes=2, torchrun=True)
    assert done.returncode == 0, done.stderr
    assert pl.read_parquet(file).drop("class_name").equals(two.drop("class_name"))
    assert not list(run.rglob("*.part"))


def test_a_later_process_takes_the_checkpoint_of_the_first(fit, lit, monkeypatch):
    older, newer = fit(), fit()
    assert lit("test", "--ckpt_path", "best").status == 0
    assert (newer / "test_metrics.json").exists()
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LIT_COURSE_CKPT_PATH", str(older / "checkpoints/best.ckpt"))
    assert lit("test", "--ckpt_path", "best").status == 0
    assert (older / "test_metrics.json").exists()


def test_strategies_of_notebooks_are_refused(lit, tmp_path):
    done = lit("fit", *MODEL, *DIGITS, "--trainer.strategy", "ddp_spawn", "--trainer.devices", 2)
    assert (done.status, done.out) == (2, "")
    assert "ddp_spawn is for notebooks: give --trainer.strategy ddp" in done.err
    assert not list(tmp_path.rglob("version_*"))


def test_only_the_first_process_warns(monkeypatch, capsys):
    for rank in (0, 1):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        with quiet():
            warnings.simplefilter("always")
            warnings.warn("both see it", stacklevel=1)
    assert capsys.readouterr().err == "warning: both see it\n"


@pytest.mark.slow
def test_three_processes_of_torchrun_train_and_test_as_one(start, lit, tmp_path):
    fit = ("fit", *MODEL, *DIGITS, "--trainer.max_epochs", 2, "--test_best", "true")
    done = start(*fit, "--data.batch_size", 21, "--name", "three", processes=3, torchrun=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("run: lightning_logs") == 1
    assert lit(*fit, "--data.batch_size", 63, "--name", "one").status == 0
    run = tmp_path / "lightning_logs/three/version_0"
    assert_trains_alike(run, tmp_path / "runs/one/version_0")
    three = metrics(run, "test")
    assert lit("test", "--ckpt_path", run, *ONE).status == 0
    assert_alike(three, metrics(run, "test"), 1e-6)


@pytest.mark.slow
def test_three_processes_find_what_one_does(tmp_path):
    def results(processes: int) -> list[dict]:
        folder = tmp_path / str(processes)
        folder.mkdir()
        launcher = (*TORCHRUN, f"--nproc_per_node={processes}") if processes > 1 else ()
        job = (str(Path(__file__).with_name("distributed_job.py")), str(folder))
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, *launcher, *job]
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=300)
        return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(processes)]

    [one], three = results(1), results(3)
    assert len({json.dumps(result) for result in three}) == 1  # to the last bit
    for case, expected in one.items():
        assert three[0][case].keys() == expected.keys(), case
        for name, value in expected.items():
            found, wanted = torch.tensor(three[0][case][name]), torch.tensor(value)
            assert torch.allclose(found, wanted, rtol=1e-5, atol=1e-5, equal_nan=True), (case, name)


@pytest.mark.slow
def test_the_commands_of_the_page(tmp_path):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    page = (ROOT / "docs/distributed.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```bash\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    commands = "".join(blocks).splitlines()
    assert len(commands) == 4
    programs = {"lit-course": "lit_course", "torchrun": "torch.distributed.run"}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    for command in commands:
        program, *args = shlex.split(command)
        line = [sys.executable, "-m", programs[program], *args]
        done = subprocess.run(
            line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    runs = tmp_path / "lightning_logs/mlp_digits"
    assert {run.name for run in runs.iterdir()} == {"version_0", "version_1"}
    assert (runs / "version_0/predictions.csv").exists()


def children(process: int) -> list[int]:
    return [
        int(pid) for pid in Path(f"/proc/{process}/task/{process}/children").read_text().split()
    ]


@pytest.mark.slow
@pytest.mark.parametrize("stops", [1, 20])
def test_sigterm_ends_both_processes_saved(command, tmp_path, stops):
    options = (*MODEL, *DIGITS, "--trainer.max_epochs", 10_000)
    for number in range(stops):
        fit = command("fit", *options, "--name", f"run{number}", processes=2)
        last = tmp_path / f"lightning_logs/run{number}/version_0/checkpoints/last.ckpt"
        main = subprocess.Popen(**{**fit, "stdout": subprocess.DEVNULL})
        try:
            while not last.exists():
                assert main.poll() is None, main.stderr.read()
                time.sleep(0.1)
            time.sleep(0.05 * number)
            processes = [main.pid, *children(main.pid)]
            assert len(processes) == 2
            sent = time.time()
            for process in processes if number % 2 else processes[:1]:
                os.kill(process, signal.SIGTERM)
            assert main.wait(60) == 143, main.stderr.read()
            assert last.stat().st_mtime > sent
            assert torch.load(last, weights_only=True)["global_step"] > 0
            assert not Path(f"/proc/{processes[1]}").exists()
        finally:
            main.kill()
            main.wait()
            main.stderr.close()


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.5, 2.0, 3.5])
def test_sigterm_before_training_begins_leaves_nothing_behind(command, seconds):
    fit = command("fit", *MODEL, *DIGITS, "--trainer.max_epochs", 10_000, processes=2)
    main = subprocess.Popen(**{**fit, "stdout": subprocess.DEVNULL})
    try:
        while not (started := children(main.pid)):
            time.sleep(0.05)
        time.sleep(seconds)
        main.send_signal(signal.SIGTERM)
        assert main.wait(60) == 143, main.stderr.read()
        assert not any(Path(f"/proc/{process}").exists() for process in started)
    finally:
        main.kill()
        main.wait()
        main.stderr.close()


@pytest.mark.slow
def test_two_processes_go_on_to_the_last_bit(command, start, tmp_path):
    options = (*MODEL, "--model.dropout", 0.2, *DIGITS, "--trainer.max_epochs", 40)
    assert start("fit", *options, "--name", "whole", processes=2).returncode == 0
    fit = command("fit", *options, "--name", "stopped", processes=2)
    checkpoints = tmp_path / "lightning_logs/stopped/version_0/checkpoints"
    main = subprocess.Popen(**{**fit, "stdout": subprocess.DEVNULL})
    while not (checkpoints / "last.ckpt").exists():
        assert main.poll() is None, main.stderr.read()
        time.sleep(0.1)
    main.send_signal(signal.SIGTERM)
    assert main.wait(60) == 143, main.stderr.read()
    main.stderr.close()
    stopped = torch.load(checkpoints / "last.ckpt", weights_only=True)["global_step"]
    assert start("fit", "--ckpt_path", checkpoints.parent, processes=2).returncode == 0
    run, whole = checkpoints.parent, tmp_path / "lightning_logs/whole/version_0"
    final = torch.load(checkpoints / "last.ckpt", weights_only=True)["global_step"]
    assert 0 < stopped < final
    for name, value in weights(whole).items():
        assert torch.equal(weights(run)[name], value), name
    assert metrics(run, "fit") == metrics(whole, "fit")


BAD_LABELS = """
import os, torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, TensorDataset


class BadLabels(LightningDataModule):
    def train_dataloader(self):
        x, y = torch.randn(64, 4), torch.arange(64) % 3
        if os.environ.get("LOCAL_RANK", "0") in os.environ["BAD"]:
            y[-20:] = 7
        return DataLoader(TensorDataset(x, y), 8)
"""


@pytest.mark.slow
@pytest.mark.parametrize("bad", ["0", "1", "01"])
def test_an_error_in_one_process_ends_all_and_is_told_once(start, tmp_path, monkeypatch, bad):
    (tmp_path / "bad.py").write_text(BAD_LABELS)
    monkeypatch.setenv("BAD", bad)
    sizes = ("--model.in_features", 4, "--model.num_classes", 3, "--trainer.max_epochs", 50)
    done = start("fit", *MODEL, *sizes, "--data", "bad.BadLabels", processes=2)
    assert done.returncode == 1
    assert done.stderr.count("labels must be in 0..2, found 7") == 1
    assert ("another process of this run has ended" in done.stderr) == (bad == "1")
    assert "gloo" not in done.stderr


@pytest.mark.slow
def test_two_processes_share_one_decoding_and_name_each_row(start, lit, flowers, tmp_path):
    images = ("--data", "ImageFolderDataModule", "--data.root", flowers, "--data.size", 8)
    fit = ("fit", *MODEL, *images, "--data.test_size", 7, "--trainer.max_epochs", 2)
    done = start(*fit, "--data.batch_size", 8, "--name", "two", processes=2)
    assert done.returncode == 0, done.stderr
    for said in ("images of 3 classes", "are kept for the next run in"):
        assert done.stderr.count(said) == 1, done.stderr
    run = tmp_path / "lightning_logs/two/version_0"
    assert lit(*fit, "--data.batch_size", 16, "--name", "one").status == 0
    assert_trains_alike(run, tmp_path / "runs/one/version_0")
    done = start("predict", "--ckpt_path", run, processes=2)
    assert done.returncode == 0, done.stderr
    two = pl.read_csv(run / "predictions.csv")
    assert lit("predict", "--ckpt_path", run, *ONE).status == 0
    one = pl.read_csv(run / "predictions.csv")
    assert two.select("name", "row", "class").equals(one.select("name", "row", "class"))
    assert len(one) == 7
