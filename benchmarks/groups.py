"""All groups of the bench, in the order of the table."""

from __future__ import annotations

from benchmarks import training
from benchmarks.group import Group

GROUPS: dict[str, Group] = {**training.GROUPS}
