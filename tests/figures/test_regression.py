import numpy as np
import pytest
from matplotlib.figure import Figure

from lit_course.figures import coefficients, fitted_curve, predicted_against_true, residuals


@pytest.mark.parametrize("count", [1, 50, 5000])
def test_every_point_has_a_row_and_is_drawn(count):
    generator = np.random.default_rng(0)
    target = generator.normal(size=count)
    prediction = target + generator.normal(size=count)
    chart = predicted_against_true(target, prediction, "price")
    assert chart.columns == {"true": target.tolist(), "predicted": prediction.tolist()}
    left = residuals(target, prediction, "price")
    assert left.columns["residual"] == (target - prediction).tolist()
    for drawn, shape in ((chart, (576, 768, 3)), (left, (480, 768, 3))):
        pixels = drawn.pixels()
        assert pixels.shape == shape
        assert pixels.std() > 10


def test_points_lie_where_the_numbers_say():
    axes = Figure().add_subplot()
    predicted_against_true([1, 2], [3, 5], "price").draw(axes)
    assert axes.collections[0].get_offsets().tolist() == [[1, 3], [2, 5]]
    assert axes.get_xlabel() == "true price"


def test_coefficients_have_names_and_the_largest_come_first():
    weights = {"small": 0.5, "large": -3.0, "intercept": 7.0}
    chart = coefficients(weights, ["y"], "original units")
    assert chart.columns == {"feature": list(weights), "coefficient": [0.5, -3.0, 7.0]}
    axes = Figure().add_subplot()
    chart.draw(axes)
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["large", "small"]
    assert [bar.get_width() for bar in axes.patches] == [-3, 0.5]
    assert "intercept 7" in axes.get_title()
    assert chart.pixels().std() > 20


def test_many_coefficients_of_several_targets():
    weights = {f"x{i}": np.array([i, -i, 1000.0]) for i in range(50)}
    chart = coefficients(weights, ["a", "b", "b"])
    assert next(iter(chart.columns)) == "feature"
    assert len(chart.columns["feature"]) == 50
    axes = Figure().add_subplot()
    chart.draw(axes)
    assert len(axes.get_yticklabels()) == 15
    assert chart.pixels().std() > 20


@pytest.mark.parametrize("weights", [{"intercept": 1.0}, {"x": np.nan, "intercept": 1.0}])
def test_no_coefficients_are_no_picture(weights):
    assert coefficients(weights, ["y"]) is None


def test_coefficients_of_zero():
    assert coefficients({"x": 0.0, "z": 0.0}, ["y"]).pixels().std() > 5


def test_a_curve_does_not_move_the_axes():
    x, y, grid = np.arange(5.0), np.arange(5.0) ** 2, np.linspace(0, 4, 9)
    limits = []
    for curve in (grid**2, grid * 1e6):
        axes = Figure().add_subplot()
        chart = fitted_curve(x, y, grid, curve, ("t", "speed"))
        chart.draw(axes)
        limits.append((axes.get_xlim(), axes.get_ylim()))
        assert axes.get_lines()[0].get_ydata().tolist() == curve.tolist()
    assert limits[0] == limits[1]
    assert chart.columns["kind"] == ["point"] * 5 + ["model"] * 9
    assert chart.columns["x"] == [*x, *grid]
    assert chart.columns["y"] == [*y, *curve]
    assert chart.pixels().std() > 10
