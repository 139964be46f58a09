"""What a task reports, which way is better, and how a stage gathers it over the whole split.

Metrics are torchmetrics objects: a ``MetricCollection`` fed with answers and targets. Answers are
probabilities ``(B, C)`` for more than two classes, the probability of class 1 ``(B,)`` for two,
and predictions ``(B,)`` or ``(B, K)`` in original units for regression.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric, MetricCollection
from torchmetrics.classification import (
    BinaryAccuracy,
    BinaryF1Score,
    BinaryPrecision,
    BinaryRecall,
    MulticlassAccuracy,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)
from torchmetrics.wrappers import ClasswiseWrapper

from lit_course.auroc import AUROC
from lit_course.decisions import DecisionMetrics, Threshold
from lit_course.names import nearest


class AveragedSquaredError(MeanSquaredError):
    """Mean squared error, or its root, of each target; averaged over targets."""

    def compute(self) -> Tensor:
        """The average, ``()``."""
        return super().compute().mean()


class R2(Metric):
    """Coefficient of determination of each target; NaN for fewer than two samples.

    A constant target gives 1 if it is met and 0 if not, as in scikit-learn. torchmetrics' own
    takes every spread below 1e-4 for constant.

    Args:
        num_outputs: Number of targets.
    """

    higher_is_better = True
    full_state_update = False

    count: Tensor
    sums: Tensor
    squares: Tensor
    residuals: Tensor

    def __init__(self, num_outputs: int = 1) -> None:
        super().__init__()
        self.add_state("count", default=torch.zeros(()), dist_reduce_fx="sum")
        for name in ("sums", "squares", "residuals"):
            self.add_state(name, default=torch.zeros(num_outputs), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add float64 predictions ``(B, K)`` and targets ``(B, K)``."""
        target = target.to(preds.dtype)
        self.count += len(target)
        self.sums += target.sum(0)
        self.squares += target.square().sum(0)
        self.residuals += (target - preds).square().sum(0)

    def compute(self) -> Tensor:
        """R² of each target, ``(K,)``."""
        if self.count < 2:
            return self.residuals * torch.nan
        spread = self.squares - self.sums.square() / self.count
        constant = spread <= 10 * torch.finfo(spread.dtype).eps * self.squares
        met = (self.residuals == 0).to(spread.dtype)
        return torch.where(constant, met, 1 - self.residuals / spread)


class AveragedR2(R2):
    """Coefficient of determination of each target; averaged over targets."""

    def compute(self) -> Tensor:
        """The average, ``()``."""
        return super().compute().mean()


def half() -> float:
    """The threshold unless another one is asked for."""
    return 0.5


class PerClass(MetricCollection):
    """Metrics of every class, fed with answers.

    Args:
        metrics: Metrics by name.
        threshold: Of two classes, what the probability of class 1 must be above.
    """

    def __init__(
        self, metrics: dict[str, Metric | MetricCollection], threshold: Threshold = half
    ) -> None:
        super().__init__(metrics, compute_groups=False)
        self.threshold = threshold

    # torchmetrics overrides torch's ModuleDict.update in the same way.
    def update(self, answers: Tensor, target: Tensor) -> None:  # type: ignore[override]
        """Add answers, see the head of this file, and int64 labels ``(B,)``."""
        of_two = answers.ndim == 1
        predicted = (answers > self.threshold()).long() if of_two else answers.argmax(1)
        super().update(predicted, target)


def probabilities(outputs: Tensor) -> Tensor:
    """Outputs of a classifier to class probabilities ``(B, C)``, float32.

    Args:
        outputs: Logits or log-probabilities ``(B, C)``, or one logit ``(B, 1)`` for two classes.
    """
    outputs = outputs.float()
    if outputs.shape[1] > 1:
        # A softmax; of few columns torch's own takes a processor three times as long.
        likelihoods = (outputs - outputs.amax(1, keepdim=True)).exp()
        return likelihoods / likelihoods.sum(1, keepdim=True)
    positive = outputs.sigmoid()
    return torch.cat([1 - positive, positive], 1)


def class_answers(outputs: Tensor) -> Tensor:
    """Outputs of a classifier to what classification metrics take, see the head of this file."""
    p = probabilities(outputs)
    return p[:, 1] if p.shape[1] == 2 else p


def regression_answers(outputs: Tensor) -> Tensor:
    """Outputs ``(B, K)`` of a regressor to float64 predictions."""
    return outputs.double()


def classification_metrics(num_classes: int, threshold: Threshold = half) -> MetricCollection:
    """Accuracy, F1, precision, recall and AUROC.

    Accuracy is the fraction correct. For two classes the others are of class 1, for more the
    macro average over the classes that occur among targets or predictions, as scikit-learn's
    are with its default labels.

    Args:
        num_classes: Number of classes, at least 2.
        threshold: Of two classes, what the probability of class 1 must be above.
    """
    # The groups are told: torchmetrics would find them by comparing states after the first batch,
    # and merge metrics that agree there by chance (Lightning-AI/torchmetrics issue 2916).
    groups = [["accuracy"], ["f1", "precision", "recall"], ["auroc"]]
    if num_classes == 2:
        of_two: dict[str, Metric | MetricCollection] = {
            "accuracy": BinaryAccuracy(validate_args=False),
            "f1": BinaryF1Score(validate_args=False),
            "precision": BinaryPrecision(validate_args=False),
            "recall": BinaryRecall(validate_args=False),
            "auroc": AUROC(2),
        }
        return DecisionMetrics(threshold, of_two, compute_groups=groups)
    metrics: dict[str, Metric | MetricCollection] = {
        "accuracy": MulticlassAccuracy(num_classes, average="micro", validate_args=False),
        "f1": MulticlassF1Score(num_classes, average="macro", validate_args=False),
        "precision": MulticlassPrecision(num_classes, average="macro", validate_args=False),
        "recall": MulticlassRecall(num_classes, average="macro", validate_args=False),
        "auroc": AUROC(num_classes),
    }
    return MetricCollection(metrics, compute_groups=groups)


def per_class_metrics(
    num_classes: int, class_names: Sequence[str], threshold: Threshold = half
) -> MetricCollection:
    """F1, precision and recall of every class, named ``f1/<class>`` and so on.

    Args:
        num_classes: Number of classes, at least 2.
        class_names: A name for each.
        threshold: Of two classes, what the probability of class 1 must be above.
    """
    metrics: dict[str, Metric] = {
        "f1": MulticlassF1Score(num_classes, average=None, validate_args=False),
        "precision": MulticlassPrecision(num_classes, average=None, validate_args=False),
        "recall": MulticlassRecall(num_classes, average=None, validate_args=False),
    }
    names = list(class_names)
    named: dict[str, Metric | MetricCollection] = {
        key: ClasswiseWrapper(metric, names, prefix=f"{key}/") for key, metric in metrics.items()
    }
    return PerClass(named, threshold)


def regression_metrics(num_outputs: int = 1) -> MetricCollection:
    """MAE, MSE, RMSE and R² in the units of the target, averaged over several targets.

    Sums are kept in float64: in float32 R² is wrong where the spread is small beside the mean.

    Args:
        num_outputs: Number of targets.
    """
    metrics = MetricCollection(
        {
            "mae": MeanAbsoluteError(),
            "mse": AveragedSquaredError(num_outputs=num_outputs),
            "rmse": AveragedSquaredError(squared=False, num_outputs=num_outputs),
            "r2": AveragedR2(num_outputs),
        },
        compute_groups=[["mae"], ["mse", "rmse"], ["r2"]],
    )
    return metrics.set_dtype(torch.float64)


def per_target_metrics(target_names: Sequence[str]) -> MetricCollection:
    """MAE, MSE, RMSE and R² of every target, named ``mae/<target>`` and so on.

    Args:
        target_names: A name for each target; two at least.
    """
    names, count = list(target_names), len(target_names)
    metrics: dict[str, Metric] = {
        "mae": MeanAbsoluteError(num_outputs=count),
        "mse": MeanSquaredError(num_outputs=count),
        "rmse": MeanSquaredError(squared=False, num_outputs=count),
        "r2": R2(count),
    }
    named: dict[str, Metric | MetricCollection] = {
        key: ClasswiseWrapper(metric.set_dtype(torch.float64), names, prefix=f"{key}/")
        for key, metric in metrics.items()
    }
    return MetricCollection(named, compute_groups=False)


def higher_is_better(name: str, metrics: MetricCollection) -> bool:
    """Which way a reported value is better.

    Args:
        name: Its name without the stage: ``loss``, ``accuracy``, ``mae``.
        metrics: What the module reports beside the loss.

    Raises:
        ValueError: If it is not reported, or its metric does not know.
    """
    if name == "loss":
        return False
    reported = {key: metric.higher_is_better for key, metric in metrics.items(keep_base=True)}
    if reported.get(name) is None:
        known = ", ".join(["loss", *(key for key, up in reported.items() if up is not None)])
        raise ValueError(f"no metric {name!r} to monitor{nearest(name, reported)}\nknown: {known}")
    return bool(reported[name])
