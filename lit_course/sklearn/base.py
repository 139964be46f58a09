"""The abstract estimator: how a module is trained on arrays, and asked."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted
from torch import Tensor

from lit_course.datamodules import ArrayDataModule
from lit_course.modules import SupervisedModule
from lit_course.sklearn.few_threads import FewThreads
from lit_course.sklearn.stop_at_best import StopAtBest
from lit_course.sklearn.undisturbed import undisturbed
from lit_course.sklearn.validation import validated

ROWS = 4096  # asked at a time


class LitEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A scikit-learn estimator whose model is one of our modules. Abstract.

    A concrete one has the module's arguments under their names (but those that the data say, and
    ``schema``), and beside them ``max_epochs``, ``batch_size``, ``drop_last``, ``val_size``,
    ``early_stopping``, ``accelerator`` and ``random_state``.
    """

    MODULE: ClassVar[type[SupervisedModule]]
    max_epochs: int
    batch_size: int
    drop_last: bool
    val_size: int | float
    early_stopping: int | None
    accelerator: str
    random_state: int | RandomState | None
    module_: SupervisedModule
    n_iter_: int

    @abstractmethod
    def _outputs(self, x: Tensor) -> Tensor:
        """The network's outputs ``(B, ...)`` of features ``(B, D)``, in float64.

        In float32 the same row would differ by a last bit with the rows that it is asked among.
        """

    def _fit(
        self,
        X: NDArray[np.float32],
        y: NDArray[Any],
        sample_weight: ArrayLike | None,
        arguments: dict[str, Any],
        **names: Any,
    ) -> Self:
        """Train a new module, quietly.

        Args:
            X: Features ``(N, D)``, checked.
            y: Targets as ``ArrayDataModule`` takes them, checked.
            sample_weight: Weight of each row, ``(N,)``.
            arguments: What the data say of the module's arguments.
            **names: What they say of ``ArrayDataModule``'s.
        """
        if not isinstance(self.max_epochs, Integral) or self.max_epochs < 1:
            raise ValueError(f"max_epochs must be at least 1, found {self.max_epochs}")
        if self.early_stopping is not None and self.early_stopping < 1:
            raise ValueError(f"early_stopping must be at least 1, found {self.early_stopping}")
        seed = self.random_state
        if not isinstance(seed, Integral):
            seed = check_random_state(seed).randint(2**31 - 1)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X)
        columns = getattr(self, "feature_names_in_", None)
        data = ArrayDataModule(
            X,
            y,
            sample_weight=sample_weight,
            feature_names=None if columns is None else columns.tolist(),
            batch_size=self.batch_size,
            val_size=self.val_size,
            test_size=0,
            drop_last=self.drop_last,
            seed=int(seed),
            **names,
        )
        callbacks: list[Callback] = [FewThreads(self.batch_size)]
        if self.early_stopping is not None:
            callbacks.append(StopAtBest(self.early_stopping))
        with undisturbed():
            torch.manual_seed(int(seed))
            module = self.MODULE(**self._module_arguments(), **arguments)
            trainer = Trainer(
                max_epochs=int(self.max_epochs),
                accelerator=self.accelerator,
                devices=1,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
                callbacks=callbacks,
            )
            trainer.fit(module, datamodule=data)
        self.n_iter_ = trainer.current_epoch
        self.module_ = module.cpu()
        self.module_.trainer = None
        return self

    def _module_arguments(self) -> dict[str, Any]:
        known = inspect.signature(self.MODULE).parameters
        given = self.get_params(deep=False)
        # scikit-learn wants sequences that nobody can change.
        return {n: list(v) if isinstance(v, tuple) else v for n, v in given.items() if n in known}

    def _asked(self, X: ArrayLike) -> Tensor:
        """The outputs for new rows, ``(N, ...)`` float64."""
        check_is_fitted(self)
        x = torch.from_numpy(np.array(validated(self, X, reset=False)))  # ours, to be written
        with torch.inference_mode():
            return torch.cat([self._outputs(piece) for piece in torch.split(x, ROWS)])
