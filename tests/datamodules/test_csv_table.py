import csv
from datetime import date

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
    assert data.schema == {
        "feature_names": header[:-1],
        "class_names": None,
        "target_names": ["medv"],
    }


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
    ("target", "task", "num_classes"),
    [
        ("price", "auto", None),
        ("kind", "auto", 2),
        ("kind", "regression", None),
        ("sold", "auto", 2),
        ("sold", "regression", None),
        ("rooms", "auto", None),  # 2, 3, 4 are not 0..C-1
        ("rooms", "classification", 5),
        ("sign", "auto", None),
    ],
)
@pytest.mark.filterwarnings("ignore:2 of 5 classes have no training row")
def test_task(table, target, task, num_classes):
    data = loaded(table, target, ["size"], task=task)
    _, y = everything(data)
    assert data.num_classes == num_classes
    assert y.dtype == (torch.float32 if num_classes is None else torch.int64)
    assert y.tolist() == TABLE[target].cast(pl.Float64).to_list()
    assert data.schema["class_names"] == (
        ["false", "true"] if (target, num_classes) == ("sold", 2) else None
    )


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
            "0..C-1, found 'price' .Float64.: write whole",
        ),
        ((["kind", "rooms"], ["size"]), {"task": "classification"}, "found 'kind' .Int64., 'room"),
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
        ("a,b\n1,2\n3,4\nx,5\ny,6\n", r"Not numeric: 'a' \(row 3: 'x'\)."),
        ("a,b\n1,2\n3,\n5,\n", r"With missing values: 'b' \(2 rows, first row 2\)"),
        ("a,b\ntrue,2\nfalse,3\n", r"Not numeric: 'a' \(row 1: True\)"),
        ("a,b\n1,2\n3,NaN\n", "y holds nan in row 2, column 'b'"),
        ("a,b\ninf,2\n3,4\n", "X holds inf in row 1, column 'a'"),
        ("a,b\n1e300,2\n3,4\n", "X holds inf in row 1, column 'a': .* float32"),
        ("a,b\n1,2\n", "At least 2 rows .* found 1"),
    ],
)
def test_refuses_values(tmp_path, content, message):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        loaded(tmp_path / "t.csv", "b")
    assert len(str(error.value).splitlines()) <= 5


def test_names_every_column_that_is_no_number(tmp_path):
    table = TABLE.with_columns(
        name=pl.Series(["A\nB" * 50, "C", None, "D"]),
        built=pl.Series([date(2000, 1, 1)] * 4),
        digits=pl.Series(["1", "2", "3", "4"]),
        empty=pl.Series([None] * 4, dtype=pl.Float64),
    )
    table.write_parquet(tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r"columns must be numeric and complete") as error:
        loaded(tmp_path / "t.parquet", "price")
    lines = str(error.value).splitlines()
    assert len(lines) == 4
    assert [name for name in table.columns if f"'{name}'" in lines[1]] == [
        "sold",
        "built",
        "digits",
    ]
    assert [name for name in table.columns if f"'{name}'" in lines[2]] == ["name", "empty"]


def test_only_the_chosen_columns_must_be_numbers(tmp_path):
    TABLE.with_columns(name=pl.lit("x")).write_csv(tmp_path / "t.csv")
    assert loaded(tmp_path / "t.csv", "price", ["size"]).in_features == 1
