"""Hyperparameters are plain values, or refused."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lit_course.modules import LinearRegressor, MLPClassifier, MLPRegressor, Ranker
from lit_course.modules.hyperparameters import plain


@pytest.mark.parametrize("value", ["a", 1, 1.5, True, None, [1, "a"], {"a": {"b": [1]}}])
def test_plain_values_stay_as_they_are(value):
    made = plain("x", value)
    assert made == value
    assert type(made) is type(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, 2), [1, 2]),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.array([1.0, 2.0]), [1.0, 2.0]),
        (Path("a/b"), str(Path("a/b"))),
        (OrderedDict(a=(np.int64(1), Path("c"))), {"a": [1, "c"]}),
        ({1: "one"}, {"1": "one"}),
    ],
)
def test_what_can_be_made_plain_is(value, expected):
    made = plain("x", value)
    assert made == expected
    assert type(made) is type(expected)


@pytest.mark.parametrize(
    "value", [nn.ReLU, nn.ReLU(), torch.zeros(2), lambda: 0, {1, 2}, 1j, [print], {"a": object()}]
)
def test_anything_else_is_refused_with_what_to_do(value):
    with pytest.raises(TypeError, match="subclass and override configure_network, configure_loss"):
        plain("x", value)


def test_the_place_of_a_bad_value_is_named():
    with pytest.raises(TypeError, match=r"options\.betas must be a plain value"):
        plain("options", {"betas": [torch.ones(1)]})


def test_the_saved_hyperparameters_of_a_module_are_plain():
    model = MLPClassifier(
        np.int64(4),
        num_classes=np.int64(3),
        hidden_features=(np.int64(8), 4),
        class_weights=np.array([1.0, 2.0, 0.5]),
        optimizer_options={"betas": (0.8, np.float64(0.9))},
        init_from=Path("somewhere.ckpt"),
    )
    saved = dict(model.hparams)
    assert saved["in_features"] == 4
    assert saved["hidden_features"] == [8, 4]
    assert saved["class_weights"] == [1.0, 2.0, 0.5]
    assert saved["optimizer_options"] == {"betas": [0.8, 0.9]}
    assert saved["init_from"] == "somewhere.ckpt"
    assert plain("all", saved) == saved
    plain_types = {type(value) for value in saved.values()}
    assert plain_types <= {str, int, float, bool, type(None), list, dict}
    # What was saved makes the same model again.
    assert dict(MLPClassifier(**saved).hparams) == saved


@pytest.mark.filterwarnings("ignore:Attribute 'loss' is an instance of `nn.Module`")
@pytest.mark.parametrize("module", [MLPClassifier, MLPRegressor, LinearRegressor, Ranker])
@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("loss", nn.MSELoss()),
        ("loss", nn.MSELoss),
        ("optimizer", torch.optim.SGD),
        ("lr_scheduler", torch.optim.lr_scheduler.StepLR),
        ("schema", {"feature_names": torch.zeros(3)}),
        ("optimizer_options", {"foreach": lambda: True}),
    ],
)
def test_objects_instead_of_names_are_refused_with_the_way_to_do_it(module, argument, value):
    with pytest.raises(TypeError, match="subclass") as caught:
        module(*((4,) if module is Ranker else (4, 3)), **{argument: value})
    assert len(str(caught.value).splitlines()) <= 5


@pytest.mark.parametrize("value", [nn.ReLU, torch.nn.functional.relu])
def test_an_activation_that_is_no_name_is_refused(value):
    with pytest.raises(TypeError, match=r"activation must be given by name, found \w+: for one"):
        MLPClassifier(4, 3, activation=value)
