"""Any table in a file is trained on, or refused in words that say where to look.

The files are written by Python's ``csv`` and by polars, so that reading is not tested by itself.
"""

import csv
import warnings
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lightning.pytorch import Trainer

from lit_course import CSVDataModule, MLPClassifier, MLPRegressor
from lit_course.datamodules.table_files import scan_table

NAMES = st.one_of(
    st.sampled_from(["", " ", "größe", "a b", 'say "x"', "a,b", "a\tb", "two\nlines", "0", "null"]),
    st.text(st.characters(codec="utf-8"), max_size=5),
)
MARKS = st.sampled_from(["", "?", "NA", "null", "NaN", " "])
KINDS = {
    "number": st.floats(-1e15, 1e15).map(str),
    "whole": st.integers(-50, 50).map(str),
    "decimal": st.decimals(-100, 100, places=2).map(str),
    "date": st.dates(date(1900, 1, 1), date(2100, 1, 1)).map(str),
    "moment": st.datetimes(datetime(1900, 1, 1)).map(lambda when: f"{when:%Y-%m-%d %H:%M:%S}"),
    "boolean": st.sampled_from(["true", "false"]),
    "level": st.sampled_from(["red", "a,b", "a\tb", 'say "x"', "two\nlines", "größe", "\r"]),
    "text": st.text(st.characters(codec="utf-8"), max_size=8),
    "huge": st.sampled_from(["1e39", "1e400", "-inf", str(2**70)]),
}
TYPED = {
    "decimal": lambda cell: Decimal(cell),
    "number": float,
    "whole": int,
    "date": date.fromisoformat,
    "moment": datetime.fromisoformat,
    "boolean": lambda cell: cell == "true",
}


@st.composite
def tables(draw) -> tuple[list[str], list[str], list[list[str]]]:
    """Names, kinds and columns of text; the last column is the target ``y``."""
    rows = draw(st.sampled_from([1, 2, 12, 20, 20, 20, 30]))
    count = draw(st.sampled_from([1, 2, 3, 3, 4, 60]))
    names = draw(st.lists(NAMES.filter(lambda name: name != "y"), max_size=3, unique=True))
    names += [f"x{i}" for i in range(len(names), count)]
    kinds = [draw(st.sampled_from([*KINDS])) for _ in names[:4]]
    kinds += kinds[-1:] * (len(names) - len(kinds))
    targets = ["whole", "number", "boolean", "level", "level", "date", "text"]
    kinds.append(draw(st.sampled_from(targets)))
    columns = []
    for kind in kinds:
        cell = st.one_of(*[KINDS[kind]] * draw(st.sampled_from([1, 3])), MARKS)
        cell = cell if draw(st.booleans()) else KINDS[kind]
        columns.append(draw(st.lists(cell, min_size=rows, max_size=rows)))
    return [*names, "y"], kinds, columns


def write_text(path: Path, names: list[str], columns: list[list[str]], *, quote: bool) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        quoting = csv.QUOTE_ALL if quote else csv.QUOTE_MINIMAL
        separator = "," if path.suffix == ".csv" else "\t"
        rows = csv.writer(file, delimiter=separator, quoting=quoting, lineterminator="\n")
        rows.writerow(names)
        rows.writerows(zip(*columns, strict=True))


def write_parquet(path: Path, names: list[str], kinds: list[str], columns: list[list[str]]) -> None:
    def typed(kind: str, cell: str) -> object:
        return None if cell.strip() in ("", "?", "NA", "null", "NaN") else TYPED[kind](cell)

    pl.DataFrame(
        [
            pl.Series(name, [typed(kind, c) for c in column] if kind in TYPED else column)
            for name, kind, column in zip(names, kinds, columns, strict=True)
        ]
    ).write_parquet(path)


def train(path: Path) -> None:
    data = CSVDataModule(str(path), "y", val_size=0.2, test_size=0.2)
    data.setup("fit")
    flags = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    trainer = Trainer(accelerator="cpu", max_epochs=1, **dict.fromkeys(flags, False))
    kind = MLPRegressor if data.num_classes is None else MLPClassifier
    model = kind(hidden_features=[4])
    trainer.fit(model, datamodule=data)
    trainer.test(model, datamodule=data, verbose=False)


def ends_well(path: Path) -> bool:
    """Whether it was trained on; else what refused it must say where to look."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            train(path)
        except (ValueError, OSError) as error:
            refusal = str(error)
        else:
            return True
    assert path.name in refusal, refusal
    assert len(refusal.splitlines()) <= 5, refusal
    return False


def quick(examples: int):
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )


MANY = pytest.mark.parametrize("examples", [12, pytest.param(400, marks=pytest.mark.slow)])


@MANY
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_any_file_is_trained_on_or_refused_by_its_name(tmp_path, suffix, examples):
    ended = []

    @quick(examples)
    @given(tables(), st.booleans())
    def check(table, quote):
        names, kinds, columns = table
        path = tmp_path / f"table{suffix}"
        if suffix == ".parquet":
            write_parquet(path, names, kinds, columns)
        else:
            write_text(path, names, columns, quote=quote)
        ended.append(ends_well(path))

    check()
    assert any(ended)
    assert not all(ended)


def cut(content: bytes, place: int) -> bytes:
    return content[:place]


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :]


def null_byte(content: bytes, place: int) -> bytes:
    return content[:place] + b"\0" + content[place:]


def other_delimiter(content: bytes, place: int) -> bytes:
    return content.replace(b",", b";\t| "[place % 4 :][:1])


def ragged(content: bytes, place: int) -> bytes:
    lines = content.split(b"\n")
    row = place % len(lines)
    lines[row] = lines[row] + b",1" if place % 2 else lines[row].rpartition(b",")[0]
    return b"\n".join(lines)


def byte_order_mark(content: bytes, place: int) -> bytes:
    return b"\xef\xbb\xbf" + content


def windows(content: bytes, place: int) -> bytes:
    return content.replace(b"\n", b"\r\n")


def quote_lost(content: bytes, place: int) -> bytes:
    return content[:place] + b'"' + content[place:]


COLORS = ("red", '"a,b"', '"say ""x"""')
HONEST = "größe,color,since,y\n" + "".join(
    f"{i / 4},{COLORS[i % 3]},2024-01-{1 + i % 28:02},{'NY'[i % 2]}\n" for i in range(40)
)
ACCIDENTS = [cut, flipped, null_byte, other_delimiter, ragged, quote_lost]
HARMLESS = [byte_order_mark, windows]


@pytest.mark.parametrize("accident", ACCIDENTS)
@pytest.mark.parametrize("examples", [4, pytest.param(200, marks=pytest.mark.slow)])
def test_a_damaged_file_is_trained_on_or_refused_by_its_name(tmp_path, accident, examples):
    path = tmp_path / "table.csv"
    content = HONEST.encode()

    @quick(examples)
    @given(st.integers(0, len(content) - 1))
    def check(place):
        path.write_bytes(accident(content, place))
        ends_well(path)

    check()


def test_the_honest_file_is_trained_on(tmp_path):
    (tmp_path / "table.csv").write_text(HONEST)
    assert ends_well(tmp_path / "table.csv")


@pytest.mark.parametrize("accident", HARMLESS)
def test_what_spreadsheets_write_is_the_same_table(tmp_path, accident):
    path = tmp_path / "table.csv"
    path.write_text(HONEST)
    expected = scan_table(str(path))
    path.write_bytes(accident(HONEST.encode(), 0))
    found = scan_table(str(path))
    assert found.columns == expected.columns
    assert all(found.column(name).equals(expected.column(name)) for name in found.columns)


def test_latin_1_is_refused_by_its_name(tmp_path):
    (tmp_path / "table.csv").write_bytes(HONEST.encode("latin-1"))
    assert not ends_well(tmp_path / "table.csv")


def test_targets_beyond_int64_are_a_regression(tmp_path):
    rows = "".join(f'{i}," {i + 1}e30"\n' for i in range(20))
    (tmp_path / "table.csv").write_text("a,y\n" + rows)
    assert ends_well(tmp_path / "table.csv")
