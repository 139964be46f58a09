"""What ``fit`` would train, made to be looked at: its Trainer writes nothing anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import ActionYesNo, Namespace
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.cli import LightningArgumentParser

from lit_course.config_cli import ConfigCLI
from lit_course.figures import Chart
from lit_course.messages import UsageError
from lit_course.output_file import check_picture
from lit_course.trainer_flags import check_trainer

OWN = ("output", "overwrite")  # arguments that fit does not take
# No logger, checkpoint or callback of the configuration's, and nothing that is said or measured.
SILENT: dict[str, Any] = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_autolog_hparams": False,
    "num_sanity_val_steps": 0,
    "profiler": None,
    "fast_dev_run": False,
}


class ThrowawayCLI(ConfigCLI):
    """Takes what ``fit`` takes, and draws a picture.

    The model is made for this alone, as are its data and its Trainer. Of the Trainer's flags those
    that write or show something are left out.

    Args:
        args: What follows the command on the command line.
    """

    picture: str  # where it goes unless --output says otherwise; that one is replaced

    def __init__(self, args: list[str]) -> None:
        super().__init__("fit", args)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Where the picture goes, beside what ``fit`` takes."""
        super().add_arguments_to_parser(parser)
        parser.add_argument(
            "--output",
            type=str | None,
            help=f"Picture to write, .png; the numbers go beside it, .csv. Else {self.picture}.",
        )
        parser.add_argument(
            "--overwrite",
            action=ActionYesNo,
            nargs="?",
            help="Whether a picture at --output is replaced.",
        )

    def _check_values(self, config: Namespace) -> None:
        super()._check_values(config)
        check_trainer("fit", config.trainer, then_test=False)
        for name in ("ckpt_path", "cross_validate"):
            if config[name] is not None:
                raise UsageError(
                    f"{self.command} is about one fit from its start: leave {name} out"
                )
        self.path = Path(config.output or self.picture)
        replaced = config.overwrite or config.output is None
        check_picture(self.path, replaced, self._read(config))

    def _make_trainer(self, callback: Callback, **flags: Any) -> Trainer:
        config = {**self._get(self.config_init, "trainer", default={}), **SILENT, **flags}
        trainer = self._instantiate_trainer({**config, "callbacks": None}, [callback])
        if trainer.world_size > 1:
            raise UsageError(f"{self.command} works with one process: give --trainer.devices 1")
        return trainer

    def _write(self, chart: Chart) -> None:
        chart.write(self.path)
        print(f"picture: {self.path}, numbers: {self.path.with_suffix('.csv')}")
