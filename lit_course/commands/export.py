"""``lit-course export``: a trained model as a file for other programs, checked on real rows."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from lit_course.commands.export_formats import FORMATS, first_line
from lit_course.config_cli import ConfigCLI
from lit_course.messages import UsageError
from lit_course.modules import SupervisedModule
from lit_course.modules.at_rest import at_rest
from lit_course.modules.regressor import Regressor
from lit_course.networks import NETWORKS, json_beside
from lit_course.output_file import check_output

ROWS = 1000
TOLERANCE = 1e-5


class ExportCLI(ConfigCLI):
    """Writes the model of a checkpoint for other programs, checked on rows of its data.

    Args:
        args: What follows ``export`` on the command line: what ``predict`` takes, and a format.
    """

    command = "export"
    outputs = tuple(format.suffix for format in FORMATS.values())

    def __init__(self, args: list[str]) -> None:
        super().__init__("predict", args)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The format beside what ``predict`` takes."""
        super().add_arguments_to_parser(parser)
        parser.add_argument(
            "--format", type=str, default="torch_export", help=f"One of {', '.join(FORMATS)}."
        )

    def _check_values(self, config: Namespace) -> None:
        super()._check_values(config)
        if config.format not in FORMATS:
            raise UsageError(f"--format must be {' or '.join(FORMATS)}, found {config.format!r}")
        chosen = FORMATS[config.format]
        if missing := [name for name in chosen.needs if find_spec(name) is None]:
            raise UsageError(
                f"--format {config.format} needs {', '.join(missing)}: "
                "pip install 'lit-course[export]'"
            )
        if config.output is not None:
            check_output(Path(config.output), config.overwrite, [chosen.suffix])
            check_output(json_beside(Path(config.output)), config.overwrite, [".json"])

    def _run_subcommand(self, subcommand: str) -> None:
        assert self.given is not None
        model = self.model
        if not isinstance(model, SupervisedModule):
            raise UsageError(
                f"export is for lit_course's modules and what is derived from them, found "
                f"{type(model).__name__}"
            )
        for line in self.given.changed:
            rank_zero_info(line)
        model.on_load_checkpoint(self.given.contents)
        model.load_state_dict(self.given.contents["state_dict"])
        chosen = FORMATS[self._asked.format]
        folder = self.given.run or self.given.path.parent
        path = Path(self._asked.output or folder / f"model{chosen.suffix}")
        if self.datamodule is None:
            raise UsageError(
                "export checks the file on real rows: give --data, or a run's --config"
            )
        self._load_data()
        x = _some_rows(self.datamodule)
        difference = export(model, x, path, self._asked.format)
        print(
            f"{path}: checked on {len(x)} rows, max difference {difference:.1e}\n"
            f"{json_beside(path)}: names, sizes, vocabularies"
        )


def export(model: SupervisedModule, x: Tensor, path: Path, name: str) -> float:
    """Write a model, and the JSON beside it; check it.

    Args:
        model: A trained one, on the CPU.
        x: Some real rows, raw features ``(N, ...)``.
        path: The file; what was there before is replaced once the new one has passed.
        name: One of ``FORMATS``.

    Returns:
        The largest difference between an answer of the file and the model's, relative to the
        largest answer of its kind where that is above 1.

    Raises:
        ValueError: If it cannot be exported, the file cannot be run, or the difference is above
            ``TOLERANCE``; nothing is left then.
    """
    chosen = FORMATS[name]
    partial = path.with_name(f"{path.stem}.part{path.suffix}")
    try:
        with at_rest(model):
            expected = chosen.expected(model, x)
            chosen.write(model, x[:8].repeat(2, *[1] * (x.ndim - 1)), partial)
            said = _describe(model, x, name, list(expected))
            json_beside(partial).write_text(json.dumps(said), encoding="utf-8")
            try:
                difference = _difference(chosen.open(partial, list(expected)), x, expected)
            except Exception as error:  # a runtime raises whatever it stumbles on
                raise ValueError(
                    f"{path} is not kept: {chosen.runtime} cannot run it: {first_line(error)}"
                ) from error
        if not difference <= TOLERANCE:
            raise ValueError(
                f"{path} is not kept: its answers differ from the model's by {difference:.1e}, "
                f"more than {TOLERANCE:g}"
            )
        said["parity"] = {"rows": len(x), "max_difference": difference}
        json_beside(partial).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
        os.replace(partial, path)
        os.replace(json_beside(partial), json_beside(path))
    finally:
        for file in (partial, json_beside(partial)):
            file.unlink(missing_ok=True)
    return difference


def _difference(
    run: Callable[[Tensor], dict[str, Tensor]], x: Tensor, expected: dict[str, Tensor]
) -> float:
    """The largest one, of all rows together and of the first ones alone."""
    found = []
    for count in {1, min(3, len(x)), len(x)}:
        for name, answer in run(x[:count]).items():
            wanted = expected[name][:count].double()
            off = (answer.double().reshape(wanted.shape) - wanted).abs().max()
            found.append(off / wanted.abs().max().clamp_min(1))
    return float(torch.stack(found).max())  # NaN if one is


def _describe(model: SupervisedModule, x: Tensor, name: str, outputs: list[str]) -> dict[str, Any]:
    """What a program that reads the file must know."""
    said: dict[str, Any] = {
        "format": name,
        "lit_course": version("lit-course"),
        "class": type(model).__name__,
        "input": {"shape": ["batch", *x.shape[1:]], "dtype": str(x.dtype).removeprefix("torch.")},
        "outputs": outputs,
        "output_names": model.output_names,
        "schema": model.schema,
    }
    network = model.network
    if type(network) in NETWORKS.values():
        said["network"] = {"class": type(network).__name__, "arguments": network.arguments}
        if isinstance(model, Regressor):
            said["network"]["target_scaling"] = model.target_scaling.plain()
    return said


def _some_rows(data: Any) -> Tensor:
    loaders: Iterable[Any] = data.predict_dataloader()
    found: list[Tensor] = []
    for batch in loaders:
        found.append(batch[0] if isinstance(batch, list | tuple) else batch)
        if sum(map(len, found)) >= ROWS:
            break
    return torch.cat(found)[:ROWS]
