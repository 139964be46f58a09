"""Multilayer perceptron for classification."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics import MetricCollection

from lit_course.decisions import DecisionMetrics
from lit_course.losses import CLASSIFICATION_LOSSES, make_loss
from lit_course.metrics import (
    class_answers,
    classification_metrics,
    per_class_metrics,
    probabilities,
)
from lit_course.modules.base import ROWS_AT_ONCE, Stage
from lit_course.modules.class_labels import class_labels
from lit_course.modules.decision_threshold import DecisionThreshold, GivenThreshold
from lit_course.modules.hyperparameters import check_size, plain
from lit_course.modules.perceptron import PerceptronModule, widths
from lit_course.modules.survey import Survey
from lit_course.schedules import (
    Interval,
)
from lit_course.stage_metrics import (
    StageMetrics,
)


class MLPClassifier(PerceptronModule):
    """Multilayer perceptron for two or more classes.

    Takes raw features, ``(B, D)`` or images ``(B, C, H, W)``, flattens and scales them itself, and
    gives logits ``(B, num_classes)`` (with the loss ``bce`` one logit ``(B, 1)``). Targets are
    integer labels ``(B,)`` from 0 to ``num_classes - 1``.

    Reports loss, accuracy, F1, precision, recall and AUROC of every split: for two classes of
    class 1, for more the macro average, as scikit-learn with its default labels.

    Args:
        in_features: Features per sample after flattening; left out, the data module says it.
        num_classes: Number of classes; left out, the data module says it.
        hidden_features: Width of each hidden layer; ``[]`` is a linear classifier.
        activation: relu, gelu, silu, elu, leaky_relu, mish, selu, sigmoid, tanh or identity.
        normalization: ``batch`` or ``layer`` after every hidden linear layer, or null.
        dropout: Probability of dropping a hidden unit in training, in [0, 1).
        initialization: kaiming_normal, kaiming_uniform, xavier_normal, xavier_uniform or
            orthogonal for the weights, with biases at zero; null keeps torch's own.
        output_activation: ``relu`` after the last layer (the course's fault, to be seen), or null.
            The loss ``nll`` brings its own ``log_softmax``.
        standardize: Subtract the training mean and divide by the training deviation of every
            feature (of every channel of an image), inside the network.
        one_hot_levels: The most levels that a category of a table may have to get an input for
            each; of more it gets a learned vector.
        loss: ``cross_entropy``, ``nll``, ``bce`` (two classes, one logit) or ``focal``.
        loss_options: Options of the loss: ``gamma`` and ``alpha`` of ``focal``.
        label_smoothing: Share of the target spread over all classes, in [0, 1); cross_entropy, bce.
        class_weights: One weight per class, or ``balanced``: inversely proportional to the number
            of training samples of the class, as in scikit-learn; weights of samples do not change
            it, and multiply it.
        threshold: For two classes, what the probability of class 1 must be above for it to be the
            answer, in [0, 1). ``tune``: the one with the best F1 on the validation split, found
            anew at the end of each validation of a fit, halfway between two probabilities, of
            equally good ones the highest. That report is with it already, and the checkpoint has
            it. On a split of one class it stays as it was. AUROC and the loss know no threshold.
        optimizer: Name of an optimizer of ``torch.optim``.
        lr: Learning rate.
        optimizer_options: Its other options, as torch names them.
        lr_scheduler: Name of a schedule of ``torch.optim.lr_scheduler``, or ``LinearDecay``.
        lr_scheduler_options: Its options, as torch names them; lengths may be left out.
        lr_interval: Whether the schedule counts epochs or optimizer steps. ReduceLROnPlateau
            counts validations.
        lr_frequency: Step the schedule at every n-th of these.
        warmup_steps: The first updates run at (t + 1) / warmup_steps of the rate.
        monitor: What drives plateau schedule, best checkpoint and early stopping; null is
            ``val/loss``, without validation data ``train/loss``.
        freeze: Glob patterns over parameter names, such as ``network.linear1.*``.
        init_from: Checkpoint, or a run's folder, to start the weights from; what does not fit
            starts new.
        schema: Names of features and classes, filled in from the data module.

    Raises:
        ValueError: If arguments are unknown or contradict each other.
    """

    SIZES = ("in_features", "num_classes")

    def __init__(
        self,
        in_features: int | None = None,
        num_classes: int | None = None,
        hidden_features: list[int] = [512, 512],  # noqa: B006  # read only; shown by --help
        activation: str = "relu",
        normalization: Literal["batch", "layer"] | None = None,
        dropout: float = 0.0,
        initialization: str | None = None,
        output_activation: str | None = None,
        standardize: bool = True,
        one_hot_levels: int = 20,
        loss: str = "cross_entropy",
        loss_options: dict[str, Any] | None = None,
        label_smoothing: float = 0.0,
        class_weights: list[float] | Literal["balanced"] | None = None,
        threshold: GivenThreshold = 0.5,
        optimizer: str = "Adam",
        lr: float = 1e-3,
        optimizer_options: dict[str, Any] | None = None,
        lr_scheduler: str | None = None,
        lr_scheduler_options: dict[str, Any] | None = None,
        lr_interval: Interval = "epoch",
        lr_frequency: int = 1,
        warmup_steps: int = 0,
        monitor: str | None = None,
        freeze: list[str] = [],  # noqa: B006  # read only
        init_from: str | None = None,
        schema: dict[str, Any] | None = None,
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
            freeze=freeze,
            init_from=init_from,
            schema=schema,
        )
        self.save_hyperparameters(logger=False)
        self.in_features = in_features
        self.num_classes = num_classes
        self.hidden_features = widths(hidden_features)
        self.activation = activation
        self.normalization = normalization
        self.dropout = dropout
        self.initialization = initialization
        self.output_activation = output_activation
        self.standardize = standardize
        self.one_hot_levels = one_hot_levels
        self.loss_name = loss
        self.loss_options = dict(loss_options or {})
        self.label_smoothing = label_smoothing
        self.class_weights = plain("class_weights", class_weights)
        self.threshold = threshold
        self.decision = DecisionThreshold(threshold)
        self._check_names()
        self._check_loss()
        self.declare()

    def _check_names(self) -> None:
        """Refuse names and sizes now, not once the data has said the rest."""
        self.check_layers()
        check_size("num_classes", self.num_classes, 2)
        make_loss(
            self.loss_name,
            CLASSIFICATION_LOSSES,
            self.loss_options,
            class_weights=self.class_weights if isinstance(self.class_weights, list) else None,
            label_smoothing=self.label_smoothing,
        )

    def _check_loss(self) -> None:
        if self.loss_name == "bce" and self.num_classes not in (None, 2):
            raise ValueError(
                f"loss 'bce' is for two classes, found num_classes={self.num_classes}: "
                "use cross_entropy"
            )
        if self.threshold != 0.5 and self.num_classes not in (None, 2):
            raise ValueError(
                f"threshold is for two classes, found num_classes={self.num_classes}: leave it "
                "out, the answer is the most probable class"
            )
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing is a share in [0, 1), found {self.label_smoothing}")
        taken = "log_softmax" if self.loss_name == "nll" else "relu"
        if self.output_activation not in (None, taken):
            raise ValueError(
                f"output_activation {self.output_activation!r} contradicts loss "
                f"{self.loss_name!r}: leave it out"
                + (
                    ", nll brings its own log_softmax"
                    if self.loss_name == "nll"
                    else f" (or give {taken!r}), {self.loss_name} works on logits"
                )
            )
        weights = self.class_weights
        if isinstance(weights, str) and weights != "balanced":
            raise ValueError(f"class_weights must be a list or 'balanced', found {weights!r}")

    def configure_network(self) -> nn.Module:
        """An ``MLP`` from raw features to logits (log-probabilities for ``nll``)."""
        assert self.num_classes is not None
        return self.make_layers(
            1 if self.loss_name == "bce" else self.num_classes,
            "log_softmax" if self.loss_name == "nll" else self.output_activation,
        )

    @classmethod
    def weight_shapes(cls, arguments: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """Shapes of the weights of an ``MLP``."""
        if cls.configure_network is not MLPClassifier.configure_network:
            return {}
        outputs = 1 if arguments.get("loss") == "bce" else arguments.get("num_classes")
        return cls.layer_shapes(arguments, outputs)

    def configure_loss(self) -> nn.Module:
        """The loss by name, its class weights a buffer."""
        self._check_loss()  # the number of classes may have come since
        weights = self.class_weights
        loss = make_loss(
            self.loss_name,
            CLASSIFICATION_LOSSES,
            self.loss_options,
            class_weights=[1.0] * (self.num_classes or 0) if weights == "balanced" else weights,
            label_smoothing=self.label_smoothing,
        )
        taken = loss.get_buffer("class_weights")
        if taken is not None and len(taken) != self.num_classes:
            raise ValueError(
                f"class_weights (or focal's alpha) has {len(taken)} values for "
                f"{self.num_classes} classes: give one a class"
            )
        return loss

    def configure_metrics(self) -> MetricCollection:
        """Accuracy, F1, precision, recall, AUROC."""
        assert self.num_classes is not None
        return classification_metrics(self.num_classes, self.decision.get)

    def detail_metrics(self) -> MetricCollection:
        """F1, precision and recall of every class, by name."""
        names = self.class_names
        if len(names) != self.num_classes:
            raise ValueError(
                f"schema has {len(names)} class names for {self.num_classes} classes: "
                "give one a class"
            )
        return per_class_metrics(len(names), names, self.decision.get)

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, from the data module; their numbers where it has none."""
        names = self.schema.get("class_names")
        return list(names) if names else [str(c) for c in range(self.num_classes or 0)]

    @property
    def decision_threshold(self) -> float:
        """Of two classes, what the probability of class 1 must be above for it to be the answer."""
        return self.decision.get()

    @staticmethod
    def answer(outputs: Tensor) -> Tensor:
        """Probabilities, see ``metrics.py``."""
        return class_answers(outputs)

    @property
    def output_names(self) -> list[str]:
        """The classes."""
        return self.class_names

    def check_target(self, y: Tensor, outputs: Tensor) -> Tensor:
        """Labels as int64 ``(B,)``.

        Raises:
            ValueError: If they are of another shape, or not integers.
        """
        if y.shape != outputs.shape[:1]:
            raise ValueError(
                f"labels must be of shape ({len(outputs)},), found {tuple(y.shape)}: "
                "give the number of the class for each sample"
            )
        if y.is_floating_point() or y.is_complex():
            raise ValueError(f"labels must be integers, found {y.dtype}: convert them with .long()")
        return y.long()

    def check_values(self, y: Tensor) -> None:
        """Refuse labels outside of 0 to ``num_classes - 1``."""
        assert self.num_classes is not None
        outside = (y < 0) | (y >= self.num_classes)
        if outside.any():
            raise ValueError(
                f"labels must be in 0..{self.num_classes - 1}, found {int(y[outside][0])}: "
                "number the classes from 0, or give num_classes"
            )

    def learn(self, survey: Survey) -> None:
        """Balanced class weights: ``samples / (classes · samples of the class)``.

        Raises:
            ValueError: If there is nothing to tune the threshold on.
        """
        if self.decision.is_tuned and not self._validates():
            raise ValueError(
                "threshold 'tune' needs a validation split: hold rows out with val_size, or give "
                "a number"
            )
        super().learn(survey)
        if self.class_weights != "balanced":
            return
        assert self.num_classes is not None
        buffer = self.loss.class_weights
        assert isinstance(buffer, Tensor)
        counts = torch.zeros(self.num_classes)
        counts[: len(survey.class_counts)] = survey.class_counts.float()
        # A class that is never seen has no sample to weigh.
        weights = (counts.sum() / (self.num_classes * counts)).where(counts > 0, 1.0)
        buffer.copy_(weights)

    def before_report(self, stage: Stage, metrics: StageMetrics) -> dict[str, Tensor]:
        """Tune the threshold on the validation split; decide by it what was decided before."""
        if not self.decision.is_tuned or self.trainer.state.fn != "fit":
            return {}
        decided = metrics.metrics
        if not isinstance(decided, DecisionMetrics):
            raise ValueError(
                f"threshold 'tune' looks at the metrics of MLPClassifier, and "
                f"{type(self).__name__} makes others: give a number"
            )
        metrics.feed()
        if stage == "val" and not self.decision.tune(decided):
            rank_zero_warn(
                "the validation split has one class only: the threshold stays at "
                f"{self.decision_threshold:g}"
            )
        decided.decide_again()
        return {"threshold": self.decision.value.clone()} if stage == "val" else {}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take one with or without a tuned threshold; its own is needed unless it is tuned now."""
        super().on_load_checkpoint(checkpoint)
        weights, name = checkpoint["state_dict"], "decision.value"
        if not self.decision.is_tuned:
            weights.pop(name, None)
        elif name not in weights:
            if self._trainer is not None and not self._is_fitting():
                raise ValueError(
                    "the checkpoint has no tuned threshold: give a number, or fit with "
                    "threshold 'tune'"
                )
            weights[name] = self.decision.value

    def after_report(self, stage: Stage, metrics: StageMetrics) -> None:
        """Name the classes that AUROC had to leave out, when evaluating."""
        undefined = getattr(metrics.metrics, "auroc", None)
        left_out = [self.class_names[c] for c in getattr(undefined, "undefined", [])]
        if left_out and self.trainer.state.fn != "fit":
            rank_zero_warn(
                f"{stage}/auroc leaves out classes without positive or negative samples: "
                + ", ".join(left_out)
            )

    def answers(self, outputs: Tensor) -> dict[str, Tensor]:
        """Class ``(B,)`` int64 and probabilities ``(B, num_classes)``."""
        p = probabilities(outputs)
        of_two = p.shape[1] == 2
        classes = (p[:, 1] > self.decision.value).long() if of_two else p.argmax(1)
        return {"class": classes, "probabilities": p}

    def predictions(self, outputs: Tensor) -> dict[str, Any]:
        """Class ``(B,)`` int64, class name (list of B) and probabilities ``(B, num_classes)``."""
        answers, names = self.answers(outputs), self.class_names
        chosen = [names[c] for c in answers["class"].tolist()]
        return {"class": answers["class"], "class_name": chosen, **answers}

    @property
    def labels(self) -> NDArray[Any]:
        """What ``predict`` answers with, class by class: names, or the numbers that they are of."""
        return class_labels(self.class_names)

    def predict(self, x: Any, batch_size: int = ROWS_AT_ONCE) -> NDArray[Any]:
        """The label of each sample ``(N,)``: its class by name, or number where names are numbers.

        Arguments and errors are those of ``answers_to``.
        """
        labels: NDArray[Any] = self.labels[self.answers_to(x, batch_size)["class"]]
        return labels

    def predict_proba(self, x: Any, batch_size: int = ROWS_AT_ONCE) -> NDArray[Any]:
        """The probability of each class ``(N, num_classes)`` float32, in the order of ``labels``.

        Arguments and errors are those of ``answers_to``.
        """
        return self.answers_to(x, batch_size)["probabilities"]
