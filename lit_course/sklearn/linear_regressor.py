"""Linear regression for scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from lit_course.modules import LinearRegressor
from lit_course.modules.solvable import Solver
from lit_course.schedules import Interval
from lit_course.sklearn.regressor import RegressorEstimator
from lit_course.target_scaling import TargetTransform


class LitLinearRegressor(RegressorEstimator):
    """``LinearRegressor`` as a scikit-learn estimator, of one target or several.

    All arguments not listed here are those of ``LinearRegressor``, with its defaults. Features and
    targets are taken as float32 whatever they come as; the exact solution answers in float64.

    Args:
        solver: ``exact`` solves for the least squares, with ``l2``; ``gradient`` trains, as the
            module does where nothing else is said: for other losses and ``l1``.
        max_epochs: Most passes over the rows.
        batch_size: Rows of a step.
        drop_last: Whether an epoch leaves out a last batch that is smaller.
        val_size: Rows of ``fit`` held out for validation: a fraction, or an integer count.
        early_stopping: End after this many epochs in which ``monitor`` did not improve, and go back
            to the best; None trains all of them.
        accelerator: Where to train, as of Lightning's Trainer: ``auto``, ``cpu``, ``gpu``.
        random_state: Seed of weights, batches and dropout; an integer is the seed itself.

    Attributes:
        module_: The fitted ``LinearRegressor``, which any Trainer can take on.
        coef_: Weight of each (polynomial) feature in original units, ``(D,)`` or ``(T, D)``.
        intercept_: The prediction where all features are 0, ``()`` or ``(T,)``.
        n_iter_: Epochs trained; 1 of the exact solution.
        n_features_in_: Number of features.
        feature_names_in_: Their names, where ``fit`` was given a DataFrame.
    """

    MODULE = LinearRegressor
    module_: LinearRegressor

    def __init__(
        self,
        degree: int = 1,
        bias: bool = True,
        standardize: bool = True,
        target_transform: TargetTransform = "identity",
        initial_weights: list[float] | None = None,
        solver: Solver = "exact",
        loss: str = "mse",
        loss_options: dict[str, Any] | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
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
        self.degree = degree
        self.bias = bias
        self.standardize = standardize
        self.target_transform = target_transform
        self.initial_weights = initial_weights
        self.solver = solver
        self.loss = loss
        self.loss_options = loss_options
        self.l1 = l1
        self.l2 = l2
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

    @property
    def coef_(self) -> NDArray[np.float64]:
        """Weight of each (polynomial) feature in original units, ``(D,)``, of targets ``(T, D)``.

        Of a ``target_transform`` ``log`` it is that of log(1 + y).
        """
        return np.stack(self._line()[:-1], axis=-1)

    @property
    def intercept_(self) -> NDArray[np.float64]:
        """The prediction where all features are 0, ``()``, of several targets ``(T,)``."""
        return self._line()[-1]

    def _line(self) -> list[NDArray[np.float64]]:
        check_is_fitted(self)
        return [value.numpy() for value in self.module_.coefficients().values()]

    def _outputs(self, x: Tensor) -> Tensor:
        network, linear = self.module_.network, self.module_.network.linear
        exact = self.solver == "exact" and self.module_.exact.is_of(linear)
        solved = self.module_.exact if exact else linear
        columns = network.columns(x)
        outputs = columns @ solved.weight.double().T
        return outputs if solved.bias is None else outputs + solved.bias.double()
