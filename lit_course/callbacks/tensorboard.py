"""What TensorBoard shows beside curves: settings with results, texts, charts that compare."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch.nn.parameter import is_lazy

from lit_course.callbacks.results import Best, cell, floats, per_output
from lit_course.callbacks.run_plan import plan

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

# What is no setting but knowledge about the data: in hparams.yaml and in the checkpoint.
NO_SETTINGS = ("schema", "num_classes", "in_features", "out_features")


def tensorboard_writers(trainer: Trainer) -> Iterator[SummaryWriter]:
    """The writers of a Trainer's TensorBoard loggers; in other processes than the first none."""
    for logger in trainer.loggers if trainer.is_global_zero else ():
        if isinstance(logger, TensorBoardLogger):
            yield logger.experiment


class TensorBoardTabs(Callback):
    """Fills the tabs Text, Custom Scalars and HParams of a run that a TensorBoardLogger writes.

    - Text: the configuration, the data, the model; after a test its numbers, by class or target.
    - Custom Scalars: what is logged as ``train/<name>`` and ``val/<name>`` in one chart.
    - HParams: when the fit has ended, its hyperparameters and the numbers of its best checkpoint
      (the last ones where none is kept), as a run of their own in the folder ``best``. There they
      are points on the curves of the run, too.
    """

    def __init__(self) -> None:
        self._has_layout = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Keep the logger's own -1 out of HParams: its record would hide all other metrics."""
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger._default_hp_metric = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what is known before training."""
        self._has_layout = False
        for writer in tensorboard_writers(trainer):
            for tag, text in _texts(trainer, pl_module, Path(writer.log_dir)):
                writer.add_text(tag, text, trainer.global_step)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lay the charts out once the values of an epoch tell which there are."""
        self._lay_out(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lay the charts out if there was one epoch only."""
        self._lay_out(trainer)

    def _lay_out(self, trainer: Trainer) -> None:
        stages = ("train/", "val/")
        names = [n for n in trainer.callback_metrics if n.startswith(stages) and n.count("/") == 1]
        if names and not self._has_layout:
            self._has_layout = True
            layout = _layout(sorted({name.partition("/")[2] for name in names}))
            for writer in tensorboard_writers(trainer):
                writer.add_custom_scalars(layout)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the settings and numbers that runs are compared by."""
        self._sum_up(trainer, pl_module, ended_well=True)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Write those of a run that was broken off, of what it had reached."""
        if trainer.state.fn == "fit":
            with suppress(OSError):  # a full disk; what ended the run is to be said, not this
                self._sum_up(trainer, pl_module, ended_well=False)

    def _sum_up(self, trainer: Trainer, module: LightningModule, ended_well: bool) -> None:
        if not trainer.fit_loop.epoch_loop.batch_progress.total.completed:
            return
        best = Best.of(trainer, module)
        settings = _settings(trainer, module)
        for folder in _best_folders(trainer):
            for earlier in folder.glob("events.out.tfevents.*"):  # of a run that was resumed
                earlier.unlink()
            with _writer(folder) as writer:
                _write_session(writer, settings, ended_well)
                for name, value in best.numbers.items():
                    writer.add_scalar(name, value, best.step)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the test's numbers: as tables, and beside those of a fit before it."""
        numbers = floats(trainer.callback_metrics)
        for writer in tensorboard_writers(trainer):
            writer.add_text("test", "\n\n".join(_tables(numbers)), trainer.global_step)
        for folder in filter(Path.is_dir, _best_folders(trainer)):
            with _writer(folder) as writer:
                for name, value in numbers.items():
                    if name.count("/") < 2:
                        writer.add_scalar(name, value, trainer.global_step)


def _best_folders(trainer: Trainer) -> list[Path]:
    return [Path(writer.log_dir) / "best" for writer in tensorboard_writers(trainer)]


def _writer(folder: Path) -> SummaryWriter:
    from torch.utils.tensorboard import SummaryWriter  # here: it takes a second

    return SummaryWriter(str(folder))


def _settings(trainer: Trainer, module: LightningModule) -> dict[str, Any]:
    """Hyperparameters as one flat mapping of plain values; of a name in common the module's."""
    data = getattr(trainer, "datamodule", None)
    settings = {
        "module": type(module).__name__,
        "data": None if data is None else type(data).__name__,
        "batch_size": getattr(data, "batch_size", None),
        "max_epochs": trainer.max_epochs,
        **getattr(data, "hparams", {}),
        **module.hparams,
    }
    return dict(_flat(settings))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if not prefix and name in NO_SETTINGS:
            continue
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif value is not None:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            yield f"{prefix}{name}", value if number else str(value)[:200]


def _write_session(writer: SummaryWriter, settings: Mapping[str, Any], ended_well: bool) -> None:
    """Tell HParams of a run.

    The record of the experiment is left out: TensorBoard then shows the hyperparameters and metrics
    of all runs; with it, those alone of the run that it finds first.
    """
    from torch.utils.tensorboard.summary import hparams

    _, begin, end = hparams(dict(settings), {})  # type: ignore[no-untyped-call]  # as torch has it
    file = writer._get_file_writer()  # type: ignore[no-untyped-call]  # as torch has it
    for summary in (begin, end) if ended_well else (begin,):
        file.add_summary(summary)


def _texts(trainer: Trainer, module: LightningModule, folder: Path) -> Iterator[tuple[str, str]]:
    config = folder / "config.yaml"
    if config.is_file():
        yield "config", _code(config.read_text(encoding="utf-8"))
    yield "run", _table(("", ""), plan(trainer, module).items())
    yield "model", _table(("layer", "type", "parameters", "trained"), _layers(module))
    columns = getattr(getattr(trainer, "datamodule", None), "columns", [])
    if columns:
        titles = ("column", "kind", "missing", "distinct", "used as")
        rows = [(c.name, c.kind, c.missing, c.distinct, c.use) for c in columns]
        yield "columns", _table(titles, rows)


def _layers(module: LightningModule) -> Iterator[tuple[str, str, str, str]]:
    """Every layer that has parameters of its own."""
    for name, layer in module.named_modules():
        own = layer.parameters(recurse=False)
        if parameters := [p for p in own if not is_lazy(p)]:
            trained = sum(p.numel() for p in parameters if p.requires_grad)
            total = sum(p.numel() for p in parameters)
            yield name, type(layer).__name__, f"{total:,}", f"{trained:,}"


def _tables(numbers: Mapping[str, float]) -> Iterator[str]:
    whole = [(name, cell(value)) for name, value in numbers.items() if name.count("/") < 2]
    yield _table(("metric", "value"), whole)
    by_output = per_output(numbers)
    if by_output:
        metrics = list(next(iter(by_output.values())))
        rows = [(name, *(cell(row.get(m)) for m in metrics)) for name, row in by_output.items()]
        yield _table(("output", *metrics), rows)


def _table(titles: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table in Markdown."""
    lines = [list(titles), *([_escaped(value) for value in row] for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(value: object) -> str:
    return "" if value is None else str(value).replace("|", "\\|").replace("\n", " ")


def _code(text: str) -> str:
    """Lines that are shown as they are: Markdown takes what is indented by four spaces for code."""
    return "\n".join(f"    {line}" for line in text.splitlines())


def _layout(metrics: Iterable[str]) -> dict[str, dict[str, list[Any]]]:
    """Charts by category; a curve is every tag that matches its pattern."""
    together = {name: ["Multiline", [f"train/{name}$", f"val/{name}$"]] for name in metrics}
    return {
        "train and validation": together,
        "training": {
            "learning rate": ["Multiline", ["lr-"]],
            "loss of a batch": ["Multiline", ["train/loss_step$"]],
            "gradient norm": ["Multiline", ["train/gradient_norm$"]],
        },
    }
