"""The mean loss over weighted samples: scikit-learn's, and that of rows repeated."""

import pytest
import sklearn.metrics as sk
import torch
from torch import nn

from lit_course.losses import CLASSIFICATION_LOSSES, make_loss
from lit_course.mean_loss import mean_loss
from lit_course.modules.mlp_regressor import LOSSES

ROWS = 40
GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(ROWS, 3, generator=GENERATOR, dtype=torch.float64)
LABELS = torch.randint(0, 3, (ROWS,), generator=GENERATOR)
REPEATS = torch.randint(0, 4, (ROWS,), generator=GENERATOR)
PREDICTED, TARGETS = torch.randn(2, ROWS, 2, generator=GENERATOR, dtype=torch.float64)

CASES = {
    "cross_entropy": {},
    "cross_entropy of classes": {"class_weights": [0.5, 2.0, 1.5]},
    "cross_entropy smoothed": {"label_smoothing": 0.1},
    "cross_entropy smoothed of classes": {
        "class_weights": [0.5, 2.0, 0.0],
        "label_smoothing": 0.1,
    },
    "nll": {},
    "nll of classes": {"class_weights": [0.5, 2.0, 1.5]},
    "bce": {},
    "bce smoothed of classes": {"class_weights": [0.5, 2.0], "label_smoothing": 0.2},
    "focal": {},
    "focal of classes": {"class_weights": [0.5, 2.0, 0.0]},
    "mse": {},
    "l1": {},
    "smooth_l1": {"beta": 0.3},
    "huber": {"delta": 0.3},
    "quantile": {"quantiles": [0.1, 0.5, 0.9]},
    "gaussian_nll": {},
}
# Outputs for each target.
OUTPUTS = {"quantile": 3, "gaussian_nll": 2}


def example(case):
    """A loss, outputs that it takes, and targets."""
    name = case.split()[0]
    if name in LOSSES:
        loss = make_loss(name, LOSSES, CASES[case]).double()
        return loss, PREDICTED.repeat_interleave(OUTPUTS.get(name, 1), 1), TARGETS
    given = {"class_weights": None, "label_smoothing": 0.0, **CASES[case]}
    loss = make_loss(name, CLASSIFICATION_LOSSES, {}, **given).double()
    if name == "bce":
        return loss, LOGITS[:, :1], LABELS.clamp_max(1)
    return loss, LOGITS.log_softmax(1) if name == "nll" else LOGITS, LABELS


@pytest.mark.parametrize("case", CASES)
def test_a_weight_of_k_is_the_row_k_times(case):
    """Value, divisor and gradient; a weight of 0 is no row."""
    loss, outputs, target = example(case)
    weighted, repeated = (outputs.clone().requires_grad_() for _ in range(2))
    rows = torch.arange(ROWS).repeat_interleave(REPEATS)
    value, divisor = mean_loss(loss, weighted, target, REPEATS.double())
    expected, count = mean_loss(loss, repeated[rows], target[rows])
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(divisor, torch.as_tensor(count, dtype=torch.float64))
    value.backward()
    expected.backward()
    torch.testing.assert_close(weighted.grad, repeated.grad)


@pytest.mark.parametrize("case", CASES)
def test_equal_weights_are_none_and_none_is_the_loss_itself(case):
    loss, outputs, target = example(case)
    value, divisor = mean_loss(loss, outputs, target)
    expected = loss(outputs, target)
    if 0.0 in CASES[case].get("class_weights", []):
        torch.testing.assert_close(value, expected)
    else:
        assert torch.equal(value, expected)  # the fused kernel
    equal, doubled = mean_loss(loss, outputs, target, torch.full((ROWS,), 2.0))
    torch.testing.assert_close(equal, value)
    assert float(doubled) == pytest.approx(2 * float(divisor))


@pytest.mark.parametrize("case", CASES)
def test_means_of_batches_recombine_to_the_mean_of_the_whole(case):
    loss, outputs, target = example(case)
    weight = torch.rand(ROWS, generator=torch.Generator().manual_seed(1))
    parts = [
        mean_loss(loss, *batch)
        for batch in zip(outputs.split(7), target.split(7), weight.split(7), strict=True)
    ]
    total = sum(float(value) * float(divisor) for value, divisor in parts)
    whole, divisor = mean_loss(loss, outputs, target, weight)
    assert total / float(divisor) == pytest.approx(float(whole))


def test_it_is_scikit_learns():
    weight = torch.rand(ROWS, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def mean(case):
        loss, outputs, target = example(case)
        return float(mean_loss(loss, outputs, target, weight)[0])

    p = LOGITS.softmax(1)
    entropy = sk.log_loss(LABELS, p, sample_weight=weight)
    for case in ("cross_entropy", "nll"):
        assert mean(case) == pytest.approx(entropy)
    binary = sk.log_loss(LABELS.clamp_max(1), LOGITS[:, 0].sigmoid(), sample_weight=weight)
    assert mean("bce") == pytest.approx(binary)
    squares = sk.mean_squared_error(TARGETS, PREDICTED, sample_weight=weight)
    assert mean("mse") == pytest.approx(squares)
    absolute = sk.mean_absolute_error(TARGETS, PREDICTED, sample_weight=weight)
    assert mean("l1") == pytest.approx(absolute)


@pytest.mark.parametrize("case", CASES)
def test_weights_of_zero_give_zero_and_no_gradient(case):
    loss, outputs, target = example(case)
    outputs = outputs.clone().requires_grad_()
    value, divisor = mean_loss(loss, outputs, target, torch.zeros(ROWS))
    value.backward()
    assert float(value.detach()) == float(divisor) == 0
    assert not outputs.grad.any()


@pytest.mark.parametrize("name", ["cross_entropy", "nll", "bce", "focal"])
def test_a_batch_of_a_class_that_weighs_nothing_gives_zero(name):
    loss = make_loss(name, CLASSIFICATION_LOSSES, {}, class_weights=[1.0, 0.0], label_smoothing=0.0)
    outputs = torch.randn(5, 1 if name == "bce" else 2, requires_grad=True)
    value, divisor = mean_loss(loss, outputs, torch.ones(5, dtype=torch.int64))
    value.backward()
    assert float(value.detach()) == float(divisor) == 0
    assert not outputs.grad.any()


@pytest.mark.parametrize("dtype", [torch.int64, torch.bfloat16, torch.float64])
def test_weights_of_any_precision_are_summed_in_float32(dtype):
    outputs, target = torch.randn(1000, 2), torch.randint(0, 2, (1000,))
    loss = make_loss("cross_entropy", CLASSIFICATION_LOSSES, {})
    value, divisor = mean_loss(loss, outputs, target, torch.ones(1000, dtype=dtype))
    assert value.dtype == torch.float32
    assert float(divisor) == 1000  # a sum in bfloat16 ends at 256
    short, _ = mean_loss(loss, outputs.bfloat16(), target, torch.ones(1000, dtype=dtype))
    assert float(short) == pytest.approx(float(value), rel=1e-2)


class Mean(nn.Module):
    """A loss of somebody's own, that gives the mean alone."""

    def forward(self, outputs, target):
        return (outputs - target).square().mean()


class Each(Mean):
    def each(self, outputs, target):
        return (outputs - target).square().mean(1)


@pytest.mark.parametrize("loss", [Mean(), nn.MSELoss(reduction="sum"), nn.CosineEmbeddingLoss()])
def test_a_loss_that_knows_the_mean_alone_is_refused_for_weighted_samples(loss):
    message = f"{type(loss).__name__} gives the mean .* method each.outputs, target.*leave the"
    with pytest.raises(ValueError, match=message):
        mean_loss(loss, PREDICTED, TARGETS, torch.ones(ROWS))


def test_a_loss_of_ones_own_that_gives_each_is_weighted():
    weight = REPEATS.double()
    value, _ = mean_loss(Each(), PREDICTED, TARGETS, weight)
    assert torch.equal(value, mean_loss(nn.MSELoss(), PREDICTED, TARGETS, weight)[0])
    assert torch.equal(mean_loss(Mean(), PREDICTED, TARGETS)[0], Mean()(PREDICTED, TARGETS))
