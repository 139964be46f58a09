"""``lit-course lesson``: the lessons of the course, listed or given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from lit_course.course.contents import CONTENTS
from lit_course.messages import UsageError

USAGE = """\
usage: lit-course lesson             list the lessons
       lit-course lesson N [options] run lesson N: its question, its runs, its answer
  --runs DIR   folder of all runs; the lesson's own is DIR/lessonN/version_M (lightning_logs)
  --data DIR   folder that holds boston.csv and FashionMNIST/ (data)
  --quick      lesson 5: on the digits, in seconds"""


def lesson(args: Sequence[str], execute: Callable[[str, list[str]], object]) -> None:
    """List the lessons, or give one.

    Args:
        args: What follows ``lesson`` on the command line.
        execute: Runs a command of the program: a verb, and what follows it.

    Raises:
        UsageError: If that is not a lesson of the course, or an option is unknown.
    """
    if "--help" in args or "-h" in args:
        print(USAGE)
        return
    if not args:
        for number, entry in CONTENTS.items():
            print(f"{number:2}  {entry.title}\n    {entry.question}")
        return
    folders = {"--runs": "lightning_logs", "--data": "data"}
    asked, quick = "", False
    rest = iter(args)
    for arg in rest:
        flag, equals, value = arg.partition("=")
        if arg == "--quick":
            quick = True
        elif flag in folders and (value if equals else (value := next(rest, ""))):
            folders[flag] = value
        elif not asked and not arg.startswith("-"):
            asked = arg
        else:
            raise UsageError(f"lesson does not take {arg!r}\n{USAGE}")
    if not asked.isdecimal() or int(asked) not in CONTENTS:
        raise UsageError(
            f"the lessons are 1 to {len(CONTENTS)}, found {asked or 'none'}: "
            "lit-course lesson lists them"
        )
    from lit_course.course.teach import teach

    teach(
        int(asked),
        execute,
        folder=Path(folders["--runs"]),
        data=Path(folders["--data"]),
        quick=quick,
    )
