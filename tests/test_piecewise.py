"""Piecewise linear codes: by hand, as scikit-learn bins, and where there is nothing to bin."""

import numpy as np
import pytest
import torch
from sklearn.preprocessing import KBinsDiscretizer

from lit_course.networks import MLP
from lit_course.piecewise import PiecewiseLinear


@pytest.fixture
def values():
    """401 rows of a normal, a skewed, a mostly zero, a two-valued and a constant column."""
    random = np.random.default_rng(0)
    normal, skewed = random.normal(size=401), random.exponential(size=401)
    sparse = np.where(random.random(401) < 0.7, 0, random.random(401))
    columns = [normal, skewed, sparse, random.integers(0, 2, 401), np.full(401, 3.0)]
    return torch.tensor(np.stack(columns, 1)).float()


def test_a_code_is_the_way_through_each_bin():
    encoding = PiecewiseLinear(1, 2)
    encoding.fit(torch.tensor([[0.0], [10.0], [30.0]]))
    codes = encoding(torch.tensor([[-5.0], [0.0], [5.0], [10.0], [25.0], [99.0]]))
    expected = [[0, 0], [0, 0], [0.5, 0], [1, 0], [1, 0.75], [1, 1]]
    assert codes.tolist() == expected


def test_bins_are_those_of_scikit_learn(values):
    encoding = PiecewiseLinear(2, 8)
    encoding.fit(values[:, :2])
    options = {"quantile_method": "linear"}
    reference = KBinsDiscretizer(8, encode="ordinal", strategy="quantile", **options)
    reference.fit(values[:, :2])
    for column, edges in enumerate(reference.bin_edges_):
        np.testing.assert_allclose(encoding.lower[:, column], edges[:-1], atol=1e-6)
        upper = encoding.lower[:, column] + 1 / encoding.slope[:, column]
        np.testing.assert_allclose(upper, edges[1:], atol=1e-5)


def test_codes_are_between_0_and_1_and_rise(values):
    encoding = PiecewiseLinear(5, 8)
    encoding.fit(values)
    codes = encoding(values).view(-1, 8, 5)
    assert codes.min() == 0
    assert codes.max() == 1
    for column in range(4):
        order = values[:, column].argsort(stable=True)
        assert (codes[order].sum(1)[:, column].diff() >= 0).all()
        # From the least value to the greatest every bin that holds more than one is gone through.
        ends = codes[order][[0, -1], :, column]
        assert not ends[0].any()
        assert torch.equal(ends[1] == 1, encoding.slope[:, column] > 0)
    assert not codes[:, :, 4].any()


def test_columns_behind_go_through(values):
    encoding = PiecewiseLinear(3, 4)
    encoding.fit(values[:, :3])
    out = encoding(values)
    assert out.shape == (401, 14)
    assert torch.equal(out[:, 12:], values[:, 3:])


def test_values_that_are_not_finite_are_refused(values):
    values[7, 1] = torch.nan
    with pytest.raises(ValueError, match="features must be finite"):
        PiecewiseLinear(5, 4).fit(values)


def test_one_row_and_an_untrained_one_answer(values):
    encoding = PiecewiseLinear(5, 4)
    assert encoding(values).std(0).any()
    encoding.fit(values[:1])
    assert encoding(values).isfinite().all()


def test_a_linear_network_with_bins_fits_a_bent_function(values):
    x = values[:, :1]
    y = x[:, 0].abs() + (x[:, 0] > 1)
    network = MLP(1, [], 1, bins=16)
    network.encoding.fit(network.scaling(x))
    design = torch.cat([network.encoding(network.scaling(x)), torch.ones(401, 1)], 1)
    with torch.no_grad():
        solution = torch.linalg.lstsq(design, y[:, None]).solution
        network.output.weight.copy_(solution[:-1].T)
        network.output.bias.copy_(solution[-1])
        assert (network(x)[:, 0] - y).square().mean() < 0.03 * y.var()
