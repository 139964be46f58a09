"""What regressors share: their targets, how these are scaled, and what is said of the answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import MetricCollection

from lit_course.categories import categories
from lit_course.figures import Chart, Seen, regression
from lit_course.metrics import per_target_metrics, regression_answers, regression_metrics
from lit_course.modules.base import ROWS_AT_ONCE, SupervisedModule
from lit_course.modules.survey import Survey
from lit_course.regression_losses import IntervalLoss, outputs_per_target
from lit_course.target_scaling import TargetScaling, TargetTransform


class Regressor(SupervisedModule):
    """A module that predicts one or several numbers. Abstract.

    Calling it gives predictions ``(B, out_features)`` in original units. What its network gives,
    and the loss takes, is scaled by ``target_transform``, and for an ``IntervalLoss`` holds several
    outputs for each target.
    """

    out_features: int | None
    target_transform: TargetTransform
    target_scaling: TargetScaling

    def _build(self) -> None:
        assert self.out_features is not None
        self.target_scaling = TargetScaling(self.out_features, self.target_transform)
        super()._build()

    # ------------------------------------------------------------- targets

    def check_target(self, y: Tensor, outputs: Tensor) -> Tensor:
        """Targets as floats ``(B, out_features)``.

        Raises:
            ValueError: If they are of another shape: torch would broadcast, and learn the mean.
        """
        y = self.in_columns(y, outputs.shape[0], outputs.shape[1] // outputs_per_target(self.loss))
        # Not to the outputs' dtype: in mixed precision that would round the targets.
        return y.to(torch.get_default_dtype())

    def in_columns(self, y: Tensor, rows: int, columns: int) -> Tensor:
        """Targets ``(rows, columns)``; one column may come as ``(rows,)``."""
        if y.ndim == 1 and columns == 1:
            y = y[:, None]
        if y.shape != (rows, columns):
            raise ValueError(
                f"targets must be of shape {(rows, columns)}, found {tuple(y.shape)}: "
                f"give one column for each of the {columns} outputs, or set out_features"
            )
        return y

    def check_values(self, y: Tensor) -> None:
        """Refuse NaN and infinite targets, and those that have no logarithm."""
        if not y.isfinite().all():
            raise ValueError("targets must be finite, found NaN or infinity: drop those samples")
        if self.target_transform == "log" and (y < 0).any():
            raise ValueError(
                f"target_transform 'log' is for targets of at least 0, found {float(y.min()):g}: "
                "take 'standard'"
            )

    def loss_target(self, y: Tensor) -> Tensor:
        """Targets as the loss takes them: scaled."""
        return self.target_scaling(y).to(y.dtype)  # type: ignore[no-any-return]  # as nn.Module has it

    def learn(self, survey: Survey) -> None:
        """Take the scaling of the targets from the training split."""
        super().learn(survey)
        if self.target_scaling.is_fitted:  # trained weights belong to it
            return
        assert self.out_features is not None
        targets = survey.targets
        targets = self.in_columns(targets, len(targets), self.out_features)
        self.check_values(targets)
        self.target_scaling.fit(targets)

    # ------------------------------------------------------------- answers

    def _point(self, outputs: Tensor) -> Tensor:
        point = self.loss.point(outputs) if isinstance(self.loss, IntervalLoss) else outputs
        return self.target_scaling.undo(point)

    def forward(self, x: Tensor) -> Tensor:
        """Raw features ``(B, ...)`` to predictions ``(B, out_features)`` in original units."""
        return self._point(super().forward(x))

    def outputs_of(self, x: Tensor) -> Tensor:
        """Raw features ``(B, ...)`` to what the loss takes, scaled as the targets are."""
        return self.network(x)  # type: ignore[no-any-return]  # as nn.Module has it

    def answer(self, outputs: Tensor) -> Tensor:
        """Predictions ``(B, out_features)`` in original units and float64."""
        return self._point(regression_answers(outputs))

    def answers(self, outputs: Tensor) -> dict[str, Tensor]:
        """Predictions ``(B,)``, ``(B, out_features)`` for several; and what the loss says more."""
        outputs = regression_answers(outputs)
        values = {"prediction": self._point(outputs)}
        if isinstance(self.loss, IntervalLoss):
            values |= self.loss.columns(outputs, self.target_scaling)
        return {k: v.squeeze(1) if self.out_features == 1 else v for k, v in values.items()}

    def predict_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Answers for one batch; and ``residual``, the target less the prediction, if it is known.

        Of several targets that is NaN for those that are not.
        """
        answers = super().predict_step(batch, batch_idx)
        prediction = answers.pop("prediction")
        y = batch[1] if isinstance(batch, list | tuple) and len(batch) > 1 else None
        data = None if self._trainer is None else getattr(self.trainer, "datamodule", None)
        if (
            not isinstance(y, Tensor)
            or y.numel() != prediction.numel()
            or not getattr(data, "predicts_known", True)
        ):
            return {"prediction": prediction, **answers}
        residual = y.reshape(prediction.shape) - prediction
        return {"prediction": prediction, "residual": residual, **answers}

    def predict(self, x: Any, batch_size: int = ROWS_AT_ONCE) -> NDArray[Any]:
        """The prediction for each sample, float64 ``(N,)``, ``(N, out_features)`` for several.

        Arguments and errors are those of ``answers_to``; what a loss says beside it is there too.
        """
        return self.answers_to(x, batch_size)["prediction"]

    @property
    def output_names(self) -> list[str]:
        """The targets, from the data module; their numbers where it names none."""
        names = self.schema.get("target_names")
        return list(names) if names else [str(k) for k in range(self.out_features or 0)]

    def charts(self, seen: Seen) -> Iterator[Chart]:
        """Predictions against targets, residuals, and of one feature the fitted curve."""
        (feature, *_) = self.schema.get("feature_names") or ["x"]
        ask = None if categories(self.schema) else self.predict  # codes have nothing in between
        return regression(seen, self.output_names, feature, ask)

    # ------------------------------------------------------------- metrics

    def configure_metrics(self) -> MetricCollection:
        """MAE, MSE, RMSE, R²."""
        assert self.out_features is not None
        return regression_metrics(self.out_features)

    def detail_metrics(self) -> MetricCollection | None:
        """The same of every target, by name, if there are several."""
        if self.out_features == 1:
            return None
        if len(self.output_names) != self.out_features:
            raise ValueError(
                f"out_features is {self.out_features}, and schema names "
                f"{len(self.output_names)} target(s): set it to their number, or name each"
            )
        return per_target_metrics(self.output_names)
