"""The schema of configurations: takes what the program takes, refuses what it refuses."""

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

import lit_course
from lit_course.cli import main
from lit_course.closed_table import DATAMODULES, MODULES
from lit_course.commands.schema import NAMES, run_schema

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = run_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def digits(**changed):
    """A configuration, with some of its values changed by their path."""
    values = yaml.safe_load((ROOT / "configs" / "mlp_digits.yaml").read_text())
    for path, value in changed.items():
        *groups, name = path.split("__")
        at = values
        for group in groups:
            at = at.setdefault(group, {})
        at[name] = value
    return values


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_is_valid(validator, config):
    values = yaml.safe_load(config.read_text(encoding="utf-8"))
    assert [error.message for error in validator.iter_errors(values)] == []


def test_the_saved_configuration_of_a_run_is_valid(validator, fit):
    values = yaml.safe_load((fit(epochs=1) / "config.yaml").read_text())
    assert len(values["trainer"]) > 20
    assert [error.message for error in validator.iter_errors(values)] == []


GOOD = {
    "a class by its name": {"model": "Ranker", "data": "lit_course.DigitsDataModule"},
    "somebody else's class": {"model": {"class_path": "theirs.Net", "init_args": {"any": 1}}},
    "an option with a dot in its path": {"model__init_args__optimizer_options": {"nesterov": True}},
    "a callback": {"trainer__callbacks": [{"class_path": "lightning.pytorch.callbacks.Timer"}]},
    "nothing but a rate": {"model__init_args__lr": 1},
}
BAD = {
    "a misspelt key": {"trainr": {"max_epochs": 1}},
    "a misspelt Trainer argument": {"trainer__max_epoch": 3},
    "a misspelt argument": {"model__init_args__hidden_feature": [8]},
    "a misspelt argument of the data": {"data__init_args": {"batchsize": 3}},
    "another class's argument": {"model__init_args__top_k": [1]},
    "a misspelt class": {"model__class_path": "lit_course.modules.MLPClasifier"},
    "a misspelt name alone": {"model": "MLPClasifier"},
    "a misspelt key beside the path": {"model__initargs": {}},
    "text for a number": {"model__init_args__lr": "fast"},
    "an optimizer that is not known": {"model__init_args__optimizer": "Adamm"},
    "an interval that is none": {"model__init_args__lr_interval": "hour"},
    "a path left out": {"model": {"init_args": {}}},
}


@pytest.mark.parametrize("changed", GOOD.values(), ids=GOOD)
def test_what_is_right_is_valid(validator, changed):
    assert [error.message for error in validator.iter_errors(digits(**changed))] == []


@pytest.mark.parametrize("changed", BAD.values(), ids=BAD)
def test_what_is_wrong_is_not(validator, changed, lit, tmp_path):
    assert not validator.is_valid(digits(**changed))
    config = tmp_path / "wrong.yaml"
    config.write_text(yaml.safe_dump(digits(**changed)))
    assert lit("fit", "--config", config, "--trainer.fast_dev_run", 1).status != 0


def test_it_has_every_argument_its_default_and_its_text(validator):
    definitions = validator.schema["$defs"]
    assert definitions.keys() == {"object", *MODULES, *DATAMODULES}
    lr = definitions["MLPClassifier"]["properties"]["lr"]
    assert lr == {"description": "Learning rate.", "type": "number", "default": 0.001}
    for name in (*MODULES, *DATAMODULES):
        assert definitions[name]["description"]
        for argument, of in definitions[name]["properties"].items():
            assert of.get("description"), f"{name}.{argument}"


CHOSEN = [(key, name) for key, names in NAMES.items() for name in names]


@pytest.mark.parametrize(("key", "name"), CHOSEN)
def test_the_names_are_those_that_a_class_takes(key, name):
    """An argument of this name means the same table in every class that has it."""
    owner, _, argument = key.rpartition(".")
    for cls in [MODULES[owner]] if owner else [lit_course.MLPClassifier, lit_course.MLPRegressor]:
        said = ""
        try:
            cls(**{argument: name})
        except ValueError as error:  # some need options beside
            said = str(error)
        assert not said or "missing" in said or "lr_interval" in said


def test_every_argument_that_is_a_name_has_its_names(validator):
    for cls in MODULES:
        properties = validator.schema["$defs"][cls]["properties"]
        for argument in ("loss", "optimizer", "lr_scheduler", "activation", "initialization"):
            if argument in properties:
                text = json.dumps(properties[argument])
                assert '"enum"' in text, f"{cls}.{argument}"


def test_the_command(capsys):
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == run_schema()
    assert main(["schema", "--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: lit-course schema")
    assert main(["schema", "fit"]) == 2
    assert "takes no arguments, found 'fit'" in capsys.readouterr().err
