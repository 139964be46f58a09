"""Target scaling: there and back, against scikit-learn, in every precision."""

import numpy as np
import pytest
import torch
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import StandardScaler

from lit_course.target_scaling import TargetScaling


@pytest.fixture
def targets():
    """Prices, and a second target on another scale."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(200, 2, generator=generator)
    return (values * torch.tensor([0.5, 1.0]) + torch.tensor([12.0, 1.0])).exp()


@pytest.mark.parametrize("transform", ["standard", "log"])
def test_scaled_targets_are_those_of_standard_scaler(transform, targets):
    scaling = TargetScaling(2, transform)
    assert not scaling.is_fitted
    scaling.fit(targets)
    assert scaling.is_fitted
    values = targets.double().numpy()
    expected = StandardScaler().fit_transform(np.log1p(values) if transform == "log" else values)
    np.testing.assert_allclose(scaling(targets), expected, atol=1e-5)
    torch.testing.assert_close(scaling.undo(scaling(targets.double())), targets.double())


@pytest.mark.parametrize("transform", ["standard", "log"])
def test_a_line_of_scaled_targets_is_that_of_transformed_target_regressor(transform, targets):
    x, y = targets[:, 1:].sqrt().double(), targets[:, :1].double()
    ours = TargetScaling(1, transform).double()
    ours.fit(y)
    line = LinearRegression().fit(x, ours(y))
    functions = {"func": np.log1p, "inverse_func": np.expm1} if transform == "log" else {}
    theirs = TransformedTargetRegressor(LinearRegression(), **functions).fit(x, y)
    found = ours.undo(torch.from_numpy(line.predict(x)))
    np.testing.assert_allclose(found, theirs.predict(x), rtol=1e-9)


def test_identity_holds_and_changes_nothing(targets):
    scaling = TargetScaling(2)
    assert scaling.is_fitted
    assert not scaling.state_dict()
    assert scaling(targets) is targets
    assert scaling.undo(targets) is targets


def test_the_state_says_of_what_it_is(targets):
    names = {"log_mean", "log_std", "log_count"}
    assert set(TargetScaling(2, "log").state_dict()) == names
    with pytest.raises(RuntimeError, match="log_mean"):
        TargetScaling(2, "standard").load_state_dict(TargetScaling(2, "log").state_dict())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_statistics_are_never_rounded(dtype):
    scaling = TargetScaling(1, "standard")
    y = 200_123 + torch.tensor([[-1.0], [1.0]])
    scaling.fit(y)
    assert scaling.to(dtype).mean.item() == 200_123
    assert scaling(y).tolist() == [[-1], [1]]


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8])
def test_whole_numbers_are_numbers_not_shares_of_255(dtype):
    scaling = TargetScaling(1, "standard")
    scaling.fit(torch.tensor([[0], [200]], dtype=dtype))
    assert (scaling.mean.item(), scaling.std.item()) == (100, 100)


def test_a_constant_target_is_not_divided_by_zero():
    scaling = TargetScaling(1, "standard")
    scaling.fit(torch.full((5, 1), 7.1))
    assert scaling(torch.full((5, 1), 7.1)).abs().max() < 1e-6


def test_an_unknown_transform_names_the_nearest():
    with pytest.raises(ValueError, match="unknown target_transform 'logs'; did you mean 'log'"):
        TargetScaling(1, "logs")
