"""A run's folder that came from somebody else: nothing is imported, written or deleted by it."""

import shutil
import sys
from itertools import pairwise
from pathlib import Path
from string import ascii_lowercase
from types import ModuleType

import pytest
import torch
import yaml

from lit_course import MLPClassifier

DIGITS = ("--data", "DigitsDataModule")
LAMBDA = "lightning.pytorch.callbacks.LambdaCallback"


def opens(file: Path) -> dict[str, object]:
    """A class whose construction leaves a file behind."""
    return {"class_path": "logging.FileHandler", "init_args": {"filename": str(file)}}


def calls(function: str) -> dict[str, object]:
    """A callback that the parser would import and the Trainer call; it would end the tests."""
    return {"class_path": LAMBDA, "init_args": {"setup": function}}


def _model(config, **values):
    config["model"]["init_args"].update(values)


def _callback(config, **init_args):
    cls = "lightning.pytorch.callbacks.ModelCheckpoint"
    config["trainer"]["callbacks"] = [{"class_path": cls, "init_args": init_args}]


ARRAYS = "lit_course.ArrayDataModule"
# What is done to config.yaml, given the canary; a text replaces it.
CONFIGS = {
    "a data module that is code": lambda c, f: c.update(data=opens(f)),
    "a model that is code": lambda c, f: c.update(model=opens(f)),
    "a model by a file": lambda c, f: c.update(model="other.yaml"),
    "no model": lambda c, f: c.pop("model"),
    "no class": lambda c, f: c["model"].pop("class_path"),
    "a list for a class": lambda c, f: c["model"].update(class_path=["os", "system"]),
    "arguments by a text": lambda c, f: c["model"].update(init_args=str(opens(f))),
    "more arguments": lambda c, f: c["model"].update(dict_kwargs=opens(f)),
    "an object for any value": lambda c, f: c.update(
        data={"class_path": ARRAYS, "init_args": {"X": opens(f)}}
    ),
    "an object in a text": lambda c, f: c.update(
        data={"class_path": ARRAYS, "init_args": {"X": str(opens(f))}}
    ),
    "an object in an escaped text": lambda c, f: c.update(
        data={
            "class_path": ARRAYS,
            "init_args": {"X": str(opens(f)).replace("'", '"').replace("_", r"\u005f")},
        }
    ),
    "an object in a list in a text": lambda c, f: _model(
        c, optimizer_options={"betas": f"[1, {opens(f)}]"}
    ),
    "an object among options": lambda c, f: _model(c, optimizer_options={"betas": opens(f)}),
    "an object in a list": lambda c, f: _model(c, loss_options={"a": [opens(f)]}),
    "an object in the schema": lambda c, f: _model(c, schema=opens(f)),
    "a dotted key": lambda c, f: c.update({"model.class_path": "logging.FileHandler"}),
    "a dotted argument": lambda c, f: c.update({"data.init_args.X": opens(f)}),
    "a dotted Trainer": lambda c, f: c.update({"trainer.callbacks": [calls("os.abort")]}),
    "callbacks with a plus": lambda c, f: c["trainer"].update({"callbacks+": [calls("os.abort")]}),
    "a callback that is code": lambda c, f: c["trainer"].update(callbacks=[calls("os.abort")]),
    "a callback by name": lambda c, f: c["trainer"].update(callbacks=[LAMBDA]),
    "one callback": lambda c, f: c["trainer"].update(callbacks=calls("os.abort")),
    "a logger that is code": lambda c, f: c["trainer"].update(logger=opens(f)),
    "loggers in a text": lambda c, f: c["trainer"].update(logger=str([opens(f)])),
    "an object in a callback": lambda c, f: _callback(c, filename=opens(f)),
    "a plugin that is code": lambda c, f: c["trainer"].update(plugins=[opens(f)]),
    "a strategy that is code": lambda c, f: c["trainer"].update(strategy=opens(f)),
    "a profiler by its path": lambda c, f: c["trainer"].update(profiler="os.system"),
    "a Trainer by a file": lambda c, f: c.update(trainer="trainer.yaml"),
    "a Trainer in a text": lambda c, f: c.update(trainer=str({"callbacks": [calls("os.abort")]})),
    "another config": lambda c, f: c.update(config="other.yaml"),
    "a name of an optimizer with dots": lambda c, f: _model(c, optimizer="os.system"),
    "a tag of Python": lambda c, f: f"model: !!python/object/apply:os.system ['touch {f}']\n",
    "a tag for a name": lambda c, f: "model: !!python/name:os.system\n",
    "an include": lambda c, f: "model: !include /etc/passwd\n",
    "billion laughs": lambda c, f: (
        "a: &a [x]\n"
        + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in pairwise(ascii_lowercase))
    ),
    "merged laughs": lambda c, f: (
        "a: &a {x: 1}\n"
        + "".join(
            f"{b}: &{b} {{<<: [{','.join([f'*{a}'] * 9)}]}}\n" for a, b in pairwise(ascii_lowercase)
        )
    ),
    "an alias of itself": lambda c, f: "model: &a {init_args: *a}\n",
    "100,000 nested lists": lambda c, f: "model: " + "[" * 100_000,
    "200,000 nested lists, closed": lambda c, f: "model: " + "[" * 10**5 + "]" * 10**5,
    "a text of nested lists": lambda c, f: _model(c, optimizer_options={"a": "[" * 100_000}),
    "a list that the parser takes hours for": lambda c, f: _model(c, freeze=["a"] * 50_000),
    "wide layers": lambda c, f: _model(c, hidden_features=[10**6, 10**6]),
    "five megabytes": lambda c, f: "# " + "x" * (5 << 20),
    "not UTF-8": lambda c, f: b"\xff\xfe",
    "empty": lambda c, f: "",
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    from lit_course.cli import main

    runs = tmp_path_factory.mktemp("trained")
    options = ("--model.hidden_features", "[4]", "--trainer.max_epochs", "1", "--name", "r")
    model = ("--model", "MLPClassifier", *options)
    assert main(["fit", *model, *DIGITS, "--runs", str(runs)]) == 0
    return runs / "r/version_0"


@pytest.fixture
def run(trained, tmp_path, monkeypatch) -> Path:
    """A copy of an honest run; files beside it would be found by a relative path."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(opens(tmp_path / "canary")))
    (tmp_path / "trainer.yaml").write_text(yaml.safe_dump({"callbacks": [calls("os.abort")]}))
    run = tmp_path / "r/version_0"
    shutil.copytree(trained, run)
    return run


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_in_a_runs_folder(name, run, lit, tmp_path):
    config = run / "config.yaml"
    values = yaml.safe_load(config.read_text())
    made = CONFIGS[name](values, tmp_path / "canary")
    if not isinstance(made, str | bytes):
        made = yaml.safe_dump(values)
    config.write_bytes(made if isinstance(made, bytes) else made.encode())
    done = lit("test", "--ckpt_path", run)
    assert not (tmp_path / "canary").exists()
    assert done.status in (1, 2)
    assert done.err.startswith("error: ")
    assert len(done.err.splitlines()) <= 5
    assert not (run / "test_metrics.json").exists()


def test_texts_that_only_look_like_yaml_are_fine(run, lit):
    config = run / "config.yaml"
    values = yaml.safe_load(config.read_text())
    names = ["a: b", "[x]", "{", "*", "price (usd): net", "- x", "?", "'"] + ["ok"] * 56
    _model(values, schema={"feature_names": names}, freeze=["network.*.bias"])
    config.write_text(yaml.safe_dump(values))
    done = lit("test", "--ckpt_path", run)
    assert done.status == 0, done.err


def test_an_honest_configuration_may_hold_callbacks_and_loggers(lit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "c.yaml"
    config.write_text(
        "model: {class_path: MLPClassifier, init_args: {hidden_features: &a [4]}}\n"
        "data: {class_path: DigitsDataModule}\n"
        "trainer:\n"
        "  max_epochs: 1\n"
        "  callbacks:\n"
        "  - class_path: lightning.pytorch.callbacks.GradientAccumulationScheduler\n"
        "    init_args: {scheduling: {0: 2}}\n"
        "  logger: {class_path: lightning.pytorch.loggers.CSVLogger, init_args: {save_dir: logs}}\n"
    )
    assert lit("fit", "--config", config, "--runs", tmp_path / "runs").status == 0
    done = lit("test", "--ckpt_path", tmp_path / "runs/c/version_0")
    assert done.status == 0, done.err


@pytest.mark.parametrize("name", ["..", ".", "a/b", "/x", "../x", ""])
def test_a_name_is_one_folder(name, lit, tmp_path):
    options = ("--model.hidden_features", "[4]", "--trainer.max_epochs", "1")
    runs = ("--runs", tmp_path / "deep/runs")
    done = lit("fit", "--model", "MLPClassifier", *options, *DIGITS, "--name", name, *runs)
    assert done.status == 2
    assert not (tmp_path / "deep/version_0").exists()
    assert not (tmp_path / "x").exists()


LINKS = {
    "a partial file": "test_metrics.json.part",
    "a file that is not there": "hparams.yaml",
    "a configuration of a resumed run": "config_resume_1.yaml",
    "a partial checkpoint": "checkpoints/last.ckpt.part",
    "a partial figure": "figures/test_ndcg_by_query.part",
}


@pytest.mark.parametrize("name", LINKS)
def test_nothing_is_written_through_a_link(name, run, lit, tmp_path):
    target = tmp_path / "target"
    if "partial" in name:
        target.write_text("precious")
    (run / LINKS[name]).unlink(missing_ok=True)
    (run / LINKS[name]).parent.mkdir(exist_ok=True)
    (run / LINKS[name]).symlink_to(target)
    for verb in ("test", "fit"):
        done = lit(verb, "--ckpt_path", run, "--trainer.max_epochs", 2)
        assert done.status == 1
        assert f"{LINKS[name]} is a link" in done.err
    assert target.exists() == ("partial" in name)


def test_figures_are_not_drawn_elsewhere(run, lit, tmp_path):
    (run / "figures").rename(tmp_path / "drawn")
    (run / "figures").symlink_to(tmp_path)
    done = lit("test", "--ckpt_path", run)
    assert done.status == 1
    assert "figures is a link" in done.err


def test_files_that_are_links_are_read(run, lit, tmp_path):
    for name in ("config.yaml", "checkpoints/best.ckpt"):
        shutil.move(run / name, tmp_path / Path(name).name)
        (run / name).symlink_to(tmp_path / Path(name).name)
    assert lit("test", "--ckpt_path", run).status == 0


def test_the_environment_names_nothing(run, lit, tmp_path, monkeypatch):
    monkeypatch.setenv("LIT_COURSE_TEST__MODEL", str(opens(tmp_path / "canary")))
    monkeypatch.setenv("PL_TEST__TRAINER__CALLBACKS", str([calls("os.abort")]))
    assert lit("test", "--ckpt_path", run).status == 0
    assert not (tmp_path / "canary").exists()


def test_a_class_of_the_same_name_is_not_ours(trained, lit, tmp_path, monkeypatch):
    """``mine.MLPClassifier`` is judged by what it is, not by the last part of its path."""
    mine = ModuleType("mine")
    mine.MLPClassifier = type(
        "MLPClassifier", (MLPClassifier,), {"__module__": "mine", "configure_network": network}
    )
    monkeypatch.setitem(sys.modules, "mine", mine)
    file = trained / "checkpoints/best.ckpt"
    checkpoint = torch.load(file, weights_only=True)
    checkpoint["state_dict"] = mine.MLPClassifier(64, 10).state_dict()
    torch.save(checkpoint, tmp_path / "mine.ckpt")
    model = ("--model", "mine.MLPClassifier")
    done = lit("test", "--ckpt_path", tmp_path / "mine.ckpt", *model, *DIGITS)
    # In this process the short name is ours alone again.
    mine.MLPClassifier.__name__ = mine.MLPClassifier.__qualname__ = "Gone"
    assert done.status == 0, done.err


def network(self) -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
