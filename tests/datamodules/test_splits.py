import pytest
import torch

from lit_course.datamodules.splits import split_queries, split_rows

LABELS = torch.tensor([0] * 61 + [1] * 29 + [2] * 7 + [3] * 3)
GENERATOR = torch.Generator().manual_seed(0)


def counts(rows: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return labels[rows].bincount(minlength=int(labels.max()) + 1)


@pytest.mark.parametrize("labels", [None, LABELS])
@pytest.mark.parametrize(
    ("val_size", "test_size", "sizes"),
    [
        (0.1, 0.2, (70, 10, 20)),
        (13, 0.25, (62, 13, 25)),
        (0, 0, (100, 0, 0)),
        (0.0, 1, (99, 0, 1)),
        (0.104, 0.106, (79, 10, 11)),
    ],
)
def test_splits_are_disjoint_complete_sorted_and_of_the_size_asked(
    labels, val_size, test_size, sizes
):
    splits = split_rows(100, val_size=val_size, test_size=test_size, seed=1, labels=labels)
    assert tuple(len(splits[name]) for name in ("train", "val", "test")) == sizes
    assert torch.cat(list(splits.values())).sort().values.tolist() == list(range(100))
    for rows in splits.values():
        assert rows.dtype == torch.int64
        assert torch.equal(rows, rows.sort().values)


@pytest.mark.parametrize("labels", [None, LABELS])
def test_the_seed_and_nothing_else_decides(labels):
    def of(seed: int) -> list[int]:
        return split_rows(100, val_size=0.2, test_size=0.2, seed=seed, labels=labels)[
            "val"
        ].tolist()

    first = of(0)
    state = torch.get_rng_state()
    torch.rand(3)
    assert of(0) == first
    assert of(1) != first
    torch.set_rng_state(state)
    of(0)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_test_split_does_not_depend_on_val_size():
    tests = [
        split_rows(100, val_size=val_size, test_size=0.2, seed=0, labels=LABELS)["test"]
        for val_size in (0, 0.1, 30)
    ]
    assert torch.equal(tests[0], tests[1])
    assert torch.equal(tests[0], tests[2])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("val_size", "test_size"), [(0.1, 0.1), (0.15, 0.3), (7, 0.2), (0, 5)])
def test_every_class_gets_its_share(seed, val_size, test_size):
    generator = torch.Generator().manual_seed(seed)
    members = torch.randint(5, 60, (7,), generator=generator)
    labels = torch.arange(7).repeat_interleave(members)
    labels = labels[torch.randperm(len(labels), generator=generator)]
    splits = split_rows(
        len(labels), val_size=val_size, test_size=test_size, seed=seed, labels=labels
    )
    for name in ("val", "test"):
        exact = members * len(splits[name]) / len(labels)
        assert ((counts(splits[name], labels) - exact).abs() < 1).all()


def test_shares_do_not_depend_on_the_order_of_the_rows():
    shuffled = LABELS[torch.randperm(100, generator=GENERATOR)]
    for name, rows in split_rows(100, val_size=17, test_size=0.3, seed=0, labels=LABELS).items():
        other = split_rows(100, val_size=17, test_size=0.3, seed=0, labels=shuffled)[name]
        assert torch.equal(counts(rows, LABELS), counts(other, shuffled))


def test_rows_are_drawn_from_the_whole_class():
    """Not only the first rows: over many seeds each row of a class is held out about as often."""
    labels = torch.tensor([0] * 10 + [1] * 10)
    held_out = torch.zeros(20)
    for seed in range(200):
        held_out[split_rows(20, val_size=0, test_size=0.3, seed=seed, labels=labels)["test"]] += 1
    assert held_out.min() > 30
    assert held_out.max() < 90


@pytest.mark.parametrize(("val", "test"), [(14, 0), (0, 14), (8, 8)])
def test_a_lonely_member_of_a_class_stays_in_training(val, test):
    """Also where its remainder, 14/22, is the largest."""
    labels = torch.tensor([0] * 10 + [1] * 10 + [2] + [3])
    for seed in range(20):
        splits = split_rows(22, val_size=val, test_size=test, seed=seed, labels=labels)
        assert {20, 21} <= set(splits["train"].tolist())
        assert (len(splits["val"]), len(splits["test"])) == (val, test)


def test_every_class_keeps_a_row_for_training():
    labels = torch.tensor([0, 0, 1, 1])  # as small as it gets: XOR
    splits = split_rows(4, val_size=1, test_size=1, seed=0, labels=labels)
    assert counts(splits["train"], labels).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"val_size": 0.5, "test_size": 0.5}, r"take 5 \+ 5 of 10 rows and leave none"),
        ({"val_size": 7, "test_size": 4}, r"take 7 \+ 4 of 10 rows and leave none"),
        ({"val_size": 1.0}, r"val_size must be a fraction in \[0, 1\).*found 1.0.*10 rows"),
        ({"test_size": -1}, r"test_size must be a fraction .*found -1 .*10 rows"),
        ({"test_size": -0.1}, r"test_size must be a fraction .*found -0.1"),
        ({"test_size": float("nan")}, r"test_size must be a fraction .*found nan"),
        ({"val_size": 0.01}, "val_size=0.01 of 10 rows is less than one:"),
        ({"test_size": 0.04}, "test_size=0.04 of 10 rows is less than one:"),
    ],
)
def test_refuses_impossible_sizes(sizes, message):
    with pytest.raises(ValueError, match=message):
        split_rows(10, **{"val_size": 0, "test_size": 0, "seed": 0, **sizes})


def test_refuses_to_empty_classes():
    with pytest.raises(ValueError, match="Cannot hold out 2 more rows: each of the 5 classes"):
        split_rows(6, val_size=2, test_size=0, seed=0, labels=torch.tensor([0, 1, 2, 3, 4, 4]))


# ------------------------------------------------------------------- queries

GROUP = torch.arange(40).repeat_interleave(torch.arange(40) % 7 + 1)


def test_queries_are_dealt_out_whole_and_counted():
    splits = split_queries(GROUP, val_size=0.1, test_size=7, seed=3)
    queries = {name: set(GROUP[rows].tolist()) for name, rows in splits.items()}
    assert {name: len(numbers) for name, numbers in queries.items()} == {
        "train": 29,
        "val": 4,
        "test": 7,
    }
    assert torch.cat(list(splits.values())).sort().values.tolist() == list(range(len(GROUP)))
    assert len(queries["train"] | queries["val"] | queries["test"]) == 40
    for rows in splits.values():
        assert torch.equal(rows, rows.sort().values)
    by_query = split_rows(40, val_size=0.1, test_size=7, seed=3)
    assert {name: sorted(numbers) for name, numbers in queries.items()} == {
        name: numbers.tolist() for name, numbers in by_query.items()
    }


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"val_size": 20, "test_size": 0.5}, r"take 20 \+ 20 of 40 queries and leave none"),
        ({"val_size": 1.5}, r"integer count of queries, found 1.5 \(the data set has 40 queries"),
        ({"test_size": 0.01}, "test_size=0.01 of 40 queries is less than one:"),
    ],
)
def test_refuses_impossible_numbers_of_queries(sizes, message):
    with pytest.raises(ValueError, match=message):
        split_queries(GROUP, **{"val_size": 0, "test_size": 0, "seed": 0, **sizes})
