"""Linear regression, by gradient descent or solved exactly."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from math import comb, inf, isfinite
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from lit_course.categories import categories, table_width
from lit_course.figures import Chart, Seen, coefficients
from lit_course.gather import gather
from lit_course.losses import REGRESSION_LOSSES, make_loss
from lit_course.modules.hyperparameters import check_size
from lit_course.modules.regressor import Regressor
from lit_course.modules.solvable import SolvableModule, Solver
from lit_course.modules.survey import Survey
from lit_course.networks import LinearModel
from lit_course.schedules import (
    Interval,
)
from lit_course.solvers import Batch, least_squares
from lit_course.target_scaling import TargetScaling, TargetTransform

MAX_DEGREE = 64
# Arguments that say how to take steps, or ask for another minimum than that of the squares.
OF_GRADIENTS = (
    "initial_weights",
    "target_transform",
    "loss",
    "loss_options",
    "l1",
    "optimizer",
    "lr",
    "optimizer_options",
    "lr_scheduler",
    "lr_scheduler_options",
    "lr_interval",
    "lr_frequency",
    "warmup_steps",
    "freeze",
    "init_from",
)


class LinearRegressor(SolvableModule, Regressor):
    """Linear regression, with polynomial features and penalties on request.

    Takes raw features ``(B, D)``, scales them itself, and gives predictions ``(B, out_features)``
    in original units. Targets are ``(B,)`` or ``(B, 1)`` for one output, ``(B, K)`` for K.

    Reports loss, MAE, MSE, RMSE and R² of every split, in original units.

    Args:
        in_features: Features per sample after flattening; left out, the data module says it.
        out_features: Number of targets.
        degree: Degree of the polynomial features, up to 64: all monomials up to it, as in
            scikit-learn.
        bias: Whether there is an intercept.
        standardize: Subtract the training mean and divide by the training deviation of every
            (polynomial) feature, inside the network. ``coefficients()`` undoes it.
        target_transform: ``standard`` trains on targets less the training mean by the training
            deviation, ``log`` on the same of log(1 + y), of targets ≥ 0. The loss and the penalties
            are then of these; predictions and the other metrics are in original units.
        initial_weights: The linear layer's weights in the order of the features, output after
            output, then its intercepts; null draws them as ``torch.nn.Linear`` does.
        solver: ``gradient`` trains; ``exact`` solves for the least squares, with ``l2``, in float64
            and one update. The fit ends with the epoch that measures the solution; whatever acts
            on steps (optimizer, rates, other losses, ``l1``) is refused with it.
        loss: ``mse``, ``l1``, ``smooth_l1`` or ``huber``.
        loss_options: Options of the loss: ``beta`` of ``smooth_l1``, ``delta`` of ``huber``.
        l1: Lasso's ``alpha``: training adds ``2 · l1 · sum|w|`` to the mean loss, so that
            with ``mse`` the minimum is that of scikit-learn's ``Lasso``.
        l2: Ridge's ``alpha``: training adds ``l2 / n · sum w²``, n the number of training
            samples (the sum of their weights, where they have any), so that with ``mse`` the
            minimum is that of scikit-learn's ``Ridge``. Both are of the standardised weights,
            never of the intercept, and divided by ``out_features`` as the mean loss is.
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
            ``val/loss``, without validation data ``train/loss``. Losses are without the penalty of
            ``l1`` and ``l2``, which is reported as ``train/penalty``.
        freeze: Glob patterns over parameter names, such as ``network.linear.bias``.
        init_from: Checkpoint, or a run's folder, to start the weights from; what does not fit
            starts new.
        schema: Names of features and targets, filled in from the data module.

    Raises:
        ValueError: If arguments are unknown or contradict each other.
    """

    network: LinearModel
    out_features: int

    def __init__(
        self,
        in_features: int | None = None,
        out_features: int = 1,
        degree: int = 1,
        bias: bool = True,
        standardize: bool = True,
        target_transform: TargetTransform = "identity",
        initial_weights: list[float] | None = None,
        solver: Solver = "gradient",
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
        if out_features < 1 or degree < 1:
            raise ValueError(
                f"out_features and degree must be at least 1, found {out_features} and {degree}"
            )
        if degree > MAX_DEGREE:
            raise ValueError(f"degree must be at most {MAX_DEGREE}, found {degree}")
        if not 0 <= l1 < inf or not 0 <= l2 < inf:
            raise ValueError(f"l1 and l2 must not be negative, and finite, found {l1} and {l2}")
        check_size("in_features", in_features, 1)
        self.in_features = in_features
        self.out_features = out_features
        self.degree = degree
        self.bias = bias
        self.standardize = standardize
        self.target_transform = target_transform
        self.initial_weights = initial_weights
        self.solver = solver
        self.loss_name = loss
        self.loss_options = dict(loss_options or {})
        self.l1 = l1
        self.l2 = l2
        make_loss(loss, REGRESSION_LOSSES, self.loss_options)  # refuse a bad name or option now
        TargetScaling(1, target_transform)
        self._check_solver()
        # Known when training starts; a buffer, so that a resumed run has the same penalty.
        self.num_samples: Tensor
        self.register_buffer("num_samples", torch.zeros((), dtype=torch.int64))
        self.mean_weight: Tensor
        self.register_buffer("mean_weight", torch.ones(()))
        self.declare()

    def _check_solver(self) -> None:
        if self.solver == "gradient":
            return
        if self.solver != "exact":
            raise ValueError(f"solver must be 'gradient' or 'exact', found {self.solver!r}")
        parameters = inspect.signature(LinearRegressor).parameters
        # None and an empty mapping or list both say: not given.
        given = {name: self.hparams.get(name) or None for name in OF_GRADIENTS}
        other = {n: v for n, v in given.items() if v not in (None, parameters[n].default)}
        if other:
            listed = ", ".join(f"{name} {value!r}" for name, value in other.items())
            raise ValueError(
                f"solver 'exact' finds the least squares without steps, and has no use for {listed}"
                ": leave that out, or take solver 'gradient'"
            )

    def configure_network(self) -> nn.Module:
        """A ``LinearModel`` from raw features to predictions."""
        assert self.in_features is not None
        model = LinearModel(
            self.in_features,
            self.out_features,
            degree=self.degree,
            bias=self.bias,
            standardize=self.standardize,
            categories=categories(self.schema),
        )
        if self.initial_weights is not None:
            parameters = list(model.linear.parameters())
            expected = sum(parameter.numel() for parameter in parameters)
            if len(self.initial_weights) != expected:
                raise ValueError(
                    f"initial_weights needs {expected} values, found {len(self.initial_weights)}: "
                    "the weights in the order of the features, then the intercept"
                )
            if not all(isfinite(value) for value in self.initial_weights):
                raise ValueError(f"initial_weights must be finite, found {self.initial_weights}")
            nn.utils.vector_to_parameters(torch.tensor(self.initial_weights), parameters)
        return model

    @classmethod
    def weight_shapes(cls, arguments: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """The shape of the weights of a ``LinearModel``."""
        if cls.configure_network is not LinearRegressor.configure_network:
            return {}
        coded = categories(arguments.get("schema") or {})
        features = table_width(arguments.get("in_features") or 0, coded)
        degree = arguments.get("degree", 1)
        width = comb(features + degree, min(degree, MAX_DEGREE)) - 1  # all monomials, no constant
        return {"network.linear.weight": (arguments.get("out_features", 1), width)}

    def configure_loss(self) -> nn.Module:
        """The loss by name."""
        return make_loss(self.loss_name, REGRESSION_LOSSES, self.loss_options)

    def learn(self, survey: Survey) -> None:
        """Count and weigh the training samples, which Ridge's penalty is relative to."""
        super().learn(survey)
        if self.l2 and self.solver != "exact":
            self.num_samples.fill_(survey.num_samples)
            self.mean_weight.fill_(survey.mean_weight)

    @property
    def solved_layer(self) -> nn.Linear:
        """The linear layer.

        Raises:
            ValueError: If a subclass made a network or a loss for which there is no exact solution.
        """
        if not isinstance(self.network, LinearModel) or not isinstance(self.loss, nn.MSELoss):
            raise ValueError(
                "solver 'exact' solves for the network and loss of LinearRegressor, and "
                f"{type(self).__name__} makes others: take solver 'gradient'"
            )
        return self.network.linear

    def solve(self, survey: Survey) -> None:
        """Solve for the least squares of the training data."""

        def read() -> Iterator[Batch]:
            for x, y, weight in survey.batches():
                columns = self.network.columns(x.to(self.device))
                targets = self.in_columns(y, len(y), self.out_features)
                yield columns, targets, weight

        layer = self.network.linear
        solution = least_squares(
            read,
            layer.in_features,
            layer.out_features,
            intercept=self.bias,
            l2=self.l2,
            device=self.device,
            gather=lambda part: gather(part.cpu()),
        )
        self.exact.weight.copy_(solution.weight)
        self.exact.bias.copy_(solution.intercept)
        self.num_samples.fill_(solution.samples)
        self.mean_weight.fill_(solution.total_weight / solution.samples)
        how = "an orthogonal factorisation" if solution.orthogonal else "the normal equations"
        rank_zero_info(
            f"exact solution from {solution.samples:,} rows by {how}"
            + f", rank {solution.rank} of {layer.in_features}: the weights are the least of many"
            * (solution.rank < layer.in_features)
        )

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take one from before samples had weights."""
        super().on_load_checkpoint(checkpoint)
        checkpoint["state_dict"].setdefault("mean_weight", torch.ones(()))

    def penalty(self) -> Tensor | None:
        """What ``l1`` and ``l2`` add to the mean loss."""
        if not self.l1 and not self.l2:
            return None
        weight = self.network.linear.weight
        lasso = 2 * self.l1 * weight.abs().sum()
        total_weight = self.num_samples.clamp_min(1) * self.mean_weight
        ridge = self.l2 / total_weight * weight.square().sum()
        return (lasso + ridge) / self.out_features

    def charts(self, seen: Seen) -> Iterator[Chart]:
        """Those of a regression, and the coefficients."""
        yield from super().charts(seen)
        if isinstance(self.network, LinearModel):
            weights = {name: value.cpu().numpy() for name, value in self.coefficients().items()}
            line = "of log(1 + target)" if self.target_transform == "log" else "original units"
            yield from filter(None, [coefficients(weights, self.output_names, line)])

    def coefficients(self) -> dict[str, Tensor]:
        """The fitted line in original units, whatever the standardisation.

        With ``target_transform`` ``log`` it is the line of log(1 + y).

        Returns:
            The weight of each (polynomial) feature by name, and ``intercept``; each a float64
            tensor ``()`` for one output, ``(out_features,)`` for several.

        Raises:
            RuntimeError: If the sizes are not known yet, so that there are no weights.
        """
        self.check_built()
        exact = self.solver == "exact" and self.exact.is_of(self.network.linear)
        solved = (self.exact.weight, self.exact.bias) if exact else ()
        weight, intercept = self.network.original_weights(*solved)
        if self.target_transform != "identity":
            weight = weight * self.target_scaling.std[:, None]
            intercept = intercept * self.target_scaling.std + self.target_scaling.mean
        names = self.schema.get("feature_names") or [f"x{i}" for i in range(self.in_features or 0)]
        columns = torch.cat([weight, intercept[:, None]], 1).T
        values = columns.squeeze(1) if self.out_features == 1 else columns
        return dict(zip([*self.network.feature_names(names), "intercept"], values, strict=True))
