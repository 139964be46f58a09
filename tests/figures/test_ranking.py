import numpy as np
import pytest
from matplotlib.figure import Figure

from lit_course.figures import Chart, metric_by_query, score_by_relevance

VALUES = {"mrr": [1.0, 0.5, np.nan], "ndcg@5": [0.25, 0.75, np.nan]}


def axes_of(chart: Chart):
    axes = Figure().add_subplot()
    chart.draw(axes)
    return axes


def by_query(**options) -> Chart:
    return metric_by_query("ndcg@5", VALUES, ["a", "b", "c"], [4, 2, 1], **options)


def test_every_query_has_a_row():
    chart = by_query()
    assert chart.name == "ndcg_by_query"
    rows = chart.text().splitlines()
    assert rows == ["query,items,mrr,ndcg@5", "a,4,1,0.25", "b,2,0.5,0.75", "c,1,,"]


@pytest.mark.parametrize(
    ("undefined", "drawn", "label"),
    [
        (np.nan, [0.75, 0.25], "mean 0.500; 1 not defined, left out"),
        (0.0, [0.75, 0.25, 0], "mean 0.333; 1 not defined, counted as 0"),
        (1.0, [1, 0.75, 0.25], "mean 0.667; 1 not defined, counted as 1"),
    ],
)
def test_queries_are_drawn_best_first_with_their_mean(undefined, drawn, label):
    axes = axes_of(by_query(undefined=undefined))
    assert axes.patches[0].get_data().values.tolist() == drawn
    (line,) = axes.get_lines()
    assert line.get_ydata()[0] == pytest.approx(np.mean(drawn))
    assert axes.get_legend().get_texts()[0].get_text() == label


def test_no_query_at_all_is_no_error():
    chart = metric_by_query("mrr", {"mrr": [np.nan]}, ["a"], [1])
    assert chart.pixels().any()
    assert chart.name == "mrr_by_query"


def test_scores_are_above_the_mean_of_their_query():
    scores, relevance, query = [1.0, 3, 10, 14, 12], [0, 1, 0, 2, 1], [0, 0, 1, 1, 1]
    chart = score_by_relevance(scores, relevance, query)
    assert chart.columns["relevance"] == ["0", "1", "2"]
    assert chart.columns["items"] == [2, 2, 1]
    assert chart.columns["median"] == [-1.5, 0.5, 2]
    medians = [line.get_ydata()[0] for line in axes_of(chart).get_lines()]
    assert {-1.5, 0.5, 2.0} <= set(medians)


def test_boxes_are_quantiles():
    random = np.random.default_rng(0)
    relevance, scores = random.integers(0, 3, 1000), random.normal(size=1000)
    chart = score_by_relevance(scores, relevance, np.zeros(1000, int))
    above = scores - scores.mean()
    for part, column in ((0.05, "5%"), (0.25, "25%"), (0.75, "75%"), (0.95, "95%")):
        expected = [np.quantile(above[relevance == grade], part) for grade in range(3)]
        np.testing.assert_allclose(chart.columns[column], expected)


def test_many_grades_share_boxes():
    relevance = np.linspace(0, 1, 500)
    chart = score_by_relevance(relevance, relevance, np.zeros(500, int))
    assert len(chart.columns["relevance"]) == 10
    assert sum(chart.columns["items"]) == 500
    assert chart.columns["median"] == sorted(chart.columns["median"])
    assert chart.columns["relevance"][0].startswith("0–0.09")


def test_scores_that_are_no_numbers_are_drawn_as_nothing():
    chart = score_by_relevance([np.nan, 1.0, 2.0], [0, 1, 0], [0, 0, 1])
    assert chart.pixels().any()
    assert chart.text().count("\n") == 3
