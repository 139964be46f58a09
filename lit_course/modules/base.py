"""The abstract base of all modules: steps, metrics, optimizer and schedule, in one place.

A concrete module declares its network, loss and metrics; nothing else differs between tasks.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from math import isinf
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast

import torch
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor, nn
from torchmetrics import MetricCollection

from lit_course.losses import ClassificationLoss
from lit_course.metrics import StageMetrics, higher_is_better
from lit_course.modules.batch import unpack
from lit_course.modules.hyperparameters import plain
from lit_course.modules.optimized import OptimizedModule
from lit_course.modules.survey import Survey
from lit_course.modules.transfer import freeze, load_weights
from lit_course.optimizers import Interval

Stage = Literal["train", "val", "test"]

CHECKPOINT_FORMAT = 1


class SupervisedModule(OptimizedModule):
    """What every module here shares. Abstract: use a concrete one, or subclass it in three places.

    ``configure_network``, ``configure_loss`` and ``configure_metrics`` may be overridden, and
    may read every argument as an attribute. They are called once the sizes are known: at
    construction, or else when a Trainer brings a data module that says them.

    The batch is ``(x, y)`` or ``(x, y, extras)``; ``x`` is raw, scaling is the network's own.
    Every reported value ``<stage>/<metric>`` is of the whole split, never a mean of batch values.
    """

    # Arguments that the data module answers when they are left out.
    SIZES: ClassVar[tuple[str, ...]] = ("in_features",)
    network: nn.Module
    loss: nn.Module

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
        self._checked: set[str] = set()
        self._last_logged_step = 0
        self._step_loss: Tensor | None = None

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

    @staticmethod
    @abstractmethod
    def answer(outputs: Tensor) -> Tensor:
        """From the network's outputs to what the metrics take."""

    @abstractmethod
    def check_target(self, y: Tensor, outputs: Tensor) -> Tensor:
        """Bring targets into the one shape and dtype that the loss takes, or refuse them."""

    def check_values(self, y: Tensor) -> None:
        """Refuse targets by their values; called for the first batch of a stage."""

    def detail_metrics(self) -> MetricCollection | None:
        """Make what validate and test report beside ``configure_metrics``."""
        return None

    @property
    @abstractmethod
    def output_names(self) -> list[str]:
        """A name for each column of the answers: the classes, or the targets."""

    @abstractmethod
    def predictions(self, outputs: Tensor) -> dict[str, Any]:
        """What ``predict`` gives for the network's outputs."""

    def after_report(self, stage: Stage, metrics: StageMetrics) -> None:
        """Say what the numbers alone would hide."""

    def penalty(self) -> Tensor | None:
        """What training adds to the loss, reported apart from it."""
        return None

    def learn(self, survey: Survey) -> None:
        """Take from the training data what the arguments left to it, before the first step."""

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
                    f"{type(self).__name__} needs {size}, and no data module says it: "
                    f"give {size}=..., or a data module with that attribute"
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
        if not self.is_built:
            self._build()

    @property
    def is_built(self) -> bool:
        """Whether the sizes were known and the layers are made."""
        return "network" in self._modules

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
        return StageMetrics(self.configure_metrics(), type(self).answer, details, self.check_values)

    def train(self, mode: bool = True) -> SupervisedModule:
        """Switch modes; frozen normalisation layers stay in evaluation mode."""
        super().train(mode)
        self._rest_frozen_norms()
        return self

    def _rest_frozen_norms(self) -> None:
        for layer in self._frozen_norms:
            layer.eval()

    # ------------------------------------------------------------- steps

    def forward(self, x: Tensor) -> Tensor:
        """Raw features ``(B, ...)`` to the network's outputs."""
        if not self.is_built:
            missing = [size for size in self.SIZES if getattr(self, size) is None]
            raise RuntimeError(
                f"{type(self).__name__} has no layers yet: give {', '.join(missing)}, "
                "or fit it with a data module that says them"
            )
        return self.network(x)  # type: ignore[no-any-return]  # nn.Module's call is untyped

    def _step(self, batch: Any, stage: Stage, report: bool = True) -> Tensor:
        x, y = unpack(batch)
        first = stage not in self._checked
        if first and not x.isfinite().all():
            raise ValueError("features must be finite, found NaN or infinity: drop or fill them")
        outputs = self(x)
        y = self.check_target(y, outputs)
        if first:
            self.check_values(y)
            self._checked.add(stage)
        loss: Tensor = self.loss(outputs, y)
        if report:
            weight = self.loss.weight(y) if isinstance(self.loss, ClassificationLoss) else len(y)
            self._stage_metrics(stage).add(outputs, y, loss, weight)
        return loss

    def _stage_metrics(self, stage: Stage) -> StageMetrics:
        metrics: StageMetrics = getattr(self, f"{stage}_metrics")
        return metrics

    def training_step(self, batch: Any, batch_idx: int) -> STEP_OUTPUT:
        """One batch of training: the loss, and the penalty if there is one."""
        # LBFGS evaluates a batch several times an update; the first one is reported.
        first = self._step_loss is None
        loss = self._step(batch, "train", report=first)
        if first:
            self._step_loss = loss.detach()
        penalty = self.penalty()
        return loss if penalty is None else loss + penalty

    def validation_step(self, batch: Any, batch_idx: int) -> STEP_OUTPUT:
        """One batch of validation."""
        return self._step(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> STEP_OUTPUT:
        """One batch of the test."""
        return self._step(batch, "test")

    def predict_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Answers for one batch; targets, if it has them, are not looked at."""
        x = batch[0] if isinstance(batch, list | tuple) else batch
        return self.predictions(self(x))

    # ------------------------------------------------------------- around the steps

    def setup(self, stage: str) -> None:
        """Begin again: look at new data, count from zero, forget what an interrupted run left."""
        self._checked.clear()
        self._last_logged_step = 0
        if self.is_built:
            for metrics in (self.train_metrics, self.val_metrics, self.test_metrics):
                metrics.reset()

    def on_fit_start(self) -> None:
        """Log the hyperparameters, now that sizes are filled in."""
        for logger in self.loggers:
            logger.log_hyperparams(dict(self.hparams))

    def on_train_start(self) -> None:
        """Before the first step of a new training: start weights, then what the data must tell."""
        self._rest_frozen_norms()  # Lightning leaves the modes as it found them
        if self.global_step:
            return  # resumed: everything is in the checkpoint
        if self.init_from is not None:
            new = load_weights(self.network, self.init_from)
            rank_zero_info(f"weights from {self.init_from}; new: {', '.join(new) or 'none'}")
            self.init_from = None  # a second fit goes on from where the first one ended
        data = getattr(self.trainer, "datamodule", None)
        loader = cast(Iterable[Any], self.trainer.train_dataloader)
        batches = self.trainer.num_training_batches
        limit = None if isinf(batches) else int(batches)
        survey = Survey(data, loader, self.network, self.device, self.check_values, limit)
        with self.trainer.precision_plugin.forward_context():
            # Trained weights belong to the scaling that they were trained with.
            if survey.scaling is not None and survey.scaling.count == 0:
                survey.scaling.fit(survey.statistics)
            self.learn(survey)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Nothing of this batch is reported yet."""
        self._step_loss = None

    def on_train_batch_end(self, outputs: STEP_OUTPUT, batch: Any, batch_idx: int) -> None:
        """Log the loss of a batch, without penalty, every ``log_every_n_steps`` updates."""
        step = self.global_step
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # set on construction
        due = every and step % every == 0 and step > self._last_logged_step
        if due and self._step_loss is not None:
            self._last_logged_step = step
            for logger in self.loggers:
                logger.log_metrics({"train/loss_step": float(self._step_loss)}, step)

    def on_train_epoch_end(self) -> None:
        """Report the training split."""
        self._report("train")

    def on_validation_epoch_end(self) -> None:
        """Report the validation split."""
        self._report("val")

    def on_test_epoch_end(self) -> None:
        """Report the test split."""
        self._report("test")

    def _report(self, stage: Stage) -> None:
        metrics = self._stage_metrics(stage)
        if self.trainer.sanity_checking:
            metrics.reset()
            return
        fitting = self.trainer.state.fn == "fit"
        values: dict[str, Tensor] = {}
        # Of an epoch that was resumed at its end, behind the last batch, there is nothing to say.
        if metrics.has_samples:
            values = metrics.compute(details=not fitting)
            if stage == "train" and (penalty := self.penalty()) is not None:
                values["penalty"] = penalty
            self.after_report(stage, metrics)
            metrics.reset()
        named = {f"{stage}/{name}": value.detach() for name, value in values.items()}
        self.log_dict(named, batch_size=1)
        if fitting:
            self.advance_schedule(named, epoch_ended=stage == "train")

    def higher_is_better(self, name: str) -> bool:
        """Which way a reported value is better, by its name without the stage."""
        return higher_is_better(name, self.train_metrics.metrics)

    # ------------------------------------------------------------- checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say what wrote the file, and the numbers that it stands for."""
        metrics = self.trainer.callback_metrics if self._trainer is not None else {}
        checkpoint["lit_course"] = {
            "format": CHECKPOINT_FORMAT,
            "class": type(self).__name__,
            "metrics": {name: float(value) for name, value in metrics.items() if "/" in name},
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse the file of another class; its weights are what training goes on from."""
        self.check_class(checkpoint)
        self.init_from = None

    @classmethod
    def check_class(cls, checkpoint: Mapping[str, Any]) -> None:
        """Refuse a checkpoint that neither this class nor one it derives from wrote.

        Raises:
            ValueError: Naming the class that did.
        """
        wrote = checkpoint.get("lit_course", {}).get("class")
        if wrote not in {base.__name__ for base in cls.__mro__}:
            raise ValueError(
                f"the checkpoint is of {wrote or 'no lit_course class'}, not of {cls.__name__}: "
                "load it with the class that wrote it"
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
            ValueError: If another class wrote the file.
        """
        kwargs.setdefault("weights_only", True)
        # Lightning makes the module first, from arguments that may mean something else to it.
        cls.check_class(torch.load(checkpoint_path, map_location="meta", weights_only=True))
        model: Self = super().load_from_checkpoint(checkpoint_path, map_location, **kwargs)
        return model
