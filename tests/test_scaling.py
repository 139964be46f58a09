"""Column statistics and input scaling, against scikit-learn's StandardScaler."""

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from lit_course.scaling import ColumnStatistics, InputScaling


def gathered(x, batch_size):
    statistics = ColumnStatistics()
    for batch in torch.split(x, batch_size):
        statistics.update(batch)
    return statistics


@pytest.fixture
def table():
    x = torch.randn(101, 5, generator=torch.Generator().manual_seed(0)) * 3
    x[:, 1] += 2000  # a year: the deviation is small beside the mean
    x[:, 2] = 7.1  # constant
    x[:, 3] *= 1e-6
    x[:, 4] = 0
    return x


@pytest.mark.parametrize("batch_size", [1, 7, 101])
def test_statistics_equal_standard_scaler(table, batch_size):
    reference = StandardScaler().fit(table.double().numpy())
    statistics = gathered(table, batch_size)
    assert statistics.count == 101
    np.testing.assert_allclose(statistics.mean, reference.mean_, rtol=1e-12)
    np.testing.assert_allclose(statistics.std, reference.scale_, rtol=1e-9)


@pytest.mark.parametrize("sizes", [[50, 51], [0, 101], [100, 0, 1], [34, 34, 33]])
def test_merged_statistics_are_those_of_all_samples(table, sizes):
    merged, whole = ColumnStatistics(), gathered(table, 101)
    for part in torch.split(table, sizes):
        merged.merge(gathered(part, 20) if len(part) else ColumnStatistics())
    assert merged.count == 101
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(merged.std, whole.std, rtol=1e-9)


def test_a_batch_larger_than_a_piece_is_counted_whole():
    x = torch.randn(5000, 2, generator=torch.Generator().manual_seed(0))
    statistics = gathered(x, 5000)
    assert statistics.count == 5000
    np.testing.assert_allclose(statistics.mean, x.double().mean(0), rtol=1e-9)
    np.testing.assert_allclose(statistics.std, x.double().std(0, correction=0), rtol=1e-9)


def test_images_have_one_mean_and_deviation_a_channel():
    x = torch.randint(0, 256, (9, 2, 3, 4), dtype=torch.uint8)
    statistics = gathered(x, 4)
    channels = (x.double() / 255).transpose(0, 1).flatten(1)
    assert statistics.mean.shape == statistics.std.shape == (24,)
    np.testing.assert_allclose(statistics.mean, channels.mean(1).repeat_interleave(12))
    np.testing.assert_allclose(statistics.std, channels.std(1, correction=0).repeat_interleave(12))


def test_scaled_features_equal_standard_scaler(table):
    scaling = InputScaling(5)
    scaling.fit(gathered(table, 32))
    reference = StandardScaler().fit_transform(table.double().numpy())
    np.testing.assert_allclose(scaling(table), reference, atol=1e-4)
    assert set(scaling.state_dict()) == {"mean", "std", "count"}
    assert scaling.count == 101


@pytest.mark.parametrize("standardize", [True, False])
def test_before_it_is_fitted_and_without_standardize_it_is_the_identity(table, standardize):
    assert torch.equal(InputScaling(5, standardize)(table), table)


def test_without_standardize_it_holds_nothing():
    assert not InputScaling(5, standardize=False).state_dict()


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.bool, torch.float16])
def test_dtypes_become_float32_unchanged(dtype):
    x = torch.tensor([[0, 1], [1, 1]], dtype=dtype)
    assert torch.equal(InputScaling(2)(x), x.float())


def test_uint8_becomes_a_fraction_of_255():
    x = torch.arange(256, dtype=torch.uint8).reshape(64, 1, 2, 2)
    assert torch.equal(InputScaling(4)(x), x.flatten(1).float() / 255)


def test_pixels_are_standardised_as_exactly_as_float32_can():
    x = torch.randint(0, 256, (500, 3, 2, 2), dtype=torch.uint8)
    x[:, 0], x[1:, 1] = 200, 255  # one constant channel, one that is nearly so
    scaling, statistics = InputScaling(12), ColumnStatistics()
    statistics.update(x)
    scaling.fit(statistics)
    exact = (x.flatten(1).double() / 255 - statistics.mean) / statistics.std
    bound = 1e-7 * (1 + statistics.mean / statistics.std) * 2
    assert ((scaling(x).double() - exact).abs() <= bound).all()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 4), "takes 5 features a sample, found 4"),
        ((3, 1, 6), "takes 5 features a sample, found 6"),
        ((5,), r"a batch of samples \(B, ...\), found one of shape \(5,\)"),
    ],
)
def test_another_number_of_features_is_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        InputScaling(5)(torch.zeros(shape))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_statistics_that_are_not_finite_are_refused(table, bad):
    table[50, 3] = bad
    with pytest.raises(ValueError, match="NaN or infinity in column 3"):
        InputScaling(5).fit(gathered(table, 32))
