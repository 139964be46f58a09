"""``lit-course lr_find``: a learning rate read from a short training in which it grows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser
from numpy.typing import NDArray

from lit_course.commands.range_test import RangeTest, highest, suggestion
from lit_course.commands.throwaway import OWN, ThrowawayCLI
from lit_course.figures import Chart, curves
from lit_course.messages import UsageError
from lit_course.modules.optimized import OptimizedModule
from lit_course.output_file import check_output

# Optimizers in which the rate does not say how far an update goes.
UNTESTABLE = {
    "LBFGS": "it looks for the length of each of its steps itself",
    "Rprop": "the rate is but the length of its first step, it sets the others itself",
}
LEAST_STEPS = 20
NAMES = ("lr", "learning_rate")  # of the argument that --apply replaces


class FindCLI(ThrowawayCLI):
    """Suggests a learning rate: trains a little with one that grows until the loss diverges.

    The suggestion is where the smoothed loss falls fastest (Smith 2017, arXiv 1506.01186). The
    model that was trained for it is thrown away; schedule, warm-up and validation are left out.

    Args:
        args: What follows ``lr_find`` on the command line: what ``fit`` takes, and the range.
    """

    command = "lr_find"
    outputs = (".png",)
    picture = "lr_find.png"

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The range beside what ``fit`` takes."""
        super().add_arguments_to_parser(parser)
        parser.add_argument("--min_lr", type=float, default=1e-6, help="Rate of the first update.")
        parser.add_argument("--max_lr", type=float, default=1.0, help="Rate of the last update.")
        parser.add_argument("--steps", type=int, default=100, help="Number of updates, at most.")
        parser.add_argument(
            "--apply",
            type=str | None,
            help="New file for the same configuration with the rate that is suggested.",
        )

    def _check_values(self, config: Namespace) -> None:
        super()._check_values(config)
        if not 0 < config.min_lr < config.max_lr < np.inf:
            raise UsageError(
                f"--min_lr must be above 0 and below --max_lr, found {config.min_lr:g} and "
                f"{config.max_lr:g}"
            )
        if config.steps < LEAST_STEPS:
            raise UsageError(f"--steps must be at least {LEAST_STEPS}, found {config.steps}")
        if config.apply is not None:
            self._check_apply(Path(config.apply), config)

    def _check_apply(self, path: Path, config: Namespace) -> None:
        if path.exists():
            raise UsageError(f"{path} exists, and --apply writes a new file: name another")
        check_output(path, False, [".yaml", ".yml"], flag="--apply")
        if not _names(config):
            raise UsageError(f"--apply replaces the model's {' or '.join(NAMES)}: it has neither")

    def _run_subcommand(self, subcommand: str) -> None:
        asked = self._asked
        if isinstance(self.model, OptimizedModule):
            self._check_testable(self.model)
            self.model.lr_scheduler, self.model.lr_scheduler_options = None, {}
            self.model.warmup_steps = 0
        test = RangeTest(asked.min_lr, asked.max_lr, asked.steps)
        trainer = self._make_trainer(
            test,
            max_epochs=-1,
            max_steps=asked.steps,
            max_time=None,
            min_epochs=0,
            min_steps=None,
            limit_val_batches=0,
            detect_anomaly=False,
        )
        trainer.fit(self.model, datamodule=self.datamodule)
        losses = np.array(test.losses)
        finite = int(np.isfinite(losses).sum())  # the first that is not is the last one
        rates = test.rates[:finite]
        if finite < 2:
            raise ValueError(
                f"the loss is {losses[0]:g} at the first update: nothing can be learnt"
            )
        found, smooth = suggestion(rates, losses[:finite])
        self._write(range_chart(test, smooth, found, self._asked.name))
        ended = test.diverged_at
        print(
            f"{len(losses)} updates, " + (f"diverged at {ended:.3g}" if ended else "no divergence")
        )
        if found is None:
            raise ValueError(
                "no learning rate to suggest: the loss falls nowhere by more than its noise; "
                "try other --min_lr, --max_lr or more --steps, and look at the picture"
            )
        print(f"suggested learning rate: {found:.3g} (where the loss falls fastest)")
        if asked.apply is not None:
            self._apply(Path(asked.apply), float(f"{found:.3g}"))

    def _check_testable(self, model: OptimizedModule) -> None:
        if getattr(model, "solver", None) == "exact":
            raise UsageError("solver 'exact' has no learning rate to find: it solves in one update")
        if model.optimizer in UNTESTABLE:
            raise UsageError(
                f"{model.optimizer} has no learning rate to find: {UNTESTABLE[model.optimizer]}"
            )

    def _apply(self, path: Path, rate: float) -> None:
        """Write what was asked for with another rate: all that differs from the defaults."""
        parser, config = self._parser(self.verb), self._asked.clone()
        for name in _names(config):
            config.model.init_args[name] = rate
        for name in (*OWN, "min_lr", "max_lr", "steps", "apply"):
            config[name] = parser.get_default(name)
        if not self.named:
            config.name = None
        said = parser.dump(config, skip_none=True, skip_default=True, skip_validation=True)
        head = f"# By lit-course lr_find: {_names(config)[0]} {rate:g}, the rest as it was given.\n"
        path.write_text(head + said, encoding="utf-8")
        print(f"configuration: {path} (comments are not copied); lit-course fit --config {path}")


def _names(config: Namespace) -> list[str]:
    """The arguments of the model that are a learning rate."""
    return [name for name in NAMES if name in (config.model.get("init_args") or {})]


def range_chart(
    test: RangeTest, smooth: NDArray[np.float64], found: float | None, title: str
) -> Chart:
    """The loss over the rate, as measured and smoothed, with the rate that is suggested."""
    losses, rates = np.array(test.losses), test.rates[: len(test.losses)]
    found_at = [] if found is None else [np.searchsorted(rates, found)]
    points = {f"suggested {found:.3g}": (rates[found_at], smooth[found_at])} if found_at else {}
    finite = losses[: len(smooth)]
    low, high = finite.min(), highest(finite)
    padding = 0.08 * (high - low) or 1.0
    # A line that ends in a value that is not finite is marked as diverged.
    end = np.nan if test.diverged_at is not None else smooth[-1]
    return curves(
        "lr_find",
        {"smoothed": ([*rates[: len(smooth)], rates[-1]], [*smooth, end])},
        faint={"smoothed": (rates, losses)},
        faint_label="each update",
        points=points,
        xlabel="learning rate",
        ylabel="loss before the update",
        title=f"range test, {title}",
        log_x=True,
        ylim=(low - padding, high + 2 * padding),
    )
