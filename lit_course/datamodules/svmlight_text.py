"""Lines of SVMlight's format as arrays; what is no such line is refused with its number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray


class LineError(ValueError):
    """A line that is refused.

    Args:
        line: Its number, from 1.
        reason: What is wrong with it.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line:,}: {reason}")


@dataclass(frozen=True, eq=False)
class SparseRows:
    """The rows of some lines, in their order.

    Args:
        relevance: ``(N,)`` float32.
        queries: Where the text behind ``qid:`` changes: ``qid`` (null without), ``row``, ``line``.
        row: Row of each value that is named, int64, from 0.
        column: Its column, int64, from 0.
        value: The value, float32.
    """

    relevance: NDArray[np.float32]
    queries: pl.DataFrame
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    value: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.relevance)

    @property
    def width(self) -> int:
        """Number of columns."""
        return int(self.column.max(initial=-1)) + 1

    def dense(self) -> NDArray[np.float32]:
        """All values ``(N, width)``; those that no line names are 0."""
        table = np.zeros((len(self), self.width), dtype=np.float32)
        table[self.row, self.column] = self.value
        return table


def parse_lines(
    text: str,
    first_line: int,
    *,
    first_index: int = 1,
    num_features: int | None = None,
    with_relevance: bool = True,
) -> SparseRows:
    """Parse lines ``relevance [qid:text] index:value ... [# comment]``; empty ones are passed over.

    Args:
        text: The lines.
        first_line: Number of the first one in its file.
        first_index: Index of the first feature, 0 or 1.
        num_features: Number of features that are known; any, if not given.
        with_relevance: Whether the relevance is read. If not it may be missing, and is 0.

    Raises:
        LineError: For a line that is not of this form, whose indices do not ascend, or whose
            numbers are not what they must be.
    """
    lines = _lines(text, first_line)
    if not with_relevance:
        unlabelled = pl.col("text").str.contains(r"^\S*:")
        lines = lines.with_columns(
            text=pl.when(unlabelled).then("0 " + pl.col("text")).otherwise("text")
        )
    relevance, rest = _split_off(pl.col("text"), " ")
    lines = lines.select("line", relevance=relevance, rest=rest.str.strip_chars_start())
    qid, behind = _split_off(pl.col("rest").str.strip_prefix("qid:"), " ")
    has_qid = pl.col("rest").str.starts_with("qid:")
    lines = lines.with_columns(
        qid=pl.when(has_qid).then(qid), rest=pl.when(has_qid).then(behind).otherwise("rest")
    )
    if (lines["qid"] == "").any():
        line = lines["line"][int((lines["qid"] == "").arg_true()[0])]
        raise LineError(line, "qid: without the name of a query")
    queries = lines.with_row_index("row").filter(
        pl.col("qid").ne_missing(pl.col("qid").shift()) | (pl.col("row") == 0)
    )
    features = _features(lines)
    _refuse_features(features, lines["line"], first_index, num_features)
    return SparseRows(
        relevance=_relevance(lines) if with_relevance else np.zeros(len(lines), np.float32),
        queries=queries.select("qid", pl.col("row", "line").cast(pl.Int64)),
        row=features["row"].cast(pl.Int64).to_numpy(),
        column=features["index"].to_numpy() - first_index,
        value=features["value"].to_numpy(),
    )


def _lines(text: str, first_line: int) -> pl.DataFrame:
    if "\t" in text:
        text = text.replace("\t", " ")
    lines = pl.DataFrame({"text": pl.Series([text]).str.split("\n").explode()})
    lines = lines.with_row_index("line", offset=first_line)
    if "#" in text:
        lines = lines.with_columns(_split_off(pl.col("text"), "#")[0].alias("text"))
    return lines.with_columns(pl.col("text").str.strip_chars()).filter(pl.col("text") != "")


def _split_off(text: pl.Expr, sign: str) -> tuple[pl.Expr, pl.Expr]:
    """What is before the first sign, and what is behind it: null if there is none."""
    parts = text.str.splitn(sign, 2).struct
    return parts.field("field_0"), parts.field("field_1")


def _features(lines: pl.DataFrame) -> pl.DataFrame:
    """The features of all lines: ``row``, ``token``, ``index``, ``value``; null is no number."""
    words = lines.select(token=pl.col("rest").str.split(" ")).with_row_index("row").explode("token")
    index, value = _split_off(pl.col("token"), ":")
    return words.filter(pl.col("token") != "").with_columns(
        index=index.cast(pl.Int64, strict=False), value=value.cast(pl.Float32, strict=False)
    )


def _refuse_features(
    features: pl.DataFrame, lines: pl.Series, first_index: int, num_features: int | None
) -> None:
    index, value, row = features["index"], features["value"], features["row"]
    beyond = pl.Series([False]) if num_features is None else index >= first_index + num_features
    hint = "; if this file counts from 0, say zero_based" if first_index else ""
    for wrong, reason in (
        (index.is_null() | value.is_null(), "{token!r:.40} is no feature index:value"),
        (index < first_index, f"feature index {{index}}, and they count from {first_index}{hint}"),
        (beyond, f"feature index {{index}} is beyond the {num_features} that training saw"),
        (
            (index <= index.shift()) & (row == row.shift()),
            "{token!r:.40} follows a feature index "
            "that is not smaller: the indices of a line ascend, each once",
        ),
        (~value.is_finite(), "feature {index} is {value}: values are finite numbers"),
    ):
        if wrong.any():
            first = wrong.arg_true()[0]
            found = features.row(first, named=True)
            raise LineError(lines[found["row"]], reason.format(**found))


def _relevance(lines: pl.DataFrame) -> NDArray[np.float32]:
    numbers = lines["relevance"].cast(pl.Float32, strict=False)
    for wrong, reason in (
        (numbers.is_null(), "relevance {!r:.40} is not a number"),
        ((numbers < 0) | ~numbers.is_finite(), "relevance {}: it is finite and not negative"),
    ):
        if wrong.any():
            first = wrong.arg_true()[0]
            raise LineError(lines["line"][first], reason.format(lines["relevance"][first]))
    return numbers.to_numpy()
