"""Runs read back from their folders."""

import json
import re

import numpy as np
import pytest
from torch.utils.tensorboard import SummaryWriter

from lit_course.recorded import find_run, read_curves, read_run


def write(folder, points, tag="val/loss", purge_step=None):
    writer = SummaryWriter(folder, purge_step=purge_step)
    for step, value in points:
        writer.add_scalar(tag, value, step)
    writer.close()


def test_every_point_is_there(tmp_path):
    write(tmp_path, [(step, step / 2) for step in range(25_000)])
    steps, values = read_curves(tmp_path)["val/loss"]
    assert steps.tolist() == list(range(25_000))
    assert values.tolist() == [step / 2 for step in range(25_000)]


def test_what_a_resumed_run_wrote_anew_counts(tmp_path, monkeypatch):
    clock = iter(range(1_700_000_000, 1_800_000_000))
    monkeypatch.setattr("time.time", lambda: next(clock))  # file names have seconds
    write(tmp_path, [(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0)])
    write(tmp_path, [(2, 30.0)], purge_step=2)
    steps, values = read_curves(tmp_path)["val/loss"]
    assert (steps.tolist(), values.tolist()) == ([0, 1, 2], [1, 2, 30])
    write(tmp_path, [(3, 40.0)], purge_step=2)
    assert read_curves(tmp_path)["val/loss"][0].tolist() == [0, 1, 3]
    write(tmp_path, [(0, 7.0)], purge_step=0)
    assert read_curves(tmp_path)["val/loss"][0].tolist() == [0]


@pytest.mark.parametrize("cut", [1, 10, 30])
def test_half_a_record_at_the_end_is_left_out(tmp_path, cut):
    write(tmp_path, [(0, 1.0), (1, 2.0)])
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-cut])
    assert read_curves(tmp_path)["val/loss"][0].tolist() == [0]


def test_a_run_is_what_its_files_say(fit):
    folder = fit("--trainer.log_every_n_steps", 1, epochs=3)
    run = read_run(folder)
    assert run.metrics == {"fit": json.loads((folder / "fit_metrics.json").read_text())}
    assert run.config["trainer"]["max_epochs"] == 3
    steps, values = run.curves["val/loss"]
    assert min(values) == pytest.approx(run.metrics["fit"]["val/loss"])
    assert run.epochs(steps).tolist() == [1, 2, 3]
    per_step = run.curves["train/loss_step"][0]
    assert len(per_step) == 3 * (steps[0] + 1)
    assert run.epochs(per_step)[:2] == pytest.approx([1 / 20, 2 / 20])


def test_epochs_of_a_run_that_goes_on_from_another(tmp_path):
    write(tmp_path, [(29, 2.0), (39, 3.0), (44, 4.0)], "epoch")
    assert read_run(tmp_path).epochs(np.array([19, 29, 44])).tolist() == [2, 3, 4.5]


def test_undefined_values_are_nan(tmp_path):
    (tmp_path / "test_metrics.json").write_text('{"test/auroc": null, "test/loss": 1}')
    assert np.isnan(read_run(tmp_path).metrics["test"]["test/auroc"])


def test_a_run_is_found_by_folder_and_by_name(tmp_path):
    for version in (0, 2, 10):
        (tmp_path / f"digits/version_{version}").mkdir(parents=True)
    newest = tmp_path / "digits/version_10"
    assert find_run("digits", tmp_path) == newest
    assert find_run(tmp_path / "digits", tmp_path / "no") == newest
    assert find_run("digits/version_2", tmp_path) == tmp_path / "digits/version_2"
    with pytest.raises(FileNotFoundError, match=r"no run 'tables'; the newest in .*: digits/vers"):
        find_run("tables", tmp_path)
    with pytest.raises(FileNotFoundError, match="no run 'digits'; there is none in"):
        find_run("digits", tmp_path / "elsewhere")


def test_a_folder_without_a_run_says_so(tmp_path):
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path} is empty")):
        read_run(tmp_path)
    write(tmp_path, [])
    with pytest.raises(ValueError, match="has recorded no metrics"):
        read_run(tmp_path)
    (tmp_path / "fit_metrics.json").write_text("{")
    with pytest.raises(ValueError, match=r"fit_metrics.json is not what a run has written"):
        read_run(tmp_path)
