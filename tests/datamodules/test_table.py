"""Tables as they come: what is fitted, what is cut, what is refused."""

from datetime import date

import polars as pl
import pytest
import torch
from lightning.pytorch import Trainer

from lit_course import (
    CSVDataModule,
    DataFrameDataModule,
    LinearRegressor,
    MLPRegressor,
    Ranker,
)
from lit_course.callbacks import PredictionFile

GENERATOR = torch.Generator().manual_seed(0)
ROWS = 200


def frame(rows=ROWS) -> pl.DataFrame:
    numbers = torch.randn(rows, generator=GENERATOR).tolist()
    return pl.DataFrame(
        {
            "number": [None if i % 7 == 3 else value for i, value in enumerate(numbers)],
            "level": [None if i % 11 == 5 else "abc"[i % 3] for i in range(rows)],
            "flag": [i % 2 == 0 for i in range(rows)],
            "day": [f"2024-{1 + i % 12:02}-{1 + i % 28:02}" for i in range(rows)],
            "same": ["x"] * rows,
            "words": [f"text {i}" for i in range(rows)],
            "group": [f"g{i % 20}" for i in range(rows)],
            "price": [value * 2 + i % 3 for i, value in enumerate(numbers)],
            "kind": ["yes" if value > 0 else "no" for value in numbers],
        }
    )


FRAME = frame()
FEATURES = ["number", "level", "flag", "day", "same", "words"]


def loaded(given=FRAME, target="price", features=FEATURES, **options) -> DataFrameDataModule:
    data = DataFrameDataModule(given, target, features, **options)
    data.setup("fit")
    return data


def everything(loader) -> tuple[torch.Tensor, torch.Tensor]:
    parts = [batch[:2] for batch in loader]
    xs, ys = zip(*parts, strict=True)
    return torch.cat(xs), torch.cat(ys)


@pytest.mark.filterwarnings("ignore:'words' is left out")
def test_columns_become_features_and_are_described():
    data = loaded()
    parts = ["day.year", "day.month", "day.day", "day.weekday"]
    assert data.schema["feature_names"] == ["number", "number.missing", "level", "flag", *parts]
    assert [(line.name, line.kind, line.use) for line in data.columns] == [
        ("number", "number", "a number, missing: median and indicator"),
        ("level", "category", "3 levels"),
        ("flag", "boolean", "0 or 1"),
        ("day", "date", "year, month, day, weekday"),
        ("same", "category", "left out: constant"),
        ("words", "category", "left out: free text or identifiers"),
        ("price", "number", "target"),
    ]


def test_left_out_text_is_warned_about():
    with pytest.warns(UserWarning, match="'words' is left out: free text or identifiers; if its"):
        loaded()


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("row", list(range(7, ROWS + 7))[::-1], "'row' differs in every row, as an identifier"),
        ("user_id", [i * i * 1000 for i in range(ROWS)], "'user_id' differs in every row"),
        ("zip", [10_000 + i % 30 for i in range(ROWS)], "'zip' is taken for a number: if it"),
        ("price", [f"{i % 9},5" for i in range(ROWS)], "'price' is taken for levels and looks"),
        ("born", [f"03/{13 + i % 9}/2024" for i in range(ROWS)], "'born' is taken for levels"),
    ],
)
def test_what_may_be_something_else_is_warned_about(name, values, message):
    given = pl.DataFrame({name: values, "y": FRAME["price"]})
    with pytest.warns(UserWarning, match=message):
        loaded(given, "y", [name])


def test_plain_numbers_are_not_warned_about():
    squares = pl.DataFrame({"area": [i * i * 1000 for i in range(ROWS)], "y": FRAME["price"]})
    loaded(squares, "y", ["area"])


def test_the_other_columns_are_shown_too():
    options = {"group_column": "group", "weight_column": "w", "id_column": "words"}
    data = loaded(FRAME.with_columns(w=1.0), "kind", ["flag"], **options)
    assert [(line.name, line.kind, line.distinct, line.use) for line in data.columns[1:]] == [
        ("kind", "class", 2, "target"),
        ("group", "", None, "says the split"),
        ("w", "", None, "weight"),
        ("words", "", None, "names the row"),
    ]


@pytest.mark.filterwarnings("ignore:'words' is left out")
@pytest.mark.parametrize("target", ["price", "kind"])
def test_no_row_held_out_moves_a_fitted_number(target):
    before = loaded(target=target)
    held_out = torch.cat([before._splits[name].rows for name in ("val", "test")]).tolist()
    changed = FRAME.with_row_index("i").with_columns(
        pl.when(pl.col("i").is_in(held_out)).then(new).otherwise(pl.col(name)).alias(name)
        for name, new in {
            "number": pl.lit(1e6),
            "level": pl.lit("never seen"),
            "day": pl.lit("1900-01-01"),
            "same": pl.lit("y"),
        }.items()
    )
    after = loaded(changed, target=target)
    assert after.schema == before.schema
    for name in ("train", "val", "test"):
        assert torch.equal(after._splits[name].rows, before._splits[name].rows)
    x, _ = everything(after.val_dataloader())
    assert (x[:, 0] == 1e6).all()
    assert (x[:, 2] == 4).all()


def test_rows_without_a_target_are_only_predicted(caplog):
    holes = FRAME.with_columns(
        pl.when(pl.int_range(ROWS) % 10 == 0).then(None).otherwise("kind").alias("kind")
    )
    with caplog.at_level("INFO"):
        data = loaded(holes, "kind", ["number", "flag"], test_size=0)
    assert "20 of 200 rows of frame have no target" in caplog.text
    assert sum(data.split_sizes.values()) == 180
    assert data.num_classes == 2
    assert data.schema["class_names"] == ["no", "yes"]
    rows = torch.cat([extras["row"] for _, _, extras in data.predict_dataloader()])
    assert rows.tolist() == list(range(ROWS))


def test_no_group_is_in_two_splits():
    data = loaded(features=["number", "flag"], group_column="group", val_size=0.2, test_size=0.2)
    groups = {
        name: set(FRAME["group"].gather(split.rows.tolist()))
        for name, split in data._splits.items()
    }
    assert not groups["train"] & groups["val"]
    assert not groups["train"] & groups["test"]
    assert not groups["val"] & groups["test"]
    assert data.split_sizes == {"train": 120, "val": 40, "test": 40}


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%d.%m.%Y"])
def test_the_future_is_held_out(form):
    days = pl.Series("when", FRAME["day"]).str.to_date()
    data = loaded(
        FRAME.with_columns(days.dt.strftime(form)), features=["number"], time_column="when"
    )
    when = {name: days.gather(split.rows.tolist()) for name, split in data._splits.items()}
    assert when["train"].max() < when["val"].min()
    assert when["val"].max() < when["test"].min()


def test_a_column_may_say_the_split():
    said = ["Train" if i < 150 else "valid" if i < 170 else "test" for i in range(ROWS)]
    data = loaded(
        FRAME.with_columns(part=pl.Series(said)), features=["number"], split_column="part"
    )
    assert data._splits["val"].rows.tolist() == list(range(150, 170))
    assert data.split_sizes == {"train": 150, "val": 20, "test": 30}


def test_splits_may_come_apart():
    data = loaded(
        FRAME[:120],
        features=["number", "level"],
        val=FRAME[120:150],
        test=FRAME[150:],
        val_size=0.5,
    )
    assert data.split_sizes == {"train": 120, "val": 30, "test": 50}
    new = FRAME[:5].drop("price")
    data = loaded(features=["number"], predict=new)
    assert torch.cat([extras["row"] for _, _, extras in data.predict_dataloader()]).tolist() == [
        *range(5)
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "prize"}, "frame: no column 'prize'; did you mean 'price'"),
        ({"features": ["price", "flag"]}, "'price' is chosen 2 times"),
        ({"ignore": ["nobody"]}, "no column 'nobody'"),
        ({"ignore": ["price"]}, "Column 'price' is to be used, and is in `ignore` too"),
        ({"categorical": ["nobody"]}, "no column 'nobody'"),
        ({"group_column": "group", "time_column": "day"}, "group_column and time_column each say"),
        ({"time_column": "level"}, "'level' has no value in row 6"),
        ({"time_column": "words"}, "'words' holds neither dates nor numbers"),
        ({"split_column": "group"}, "'group' says 'g0' in row 1: a split is train, val or test"),
        ({"min_frequency": 0}, "min_frequency must be at least 1"),
        ({"target": "words", "task": "regression"}, "'words': 'text 0' in row 1 is not a number"),
        ({"target": "price", "task": "classification"}, "'price' holds fractions"),
        ({"target": ["price", "kind"], "task": "classification"}, "one target column"),
        ({"target": "same"}, "'same' holds one class only, 'x'"),
        ({"features": ["same"]}, "no column is left to learn from; left out: 'same'"),
    ],
)
def test_refuses(options, message):
    options = {"features": ["number", "flag"], **options}
    with pytest.raises(ValueError, match=message):
        loaded(**options)


def test_columns_without_a_value_are_refused_by_name():
    empty = FRAME.with_columns(a=pl.lit(None), b=pl.lit("?"))
    with pytest.raises(ValueError, match="'a', 'b': no value in any of the 160 training rows"):
        loaded(empty, features=["a", "number", "b"])


def test_a_held_out_table_needs_the_target_and_new_rows_need_none():
    numbers = FRAME.select("number", "flag")
    with pytest.raises(ValueError, match="val: no column 'price'"):
        loaded(features=["number"], val=numbers)
    new = numbers.with_columns(price=pl.lit("not known yet"))
    data = loaded(features=["number"], predict=new)
    assert len(data._splits["predict"]) == ROWS


def test_new_rows_without_a_column_of_the_model_are_refused_by_name():
    with pytest.raises(ValueError, match="predict: no column 'flag', 'level'"):
        loaded(features=["flag", "level", "number"], predict=FRAME.select("number"))


def test_a_class_that_only_the_test_has_is_named():
    test = pl.DataFrame({"number": [1.0, 2.0], "kind": ["no", "perhaps"]})
    with pytest.raises(
        ValueError, match="test: 'kind': class 'perhaps' in row 2 is in no training"
    ):
        loaded(target="kind", features=["number"], test=test)


FORMS = {
    "polars": lambda frame: frame,
    "lazy": lambda frame: frame.lazy(),
    "pyarrow": lambda frame: frame.to_arrow(),
    "pandas": lambda frame: frame.to_pandas(),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_kind_of_frame_is_the_same_table(form):
    chosen = ["number", "level", "flag", "day"]
    one, other = loaded(features=chosen), loaded(FORMS[form](FRAME), features=chosen)
    assert one.schema == other.schema
    for ours, theirs in zip(one.train_dataloader(), other.train_dataloader(), strict=True):
        assert all(map(torch.equal, ours, theirs))


def test_arrays_are_no_frame():
    with pytest.raises(TypeError, match=r"frame must be a data frame .* found list"):
        loaded([[1, 2]])


def test_a_column_may_weigh_the_rows_and_another_name_them():
    weighed = FRAME.with_columns(
        heavy=pl.int_range(ROWS) % 3, name=pl.format("n{}", pl.int_range(ROWS))
    )
    roles = {"weight_column": "heavy", "id_column": "name"}
    data = loaded(weighed, features=None, ignore=["words", "same"], **roles)
    assert not {"heavy", "name"} & set(data.schema["feature_names"])
    rows = data._splits["train"].rows
    seen = torch.cat([extras["weight"] for _, _, extras in data.train_dataloader()])
    assert seen.sort().values.tolist() == (rows % 3).float().sort().values.tolist()
    assert data.row_names == [f"n{row}" for row in range(ROWS)]


def test_weights_that_are_none_are_named():
    with pytest.raises(ValueError, match=r"frame: 'w': None in row 4 is no weight"):
        loaded(FRAME.with_columns(w=pl.col("number").abs()), features=["flag"], weight_column="w")


# ------------------------------------------------------------- several files


def files(folder, **texts) -> dict[str, str]:
    for name, text in texts.items():
        (folder / f"{name}.csv").write_text(text)
    return {name: str(folder / f"{name}.csv") for name in texts}


def test_text_is_read_as_it_is_written_in_every_file(tmp_path):
    """Whatever a file's own cells look like: 01 is not 1."""
    rows = [f"0{i % 3},{'A1' if i % 5 == 0 else f'0{i % 2}'},00{i},{i % 2}" for i in range(40)]
    again = [f"0{i % 3},0{i % 2},00{i},{i % 2}" for i in range(6)]
    header = "zip,code,id,y\n"
    given = files(tmp_path, path=header + "\n".join(rows), val_path=header + "\n".join(again))
    options = {"categorical": ["zip"], "id_column": "id", "test_size": 0}
    data = CSVDataModule(**given, target="y", predict_path=given["val_path"], **options)
    data.setup("fit")
    assert data.schema["table"]["columns"][0]["levels"] == ["00", "01", "02"]
    x, _ = everything(data.val_dataloader())
    assert x.tolist() == [[i % 3, i % 2] for i in range(6)]
    assert data.row_names == [f"00{i}" for i in range(6)]


def test_lines_that_are_empty_at_the_end_are_no_rows(tmp_path):
    text = "a,y\n" + "".join(f"{i},{i % 2}\n" for i in range(20)) + "\n\r\n\n"
    for cache_dir in (None, str(tmp_path / "cache")):
        data = CSVDataModule(**files(tmp_path, path=text), target="y", cache_dir=cache_dir)
        data.setup("fit")
        assert sum(data.split_sizes.values()) == 20


def test_other_data_is_asked_for_after_a_prediction(tmp_path):
    text = "a,y\n" + "".join(f"{i % 9},{i % 2}\n" for i in range(40))
    given = files(tmp_path, path=text, predict_path="a\n1\n2\n")
    fitted = CSVDataModule(given["path"], "y")
    fitted.setup("fit")
    data = CSVDataModule(**given, target="y")
    data.known_schema = fitted.schema
    data.setup("predict")
    assert data.split_sizes == {"predict": 2}
    data.setup("test")
    assert len(list(data.test_dataloader())) == 1


def test_rows_are_named_by_the_file_that_is_predicted(tmp_path):
    text = "id,a,y\n" + "".join(f"n{i},{i % 9},{i % 2}\n" for i in range(40))
    unknown = "id,a,y\n" + "".join(f"t{i},{i},\n" for i in range(5))
    given = files(tmp_path, path=text, test_path=unknown)
    data = CSVDataModule(**given, target="y", id_column="id")
    data.setup("predict")
    rows = torch.cat([extras["row"] for _, _, extras in data.predict_dataloader()])
    assert [data.row_names[row] for row in rows] == [f"n{i}" for i in range(40)]


@pytest.mark.parametrize(
    ("trained", "given", "message"),
    [
        ([1.0, 2.0], pl.Series([date(2024, 1, 1)]), r"'a': datetime\.date\(2024, 1, 1\) in row 1"),
        ([True, False], pl.Series([7.5]), "'a': 7.5 in row 1 is not a boolean"),
        (["x", "y"], pl.Series([[1]]), "'a' is of type List.*: training saw levels"),
    ],
)
def test_values_of_another_type_are_refused(trained, given, message):
    fitted = loaded(pl.DataFrame({"a": trained * 20, "y": [0.5, 1.5] * 20}), "y", ["a"])
    data = DataFrameDataModule(FRAME, "y", predict=pl.DataFrame({"a": given}))
    data.known_schema = fitted.schema
    data._frames.pop("train")
    with pytest.raises(ValueError, match=message):
        data.setup("predict")


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_categories_of_many_levels_alone_are_learned_from():
    users = pl.DataFrame({"user": [f"u{i % 30}" for i in range(ROWS)], "y": FRAME["price"]})
    flags = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar"), False)
    data = loaded(users, "y", ["user"])
    for model in (MLPRegressor(hidden_features=[4]), LinearRegressor()):
        Trainer(max_epochs=1, enable_model_summary=False, **flags).fit(model, datamodule=data)


# ------------------------------------------------------------- queries

RANKED = pl.DataFrame(
    {
        "query": [f"q{i // 8}" for i in range(ROWS)],
        "price": torch.randn(ROWS, generator=GENERATOR).tolist(),
        "shop": ["abc"[i % 3] for i in range(ROWS)],
        "part": ["train" if i < 120 else "val" if i < 160 else "test" for i in range(ROWS)],
        "grade": [i * i % 5 for i in range(ROWS)],
    }
)


def test_a_query_column_makes_batches_of_whole_queries():
    data = loaded(RANKED, "grade", ["price", "shop"], query_column="query", batch_size=3)
    assert (data.num_classes, data.out_features) == (None, 1)
    sizes = {name: len(queries) for name, queries in data.split_queries.items()}
    assert sizes == {"train": 21, "val": 2, "test": 2}
    x, y, extras = next(iter(data.train_dataloader()))
    assert x.shape == (24, 2)
    assert extras["group"].unique_consecutive(return_counts=True)[1].tolist() == [8, 8, 8]
    found = torch.tensor(RANKED["grade"].to_list()).float().view(-1, 8)[extras["group"][::8]]
    assert torch.equal(y.view(3, 8), found)


def test_queries_go_where_their_own_column_says():
    options = {"query_column": "query", "split_column": "part"}
    data = loaded(RANKED, "grade", ["price", "shop"], **options)
    queries = data.split_queries
    assert queries["train"] == [f"q{i}" for i in range(15)]
    assert queries["val"] == [f"q{i}" for i in range(15, 20)]


def test_a_ranker_learns_from_a_table_and_names_the_queries(tmp_path):
    RANKED.write_csv(tmp_path / "t.csv")
    RANKED[:40].drop("grade").write_csv(tmp_path / "new.csv")
    data = CSVDataModule(
        str(tmp_path / "t.csv"),
        "grade",
        ["price", "shop"],
        query_column="query",
        predict_path=str(tmp_path / "new.csv"),
    )
    flags = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar"), False)
    trainer = Trainer(max_epochs=2, callbacks=[PredictionFile(tmp_path / "p.csv")], **flags)
    model = Ranker()
    trainer.fit(model, datamodule=data)
    trainer.predict(model, datamodule=data, return_predictions=False)
    predicted = pl.read_csv(tmp_path / "p.csv")
    assert predicted.columns == ["row", "query", "item", "score", "rank"]
    assert predicted["query"].to_list() == RANKED["query"][:40].to_list()
    assert predicted["rank"].to_list()[:8] == (
        predicted["score"][:8].rank("ordinal", descending=True).to_list()
    )


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (RANKED[::-1].vstack(RANKED[8:9]), {}, "'query': query 'q1' again in row 201: the rows of"),
        (RANKED.with_columns(query=pl.lit(None)), {}, "'query' has no value in row 1"),
        (
            RANKED.with_columns(grade=pl.when(pl.col("grade") > 0).then("grade")),
            {},
            "some rows have no target, and a query is not ranked in part",
        ),
        (RANKED, {"group_column": "shop"}, "Query 'q0' is in more than one split: cut data"),
        (
            RANKED,
            {"task": "classification"},
            "query_column is for ranking, whose target is a number",
        ),
    ],
)
def test_queries_that_are_refused(given, options, message):
    with pytest.raises(ValueError, match=message):
        loaded(given, "grade", ["price", "shop"], query_column="query", **options).split_queries  # noqa: B018  # asked for when batches are made
