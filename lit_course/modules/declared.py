"""What a module is made of: sizes, network, loss and metrics, built once the sizes are known."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, cast

from lightning.pytorch.core.saving import _default_map_location, _load_state
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torchmetrics import MetricCollection

from lit_course import checkpoints
from lit_course.categories import categories
from lit_course.metrics import (
    higher_is_better,
)
from lit_course.modules.hyperparameters import plain
from lit_course.modules.optimized import OptimizedModule
from lit_course.modules.position import Update, end_epoch, positions, take_up
from lit_course.modules.transfer import freeze
from lit_course.schedules import (
    Interval,
)
from lit_course.stage_metrics import (
    StageMetrics,
)

CHECKPOINT_FORMAT = 1


class DeclaredModule(OptimizedModule):
    """A module that declares its parts, takes its sizes from the data, and says so in checkpoints.

    ``configure_network``, ``configure_loss`` and ``configure_metrics`` are called once the sizes
    are known: at construction, or else when a Trainer brings a data module that says them. They may
    read every argument as an attribute.
    """

    # Arguments that the data module answers when they are left out.
    SIZES: ClassVar[tuple[str, ...]] = ("in_features",)
    network: nn.Module
    loss: nn.Module
    # Whether it was trained on uint8, which are images; None where nobody has said.
    trained_on_uint8: bool | None = None

    def __init__(
        self,
        *,
        optimizer: str,
        lr: float,
        optimizer_options: dict[str, Any] | None,
        lr_scheduler: str | None,
        lr_scheduler_options: dict[str, Any] | None,
        lr_interval: Interval,
        lr_frequency: int,
        warmup_steps: int,
        monitor: str | None,
        freeze: list[str],
        init_from: str | None,
        schema: dict[str, Any] | None,
    ) -> None:
        super().__init__(
            optimizer=optimizer,
            lr=lr,
            optimizer_options=optimizer_options,
            lr_scheduler=lr_scheduler,
            lr_scheduler_options=lr_scheduler_options,
            lr_interval=lr_interval,
            lr_frequency=lr_frequency,
            warmup_steps=warmup_steps,
            monitor=monitor,
        )
        self.freeze_patterns = list(freeze)
        self.init_from = init_from
        self.schema: dict[str, Any] = plain("schema", schema or {})
        self._frozen_norms: list[nn.Module] = []
        self._update = Update()
        self._reported_before: dict[str, float] = {}
        self._stopped_at: tuple[dict[str, Any], list[dict[str, Any]]] | None = None

    # ------------------------------------------------------------- places to subclass

    @abstractmethod
    def configure_network(self) -> nn.Module:
        """Make the network: raw features ``(B, ...)`` to outputs."""

    @abstractmethod
    def configure_loss(self) -> nn.Module:
        """Make the loss: ``(outputs, target)`` to the mean over the batch."""

    @abstractmethod
    def configure_metrics(self) -> MetricCollection:
        """Make the metrics of one stage, fed with answers and targets (see ``metrics.py``)."""

    # ------------------------------------------------------------- what a task declares

    @abstractmethod
    def answer(self, outputs: Tensor) -> Tensor:
        """From the network's outputs to what the metrics take."""

    def check_values(self, y: Tensor) -> None:
        """Refuse targets by their values; called for the first batch of a stage."""

    def detail_metrics(self) -> MetricCollection | None:
        """Make what validate and test report beside ``configure_metrics``."""
        return None

    # ------------------------------------------------------------- construction

    def declare(self) -> None:
        """End of a concrete ``__init__``: make the saved hyperparameters plain, then build."""
        for name, value in list(self.hparams.items()):
            self.hparams[name] = plain(name, value)
        if all(getattr(self, size) is not None for size in self.SIZES):
            self._build()

    def configure_model(self) -> None:
        """Take sizes and names from the Trainer's data module, then build what was not built."""
        data = None if self._trainer is None else getattr(self.trainer, "datamodule", None)
        for size in self.SIZES:
            said = getattr(data, size, None)
            own = getattr(self, size)
            if own is None and said is None:
                raise ValueError(
                    f"{type(self).__name__} needs {size}, and "
                    + (
                        f"{type(data).__name__} has none: are its targets what this model learns?\n"
                        "say so to the data (a table: task classification or regression), or take "
                        "another model"
                        if hasattr(data, size)
                        else f"no data module says it\ngive {size}=..., or a data module with that "
                        "attribute"
                    )
                )
            if own is None:
                said = plain(size, said)
                setattr(self, size, said)
                self.hparams[size] = said
            elif said is not None and own != said:
                raise ValueError(
                    f"{type(self).__name__} was made for {size}={own}, the data has {said}"
                )
        if not self.schema:
            self.schema = plain("schema", getattr(data, "schema", None) or {})
            self.hparams["schema"] = self.schema or None
            if self.is_built and categories(self.schema):
                raise ValueError(
                    f"{type(self).__name__} was made before its table's categories were known: "
                    f"leave out {' and '.join(self.SIZES)}, the data module says them"
                )
        if not self.is_built:
            self._build()

    @property
    def is_built(self) -> bool:
        """Whether the sizes were known and the layers are made."""
        return "network" in self._modules

    def check_built(self) -> None:
        """Refuse to go on without layers, naming the sizes that are not known."""
        if not self.is_built:
            missing = [size for size in self.SIZES if getattr(self, size) is None]
            raise RuntimeError(
                f"{type(self).__name__} has no layers yet: give {', '.join(missing)}, "
                "or fit it with a data module that says them"
            )

    def _build(self) -> None:
        self.network = self.configure_network()
        self.loss = self.configure_loss()
        self.train_metrics = self._make_metrics(None)
        self.val_metrics = self._make_metrics(self.detail_metrics())
        self.test_metrics = self._make_metrics(self.detail_metrics())
        if self.freeze_patterns:
            self._frozen_norms = freeze(self, self.freeze_patterns)
        self.check_direction()

    def _make_metrics(self, details: MetricCollection | None) -> StageMetrics:
        return StageMetrics(self.configure_metrics(), self.answer, details, self.check_values)

    def train(self, mode: bool = True) -> Self:
        """Switch modes; frozen normalisation layers stay in evaluation mode."""
        super().train(mode)
        self._rest_frozen_norms()
        return self

    def _rest_frozen_norms(self) -> None:
        for layer in self._frozen_norms:
            layer.eval()

    def higher_is_better(self, name: str) -> bool:
        """Which way a reported value is better, by its name without the stage."""
        return higher_is_better(name, self.train_metrics.metrics)

    def forward(self, x: Tensor) -> Tensor:
        """Raw features ``(B, ...)`` to the network's outputs."""
        self.check_built()
        return self.network(x)  # type: ignore[no-any-return]  # nn.Module's call is untyped

    # ------------------------------------------------------------- checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say what wrote the file, the numbers that it stands for, and where its epoch was."""
        checkpoint["lit_course"] = {
            "format": CHECKPOINT_FORMAT,
            "class": type(self).__name__,
            "metrics": self.reported,
            "trained_on_uint8": self.trained_on_uint8,
        }
        if self._is_fitting():
            where = positions(self.train_metrics, self.device)
            checkpoint["lit_course"]["positions"] = where

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse the file of another class; its weights are what training goes on from."""
        self.check_class(checkpoint)
        said = checkpoint["lit_course"].get("trained_on_uint8")  # not in older ones
        self.trained_on_uint8 = said if isinstance(said, bool) else None
        self.init_from = None
        if self._is_fitting():
            ours = checkpoint["lit_course"]
            self._reported_before = ours.get("metrics", {})
            self._stopped_at = (checkpoint.get("hyper_parameters", {}), ours.get("positions", []))

    @property
    def reported(self) -> dict[str, float]:
        """The last value of everything reported, also before a fit was interrupted."""
        metrics = {} if self._trainer is None else self.trainer.callback_metrics
        now = {name: float(value) for name, value in metrics.items() if "/" in name}
        return {**self._reported_before, **now}

    def go_on(self) -> None:
        """Be where the checkpoint was, after the Trainer has restored its part."""
        if self._stopped_at is not None:
            arguments, where = self._stopped_at
            self._stopped_at = None
            end_epoch(self.trainer.fit_loop)
            self.resume_schedule(arguments)
            take_up(where, self.global_rank, self.train_metrics, self.device)

    def _is_fitting(self) -> bool:
        return self._trainer is not None and self.trainer.state.fn == "fit"

    @classmethod
    def saved_arguments(cls, checkpoint: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments that a checkpoint's module was made with, as far as this class knows them.

        Raises:
            ValueError: As ``check_class``.
        """
        cls.check_class(checkpoint)
        arguments = dict(checkpoint.get("hyper_parameters", {}))
        known = {name for base in cls.__mro__ for name in inspect.signature(base).parameters}
        if unknown := sorted(arguments.keys() - known):
            rank_zero_warn(
                f"the checkpoint has hyperparameters that {cls.__name__} does not know, left out: "
                + ", ".join(unknown)
            )
        return {name: value for name, value in arguments.items() if name in known}

    @classmethod
    def check_class(cls, checkpoint: Mapping[str, Any]) -> None:
        """Refuse a checkpoint that neither this class nor one it derives from wrote.

        Raises:
            ValueError: Naming the class that did, or the format that only a newer version knows.
        """
        ours = checkpoint.get("lit_course", {})
        wrote, version = ours.get("class"), ours.get("format")
        if wrote not in {base.__name__ for base in cls.__mro__}:
            raise ValueError(
                f"the checkpoint is of {wrote or 'no lit_course class'}, not of {cls.__name__}: "
                "load it with the class that wrote it"
            )
        if version not in range(1, CHECKPOINT_FORMAT + 1):
            raise ValueError(
                f"the checkpoint has format {version!r}, and this lit_course reads formats up to "
                f"{CHECKPOINT_FORMAT}: update lit-course"
            )

    @classmethod
    def weight_shapes(cls, arguments: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """Shapes of the largest weights that a class would make of its arguments, by their names.

        Known before anything is allocated. A class with a network of its own need not know.
        """
        return {}

    @classmethod
    def check_sizes(cls, arguments: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> None:
        """Refuse arguments that would make other weights than a checkpoint holds, or far larger.

        Raises:
            ValueError: Naming the first weight that differs.
        """
        for name, said in cls.weight_shapes(arguments).items():
            held = tuple(state_dict[name].shape) if name in state_dict else None
            if said != held:
                raise ValueError(
                    f"the arguments make {name} of shape {said}, the checkpoint holds "
                    f"{held or 'none'}: leave the sizes out, or start anew with init_from"
                )

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # Lightning wraps it in a descriptor
        cls, checkpoint_path: str | Path, map_location: Any = None, **kwargs: Any
    ) -> Self:
        """Load a module from its checkpoint; no other argument is needed.

        Args:
            checkpoint_path: The file.
            map_location: Where to put the weights, as in ``torch.load``; None leaves them on
                the device that they were saved from.
            **kwargs: Arguments to change, as in ``LightningModule.load_from_checkpoint``.

        Raises:
            ValueError: If the file is refused (see ``checkpoints.read``), another class wrote
                it, or its weights are not of the sizes that its hyperparameters say.
        """
        kwargs.pop("weights_only", None)  # it always is
        # Lightning's own would take what a LightningCLI notes in the file for arguments.
        checkpoint = checkpoints.read(checkpoint_path, map_location or _default_map_location)
        arguments = {**cls.saved_arguments(checkpoint), **kwargs}
        cls.check_sizes(arguments, checkpoint["state_dict"])
        model = cast(Self, _load_state(cls, checkpoint, **kwargs))
        saved = checkpoint["state_dict"].values()
        return model.to(next((v.device for v in saved if isinstance(v, Tensor)), model.device))
