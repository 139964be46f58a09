"""Read a file of ranking data in SVMlight's format, or say in one line why not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from lit_course.datamodules.expansion import ALWAYS, MAX_RATIO, UnsoundFileError
from lit_course.datamodules.given_file import given_file
from lit_course.datamodules.svmlight_text import LineError, parse_lines

BLOCK = 2 << 20  # bytes of text that are parsed at once
LONGEST = 64 << 20  # bytes of a line


@dataclass(frozen=True, eq=False)
class RankedItems:
    """The items of a file, in its order.

    Args:
        x: Features ``(N, D)`` float32; those that a line does not name are 0.
        relevance: ``(N,)`` float32; 0 where it was not read.
        group: Number of each item's query, ``(N,)`` int64, from 0.
        query_names: What the file calls each query; None if it does not.
    """

    x: Tensor
    relevance: Tensor
    group: Tensor
    query_names: list[str] | None


def read_svmlight(
    file: str,
    query_file: str | None = None,
    *,
    num_features: int | None = None,
    zero_based: bool = False,
    with_relevance: bool = True,
) -> RankedItems:
    """Read lines ``relevance qid:query index:value ... # comment``, whose indices ascend.

    Where lines have no ``qid:``, a file beside this one says how many items each query has, in
    order, a number a line, as LightGBM has it. The text is read in blocks: what is in memory is
    the dense table, once.

    Args:
        file: Path of the items.
        query_file: Path of the numbers of items; ``<file>.query`` if not given and needed.
        num_features: Number of features; if not given, the largest index says it.
        zero_based: Whether features count from 0; else from 1.
        with_relevance: Whether the relevance is read. If not it may be missing.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a line is not of this form, the items of a query are not together, their
            numbers do not add up, or the table would not fit into memory. File and line are named.
    """
    path = given_file(file)
    first_index = 0 if zero_based else 1
    tables: list[NDArray[np.float32]] = []
    relevance: list[NDArray[np.float32]] = []
    queries: list[pl.DataFrame] = []
    items, width = 0, num_features or 0
    try:
        for line, text in _blocks(path):
            rows = parse_lines(
                text,
                line,
                first_index=first_index,
                num_features=num_features,
                with_relevance=with_relevance,
            )
            queries.append(rows.queries.with_columns(pl.col("row") + items))
            items, width = items + len(rows), max(width, rows.width)
            _check_memory(path, items, width)
            relevance.append(rows.relevance)
            tables.append(rows.dense())
        if items == 0:
            raise UnsoundFileError(f"{path} is empty: a line for each item of a query is needed.")
        if width == 0:
            raise UnsoundFileError(f"{path} names no feature index:value in {items:,} items.")
        sizes, names = _queries(path, query_file, pl.concat(queries), items)
    except LineError as error:
        raise ValueError(f"{path}, {error}") from error
    return RankedItems(
        x=_joined(tables, items, width),
        relevance=torch.from_numpy(np.concatenate(relevance)),
        group=torch.arange(len(sizes)).repeat_interleave(torch.from_numpy(sizes)),
        query_names=names,
    )


def _blocks(path: Path) -> Iterator[tuple[int, str]]:
    """Whole lines, about ``BLOCK`` bytes at once, and the number of the first one."""
    line = 1
    with path.open("rb") as file:
        while text := file.read(BLOCK):
            rest = b"" if text.endswith(b"\n") else file.readline(LONGEST)
            if len(rest) == LONGEST:
                raise LineError(line + text.count(b"\n"), f"it has more than {LONGEST:,} bytes")
            text += rest
            # Bytes that are no text become a sign that is no number either.
            yield line, text.decode(errors="replace")
            line += text.count(b"\n")


def _check_memory(path: Path, items: int, width: int) -> None:
    """Refuse a table that this machine has no room for, or that no file of this size is about."""
    needed = 4 * items * width
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    room = min(memory // 2, max(ALWAYS, MAX_RATIO * path.stat().st_size))
    if needed > room:
        raise UnsoundFileError(
            f"{path}: {items:,} items of {width:,} features are {needed:,} bytes in memory, where "
            f"zeros are kept too, and {room:,} are allowed here: number the features that occur "
            "from 1 without gaps, or take fewer."
        )


def _joined(tables: list[NDArray[np.float32]], items: int, width: int) -> Tensor:
    """One table of the blocks, each of which is given up once it is copied."""
    if len(tables) == 1 and tables[0].shape == (items, width):
        return torch.from_numpy(tables.pop())
    # NumPy's zeros take memory only where they are written to, torch's at once.
    x, end = np.zeros((items, width), dtype=np.float32), items
    while tables:
        table = tables.pop()
        start = end - len(table)
        x[start:end, : table.shape[1]] = table
        end = start
    return torch.from_numpy(x)


def _queries(
    path: Path, query_file: str | None, changes: pl.DataFrame, items: int
) -> tuple[NDArray[np.int64], list[str] | None]:
    """How many items each query has, and what it is called.

    Args:
        path: The file of the items.
        query_file: The file of the numbers of items, if one is given.
        changes: Where ``qid`` changes from one ``row`` to the next, at which ``line``; at least
            these places.
        items: Number of rows.
    """
    named = changes["qid"].is_not_null()
    if named.any() != named.all():
        line = changes["line"][int((named != named[0]).arg_true()[0])]
        raise LineError(line, f"{'no' if named[0] else 'a'} qid:, other than in the lines before")
    if not named[0]:
        beside = Path(f"{path}.query") if query_file is None else given_file(query_file)
        if not beside.is_file():
            raise ValueError(
                f"{path} has no qid:, and there is no file {beside} that says how many items each "
                "query has."
            )
        return _read_sizes(beside, path, items), None
    if query_file is not None:
        raise ValueError(f"{path} has qid:, and {query_file} is given: one of them is needed.")
    queries = changes.filter(pl.col("qid").ne_missing(pl.col("qid").shift()))
    again = ~queries["qid"].is_first_distinct()
    if again.any():
        found = queries.row(int(again.arg_true()[0]), named=True)
        raise LineError(
            found["line"], f"query {found['qid']!r:.40} again: the items of a query stand together"
        )
    return np.diff(queries["row"].to_numpy(), append=items), queries["qid"].to_list()


def _read_sizes(beside: Path, path: Path, items: int) -> NDArray[np.int64]:
    """The numbers of items of LightGBM's file, one a line."""
    if beside.stat().st_size > 32 * items + 1024:  # no count of items has so many digits
        raise ValueError(f"{beside} is too large to count the {items:,} items of {path}.")
    text = beside.read_text(encoding="utf-8", errors="replace").rstrip()
    lines = pl.Series(text.split("\n")).str.strip_chars()
    sizes = lines.cast(pl.Int64, strict=False).fill_null(0)
    if (sizes < 1).any():
        line = int((sizes < 1).arg_true()[0])
        raise ValueError(
            f"{beside}, line {line + 1:,}: {lines[line]!r:.40} is no number of items from 1 on"
        )
    if sizes.sum() != items:
        raise ValueError(
            f"{beside} counts {sizes.sum():,} items in {len(sizes):,} queries, and {path} has "
            f"{items:,}: it is not the file of these rows."
        )
    return sizes.to_numpy(writable=True)
