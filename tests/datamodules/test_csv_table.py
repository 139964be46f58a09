import csv

import numpy as np
import polars as pl
import pytest
import torch

from lit_course.datamodules import CSVDataModule

TABLE = pl.DataFrame(
    {
        "size": [50.0, 60.0, 70.0, 80.0],
        "rooms": [2, 3, 3, 4],
        "kind": [0, 1, 1, 0],
        "sign": [-1, 1, 1, -1],
        "sold": [True, False, False, True],
        "price": [100.5, 120.0, 130.0, 150.0],
    }
)


def loaded(path, target, features=None, **options) -> CSVDataModule:
    options = {"val_size": 0, "test_size": 0, "shuffle": False, **options}
    data = CSVDataModule(str(path), target, features, **options)
    data.setup("fit")
    return data


def numbers(rows: int) -> str:
    return "a,b\n" + "".join(f"{row},{row}\n" for row in range(rows))


def everything(data: CSVDataModule) -> tuple[torch.Tensor, torch.Tensor]:
    xs, ys = zip(*data.train_dataloader(), strict=True)
    return torch.cat(xs), torch.cat(ys)


@pytest.fixture
def table(tmp_path):
    TABLE.write_csv(tmp_path / "homes.csv")
    return tmp_path / "homes.csv"


def test_boston(shared_data):
    path = shared_data / "boston.csv"
    data = loaded(path, "medv")
    x, y = everything(data)
    with path.open() as file:
        header, *rows = csv.reader(file)
    expected = np.array(rows, dtype=np.float32)
    np.testing.assert_array_equal(x.numpy(), expected[:, :-1])
    np.testing.assert_array_equal(y.numpy(), expected[:, -1])
    assert data.num_classes is None
    assert data.in_features == 13
    assert data.schema["feature_names"] == header[:-1]
    assert data.schema["target_names"] == ["medv"]
    assert data.schema["class_names"] is None
    assert {column["kind"] for column in data.schema["table"]["columns"]} == {"number"}


def test_chosen_columns_in_the_order_asked_for(table):
    data = loaded(table, "price", ["rooms", "size"])
    x, y = everything(data)
    assert x.tolist() == [[2, 50], [3, 60], [3, 70], [4, 80]]
    assert y.tolist() == [100.5, 120, 130, 150]
    assert data.schema["feature_names"] == ["rooms", "size"]


def test_all_other_columns_by_default(tmp_path):
    TABLE.drop("sold").write_parquet(tmp_path / "homes.parquet")
    data = loaded(tmp_path / "homes.parquet", ["price", "size"])
    x, y = everything(data)
    assert data.schema["feature_names"] == ["rooms", "kind", "sign"]
    assert data.schema["target_names"] == ["price", "size"]
    assert x.shape == (4, 3)
    assert y.tolist() == [list(row) for row in TABLE.select("price", "size").rows()]
    assert x.dtype == y.dtype == torch.float32


@pytest.mark.parametrize(
    ("target", "task", "classes"),
    [
        ("price", "auto", None),
        ("kind", "auto", ["0", "1"]),
        ("kind", "regression", None),
        ("sold", "auto", ["false", "true"]),
        ("sold", "regression", None),
        ("rooms", "auto", None),  # 2, 3, 4 are not 0..C-1
        ("rooms", "classification", ["2", "3", "4"]),
        ("sign", "auto", None),
        ("sign", "classification", ["-1", "1"]),
    ],
)
def test_task(table, target, task, classes):
    data = loaded(table, target, ["size"], task=task)
    _, y = everything(data)
    assert data.schema["class_names"] == classes
    if classes is None:
        assert data.num_classes is None
        assert y.dtype == torch.float32
        assert y.tolist() == TABLE[target].cast(pl.Float64).to_list()
    else:
        assert data.num_classes == len(classes)
        assert y.dtype == torch.int64
        named = [classes[label] for label in y.tolist()]
        assert named == TABLE[target].cast(pl.String).to_list()


def test_many_integers_are_a_quantity(tmp_path):
    values = list(range(21)) * 2
    pl.DataFrame({"a": values, "b": values}).write_csv(tmp_path / "t.csv")
    assert loaded(tmp_path / "t.csv", "b").num_classes is None
    pl.DataFrame({"a": values, "b": [value % 20 for value in values]}).write_csv(tmp_path / "t.csv")
    assert loaded(tmp_path / "t.csv", "b").num_classes == 20


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (
            ("Prices",),
            {},
            "no column 'Prices'; did you mean 'price'.\nIts columns: size, rooms, ki",
        ),
        (("zzz",), {}, "no column 'zzz'\nIts columns: size, rooms, kind, sign, sold, price."),
        (("price", ["romms"]), {}, "no column 'romms'; did you mean 'rooms'."),
        (("price", ["size", "price"]), {}, "'price' is chosen 2 times: .* a feature or a target"),
        (("price", ["size", "size"]), {}, "'size' is chosen 2 times"),
        (("price", []), {}, "one feature and one target are needed, found 0 and 1"),
        (([], ["size"]), {}, "one feature and one target are needed, found 1 and 0"),
        (
            ("price", ["size"]),
            {"task": "classification"},
            "'price' holds fractions, and classes are whole numbers, text or booleans",
        ),
        (
            (["kind", "rooms"], ["size"]),
            {"task": "classification"},
            "has one target column, found kind, rooms",
        ),
        (("price",), {"task": "classify"}, "task must be 'auto', .* found 'classify'"),
    ],
)
def test_refuses_a_choice(table, arguments, options, message):
    with pytest.raises(ValueError, match=message) as error:
        loaded(table, *arguments, **options)
    assert len(str(error.value).splitlines()) <= 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (numbers(20) + "x,5\n", "'a' holds numbers and text, 'x' in row 21: correct it, give 'x'"),
        ("a,b\n1,2\n2,x\n", "'b' holds one class only, '2'|'x' in row 2 is not a number"),
        ("a,b\ninf,2\n3,4\n", "'a': inf in row 1 is too large for float32"),
        ("a,b\n1e300,2\n3,4\n", "'a': 1e.300 in row 1 is too large for float32"),
        ("a,b\n1,2\n3,1e300\n", "y holds inf in row 2, column 'b'"),
        ("a,b\n1,2\n", "At least 2 rows .* found 1"),
        ("a,b\n1,\n2,\n", "no row has a target: 'b'"),
        (
            "a;b\n1;2\n",
            "Its columns: a;b.\nThere is one only: a .csv file separates values by commas",
        ),
    ],
)
def test_refuses_values(tmp_path, content, message):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        loaded(tmp_path / "t.csv", "b", task="regression")
    assert len(str(error.value).splitlines()) <= 5


def test_holes_marks_and_quotes_are_read(tmp_path):
    lines = ["a,b,c", '" 1",x,1', "-,NA,2", '"3",,3', "5,y,?", "7,x,5"]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    data = loaded(tmp_path / "t.csv", "c", missing_values=["-"])
    x, y = everything(data)
    assert data.schema["feature_names"] == ["a", "a.missing", "b"]
    assert x.tolist() == [[1, 0, 0], [3, 1, 1], [3, 0, 1], [7, 0, 0]]
    assert y.tolist() == [1, 2, 3, 5]


def test_columns_that_are_not_chosen_are_not_looked_at(tmp_path):
    TABLE.with_columns(name=pl.lit(None), odd=[[1]] * 4).write_parquet(tmp_path / "t.parquet")
    assert loaded(tmp_path / "t.parquet", "price", ["size"]).in_features == 1
    others = loaded(tmp_path / "t.parquet", "price", ignore=["name", "odd"])
    assert others.schema["feature_names"] == TABLE.columns[:-1]
