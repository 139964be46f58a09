"""Codes to columns and vectors."""

import pytest
import torch

from lit_course.categories import OneHot, TableInput, categories, embedding_width, table_width

COLUMNS = [
    {"kind": "number", "fill": [1.0], "missing": True, "levels": [], "others": False},
    {"kind": "category", "fill": [], "missing": False, "levels": ["a", "b"], "others": False},
    {"kind": "date", "fill": [1.0, 2.0], "missing": False, "levels": [], "others": False},
    {"kind": "category", "fill": [], "missing": True, "levels": ["x"], "others": True},
]
CODED = categories({"table": {"columns": COLUMNS}})


def test_the_features_that_hold_codes():
    assert CODED == {2: ["a", "b", None, None], 5: ["x", "(missing)", "(other)"]}
    assert categories({}) == {}


def test_one_column_for_each_code_that_training_has_seen():
    layer = OneHot(6, CODED)
    numbers = [10.0, 11.0, 12.0, 13.0]
    x = torch.tensor(
        [[10, 11, code, 12, 13, other] for code, other in [(0, 2), (1, 0), (2, 1), (3, 9)]]
    )
    expected = [[1, 0, 0, 0, 1], [0, 1, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1]]
    assert layer(x).tolist() == [numbers + hot for hot in expected]
    assert layer(x, torch.float64).dtype == torch.float64
    assert layer.out_features == table_width(6, CODED) == 9
    names = ["n", "n.missing", "k", "d.year", "d.month", "o"]
    assert layer.names(names)[4:] == ["k=a", "k=b", "o=x", "o=(missing)", "o=(other)"]
    assert layer.names(names)[:4] == ["n", "n.missing", "d.year", "d.month"]
    assert not layer.state_dict()


def test_many_levels_get_a_learned_vector_and_what_was_never_seen_is_zero():
    coded = {0: ["a", "b", None, None], 1: [*map(str, range(30)), None, "(other)"]}
    layer = TableInput(3, coded, one_hot_levels=20, standardize=True)
    width = embedding_width(32)
    assert layer.out_features == table_width(3, coded, 20) == 1 + 2 + width
    x = torch.tensor([[0.0, 5.0, 7.0], [1.0, 30.0, 7.0], [0.0, 31.0, 7.0], [0.0, 99.0, 7.0]])
    out = layer(x)
    assert out.shape == (4, layer.out_features)
    vectors = out[:, 3:]
    assert (vectors[1] == 0).all()
    assert (vectors[0] != 0).all()
    assert torch.equal(vectors[2], vectors[3])  # a code that can't be is another one
    vectors[0].sum().backward()
    (vectors_of,) = layer.embeddings
    assert vectors_of.weight.grad.abs().sum(1).nonzero().flatten().tolist() == [5]


@pytest.mark.parametrize(("codes", "width"), [(1, 2), (10, 6), (100, 21), (1000, 50), (10**6, 50)])
def test_the_width_of_a_vector(codes, width):
    assert embedding_width(codes) == width
