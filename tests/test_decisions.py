"""The threshold with the best F1: exact, as by trying all, and scikit-learn's."""

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import TunedThresholdClassifierCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lit_course.decisions import best_threshold
from lit_course.metrics import classification_metrics

RANDOM = torch.Generator().manual_seed(0)


def f1(scores, target, threshold):
    chosen = scores > threshold
    return 2 * float((chosen * target).sum()) / max(float(chosen.sum() + target.sum()), 1)


def by_trying_all(scores, target):
    """The best F1 that a threshold in [0, 1) can have."""
    return max(f1(scores, target, t) for t in [0.0, *scores.tolist()])


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 1e-45, 0.1, 0.3, 0.5, 0.9, 1.0]), st.booleans()),
        min_size=1,
        max_size=12,
    )
)
def test_no_threshold_is_better(samples):
    scores, labels = zip(*samples, strict=True)
    scores, target = torch.tensor(scores), torch.tensor(labels).long()
    found = best_threshold(scores, target)
    if found is None:
        assert all(labels) or by_trying_all(scores, target) == 0
        return
    assert 0 <= found < 1
    assert f1(scores, target, found) == by_trying_all(scores, target)
    higher = [t for t in scores.tolist() if t > found and t < scores.max()]
    assert all(f1(scores, target, t) < f1(scores, target, found) for t in higher)


@pytest.mark.parametrize("size", [2, 101, 5000])
@pytest.mark.parametrize("decimals", [1, 7])
def test_it_is_that_of_the_precision_recall_curve(size, decimals):
    scores = torch.rand(size, generator=RANDOM).mul(10**decimals).ceil().div(10**decimals)
    target = (torch.rand(size, generator=RANDOM) < scores.square()).long()
    target[:2] = torch.tensor([0, 1])
    precision, recall, _ = sk.precision_recall_curve(target, scores)
    curve = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    found = best_threshold(scores, target)
    assert f1(scores, target, found) == pytest.approx(curve.max(), rel=1e-12)


def test_it_is_that_of_scikit_learns_tuned_classifier():
    x, y = load_breast_cancer(return_X_y=True)
    x, x_val, y, y_val = train_test_split(x[:, :3], y, test_size=0.4, random_state=0)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y)
    p = model.predict_proba(x_val)[:, 1]
    tuned = TunedThresholdClassifierCV(
        FrozenEstimator(model),
        scoring="f1",
        cv="prefit",
        refit=False,
        thresholds=np.unique(p),  # from these on, where ours are between
    ).fit(x_val, y_val)
    found = best_threshold(torch.tensor(p), torch.tensor(y_val))
    assert sk.f1_score(y_val, p > found) == pytest.approx(tuned.best_score_, rel=1e-12)
    assert f1(p, y_val, found) > f1(p, y_val, 0.5)


def test_it_lies_halfway_and_is_the_highest_of_equals():
    assert best_threshold(torch.tensor([0.9, 0.7, 0.2]), torch.tensor([1, 1, 0])) == (
        pytest.approx(0.45)
    )
    # One of one and two of three are both 0.8... and 2/3 each; the first is the higher cut.
    scores, target = torch.tensor([0.8, 0.6, 0.4, 0.2]), torch.tensor([1, 0, 0, 1])
    assert f1(scores, target, 0.7) == f1(scores, target, 0.0) == pytest.approx(2 / 3)
    assert best_threshold(scores, target) == pytest.approx(0.7)


def test_neighbouring_numbers_are_told_apart():
    low = torch.tensor(0.7)
    high = torch.nextafter(low, torch.tensor(1.0))
    scores, target = torch.stack([low, high]), torch.tensor([0, 1])
    assert best_threshold(scores, target) == float(low)


@pytest.mark.parametrize("target", [[0, 0, 0], [1, 1, 1]])
def test_of_one_class_there_is_none(target):
    assert best_threshold(torch.rand(3), torch.tensor(target)) is None
    assert best_threshold(torch.zeros(3), torch.tensor([0, 1, 1])) is None
    assert best_threshold(torch.zeros(0), torch.zeros(0, dtype=torch.int64)) is None


def test_metrics_decide_at_the_threshold_of_the_moment():
    p = torch.rand(101, generator=RANDOM)
    y = (torch.rand(101, generator=RANDOM) < p).long()
    threshold = 0.8
    metrics = classification_metrics(2, lambda: threshold)
    for scores, target in zip(p.split(20), y.split(20), strict=True):
        metrics.update(scores, target)

    def expected():
        return {
            "accuracy": sk.accuracy_score(y, p > threshold),
            "f1": sk.f1_score(y, p > threshold),
            "precision": sk.precision_score(y, p > threshold),
            "recall": sk.recall_score(y, p > threshold),
            "auroc": sk.roc_auc_score(y, p),
        }

    before = expected()
    assert {k: float(v) for k, v in metrics.compute().items()} == pytest.approx(before)
    threshold = metrics.best_threshold()
    assert threshold == best_threshold(p, y)
    metrics.decide_again()
    after = expected()
    assert {k: float(v) for k, v in metrics.compute().items()} == pytest.approx(after)
    assert after["f1"] > before["f1"]
