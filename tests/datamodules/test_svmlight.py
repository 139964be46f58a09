import csv
import re

import numpy as np
import pytest
import torch
from sklearn.datasets import load_svmlight_file

from lit_course.datamodules import QueryBatches, SVMLightDataModule


def lines(queries: range, features: int = 6, qid: bool = True) -> str:
    """Items of queries: 4 of each even one, 3 of each odd one; a feature tells them apart."""
    rows = [
        f"{item} {f'qid:{query} ' if qid else ''}1:{query} {2 + item}:1 {features}:1"
        for query in queries
        for item in range(4 - query % 2)
    ]
    return "\n".join(rows) + "\n"


def counts(data) -> dict[str, int]:
    return {split: len(queries) for split, queries in data.split_queries.items()}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train.txt").write_text(lines(range(20)))
    (tmp_path / "held_out.txt").write_text(lines(range(50, 56)))
    (tmp_path / "wider.txt").write_text(lines(range(3), features=7))
    (tmp_path / "bare.txt").write_text(lines(range(6), qid=False))
    (tmp_path / "bare.txt.query").write_text("4\n3\n" * 3)
    return tmp_path


def queries_of(batches: QueryBatches) -> list[int]:
    """The first feature of each query, which all of its items share."""
    found = []
    for x, _, extras in batches:
        for query in extras["group"].unique_consecutive():
            (number,) = x[extras["group"] == query, 0].unique().tolist()
            found.append(int(number))
    return found


def test_queries_are_cut_whole_and_told(folder):
    data = SVMLightDataModule(str(folder / "train.txt"), val_size=0.2, test_size=3, batch_size=4)
    data.setup("fit")
    assert counts(data) == {"train": 13, "val": 4, "test": 3}
    assert sum(data.split_sizes.values()) == 70
    loaders = data.train_dataloader(), data.val_dataloader(), data.test_dataloader()
    parts = [queries_of(loader) for loader in loaders]
    assert sorted(query for part in parts for query in part) == list(range(20))
    assert len(data.train_dataloader()) == 4  # of 4 queries; evaluation takes 16
    assert len(data.val_dataloader()) == 1
    assert (data.in_features, data.out_features, data.num_classes) == (6, 1, None)
    assert data.schema["feature_names"] == ["1", "2", "3", "4", "5", "6"]
    assert data.schema["target_names"] == ["relevance"]
    x = torch.cat([x for x, *_ in data.train_dataloader()])
    torch.testing.assert_close(data.train_statistics.mean, x.double().mean(0))


def test_splits_may_have_files_of_their_own(folder):
    data = SVMLightDataModule(
        str(folder / "train.txt"),
        val_path=str(folder / "bare.txt"),
        test_path=str(folder / "held_out.txt"),
        predict_path=str(folder / "held_out.txt"),
        val_size=0.5,
        test_size=0.5,
    )
    data.setup("fit")
    assert counts(data) == {"train": 20, "val": 6, "test": 6, "predict": 6}
    assert queries_of(data.val_dataloader()) == list(range(6))
    assert queries_of(data.test_dataloader()) == list(range(50, 56))
    assert data.query_names == [str(query) for query in range(50, 56)]


def test_predict_batches_know_query_and_row(folder):
    data = SVMLightDataModule(str(folder / "train.txt"), test_size=5, batch_size=1)
    data.setup("predict")
    x, _, y = load_svmlight_file(str(folder / "train.txt"), query_id=True)
    seen = []
    for features, _, extras in data.predict_dataloader():
        assert extras.keys() == {"row", "group"}
        np.testing.assert_array_equal(features, x[extras["row"].numpy()].toarray())
        assert extras["group"].tolist() == y[extras["row"].numpy()].tolist()
        seen += extras["group"].unique().tolist()
    assert len(seen) == 5
    assert data.query_names == [str(query) for query in range(20)]


@pytest.mark.parametrize("which", ["val", "test", "predict"])
def test_features_that_training_did_not_see_are_refused(folder, which):
    options = {f"{which}_path": str(folder / "wider.txt")}
    data = SVMLightDataModule(str(folder / "train.txt"), **options)
    with pytest.raises(ValueError, match=r"wider.txt, line 1: feature index 7 is beyond the 6"):
        data.setup("fit")


def test_a_trained_model_says_how_many_features_there_are(folder):
    data = SVMLightDataModule(str(folder / "train.txt"))
    data.known_schema = {"feature_names": [str(1 + column) for column in range(9)]}
    data.setup("test")
    assert data.in_features == 9
    data = SVMLightDataModule(str(folder / "wider.txt"))
    data.known_schema = {"feature_names": list("123456")}
    with pytest.raises(ValueError, match="feature index 7 is beyond the 6 that training saw"):
        data.setup("test")


def test_new_items_of_a_trained_model_need_no_other_file(folder):
    (folder / "new.txt").write_text("qid:1 1:1\nqid:1 1:2\n")
    data = SVMLightDataModule("gone.txt", predict_path=str(folder / "new.txt"))
    data.known_schema = {"feature_names": list("123456")}
    data.setup("predict")
    [(x, _, extras)] = data.predict_dataloader()
    assert x.shape == (2, 6)
    assert extras["group"].tolist() == [0, 0]
    with pytest.raises(FileNotFoundError, match="No file gone"):
        SVMLightDataModule("gone.txt").setup("predict")


def test_lightgbms_example_is_read_as_it_is(shared_data):
    files = shared_data / "lambdarank"
    data = SVMLightDataModule(str(files / "rank.train"), test_path=str(files / "rank.test"))
    data.setup("fit")
    assert counts(data) == {"train": 181, "val": 20, "test": 50}
    assert sum(data.split_sizes.values()) == 3005 + 768
    assert data.in_features == 300


# ------------------------------------------------------------------- the command line

RANKER = ("--model=Ranker", "--data=SVMLightDataModule", "--name=search")


def test_from_file_to_predictions_by_name(lit, folder, tmp_path):
    path = folder / "words.txt"
    words = "".join(f"{i % 3} qid:word{i // 4} 1:{i % 3} 6:{i % 5} # {i}\n" for i in range(80))
    path.write_text(words)
    done = lit("fit", *RANKER, f"--data.path={path}", "--trainer.max_epochs=1")
    assert done.status == 0, done.err
    assert re.search(r"queries +16 train · 2 val · 2 test", done.out)
    assert ", 16 queries a batch" in done.out
    assert lit("test", "--ckpt_path=best", "--name=search").status == 0
    new = folder / "held_out.txt"
    done = lit("predict", "--ckpt_path=best", "--name=search", f"--data.predict_path={new}")
    assert done.status == 0, done.err
    with (tmp_path / "runs/search/version_0/predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["row", "query", "item", "score", "rank"]
    assert [row["row"] for row in rows] == [str(row) for row in range(21)]
    assert [row["query"] for row in rows[:7]] == ["50"] * 4 + ["51"] * 3
    assert [row["item"] for row in rows[:7]] == ["0", "1", "2", "3", "0", "1", "2"]
    best_first = sorted(rows[:4], key=lambda row: -float(row["score"]))
    assert [row["rank"] for row in best_first] == ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 qid:1 1:1\n1 qid:2 1:1\n0 qid:1 1:1", "line 3: query '1' again: the items of a query"),
        ("1 qid:1 1:1\n-1 qid:1 1:1", "line 2: relevance -1: it is finite and not negative"),
        ("1 qid:1 1:1\n1 qid:1 0:1 1:1", "line 2: feature index 0, and they count from 1"),
        ("1 1:1\n1 1:1", "has no qid:, and there is no file"),
        ("", "is empty"),
        ("\x00\x01", "line 1: relevance "),
    ],
)
def test_bad_data_is_one_line(lit, tmp_path, text, said):
    (tmp_path / "bad.txt").write_text(text)
    done = lit("fit", *RANKER, f"--data.path={tmp_path}/bad.txt", "--data.val_size=0")
    assert done.status == 1
    assert done.err.startswith(f"error: {tmp_path}/bad.txt")
    assert said in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()
