"""A run's configuration holds whatever callbacks it was given, and runs again."""

import pytest
import yaml

DIGITS = """
model: {class_path: MLPClassifier, init_args: {hidden_features: [4]}}
data: DigitsDataModule
trainer:
  max_epochs: 1
  callbacks:
  - class_path: lightning.pytorch.callbacks.%s
    init_args: %s
"""
# With enums, times and devices among their arguments or defaults.
CALLBACKS = {
    "Timer": ("{duration: '00:01:00:00'}", "interval", "step"),
    "ModelCheckpoint": (
        "{train_time_interval: '0:05:00', filename: timed}",
        "train_time_interval",
        "0:05:00",
    ),
    "StochasticWeightAveraging": ("{swa_lrs: 0.1}", "device", "cpu"),
}


@pytest.mark.parametrize("callback", CALLBACKS)
def test_it_is_reusable_with_callbacks(lit, tmp_path, callback):
    given, argument, plain = CALLBACKS[callback]
    config = tmp_path / "first.yaml"
    config.write_text(DIGITS % (callback, given))
    for run in ("first", "again"):
        done = lit("fit", "--config", config, "--name", run)
        assert (done.status, done.err) == (0, "")
        config = tmp_path / f"runs/{run}/version_0/config.yaml"
        (saved,) = yaml.safe_load(config.read_text())["trainer"]["callbacks"]
        assert saved["init_args"][argument] == plain


def test_what_yaml_cannot_hold_is_refused_before_training(lit, tmp_path, monkeypatch):
    def dump(*args, **kwargs):
        raise yaml.representer.RepresenterError("cannot represent an object", object())

    monkeypatch.setattr("lightning.pytorch.cli.LightningArgumentParser.save", dump)
    config = tmp_path / "config.yaml"
    config.write_text(DIGITS % ("Timer", "{}"))
    done = lit("fit", "--config", config)
    assert done.status == 1
    assert "configuration cannot be written" in done.err
    assert not list((tmp_path / "runs").rglob("*"))
