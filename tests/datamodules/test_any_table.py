"""Any table that polars can hold is learned from, or refused by the name of a column."""

import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing.parametric import column, dataframes

from lit_course.categories import categories
from lit_course.datamodules import DataFrameDataModule
from lit_course.networks import MLP

TEXT = st.sampled_from(
    ["", "?", "1", " 2.5", "x", "y", "2024-01-02", "true", "nan", "1e400", "ä\n"]
)
DTYPES = [
    *(pl.Boolean, pl.Int8, pl.Int64, pl.UInt64, pl.Float32, pl.Float64, pl.String, pl.Date),
    *(pl.Datetime, pl.Time, pl.Duration, pl.Binary, pl.Categorical, pl.Decimal, pl.List(pl.Int8)),
]
TARGETS = [pl.Boolean, pl.Int8, pl.Float32, pl.String]
tables = st.one_of(
    dataframes(max_cols=4, min_size=12, max_size=20, allowed_dtypes=DTYPES, allow_null=True),
    dataframes([column("t", strategy=TEXT), column("u", strategy=TEXT)], min_size=12, max_size=20),
)
targets = st.one_of(
    *(
        dataframes([column("y", dtype=dtype, allow_null=True)], min_size=20, max_size=20)
        for dtype in TARGETS
    )
)


def learn(frame: pl.DataFrame) -> None:
    data = DataFrameDataModule(frame, "y", val_size=0.2, test_size=0.2)
    data.setup("fit")
    outputs = data.num_classes or 1
    network = MLP(data.in_features, [4], outputs, categories=categories(data.schema))
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        for x, y in loader:
            assert x.isfinite().all()
            assert len(x) == len(y)
            assert torch.isfinite(network(x)).all()


@pytest.mark.filterwarnings("ignore:'.*' (is left out|is taken for|differs in every row)")
@pytest.mark.filterwarnings("ignore:.* classes have no training row")
@pytest.mark.parametrize("examples", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_any_table_is_learned_from_or_refused_by_name(examples):
    refused = learned = 0

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(tables, targets)
    def check(frame, target):
        nonlocal refused, learned
        frame = frame.hstack([target["y"].head(len(frame))]) if "y" not in frame.columns else frame
        try:
            learn(frame)
            learned += 1
        except ValueError as error:
            refused += 1
            message = str(error)
            named = any(repr(name) in message or name in message for name in frame.columns)
            assert named or "row" in message, message
            assert len(message.splitlines()) <= 5

    check()
    assert learned > examples / 20
    assert refused > examples / 20
