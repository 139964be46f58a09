"""Metrics of ranking: scikit-learn, torchmetrics, all orders of ties; per query and in the mean."""

import math
from itertools import permutations

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
import torchmetrics.retrieval as tm

from lit_course.queries import Queries
from lit_course.ranking_metrics import (
    RankingMetric,
    check_ranking_metrics,
    metric_names,
    ranking_metrics,
    values_of_queries,
)

TOP_K = [1, 3, 10, 50]
GRADES = [0.5, 0.3, 0.13, 0.05, 0.02]


def example(queries=60, seed=0, ties=False):
    """Scores above 0 and targets of queries of 1 to 40 items, some without a relevant one."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(1, 41, (queries,), generator=generator)
    rows = int(sizes.sum())
    relevance = torch.multinomial(torch.tensor(GRADES), rows, True, generator=generator)
    scores = torch.rand(rows, generator=generator, dtype=torch.float64)
    if ties:
        scores = (scores * 5).ceil() / 5
    first = sizes.cumsum(0) - sizes
    begins = torch.zeros(rows)
    begins[first] = 1
    target = torch.stack([relevance.double(), begins.double()], 1)
    return scores, target, sizes.tolist()


def of_each(scores, target, **options):
    queries = Queries.begin(target[:, 1])
    return values_of_queries(scores, target[:, 0], queries, TOP_K, **options)


def parts(scores, target, sizes):
    return zip(scores.split(sizes), target[:, 0].split(sizes), strict=True)


def ndcg(gained, scores, k):
    """scikit-learn's, which needs two items; NaN of no gain."""
    if not gained.any():
        return math.nan
    if len(gained) == 1:
        return 1.0
    return sk.ndcg_score(gained[None].numpy(), scores[None].numpy(), k=k)


# ------------------------------------------------------------------------- scikit-learn


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("gain", ["linear", "exponential"])
def test_ndcg_is_scikit_learns(gain, ties):
    scores, target, sizes = example(ties=ties)
    found = of_each(scores, target, gain=gain)
    for k in TOP_K:
        worth = [(r if gain == "linear" else 2**r - 1, s) for s, r in parts(scores, target, sizes)]
        expected = [ndcg(gained, s, k) for gained, s in worth]
        assert found[f"ndcg@{k}"].tolist() == pytest.approx(expected, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("threshold", [1.0, 2.0, 1.5])
def test_average_precision_is_scikit_learns(threshold, ties):
    scores, target, sizes = example(ties=ties)
    found = of_each(scores, target, relevance_threshold=threshold)["map@50"]
    relevant = [(r >= threshold, s) for s, r in parts(scores, target, sizes)]
    expected = [
        sk.average_precision_score(r.numpy(), s.numpy()) if r.any() else math.nan
        for r, s in relevant
    ]
    assert found.tolist() == pytest.approx(expected, abs=1e-9, nan_ok=True)
    assert found.isnan().any()


def test_reciprocal_rank_precision_and_recall_by_hand():
    scores, target, sizes = example()
    found = of_each(scores, target)
    for number, (s, r) in enumerate(parts(scores, target, sizes)):
        shown = [bool(r[i] >= 1) for i in s.argsort(descending=True)]
        if not any(shown):
            assert all(
                value[number].isnan() for name, value in found.items() if not name.startswith("n")
            )
            continue
        assert float(found["mrr"][number]) == pytest.approx(1 / (shown.index(True) + 1), abs=1e-9)
        for k in TOP_K:
            hits = sum(shown[:k])
            assert float(found[f"precision@{k}"][number]) == pytest.approx(hits / k, abs=1e-9)
            assert float(found[f"recall@{k}"][number]) == pytest.approx(hits / sum(shown), abs=1e-9)


# ------------------------------------------------------------------------- ties


@pytest.mark.parametrize("name", ["mrr", "ndcg@{k}", "precision@{k}", "recall@{k}"])
@pytest.mark.parametrize("k", [1, 2, 4])
def test_equal_scores_count_as_their_mean_over_all_orders(name, k):
    scores = torch.tensor([2.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5])
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        relevance = torch.randint(0, 3, (7,), generator=generator).double()
        relevance[0] = 0
        one = Queries.begin(torch.eye(7)[0])
        found = values_of_queries(scores, relevance, one, [k])[name.format(k=k)]
        orders = []
        for middle in permutations(range(1, 5)):
            for last in permutations(range(5, 7)):
                order = [0, *middle, *last]
                untied = torch.arange(7.0, 0, -1)
                by_name = values_of_queries(untied, relevance[order], one, [k])
                orders.append(float(by_name[name.format(k=k)]))
        assert float(found) == pytest.approx(np.mean(orders), abs=1e-9, nan_ok=True)


def test_a_model_that_tells_nothing_apart_gains_nothing_from_the_order_of_the_file():
    relevance = torch.tensor([4.0, 3.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    one = Queries.begin(torch.eye(8)[0])
    first = values_of_queries(torch.zeros(8), relevance, one, TOP_K)
    last = values_of_queries(torch.zeros(8), relevance.flip(0), one, TOP_K)
    for name, value in first.items():
        torch.testing.assert_close(value, last[name])
    assert float(first["map@50"]) == float(first["precision@1"]) == 0.5


def test_map_at_a_cut_within_a_tie():
    """Of four ties two are relevant; of the first two ranks one is expected to be."""
    relevance = torch.tensor([1.0, 1.0, 0.0, 0.0])
    found = values_of_queries(torch.zeros(4), relevance, Queries.begin(torch.eye(4)[0]), [2])
    assert float(found["map@2"]) == pytest.approx(0.5)


# ------------------------------------------------------------------------- the mean


THEIRS = {
    "mrr": tm.RetrievalMRR,
    "ndcg": tm.RetrievalNormalizedDCG,
    "map": tm.RetrievalMAP,
    "precision": tm.RetrievalPrecision,
    "recall": tm.RetrievalRecall,
}


@pytest.mark.parametrize("action", ["neg", "pos", "skip"])
def test_the_mean_is_that_of_torchmetrics(action):
    scores, target, _ = example()
    ours = ranking_metrics(TOP_K, "linear", empty_target_action=action)
    ours.update(scores, target)
    grades = target[:, 0].long()
    for name, found in ours.compute().items():
        kind, _, k = name.partition("@")
        options = {"top_k": int(k)} if k else {}
        theirs = THEIRS[kind](empty_target_action=action, **options)
        indexes = target[:, 1].cumsum(0).long()
        theirs.update(scores, grades if kind == "ndcg" else grades >= 1, indexes=indexes)
        assert float(found) == pytest.approx(float(theirs.compute()), abs=1e-6), name


@pytest.mark.parametrize("action", ["neg", "pos", "skip"])
def test_pieces_of_any_size_give_the_same(action):
    scores, target, sizes = example(ties=True)
    whole = ranking_metrics(TOP_K, empty_target_action=action)
    whole.update(scores, target)
    expected = {name: float(value) for name, value in whole.compute().items()}
    for count in (1, 7, 59):
        pieces = ranking_metrics(TOP_K, empty_target_action=action)
        cuts = [sum(sizes[i : i + count]) for i in range(0, len(sizes), count)]
        for s, t in zip(scores.split(cuts), target.split(cuts), strict=True):
            pieces.update(s, t)
        found = {name: float(value) for name, value in pieces.compute().items()}
        assert found == pytest.approx(expected, abs=1e-12)


def test_single_precision_scores_keep_float64_values():
    scores, target, _ = example()
    single = scores.float()
    found, expected = of_each(single, target), of_each(single.double(), target)
    for name, value in found.items():
        assert value.dtype == torch.float64
        assert torch.equal(value.nan_to_num(-1), expected[name].nan_to_num(-1))


def test_no_query_left_is_nan_and_a_score_that_is_nan_is_no_value():
    target = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    metrics = ranking_metrics([2], empty_target_action="skip")
    metrics.update(torch.tensor([1.0, 2.0]), target)
    assert all(value.isnan() for value in metrics.compute().values())
    for score in (math.nan, math.inf):
        metrics = ranking_metrics([2])
        metrics.update(torch.tensor([score, 2.0]), target)
        assert all(value.isnan() for value in metrics.compute().values())


def test_one_sum_is_kept_for_all():
    scores, target, _ = example()
    metrics = ranking_metrics(TOP_K)
    metrics.update(scores, target)
    metrics.compute()
    updates = {id(metric.sums) for metric in metrics.values(copy_state=False)}
    assert len(updates) == 1
    alone = RankingMetric("ndcg@3", TOP_K)
    alone.update(scores, target)
    assert float(alone.compute()) == float(metrics.compute()["ndcg@3"])


def test_all_are_better_higher():
    assert set(ranking_metrics([2])) == set(metric_names([2]))
    assert all(metric.higher_is_better for metric in ranking_metrics([2]).values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (([0], 1.0, "neg"), "cut-offs are different numbers from 1 on, found .0."),
        (([3, 3], 1.0, "neg"), "cut-offs are different numbers"),
        (([3], 0.0, "neg"), "relevance_threshold must be above 0, found 0"),
        (([3], math.nan, "neg"), "relevance_threshold must be above 0, found nan"),
        (([3], 1.0, "error"), "empty_target_action must be neg, pos, skip, found 'error'"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        check_ranking_metrics(*options)
