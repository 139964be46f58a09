"""Rows of queries: sorted as a loop would, whatever their numbers are made of."""

import pytest
import torch

from lit_course.queries import Queries


@pytest.fixture
def queries():
    sizes = torch.tensor([1, 7, 2, 40, 1, 5])
    begins = torch.zeros(56)
    begins[sizes.cumsum(0) - sizes] = 1
    return Queries.begin(begins)


def test_sizes_places_and_sums(queries):
    assert queries.sizes.tolist() == [1, 7, 2, 40, 1, 5]
    assert queries.place.tolist() == [i for n in (1, 7, 2, 40, 1, 5) for i in range(n)]
    values = torch.arange(112).view(56, 2)
    expected = torch.stack([part.sum(0) for part in values.split([1, 7, 2, 40, 1, 5])])
    assert torch.equal(queries.sum(values), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64])
def test_they_descend_and_equal_ones_keep_their_order(queries, dtype):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(56, generator=generator) * 10.0 ** torch.randint(
        -30, 30, (56,), generator=generator
    )
    values[10:40] = (values[10:40].sign() * 2).round()  # ties
    values[20:30] = torch.tensor([0.0, -0.0, 0.0, torch.inf, -torch.inf] * 2)
    if not dtype.is_floating_point:
        values = values.clamp(-9, 9)
    values = values.to(dtype)
    expected = []
    for first, size in zip(queries.first.tolist(), queries.sizes.tolist(), strict=True):
        rows = range(first, first + size)
        expected += sorted(rows, key=lambda row: -values[row].item())
    assert queries.descending(values).tolist() == expected
    ranks = queries.ranks(values)
    assert torch.equal(ranks[queries.descending(values)], queries.place + 1)


def test_no_rows_are_no_queries():
    none = Queries.begin(torch.zeros(0))
    assert len(none) == 0
    assert len(none.of_row) == len(none.place) == len(none.descending(torch.zeros(0))) == 0
