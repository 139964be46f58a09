"""LightningCLI, assembled: its defaults, the run's folder, and what runs beside the Trainer."""

from __future__ import annotations

import inspect
from argparse import ArgumentError
from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ActionYesNo, Namespace
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import LambdaCallback, LearningRateMonitor
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

from lit_course import cross_validation, datamodules, modules, runs
from lit_course.callbacks import (
    Baselines,
    BestCheckpoint,
    EndTogether,
    Figures,
    FiniteCheck,
    FittedCurve,
    PredictionFile,
    Results,
    RunPlan,
    RunProgress,
    StopEarly,
    StopOnSignal,
)
from lit_course.callbacks.best_checkpoint import best_path
from lit_course.callbacks.prediction_file import FORMATS
from lit_course.callbacks.save_config import SaveConfig
from lit_course.checkpoint_io import AtomicCheckpointIO, sweep
from lit_course.closed_table import DATAMODULES, MODULES
from lit_course.config_files import read_config
from lit_course.datamodules.folds import Fold
from lit_course.given_checkpoint import GivenCheckpoint
from lit_course.messages import UsageError, explain_parser
from lit_course.output_file import check_output
from lit_course.trainer_flags import check_folds, check_trainer


class TrainerCLI(LightningCLI):
    """Runs one of the Trainer's verbs from a configuration.

    Args:
        verb: ``fit``, ``validate``, ``test`` or ``predict``.
        args: What follows it on the command line.
    """

    outputs: Collection[str] = FORMATS  # what an ``--output`` may end in
    command: str | None = None  # what was typed, if that is no verb of the Trainer's

    def __init__(self, verb: str, args: list[str]) -> None:
        self.verb = verb
        self.named = any(_values(args, "--name"))
        self.given: GivenCheckpoint | None = None
        self.claimed: Path | None = None  # the folder of a new run
        self.fold: Fold | None = None  # of a cross-validation, the present one
        strict = {"exit_on_error": False, "allow_abbrev": False}
        super().__init__(
            save_config_callback=None,
            trainer_defaults={"enable_model_summary": False},
            seed_everything_default=0,
            parser_kwargs={**strict, verb: strict},
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

    # ------------------------------------------------------------- what was asked for

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse: command line over config file (null is not given) over checkpoint over default."""
        assert isinstance(args, list)
        given = [str(arg) for arg in args]
        configs = [Path(path) for path in _values(given, "--config", "-c")]
        # What must be known before the whole is parsed, since it decides what else is read.
        said: dict[str, Any] = {}
        for config in configs:
            said.update(read_config(config))
        for key in ("name", "runs", "ckpt_path"):
            said.update((key, flag) for flag in _values(given, f"--{key}"))
        name = said.get("name") or (configs[-1].stem if configs else None)
        self.runs = Path(said.get("runs") or "lightning_logs")
        asked = said.get("ckpt_path")
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
            self.config = parser.parse_args(given)
        except ArgumentError as error:
            raise UsageError(self._explain(str(error))) from error
        config = self.config[self.verb]
        if self.given is not None and config.get("model") is not None:
            self.given.fill_in(config.model, _our_class(config.model), self.verb == "fit")
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
            check_output(Path(output), config.overwrite, self.outputs)
        if self.verb == "fit" and config.cross_validate is not None:
            check_folds(config.cross_validate, config.trainer, resumes=self.given is not None)
            self.fold = Fold(0, config.cross_validate)
        check_trainer(self.verb, config.trainer, then_test=self._tests)

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

    # ------------------------------------------------------------- what is made of it

    @property
    def _asked(self) -> Namespace:
        config: Namespace = self.config[self.verb]
        return config

    @property
    def _tests(self) -> bool:
        """Whether a fit ends with a test."""
        return self.verb == "fit" and (self._asked.test_best or self.fold is not None)

    def before_instantiate_classes(self) -> None:
        """Our modules need data named; somebody else's may bring its own."""
        if self._asked.get("data") is None and _our_class(self._asked.model) is not None:
            raise UsageError("no data is named: give --config FILE, or --data NAME")

    def instantiate_classes(self) -> None:
        """Build model, data and Trainer; an error is that of the class, not of the parser."""
        try:
            super().instantiate_classes()
        except ValueError as error:
            # jsonargparse wraps what a class raised into the tree of types that it tried.
            wrapped = str(error).startswith("Does not validate")
            raise (error.__cause__ if wrapped and error.__cause__ else error) from None
        if not self._asked.lean_loop and isinstance(self.model, modules.SupervisedModule):
            self.model.lean_loop = False

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """A Trainer with the run's folder, its logger and our callbacks."""
        self._check_data()
        self.folder = self._make_folder()
        trainer = self._asked.trainer
        if self.verb != "fit":
            kwargs["logger"] = False  # evaluating adds no folder
        elif trainer.logger in (None, True):
            kwargs["logger"] = self._logger()
        if trainer.default_root_dir is None and self.folder is not None:
            kwargs["default_root_dir"] = str(self.folder)
        config = {**self._get(self.config_init, "trainer", default={}), **kwargs}
        given = config.get("plugins") or []
        given = given if isinstance(given, list) else [given]
        if not any(isinstance(plugin, CheckpointIO) for plugin in given):
            config["plugins"] = [*given, AtomicCheckpointIO()]
        try:
            return self._instantiate_trainer(config, list(self._callbacks()))
        except Exception:  # whatever it was, it is raised again
            self._give_back()
            raise

    def _check_data(self) -> None:
        """Load the data before the run's folder is made, so that bad data leaves none behind."""
        ours = isinstance(self.datamodule, datamodules.SupervisedDataModule)
        if self.fold is not None:
            if not ours:
                raise UsageError("cross_validate cuts the rows of a data module of lit_course")
            self.datamodule.fold = self.fold
        if ours and _is_first_process():
            self.datamodule.known_schema = getattr(self.model, "schema", {})
            self.datamodule.prepare_data()
            self.datamodule.setup(self.verb)
            if self._tests and not self.datamodule.split_sizes["test"]:
                raise UsageError(
                    "test_best needs rows to test on, and the data holds none out: give test_size "
                    "(a fraction or a count) if it has one, or leave test_best out"
                )

    def _make_folder(self) -> Path | None:
        """Where this run writes; only the first process makes it, a fast_dev_run writes nothing."""
        resumed = None if self.given is None else self.given.run
        if self._asked.trainer.fast_dev_run:
            return None
        if self.verb != "fit":
            assert self.given is not None
            return resumed or self.given.path.parent
        if not _is_first_process():
            return None
        if self.fold is not None and self.fold.number:
            return self._fold_folder()
        named = self.runs / self._asked.name
        if resumed and (not self.named or resumed.parent.resolve() == named.resolve()):
            return resumed
        self.claimed = runs.claim(self.runs, self._asked.name)
        for kept in self.claimed.parent.glob(f"version_*/{runs.CHECKPOINTS}"):
            sweep(kept)  # what a killed run of this name left half written
        return self.claimed if self.fold is None else self._fold_folder()

    def _fold_folder(self) -> Path:
        assert self.claimed is not None
        assert self.fold is not None
        folder = self.claimed / f"fold_{self.fold.number + 1}"
        folder.mkdir()
        return folder

    def _logger(self) -> TensorBoardLogger | bool:
        if self.folder is None:
            return not self._asked.trainer.fast_dev_run
        return TensorBoardLogger(
            save_dir=str(self.folder.parent.parent),
            name=self.folder.parent.name,
            version=self.folder.name,
            default_hp_metric=False,
            purge_step=None if self.given is None else self.given.contents.get("global_step"),
        )

    @property
    def _keeps_best(self) -> bool:
        trainer = self._asked.trainer
        return trainer.enable_checkpointing is not False and not trainer.fast_dev_run

    def _callbacks(self) -> Iterator[Callback]:
        trainer = self._asked.trainer
        yield StopOnSignal()
        yield EndTogether()
        if self.given is not None:
            yield LambdaCallback(setup=self.given.check_agreement)
        if trainer.enable_progress_bar is not False:
            yield RunProgress()
        if self.fold is None:
            yield Results(self.folder, test_follows=self._asked.test_best and self._keeps_best)
            if self._asked.baselines:
                yield Baselines(self.folder)
            yield from self._figures()
        if self.verb == "predict" and self.folder is not None:
            yield PredictionFile(Path(self._asked.output or self.folder / "predictions.csv"))
        if self.verb != "fit":
            return
        first = self.fold is None or self.fold.number == 0
        if first:
            yield RunPlan()
        yield FiniteCheck()
        if self._keeps_best:
            folder = None if self.folder is None else (self.folder / runs.CHECKPOINTS).absolute()
            yield BestCheckpoint(folder)
        if trainer.logger not in (False, []) and not trainer.fast_dev_run:
            yield LearningRateMonitor()
        if self._asked.early_stopping is not None:
            yield StopEarly(self._asked.early_stopping)
        if self.folder is not None and first:
            yield SaveConfig(self._parser(self.verb), self._asked, self.claimed or self.folder)

    def _figures(self) -> Iterator[Callback]:
        folder = None if self.folder is None else self.folder / runs.FIGURES
        if self._asked.figures is not False:
            yield Figures(folder)
        if self._asked.figures == "every_step" and self.verb == "fit":
            yield FittedCurve(folder)

    # ------------------------------------------------------------- running it

    def _run_subcommand(self, subcommand: str) -> None:
        """Run the verb; what fails before its first batch is done leaves no folder behind."""
        for line in self.given.changed if self.given is not None else ():
            rank_zero_info(line)
        try:
            if self.fold is None:
                super()._run_subcommand(subcommand)
            else:
                self._run_folds(self.fold.of)
        except BaseException as error:  # an interrupt too; it is raised again
            if isinstance(error, OSError) and error.filename is None and error.errno is not None:
                error.filename = self.folder  # TensorBoard's writer does not say what it wrote
            if not self._batches_done:
                self._give_back()
            raise

    def _run_folds(self, number_of_folds: int) -> None:
        """Fit and test every fold with a new model and new data, from the same seed."""
        if self.trainer.world_size > 1:
            raise UsageError("cross_validate works with one process: give --trainer.devices 1")
        assert self.claimed is not None
        folds = []
        for number in range(number_of_folds):
            if number:
                self.fold = Fold(number, number_of_folds)
                self._set_seed()
                self.instantiate_classes()
            super()._run_subcommand("fit")
            folds.append(cross_validation.tested(self.trainer))
            rank_zero_info(f"fold {number + 1} of {number_of_folds} is done")
        cross_validation.report(folds, self.claimed)

    @property
    def _batches_done(self) -> int:
        return self.trainer.fit_loop.epoch_loop.batch_progress.total.completed

    def _give_back(self) -> None:
        if self.claimed is None or (self.fold is not None and self.fold.number):
            return
        if self.fold is not None and self.folder is not None:
            runs.release(self.folder)
        runs.release(self.claimed)

    def after_fit(self) -> None:
        """Refuse to call nothing a fit; with ``--test_best``, test the best checkpoint of it."""
        if not self._batches_done:
            raise ValueError(
                "the fit ended before its first batch: look at max_time and at the training loader"
            )
        best = best_path(self.trainer)
        if self._keeps_best and not best:
            lacking = (
                f"no best checkpoint: {getattr(self.model, 'monitored', 'what it monitors')} was "
                "never reported; last.ckpt holds the last state (see check_val_every_n_epoch and "
                "val_check_interval)"
            )
            if self._tests:
                raise ValueError(lacking)
            rank_zero_info(lacking)
        if self._tests and best:
            self.trainer.test(
                self.model,
                datamodule=self.datamodule,
                ckpt_path=best,
                weights_only=True,
                verbose=False,
            )

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        """The Trainer's arguments, with the checkpoint found and nothing but plain values read."""
        kwargs: dict[str, Any] = super()._prepare_subcommand_kwargs(subcommand)
        kwargs["ckpt_path"] = None if self.given is None else str(self.given.path)
        kwargs["weights_only"] = True
        if subcommand == "predict":
            kwargs["return_predictions"] = False
        elif subcommand in ("validate", "test"):
            kwargs["verbose"] = False
        return kwargs


def _values(args: list[str], *flags: str) -> Iterator[str]:
    """The values given to flags on a command line, as ``--flag value`` or ``--flag=value``."""
    for i, arg in enumerate(args):
        flag, equals, value = arg.partition("=")
        if flag in flags and (equals or i + 1 < len(args)):
            yield value if equals else args[i + 1]


def _is_first_process() -> bool:
    return bool(getattr(rank_zero_only, "rank", 0) == 0)


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


def _our_class(model: Namespace) -> type[modules.SupervisedModule] | None:
    """The class if it is one of ours; another of the same name is not."""
    asked = _class(model.class_path)
    return asked if asked in MODULES.values() else None


def _class_name(model: Namespace) -> str:
    return str(model.class_path).rpartition(".")[2]
