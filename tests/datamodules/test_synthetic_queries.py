import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import ndcg_score

from lit_course.datamodules import SyntheticQueriesDataModule


def drawn(**options: object) -> SyntheticQueriesDataModule:
    data = SyntheticQueriesDataModule(**options)
    data.setup("fit")
    return data


def counts(data) -> dict[str, int]:
    return {split: len(queries) for split, queries in data.split_queries.items()}


def arrays(loader) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, y, extras = zip(*loader, strict=True)
    group = [batch["group"] for batch in extras]
    return tuple(torch.cat(part).numpy() for part in (x, y, group))


def test_queries_are_those_that_the_seed_says():
    data, again, other = drawn(), drawn(), drawn(seed=1)
    assert counts(data) == {"train": 300, "val": 100, "test": 100}
    for (x, y, _), (same_x, same_y, _) in zip(
        data.train_dataloader(), again.train_dataloader(), strict=True
    ):
        assert torch.equal(x, same_x)
        assert torch.equal(y, same_y)
    assert data.split_sizes != other.split_sizes


def test_relevance_is_graded_as_people_do():
    _, y, group = arrays(drawn(num_queries=2000, val_size=0, test_size=0).train_dataloader())
    shares = np.bincount(y.astype(int)) / len(y)
    np.testing.assert_allclose(shares, [0.5, 0.25, 0.15, 0.07, 0.03], atol=1e-3)
    sizes = np.bincount(group)
    assert (sizes.min(), sizes.max()) == (5, 30)


def ndcg(scores: np.ndarray, y: np.ndarray, group: np.ndarray) -> float:
    """Mean NDCG@5 over the queries that have a relevant item."""
    queries = [group == query for query in np.unique(group) if y[group == query].any()]
    return float(np.mean([ndcg_score([2 ** y[q] - 1], [scores[q]], k=5) for q in queries]))


def bent(x: np.ndarray) -> np.ndarray:
    return np.column_stack([x, x[:, 0] * x[:, 1], np.abs(x[:, 2:4])])


def test_lines_learn_a_part_of_it_and_curves_more():
    data = drawn()
    x, y, _ = arrays(data.train_dataloader())
    test_x, test_y, group = arrays(data.test_dataloader())
    linear = ndcg(Ridge().fit(x, y).predict(test_x), test_y, group)
    curved = Ridge().fit(bent(x), y).predict(bent(test_x))
    chance = np.random.default_rng(0).normal(size=len(test_y))
    assert ndcg(chance, test_y, group) + 0.3 < linear < ndcg(curved, test_y, group) - 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_queries": 1}, "num_queries must be at least 2, found 1"),
        ({"noise": -1.0}, "noise is a standard deviation, at least 0, found -1.0"),
        ({"noise": float("nan")}, "noise is a standard deviation, at least 0, found nan"),
    ],
)
def test_refuses_what_cannot_be_drawn(options, message):
    with pytest.raises(ValueError, match=message):
        SyntheticQueriesDataModule(**options)
