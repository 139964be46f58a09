import pytest
import torch

from lit_course.datamodules.samples import Samples, Split

X = torch.arange(8, dtype=torch.float32).reshape(4, 2)
Y = torch.tensor([0.5, 1.0, 1.5, 2.0])
LABELS = torch.tensor([0, 1, 2, 0])


def with_value(tensor: torch.Tensor, index: object, value: float) -> torch.Tensor:
    tensor = tensor.clone()
    tensor[index] = value
    return tensor


def test_sizes_and_names():
    samples = Samples(X, LABELS, 3, ["a", "b"], ["x", "y", "z"], ["kind"])
    assert len(samples) == 4
    assert samples.in_features == 2
    assert samples.schema == {
        "feature_names": ["a", "b"],
        "class_names": ["x", "y", "z"],
        "target_names": ["kind"],
    }
    images = Samples(torch.zeros(4, 1, 5, 6, dtype=torch.uint8), LABELS, 3)
    assert images.in_features == 30


def test_split_shares_its_samples():
    samples = Samples(X, Y)
    split = Split(samples, torch.tensor([1, 3]))
    assert len(split) == 2
    assert torch.equal(split.y, Y[[1, 3]])
    assert len(Split(samples)) == 4
    assert Split(samples).y is Y
    assert split.weight is None
    weighted = Samples(X, LABELS, 3, weight=Y)
    assert torch.equal(Split(weighted, torch.tensor([1, 3])).weight, Y[[1, 3]])
    assert Split(weighted).weight is Y


NAN, INF = float("nan"), float("inf")
BAD = [
    ({"x": Y}, r"one row per sample, found shape \(4,\)"),
    ({"x": X.double()}, "X must be uint8 or float32, found torch.float64"),
    ({"y": Y[:3]}, r"found shapes \(4, 2\) and \(3,\)"),
    ({"x": X[:0], "y": Y[:0]}, "At least 1 row and 1 feature are needed, found 0 and 2"),
    ({"x": X[:, :0]}, "At least 1 row and 1 feature are needed, found 4 and 0"),
    ({"feature_names": ["a"]}, "feature_names must have 2 entries, found 1"),
    ({"x": with_value(X, (2, 1), NAN)}, "X holds nan in row 2, column 1: "),
    (
        {"x": with_value(X, (2, 1), INF), "feature_names": ["a", "b"], "first_row": 1},
        "X holds inf in row 3, column 'b': ",
    ),
    ({"y": with_value(Y, 3, -INF)}, "y holds -inf in row 3"),
    (
        {"y": with_value(X, (1, 0), NAN), "target_names": ["u", "v"]},
        "y holds nan in row 1, column 'u'",
    ),
    ({"y": LABELS}, "must be float32, found torch.int64.*give num_classes"),
    ({"y": X[:, :, None]}, r"y must have shape \(N,\) or \(N, k\), found \(4, 2, 1\)"),
    ({"target_names": ["a", "b"]}, "target_names must have 1 entries, found 2"),
    ({"y": LABELS, "num_classes": 1}, "At least 2 classes are needed, found 1"),
    ({"y": LABELS, "num_classes": 2}, r"must be 0..1, found 2 in row 2"),
    (
        {"y": with_value(LABELS, 1, -1), "num_classes": 3, "first_row": 1},
        "must be 0..2, found -1 in row 2",
    ),
    ({"y": LABELS[:, None], "num_classes": 3}, r"must have shape \(N,\), found \(4, 1\)"),
    ({"y": LABELS.int(), "num_classes": 3}, "must be int64, found torch.int32"),
    ({"y": LABELS.float(), "num_classes": 3}, "whole numbers: convert them to integers"),
    ({"y": Y, "num_classes": 3}, "must be whole numbers, found 0.5 in row 0"),
    (
        {"y": LABELS, "num_classes": 3, "class_names": ["a"]},
        "class_names must have 3 entries, found 1",
    ),
    ({"weight": Y.double()}, "Weights must be float32, found torch.float64"),
    ({"weight": Y[:3]}, r"Weights must have shape \(4,\), found \(3,\): give one for each row"),
    ({"weight": Y[:, None]}, r"Weights must have shape \(4,\), found \(4, 1\)"),
    ({"weight": with_value(Y, 2, -0.5)}, "not negative, found -0.5 in row 2: 0 leaves a row out"),
    (
        {"weight": with_value(Y, 2, NAN), "first_row": 1},
        "Weights must be finite and not negative, found nan in row 3",
    ),
    ({"weight": with_value(Y, 0, INF)}, "found inf in row 0"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_refuses(change, message):
    with pytest.raises(ValueError, match=message) as error:
        Samples(**{"x": X, "y": Y, **change})
    assert len(str(error.value).splitlines()) <= 5


# ------------------------------------------------------------------- queries


def ranked(group: list[int], **others: object) -> Samples:
    count = len(group)
    return Samples(torch.rand(count, 2), torch.rand(count), group=torch.tensor(group), **others)


def test_a_split_knows_its_queries():
    samples = ranked([0, 0, 1, 2, 2, 2])
    assert Split(samples).queries.tolist() == [0, 1, 2]
    assert Split(samples, torch.tensor([0, 1, 3, 4, 5])).queries.tolist() == [0, 2]
    assert Split(samples, torch.arange(0)).queries.tolist() == []
    assert Split(Samples(X, Y)).queries is None


@pytest.mark.parametrize("rows", [[0, 2], [1, 0, 2, 0], [3, 4, 5, 0]])
def test_a_cut_query_is_refused(rows):
    with pytest.raises(ValueError, match="Query 0 is in more than one split"):
        _ = Split(ranked([0, 0, 1, 2, 2, 2]), torch.tensor(rows)).queries


@pytest.mark.parametrize(
    ("group", "found"),
    [
        ([0, 1, 0], "found 0 in row 3"),
        ([0, 2, 2], "found 2 in row 2"),
        ([1, 1, 2], "found 1 in row 1"),
        ([-1, 0, 1], "found -1 in row 1"),
        ([0, 0, -1], "found -1 in row 3"),
    ],
)
def test_queries_are_numbered_in_the_order_of_their_rows(group, found):
    with pytest.raises(ValueError, match=f"numbered from 0 in the order.*{found}"):
        ranked(group, first_row=1)


def test_queries_have_one_int64_for_each_row_and_no_weights():
    with pytest.raises(ValueError, match=r"int64 of shape \(3,\), found torch.float32 of \(3,\)"):
        Samples(torch.rand(3, 2), torch.rand(3), group=torch.zeros(3))
    with pytest.raises(ValueError, match=r"int64 of shape \(3,\), found torch.int64 of \(2,\)"):
        Samples(torch.rand(3, 2), torch.rand(3), group=torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match="Items of queries are not weighted"):
        ranked([0, 0, 1], weight=torch.ones(3))
