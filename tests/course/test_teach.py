"""``lit-course lesson``: listed, refused, and given: what a lesson says, runs and leaves."""

import json

import numpy as np
import pytest
from PIL import Image

from lit_course.course import teach as module
from lit_course.course.contents import CONTENTS
from lit_course.course.lesson import Lesson, Run, Table
from lit_course.course.teach import cell
from lit_course.figures import curves

LINE = (
    "fit --model LinearRegressor --data DiabetesDataModule --trainer.max_epochs 1 --figures false"
)


@pytest.fixture
def draws() -> bool:
    """The pictures are looked at."""
    return True


def test_they_are_listed_with_their_questions(capsys):
    from lit_course.cli import main

    assert main(["lesson"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 * len(CONTENTS) == 20
    assert lines[0] == " 1  Gradient descent by hand"
    assert all(line.endswith("?") for line in lines[1::2])


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["0"], "the lessons are 1 to 10, found 0: lit-course lesson lists them"),
        (["eleven"], "the lessons are 1 to 10, found eleven"),
        (["--quick"], "the lessons are 1 to 10, found none"),
        (["1", "--quick"], "lesson 1 has no quick variant: leave --quick out"),
        (["1", "2"], "lesson does not take '2'"),
        (["1", "--rusn", "x"], "lesson does not take '--rusn'"),
        (["1", "--data"], "lesson does not take '--data'"),
    ],
)
def test_what_is_no_lesson_is_refused(args, said, lit, tmp_path):
    done = lit("lesson", *args)
    assert done.status == 2
    assert done.err.startswith(f"error: {said}")
    assert "Traceback" not in done.err
    assert not (tmp_path / "runs").exists()


def test_a_file_that_is_not_there(lit, tmp_path):
    done = lit("lesson", 4, "--data", tmp_path)
    assert done.status == 1
    (line,) = done.err.splitlines()
    assert line.startswith(f"error: lesson 4 needs {tmp_path / 'boston.csv'}: scikit-learn's")
    assert done.out == ""
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def given(monkeypatch, lit):
    """Give a made-up lesson."""

    def give(lesson: Lesson, *flags: object):
        monkeypatch.setattr(module, "load", lambda number: lesson)
        return lit("lesson", 1, *flags)

    return give


def made_up(**more: Run) -> Lesson:
    def answer(ran):
        losses = ran["line"].series("train/loss")
        yield Table("losses", "Losses [of all]", {"epoch": [1], "loss": losses})
        yield curves("picture", {"loss": ([1, 2], [*losses, 2.0])}, xlabel="epoch", ylabel="loss")

    return Lesson({"line": Run(LINE), **more}, answer)


def test_everything_lies_in_the_folder_of_the_lesson(given, tmp_path):
    again = Run("test --ckpt_path {line}")
    done = given(made_up(again=again))
    assert done.status == 0, done.err
    place = tmp_path / "runs" / "lesson1" / "version_0"
    entry = CONTENTS[1]
    assert done.out.startswith(f"Lesson 1: {entry.title}\n{entry.question}\n")
    assert f"$ lit-course {LINE}" in done.out
    assert "Losses [of all]" in done.out
    assert "train/mae" not in done.out  # what the runs say is in a file
    assert "train/mae" in (place / "output.txt").read_text()
    assert done.err == ""

    answer = json.loads((place / "answer.json").read_text())
    recorded = json.loads((place / "line/version_0/fit_metrics.json").read_text())
    assert answer["losses"]["loss"] == pytest.approx([recorded["train/loss"]])
    assert (place / "line/version_0/test_metrics.json").is_file()
    pixels = np.asarray(Image.open(place / "picture.png").convert("RGB"))
    assert pixels.shape == (480, 768, 3)
    assert pixels.std() > 5, "a blank picture"
    assert (place / "picture.csv").read_text().startswith("curve,epoch,loss\n")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["lesson1"]

    assert given(made_up()).status == 0
    assert (place.parent / "version_1" / "answer.json").is_file(), "a second time beside the first"


def test_a_divergence_that_is_expected_and_does_not_come(given, tmp_path):
    done = given(made_up(wild=Run(LINE, diverges=True)))
    assert done.status == 1
    assert done.err.startswith("error: wild should have diverged and did not: ")


def test_a_divergence_that_nobody_expects(given):
    wild = f"{LINE} --model.optimizer SGD --model.lr 1e30 --trainer.max_epochs 3"
    done = given(made_up(wild=Run(wild)))
    assert done.status == 1
    assert done.err.startswith("error: training diverged")
    done = given(made_up(wild=Run(wild, diverges=True)))
    assert done.status == 0
    assert "diverged, as it should: training diverged" in done.out


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (25823.8086, "25,824"),
        (676.96435, "676.96"),
        (5435.53662, "5,435.5"),
        (-53195.9, "-53,196"),
        (0.1, "0.1"),
        (0.0123456, "0.01235"),
        (3e-5, "3e-05"),
        (5.62e17, "5.62e+17"),
        (0.0, "0"),
        (1200, "1,200"),
        (True, "yes"),
        (float("nan"), ""),
        (None, ""),
        ("a word", "a word"),
    ],
)
def test_numbers_are_shown_with_four_or_five_digits(value, shown):
    assert cell(value) == shown
