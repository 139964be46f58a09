import pytest
import torch

from lit_course.datamodules.batches import Batches
from lit_course.datamodules.query_batches import QueryBatches

SIZES = [3, 1, 4, 2, 5, 1, 2, 6, 1, 3]
GROUP = torch.arange(10).repeat_interleave(torch.tensor(SIZES))
Y = torch.arange(len(GROUP), dtype=torch.float32)  # each item its own
X = torch.stack([Y, 10 * Y], 1)
QUERIES = torch.tensor([1, 2, 4, 7, 8, 9])


def loader(queries=None, **options) -> QueryBatches:
    return QueryBatches(X, Y, GROUP, queries, **options)


def order(batches: Batches) -> list[int]:
    """The queries of an epoch, each checked to be whole and in the order of its rows."""
    seen = []
    for x, y, extras in batches:
        assert torch.equal(x, X[y.long()])
        assert extras["group"].dtype == torch.int64
        assert torch.equal(extras["group"], GROUP[y.long()])
        start = 0
        while start < len(y):
            query = int(extras["group"][start])
            assert y[start : start + SIZES[query]].tolist() == Y[GROUP.eq(query)].tolist()
            seen.append(query)
            start += SIZES[query]
    return seen


@pytest.mark.parametrize("queries", [None, QUERIES])
def test_queries_come_as_given_without_shuffling(queries):
    expected = list(range(10)) if queries is None else queries.tolist()
    batches = loader(queries, batch_size=4)
    assert order(batches) == expected
    assert len(batches) == len(list(batches)) == -(-len(expected) // 4)
    counts = [len(extras["group"].unique()) for _, _, extras in batches]
    assert counts == [min(4, len(expected) - start) for start in range(0, len(expected), 4)]


@pytest.mark.parametrize("queries", [None, QUERIES])
@pytest.mark.parametrize("seed", [0, 7])
def test_queries_are_ordered_as_batches_orders_rows(queries, seed):
    options = {"batch_size": 3, "shuffle": True, "seed": seed}
    numbers = torch.arange(10)
    rows = Batches(numbers, numbers, queries, **options)
    batches = loader(queries, **options)
    orders = []
    for epoch in range(4):
        rows.set_epoch(epoch)
        batches.sampler.set_epoch(epoch)
        torch.rand(epoch + 1)  # the global random state must not matter
        orders.append(order(batches))
        assert orders[-1] == torch.cat([y for _, y in rows]).tolist()
    assert len({tuple(one) for one in orders}) == 4


def test_global_random_state_is_left_alone():
    before = torch.get_rng_state()
    order(loader(batch_size=3, shuffle=True))
    assert torch.equal(torch.get_rng_state(), before)


def test_an_interrupted_epoch_goes_on_behind_its_last_batch():
    options = {"batch_size": 3, "shuffle": True, "seed": 2}
    whole = list(loader(**options))
    rest = list(loader(**options, first_batch=lambda: 2))
    assert len(rest) == len(whole) - 2
    for (x, y, extras), (same_x, same_y, same) in zip(whole[2:], rest, strict=True):
        assert torch.equal(x, same_x)
        assert torch.equal(y, same_y)
        assert torch.equal(extras["group"], same["group"])


@pytest.mark.parametrize("queries", [None, QUERIES])
def test_row_numbers_are_those_of_the_data_set(queries):
    seen = []
    for x, y, extras in loader(queries, batch_size=4, with_rows=True):
        assert extras.keys() == {"row", "group"}
        assert torch.equal(x, X[extras["row"]])
        assert torch.equal(y, Y[extras["row"]])
        assert torch.equal(extras["group"], GROUP[extras["row"]])
        seen += extras["row"].tolist()
    chosen = GROUP if queries is None else torch.isin(GROUP, queries)
    assert seen == (list(range(len(Y))) if queries is None else chosen.nonzero()[:, 0].tolist())


def parts(world_size: int, queries: int = 10, **options) -> list[QueryBatches]:
    """The loaders of all processes over the first queries."""
    return [
        loader(torch.arange(queries), rank=rank, world_size=world_size, **options)
        for rank in range(world_size)
    ]


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize(("world_size", "batch_size"), [(2, 2), (2, 3), (3, 1), (3, 2), (4, 2)])
def test_processes_in_step_see_what_one_sees(world_size, batch_size, drop_last):
    options = {"shuffle": True, "seed": 5, "drop_last": drop_last}
    one = [y for _, y, _ in loader(batch_size=world_size * batch_size, **options)]
    many = parts(world_size, batch_size=batch_size, **options)
    assert len({len(batches) for batches in many}) == 1
    together = [torch.cat([y for _, y, _ in step]) for step in zip(*many, strict=True)]
    if len(GROUP[one[-1].long()].unique()) < world_size:  # too few to give each one
        one.pop()
    assert [step.tolist() for step in together] == [step.tolist() for step in one]
    for batches in many:
        order(batches)  # no query is cut


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 12])
@pytest.mark.parametrize("queries", [0, 1, 5, 10])
def test_out_of_step_each_query_comes_once_in_order(world_size, queries):
    many = parts(world_size, queries, batch_size=2, in_step=False)
    assert [query for batches in many for query in order(batches)] == list(range(queries))
    # Lightning wants every process to have a batch, or none to have one.
    assert all(len(list(batches)) == len(batches) >= 1 for batches in many) or queries == 0
    for batches in many:
        for x, y, extras in batches:
            assert x.shape == (len(y), 2)
            assert extras["group"].shape == y.shape


def test_the_last_batch_is_told_by_its_fewest_rows():
    # 1 query is left over, and the smallest ones have 1 row.
    assert loader(batch_size=3, shuffle=True).last_batch == 1
    assert loader(batch_size=4).last_batch == 1 + 1
    assert loader(batch_size=5).last_batch == 1 + 1 + 1 + 2 + 2
    assert loader(QUERIES, batch_size=4).last_batch == 1 + 1


def test_refusals_speak_of_queries():
    with pytest.raises(ValueError, match="every query: 6 queries do not fill one batch of 7"):
        loader(QUERIES, batch_size=7, drop_last=True)
    with pytest.raises(ValueError, match="6 training queries are too few for 7 processes"):
        loader(QUERIES, batch_size=1, world_size=7)
    with pytest.raises(ValueError, match="batch_size must be at least 1, found 0"):
        loader(batch_size=0)
