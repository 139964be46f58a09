"""A module that can be solved exactly: one update of a fit, then an epoch that measures it."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal

import torch
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.types import STEP_OUTPUT, OptimizerLRScheduler
from torch import Tensor, nn

from lit_course.kept_precision import KeptPrecision
from lit_course.modules.base import SupervisedModule
from lit_course.modules.survey import Survey

Solver = Literal["gradient", "exact"]


class ExactSolution(KeptPrecision):
    """The weights of a linear layer as they were solved, in float64 whatever the layer is in.

    Args:
        linear: The layer.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        shape = linear.weight.shape
        self.register_buffer("weight", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("bias", torch.zeros(shape[0], dtype=torch.float64))

    def write(self, linear: nn.Linear) -> None:
        """Set the layer's weights, and gradients of zero, to this."""
        for parameter, value in self._pairs(linear):
            parameter.detach().copy_(_rounded(value, parameter.dtype))
            parameter.grad = torch.zeros_like(parameter)

    def is_of(self, linear: nn.Linear) -> bool:
        """Whether the layer holds this solution; it does not if it was trained since."""
        return all(
            torch.equal(_rounded(value.float(), parameter.dtype).float(), parameter.float())
            for parameter, value in self._pairs(linear)
        )

    def _pairs(self, linear: nn.Linear) -> list[tuple[Tensor, Tensor]]:
        pairs: list[tuple[Tensor, Tensor]] = [(linear.weight, self.weight)]
        return pairs if linear.bias is None else [*pairs, (linear.bias, self.bias)]


def _rounded(value: Tensor, dtype: torch.dtype) -> Tensor:
    """By way of float32 to what is shorter, as the layer is rounded when a Trainer converts it."""
    return value if dtype == torch.float64 else value.float().to(dtype)


class SolvableModule(SupervisedModule):
    """A module whose weights are either trained by gradients or solved for. Abstract.

    With ``solver="exact"`` the training loader is read in one or two passes before the first step.
    The first batch sets the weights, as one update of the optimizer, so that ``global_step``,
    checkpoints and loggers are as after any fit; the epoch measures the solution, and ends the fit.
    """

    solver: Solver

    @abstractmethod
    def solve(self, survey: Survey) -> None:
        """Fill ``exact`` with the solution for the training data."""

    @property
    @abstractmethod
    def solved_layer(self) -> nn.Linear:
        """The layer that ``exact`` is the solution of."""

    def _build(self) -> None:
        super()._build()
        if self.solver == "exact":
            self.exact = ExactSolution(self.solved_layer)

    def setup(self, stage: str) -> None:
        """Refuse what acts on gradients."""
        super().setup(stage)
        if self.solver != "exact" or stage != "fit":
            return
        flags = {"gradient_clip_val": (None, 0), "accumulate_grad_batches": (None, 1)}
        given = [name for name, none in flags.items() if getattr(self.trainer, name) not in none]
        if given:
            raise ValueError(
                f"solver 'exact' has no gradients: leave out the Trainer's {' and '.join(given)}"
            )
        # Only now: Lightning refuses these flags in words of its own where it knows.
        self.automatic_optimization = False

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """An optimizer as ever; for the exact solution one that adds nothing to it."""
        if self.solver == "exact":
            return torch.optim.SGD(self.parameters(), lr=0.0)
        return super().configure_optimizers()

    def learn(self, survey: Survey) -> None:
        """Solve, if that is asked for."""
        super().learn(survey)
        if self.solver == "exact":
            with torch.no_grad():
                self.solve(survey)

    def on_train_start(self) -> None:
        """Solve before the first step; a fit that was resumed behind its epoch is at its end."""
        super().on_train_start()
        if self.solver == "exact" and self.current_epoch:
            self.trainer.should_stop = True

    def training_step(self, batch: Any, batch_idx: int) -> STEP_OUTPUT:
        """A step of training, or the measuring of a solution."""
        if self.solver != "exact":
            return super().training_step(batch, batch_idx)
        if self.global_step == 0:
            optimizer = self.optimizers()
            assert not isinstance(optimizer, list)
            optimizer.step(lambda: self.exact.write(self.solved_layer))
        # Loggers shall count updates; Lightning counts batches for them.
        self.trainer.fit_loop.epoch_loop._batches_that_stepped = self.global_step - 1
        with torch.no_grad():
            return super().training_step(batch, batch_idx)

    def on_train_epoch_end(self) -> None:
        """Report the training split; there is nothing to gain from a second epoch."""
        super().on_train_epoch_end()
        if self.solver != "exact":
            return
        self.trainer.should_stop = True
        epochs = self.trainer.max_epochs
        if epochs != 1:
            rank_zero_info(
                f"the exact solution is found and measured: the fit ends after one epoch of "
                f"{epochs}"
            )

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to resume a fit by the other solver; its weights alone are good for both."""
        super().on_load_checkpoint(checkpoint)
        weights = checkpoint["state_dict"]
        saved = "exact" if "exact.weight" in weights else "gradient"
        if saved == self.solver:
            return
        if self._is_fitting():
            raise ValueError(
                f"the checkpoint was fitted with solver {saved!r}, asked for is {self.solver!r}: "
                "to start anew from its weights by gradient, give it as init_from"
            )
        if self.solver == "exact":
            weights.update(
                {f"exact.{name}": value for name, value in self.exact.state_dict().items()}
            )
        else:
            for name in [name for name in weights if name.startswith("exact.")]:
                del weights[name]
