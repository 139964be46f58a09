"""Losses of ranking. A loss is a module from ``(scores, target)`` to the mean over the queries.

Scores are ``(B,)``. A target ``(B, 2)`` holds the relevance of an item and whether a query begins
with it (1 or 0); the items of a query stand together. Only the order of scores within a query
matters, except to ``mse``. A query of one item, or whose items are all equally relevant, has no
order to learn: it counts as 0, and the rest of the batch is divided by it too; ``mse`` and
``listnet`` have a value of it, as said there.

Memory: of pairs no more than a tile (see ``pairs.py``); of items the number of queries times the
size of the largest.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit_course.dcg import Gain, check_gain, discounts, gains, ideal_dcg
from lit_course.losses import make_loss
from lit_course.pairs import sum_over_rows
from lit_course.queries import Queries


class RankingLoss(nn.Module, ABC):
    """Mean loss over the queries of a batch, each counting the same whatever its size."""

    def __init__(self) -> None:  # torch's own takes anything
        super().__init__()

    def forward(self, scores: Tensor, target: Tensor) -> Tensor:
        """Scores ``(B,)`` and targets ``(B, 2)`` to a scalar."""
        return self.each(scores, target).mean()

    def each(self, scores: Tensor, target: Tensor) -> Tensor:
        """The loss of each query, ``(Q,)``, in float32 at least."""
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        relevance, begins = target.unbind(1)
        return self.of_queries(scores, relevance.to(scores.dtype), Queries.begin(begins))

    @abstractmethod
    def of_queries(self, scores: Tensor, relevance: Tensor, queries: Queries) -> Tensor:
        """The loss of each query, ``(Q,)``, of scores and relevance ``(B,)``."""


class MSE(RankingLoss):
    """Pointwise: mean over the items of a query of (score - relevance)²."""

    def of_queries(self, scores: Tensor, relevance: Tensor, queries: Queries) -> Tensor:
        """See the class; of one item it is the square itself."""
        return queries.sum((scores - relevance).square()) / queries.sizes


class ListNet(RankingLoss):
    """Listwise: cross entropy between the softmax of relevance and the softmax of scores.

    The top-one probabilities of Cao et al., "Learning to Rank: From Pairwise Approach to Listwise
    Approach" (2007). Of equally relevant items it is lowest, log n, where all scores are equal.
    """

    def of_queries(self, scores: Tensor, relevance: Tensor, queries: Queries) -> Tensor:
        """See the class; of one item it is 0."""
        level = queries.padded(scores, -math.inf).logsumexp(1)
        wanted = queries.padded(relevance, -math.inf).softmax(1)[queries.of_row, queries.place]
        return level - queries.sum(wanted * scores)


class RankNet(RankingLoss):
    """Pairwise: mean over the pairs of a query with rᵢ > rⱼ of log(1 + exp(-sigma · (sᵢ - sⱼ))).

    After Burges et al., "Learning to Rank using Gradient Descent" (2005), whose target probability
    is 1 here; pairs of equal relevance are left out.

    Args:
        sigma: Steepness, above 0.
    """

    def __init__(self, sigma: float = 1.0) -> None:
        super().__init__()
        self.sigma = _positive("sigma", sigma)

    def of_queries(self, scores: Tensor, relevance: Tensor, queries: Queries) -> Tensor:
        """See the class."""
        order, less = _least_first(relevance, queries)
        scaled = self.sigma * scores[order]
        total = sum_over_rows(self._of_rows, scaled, [relevance[order]], less, queries)
        return total / queries.sum(less).clamp_min(1)

    @staticmethod
    def _of_rows(s: Tensor, s_others: Tensor, r: Tensor, r_others: Tensor) -> Tensor:
        return -F.logsigmoid(s - s_others).masked_fill(r_others >= r, 0).sum(1)


class LambdaRank(RankingLoss):
    """Sum over the pairs of a query with rᵢ > rⱼ of ``|ΔNDCG| · log(1 + exp(-sigma · (sᵢ - sⱼ)))``.

    ``|ΔNDCG|`` is how much NDCG@k would change if the two changed places in the present order:
    ``|gainᵢ - gainⱼ| · |1/log2(1 + rankᵢ) - 1/log2(1 + rankⱼ)| / ideal DCG@k``, ranks beyond k
    discounted by 0. After Burges, "From RankNet to LambdaRank to LambdaMART: An Overview" (2010).
    The gradient takes it for a constant, which it is as long as no two scores change places; equal
    scores are ranked in their order.

    Args:
        sigma: Steepness, above 0.
        k: Only the first k ranks count; null counts all.
        gain: ``linear`` for the relevance itself, ``exponential`` for 2^relevance - 1.
    """

    def __init__(
        self, sigma: float = 1.0, k: int | None = None, gain: Gain = "exponential"
    ) -> None:
        super().__init__()
        check_gain(gain)
        if k is not None and k < 1:
            raise ValueError(f"k must be at least 1 or null, found {k}")
        self.sigma = _positive("sigma", sigma)
        self.k = k
        self.gain = gain

    def of_queries(self, scores: Tensor, relevance: Tensor, queries: Queries) -> Tensor:
        """See the class."""
        gained = gains(relevance, self.gain)
        best = ideal_dcg(gained, queries, self.k)
        shares = gained / best.where(best > 0, 1)[queries.of_row]
        ranks = queries.ranks(scores.detach())
        discount = discounts(ranks, self.k).to(scores.dtype)
        order, less = _least_first(relevance, queries)
        columns = [shares[order], discount[order]]
        return sum_over_rows(self._of_rows, self.sigma * scores[order], columns, less, queries)

    @staticmethod
    def _of_rows(
        s: Tensor,
        s_others: Tensor,
        share: Tensor,
        share_others: Tensor,
        discount: Tensor,
        discount_others: Tensor,
    ) -> Tensor:
        change = (share - share_others).clamp_min_(0).mul_((discount - discount_others).abs_())
        return -(F.logsigmoid(s - s_others) * change).sum(1)


class ApproxNDCG(RankingLoss):
    """1 - NDCG, its ranks made smooth: 1 + sum over the others of sigmoid(alpha · (sⱼ - sᵢ)).

    After Qin, Liu and Li, "A general approximation framework for direct optimization of information
    retrieval measures" (2010), without truncation.

    Args:
        alpha: Steepness, above 0: the larger, the nearer to the ranks, and the flatter elsewhere.
        gain: ``linear`` for the relevance itself, ``exponential`` for 2^relevance - 1.
    """

    def __init__(self, alpha: float = 10.0, gain: Gain = "exponential") -> None:
        super().__init__()
        check_gain(gain)
        self.alpha = _positive("alpha", alpha)
        self.gain = gain

    def of_queries(self, scores: Tensor, relevance: Tensor, queries: Queries) -> Tensor:
        """See the class."""
        gained = gains(relevance, self.gain)
        ordered = queries.sum(_least_first(relevance, queries)[1]) > 0
        best = ideal_dcg(gained, queries)
        shares = gained / best.where(best > 0, 1)[queries.of_row]
        gaining = (gained > 0) & ordered[queries.of_row]
        widths = queries.sizes[queries.of_row].where(gaining, 0)
        reached = sum_over_rows(self._of_rows, self.alpha * scores, [shares], widths, queries)
        return ordered.to(reached.dtype) - reached

    @staticmethod
    def _of_rows(s: Tensor, s_others: Tensor, share: Tensor, _: Tensor) -> Tensor:
        # Against itself an item has 1/2.
        rank = 0.5 + torch.sigmoid(s_others - s).sum(1)
        return share.squeeze(1) / torch.log2(1 + rank)


def _positive(name: str, value: float) -> float:
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be above 0 and finite, found {value}")
    return value


def _least_first(relevance: Tensor, queries: Queries) -> tuple[Tensor, Tensor]:
    """Row numbers such that within each query relevance ascends, ``(N,)``.

    And, in this order, of how many items of its query each one is more relevant, ``(N,)``.
    """
    order = queries.descending(-relevance)
    ascending = relevance[order]
    rises = queries.place == 0
    rises[1:] |= ascending[1:] != ascending[:-1]
    levels = Queries.begin(rises)
    return order, queries.place[levels.first][levels.of_row]


def make_ranking_loss(name: str, options: Mapping[str, Any], gain: Gain) -> RankingLoss:
    """Build a loss by name.

    Args:
        name: ``mse``, ``ranknet``, ``lambdarank``, ``listnet`` or ``approx_ndcg``.
        options: The loss's own options, as typed.
        gain: For those that know one.

    Raises:
        ValueError: If the name or an option is unknown, or a value is refused.
    """
    check_gain(gain)
    given = {"gain": gain} if name in ("lambdarank", "approx_ndcg") else {}
    loss = make_loss(name, RANKING_LOSSES, options, **given)
    assert isinstance(loss, RankingLoss)
    return loss


RANKING_LOSSES: dict[str, Callable[..., RankingLoss]] = {
    "mse": MSE,
    "ranknet": RankNet,
    "lambdarank": LambdaRank,
    "listnet": ListNet,
    "approx_ndcg": ApproxNDCG,
}
