"""``lit-course schedule``: the learning rate over a run, drawn before it is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import exp
from typing import TYPE_CHECKING, Any

import numpy as np
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Column, Table

from lit_course.commands.rehearsal import Assumed, Rehearsal
from lit_course.commands.throwaway import ThrowawayCLI
from lit_course.figures import Chart, curves
from lit_course.messages import UsageError
from lit_course.modules.optimized import PLATEAU
from lit_course.recorded import Recorded, find_run, read_run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GRAY = "#666666"
BLOCKS = "▁▂▃▄▅▆▇█"
WIDTH = 60  # characters of a sparkline
MOST_ROWS = 12
# These multiply the rate again and again: on a straight axis all but the first steps are lost.
BY_FACTORS = {"ExponentialLR", "MultiStepLR", PLATEAU, "StepLR"}


class ScheduleCLI(ThrowawayCLI):
    """Draws the learning rate over the whole run that a configuration describes; trains nothing.

    It is what ``fit`` will log as ``lr-<optimizer>``. ``ReduceLROnPlateau`` waits for a metric:
    by default one is assumed that gets better until half of the training, and then stays.

    Args:
        args: What follows ``schedule`` on the command line: what ``fit`` takes, and the metric.
    """

    command = "schedule"
    outputs = (".png",)
    picture = "schedule.png"

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The metric beside what ``fit`` takes."""
        super().add_arguments_to_parser(parser)
        parser.add_argument(
            "--metric",
            type=list[float] | None,
            help="ReduceLROnPlateau: what it shall see, '[1, 0.5, 0.5]'; the last one stays.",
        )
        parser.add_argument(
            "--curve",
            type=str | None,
            help="ReduceLROnPlateau: a run, by folder or name, whose recorded values it shall see.",
        )

    def _check_values(self, config: Namespace) -> None:
        super()._check_values(config)
        if config.metric is not None and config.curve is not None:
            raise UsageError("--metric and --curve both say what the schedule sees: give one")
        if config.metric == []:
            raise UsageError("--metric needs a value at least")

    def _run_subcommand(self, subcommand: str) -> None:
        rehearsal = Rehearsal(self._assumed())
        trainer = self._make_trainer(rehearsal)
        trainer.fit(self.model, datamodule=self.datamodule)
        schedule = getattr(self.model, "lr_scheduler", None)
        name = schedule if isinstance(schedule, str) else "learning rate"
        self._say(rehearsal, name)
        title, given = f"{name}, {self._asked.name}", self._asked.curve
        source = "assumed" if given is None else f"of {given}"
        self._write(schedule_chart(rehearsal, title, name in BY_FACTORS, source))

    def _assumed(self) -> Assumed:
        """What the plateau schedule shall see."""
        values: list[float] | None = self._asked.metric
        given: str | None = self._asked.curve
        if getattr(self.model, "lr_scheduler", None) != PLATEAU:
            if values is not None or given is not None:
                raise UsageError(f"--metric and --curve are for {PLATEAU}, no other schedule looks")
            return lambda number, share: 0.0
        if given is not None:
            run = read_run(find_run(given, self.runs))
            return lambda number, share: _recorded(run, self.model.monitored, number)
        if values is not None:
            return lambda number, share: values[min(number, len(values) - 1)]
        return lambda number, share: _until_half(share, self.model.monitor_mode == "max")

    def _say(self, rehearsal: Rehearsal, name: str) -> None:
        out = Console()
        per_epoch = f"{rehearsal.updates_per_epoch:,} per epoch"
        out.print(f"{name}: {rehearsal.updates:,} updates, {per_epoch}", highlight=False)
        for group, rates in rehearsal.rates.items():
            shown = np.array(rates)
            line = sparkline(np.log(shown) if name in BY_FACTORS and shown.all() else shown)
            ends = f"{shown.min():.3g} … {shown.max():.3g}  {group}"
            out.print(f"{line}  {ends}", highlight=False, soft_wrap=True)
        out.print(_table(rehearsal))


def _until_half(share: float, rises: bool) -> float:
    return abs(rises - exp(-8 * min(share, 0.5)))


def _recorded(run: Recorded, monitored: str, number: int) -> float:
    if monitored not in run.curves:
        raise ValueError(f"{run.folder} has not recorded {monitored}, which is monitored")
    values = run.curves[monitored][1]
    return float(values[min(number, len(values) - 1)])


def schedule_chart(
    rehearsal: Rehearsal, title: str, by_factors: bool = False, source: str = "assumed"
) -> Chart:
    """The rate of every update, by parameter group; reductions of the plateau are marked.

    Args:
        rehearsal: The steps of a training.
        title: Above the picture.
        by_factors: Whether rates are told apart by their ratio.
        source: Where the values that the plateau has seen are from.
    """
    updates = np.arange(1, rehearsal.updates + 1)
    rates = {name: np.array(values) for name, values in rehearsal.rates.items()}
    # One behind the last update lowers nothing any more.
    reduced = np.array([at for at in rehearsal.reductions if at < len(updates)], int)
    marks = {"reduction": (updates[reduced], next(iter(rates.values()))[reduced])}
    chart = curves(
        "schedule",
        {name: (updates, values) for name, values in rates.items()},
        points=marks if len(reduced) else {},
        xlabel="update",
        ylabel="learning rate",
        title=title,
        log_y=by_factors,
    )
    per_epoch = rehearsal.updates_per_epoch

    def draw(axes: Axes) -> None:
        chart.draw(axes)
        epochs = (lambda update: update / per_epoch, lambda epoch: epoch * per_epoch)
        axes.secondary_xaxis("top", functions=epochs).set_xlabel("epoch")
        if rehearsal.reports:
            seen = axes.twinx()
            seen.plot(*zip(*rehearsal.reports, strict=True), ".-", color=GRAY, lw=0.9, ms=3)
            seen.set_ylabel(f"{rehearsal.monitored}, {source}", color=GRAY)
            seen.tick_params(axis="y", colors=GRAY)
            axes.legend(loc="lower left")

    columns: dict[str, Sequence[Any]] = {
        "update": updates.tolist(),
        "epoch": ((updates - 1) // per_epoch + 1).tolist(),
        **rehearsal.rates,
    }
    return replace(chart, columns=columns, draw=draw)


def _table(rehearsal: Rehearsal) -> Table:
    """The rates at the beginning and end of some epochs, and where the plateau has lowered them."""
    titles = ("epoch", "updates", "learning rate", "")
    table = Table(*(Column(title, justify="right") for title in titles), box=None)
    per_epoch, total = rehearsal.updates_per_epoch, rehearsal.updates
    epochs = -(-total // per_epoch)
    shown = set(np.linspace(0, epochs - 1, min(MOST_ROWS, epochs)).round().astype(int).tolist())
    reduced = {at // per_epoch for at in rehearsal.reductions if at < total}
    rates = next(iter(rehearsal.rates.values()))
    for epoch in sorted(shown | set(sorted(reduced)[:MOST_ROWS])):
        first, last = epoch * per_epoch, min((epoch + 1) * per_epoch, total) - 1
        same = rates[first] == rates[last]
        said = f"{rates[first]:.4g}" if same else f"{rates[first]:.4g} → {rates[last]:.4g}"
        note = "reduced" if epoch in reduced else ""
        table.add_row(f"{epoch + 1}", f"{first + 1:,}–{last + 1:,}", said, note)
    return table


def sparkline(values: NDArray[np.float64]) -> str:
    """A curve in a line of text, from its lowest value to its highest."""
    places = np.linspace(0, len(values) - 1, min(WIDTH, len(values))).round().astype(int)
    low, high = values.min(), values.max()
    heights = (values[places] - low) / ((high - low) or 1) * (len(BLOCKS) - 1)
    return "".join(BLOCKS[int(height)] for height in heights.round())
