"""The configuration of a run, in its folder."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Any

import torch
import yaml
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
        try:
            self.parser.save(_plain(self.config), str(path), skip_none=False)
        except yaml.YAMLError as error:
            raise ValueError(
                f"the configuration cannot be written into {path}: {error}\n"
                "give numbers and names, or build that object in a class of your own"
            ) from error
        self.already_saved = True


def _plain(value: Any) -> Any:
    """Enums and devices, which some callbacks have for defaults, as plain values."""
    if isinstance(value, Namespace):
        items = {key: _plain(item) for key, item in vars(value).items()}
        return Namespace(**items)  # type: ignore[no-untyped-call]  # jsonargparse has no types
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, torch.device):
        return str(value)
    return value
