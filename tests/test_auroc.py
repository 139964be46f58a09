"""AUROC by ranks, against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from lit_course.auroc import AUROC


def area(scores, target, num_classes, batch_size=None):
    metric = AUROC(num_classes)
    size = batch_size or len(target)
    for s, y in zip(scores.split(size), target.split(size), strict=True):
        metric.update(s, y)
    return float(metric.compute()), metric.undefined


@pytest.mark.parametrize("levels", [2, 10, 10**6])
@pytest.mark.parametrize("batch_size", [7, 101])
def test_two_classes_with_ties_equal_scikit_learn(levels, batch_size):
    generator = torch.Generator().manual_seed(levels)
    scores = torch.randint(0, levels, (101,), generator=generator) / levels
    target = torch.randint(0, 2, (101,), generator=generator)
    value, undefined = area(scores, target, 2, batch_size)
    assert value == pytest.approx(roc_auc_score(target, scores), rel=1e-12)
    assert undefined == []


@pytest.mark.parametrize("decimals", [1, 7])
def test_one_vs_rest_macro_equals_scikit_learn(decimals):
    generator = torch.Generator().manual_seed(0)
    p = torch.randn(101, 4, generator=generator).softmax(1).double().round(decimals=decimals)
    p[:, 3] = 1 - p[:, :3].sum(1)
    target = torch.randint(0, 4, (101,), generator=generator)
    expected = roc_auc_score(target, p, multi_class="ovr", average="macro")
    assert area(p, target, 4) == (pytest.approx(expected, rel=1e-12), [])


def test_classes_without_positives_are_left_out_and_named():
    generator = torch.Generator().manual_seed(0)
    p = torch.randn(101, 5, generator=generator).softmax(1)
    target = torch.tensor([0, 2, 4])[torch.randint(0, 3, (101,), generator=generator)]
    present = [roc_auc_score(target == c, p[:, c]) for c in (0, 2, 4)]
    assert area(p, target, 5) == (pytest.approx(np.mean(present), rel=1e-12), [1, 3])


def test_of_one_class_only_there_is_no_area():
    value, undefined = area(torch.rand(9), torch.ones(9, dtype=torch.int64), 2)
    assert np.isnan(value)
    assert undefined == [1]
    # Among three classes, the one that is there lacks negatives.
    value, undefined = area(torch.rand(9, 3), torch.ones(9, dtype=torch.int64), 3)
    assert np.isnan(value)
    assert undefined == [0, 1, 2]


def test_perfect_reversed_and_constant_scores():
    target = torch.tensor([0, 0, 1, 1])
    assert area(torch.tensor([0.1, 0.2, 0.3, 0.4]), target, 2)[0] == 1
    assert area(torch.tensor([0.4, 0.3, 0.2, 0.1]), target, 2)[0] == 0
    assert area(torch.zeros(4), target, 2)[0] == 0.5
