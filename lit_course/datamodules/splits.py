"""Cut row numbers into training, validation and test splits: seeded, disjoint, stratified."""

from __future__ import annotations

import torch
from torch import Tensor


def split_rows(
    num_rows: int,
    *,
    val_size: int | float,
    test_size: int | float,
    seed: int,
    labels: Tensor | None = None,
    units: str = "rows",
) -> dict[str, Tensor]:
    """Deal the rows of a data set out to three disjoint splits.

    With ``labels`` each class is dealt out in proportion: its count in a split is its exact share
    rounded up or down, by largest remainder, so that the totals are met. Every class keeps at
    least one row in training; where that leaves a class too few rows, other classes give more. The
    test split does not depend on ``val_size``.

    Args:
        num_rows: Number of rows in the data set.
        val_size: Validation rows: a fraction in [0, 1), rounded to the nearest count, or an
            integer count.
        test_size: Test rows, in the same way.
        seed: Seed of the draw; the global random state is neither used nor changed.
        labels: Class of each row, ``(num_rows,)`` int64.
        units: What messages call the rows.

    Returns:
        Row numbers of ``"train"``, ``"val"`` and ``"test"``, each in data-set order.

    Raises:
        ValueError: If a size is out of range, rounds to nothing, or leaves no row for training.
    """
    num_test = _count("test_size", test_size, num_rows, units)
    num_val = _count("val_size", val_size, num_rows, units)
    if num_test + num_val >= num_rows:
        raise ValueError(
            f"val_size={val_size} and test_size={test_size} take {num_val} + {num_test} of "
            f"{num_rows} {units} and leave none for training: make them smaller."
        )
    classes = torch.zeros(num_rows, dtype=torch.int64)
    if labels is not None:
        classes = torch.unique(labels, return_inverse=True)[1]
    members = classes.bincount()
    test = _shares(num_test, members, limit=members - 1)
    val = _shares(num_val, members, limit=members - 1 - test)

    order = torch.randperm(num_rows, generator=torch.Generator().manual_seed(seed))
    grouped = order[classes[order].argsort(stable=True)]
    # The place of each row within its class: the first places are test, the next validation.
    place = torch.arange(num_rows) - (members.cumsum(0) - members).repeat_interleave(members)
    for_test = place < test.repeat_interleave(members)
    for_train = place >= (test + val).repeat_interleave(members)
    return {
        "train": grouped[for_train].sort().values,
        "val": grouped[~for_train & ~for_test].sort().values,
        "test": grouped[for_test].sort().values,
    }


def split_queries(
    group: Tensor, *, val_size: int | float, test_size: int | float, seed: int
) -> dict[str, Tensor]:
    """Deal queries out as ``split_rows`` deals rows: sizes count queries, and none is cut.

    Args:
        group: Number of each row's query, ``(N,)`` int64, from 0 without gaps.
        val_size: Validation queries: a fraction in [0, 1), or an integer count.
        test_size: Test queries, in the same way.
        seed: Seed of the draw.

    Returns:
        Row numbers of ``"train"``, ``"val"`` and ``"test"``, each in data-set order.

    Raises:
        ValueError: If a size is out of range, rounds to nothing, or leaves no query for training.
    """
    num_queries = int(group.max()) + 1
    queries = split_rows(
        num_queries, val_size=val_size, test_size=test_size, seed=seed, units="queries"
    )
    split_of = torch.zeros(num_queries, dtype=torch.int64)
    split_of[queries["test"]], split_of[queries["val"]] = 1, 2
    return _named(split_of[group])


def split_groups(
    groups: Tensor, *, val_size: int | float, test_size: int | float, seed: int
) -> dict[str, Tensor]:
    """Deal whole groups out, so that no group is in two splits.

    Groups come in a random order; each goes to the test split as long as that comes closer to its
    size by it, then to validation in the same way. At least one group is left for training.

    Args:
        groups: Group of each row, ``(N,)`` int64.
        val_size: Validation rows, as in ``split_rows``; met as closely as the groups allow.
        test_size: Test rows, in the same way.
        seed: Seed of the order.

    Raises:
        ValueError: If a size is out of range, or there are too few groups.
    """
    _, group_of, sizes = torch.unique(groups, return_inverse=True, return_counts=True)
    order = torch.randperm(len(sizes), generator=torch.Generator().manual_seed(seed)).tolist()
    split_of = torch.zeros(len(sizes), dtype=torch.int64)  # 0 is training
    for split, (name, size) in enumerate((("test_size", test_size), ("val_size", val_size)), 1):
        wanted = _count(name, size, len(groups))
        while wanted and len(order) > 1:
            rows = int(sizes[order[0]])
            if rows > 2 * wanted and (split_of == split).any():
                break
            split_of[order.pop(0)] = split
            wanted = max(0, wanted - rows)
        if size and not (split_of == split).any():
            raise ValueError(
                f"{name}={size} needs a group of its own, and there are {len(sizes)} groups for "
                "all splits: give more groups, or hold out less"
            )
    return _named(split_of[group_of])


def split_in_time(
    times: Tensor, *, val_size: int | float, test_size: int | float
) -> dict[str, Tensor]:
    """Train on the past, validate on what comes then, test on the last; nothing is drawn.

    Rows of one time stay together: they go to the later split.

    Args:
        times: Any number that grows with time, ``(N,)``.
        val_size: Validation rows, as in ``split_rows``.
        test_size: Test rows, in the same way.

    Raises:
        ValueError: If a size is out of range, or no time is left to train on.
    """
    num_test = _count("test_size", test_size, len(times))
    num_val = _count("val_size", val_size, len(times))
    ascending = times.sort().values
    split_of = torch.zeros(len(times), dtype=torch.int64)
    for split, held_out in ((2, num_val + num_test), (1, num_test)):
        if held_out >= len(times) or (held_out and ascending[-held_out] == ascending[0]):
            raise ValueError(
                f"val_size={val_size} and test_size={test_size} leave no earlier time to train "
                f"on, of {len(times)} rows at {len(torch.unique(times))} times: make them smaller"
            )
        if held_out:
            split_of[times >= ascending[-held_out]] = split
    return _named(split_of)


def _named(split_of: Tensor) -> dict[str, Tensor]:
    return {
        name: (split_of == split).nonzero().flatten()
        for name, split in (("train", 0), ("val", 2), ("test", 1))
    }


def _count(name: str, size: int | float, num_rows: int, units: str = "rows") -> int:
    """Turn a fraction or a count into a count."""
    if not (0 <= size < 1 if isinstance(size, float) else size >= 0):
        raise ValueError(
            f"{name} must be a fraction in [0, 1) or an integer count of {units}, found {size} "
            f"(the data set has {num_rows} {units})."
        )
    if not isinstance(size, float):
        return size
    count = round(size * num_rows)
    if count == 0 and size > 0:
        raise ValueError(
            f"{name}={size} of {num_rows} {units} is less than one: give a larger fraction, "
            "a count, or 0 for no such split."
        )
    return count


def _shares(size: int, members: Tensor, limit: Tensor) -> Tensor:
    """Divide ``size`` rows among classes in proportion to their members, by largest remainder.

    Args:
        size: Rows to divide.
        members: Rows of each class.
        limit: The most that each class may give.
    """
    exact = members.double() * size / members.sum()
    counts = exact.floor().long().minimum(limit)
    while (missing := size - int(counts.sum())) > 0:
        can_give = counts < limit
        if not can_give.any():
            raise ValueError(
                f"Cannot hold out {size} more rows: each of the {len(members)} classes keeps one "
                f"row for training, and all {int(members.sum())} rows are taken. "
                "Make val_size or test_size smaller."
            )
        remainder = (exact - counts).masked_fill(~can_give, -torch.inf)
        largest = remainder.argsort(descending=True, stable=True)[:missing]
        counts[largest] += can_give[largest]
    return counts
