"""Losses that learn intervals: closed forms, scikit-learn, torch, gradients, what is refused."""

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import lognorm, norm
from sklearn.metrics import mean_pinball_loss

from lit_course.losses import make_loss
from lit_course.regression_losses import (
    INTERVAL_LOSSES,
    GaussianNLL,
    QuantileLoss,
    outputs_per_target,
)
from lit_course.target_scaling import TargetScaling

QUANTILES = [0.05, 0.3, 0.95]
LOSSES = {
    "quantile": lambda: QuantileLoss(QUANTILES),
    "gaussian_nll": GaussianNLL,
}
AS_IT_IS = TargetScaling(2)


@pytest.fixture
def target():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(40, 2, generator=generator, dtype=torch.float64)


def outputs(loss, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(40, 2 * loss.outputs_per_target, generator=generator, dtype=torch.float64)


def test_the_quantile_loss_is_scikit_learns_pinball_loss_averaged(target):
    loss = QuantileLoss(QUANTILES)
    given = outputs(loss)
    expected = np.mean(
        [
            mean_pinball_loss(target[:, k], given[:, 3 * k + i], alpha=q)
            for k in range(2)
            for i, q in enumerate(QUANTILES)
        ]
    )
    assert float(loss(given, target)) == pytest.approx(expected, rel=1e-6)


def test_gaussian_nll_is_torchs_of_the_variance_above_its_floor(target):
    loss = GaussianNLL(eps=1e-3)
    given = outputs(loss)
    mean, s = given[:, 0::2], given[:, 1::2]
    expected = F.gaussian_nll_loss(mean, target, s.exp() + 1e-3)
    torch.testing.assert_close(loss(given, target), expected)
    expected = -norm.logpdf(target, mean, (s.exp() + 1e-3).sqrt()).mean() - np.log(2 * np.pi) / 2
    assert float(loss(given, target)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_equal_finite_differences(name, target):
    loss = LOSSES[name]().double()
    given = outputs(loss)[:5].requires_grad_()
    assert torch.autograd.gradcheck(lambda z: loss(z, target[:5]), given)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("scale", [0.0, 1.0, 100.0, 1e4])
def test_values_and_gradients_are_finite_whatever_the_outputs(name, scale):
    loss = LOSSES[name]()
    for sign in (1, -1):
        given = torch.full((3, loss.outputs_per_target), sign * scale, requires_grad=True)
        value = loss(given, torch.tensor([[-1.0], [0.0], [sign * scale]]))
        (gradient,) = torch.autograd.grad(value, given)
        assert value.isfinite()
        assert gradient.isfinite().all()


def test_a_variance_below_its_floor_can_grow_again():
    """A clamp would have no gradient there."""
    given = torch.tensor([[0.0, -20.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(GaussianNLL()(given, torch.ones(1, 1)), given)
    assert gradient[0, 1] < 0


def test_the_loss_is_least_at_the_quantiles_of_the_sample(target):
    loss = QuantileLoss(QUANTILES)
    y = target[:, :1]

    def at(values):
        return float(loss(torch.as_tensor(values).expand(40, 3), y))

    best = np.quantile(y.numpy(), QUANTILES, method="inverted_cdf")
    for i in range(3):
        for step in (-0.05, 0.05):
            assert at(best) <= at(best + step * np.eye(3)[i]) + 1e-9


def test_the_loss_is_least_at_mean_and_variance_of_the_sample(target):
    y = target[:, :1]
    best = torch.tensor([y.mean(), (y.var(correction=0) - 1e-6).log()], requires_grad=True)
    GaussianNLL()(best.expand(40, 2), y).backward()
    assert best.grad.abs().max() < 1e-9


@pytest.mark.parametrize("name", LOSSES)
def test_the_losses_of_samples_average_to_the_loss(name, target):
    loss = LOSSES[name]().double()
    given = outputs(loss)
    each = loss.each(given, target)
    assert each.shape == (40,)
    torch.testing.assert_close(each.mean(), loss(given, target))
    torch.testing.assert_close(each[3], loss(given[3:4], target[3:4]))


@pytest.mark.parametrize("name", LOSSES)
def test_outputs_in_half_precision_meet_whole_targets(name):
    loss = LOSSES[name]()
    given = torch.full((1, loss.outputs_per_target), -3.3, dtype=torch.bfloat16)
    target = torch.tensor([[1.001]])
    assert loss(given, target).dtype == torch.float32
    assert torch.equal(loss(given, target), loss(given.float(), target))
    assert loss(given, target) != loss(given, torch.tensor([[1.0]]))


# ---------------------------------------------------------------------------------- answers


def test_quantiles_never_cross_and_sorting_them_never_costs(target):
    loss = QuantileLoss(QUANTILES).double()
    given = outputs(loss)
    columns = loss.columns(given, AS_IT_IS)
    assert list(columns) == ["quantile_0.05", "quantile_0.3", "quantile_0.95"]
    low, middle, high = columns.values()
    assert ((low <= middle) & (middle <= high)).all()
    assert (given[:, 0] > given[:, 1]).any()
    assert torch.equal(loss.point(given), middle)
    in_order = torch.stack([low, middle, high], 2).flatten(1)
    assert (loss.each(in_order, target) <= loss.each(given, target) + 1e-12).all()


@pytest.mark.parametrize(
    ("quantiles", "middle"), [([0.1, 0.9], 0), ([0.1, 0.6], 1), ([0.25], 0), ([0.1, 0.5, 0.6], 1)]
)
def test_the_prediction_is_the_quantile_nearest_one_half(quantiles, middle):
    given = torch.arange(float(len(quantiles)))[None]
    assert float(QuantileLoss(quantiles).point(given)) == middle


@pytest.mark.parametrize("transform", ["identity", "standard", "log"])
def test_a_normal_distribution_in_original_units(transform):
    """Against scipy: behind a logarithm it is a log-normal one, shifted by 1."""
    scaling = TargetScaling(1, transform).double()
    targets = torch.tensor([[0.0], [3.0], [20.0], [7.5]], dtype=torch.float64)
    if transform != "identity":
        scaling.fit(targets)
    loss = GaussianNLL(interval=0.8)
    given = torch.tensor([[0.3, -1.0], [-1.0, 0.5]], dtype=torch.float64)
    mean, std = given[:, :1], (given[:, 1:].exp() + 1e-6).sqrt()
    if transform != "identity":
        mean, std = mean * scaling.std + scaling.mean, std * scaling.std
    truth = norm(mean, std)
    if transform == "log":
        truth = lognorm(std, loc=-1, scale=mean.exp())
    columns = loss.columns(given, scaling)
    assert list(columns) == ["lower", "upper", "std"]
    np.testing.assert_allclose(columns["lower"], truth.ppf(0.1), rtol=1e-6)
    np.testing.assert_allclose(columns["upper"], truth.ppf(0.9), rtol=1e-6)
    np.testing.assert_allclose(columns["std"], truth.std(), rtol=1e-6)
    np.testing.assert_allclose(scaling.undo(loss.point(given)), truth.median(), rtol=1e-6)


def test_how_many_outputs_a_loss_takes():
    assert outputs_per_target(torch.nn.MSELoss()) == 1
    assert outputs_per_target(QuantileLoss([0.1, 0.2, 0.3, 0.4])) == 4
    assert outputs_per_target(GaussianNLL()) == 2


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("quantile", {"quantiles": []}, "must increase between 0 and 1, found []"),
        ("quantile", {"quantiles": [0.0, 0.5]}, "must increase between 0 and 1, found [0.0, 0.5]"),
        ("quantile", {"quantiles": [0.5, 1.0]}, "must increase between 0 and 1"),
        ("quantile", {"quantiles": [0.9, 0.1]}, "must increase between 0 and 1"),
        ("quantile", {"quantiles": [0.5, 0.5]}, "must increase between 0 and 1"),
        ("quantile", {"quantiles": [0.1, float("nan")]}, "must increase between 0 and 1"),
        ("quantile", {"quantiles": ["a"]}, "loss 'quantile' refuses its options"),
        ("quantile", {"quantiles": 0.5}, "loss 'quantile' refuses its options"),
        ("quantile", {"quantile": [0.5]}, "did you mean 'quantiles'?"),
        ("gaussian_nll", {"interval": 1.0}, "interval must be between 0 and 1, found 1.0"),
        ("gaussian_nll", {"interval": 90}, "interval must be between 0 and 1, found 90"),
        ("gaussian_nll", {"eps": 0.0}, "eps must be above 0 and finite, found 0.0"),
    ],
)
def test_wrong_options_are_refused(name, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make_loss(name, INTERVAL_LOSSES, options)
