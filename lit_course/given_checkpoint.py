"""What ``--ckpt_path`` means: the file, the run that it lies in, and the arguments in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Self

from jsonargparse import Namespace
from lightning.pytorch import LightningModule, Trainer

from lit_course import checkpoints, modules, runs
from lit_course.closed_table import MODULES, refuse_foreign_classes, refuse_hidden_classes
from lit_course.config_files import read_config
from lit_course.messages import UsageError
from lit_course.modules import SupervisedModule
from lit_course.processes import local_rank

# Where the first process leaves the checkpoint that it found for those that it starts.
FOUND = "LIT_COURSE_CKPT_PATH"


class GivenCheckpoint:
    """The checkpoint that a command goes on from, or evaluates.

    Args:
        path: The file; its arguments become the defaults of the model's.

    Raises:
        ValueError: If it, or the run's folder around it, is not safe to read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.contents = checkpoints.read(path)
        self.run = runs.run_of(path)
        self.changed: list[str] = []  # what was given otherwise, a line each
        if self.run is not None:
            runs.check_links(self.run)

    @classmethod
    def find(cls, asked: str, folder: Path, name: str | None, prefer: str) -> Self:
        """Find what was asked for, see ``runs.resolve``; the same file in every process."""
        if not asked:
            raise UsageError("ckpt_path is empty: give best, last, a run's folder or a file")
        # What is newest may be another file by the time that the other processes look for it.
        found = os.environ.pop(FOUND, None) if local_rank() else None
        path = Path(found or runs.resolve(asked, folder, name, prefer))
        os.environ[FOUND] = str(path)
        return cls(path)

    @property
    def config(self) -> Path | None:
        """The run's own configuration, if it has one; that of another program is none.

        Raises:
            ValueError: If it names a class that is not ours.
        """
        if self.run is None or "runs" not in read_config(self.run / runs.CONFIG, aliases=False):
            return None
        refuse_foreign_classes(self.run / runs.CONFIG)
        return self.run / runs.CONFIG

    @property
    def model(self) -> dict[str, Any] | None:
        """The model that wrote it, as a configuration names it; None for a class not of ours."""
        wrote = self.contents.get("lit_course", {}).get("class")
        if wrote not in MODULES:
            return None
        init_args = MODULES[wrote].saved_arguments(self.contents)
        refuse_hidden_classes(init_args, self.path)
        return {"class_path": f"{modules.__name__}.{wrote}", "init_args": init_args}

    def fill_in(
        self, model: Namespace, asked: type[SupervisedModule] | None, goes_on: bool
    ) -> None:
        """Take what a configuration leaves at null; note what it says otherwise.

        Args:
            model: The model as configured.
            asked: Its class, if that is ours.
            goes_on: Whether it shall be trained on, with the states of optimizer and schedule.

        Raises:
            ValueError: If the class, the sizes, or what has a state differ.
        """
        trained = self.contents.get("hyper_parameters", {})
        given = {name: model.init_args[name] for name in trained if name in model.init_args}
        for name in (name for name, value in given.items() if value is None):
            model.init_args[name] = trained[name]
        changed = {name: v for name, v in given.items() if v is not None and v != trained[name]}
        self.changed = [
            f"{name}: {value}, in the checkpoint {trained[name]}" for name, value in changed.items()
        ]
        if asked is None:
            return
        asked.check_class(self.contents)
        asked.check_sizes(model.init_args, self.contents["state_dict"])
        for name in ("solver", "optimizer", "lr_scheduler") if goes_on else ():
            if name in changed:
                raise UsageError(
                    f"the checkpoint was trained with {name} {trained[name]}, asked for is "
                    f"{changed[name]}, which its state does not fit: to start anew from "
                    "its weights, give it as --model.init_from instead of --ckpt_path"
                )

    def check_agreement(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        """Refuse another checkpoint than that of the first process; a callback's ``setup``."""
        own = str(self.path)
        first = trainer.strategy.broadcast(own)
        if own != first:
            raise UsageError(
                f"the processes of this run found different checkpoints, {first} and {own}: "
                "give the file as --ckpt_path"
            )
