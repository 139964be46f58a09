"""A regressor for scikit-learn."""

from __future__ import annotations

from typing import Any, Literal

from numpy.random import RandomState

from lit_course.modules import MLPRegressor
from lit_course.schedules import Interval
from lit_course.sklearn.perceptron import PerceptronEstimator
from lit_course.sklearn.regressor import RegressorEstimator
from lit_course.target_scaling import TargetTransform


class LitMLPRegressor(RegressorEstimator, PerceptronEstimator):
    """``MLPRegressor`` as a scikit-learn estimator, of one target or several.

    All arguments not listed here are those of ``MLPRegressor``, with its defaults. Features and
    targets are taken as float32 whatever they come as.

    Args:
        hidden_features: Width of each hidden layer.
        max_epochs: Most passes over the rows.
        batch_size: Rows of a step.
        drop_last: Whether an epoch leaves out a last batch that is smaller.
        val_size: Rows of ``fit`` held out for validation: a fraction, or an integer count.
        early_stopping: End after this many epochs in which ``monitor`` did not improve, and go back
            to the best; None trains all of them.
        accelerator: Where to train, as of Lightning's Trainer: ``auto``, ``cpu``, ``gpu``.
        random_state: Seed of weights, batches and dropout; an integer is the seed itself.

    Attributes:
        module_: The fitted ``MLPRegressor``, which any Trainer can take on.
        n_iter_: Epochs trained.
        n_features_in_: Number of features.
        feature_names_in_: Their names, where ``fit`` was given a DataFrame.
    """

    MODULE = MLPRegressor
    module_: MLPRegressor

    def __init__(
        self,
        hidden_features: tuple[int, ...] = (512, 512),
        activation: str = "relu",
        normalization: Literal["batch", "layer"] | None = None,
        dropout: float = 0.0,
        initialization: str | None = None,
        standardize: bool = True,
        target_transform: TargetTransform = "standard",
        loss: str = "mse",
        loss_options: dict[str, Any] | None = None,
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
        self.standardize = standardize
        self.target_transform = target_transform
        self.loss = loss
        self.loss_options = loss_options
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
