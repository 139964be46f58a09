"""Folds of a cross-validation: every row tested on once, seeded, classes and groups respected."""

import pytest
import torch
from sklearn.datasets import load_digits

from lit_course.datamodules.folds import Fold

LABELS = torch.tensor(load_digits().target[:500])


def folds(k, num_rows=500, val_size=0.2, seed=0, labels=LABELS):
    return [
        Fold(number, k).split_rows(num_rows, val_size=val_size, seed=seed, labels=labels)
        for number in range(k)
    ]


@pytest.mark.parametrize("k", [2, 3, 5, 10])
@pytest.mark.parametrize("labels", [LABELS, None])
def test_every_row_is_tested_on_once_and_never_trained_on_then(k, labels):
    dealt = folds(k, labels=labels)
    assert torch.cat([fold["test"] for fold in dealt]).sort().values.tolist() == list(range(500))
    for fold in dealt:
        assert torch.cat(list(fold.values())).sort().values.tolist() == list(range(500))
        assert len(fold["val"]) == round(0.2 * (500 - len(fold["test"])))
    sizes = [len(fold["test"]) for fold in dealt]
    assert max(sizes) - min(sizes) <= 1


def test_each_class_is_shared_out_evenly():
    shares = torch.stack([LABELS[fold["test"]].bincount(minlength=10) for fold in folds(4)])
    assert ((shares.amax(0) - shares.amin(0)) <= 1).all()


def test_the_seed_decides_and_nothing_else():
    first, again, other = folds(3), folds(3), folds(3, seed=1)
    for name in ("train", "val", "test"):
        assert torch.equal(first[0][name], again[0][name])
    assert not torch.equal(first[0]["test"], other[0]["test"])
    # What is held out inside of a fold has no say in what the fold is.
    assert torch.equal(first[0]["test"], folds(3, val_size=0)[0]["test"])


def test_groups_stay_together_in_folds_of_like_size():
    groups = torch.randint(40, (1000,), generator=torch.Generator().manual_seed(0))
    dealt = [Fold(n, 5).split_groups(groups, val_size=0.2, seed=0) for n in range(5)]
    assert torch.cat([fold["test"] for fold in dealt]).sort().values.tolist() == list(range(1000))
    for fold in dealt:
        inside = [set(groups[rows].tolist()) for rows in fold.values()]
        assert not inside[0] & inside[1]
        assert not inside[0] & inside[2]
        assert not inside[1] & inside[2]
        assert 170 < len(fold["test"]) < 230


def test_more_folds_than_rows_are_refused():
    with pytest.raises(ValueError, match="6 folds need 6 rows at least, found 5"):
        Fold(0, 6).split_rows(5, val_size=0, seed=0)
    with pytest.raises(
        ValueError, match="3 folds need 3 rows of the rarest class at least, found 2"
    ):
        Fold(0, 3).split_rows(9, val_size=0, seed=0, labels=torch.tensor([0] * 7 + [1] * 2))
    with pytest.raises(ValueError, match="3 folds need 3 groups at least, found 2"):
        Fold(0, 3).split_groups(torch.arange(8) % 2, val_size=0, seed=0)


def test_queries_stay_together_and_sizes_count_them():
    queries = torch.arange(30).repeat_interleave(torch.arange(30) % 7 + 1)
    dealt = [
        Fold(n, 3).split(
            len(queries), val_size=4, seed=0, labels=None, queries=queries, groups=None
        )
        for n in range(3)
    ]
    tested = torch.cat([fold["test"] for fold in dealt]).sort().values
    assert tested.tolist() == list(range(len(queries)))
    for fold in dealt:
        inside = {name: set(queries[rows].tolist()) for name, rows in fold.items()}
        assert len(inside["val"]) == 4
        assert sum(map(len, inside.values())) == 30
