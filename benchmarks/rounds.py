"""Contenders timed against each other: interleaved rounds, and ratios paired within a round."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

ROUNDS = 7

# Runs once and says how many seconds the part that counts has taken.
Contender = Callable[[], float]


@dataclass(frozen=True)
class Ratio:
    """How many times one contender is as fast as another one: median and range of the rounds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g}–{self.high:.3g})"


@dataclass(frozen=True)
class Rounds:
    """Seconds of every contender, one a round, all taken in the same rounds."""

    seconds: Mapping[str, list[float]]

    def median(self, name: str) -> float:
        """Median seconds of a contender."""
        return statistics.median(self.seconds[name])

    def speed(self, name: str, against: str) -> Ratio:
        """Speed of one contender as a multiple of another one's, paired within each round."""
        pairs = zip(self.seconds[against], self.seconds[name], strict=True)
        ratios = [other / own for other, own in pairs]
        return Ratio(statistics.median(ratios), min(ratios), max(ratios))


def interleave(contenders: Mapping[str, Contender], rounds: int = ROUNDS) -> Rounds:
    """Time contenders A-B-A-B, so that a slow minute of the machine falls on all of them.

    Each runs once before, which does not count; the order is turned round in every other round.

    Args:
        contenders: What to time, by name.
        rounds: How often.
    """
    for run in contenders.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        names = list(contenders)
        for name in names if number % 2 == 0 else reversed(names):
            gc.collect()
            seconds[name].append(contenders[name]())
    return Rounds(seconds)
