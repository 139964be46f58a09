"""The abstract base of all modules: how they are trained and measured, in one place.

A concrete module declares its network, loss and metrics; nothing else differs between tasks.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from math import isinf
from typing import Any, Literal, NamedTuple, cast

import torch
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.types import STEP_OUTPUT
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from lit_course.figures import Chart, Seen, charts_of
from lit_course.mean_loss import mean_loss
from lit_course.modules.at_rest import at_rest
from lit_course.modules.batch import check_weight, unpack
from lit_course.modules.declared import DeclaredModule
from lit_course.modules.global_batch import global_mean
from lit_course.modules.lean_loop import LeanEpochLoop
from lit_course.modules.position import Update
from lit_course.modules.raw_input import read_batches
from lit_course.modules.survey import Survey
from lit_course.modules.transfer import load_weights
from lit_course.stage_metrics import (
    StageMetrics,
)

Stage = Literal["train", "val", "test"]
ROWS_AT_ONCE = 1024


class Step(NamedTuple):
    """One batch: its mean loss, what that was divided by, the outputs and the targets."""

    loss: Tensor
    weight: Tensor | int
    outputs: Tensor
    target: Tensor


class SupervisedModule(DeclaredModule):
    """What every module here shares. Abstract: use a concrete one, or subclass it in three places.

    ``configure_network``, ``configure_loss`` and ``configure_metrics`` may be overridden.

    The batch is ``(x, y)`` or ``(x, y, extras)``; ``x`` is raw, scaling is the network's own.
    ``extras["weight"]`` ``(B,)``, not negative, weighs the samples in the loss: every mean of it is
    the weighted one. Other metrics and the statistics of the scaling count all samples alike.
    Every reported value ``<stage>/<metric>`` is of the whole split, never a mean of batch values.
    """

    lean_loop = True  # False: Lightning's own loop over the batches, see ``lean_loop.py``
    _checked: frozenset[Stage] = frozenset()  # stages whose first batch was looked at

    # ------------------------------------------------------------- what a task declares

    @abstractmethod
    def check_target(self, y: Tensor, outputs: Tensor) -> Tensor:
        """Bring targets into the one shape and dtype that the loss takes, or refuse them."""

    def read(self, batch: Any) -> tuple[Tensor, Tensor, Tensor | None]:
        """Inputs, targets and, where there are any, the weights of the samples ``(B,)``."""
        return unpack(batch)

    def outputs_of(self, x: Tensor) -> Tensor:
        """What the loss takes of raw features ``(B, ...)``."""
        outputs: Tensor = self(x)
        return outputs

    def loss_target(self, y: Tensor) -> Tensor:
        """Targets as the loss takes them."""
        return y

    def mean_loss(
        self, outputs: Tensor, y: Tensor, sample_weight: Tensor | None
    ) -> tuple[Tensor, Tensor | int]:
        """The mean loss of a batch, and what it was divided by."""
        return mean_loss(self.loss, outputs, self.loss_target(y), sample_weight)

    @property
    @abstractmethod
    def output_names(self) -> list[str]:
        """A name for each column of the answers: the classes, or the targets."""

    @abstractmethod
    def answers(self, outputs: Tensor) -> dict[str, Tensor]:
        """What the network's outputs say of each sample, by name, in original units."""

    def predictions(self, outputs: Tensor) -> dict[str, Any]:
        """What ``predict_step`` gives for the network's outputs: answers, and what names them."""
        return dict(self.answers(outputs))

    @abstractmethod
    def predict(self, x: Any, batch_size: int = ROWS_AT_ONCE) -> NDArray[Any]:
        """The answer for each sample, see ``answers_to`` for the arguments."""

    def before_report(self, stage: Stage, metrics: StageMetrics) -> dict[str, Tensor]:
        """Look at a whole split before its values are computed; say what to report beside them."""
        return {}

    def after_report(self, stage: Stage, metrics: StageMetrics) -> None:
        """Say what the numbers alone would hide."""

    def charts(self, seen: Seen) -> Iterator[Chart]:
        """Figures of a split, and of the model as it is, see ``callbacks/figures.py``."""
        return charts_of(seen, self.output_names, self.output_names)

    def penalty(self) -> Tensor | None:
        """What training adds to the loss, reported apart from it."""
        return None

    def learn(self, survey: Survey) -> None:
        """Take from the training data what the arguments left to it, before the first step."""

    # ------------------------------------------------------------- steps

    def _step(self, batch: Any, stage: Stage, report: bool = True) -> Step:
        """Outputs and loss of a batch."""
        x, y, sample_weight = self.read(batch)
        first = stage not in self._checked
        if first and not x.isfinite().all():
            raise ValueError("features must be finite, found NaN or infinity: drop or fill them")
        outputs = self.outputs_of(x)
        y = self.check_target(y, outputs)
        if first:
            self.check_values(y)
            if sample_weight is not None:
                check_weight(sample_weight)
            if stage == "train":
                self.trained_on_uint8 = x.dtype == torch.uint8
            self._checked |= {stage}
        loss, weight = self.mean_loss(outputs, y, sample_weight)
        if report:
            self._stage_metrics(stage).add(outputs, y, loss, weight)
        return Step(loss, weight, outputs, y)

    def _stage_metrics(self, stage: Stage) -> StageMetrics:
        metrics: StageMetrics = getattr(self, f"{stage}_metrics")
        return metrics

    def training_step(self, batch: Any, batch_idx: int) -> STEP_OUTPUT:
        """One batch of training: the loss, and the penalty if there is one."""
        # LBFGS evaluates a batch several times an update; the first one is reported.
        first = self._update.loss is None
        step = self._step(batch, "train", report=first)
        loss = global_mean(step.loss, step.weight)
        if first:
            self._update.loss = loss.detach()
        penalty = self.penalty()
        return loss if penalty is None else loss + penalty

    def validation_step(self, batch: Any, batch_idx: int) -> STEP_OUTPUT:
        """One batch of validation: loss, answers and ``target``."""
        return self._evaluated(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> STEP_OUTPUT:
        """One batch of the test: loss, answers and ``target``."""
        return self._evaluated(batch, "test")

    def evaluate(self, batch: Any) -> dict[str, Tensor]:
        """What a step of validation returns for a batch; nothing is reported."""
        return self._evaluated(batch, "train", report=False)

    def _evaluated(self, batch: Any, stage: Stage, report: bool = True) -> dict[str, Tensor]:
        step = self._step(batch, stage, report)
        return {"loss": step.loss, **self.answers(step.outputs), "target": step.target}

    def predict_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Answers for one batch; targets, if it has them, are not looked at."""
        x = batch[0] if isinstance(batch, list | tuple) else batch
        return self.predictions(self.outputs_of(x))

    def answers_to(self, x: Any, batch_size: int = ROWS_AT_ONCE) -> dict[str, NDArray[Any]]:
        """Ask the model: evaluation mode, no gradients; both are as before afterwards.

        Args:
            x: Raw features ``(N, ...)`` as in training: an array, a tensor on any device, or a data
                frame of polars, pandas or pyarrow with the raw columns, in any order. To a model
                that was trained on uint8 images other integers are such bytes too, and floats
                fractions of 255; to one that was trained on numbers uint8 are numbers.
            batch_size: The most samples to hold on the model's device. It changes last bits only.

        Returns:
            What ``answers`` says of all samples.

        Raises:
            RuntimeError: If the model has no layers yet.
            TypeError: If these are no features.
            ValueError: If the model takes others, or one is not finite, masked or no code of its
                table; rows count from 0.
        """
        self.check_built()
        in_features = getattr(self, "in_features", None)
        found: dict[str, list[Tensor]] = {}
        with at_rest(self):
            batches = read_batches(x, in_features, self.schema, batch_size, self.trained_on_uint8)
            for batch in batches:
                for name, values in self.answers(self.outputs_of(batch.to(self.device))).items():
                    found.setdefault(name, []).append(values.cpu())
        return {name: torch.cat(parts).numpy() for name, parts in found.items()}

    # ------------------------------------------------------------- around the steps

    def setup(self, stage: str) -> None:
        """Begin again: look at new data, count from zero, forget what an interrupted run left."""
        self._checked = frozenset()
        self._update = Update()
        self._reported_before = {}
        if stage == "fit":
            LeanEpochLoop.install(self.trainer)
        if self.is_built:
            for metrics in (self.train_metrics, self.val_metrics, self.test_metrics):
                metrics.reset()

    def on_fit_start(self) -> None:
        """Log the hyperparameters, now that sizes are filled in."""
        for logger in self.loggers:
            logger.log_hyperparams(dict(self.hparams))
            logger.save()  # TensorBoard's keeps what is saved first

    def on_train_start(self) -> None:
        """Before the first step of a new training: start weights, then what the data must tell."""
        # A data module's own are logged in between: of a name in common the model's counts.
        data = getattr(self.trainer, "datamodule", None)
        if self.hparams.keys() & getattr(data, "hparams", {}).keys():
            for logger in self.loggers:
                logger.log_hyperparams(dict(self.hparams))
        self._rest_frozen_norms()  # Lightning leaves the modes as it found them
        if self.global_step:
            self.go_on()  # everything is in the checkpoint
            return
        if self.init_from is not None:
            new = load_weights(self, self.init_from)
            rank_zero_info(f"weights from {self.init_from}; new: {', '.join(new) or 'none'}")
            self.init_from = None  # a second fit goes on from where the first one ended
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
        self._update.loss = None

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Log the loss of a batch, without penalty, at every ``log_every_n_steps``-th update.

        Before the update, so that it is written whatever a callback does when the batch ends.
        """
        step = self.global_step
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # set on construction
        due = every and (step + 1) % every == 0 and step != self._update.logged
        if due and self._update.loss is not None:
            self._update.logged = step
            for logger in self.loggers:
                logger.log_metrics({"train/loss_step": float(self._update.loss)}, step)

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
            beside = self.before_report(stage, metrics)
            values = metrics.compute(details=not fitting) | beside
            if stage == "train" and (penalty := self.penalty()) is not None:
                values["penalty"] = penalty
            self.after_report(stage, metrics)
            metrics.reset()
        named = {f"{stage}/{name}": value.detach() for name, value in values.items()}
        # They are of all processes already; Lightning warns unless it may average them again.
        logger = False if stage == "train" else None
        self.log_dict(named, batch_size=1, logger=logger, sync_dist=True)
        if stage == "train":
            self._log_epoch(named)
        if fitting:
            self.advance_schedule(named, epoch_ended=stage == "train")

    def _log_epoch(self, values: Mapping[str, Tensor]) -> None:
        """Write the numbers of an epoch before its checkpoint is; Lightning would behind it."""
        scalars = {name: float(value) for name, value in values.items()}
        for logger in self.loggers if values else ():
            scalars["epoch"] = self.current_epoch
            logger.log_metrics(scalars, max(self.global_step - 1, 0))
            logger.save()
