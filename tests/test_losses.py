"""Losses: identities, hand computations, gradients, and what is refused."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import log_loss

from lit_course.losses import CLASSIFICATION_LOSSES, REGRESSION_LOSSES, make_loss

WEIGHTS = [0.5, 2.0, 1.5]


def classification(name, options=None, class_weights=None, label_smoothing=0.0):
    return make_loss(
        name,
        CLASSIFICATION_LOSSES,
        options or {},
        class_weights=class_weights,
        label_smoothing=label_smoothing,
    )


@pytest.fixture
def logits():
    return torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def labels():
    return torch.randint(0, 3, (40,), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def binary(logits, labels):
    return logits[:, :1], labels.clamp_max(1)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_cross_entropy_is_the_weighted_mean_of_minus_log_p(logits, labels, weights):
    w = torch.tensor(weights or [1.0, 1.0, 1.0], dtype=torch.float64)[labels]
    p = logits.softmax(1)[torch.arange(40), labels]
    expected = -(w * p.log()).sum() / w.sum()
    torch.testing.assert_close(
        classification("cross_entropy", None, weights).double()(logits, labels), expected
    )


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_nll_on_log_softmax_is_cross_entropy(logits, labels, weights):
    nll = classification("nll", None, weights).double()(logits.log_softmax(1), labels)
    torch.testing.assert_close(
        nll, classification("cross_entropy", None, weights).double()(logits, labels)
    )


@pytest.mark.parametrize("given", ["class_weights", "alpha"])
def test_focal_with_gamma_zero_is_weighted_cross_entropy(logits, labels, given):
    expected = classification("cross_entropy", None, WEIGHTS).double()(logits, labels)
    focal = (
        classification("focal", {"gamma": 0.0}, WEIGHTS)
        if given == "class_weights"
        else classification("focal", {"gamma": 0.0, "alpha": WEIGHTS})
    )
    torch.testing.assert_close(focal.double()(logits, labels), expected)
    plain = classification("focal", {"gamma": 0.0})(logits, labels)
    torch.testing.assert_close(plain, F.cross_entropy(logits, labels))


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_focal_equals_the_paper(logits, labels, gamma, weights):
    total = divisor = 0.0
    for z, y in zip(logits.numpy(), labels.numpy(), strict=True):
        p = np.exp(z[y]) / np.exp(z).sum()
        w = 1.0 if weights is None else weights[y]
        total += -w * (1 - p) ** gamma * np.log(p)
        divisor += w
    focal = classification("focal", {"gamma": gamma}, weights).double()
    assert float(focal(logits, labels)) == pytest.approx(total / divisor, rel=1e-7)


def test_one_alpha_is_the_share_of_class_1(logits, labels):
    two, y = logits[:, :2], labels.clamp_max(1)
    one = classification("focal", {"alpha": 0.25}).double()(two, y)
    torch.testing.assert_close(one, classification("focal", None, [0.75, 0.25]).double()(two, y))


def test_bce_is_log_loss(binary):
    outputs, y = binary
    p = outputs.squeeze(1).sigmoid().numpy()
    assert float(classification("bce")(outputs, y)) == pytest.approx(log_loss(y, p), rel=1e-9)
    weighted = classification("bce", None, [0.5, 2.0]).double()(outputs, y)
    expected = log_loss(y, p, sample_weight=np.array([0.5, 2.0])[y])
    assert float(weighted) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("weights", [None, [0.5, 2.0]])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_bce_is_two_class_cross_entropy_of_the_logits_zero_and_z(binary, weights, smoothing):
    outputs, y = binary
    two = torch.cat([torch.zeros_like(outputs), outputs], 1)
    smoothed = F.one_hot(y, 2) * (1 - smoothing) + smoothing / 2
    w = torch.tensor(weights or [1.0, 1.0], dtype=torch.float64)[y]
    expected = -(w * (smoothed * two.log_softmax(1)).sum(1)).sum() / w.sum()
    loss = classification("bce", None, weights, smoothing).double()
    torch.testing.assert_close(loss(outputs, y), expected)


def test_label_smoothing_of_cross_entropy_spreads_over_all_classes(logits, labels):
    smoothed = F.one_hot(labels, 3) * 0.9 + 0.1 / 3
    expected = -(smoothed * logits.log_softmax(1)).sum(1).mean()
    loss = classification("cross_entropy", label_smoothing=0.1)
    torch.testing.assert_close(loss(logits, labels), expected)


@pytest.mark.parametrize("name", CLASSIFICATION_LOSSES)
def test_weights_and_means_of_batches_recombine_to_the_mean_of_the_whole(name, logits, labels):
    weights = WEIGHTS[:2] if name == "bce" else WEIGHTS
    loss = classification(name, None, weights).double()
    outputs = logits[:, :1] if name == "bce" else logits.log_softmax(1)
    labels = labels.clamp_max(1) if name == "bce" else labels
    parts = list(zip(outputs.split(7), labels.split(7), strict=True))
    total = sum(loss(z, y) * loss.weight(y) for z, y in parts)
    torch.testing.assert_close(total / sum(loss.weight(y) for _, y in parts), loss(outputs, labels))
    assert classification(name).weight(labels) == 40


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in CLASSIFICATION_LOSSES),
        *(("focal", {"gamma": gamma}) for gamma in (0.0, 0.5, 1.0)),
    ],
)
@pytest.mark.parametrize("scale", [0.0, 1.0, 100.0, 1e4])
def test_gradients_are_finite_for_saturated_logits(name, options, scale):
    outputs = scale * torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    outputs = (outputs[:, :1] if name == "bce" else outputs).requires_grad_()
    taken = outputs.log_softmax(1) if name == "nll" else outputs
    for target in ([0, 1], [1, 0]):
        value = classification(name, options)(taken, torch.tensor(target))
        (gradient,) = torch.autograd.grad(value, outputs, retain_graph=True)
        assert value.isfinite()
        assert gradient.isfinite().all()


def test_focal_gradient_equals_finite_differences(logits, labels):
    focal = classification("focal", {"gamma": 0.5}, WEIGHTS).double()
    assert torch.autograd.gradcheck(lambda z: focal(z, labels[:5]), logits[:5].requires_grad_())


def test_regression_losses_equal_torch():
    prediction, target = torch.randn(2, 30, 2)
    for name, options, expected in [
        ("mse", {}, F.mse_loss(prediction, target)),
        ("l1", {}, F.l1_loss(prediction, target)),
        ("smooth_l1", {}, F.smooth_l1_loss(prediction, target)),
        ("smooth_l1", {"beta": 0.3}, F.smooth_l1_loss(prediction, target, beta=0.3)),
        ("huber", {}, F.huber_loss(prediction, target)),
        ("huber", {"delta": 0.3}, F.huber_loss(prediction, target, delta=0.3)),
    ]:
        value = make_loss(name, REGRESSION_LOSSES, options)(prediction, target)
        torch.testing.assert_close(value, expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("focall",), "unknown loss 'focall'; did you mean 'focal'"),
        (("focal", {"gama": 1.0}), "unknown option of loss 'focal' 'gama'; did you mean 'gamma'"),
        (("focal", {"gamma": -1.0}), "gamma must be at least 0 and finite, found -1.0"),
        (("focal", {"gamma": "two"}), "loss 'focal' refuses its options"),
        (("focal", {"alpha": 1.5}), "one alpha is a share in .0, 1., found 1.5"),
        (("focal", {"alpha": [0.5, -0.5]}), "must not be negative"),
        (("focal", {"alpha": 0.5}, [1.0, 1.0]), "say the same thing; give one"),
        (("focal", {}, None, 0.1), "has no label_smoothing; these have: cross_entropy, bce"),
        (("nll", {}, None, 0.1), "has no label_smoothing; these have: cross_entropy, bce"),
        (("cross_entropy", {"gamma": 1.0}), "unknown option of loss 'cross_entropy' 'gamma'"),
        (("cross_entropy", {"class_weights": [1.0]}), "give it as class_weights"),
        (("cross_entropy", {"label_smoothing": 0.1}), "give it as label_smoothing"),
    ],
)
def test_wrong_classification_losses_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        classification(*arguments)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mae", {}, "unknown loss 'mae'; did you mean 'mse'"),
        ("mse", {"delta": 1.0}, "unknown option of loss 'mse' 'delta'\nknown: none"),
        ("huber", {"beta": 1.0}, "unknown option of loss 'huber' 'beta'"),
        ("huber", {"delta": 0.0}, "delta must be above 0 and finite, found 0.0"),
        ("smooth_l1", {"beta": -1.0}, "beta must be at least 0 and finite, found -1.0"),
    ],
)
def test_wrong_regression_losses_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        make_loss(name, REGRESSION_LOSSES, options)
