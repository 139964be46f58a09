"""A classifier for scikit-learn."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets

from lit_course.modules import MLPClassifier
from lit_course.modules.decision_threshold import GivenThreshold
from lit_course.schedules import Interval
from lit_course.sklearn.perceptron import PerceptronEstimator
from lit_course.sklearn.validation import validated


class LitMLPClassifier(ClassifierMixin, PerceptronEstimator):  # type: ignore[misc]
    """``MLPClassifier`` as a scikit-learn estimator.

    All arguments not listed here are those of ``MLPClassifier``, with its defaults. Features are
    taken as float32 whatever they come as, labels may be numbers or texts.

    Args:
        hidden_features: Width of each hidden layer; ``()`` is a linear classifier.
        class_weights: One weight per class in the order of ``classes_``, or ``balanced``.
        threshold: For two classes, what the probability of ``classes_[1]`` must be above for it to
            be the answer; ``tune`` finds it on the rows that ``val_size`` holds out.
        max_epochs: Most passes over the rows.
        batch_size: Rows of a step.
        drop_last: Whether an epoch leaves out a last batch that is smaller.
        val_size: Rows of ``fit`` held out for validation: a fraction, or an integer count;
            classes keep their shares.
        early_stopping: End after this many epochs in which ``monitor`` did not improve, and go back
            to the best; None trains all of them.
        accelerator: Where to train, as of Lightning's Trainer: ``auto``, ``cpu``, ``gpu``.
        random_state: Seed of weights, batches and dropout; an integer is the seed itself.

    Attributes:
        module_: The fitted ``MLPClassifier``, which any Trainer can take on.
        classes_: The labels ``(C,)``, sorted.
        n_iter_: Epochs trained.
        n_features_in_: Number of features.
        feature_names_in_: Their names, where ``fit`` was given a DataFrame.
    """

    MODULE = MLPClassifier
    module_: MLPClassifier
    classes_: NDArray[Any]

    def __init__(
        self,
        hidden_features: tuple[int, ...] = (512, 512),
        activation: str = "relu",
        normalization: Literal["batch", "layer"] | None = None,
        dropout: float = 0.0,
        initialization: str | None = None,
        output_activation: str | None = None,
        standardize: bool = True,
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
        freeze: tuple[str, ...] = (),
        init_from: str | None = None,
        max_epochs: int = 20,
        batch_size: int = 64,
        drop_last: bool = False,
        val_size: int | float = 0,
        early_stopping: int | None = None,
        accelerator: str = "auto",
        random_state: int | RandomState | None = None,
    ) -> None:
        self.hidden_features = hidden_features
        self.activation = activation
        self.normalization = normalization
        self.dropout = dropout
        self.initialization = initialization
        self.output_activation = output_activation
        self.standardize = standardize
        self.loss = loss
        self.loss_options = loss_options
        self.label_smoothing = label_smoothing
        self.class_weights = class_weights
        self.threshold = threshold
        self.optimizer = optimizer
        self.lr = lr
        self.optimizer_options = optimizer_options
        self.lr_scheduler = lr_scheduler
        self.lr_scheduler_options = lr_scheduler_options
        self.lr_interval = lr_interval
        self.lr_frequency = lr_frequency
        self.warmup_steps = warmup_steps
        self.monitor = monitor
        self.freeze = freeze
        self.init_from = init_from
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.val_size = val_size
        self.early_stopping = early_stopping
        self.accelerator = accelerator
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train on rows ``(N, D)`` and labels ``(N,)``.

        Args:
            X: Finite numbers, an array or a DataFrame.
            y: Labels of two classes at least.
            sample_weight: Weight of each row in the loss, ``(N,)``, not negative.

        Raises:
            ValueError: If the data or an argument is refused, in one line.
        """
        x, given = validated(self, X, y, ensure_min_samples=2)
        check_classification_targets(given)
        self.classes_, labels = np.unique(given, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"a classifier needs two classes, y has 1 class: {self.classes_[0]!r}")
        names = {
            "num_classes": len(self.classes_),
            "class_names": [str(label) for label in self.classes_],
        }
        return self._fit(x, labels, sample_weight, {}, **names)

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Probability of each class, ``(N, C)``, in the order of ``classes_``."""
        outputs = self._asked(X)
        if outputs.shape[1] > 1:
            return outputs.softmax(1).numpy()
        positive = outputs.sigmoid()
        return torch.cat([1 - positive, positive], 1).numpy()

    def predict_log_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Logarithm of the probability of each class, ``(N, C)``; -inf of a probability 0."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The label of each row, ``(N,)``."""
        p = self.predict_proba(X)
        of_two = p.shape[1] == 2
        chosen = p[:, 1] > self.module_.decision_threshold if of_two else p.argmax(1)
        labels: NDArray[Any] = self.classes_.take(chosen)
        return labels
