import csv
import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix as reference
from sklearn.metrics import recall_score

from lit_course.figures import Chart, confusion_matrix


def table(chart: Chart) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(chart.text())))


def random(classes: int, rows: int = 400) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    target = generator.integers(0, classes, rows)
    answer = np.where(generator.random(rows) < 0.7, target, generator.integers(0, classes, rows))
    return target, answer


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_the_numbers_are_scikit_learns(classes):
    target, answer = random(classes)
    names = [f"class {c}" for c in range(classes)]
    counts = reference(target, answer, labels=range(classes))
    rows = table(confusion_matrix(counts, names))
    assert [row["true"] for row in rows] == names
    found = [[int(row[f"as {name}"]) for name in names] for row in rows]
    assert found == counts.tolist()
    recall = recall_score(target, answer, labels=range(classes), average=None, zero_division=np.nan)
    np.testing.assert_allclose([float(row["recall"] or "nan") for row in rows], recall, rtol=1e-5)
    assert [int(row["samples"]) for row in rows] == np.bincount(target).tolist()


@pytest.mark.parametrize(
    ("classes", "size"), [(2, (576, 768)), (10, (720, 864)), (100, (960, 1080))]
)
def test_few_classes_have_counts_and_many_every_other_name(classes, size):
    target, answer = random(classes)
    names = [f"a class of the long name {c}" for c in range(classes)]
    chart = confusion_matrix(reference(target, answer, labels=range(classes)), names, "of these")
    pixels = chart.pixels()
    assert pixels.shape == (*size, 3)
    assert pixels.std() > 20
    axes = Figure().add_subplot()
    chart.draw(axes)
    written = {text.get_position(): int(text.get_text()) for text in axes.texts}
    counts = reference(target, answer, labels=range(classes))
    cells = {(int(j), int(i)): int(counts[i, j]) for i, j in zip(*counts.nonzero(), strict=True)}
    assert written == (cells if classes < 20 else {})
    shown = [tick.get_text() for tick in axes.get_yticklabels()]
    assert len(shown) == min(classes, 34)
    assert len(set(shown)) == len(shown)  # cut names are still told apart
    assert max(map(len, shown)) <= 14


def test_a_class_without_samples_has_no_recall():
    chart = confusion_matrix([[2, 1], [0, 0]], ["here", "nowhere"])
    assert [row["recall"] for row in table(chart)] == ["0.666667", ""]
    assert chart.pixels().std() > 20


def test_names_are_no_formulas_and_may_be_equal():
    names = ["$x", "$x", "a\nb", "$", "true"]
    chart = confusion_matrix(np.eye(5, dtype=int), names)
    assert chart.pixels().std() > 20
    assert [row["as $x (2)"] for row in table(chart)] == ["0", "1", "0", "0", "0"]


def test_letters_that_the_font_lacks_are_no_warning():
    assert confusion_matrix(np.eye(2, dtype=int), ["고양이", "개"]).pixels().std() > 20
