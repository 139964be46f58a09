"""All groups of the bench, in the order of the table."""

from __future__ import annotations

from benchmarks import (
    data_path,
    digits,
    evaluation,
    image_folder,
    large_table,
    least_squares,
    memory,
    ranking,
    startup,
    training,
)
from benchmarks.group import Group

GROUPS: dict[str, Group] = {
    **training.GROUPS,
    "digits": digits.GROUP,
    "data_path": data_path.GROUP,
    "image_folder": image_folder.GROUP,
    "large_table": large_table.GROUP,
    "evaluation": evaluation.GROUP,
    **least_squares.GROUPS,
    "ranking": ranking.GROUP,
    "startup": startup.GROUP,
    "memory": memory.GROUP,
}
