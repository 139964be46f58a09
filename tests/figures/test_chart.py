import numpy as np

from lit_course.figures import Chart
from lit_course.figures.chart import DPI, SIZE


def test_numbers_are_a_table():
    columns = {"name": ["a,b", "c"], "count": [1, 2], "value": [1 / 3, float("nan")]}
    assert Chart("any", columns, lambda axes: None).text() == (
        'name,count,value\n"a,b",1,0.333333\nc,2,\n'
    )


def test_a_picture_is_what_was_drawn():
    empty = Chart("any", {}, lambda axes: None).pixels()
    line = Chart("any", {}, lambda axes: axes.plot([0, 1], color="red")).pixels()
    assert empty.shape == line.shape == (SIZE[1] * DPI, SIZE[0] * DPI, 3)
    assert empty.dtype == np.uint8
    red = (line == (255, 0, 0)).all(2)
    assert red.sum() > 500
    assert not (empty == (255, 0, 0)).all(2).any()


def test_drawing_leaves_pyplot_alone():
    from matplotlib import pyplot as plt

    Chart("any", {}, lambda axes: None).pixels()
    assert plt.get_fignums() == []
