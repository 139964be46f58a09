"""The lessons' pages: English and Korean in step, and their numbers right."""

import math
import re
from collections import Counter
from pathlib import Path

import pytest
import torch
from sklearn.metrics import average_precision_score, ndcg_score

from lit_course.queries import Queries
from lit_course.ranking_metrics import values_of_queries

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "lessons"
LESSONS = sorted(page.stem for page in FOLDER.glob("*.md") if not page.stem.endswith(".ko"))
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)

every_lesson = pytest.mark.parametrize("lesson", LESSONS)


def read(lesson: str, language: str = "") -> str:
    return (FOLDER / f"{lesson}{language}.md").read_text(encoding="utf-8")


def sections(text: str) -> list[str]:
    return re.split(r"^#+ ", text, flags=re.MULTILINE)


def test_there_is_a_lesson_and_each_is_there_twice():
    assert LESSONS
    assert {page.stem for page in FOLDER.glob("*.md")} == {
        f"{lesson}{language}" for lesson in LESSONS for language in ("", ".ko")
    }


@every_lesson
def test_both_languages_have_the_same_structure_code_and_pictures(lesson):
    english, korean = read(lesson), read(lesson, ".ko")
    for pattern in (
        r"^#+ ",  # headings, by level
        FENCED.pattern,
        r"!\[[^\]]*\]\(([^)]*)\)",  # pictures
        r"^(?:- |\|-)",  # lists and tables
        r"`[^`\n]+`",
    ):
        found = [re.findall(pattern, text, re.MULTILINE | re.DOTALL) for text in (english, korean)]
        assert found[0] == found[1], pattern
    assert re.search("[가-힣]", korean)
    assert not re.search("[가-힣]", english.replace("한국어", ""))


@every_lesson
def test_both_languages_have_the_same_numbers(lesson):
    for english, korean in zip(sections(read(lesson)), sections(read(lesson, ".ko")), strict=True):
        numbers = [Counter(re.findall(r"\d[\d.,]*\d|\d", text)) for text in (english, korean)]
        assert numbers[0] == numbers[1], english.partition("\n")[0]


@every_lesson
def test_the_page_has_a_command_a_picture_numbers_and_a_next_step(lesson):
    text = read(lesson)
    assert text.startswith(f"# Lesson {int(lesson[:2])}: ")
    assert re.search(r"^```bash\nlit-course ", text, re.MULTILINE)
    assert "](../images/" in text
    assert "test/" in text or "val/" in text or "train/" in text
    assert sections(text)[-1].startswith("What to try next\n")


def test_the_example_of_lesson_9_by_hand_and_by_scikit_learn():
    relevance = [0, 3, 2, 0, 1]  # by rank
    scores = torch.arange(5, 0, -1.0)
    query = Queries.begin(torch.tensor([1, 0, 0, 0, 0]))
    ours = values_of_queries(scores, torch.tensor(relevance), query, [3, 5])
    tied = values_of_queries(torch.zeros(5), torch.tensor(relevance), query, [3, 5])

    gains = [2**grade - 1 for grade in relevance]
    discounts = [1 / math.log2(1 + rank) for rank in range(1, 6)]
    dcg = [gain * discount for gain, discount in zip(gains, discounts, strict=True)]
    best = sum(g * d for g, d in zip(sorted(gains, reverse=True), discounts, strict=True))
    first = {rank: 1 / rank for rank in range(1, 6)}
    # Of 3 relevant ones among 5 the first is at rank 1, 2 or 3 in 6, 3 and 1 of 10 orders.
    mrr_of_ties = (6 * first[1] + 3 * first[2] + 1 * first[3]) / 10
    by_hand = {
        "mrr": 1 / 2,
        "precision@3": 2 / 3,
        "recall@3": 2 / 3,
        "map@5": (1 / 2 + 2 / 3 + 3 / 5) / 3,
        "ndcg@3": sum(dcg[:3]) / best,
        "ndcg@5": sum(dcg) / best,
    }
    for name, value in by_hand.items():
        assert float(ours[name]) == pytest.approx(value, abs=1e-12), name
    assert float(tied["mrr"]) == pytest.approx(mrr_of_ties)
    expected = ndcg_score([gains], [[0] * 5], k=5)
    assert float(tied["ndcg@5"]) == pytest.approx(expected)
    assert by_hand["ndcg@5"] == pytest.approx(ndcg_score([gains], [scores.tolist()]))
    relevant = [grade > 0 for grade in relevance]
    assert by_hand["map@5"] == pytest.approx(average_precision_score(relevant, scores))

    example = next(part for part in sections(read("09_metrics")) if part.startswith("Ranking:"))
    numbers = [*by_hand.values(), *discounts, best, sum(dcg), sum(dcg[:3]), mrr_of_ties, expected]
    for number in numbers:
        assert re.search(
            rf"(?<![\d.]){re.escape(f'{number:.4f}'.rstrip('0').rstrip('.'))}\b", example
        )
    for grade, gain, discount in zip(relevance, gains, discounts, strict=True):
        assert f"| {grade} | {gain} | {f'{discount:.4f}'.rstrip('0').rstrip('.')} |" in example
