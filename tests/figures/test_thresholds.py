import csv
import io

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from lit_course.figures import Chart, precision_recall_curves, reliability, roc_curves
from lit_course.figures.thresholds import MACRO


def table(chart: Chart, **only: str) -> dict[str, list]:
    rows = list(csv.DictReader(io.StringIO(chart.text())))
    rows = [row for row in rows if all(row[key] == value for key, value in only.items())]
    return {
        name: [row[name] if name == "class" else float(row[name] or "nan") for row in rows]
        for name in rows[0]
    }


def assert_among(points: tuple, theirs: tuple) -> None:
    """Each point is one of theirs, to the six digits that are written."""
    ours, all_theirs = (np.nan_to_num(np.stack(p, 1), posinf=9) for p in (points, theirs))
    far = np.abs(ours[:, None] - all_theirs).max(2).min(1)
    assert far.max() < 1e-5


def random(classes: int, rows: int, digits: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities; of few digits there are many ties."""
    generator = np.random.default_rng(0)
    target = generator.integers(0, classes, rows)
    logits = generator.normal(size=(rows, classes))
    logits[np.arange(rows), target] += 1
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return target, p.round(digits)


@pytest.mark.parametrize("digits", [9, 1])
def test_two_classes_have_scikit_learns_points(digits):
    target, p = random(2, 60, digits)
    chart = roc_curves(target, p, ["no", "yes"])
    found = table(chart)
    false, true, thresholds = roc_curve(target, p[:, 1], drop_intermediate=False)
    x, y = found["false_positive_rate"], found["true_positive_rate"]
    assert_among((x, y, found["threshold"]), (false, true, thresholds))
    # None is missing, but on straight lines.
    assert np.trapezoid(y, x) == pytest.approx(roc_auc_score(target, p[:, 1]), rel=1e-5)
    assert found["AUC"][0] == pytest.approx(roc_auc_score(target, p[:, 1]), rel=1e-5)
    assert set(found["class"]) == {"yes"}

    found = table(precision_recall_curves(target, p, ["no", "yes"]))
    precision, recall, thresholds = precision_recall_curve(target, p[:, 1])
    assert_among(
        (found["precision"], found["recall"], found["threshold"]),
        (precision, recall, np.append(thresholds, np.inf)),
    )
    assert len(found["recall"]) > 3
    assert (found["recall"][0], found["recall"][-1]) == (0, 1)
    assert found["AP"][0] == pytest.approx(average_precision_score(target, p[:, 1]), rel=1e-5)


@pytest.mark.parametrize("classes", [3, 30])
def test_more_classes_have_one_curve_each_and_their_mean(classes):
    target, p = random(classes, 900)
    names = [f"class {c}" for c in range(classes)]
    roc, pr = roc_curves(target, p, names), precision_recall_curves(target, p, names)
    for c, name in enumerate(names):
        false, true, _ = roc_curve(target == c, p[:, c], drop_intermediate=False)
        found = table(roc, **{"class": name})
        x, y = found["false_positive_rate"], found["true_positive_rate"]
        assert_among((x, y), (false, true))
        assert found["AUC"][0] == pytest.approx(roc_auc_score(target == c, p[:, c]), rel=1e-5)
        area = np.trapezoid(y, x)  # few points are enough
        assert area == pytest.approx(found["AUC"][0], abs=0.01)
        found = table(pr, **{"class": name})
        expected = average_precision_score(target == c, p[:, c])
        assert found["AP"][0] == pytest.approx(expected, rel=1e-5)
        assert 5 < len(found["AP"]) <= 200
    macro = table(roc, **{"class": MACRO})
    expected = roc_auc_score(target, p, multi_class="ovr", average="macro")
    assert macro["AUC"][0] == pytest.approx(expected, abs=1e-6)
    area = np.trapezoid(macro["true_positive_rate"], macro["false_positive_rate"])
    assert area == pytest.approx(expected, abs=0.01)
    macro = table(pr, **{"class": MACRO})
    expected = np.mean([average_precision_score(target == c, p[:, c]) for c in range(classes)])
    assert macro["AP"][0] == pytest.approx(expected, abs=1e-6)
    assert np.mean(macro["precision"]) == pytest.approx(expected, abs=0.02)


def test_many_classes_have_few_names():
    from matplotlib.figure import Figure

    target, p = random(30, 900)
    axes = Figure().add_subplot()
    chart = roc_curves(target, p, [str(c) for c in range(30)])
    chart.draw(axes)
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert len(texts) == 6
    assert texts[-1].startswith("mean of 30, AUC ")
    assert chart.pixels().shape == (576, 768, 3)
    assert chart.pixels().std() > 20


@pytest.mark.parametrize("curves", [roc_curves, precision_recall_curves])
def test_what_is_not_defined_is_left_out(curves):
    p = np.full((4, 3), 1 / 3)
    assert curves(np.zeros(0, int), np.zeros((0, 3)), ["a", "b", "c"]) is None
    one = curves(np.zeros(4, int), p, ["a", "b", "c"])
    assert one is None or set(one.columns["class"]) == {"a"}
    two = curves(np.array([0, 0, 1, 1]), p, ["a", "b", "c"])
    assert set(two.columns["class"]) == {"a", "b", MACRO}  # nothing is of class c
    assert two.pixels().std() > 20
    single = curves(np.array([1]), p[:1, :2], ["a", "b"])
    assert single is None or single.pixels().std() > 20


def test_reliability_is_scikit_learns():
    target, p = random(2, 500)
    chart = reliability(p[:, 1], target == 1, of_two="yes")
    found = table(chart)
    share, mean = calibration_curve(target, p[:, 1], n_bins=10)
    filled = np.array(found["samples"]) > 0
    np.testing.assert_allclose(np.array(found["share_right"])[filled], share, rtol=1e-5)
    np.testing.assert_allclose(np.array(found["mean_probability"])[filled], mean, rtol=1e-5)
    counts = np.array(found["samples"])[filled]
    error = (np.abs(share - mean) * counts).sum() / 500
    assert found["expected_calibration_error"][0] == pytest.approx(error, rel=1e-5)
    assert chart.pixels().std() > 20
    assert chart.pixels().shape == (624, 768, 3)


def test_reliability_of_many_classes_is_of_the_answer():
    target, p = random(5, 500)
    right, likely = p.argmax(1) == target, p.max(1)
    found = table(reliability(likely, right))
    share, mean = calibration_curve(right, likely, n_bins=10)
    counts = np.array(found["samples"])
    assert found["expected_calibration_error"][0] == pytest.approx(
        (np.abs(share - mean) * counts[counts > 0]).sum() / 500, rel=1e-5
    )


@pytest.mark.parametrize("p", [[0.0], [1.0], [0.5, 0.5]])
def test_reliability_of_few_samples(p):
    assert reliability(p, np.ones(len(p))).pixels().std() > 20
