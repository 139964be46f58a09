"""What is gathered of a split: exact where it is counted, a uniform sample where it is large."""

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix

from lit_course.figures import Collector, charts_of, together


def batches(rows: int, classes: int = 3, size: int = 50, image=(1, 2, 2)):
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(rows, classes, generator=generator)
    y = torch.randint(0, classes, (rows,), generator=generator)
    x = torch.arange(rows * 4).reshape(rows, *image)
    for part in torch.arange(rows).split(size):
        yield {"loss": torch.tensor(1.0), "probabilities": p[part], "target": y[part]}, (x[part], y)


def collected(collector: Collector, given) -> Collector:
    for returned, batch in given:
        collector.add(returned, (batch[0], returned["target"]))
    return collector


def everything(rows: int):
    parts = [(returned, batch[0]) for returned, batch in batches(rows)]
    p = torch.cat([part["probabilities"] for part, _ in parts]).numpy()
    y = torch.cat([part["target"] for part, _ in parts]).numpy()
    return p, y, torch.cat([x for _, x in parts]).numpy()


def test_a_small_split_is_kept_as_it_is():
    seen = collected(Collector(), batches(260)).seen("val", "validation split")
    p, y, _ = everything(260)
    np.testing.assert_array_equal(seen.rows["probabilities"], p)
    np.testing.assert_array_equal(seen.rows["target"], y)
    np.testing.assert_array_equal(seen.rows["class"], p.argmax(1))
    np.testing.assert_array_equal(seen.confusion, confusion_matrix(y, p.argmax(1)))
    assert (seen.of, seen.count) == ("validation split, 260 samples", 260)


def test_of_a_large_one_a_sample_in_order_and_all_counted():
    collector = collected(Collector(limit=100), batches(5000))
    seen = collector.seen("test", "test split")
    p, y, _ = everything(5000)
    assert seen.of == "test split, 5,000 samples, 100 of them drawn"
    place = [int(np.flatnonzero((p == row).all(1))[0]) for row in seen.rows["probabilities"]]
    assert place == sorted(set(place))
    assert 1500 < np.mean(place) < 3500  # from everywhere
    np.testing.assert_array_equal(seen.rows["target"], y[place])
    np.testing.assert_array_equal(seen.confusion, confusion_matrix(y, p.argmax(1)))


def test_a_sample_is_uniform():
    chosen = torch.zeros(1000)
    for seed in range(200):
        collector = Collector(limit=100, rank=seed)
        for part in torch.arange(1000.0).split(64):
            collector.add({"prediction": part, "target": part}, None)
        chosen[collector.seen("val", "").rows["target"].astype(int)] += 1
    # 200 draws of 1 in 10: 20 ± 4.2; by thirds of the split 6,667 ± 63.
    assert chosen.sum() == 20_000
    for third in chosen.split(334):
        assert third.sum() == pytest.approx(20 * len(third), abs=4 * 63)
    assert 2 < chosen.min() < chosen.max() < 45


def test_the_worst_mistakes_are_those_of_all_samples():
    seen = collected(Collector(limit=10), batches(3000)).seen("val", "")
    p, y, x = everything(3000)
    wrong = p.argmax(1) != y
    likely = np.where(wrong, p[np.arange(3000), y], np.inf)
    expected = np.argsort(likely)[:25]
    np.testing.assert_array_equal(seen.mistakes["place"], expected)
    np.testing.assert_array_equal(seen.mistakes["input"], x[expected])
    assert len(set(seen.examples["place"])) == 25
    np.testing.assert_array_equal(seen.examples["input"], x[seen.examples["place"]])
    assert seen.image_shape == (1, 2, 2)


def test_several_processes_find_what_one_does():
    whole = collected(Collector(), batches(1000)).seen("val", "")
    parts = [
        collected(Collector(rank=rank), list(batches(1000))[10 * rank : 10 * rank + 10])
        for rank in range(2)
    ]
    merged = together([Collector(rank=5), *(part.cpu() for part in parts)]).seen("val", "")
    for name, values in whole.rows.items():
        np.testing.assert_array_equal(merged.rows[name], values)
    np.testing.assert_array_equal(merged.confusion, whole.confusion)
    np.testing.assert_array_equal(merged.mistakes["input"], whole.mistakes["input"])
    assert merged.count == 1000


def test_two_classes_may_come_as_one_probability():
    y = torch.tensor([0, 1, 1])
    for p in (torch.tensor([0.25, 0.75, 0.5]), torch.tensor([[0.25], [0.75], [0.5]])):
        collector = Collector()
        collector.add({"probabilities": p, "target": y}, (torch.rand(3, 2), y))
        seen = collector.seen("val", "")
        assert seen.rows["probabilities"].tolist() == [[0.75, 0.25], [0.25, 0.75], [0.5, 0.5]]
        assert seen.confusion.sum() == 3


def test_one_feature_is_kept_with_the_answers():
    x, y = torch.tensor([[1.0], [2.0]]), torch.tensor([3.0, 4.0])
    collector = Collector()
    collector.add({"prediction": y + 1, "target": y}, (x, y))
    seen = collector.seen("val", "")
    assert seen.rows["input"].tolist() == [[1.0], [2.0]]
    assert [chart.name for chart in charts_of(seen)] == ["predicted_against_true", "residuals"]


@pytest.mark.parametrize(
    "returned",
    [None, torch.tensor(1.0), {}, {"target": torch.ones(2)}, {"prediction": torch.ones(2)}, [1]],
)
def test_what_has_no_answers_is_passed_over(returned):
    collector = Collector()
    collector.add(returned, (torch.ones(2, 1), torch.ones(2)))
    assert collector.seen("val", "") is None


def test_answers_of_another_number_are_refused():
    with pytest.raises(ValueError, match=r"targets of shape \(3,\), and prediction of \(2,\)"):
        Collector().add({"prediction": torch.ones(2), "target": torch.ones(3)}, None)


def test_several_predictions_of_one_target_are_refused():
    with pytest.raises(ValueError, match=r"targets of shape \(3, 1\), and prediction of \(3, 2\)"):
        Collector().add({"prediction": torch.ones(3, 2), "target": torch.ones(3, 1)}, None)


def test_labels_may_be_floats_and_several_of_a_sample_are_passed_over():
    collector, p = Collector(), torch.tensor([0.9, 0.2, 0.8])
    collector.add({"probabilities": p, "target": torch.tensor([1.0, 0.0, 0.5])}, None)
    assert collector.seen("val", "").confusion.tolist() == [[1, 0], [0, 1]]
    collector = Collector()
    collector.add({"probabilities": torch.rand(3, 4), "target": torch.ones(3, 4)}, None)
    assert collector.seen("val", "") is None


def test_a_class_that_there_is_not_does_no_harm():
    """On a GPU an index out of range would end the process."""
    collector, y = Collector(), torch.tensor([0, 1])
    given = {"probabilities": torch.rand(2, 2), "target": y, "class": torch.tensor([-1, 9])}
    collector.add(given, None)
    assert collector.seen("val", "").confusion.tolist() == [[1, 0], [0, 1]]


def test_mistakes_of_tiny_probabilities_are_in_order():
    likely = torch.tensor([1e-12, 1e-20, 1e-9, 1e-30])
    p, y = torch.stack([1 - likely, likely], 1), torch.ones(4, dtype=torch.int64)
    collector = Collector()
    collector.add({"probabilities": p, "target": y}, (torch.rand(4, 1, 2, 2), y))
    assert collector.seen("val", "").mistakes["place"].tolist() == [3, 1, 0, 2]


def test_what_is_not_finite_is_left_out_and_said():
    y = torch.tensor([0, 1, 2, 1])
    p = torch.eye(3)[y]
    p[1] = torch.nan
    collector = Collector()
    collector.add({"probabilities": p, "target": y}, (torch.rand(4, 1, 2, 2), y))
    seen = collector.seen("val", "here")
    assert seen.of == "here, 4 samples, 1 not finite and left out"
    assert seen.rows["target"].tolist() == [0, 2, 1]
    assert all(chart.pixels().std() > 5 for chart in charts_of(seen))


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("kind", "rows", "value"),
    [
        ("classes", 1, 0.0),
        ("numbers", 1, 0.0),
        ("classes", 1, float("nan")),
        ("numbers", 2, float("inf")),
        pytest.param("classes", 2, 0.0, marks=SLOW),
        pytest.param("classes", 2, float("inf"), marks=SLOW),
        pytest.param("numbers", 2, 0.0, marks=SLOW),
        pytest.param("numbers", 1, float("nan"), marks=SLOW),
    ],
)
def test_degenerate_answers_are_drawn_or_left_out(kind, rows, value):
    """One sample, one class, nothing finite."""
    collector, x = Collector(), torch.rand(rows, 1, 4, 4)
    if kind == "classes":
        p, y = torch.full((rows, 3), value), torch.ones(rows, dtype=torch.int64)
        collector.add({"probabilities": p, "target": y}, (x, y))
    else:
        y = torch.zeros(rows)
        collector.add({"prediction": y + value, "target": y}, (x, y))
    for chart in charts_of(collector.seen("test", "")):
        assert chart.pixels().std() > 5
        assert chart.text()


def test_labels_that_are_no_class_are_not_counted():
    y = torch.tensor([0, -100, 7, 1])
    collector = Collector()
    collector.add({"probabilities": torch.full((4, 2), 0.5), "target": y}, (torch.rand(4, 3), y))
    seen = collector.seen("val", "")
    assert seen.confusion.sum() == 2
    assert all(chart.pixels().std() > 5 for chart in charts_of(seen))


def test_several_targets_have_figures_each():
    y = torch.rand(20, 3)
    collector = Collector()
    collector.add({"prediction": y + 1, "target": y}, (torch.rand(20, 5), y))
    charts = list(charts_of(collector.seen("val", ""), target_names=["a", "b", "c"]))
    assert len(charts) == 6
    assert {chart.name for chart in charts} >= {"residuals_1", "predicted_against_true_3"}
    np.testing.assert_allclose(charts[4].columns["true"], y[:, 2].numpy())
