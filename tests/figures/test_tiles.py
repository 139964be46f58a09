import numpy as np
import pytest
from matplotlib.figure import Figure

from lit_course.figures import classified, weight_images, weight_map

NAMES = ["cat", "dog"]


def rows(count: int, shape=(1, 4, 4), dtype=np.uint8) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    p = generator.random(count)
    return {
        "place": np.arange(count) + 7,
        "target": np.arange(count) % 2,
        "class": np.zeros(count, int),
        "probabilities": np.stack([p, 1 - p], 1),
        "input": (generator.random((count, *shape)) * 255).astype(dtype),
    }


def test_every_tile_says_answer_probability_and_true_class():
    given = rows(3)
    chart = classified("mistakes", "Mistakes", given, NAMES, (1, 4, 4))
    p = given["probabilities"][:, 0]
    assert chart.columns["sample"] == [7, 8, 9]
    assert chart.columns["true"] == ["cat", "dog", "cat"]
    assert chart.columns["answer"] == ["cat"] * 3
    assert chart.columns["probability_of_answer"] == p.tolist()
    assert chart.columns["probability_of_true"] == [p[0], 1 - p[1], p[2]]
    axes = Figure().add_subplot()
    chart.draw(axes)
    said = [text.get_text() for text in axes.texts]
    assert said == [f"cat {p[0]:.2f}", f"cat {p[1]:.2f}\nis dog", f"cat {p[2]:.2f}"]


def test_the_tiles_are_the_images():
    given = rows(7)
    axes = Figure().add_subplot()
    classified("mistakes", "Mistakes", given, NAMES, (1, 4, 4)).draw(axes)
    canvas = np.asarray(axes.images[0].get_array())
    found = [
        canvas[top : top + 4, left : left + 4]
        for top in range(len(canvas) - 3)
        for left in range(canvas.shape[1] - 3)
    ]
    for image in given["input"][:, 0] / 255:
        assert sum(np.array_equal(image, each) for each in found) == 1


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((3, 5, 9), np.uint8),
        ((1, 300, 200), np.float32),
        ((3, 8, 8), np.float32),
        ((1, 1, 1), float),
    ],
)
@pytest.mark.parametrize("count", [1, pytest.param(25, marks=pytest.mark.slow)])
def test_images_of_any_kind(shape, dtype, count):
    chart = classified("examples", "Examples", rows(count, shape, dtype), NAMES, shape)
    pixels = chart.pixels()
    assert pixels.shape == (round(chart.size[1] * 120), 768, 3)
    assert pixels.std() > 5


def test_nothing_is_no_picture():
    assert classified("examples", "Examples", {}, NAMES, (1, 4, 4)) is None
    assert classified("examples", "Examples", rows(0), NAMES, (1, 4, 4)) is None


def test_the_largest_weights_are_drawn_each_on_its_own_scale():
    weight = np.random.default_rng(0).normal(size=(40, 16)) * 2.0 ** np.arange(40)[:, None]
    chart = weight_images(weight, (1, 4, 4))
    assert list(chart.columns) == [f"unit {u}" for u in range(15, 40)]
    assert chart.columns["unit 39"] == weight[39].tolist()
    assert chart.pixels().std() > 20
    named = weight_images(weight[:2], (1, 4, 4), NAMES)
    assert list(named.columns) == NAMES
    assert weight_images(np.zeros((2, 12)), (3, 2, 2)).pixels().std() > 5


def test_weights_of_a_table_are_a_map():
    weight = np.random.default_rng(0).normal(size=(2, 3))
    chart = weight_map(weight, ["a", "b", "c"], NAMES)
    assert chart.columns == {
        "feature": ["a", "b", "c"],
        "cat": weight[0].tolist(),
        "dog": weight[1].tolist(),
    }
    axes = Figure().add_subplot()
    chart.draw(axes)
    np.testing.assert_array_equal(axes.images[0].get_array(), weight.T)
    assert chart.pixels().std() > 20
    assert len(weight_map(np.ones((100, 2)), ["a", "b"]).columns) == 65
