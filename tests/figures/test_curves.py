import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from lit_course.figures import Chart, curves
from lit_course.figures.curves import COLORS, STYLES

NAN, INF = float("nan"), float("inf")


def drawn(chart: Chart):
    axes = Figure().add_subplot()
    chart.draw(axes)
    return axes


def chart(lines, **options) -> Chart:
    return curves("any", lines, xlabel="step", ylabel="loss", **options)


def crosses(axes):
    return [line.get_xydata()[0].tolist() for line in axes.get_lines() if line.get_marker() == "X"]


def test_the_table_has_every_value_of_every_line():
    lines = {"a": ([0, 1], [2.0, NAN]), "b": ([5], [INF])}
    some = chart(lines, faint={"a": ([0], [1 / 3])}, points={"best": ([1], [0.5])})
    assert some.text().splitlines() == [
        "curve,step,loss",
        *("a,0,2", "a,1,", "b,5,inf", "a (train),0,0.333333", "best,1,0.5"),
    ]


def test_lines_differ_in_colour_and_in_style():
    names = [f"run {i}" for i in range(len(COLORS) * len(STYLES))]
    axes = drawn(chart({name: ([0, 1], [i, i]) for i, name in enumerate(names)}))
    lines = axes.get_lines()
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == len(names)
    assert len({line.get_color() for line in lines[:7]}) == 7
    assert all(np.mean(to_rgb(color)) < 0.75 for color in COLORS)  # seen on white


def test_the_legend_is_in_the_order_in_which_lines_end():
    lines = {"low": ([0, 1], [9, 1]), "gone": ([0, 1], [1, NAN]), "high": ([0], [3])}
    axes = drawn(chart(lines, faint={"low": ([0], [1])}, faint_label="training"))
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["gone", "high", "low", "training"]


def test_thin_lines_have_the_colour_of_their_namesakes():
    axes = drawn(chart({"a": ([0, 1], [1, 2])}, faint={"a": ([0, 1], [2, 3])}))
    thin, thick = axes.get_lines()[:2]
    assert thin.get_color() == thick.get_color()
    assert thin.get_linewidth() < thick.get_linewidth()
    with pytest.raises(ValueError, match="namesakes in lines, found 'b'"):
        chart({"a": ([0], [1])}, faint={"b": ([0], [1])})


@pytest.mark.parametrize("last", [NAN, INF, -INF])
def test_a_line_that_diverges_ends_in_a_cross(last):
    axes = drawn(chart({"a": ([0, 1, 2, 3], [2.0, 2.5, last, NAN]), "b": ([0, 3], [2, 1])}))
    assert crosses(axes) == [[1, 2.5]]
    assert [text.get_text() for text in axes.texts] == ["diverged"]


def test_a_line_that_diverges_does_not_press_the_others_flat():
    axes = drawn(chart({"a": ([0, 1, 2, 3], [2.0, 9e9, 9e30, INF]), "b": ([0, 3], [2, 1])}))
    low, high = axes.get_ylim()
    assert low < 1
    assert 2 < high < 5
    assert crosses(axes) == [[1, high]]


def test_a_gap_is_no_divergence():
    assert not crosses(drawn(chart({"a": ([0, 1, 2], [1, NAN, 2])})))


@pytest.mark.parametrize("log", [False, True])
def test_what_has_no_finite_value_is_drawn_as_nothing(log):
    nothing = {"nan": ([0, 1], [NAN, NAN]), "empty": ([], []), "zero": ([0, 1], [0, -1])}
    assert chart(nothing, log_x=log, log_y=log).pixels().std() > 0
    assert chart({}).pixels().std() > 0


def test_x_and_y_are_of_one_length():
    with pytest.raises(ValueError, match="a: 2 values of x, 1 of y"):
        chart({"a": ([0, 1], [1])})


def test_single_points_are_hollow():
    axes = drawn(chart({"a": ([0, 1], [1, 2])}, points={"best": ([1], [2])}))
    assert axes.get_lines()[1].get_markerfacecolor() == "white"
    assert len(axes.get_legend().get_texts()) == 2
