"""The networks: layers in order, polynomial features as scikit-learn's, original units."""

import numpy as np
import pytest
import torch
from sklearn.preprocessing import PolynomialFeatures as SklearnPolynomialFeatures
from torch import nn

from lit_course.networks import (
    ACTIVATIONS,
    INITIALIZATIONS,
    MLP,
    LinearModel,
    PolynomialFeatures,
)
from lit_course.scaling import ColumnStatistics


def test_layers_come_in_the_documented_order_and_names():
    network = MLP(4, [8, 6], 3, normalization="batch", dropout=0.5, output_activation="relu")
    assert [(name, type(layer)) for name, layer in network.named_children()][1:] == [
        ("linear1", nn.Linear),
        ("normalization1", nn.BatchNorm1d),
        ("activation1", nn.ReLU),
        ("dropout1", nn.Dropout),
        ("linear2", nn.Linear),
        ("normalization2", nn.BatchNorm1d),
        ("activation2", nn.ReLU),
        ("dropout2", nn.Dropout),
        ("output", nn.Linear),
        ("output_activation", nn.ReLU),
    ]
    assert network(torch.rand(5, 1, 2, 2)).shape == (5, 3)


def test_no_hidden_layer_is_a_linear_model():
    network = MLP(4, [], 3)
    x = torch.randn(5, 4)
    assert list(network.state_dict()) == [
        *("scaling.mean", "scaling.std", "scaling.count"),
        *("output.weight", "output.bias"),
    ]
    assert torch.equal(network(x), x @ network.output.weight.T + network.output.bias)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_is_the_function_it_is_called(name):
    x = torch.randn(5, 4)
    network = MLP(4, [6], 3, activation=name)
    function = {"identity": lambda z: z, "tanh": torch.tanh, "sigmoid": torch.sigmoid}.get(
        name, getattr(nn.functional, name, None)
    )
    expected = network.output(function(network.linear1(x)))
    torch.testing.assert_close(network(x), expected)


@pytest.mark.parametrize("name", INITIALIZATIONS)
def test_every_initialization_fills_weights_and_zeroes_biases(name):
    torch.manual_seed(0)
    default = MLP(64, [64], 64)
    torch.manual_seed(0)
    network = MLP(64, [64], 64, initialization=name)
    for layer, untouched in [
        (network.linear1, default.linear1),
        (network.output, default.output),
    ]:
        assert not layer.bias.any()
        assert not torch.equal(layer.weight, untouched.weight)
    expected = {
        "kaiming_normal": (2 / 64) ** 0.5,
        "kaiming_uniform": (2 / 64) ** 0.5,
        "orthogonal": 1 / 8,
        "xavier_normal": 1 / 8,
        "xavier_uniform": 1 / 8,
    }[name]
    assert network.linear1.weight.std().item() == pytest.approx(expected, rel=0.05)


def test_dropout_is_off_in_evaluation():
    network = MLP(4, [64], 3, dropout=0.5)
    x = torch.randn(5, 4)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"activation": "relo"}, "unknown activation 'relo'; did you mean 'relu'?"),
        ({"normalization": "bath"}, "unknown normalization 'bath'; did you mean 'batch'?"),
        ({"initialization": "xavier"}, "unknown initialization 'xavier'; did you mean 'xavier_"),
        ({"output_activation": "rellu"}, "unknown output activation 'rellu'; did you mean 'relu"),
    ],
)
@pytest.mark.parametrize("hidden", [[], [3]])
def test_unknown_names_are_refused(arguments, message, hidden):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        MLP(4, hidden, 3, **arguments)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_polynomial_features_equal_scikit_learns_in_value_order_and_name(degree):
    x = torch.randn(7, 3, dtype=torch.float64).float()
    reference = SklearnPolynomialFeatures(degree, include_bias=False)
    expected = reference.fit_transform(x.double().numpy())
    ours = PolynomialFeatures(3, degree)
    np.testing.assert_allclose(ours(x), expected, rtol=1e-5)
    assert ours.names(["a", "b", "c"]) == list(reference.get_feature_names_out(["a", "b", "c"]))


@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("features", [2, 4])
def test_another_number_of_features_is_refused_behind_polynomial_features_too(degree, features):
    with pytest.raises(ValueError, match=f"takes 3 features a sample, found {features}"):
        LinearModel(3, degree=degree)(torch.zeros(5, features))


@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("standardize", [True, False])
def test_original_weights_give_the_networks_answers_on_raw_features(degree, bias, standardize):
    x = torch.randn(50, 2) * 3 + 5
    model = LinearModel(2, 2, degree=degree, bias=bias, standardize=standardize)
    expanded = PolynomialFeatures(2, degree)(x)
    if standardize:
        statistics = ColumnStatistics()
        statistics.update(expanded)
        model.scaling.fit(statistics)
    weight, intercept = model.original_weights()
    assert weight.dtype == intercept.dtype == torch.float64
    torch.testing.assert_close(
        expanded.double() @ weight.T + intercept, model(x).detach().double(), rtol=1e-4, atol=1e-4
    )
    assert len(model.feature_names(["a", "b"])) == weight.shape[1]
