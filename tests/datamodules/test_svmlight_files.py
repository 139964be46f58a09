"""Reading equals scikit-learn's reader; what it would misread is refused by file and line."""

import re

import numpy as np
import pytest
import torch
from sklearn.datasets import dump_svmlight_file, load_svmlight_file

from lit_course.datamodules import svmlight_files
from lit_course.datamodules.svmlight_files import read_svmlight

RANDOM = np.random.default_rng(0)
LINES = [
    "2 qid:10 1:0.5 3:-1e-3 # docid = GX001 inc = 1 prob = 0.2",
    "0 qid:10 2:7",
    "# a comment of its own",
    "",
    "4.5 qid:7 4:1",
    "1 qid:7",
]


@pytest.fixture
def written(tmp_path):
    """Write lines to a file; returns its path."""

    def write(*lines: str, name: str = "rank.txt", end: str = "\n") -> str:
        path = tmp_path / name
        path.write_bytes((end.join(lines) + end).encode())
        return str(path)

    return write


def test_a_letor_file(written):
    items = read_svmlight(written(*LINES))
    table = [[0.5, 0, -1e-3, 0], [0, 7, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
    torch.testing.assert_close(items.x, torch.tensor(table))
    assert items.relevance.tolist() == [2, 0, 4.5, 1]
    assert items.group.tolist() == [0, 0, 1, 1]
    assert items.query_names == ["10", "7"]


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line.replace(" ", "\t"),
        lambda line: line.replace(" ", "  ") + " ",
        lambda line: "  " + line + "\t",
        lambda line: line + "\r",
        lambda line: line + " # größe",
    ],
)
def test_space_and_line_ends_do_not_matter(written, change):
    plain, changed = read_svmlight(written(*LINES)), read_svmlight(written(*map(change, LINES)))
    assert torch.equal(plain.x, changed.x)
    assert torch.equal(plain.relevance, changed.relevance)
    assert changed.query_names == plain.query_names


def test_the_last_line_needs_no_end(tmp_path):
    (tmp_path / "rank.txt").write_text("1 qid:1 1:1\n0 qid:1 2:3")
    assert read_svmlight(str(tmp_path / "rank.txt")).x.tolist() == [[1, 0], [0, 3]]


def test_it_reads_what_scikit_learn_reads(tmp_path, monkeypatch):
    x = RANDOM.normal(size=(300, 40)) * (RANDOM.random((300, 40)) < 0.2)
    x[:, 39] = 1  # there is a last one
    relevance, qids = RANDOM.integers(0, 5, 300), np.sort(RANDOM.integers(0, 50, 300))
    file = str(tmp_path / "rank.txt")
    dump_svmlight_file(x, relevance, file, zero_based=False, query_id=qids)
    expected, y, ids = load_svmlight_file(file, query_id=True)
    for block in (200, 5_000, 1 << 20):  # cut within queries, and not at all
        monkeypatch.setattr(svmlight_files, "BLOCK", block)
        items = read_svmlight(file)
        np.testing.assert_allclose(items.x, expected.toarray(), rtol=1e-6)
        assert items.relevance.tolist() == y.tolist()
        names, group = np.unique(ids, return_inverse=True)
        assert items.query_names == [str(name) for name in names]
        assert items.group.tolist() == group.tolist()


def test_it_reads_lightgbms_example(shared_data):
    file = shared_data / "lambdarank/rank.train"
    items = read_svmlight(str(file))
    expected, y = load_svmlight_file(str(file), dtype=np.float32)
    assert np.array_equal(items.x.numpy(), expected.toarray())
    assert np.array_equal(items.relevance.numpy(), y)
    sizes = np.loadtxt(f"{file}.query", dtype=int)
    assert items.group.bincount().tolist() == sizes.tolist()
    assert items.query_names is None


def test_features_may_count_from_0(written):
    file = written("1 qid:1 0:5 2:1", "0 qid:1 1:2")
    assert read_svmlight(file, zero_based=True).x.tolist() == [[5, 0, 1], [0, 2, 0]]


def test_the_number_of_features_may_be_known(written):
    file = written("1 qid:1 1:5")
    assert read_svmlight(file, num_features=3).x.tolist() == [[5, 0, 0]]
    with pytest.raises(ValueError, match="line 2: feature index 4 is beyond the 3 that training"):
        read_svmlight(written("1 qid:1 3:5", "1 qid:1 1:2 4:1"), num_features=3)
    with pytest.raises(ValueError, match="line 1: feature index 3 is beyond the 3 that training"):
        read_svmlight(written("1 qid:1 2:5 3:1"), num_features=3, zero_based=True)


def test_new_items_need_no_relevance(written):
    file = written("? qid:1 1:5", "qid:1 1:6", "-1 qid:2 1:7", "qid:2")
    items = read_svmlight(file, with_relevance=False)
    assert items.x.tolist() == [[5], [6], [7], [0]]
    assert items.group.tolist() == [0, 0, 1, 1]
    assert items.relevance.tolist() == [0, 0, 0, 0]
    beside = written("2", "1", name="bare.txt.query")
    bare = read_svmlight(written("1:5", "1:6 2:1", "0 2:7", name="bare.txt"), with_relevance=False)
    assert bare.x.tolist() == [[5, 0], [6, 1], [0, 7]]
    assert bare.group.tolist() == [0, 0, 1], beside


# ------------------------------------------------------------------- refusals

GOOD = "1 qid:1 1:0.5 2:1"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1 qid:1 2:1 1:1", "'1:1' follows a feature index that is not smaller: the indices of"),
        ("1 qid:1 2:1 2:1", "'2:1' follows a feature index that is not smaller"),
        ("1 qid:1 0:1", "feature index 0, and they count from 1; if this file counts from 0, say"),
        ("1 qid:1 -3:1", "feature index -3, and they count from 1"),
        ("1 qid:1 1:nan", "feature 1 is nan: values are finite numbers"),
        ("1 qid:1 3:-inf", "feature 3 is -inf: values are finite numbers"),
        ("1 qid:1 3:1e99", "feature 3 is inf: values are finite numbers"),
        ("1 qid:1 1:a", "'1:a' is no feature index:value"),
        ("1 qid:1 1:2:3", "'1:2:3' is no feature index:value"),
        ("1 qid:1 a:1", "'a:1' is no feature index:value"),
        ("1 qid:1 1.5:1", "'1.5:1' is no feature index:value"),
        ("1 qid:1 99999999999999999999:1", "'99999999999999999999:1' is no feature index:value"),
        ("1 qid:1 1:1 3", "'3' is no feature index:value"),
        ("1 qid:1 1:1 qid:3", "'qid:3' is no feature index:value"),
        ("1 qid:1 1 :1", "'1' is no feature index:value"),
        ("-1 qid:1 1:1", "relevance -1: it is finite and not negative"),
        ("nan qid:1 1:1", "relevance nan: it is finite and not negative"),
        ("inf qid:1 1:1", "relevance inf: it is finite and not negative"),
        ("good qid:1 1:1", "relevance 'good' is not a number"),
        ("qid:1 1:1", "relevance 'qid:1' is not a number"),
        ("1 1:1", "no qid:, other than in the lines before"),
        ("1", "no qid:, other than in the lines before"),
        ("1 qid: 1:1", "qid: without the name of a query"),
    ],
)
@pytest.mark.parametrize("block", [16, 1 << 20])
def test_a_bad_line_is_named(written, monkeypatch, block, line, reason):
    monkeypatch.setattr(svmlight_files, "BLOCK", block)
    file = written(GOOD, "# comment", GOOD, line, GOOD)
    with pytest.raises(ValueError, match=re.escape(f"{file}, line 4: {reason}")) as caught:
        read_svmlight(file)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("block", [16, 1 << 20])
def test_the_items_of_a_query_stand_together(written, monkeypatch, block):
    monkeypatch.setattr(svmlight_files, "BLOCK", block)
    file = written("1 qid:1 1:1", "1 qid:2 1:1", "1 qid:2 1:1", "0 qid:1 1:1", "0 qid:2 1:1")
    with pytest.raises(ValueError, match=r"line 4: query '1' again: the items of a query stand"):
        read_svmlight(file)


def test_a_qid_that_begins_late_is_refused(written):
    with pytest.raises(ValueError, match="line 3: a qid:, other than in the lines before"):
        read_svmlight(written("1 1:1", "1 1:1", "1 qid:2 1:1"))


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        (["2", "2"], "counts 4 items in 2 queries, and .* has 3: it is not the file of these rows"),
        (["2"], "counts 2 items in 1 queries, and .* has 3"),
        (["2", "x"], "line 2: 'x' is no number of items from 1 on"),
        (["3", "0"], "line 2: '0' is no number of items from 1 on"),
        (["4", "-1"], "line 2: '-1' is no number of items from 1 on"),
        (["1.5", "1.5"], "line 1: '1.5' is no number of items from 1 on"),
        (["2", "", "1"], "line 2: '' is no number of items from 1 on"),
        ([""], "line 1: '' is no number of items from 1 on"),
    ],
)
def test_the_file_beside_must_add_up(written, counts, reason):
    file = written("1 1:1", "1 1:1", "1 1:1")
    beside = written(*counts, name="rank.txt.query")
    with pytest.raises(ValueError, match=f"^{re.escape(beside)}.*{reason}"):
        read_svmlight(file)


def test_a_file_beside_that_is_something_else_is_not_read(written):
    file = written("1 1:1", "1 1:1")
    written("1\n" * 2000, name="rank.txt.query")
    with pytest.raises(ValueError, match="is too large to count the 2 items of"):
        read_svmlight(file)


def test_the_file_beside_may_be_elsewhere(written):
    beside = written("1", "2 ", "", name="sizes.txt", end="\r\n")
    items = read_svmlight(written("1 1:1", "1 1:2", "1 1:3"), beside)
    assert items.group.tolist() == [0, 1, 1]
    with pytest.raises(ValueError, match=r"has qid:, and .* is given: one of them is needed"):
        read_svmlight(written("1 qid:1 1:1"), beside)


def test_queries_must_be_known(written):
    file = written("1 1:1")
    with pytest.raises(ValueError, match=f"has no qid:, and there is no file {file}.query"):
        read_svmlight(file)
    with pytest.raises(FileNotFoundError, match=r"No file elsewhere.query \(looked from"):
        read_svmlight(file, "elsewhere.query")


@pytest.mark.parametrize("content", [b"", b"\n \n", b"# nothing\n"])
def test_an_empty_file_is_refused(tmp_path, content):
    (tmp_path / "rank.txt").write_bytes(content)
    with pytest.raises(ValueError, match="is empty: a line for each item"):
        read_svmlight(str(tmp_path / "rank.txt"))


def test_a_file_without_features_is_refused(written):
    with pytest.raises(ValueError, match="names no feature index:value in 2 items"):
        read_svmlight(written("1 qid:1", "0 qid:1"))


@pytest.mark.parametrize("content", [RANDOM.bytes(3000), b"\x00" * 100, b"PK\x03\x04 1:2", b"\xff"])
def test_rubbish_is_refused(tmp_path, content):
    (tmp_path / "rank.txt").write_bytes(content)
    with pytest.raises(ValueError, match=r"rank.txt, line \d+: ") as caught:
        read_svmlight(str(tmp_path / "rank.txt"))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_a_folder_and_a_missing_file_are_refused(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder: give a file in it"):
        read_svmlight(str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"No file .*rank.txt \(looked from"):
        read_svmlight(str(tmp_path / "rank.txt"))


@pytest.mark.parametrize("index", [100_000_000, 2**40, 2**62])
def test_a_table_that_would_not_fit_is_refused(written, index):
    with pytest.raises(ValueError, match=r"2 items of [\d,]+ features are [\d,]+ bytes in memory"):
        read_svmlight(written("1 qid:1 1:1", f"0 qid:1 {index}:1"))


def test_an_endless_line_is_refused(written, monkeypatch):
    monkeypatch.setattr(svmlight_files, "BLOCK", 10)
    monkeypatch.setattr(svmlight_files, "LONGEST", 50)
    with pytest.raises(ValueError, match="line 2: it has more than 50 bytes"):
        read_svmlight(written("1 qid:1 1:1", "1 qid:1 " + "1:1 " * 100))
