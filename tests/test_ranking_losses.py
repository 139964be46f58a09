"""Losses of ranking: a loop over queries and pairs, and finite differences, say the same."""

import math

import pytest
import torch

from lit_course import pairs
from lit_course.ranking_losses import RANKING_LOSSES, make_ranking_loss

CASES = {
    "mse": {},
    "ranknet": {},
    "ranknet steep": {"sigma": 2.5},
    "lambdarank": {},
    "lambdarank of the first": {"k": 2, "sigma": 0.5},
    "listnet": {},
    "approx_ndcg": {},
    "approx_ndcg flat": {"alpha": 1.5},
}
every_loss = pytest.mark.parametrize("case", CASES)
every_gain = pytest.mark.parametrize("gain", ["linear", "exponential"])

# One item, alike, all irrelevant, and a large one between small ones.
RELEVANCE = [
    *([3], [0], [2, 2], [0, 0, 0], [1, 0], [0, 4]),
    [0, 1, 2, 3, 4, 0, 0, 1, 1, 2, 0, 3, 0, 0, 0.5, 2.25],
    *([2, 0, 1], [0, 0, 0, 1], [4, 3, 2, 1, 0]),
]


def batch(relevance=RELEVANCE, seed=0):
    """Scores without ties, and targets."""
    flat = [value for query in relevance for value in query]
    begins = [float(i == 0) for query in relevance for i in range(len(query))]
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(len(flat), generator=generator, dtype=torch.float64)
    return scores, torch.tensor([flat, begins], dtype=torch.float64).T


def make(case, gain="exponential"):
    return make_ranking_loss(case.split()[0], CASES[case], gain)


# ------------------------------------------------------------------------- by hand


def mse(s, r, gain):
    return sum((a - b) ** 2 for a, b in zip(s, r, strict=True)) / len(s)


def listnet(s, r, gain):
    p, q = ([math.exp(v) / sum(map(math.exp, values)) for v in values] for values in (r, s))
    return -sum(a * math.log(b) for a, b in zip(p, q, strict=True))


def ranknet(s, r, gain, sigma=1.0):
    n = range(len(s))
    values = [math.log1p(math.exp(-sigma * (s[i] - s[j]))) for i in n for j in n if r[i] > r[j]]
    return sum(values) / max(1, len(values))


def worth(r, gain):
    return r if gain == "linear" else 2**r - 1


def ideal(r, gain, k=None):
    best = sorted((worth(value, gain) for value in r), reverse=True)[:k]
    return sum(value / math.log2(rank + 1) for rank, value in enumerate(best, start=1))


def lambdarank(s, r, gain, sigma=1.0, k=None):
    """With weights at the order that ``s`` has now."""
    n = range(len(s))
    rank = [1 + sum(s[j] > s[i] for j in n) for i in n]

    def dcg(order):
        gained = (worth(r[i], gain) / math.log2(order[i] + 1) for i in n if order[i] <= (k or 99))
        return sum(gained)

    total = 0.0
    for i in n:
        for j in n:
            if r[i] > r[j]:
                swapped = list(rank)
                swapped[i], swapped[j] = rank[j], rank[i]
                change = abs(dcg(swapped) - dcg(rank)) / ideal(r, gain, k)
                total += change * math.log1p(math.exp(-sigma * (s[i] - s[j])))
    return total


def approx_ndcg(s, r, gain, alpha=10.0):
    if max(r) == min(r):
        return 0.0
    n, dcg = range(len(s)), 0.0
    for i in n:
        rank = 1 + sum(1 / (1 + math.exp(alpha * (s[i] - s[j]))) for j in n if j != i)
        dcg += worth(r[i], gain) / math.log2(1 + rank)
    return 1 - dcg / ideal(r, gain)


@every_gain
@every_loss
def test_each_query_has_the_value_of_a_loop_over_its_items(case, gain):
    scores, target = batch()
    found = make(case, gain).each(scores, target).tolist()
    by_hand = globals()[case.split()[0]]
    sizes = [len(query) for query in RELEVANCE]
    parts = zip(scores.split(sizes), RELEVANCE, strict=True)
    expected = [by_hand(s.tolist(), r, gain, **CASES[case]) for s, r in parts]
    assert found == pytest.approx(expected, abs=1e-9)


@every_loss
def test_the_loss_is_the_mean_over_queries_in_any_precision(case):
    scores, target = batch()
    loss = make(case)
    expected = loss.each(scores, target).mean()
    assert torch.equal(loss(scores, target), expected)
    single = loss(scores.float(), target)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=1e-5, atol=1e-5)
    assert loss(scores.bfloat16(), target).dtype == torch.float32


@every_gain
@every_loss
def test_the_gradient_is_a_finite_difference(case, gain):
    """LambdaRank's too: its weights depend on the order alone, which so small a step keeps."""
    scores, target = batch()
    loss = make(case, gain)
    leaf = scores.clone().requires_grad_()
    loss(leaf, target).backward()
    step = 1e-6
    for i in range(len(scores)):
        ahead, behind = scores.clone(), scores.clone()
        ahead[i] += step
        behind[i] -= step
        expected = (loss(ahead, target) - loss(behind, target)) / (2 * step)
        assert float(leaf.grad[i]) == pytest.approx(float(expected), abs=1e-6), i


@pytest.mark.parametrize("pairs_per_tile", [1, 7, 40])
@pytest.mark.parametrize("case", ["ranknet", "lambdarank", "approx_ndcg"])
def test_tiles_of_any_size_give_the_same(case, pairs_per_tile, monkeypatch):
    scores, target = batch()
    results = []
    for size in (pairs.PAIRS_PER_TILE, pairs_per_tile):
        monkeypatch.setattr(pairs, "PAIRS_PER_TILE", size)
        leaf = scores.clone().requires_grad_()
        values = make(case).each(leaf, target)
        (values * torch.arange(1, len(values) + 1)).sum().backward()
        results += [(values.detach(), leaf.grad)]
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)


# ------------------------------------------------------------------------- nothing to learn


@pytest.mark.parametrize("scores", [[0.0, 0.0, 0.0], [1.0, -2.0, 5.0], [1e4, -1e4, 0.0]])
@every_loss
def test_equal_relevance_gives_finite_values_and_gradients(case, scores):
    target = torch.tensor([[2.0, 1.0], [2.0, 0.0], [2.0, 0.0]])
    leaf = torch.tensor(scores, requires_grad=True)
    value = make(case)(leaf, target)
    value.backward()
    assert value.isfinite()
    assert leaf.grad.isfinite().all()
    if case.split()[0] not in ("mse", "listnet"):
        assert float(value.detach()) == 0
        assert not leaf.grad.any()


@every_loss
def test_one_item_has_nothing_to_be_ordered_with(case):
    leaf = torch.tensor([3.0], requires_grad=True)
    value = make(case)(leaf, torch.tensor([[1.0, 1.0]]))
    value.backward()
    pointwise = case == "mse"
    assert float(value.detach()) == pytest.approx(4.0 if pointwise else 0.0)
    assert float(leaf.grad) == pytest.approx(4.0 if pointwise else 0.0)


@every_loss
def test_scores_far_apart_stay_finite(case):
    scores, target = batch()
    leaf = (1e4 * scores).float().requires_grad_()
    value = make(case)(leaf, target)
    value.backward()
    assert value.isfinite()
    assert leaf.grad.isfinite().all()


@every_loss
def test_the_right_order_is_better_than_the_wrong_one(case):
    _, target = batch()
    loss = make(case)
    values = [float(loss(sign * target[:, 0], target)) for sign in (1, 0.1, -1)]
    assert values == sorted(values)
    assert values[0] < values[1]


@pytest.mark.parametrize("case", sorted(set(CASES) - {"mse"}))
def test_only_differences_of_scores_matter(case):
    scores, target = batch()
    loss = make(case)
    torch.testing.assert_close(loss(scores + 7, target), loss(scores, target))


# ------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("lamdarank", {}, "unknown loss 'lamdarank'; did you mean 'lambdarank'?"),
        ("ranknet", {"sigma": 0}, "sigma must be above 0 and finite, found 0"),
        ("lambdarank", {"sigma": math.inf}, "sigma must be above 0"),
        ("lambdarank", {"k": 0}, "k must be at least 1 or null, found 0"),
        ("approx_ndcg", {"alpha": -1}, "alpha must be above 0"),
        ("listnet", {"sigma": 1}, "unknown option of loss 'listnet' 'sigma'"),
        ("lambdarank", {"gain": "linear"}, "give it as gain"),
        ("lambdarank", {"sigma": "steep"}, "refuses its options"),
    ],
)
def test_unknown_options_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        make_ranking_loss(name, options, "exponential")


def test_an_unknown_gain_is_refused():
    with pytest.raises(ValueError, match="gain must be 'linear' or 'exponential', found 'cubic'"):
        make_ranking_loss("mse", {}, "cubic")


def test_the_table_holds_what_is_tested():
    assert {case.split()[0] for case in CASES} == set(RANKING_LOSSES)
