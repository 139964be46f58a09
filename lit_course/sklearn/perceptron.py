"""What the multilayer perceptrons for scikit-learn share: how they are asked."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor

from lit_course.networks import MLP
from lit_course.sklearn.base import LitEstimator


class PerceptronEstimator(LitEstimator):
    """An estimator whose network is an ``MLP``. Abstract."""

    def _outputs(self, x: Tensor) -> Tensor:
        network = deepcopy(self.module_.network).double().eval()
        assert isinstance(network, MLP)
        scaling, *layers = network
        x = scaling(x, torch.float64)
        for layer in layers:
            x = layer(x)
        return x
