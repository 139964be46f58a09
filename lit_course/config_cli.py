"""LightningCLI, as far as a configuration goes: from a command line to a model and its data."""

from __future__ import annotations

import inspect
from argparse import ArgumentError
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import reduce
from importlib import import_module
from operator import or_
from pathlib import Path
from typing import Any, Literal, get_args

from jsonargparse import ActionYesNo, Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI

from lit_course import datamodules, modules, runs
from lit_course.callbacks.prediction_file import FORMATS
from lit_course.closed_table import DATAMODULES, MODULES
from lit_course.config_files import read_config
from lit_course.given_checkpoint import GivenCheckpoint
from lit_course.messages import UsageError, explain_parser
from lit_course.output_file import check_output

FOR_FIT = ("cross_validate", "early_stopping", "test_best")
TABLES = (".csv", ".tsv", ".parquet")


class ConfigCLI(LightningCLI):
    """Reads what one of the Trainer's verbs takes, and builds the model and the data.

    Args:
        verb: ``fit``, ``validate``, ``test`` or ``predict``.
        args: What follows it on the command line.
    """

    command: str | None = None  # what was typed, if that is no verb of the Trainer's
    outputs: Collection[str] = FORMATS  # what an ``--output`` may end in

    def __init__(self, verb: str, args: list[str]) -> None:
        self.verb = verb
        self.named = any(_values(args, "--name"))
        self.given: GivenCheckpoint | None = None
        _integers_first()
        strict: dict[str, Any] = {"exit_on_error": False, "allow_abbrev": False}
        described = {"description": inspect.getdoc(type(self))} if self.command else {}
        super().__init__(
            save_config_callback=None,
            trainer_defaults={"enable_model_summary": False},
            seed_everything_default=0,
            parser_kwargs={**strict, verb: {**strict, **described}},
            args=[verb, *args],
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )

    # LightningCLI's is static; it only ever calls it on the instance, which knows the verb.
    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Only the asked verb: each parser costs a noticeable part of a second."""
        skip = LightningCLI.subcommands()[self.verb]
        return {self.verb: skip | {"weights_only", "return_predictions", "verbose"}}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Arguments of ours beside the Trainer's, the model's and the data's."""
        parser.add_argument(
            "--name",
            type=str | None,
            help="Name of the run; the last config's file name, else the model's class.",
        )
        parser.add_argument(
            "--runs", type=str, default="lightning_logs", help="Folder of all runs."
        )
        parser.add_argument(
            "--early_stopping",
            type=int | None,
            help="End a fit after this many validations without improvement; null for never.",
        )
        parser.add_argument(
            "--test_best",
            type=bool,
            default=False,
            help="After a fit, test its best checkpoint.",
        )
        parser.add_argument(
            "--cross_validate",
            type=int | None,
            help="Fit and test this many times, each row once in a test; instead of one fit.",
        )
        parser.add_argument(
            "--baselines",
            type=bool,
            default=True,
            help="After a test, show trivial and closed-form references beside its numbers.",
        )
        parser.add_argument(
            "--figures",
            type=bool | Literal["every_step"],
            default=True,
            help="Draw figures; every_step adds the fitted curve of one feature along the way.",
        )
        parser.add_argument(
            "--lean_loop",
            type=bool,
            default=True,
            help="Train in a loop that calls only those who listen; false is Lightning's own.",
        )

        if self.verb == "predict":
            parser.add_argument(
                "--output",
                type=str | None,
                help=f"File to write, {', '.join(self.outputs)}; else one in the run's folder.",
            )
            parser.add_argument(
                "--overwrite",
                action=ActionYesNo,
                nargs="?",
                help="Whether a file at --output is replaced.",
            )

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse: command line over config file (null is not given) over checkpoint over default."""
        assert isinstance(args, list)
        given = [str(arg) for arg in args]
        configs = [Path(path) for path in _values(given, "--config", "-c")]
        for flag in FOR_FIT if self.verb != "fit" else ():
            if any(_values(given, f"--{flag}")):
                raise UsageError(
                    f"--{flag} is for fit: {self.command or self.verb} has no use of it"
                )
        for file in map(Path, _values(given, "--data")):
            if file.suffix.lower() in TABLES and file.is_file():
                raise UsageError(
                    f"--data is the name of a data module, {file} is a file: give --data "
                    f"CSVDataModule --data.path {file} --data.target COLUMN"
                )
        # These decide what else is read.
        said = known_before(given, "name", "runs", "ckpt_path")
        name = said["name"] or (configs[-1].stem if configs else None)
        self.runs = Path(said["runs"] or "lightning_logs")
        asked = said["ckpt_path"]
        if asked is not None:
            prefer = "last" if self.verb == "fit" else "best"
            self.given = GivenCheckpoint.find(asked, self.runs, name, prefer)
            if not configs and (own := self.given.config) is not None:
                given.insert(1, f"--config={own}")
            if (model := self.given.model) is not None:
                self._parser(self.verb).set_defaults({"model": model})
        elif self.verb != "fit" and {"-h", "--help"}.isdisjoint(given):
            raise UsageError(
                f"{self.command or self.verb} needs a trained model: --ckpt_path best, last, a "
                f"run's folder or a file{runs.newest(self.runs)}"
            )
        try:
            self._parser(self.verb).prog = f"lit-course {self.command or self.verb}"
            self.config = parser.parse_args(given)
        except ArgumentError as error:
            raise UsageError(self._explain(str(error))) from error
        config = self.config[self.verb]
        if self.given is not None and config.get("model") is not None:
            self.given.fill_in(config.model, our_class(config.model), self.verb == "fit")
        for part in (config.get("model"), config.get("data")):
            if part is not None:
                _null_is_default(part)
        if config.name is None:
            config.name = name or ("run" if config.model is None else _class_name(config.model))
        self._check_values(config)

    def _check_values(self, config: Namespace) -> None:
        if config.name in ("", ".", "..") or "/" in config.name or not config.name.isprintable():
            raise UsageError(f"--name is the name of one folder, found {config.name!r}")
        if config.early_stopping is not None and config.early_stopping < 1:
            raise UsageError(f"early_stopping must be at least 1, found {config.early_stopping}")
        seed = config.seed_everything
        if not isinstance(seed, bool | None) and not 0 <= seed < 2**32:
            raise UsageError(f"seed_everything must be in 0..{2**32 - 1}, found {seed}")
        if (output := config.get("output")) is not None:
            check_output(Path(output), config.overwrite, self.outputs, self._read(config))

    def _read(self, config: Namespace) -> list[object]:
        """Values that may name files which are read."""
        named = config.get("data.init_args")
        return [config.get("ckpt_path"), *(vars(named).values() if named else ())]

    def _explain(self, text: str) -> str:
        def arguments(class_path: str) -> list[str]:
            return list(_signature(class_path))

        known: dict[str, Iterable[str]] = {"model": MODULES, "data": DATAMODULES}
        flags = [
            flag.lstrip("-")
            for action in self._parser(self.verb)._actions
            for flag in action.option_strings
        ]
        return explain_parser(text, flags, lambda key: list(known.get(key, ())), arguments)

    def _parse_ckpt_path(self) -> None:
        """LightningCLI's own reading lets a checkpoint override explicit flags; ours does not."""

    @property
    def _asked(self) -> Namespace:
        config: Namespace = self.config[self.verb]
        return config

    def before_instantiate_classes(self) -> None:
        """Our modules need data named; somebody else's may bring its own."""
        if self._asked.get("data") is None and our_class(self._asked.model) is not None:
            raise UsageError("no data is named: give --config FILE, or --data NAME")

    def instantiate_classes(self) -> None:
        """Build model and data; an error is that of the class, not of the parser."""
        try:
            self.config_init = self.parser.instantiate_classes(self.config)
        except ValueError as error:
            # jsonargparse wraps what a class raised into the tree of types that it tried.
            wrapped = str(error).startswith("Does not validate")
            raise (error.__cause__ if wrapped and error.__cause__ else error) from None
        self.model = self.config_init[self.verb].get("model")
        self.datamodule = self.config_init[self.verb].get("data")
        if not self._asked.lean_loop and isinstance(self.model, modules.SupervisedModule):
            self.model.lean_loop = False

    def _load_data(self) -> None:
        """Load the data; a table is read as the model's was."""
        if isinstance(self.datamodule, datamodules.SupervisedDataModule):
            self.datamodule.known_schema = getattr(self.model, "schema", {})
        self.datamodule.prepare_data()
        self.datamodule.setup(self.verb)


def known_before(args: list[str], *keys: str) -> dict[str, Any]:
    """What configurations and flags say of some keys, known before the whole is parsed."""
    said: dict[str, Any] = {}
    for config in _values(args, "--config", "-c"):
        said.update(read_config(Path(config)))
    for key in keys:
        said.update((key, flag) for flag in _values(args, f"--{key}"))
    return {key: None if said.get(key) in ("null", "~") else said.get(key) for key in keys}


def _integers_first() -> None:
    """Let the parser read 1 as one batch, whatever was imported before.

    typing keeps one ``Union`` for ``int | float`` and ``float | int``, in the order in which the
    process first saw it: scikit-learn's import makes 1.0 of 1, which is all batches.
    """
    annotations = inspect.unwrap(Trainer.__init__).__annotations__
    for name, annotation in annotations.items():
        if {int, float} <= set(kinds := get_args(annotation)):
            annotations[name] = reduce(or_, sorted(kinds, key=lambda kind: kind is not int))


def _values(args: list[str], *flags: str) -> Iterator[str]:
    """The values given to flags on a command line, as ``--flag value`` or ``--flag=value``."""
    for i, arg in enumerate(args):
        flag, equals, value = arg.partition("=")
        if flag in flags and (equals or i + 1 < len(args)):
            yield value if equals else args[i + 1]


def _class(class_path: str) -> Any:
    """The class of a path; the parser has imported it."""
    module, _, name = class_path.rpartition(".")
    return getattr(import_module(module), name)


def _signature(class_path: str) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(_class(class_path)).parameters


def _null_is_default(part: Namespace) -> None:
    """Null is not given: where a default is something else, it is taken."""
    for name, parameter in _signature(part.class_path).items():
        default = parameter.default
        if default is not parameter.empty and part.init_args.get(name, default) is None:
            part.init_args[name] = default


def our_class(model: Namespace) -> type[modules.SupervisedModule] | None:
    """The class if it is one of ours; another of the same name is not."""
    asked = _class(model.class_path)
    return asked if asked in MODULES.values() else None


def _class_name(model: Namespace) -> str:
    return str(model.class_path).rpartition(".")[2]
