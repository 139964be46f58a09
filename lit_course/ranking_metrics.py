"""Metrics of ranking, exact over a split: of every query, and their mean.

Relevance is graded; what needs it binary takes an item for relevant from a threshold on. With r
relevant items in a query, and h of them among its first k ranks:

- ``ndcg@k``: DCG@k over that of the best order, as scikit-learn's ``ndcg_score``;
- ``map@k``: the mean of the precisions at the ranks of these h items, as torchmetrics has it; with
  k that leaves none out it is scikit-learn's ``average_precision_score``;
- ``precision@k``: h / k, of fewer items too; ``recall@k``: h / r;
- ``mrr``: 1 / the rank of the first relevant item.

Items of equal scores have no order: a value is the expected one over all of their orders, so that
a model which tells nothing apart gains nothing from the order of a file. In ``map@k``, as in
scikit-learn, each of them has the precision at the last of their ranks. Scores may be any number;
torchmetrics takes an item with a score of 0 or less for not found.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from lit_course.dcg import Gain, discounts, gains
from lit_course.queries import Queries

EmptyAction = Literal["neg", "pos", "skip"]
CUT_OFF = ("ndcg", "map", "precision", "recall")


def metric_names(top_k: Sequence[int]) -> list[str]:
    """What is reported with these cut-offs."""
    return ["mrr", *(f"{name}@{k}" for name in CUT_OFF for k in top_k)]


def values_of_queries(
    scores: Tensor,
    relevance: Tensor,
    queries: Queries,
    top_k: Sequence[int],
    gain: Gain = "exponential",
    relevance_threshold: float = 1.0,
) -> dict[str, Tensor]:
    """Every metric of every query, ``(Q,)`` float64, by its name.

    NaN where it is not defined: ``ndcg@k`` of a query without any gain, the others of one without a
    relevant item.

    Args:
        scores: ``(N,)``, finite; the highest comes first.
        relevance: ``(N,)``, not negative.
        queries: Of the N items.
        top_k: Cut-offs, each at least 1.
        gain: ``linear`` for the relevance itself, ``exponential`` for 2^relevance - 1.
        relevance_threshold: The least relevance of an item that is relevant.
    """
    order = queries.descending(scores)
    ordered, relevance = scores[order], relevance.double()
    # Equal scores are to a query what a query is to the batch.
    apart = queries.place == 0
    apart[1:] |= ordered[1:] != ordered[:-1]
    ties = Queries.begin(apart)

    ranks, cut = queries.place[:, None] + 1, torch.tensor(top_k, device=scores.device)
    within = (ranks <= cut).double()  # (N, K)
    discounted = within * discounts(ranks)
    gained = gains(relevance, gain)
    dcg = queries.sum(gained[order, None] * _expected(discounted, ties))
    best = queries.descending(relevance.float())  # gains rise with it
    ideal = queries.sum(gained[best, None] * discounted)

    relevant = (relevance >= relevance_threshold)[order].double()
    total = queries.sum(relevant)
    hits = relevant[:, None] * _expected(within, ties)
    retrieved = queries.sum(hits)
    by_name = {
        "ndcg": dcg / ideal.where(ideal > 0, torch.nan),
        "map": _average_precision(hits, cut, ties, queries),
        "precision": retrieved / cut,
        "recall": retrieved / total[:, None],
    }
    values = [_reciprocal_rank(relevant, ties, queries)]
    values += [column for name in CUT_OFF for column in by_name[name].unbind(1)]
    named = dict(zip(metric_names(top_k), values, strict=True))
    empty = total == 0
    return {
        name: value if name.startswith("ndcg") else value.masked_fill(empty, torch.nan)
        for name, value in named.items()
    }


def _expected(values: Tensor, ties: Queries) -> Tensor:
    """The mean over a tie of values ``(N, K)`` by rank, for each of its items."""
    if len(ties) == len(values):
        return values
    return (ties.sum(values) / ties.sizes[:, None]).index_select(0, ties.of_row)


def _before(values: Tensor, queries: Queries) -> Tensor:
    """Sum of values ``(N, ...)`` over the earlier ranks of the same query."""
    before = values.cumsum(0) - values
    return before - before[queries.first].index_select(0, queries.of_row)


def _average_precision(hits: Tensor, cut: Tensor, ties: Queries, queries: Queries) -> Tensor:
    """``(Q, K)``, of hits ``(N, K)`` by rank, and cut-offs ``(K,)``."""
    last = ties.first + ties.sizes - 1
    found = (_before(hits, queries) + hits).index_select(0, last)
    taken = torch.minimum(queries.place[last, None] + 1, cut)
    precision = (found / taken).index_select(0, ties.of_row)
    retrieved = queries.sum(hits)
    return queries.sum(hits * precision) / retrieved.where(retrieved > 0, 1)


def _reciprocal_rank(relevant: Tensor, ties: Queries, queries: Queries) -> Tensor:
    """``(Q,)``, of whether items are relevant ``(N,)``, by rank; 0 without a relevant item."""
    count = ties.sum(relevant)
    leading = (count > 0) & (_before(relevant, queries)[ties.first] == 0)
    rows = leading[ties.of_row].nonzero().squeeze(1)
    size, count = (values[ties.of_row[rows]].double() for values in (ties.sizes, count))
    # Of m items in any order, t of them relevant, the j-th is the first of these with probability
    # C(m - j, t - 1) / C(m, t).
    after = size - 1 - ties.place[rows]
    probability = (_log_choose(after, count - 1) - _log_choose(size, count)).exp()
    values = relevant.new_zeros(len(queries))
    return values.index_add_(0, queries.of_row[rows], probability / (queries.place[rows] + 1))


def _log_choose(n: Tensor, k: Tensor) -> Tensor:
    return torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)


class RankingMetric(Metric):
    """The mean over all queries of one of these values.

    Those of the same arguments share their sums in a collection, whatever they are called.

    Args:
        name: One of ``metric_names(top_k)``.
        top_k: Cut-offs.
        gain: See ``values_of_queries``.
        relevance_threshold: See there.
        empty_target_action: What a query counts of which a value is not defined, as in
            torchmetrics: ``neg`` 0, ``pos`` 1, ``skip`` nothing, and NaN if none is left.
    """

    higher_is_better = True
    is_differentiable = False
    full_state_update = False

    sums: Tensor
    counts: Tensor

    def __init__(
        self,
        name: str,
        top_k: Sequence[int],
        gain: Gain = "exponential",
        relevance_threshold: float = 1.0,
        empty_target_action: EmptyAction = "neg",
    ) -> None:
        super().__init__()
        names = metric_names(top_k)
        self.number = names.index(name)
        self.top_k = list(top_k)
        self.gain: Gain = gain
        self.relevance_threshold = relevance_threshold
        self.empty_target_action = empty_target_action
        for state in ("sums", "counts"):
            zeros = torch.zeros(len(names), dtype=torch.float64)
            self.add_state(state, default=zeros, dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add whole queries.

        Args:
            preds: Scores ``(N,)``.
            target: Relevance, and whether a query begins with the item (1 or 0), ``(N, 2)``.
        """
        relevance, begins = target.unbind(1)
        queries = Queries.begin(begins)
        by_name = values_of_queries(
            preds, relevance, queries, self.top_k, self.gain, self.relevance_threshold
        )
        values = torch.stack(list(by_name.values()), 1)
        skips = self.empty_target_action == "skip"
        # A score that is not a number leaves no value of the split one.
        self.sums += values.nan_to_num(float(self.empty_target_action == "pos")).sum(0)
        self.sums += 0 * preds.double().sum()
        self.counts += (~values.isnan()).sum(0) if skips else len(queries)

    def compute(self) -> Tensor:
        """The mean, ``()`` float64."""
        return self.sums[self.number] / self.counts[self.number]


def ranking_metrics(
    top_k: Sequence[int],
    gain: Gain = "exponential",
    relevance_threshold: float = 1.0,
    empty_target_action: EmptyAction = "neg",
) -> MetricCollection:
    """Every value, by name; see ``RankingMetric``."""
    names = metric_names(top_k)
    options = (top_k, gain, relevance_threshold, empty_target_action)
    metrics: dict[str, Metric | MetricCollection] = {
        name: RankingMetric(name, *options) for name in names
    }
    return MetricCollection(metrics, compute_groups=[names])


def check_ranking_metrics(
    top_k: Sequence[int], relevance_threshold: float, empty_target_action: str
) -> None:
    """Refuse options that no metric has.

    Raises:
        ValueError: Naming the one.
    """
    if any(k < 1 for k in top_k) or len(set(top_k)) < len(top_k):
        raise ValueError(f"top_k: cut-offs are different numbers from 1 on, found {list(top_k)}")
    if not relevance_threshold > 0:
        raise ValueError(f"relevance_threshold must be above 0, found {relevance_threshold}")
    if empty_target_action not in get_args(EmptyAction):
        known = ", ".join(get_args(EmptyAction))
        raise ValueError(f"empty_target_action must be {known}, found {empty_target_action!r}")
