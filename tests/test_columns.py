"""Columns: what they are judged to be, and what they become."""

from datetime import date, datetime

import polars as pl
import pytest

from lit_course.columns import Column, ColumnError, cleaned
from lit_course.tables import MISSING


def fit(values, name="c", **options) -> Column:
    column = cleaned(pl.Series(name, values), MISSING)
    return Column.fit(column, pl.Series(range(1, len(column) + 1)), **options)


def features(column, values) -> dict[str, list[float]]:
    made = column.features(cleaned(pl.Series(column.name, values), MISSING))
    assert all(series.dtype == pl.Float32 for series in made)
    return dict(zip(column.feature_names, (series.to_list() for series in made), strict=True))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2, 3], "number"),
        ([1.5, None, 3.0], "number"),
        ([" 1", "2.5 ", "-3e2", "?"], "number"),
        ([True, False, None], "boolean"),
        (["true", "False", "TRUE"], "boolean"),
        ([date(2024, 1, 2), None], "date"),
        ([datetime(2024, 1, 2, 3, 4), None], "date"),
        (["2024-01-02", "1999-12-31", ""], "date"),
        (["02.01.2024", "31.12.1999"], "date"),
        (["a", "b", "null"], "category"),
        (["2024-01-02", "soon"], "category"),
        (["1", "2", "a"], "category"),
    ],
)
def test_kinds(values, kind):
    assert fit(values).kind == kind


def test_a_number_is_filled_with_the_training_median_and_says_so():
    column = fit([1.0, 10.0, None, 4.0, float("nan")])
    assert (column.missing, column.fill) == (True, [4.0])
    assert features(column, [None, 7.0]) == {"c": [4.0, 7.0], "c.missing": [1.0, 0.0]}


def test_a_value_that_is_missing_for_the_first_time_is_filled():
    assert features(fit([1, 3, 2]), [None, 7]) == {"c": [2.0, 7.0]}
    level = features(fit(["a", "b"]), ["b", None, "NA", "z"])
    assert level == {"c": [1.0, 2.0, 2.0, 3.0]}


def test_dates_become_their_parts():
    column = fit(["2024-02-29", "1999-12-31"])
    parts = {"c.year": [2024.0], "c.month": [2.0], "c.day": [29.0], "c.weekday": [4.0]}
    assert features(column, ["2024-02-29"]) == parts
    assert features(column, [date(2024, 2, 29)]) == parts
    timed = fit([datetime(2024, 1, 2, 13, 45), datetime(2024, 1, 3)])
    assert list(features(timed, [datetime(2024, 1, 2, 13, 45)]))[-2:] == ["c.hour", "c.minute"]
    midnight = fit([datetime(2024, 1, 2), datetime(2024, 1, 3)])
    assert len(midnight.feature_names) == 4


def test_levels_are_the_same_however_whole_numbers_are_stored():
    column = fit([3, 1, 1], category=True)
    assert column.levels == ["1", "3"]
    assert features(column, [1.0, 3.0, None, 2.0]) == {"c": [0.0, 1.0, 2.0, 3.0]}
    assert features(column, ["1", "3", "", "2"]) == {"c": [0.0, 1.0, 2.0, 3.0]}


def test_rare_levels_are_one():
    column = fit(["a", "a", "b", "c"], min_frequency=2)
    assert (column.levels, column.others) == (["a"], True)
    assert features(column, ["a", "b", "c", "never seen"]) == {"c": [0.0, 2.0, 2.0, 2.0]}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([*map(str, range(20)), "abc"], "numbers and text, 'abc' in row 21: .*missing_values"),
        ([[1], [2]], r"'c' is of type List\(Int64\)"),
        ([b"1", b"2"], "'c' is of type Binary"),
    ],
)
def test_what_is_neither_one_nor_the_other_is_refused(values, message):
    with pytest.raises(ColumnError, match=message):
        fit(values)


@pytest.mark.parametrize(
    ("training", "later", "message"),
    [
        ([1, 2], ["3", "x"], "'c': 'x' in row 2 is not a number"),
        ([1, 2], [1e300], r"'c': 1e\+300 in row 1 is too large for float32"),
        ([1, 2], [float("inf")], "'c': inf in row 1 is too large"),
        ([True, False], ["true", "maybe"], "'c': 'maybe' in row 2 is not a boolean"),
        (["2024-01-02", "2024-01-03"], ["2024-01-02", "02.01.2024"], "row 2 is not a date written"),
    ],
)
def test_a_later_value_of_another_kind_is_named(training, later, message):
    with pytest.raises(ColumnError, match=message):
        features(fit(training), later)


@pytest.mark.parametrize(
    "values",
    [[1, None], [True, None], ["2024-01-02", None], [date(2024, 1, 2)], ["a", None], ["a", "b"]],
)
def test_its_state_is_the_column(values):
    column = fit(values)
    assert Column(**column.state_dict()) == column
