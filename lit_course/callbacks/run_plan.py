"""What a fit will do, said before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import get_num_threads
from torch.nn.parameter import is_lazy

MOST_COLUMNS = 50  # are shown


class RunPlan(Callback):
    """Prints samples, updates, parameters and device, and a table's columns, before training."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the plan."""
        if not trainer.is_global_zero:
            return
        table = Table.grid(padding=(0, 2))
        for name, text in plan(trainer, pl_module).items():
            table.add_row(f"[bold]{name}", text)
        columns = getattr(getattr(trainer, "datamodule", None), "columns", [])
        if columns:
            Console().print(column_table(columns))
        Console().print(table)


def column_table(columns: Sequence[Any]) -> Table:
    """What a table's columns are taken for, a line each.

    Args:
        columns: Their ``name``, ``kind``, ``missing``, ``distinct`` and ``use``, as a data module
            of tables has them.
    """
    table = Table(
        "column", "kind", "missing", "distinct", "used as", box=None, padding=(0, 2, 0, 0)
    )
    for column in columns[:MOST_COLUMNS]:
        counts = (column.missing, column.distinct)
        numbers = ["" if count is None else f"{count:,}" for count in counts]
        table.add_row(escape(column.name), column.kind, *numbers, column.use)
    if len(columns) > MOST_COLUMNS:
        table.add_row(f"… {len(columns) - MOST_COLUMNS:,} more")
    return table


def plan(trainer: Trainer, module: LightningModule) -> dict[str, str]:
    """What a fit will do, a line each, by what it is about."""
    data = getattr(trainer, "datamodule", None)
    lines = {"model": type(module).__name__ + (f" on {type(data).__name__}" if data else "")}
    if sizes := getattr(data, "split_sizes", None):
        lines["samples"] = " · ".join(f"{count:,} {split}" for split, count in sizes.items())
    queries = getattr(data, "split_queries", None)
    if queries:
        counts = {split: len(names) for split, names in queries.items()}
        lines["queries"] = " · ".join(f"{count:,} {split}" for split, count in counts.items())
    batches, accumulated = trainer.num_training_batches, trainer.accumulate_grad_batches
    updates = batches if batches == float("inf") else ceil(batches / accumulated)
    total = trainer.estimated_stepping_batches
    lines["updates"] = f"{updates:,} per epoch, {total:,} in all" + (
        f", {trainer.max_epochs} epochs" if trainer.max_epochs not in (None, -1) else ""
    )
    if size := getattr(data, "batch_size", None):
        of_each = " of each process" if trainer.world_size > 1 else ""
        lines["updates"] += f", {size} {'queries' if queries else 'samples'} a batch{of_each}" + (
            f", {accumulated} batches an update" if accumulated > 1 else ""
        )
    if getattr(module, "solver", None) == "exact":
        lines["updates"] = f"1, to the exact solution; an epoch of {batches:,} batches measures it"
    counts = {True: 0, False: 0}
    for parameter in module.parameters():
        counts[parameter.requires_grad] += 0 if is_lazy(parameter) else parameter.numel()
    lines["parameters"] = f"{counts[True]:,} trainable, {counts[False]:,} frozen"
    device = trainer.strategy.root_device
    lines["device"] = f"{device} × {trainer.world_size}" if trainer.world_size > 1 else f"{device}"
    if device.type == "cpu":
        lines["device"] += f", {get_num_threads()} threads"
    return lines
