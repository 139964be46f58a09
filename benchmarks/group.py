"""A group of contenders that are measured together, and what their rows in the table ask for."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.images import Images
from benchmarks.rounds import Ratio, Rounds


@dataclass(frozen=True)
class Setting:
    """What all groups are measured with.

    Args:
        images: What to learn.
        rounds: How often each contender runs.
    """

    images: Images
    rounds: int


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        what: What is compared.
        own: The contender that it is about.
        against: Another one: the row is a ratio. None: the row is the contender's own value.
        at_least: How many times as fast as the other one it must be.
        at_most: How many times as long as the other one it may take; or the limit of its value.
        unit: Behind a value.
    """

    what: str
    own: str
    against: str | None = None
    at_least: float | None = None
    at_most: float | None = None
    unit: str = "×"

    def measured(self, rounds: Rounds) -> Ratio | None:
        """Median and range of the rounds; None if a contender was not there."""
        if {self.own, self.against or self.own} - set(rounds.seconds):
            return None
        if self.against is None:
            values = rounds.seconds[self.own]
            return Ratio(statistics.median(values), min(values), max(values))
        if self.at_most is not None:
            return rounds.speed(self.against, self.own)
        return rounds.speed(self.own, self.against)

    @property
    def asked(self) -> str:
        """The limit in words; empty if there is none."""
        if self.at_least is not None:
            return f"≥ {self.at_least:g}{self.unit}"
        return "" if self.at_most is None else f"≤ {self.at_most:g}{self.unit}"

    def reached(self, measured: Ratio) -> str:
        """Yes or no; empty if nothing was asked."""
        if self.at_least is not None:
            return "yes" if measured.median >= self.at_least else "no"
        return "" if self.at_most is None else "yes" if measured.median <= self.at_most else "no"


@dataclass(frozen=True)
class Group:
    """Contenders that are timed in the same rounds.

    Args:
        about: The heading of its rows.
        rows: Its lines in the table.
        measure: Runs all rounds.
    """

    about: str
    rows: tuple[Row, ...]
    measure: Callable[[Setting], Rounds]
