"""Every file in ``configs/`` is explained in its header, states no default, and runs."""

import inspect
import json
import math
import re
from pathlib import Path

import pytest
import yaml
from lightning.pytorch import Trainer

from lit_course import datamodules, modules

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted(path.relative_to(ROOT) for path in (ROOT / "configs").rglob("*.y*ml"))
SHORT = (
    "--trainer.max_epochs=1",
    "--trainer.limit_train_batches=5",
    "--trainer.limit_val_batches=2",
)

every_config = pytest.mark.parametrize("config", CONFIGS, ids=str)


def read(config: Path) -> dict:
    return yaml.safe_load((ROOT / config).read_text(encoding="utf-8"))


def test_the_promised_configurations_are_there():
    promised = {
        "mlp_digits",
        "mlp_fashion_mnist",
        "linear_diabetes",
        "linear_diabetes_exact",
        "linear_boston",
        "mlp_boston",
        "linear_roller_coaster",
        "mlp_ranker_synthetic",
        "lessons/lesson2_optimizers",
        "lessons/lesson3_outliers",
        "lessons/lesson4_boston",
        "lessons/lesson5_output_relu",
        "lessons/lesson5_no_output_relu",
        "lessons/lesson6_plateau",
        "lessons/lesson7_modes",
        "lessons/lesson9_linear_ranker",
        "lessons/lesson10_overfitting",
    }
    assert {f"configs/{name}.yaml" for name in promised} <= {str(path) for path in CONFIGS}
    assert all(path.suffix == ".yaml" for path in CONFIGS)
    assert len({path.stem for path in CONFIGS}) == len(CONFIGS), "a run is named after its config"


@every_config
def test_the_header_says_what_how_and_what_came_out(config):
    lines = (ROOT / config).read_text(encoding="utf-8").splitlines()
    header = lines[: lines.index("model:")]
    assert all(line.startswith("# ") for line in header)
    assert not header[0].startswith("#  "), "first what it does"
    commands = [line for line in header if re.match(r"#   lit-course ", line)]
    assert len(commands) == 1
    assert re.match(rf"#   lit-course fit --config {re.escape(str(config))}( --|$)", commands[0])
    assert "# Measured: " in "\n".join(header)


@every_config
def test_no_default_is_restated(config):
    values = read(config)
    assert set(values) == {"model", "data", "trainer"}
    restated = []
    for part, room in (("model", modules), ("data", datamodules)):
        package, _, name = values[part]["class_path"].rpartition(".")
        assert package == room.__name__
        assert name in room.__all__
        restated += _restated(getattr(room, name), values[part].get("init_args", {}))
    assert [*restated, *_restated(Trainer, values["trainer"])] == []


def _restated(cls: type, given: dict) -> list[str]:
    parameters = inspect.signature(cls).parameters
    return [name for name, value in given.items() if parameters[name].default == value]


def test_a_restated_default_is_found():
    given = {"dropout": 0.0, "lr": 0.5}
    assert _restated(modules.MLPClassifier, given) == ["dropout"]


@pytest.fixture
def where(request):
    """The flag that says where a configuration finds its data; skips where that is not."""

    def flags(config: Path) -> list[str]:
        name = read(config)["data"]["class_path"].rpartition(".")[2]
        if name == "FashionMNISTDataModule":
            return [f"--data.root={request.getfixturevalue('shared_data')}"]
        if name == "CSVDataModule":
            return [f"--data.path={request.getfixturevalue('shared_data') / 'boston.csv'}"]
        if name == "SVMLightDataModule":
            ranked = request.getfixturevalue("shared_data") / "lambdarank"
            return [f"--data.path={ranked}/rank.train", f"--data.test_path={ranked}/rank.test"]
        return []

    return flags


@every_config
def test_it_runs_and_the_saved_configuration_runs_alike(config, where, lit, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    done = lit("fit", "--config", config, *where(config), *SHORT)
    assert done.status == 0, done.err
    run = tmp_path / "runs" / config.stem / "version_0"
    values = _metrics(run)
    assert {"train/loss"} <= values.keys()
    assert all(value is not None and math.isfinite(value) for value in values.values()), values
    for file in ("config.yaml", "hparams.yaml", "checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        assert (run / file).is_file(), file
    assert len(list(run.glob("events.out.tfevents.*"))) == 1

    again = lit("fit", "--config", run / "config.yaml", "--runs", tmp_path / "runs")
    assert again.status == 0, again.err
    assert _metrics(tmp_path / "runs" / config.stem / "version_1") == values


def _metrics(run: Path) -> dict[str, float]:
    return json.loads((run / "fit_metrics.json").read_text(encoding="utf-8"))
