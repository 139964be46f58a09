"""What a stage reports, against scikit-learn; which way is better."""

import math
import re

import numpy as np
import pytest
import sklearn.metrics as sk
import torch

from lit_course.metrics import (
    class_answers,
    classification_metrics,
    higher_is_better,
    per_class_metrics,
    per_target_metrics,
    probabilities,
    regression_answers,
    regression_metrics,
)
from lit_course.stage_metrics import (
    StageMetrics,
)


def stage(metrics, answer, outputs, target, batch_size, details=None, loss=None):
    """All values of a stage that saw the outputs in batches."""
    taken = StageMetrics(metrics, answer, details)
    for z, y in zip(outputs.split(batch_size), target.split(batch_size), strict=True):
        taken.add(z, y, z.new_zeros(()) if loss is None else loss(z, y), len(y))
    return {name: float(v) for name, v in taken.compute(details=details is not None).items()}


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("batch_size", [1, 7, 32, 101])
def test_multiclass_values_equal_scikit_learn(generator, batch_size):
    """Class 1 is never a target, class 3 neither target nor predicted."""
    logits = torch.randn(101, 5, generator=generator)
    logits[:, 3] -= 100
    target = torch.tensor([0, 2, 4])[torch.randint(0, 3, (101,), generator=generator)]
    predicted = logits.argmax(1)
    assert {1, 3} & set(target.tolist()) == set()
    assert 1 in predicted
    assert 3 not in predicted
    names = ["a", "b", "c", "d", "e"]
    values = stage(
        classification_metrics(5),
        class_answers,
        logits,
        target,
        batch_size,
        per_class_metrics(5, names),
    )
    macro = {"average": "macro", "zero_division": 0}
    expected = {
        "loss": 0,
        "accuracy": sk.accuracy_score(target, predicted),
        "f1": sk.f1_score(target, predicted, **macro),
        "precision": sk.precision_score(target, predicted, **macro),
        "recall": sk.recall_score(target, predicted, **macro),
        "auroc": np.mean(
            [sk.roc_auc_score(target == c, logits.softmax(1)[:, c]) for c in (0, 2, 4)]
        ),
    }
    each = sk.precision_recall_fscore_support(target, predicted, labels=range(5), zero_division=0)
    for key, per_class in zip(("precision", "recall", "f1"), each, strict=False):
        expected |= {f"{key}/{name}": v for name, v in zip(names, per_class, strict=True)}
    assert values == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("logits_per_sample", [1, 2])
@pytest.mark.parametrize("batch_size", [1, 7, 32, 101])
def test_binary_values_equal_scikit_learn_of_class_1(generator, logits_per_sample, batch_size):
    logits = torch.randn(101, logits_per_sample, generator=generator)
    target = (torch.rand(101, generator=generator) < 0.3).long()
    p = probabilities(logits)
    predicted = p.argmax(1)
    values = stage(
        classification_metrics(2),
        class_answers,
        logits,
        target,
        batch_size,
        per_class_metrics(2, ["no", "yes"]),
    )
    expected = {
        "loss": 0,
        "accuracy": sk.accuracy_score(target, predicted),
        "f1": sk.f1_score(target, predicted),
        "precision": sk.precision_score(target, predicted),
        "recall": sk.recall_score(target, predicted),
        "auroc": sk.roc_auc_score(target, p[:, 1]),
    }
    each = sk.precision_recall_fscore_support(target, predicted)
    for key, (no, yes) in zip(("precision", "recall", "f1"), each, strict=False):
        expected |= {f"{key}/no": no, f"{key}/yes": yes}
    assert values == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("batch_size", [1, 7, 32, 101])
def test_regression_values_equal_scikit_learn_where_the_spread_is_small(
    generator, outputs, batch_size
):
    """Targets of 2000 ± 1, the second output on another scale."""
    scale = torch.tensor([1.0, 30.0])[:outputs]
    target = 2000 + scale * torch.randn(101, outputs, generator=generator)
    predicted = target + 0.5 * scale * torch.randn(101, outputs, generator=generator)
    names = ["small", "large"]
    each = per_target_metrics(names) if outputs == 2 else None
    metrics = regression_metrics(outputs)
    values = stage(metrics, regression_answers, predicted, target, batch_size, each)
    y, p = target.double().numpy(), predicted.double().numpy()
    expected = {
        "loss": 0,
        "mae": sk.mean_absolute_error(y, p),
        "mse": sk.mean_squared_error(y, p),
        "rmse": sk.root_mean_squared_error(y, p),
        "r2": sk.r2_score(y, p),
    }
    if each is not None:
        raw = {"multioutput": "raw_values"}
        for name, pair in {
            "mae": sk.mean_absolute_error(y, p, **raw),
            "mse": sk.mean_squared_error(y, p, **raw),
            "rmse": sk.root_mean_squared_error(y, p, **raw),
            "r2": sk.r2_score(y, p, **raw),
        }.items():
            expected |= {f"{name}/{k}": v for k, v in zip(names, pair, strict=True)}
    assert values == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_r2_does_not_depend_on_the_scale(generator, scale):
    target, noise = scale * torch.randn(2, 21, 1, generator=generator)
    values = stage(regression_metrics(), regression_answers, target + noise / 3, target, 7)
    expected = sk.r2_score(target.double().numpy(), (target + noise / 3).double().numpy())
    assert values["r2"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("error", [0.0, 0.5])
def test_r2_of_a_constant_target_is_scikit_learns(error):
    assert sk.r2_score([7.0] * 21, [7.0 + error] * 21) == (0 if error else 1)
    target = torch.full((21, 1), 7.1)  # its sum of squares is rounded
    values = stage(regression_metrics(), regression_answers, target + error, target, 1)
    assert values["r2"] == (0 if error else 1)


def test_a_loss_that_is_nan_once_is_nan():
    taken = StageMetrics(regression_metrics(), regression_answers)
    batch = torch.zeros(2, 1)
    taken.add(batch, batch, torch.tensor(1.0), 2)
    taken.add(batch, batch, torch.tensor(torch.nan), 2)
    assert math.isnan(taken.compute()["loss"])


def test_r2_is_not_defined_for_one_sample():
    one = torch.ones(1, 1)
    values = stage(regression_metrics(), regression_answers, one, one, 1)
    assert math.isnan(values["r2"])
    assert values["mae"] == 0


def test_probabilities_of_logits_log_probabilities_and_one_logit(generator):
    logits = torch.randn(5, 3, generator=generator)
    torch.testing.assert_close(probabilities(logits), logits.softmax(1))
    torch.testing.assert_close(probabilities(logits.log_softmax(1)), logits.softmax(1))
    one = logits[:, :1]
    two = torch.cat([torch.zeros_like(one), one], 1)
    torch.testing.assert_close(probabilities(one), two.softmax(1))
    assert probabilities(logits.bfloat16()).dtype == torch.float32


def test_the_loss_is_the_weighted_mean_of_batch_means():
    taken = StageMetrics(regression_metrics(), regression_answers)
    batch = torch.zeros(2, 1)
    taken.add(batch, batch, torch.tensor(1.0), torch.tensor(0.5))
    taken.add(batch, batch, torch.tensor(4.0), torch.tensor(1.5))
    assert float(taken.compute()["loss"]) == pytest.approx((0.5 * 1 + 1.5 * 4) / 2)


def test_batches_with_and_without_weights_of_samples_are_one_split():
    taken = StageMetrics(regression_metrics(), regression_answers)
    batch = torch.zeros(2, 1)
    taken.add(batch, batch, torch.tensor(1.0), 2)
    taken.add(batch, batch, torch.tensor(4.0), torch.tensor(0.5))
    taken.add(batch, batch, torch.tensor(8.0), 2)
    assert float(taken.compute()["loss"]) == pytest.approx((2 * 1 + 0.5 * 4 + 2 * 8) / 4.5)


def test_reset_forgets_and_compute_may_be_asked_between_updates(generator):
    taken = StageMetrics(classification_metrics(3), class_answers, per_class_metrics(3, "abc"))
    y = torch.randint(0, 3, (40,), generator=generator)
    z = torch.randn(40, 3, generator=generator)
    p = z.argmax(1)

    def add(rows):
        taken.add(z[rows], y[rows], torch.zeros(()), len(y[rows]))
        return {k: float(v) for k, v in taken.compute(details=True).items()}

    def f1(rows):
        return pytest.approx(sk.f1_score(y[rows], p[rows], average="macro"), rel=1e-6)

    assert add(slice(0, 10))["f1"] == f1(slice(0, 10))
    assert add(slice(10, 40))["f1"] == f1(slice(0, 40))
    taken.reset()
    values = add(slice(5, 25))
    assert values["f1"] == f1(slice(5, 25))
    assert values["accuracy"] == pytest.approx(sk.accuracy_score(y[5:25], p[5:25]))
    last = sk.f1_score(y[5:25], p[5:25], labels=[2], average="macro")
    assert values["f1/c"] == pytest.approx(last, rel=1e-6)


def test_metrics_that_agree_on_the_first_batch_are_not_merged():
    """Accuracy, F1, precision and recall are all 1 there; torchmetrics would merge by chance."""
    taken = StageMetrics(classification_metrics(3), class_answers)
    z = 9 * torch.eye(3)
    taken.add(z, torch.tensor([0, 1, 2]), torch.zeros(()), 3)
    assert float(taken.compute()["accuracy"]) == 1
    taken.add(z[[0, 0, 0, 1]], torch.tensor([0, 1, 1, 1]), torch.zeros(()), 4)
    y, p = [0, 1, 2, 0, 1, 1, 1], [0, 1, 2, 0, 0, 0, 1]
    values = {name: float(value) for name, value in taken.compute().items()}
    assert values["accuracy"] == pytest.approx(sk.accuracy_score(y, p))
    assert values["precision"] == pytest.approx(sk.precision_score(y, p, average="macro"))
    assert values["recall"] == pytest.approx(sk.recall_score(y, p, average="macro"))
    assert values["f1"] == pytest.approx(sk.f1_score(y, p, average="macro"))


def test_large_splits_are_fed_in_pieces_without_a_difference(generator, monkeypatch):
    z, y = (torch.randn(101, 1, generator=generator) for _ in range(2))
    whole = stage(regression_metrics(), regression_answers, z, y, 7)
    monkeypatch.setattr("lit_course.stage_metrics.ROOM", 20)
    assert stage(regression_metrics(), regression_answers, z, y, 7) == pytest.approx(
        whole, rel=1e-12
    )


def test_what_is_kept_has_no_graph_and_no_place_in_checkpoints():
    taken = StageMetrics(regression_metrics(), regression_answers)
    z = torch.zeros(3, 1, requires_grad=True)
    taken.add(2 * z, torch.ones(3, 1), (2 * z).sum(), 3)
    state = taken.partial()["pending"]
    assert not any(state[name].requires_grad for name in ("outputs", "targets", "losses"))
    assert not any(value.requires_grad for value in taken.compute().values())
    assert not taken.state_dict()


def test_every_metric_knows_which_way_is_better():
    classification, regression = classification_metrics(3), regression_metrics()
    up = {"accuracy", "f1", "precision", "recall", "auroc"}
    assert {name for name in classification if higher_is_better(name, classification)} == up
    assert {name for name in regression if higher_is_better(name, regression)} == {"r2"}
    assert not higher_is_better("loss", classification)


def test_an_unknown_monitor_names_the_nearest():
    message = "no metric 'acuracy' to monitor; did you mean 'accuracy'?\nknown: loss, accuracy, "
    with pytest.raises(ValueError, match=re.escape(message)):
        higher_is_better("acuracy", classification_metrics(3))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sums_stay_exact_when_the_network_is_cast(dtype):
    """Lightning's ``precision="bf16-true"`` casts whatever a module holds."""
    generator = torch.Generator().manual_seed(0)
    z, y = (torch.randn(2000, 1, generator=generator) for _ in range(2))
    expected = stage(regression_metrics(), regression_answers, z, y, 100)
    taken = StageMetrics(regression_metrics(), regression_answers).to(dtype)
    for outputs, target in zip(z.split(100), y.split(100), strict=True):
        taken.add(outputs, target, outputs.new_zeros(()), len(target))
    assert taken.compute() == expected
