"""The configuration of a run, in its folder."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback


class SaveConfig(SaveConfigCallback):
    """Writes ``config.yaml`` when a fit starts; a resumed fit adds ``config_resume_<N>.yaml``.

    The file is reusable as it is. validate, test and predict write none.
    """

    def __init__(self, parser: LightningArgumentParser, config: Namespace, folder: Path) -> None:
        super().__init__(parser, config, overwrite=True)
        self.folder = folder

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the file, once, from the first process."""
        if stage != "fit" or self.already_saved or not trainer.is_global_zero:
            return
        path, number = self.folder / self.config_filename, 0
        while path.exists():
            number += 1
            path = self.folder / f"config_resume_{number}.yaml"
        self.parser.save(self.config, str(path), skip_none=False)
        self.already_saved = True
