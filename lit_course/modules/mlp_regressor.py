"""Multilayer perceptron for regression."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from torch import nn

from lit_course.losses import REGRESSION_LOSSES, make_loss
from lit_course.modules.hyperparameters import check_size
from lit_course.modules.perceptron import PerceptronModule, widths
from lit_course.modules.regressor import Regressor
from lit_course.regression_losses import INTERVAL_LOSSES, outputs_per_target
from lit_course.schedules import Interval
from lit_course.target_scaling import TargetScaling, TargetTransform

LOSSES: dict[str, Callable[..., nn.Module]] = {**REGRESSION_LOSSES, **INTERVAL_LOSSES}


class MLPRegressor(PerceptronModule, Regressor):
    """Multilayer perceptron for one or several numbers, with an interval on request.

    Takes raw features, ``(B, D)`` or images ``(B, C, H, W)``, flattens and scales them itself, and
    gives predictions ``(B, out_features)`` in original units. Targets are ``(B,)`` or ``(B, 1)``
    for one output, ``(B, K)`` for K.

    Reports loss, MAE, MSE, RMSE and R² of every split; of several targets the averages, and in
    ``validate`` and ``test`` each by its name. The loss is of the scaled targets, everything else
    in original units.

    The losses ``quantile`` and ``gaussian_nll`` give more than one number of a target, and
    ``predict`` says them beside the prediction, which is then the quantile nearest 0.5 or the mean:
    ``quantile_0.05`` and so on, or ``lower``, ``upper`` and ``std``. With ``log`` the mean is that
    of the logarithm, so that the prediction is the median; ``std`` is of the target itself.

    Args:
        in_features: Features per sample after flattening; left out, the data module says it.
        out_features: Number of targets; left out, the data module says it.
        hidden_features: Width of each hidden layer; ``[]`` is a linear model.
        activation: relu, gelu, silu, elu, leaky_relu, mish, selu, sigmoid, tanh or identity.
        normalization: ``batch`` or ``layer`` after every hidden linear layer, or null.
        dropout: Probability of dropping a hidden unit in training, in [0, 1).
        initialization: kaiming_normal, kaiming_uniform, xavier_normal, xavier_uniform or
            orthogonal for the weights, with biases at zero; null keeps torch's own.
        standardize: Subtract the training mean and divide by the training deviation of every
            feature (of every channel of an image), inside the network.
        one_hot_levels: The most levels that a category of a table may have to get an input for
            each; of more it gets a learned vector.
        target_transform: ``standard`` trains on targets less their mean by their deviation, so that
            learning rates fit targets of any size and a loss ``mse`` of 1 is that of the mean;
            ``log`` on the same of log(1 + y), of targets ≥ 0; ``identity`` on targets as they are.
            Mean and deviation are of the training split.
        loss: ``mse``, ``l1``, ``smooth_l1``, ``huber``, ``quantile`` or ``gaussian_nll``.
        loss_options: Options of the loss: ``beta`` of ``smooth_l1``, ``delta`` of ``huber``,
            ``quantiles`` of ``quantile`` ([0.05, 0.5, 0.95]), ``interval`` (0.9) of
            ``gaussian_nll``, the share between ``lower`` and ``upper``, and ``eps``, its least
            variance.
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
        schema: Names of features and targets, filled in from the data module.

    Raises:
        ValueError: If arguments are unknown or contradict each other.
    """

    SIZES = ("in_features", "out_features")

    def __init__(
        self,
        in_features: int | None = None,
        out_features: int | None = None,
        hidden_features: list[int] = [512, 512],  # noqa: B006  # read only; shown by --help
        activation: str = "relu",
        normalization: Literal["batch", "layer"] | None = None,
        dropout: float = 0.0,
        initialization: str | None = None,
        standardize: bool = True,
        one_hot_levels: int = 20,
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
        self.out_features = out_features
        self.hidden_features = widths(hidden_features)
        self.activation = activation
        self.normalization = normalization
        self.dropout = dropout
        self.initialization = initialization
        self.standardize = standardize
        self.one_hot_levels = one_hot_levels
        self.target_transform = target_transform
        self.loss_name = loss
        self.loss_options = dict(loss_options or {})
        # Refuse names, sizes and options now.
        self.check_layers()
        check_size("out_features", out_features, 1)
        TargetScaling(1, target_transform)
        make_loss(loss, LOSSES, self.loss_options)
        self.declare()

    def configure_network(self) -> nn.Module:
        """An ``MLP`` from raw features to what the loss takes."""
        assert self.out_features is not None
        return self.make_layers(self.out_features * outputs_per_target(self.configure_loss()))

    @classmethod
    def weight_shapes(cls, arguments: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """Shapes of the weights of an ``MLP``."""
        ours = (MLPRegressor.configure_network, MLPRegressor.configure_loss)
        if (cls.configure_network, cls.configure_loss) != ours:
            return {}
        loss = make_loss(arguments.get("loss", "mse"), LOSSES, arguments.get("loss_options") or {})
        outputs = (arguments.get("out_features") or 0) * outputs_per_target(loss)
        return cls.layer_shapes(arguments, outputs)

    def configure_loss(self) -> nn.Module:
        """The loss by name, of targets as ``target_transform`` has them."""
        return make_loss(self.loss_name, LOSSES, self.loss_options)
