"""What a lesson is made of: commands to run, and an answer computed from what they recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from lit_course.course.contents import CONTENTS
from lit_course.course.ran import Ran
from lit_course.figures import Chart


@dataclass(frozen=True)
class Run:
    """A command of a lesson.

    Args:
        command: What follows ``lit-course``. ``{data}`` is the folder of data, ``{folder}`` that of
            the lesson, ``{name}`` that of an earlier run of it. A fit's own folder and name are
            added.
        diverges: Whether it is meant to diverge.
    """

    command: str
    diverges: bool = False


@dataclass(frozen=True)
class Table:
    """Numbers of an answer.

    Args:
        name: What they are, a part of file names.
        title: The same in words.
        columns: All of one length, the first one names the rows.
    """

    name: str
    title: str
    columns: Mapping[str, Sequence[Any]]


Answer = Callable[[Mapping[str, Ran]], Iterable[Table | Chart]]


@dataclass(frozen=True)
class Lesson:
    """A lesson of the course.

    Args:
        runs: Commands by name, in their order.
        answer: Computes tables and charts from what they left.
        quick: Other runs of the same names that take less time.
        needs: Files that must be there, below the folder of data, and how to get them.
        prepare: Writes what the runs read into the lesson's folder.
    """

    runs: Mapping[str, Run]
    answer: Answer
    quick: Mapping[str, Run] | None = None
    needs: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[Path], None] | None = None


def load(number: int) -> Lesson:
    """The lesson of a number."""
    file = import_module(f"lit_course.course.lesson{number:02}_{CONTENTS[number].file}")
    lesson: Lesson = file.LESSON
    return lesson
