import gzip
import zlib

import polars as pl
import pytest

from lit_course.datamodules.table_files import scan_table


def read(path) -> pl.DataFrame:
    table = scan_table(str(path))
    return pl.DataFrame([table.column(name) for name in table.columns])


def test_reads_each_kind(tmp_path):
    table = pl.DataFrame({"a": [1, 2], "b": [0.5, 1.5]})
    table.write_csv(tmp_path / "t.csv")
    table.write_csv(tmp_path / "t.TSV", separator="\t")
    table.write_parquet(tmp_path / "t.parquet")
    for name in ("t.csv", "t.TSV", "t.parquet"):
        assert read(tmp_path / name).equals(table)


def test_text_in_the_last_row_is_text(tmp_path):
    (tmp_path / "t.csv").write_text("a\n" + "1\n" * 3000 + "x\n")
    assert read(tmp_path / "t.csv")["a"].dtype == pl.String


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "t.csv is empty"),
        ("t.csv", b"a,b\n", "t.csv has a header but no rows"),
        ("t.csv", b"a,b,a\n1,2,3\n", "t.csv has several columns of one name, 'a': rename them"),
        ("t.csv", b"a,b\n1,2\n3\n4,5\n", "row 2 has 1 values and the header 2, by ','"),
        ("t.csv", b'a,b\n"1\n1",2\n\n3\n4,5\n', "row 3 has 1 values and the header 2, by ','"),
        ("t.csv", b"a,,\n1,2,3\n", "t.csv has several columns of one name, '': rename them"),
        ("t.csv", b'a,b\n"1\n",2\n1,2,3\n', "row 2 has 3 values and the header 2, by ','; quote"),
        ("t.tsv", b"a\tb\n1\t2\t3\n", r"row 1 has 3 values and the header 2, by '\\t'"),
        ("t.csv", b"a;b\n1,5;2\n", "row 1 has 2 values and the header 1, by ','"),
        ("t.csv", b"a,b\n1,\xff\xfe\n", "line 2 is not UTF-8, it holds byte 0xff: save it as"),
        ("t.csv", gzip.compress(b"a,b\n1,2\n", mtime=0), "t.csv is compressed: unpack it first"),
        ("t.csv", zlib.compress(b"a,b\n1,2\n"), "t.csv is compressed: unpack it first"),
        ("t.parquet", b"junk", "t.parquet cannot be read as a table"),
        ("t.xlsx", b"", r"t.xlsx must end in .csv, .tsv or .parquet, found '.xlsx'"),
    ],
)
def test_refuses(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read(tmp_path / name)
    assert len(str(error.value).splitlines()) == 1


def test_refuses_what_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No file .*none\.csv"):
        read(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1"] * 20_000 + ["x"], pl.String),
        (["1"] * 20_000 + ["0.5"], pl.Float64),
        ([""] * 20_000 + ["1"], pl.Int64),
        (["true"] * 20_000 + ["maybe"], pl.String),
    ],
)
def test_types_are_of_all_rows(tmp_path, cells, expected):
    """The first ten thousand rows only give a guess."""
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{cell},1\n" for cell in cells))
    assert read(tmp_path / "t.csv")["a"].dtype == expected
