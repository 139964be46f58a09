"""What the multilayer perceptrons share: the arguments of their layers, checked and made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import Linear

from lit_course.categories import categories, embedding_width, table_width
from lit_course.figures import Chart, Seen, weight_images, weight_map
from lit_course.gather import gather
from lit_course.modules.base import SupervisedModule
from lit_course.modules.hyperparameters import check_size
from lit_course.modules.survey import Survey
from lit_course.names import lookup
from lit_course.networks import ACTIVATIONS, BATCH_OF_ONE, INITIALIZATIONS, MLP, NORMALIZATIONS
from lit_course.piecewise import PiecewiseLinear

MOST_FEATURES = 60  # of a heat map of weights
MAX_VALUES = 2**24  # 64 MB of the training split on each process, to find quantiles in


class PerceptronModule(SupervisedModule):
    """A module whose network is an ``MLP``. Abstract."""

    in_features: int | None
    hidden_features: list[int]
    activation: str
    normalization: Literal["batch", "layer"] | None
    dropout: float
    initialization: str | None
    standardize: bool
    one_hot_levels: int

    def check_layers(self) -> None:
        """Refuse names and sizes now, not once the data has said the rest."""
        check_size("in_features", self.in_features, 1)
        check_size("one_hot_levels", self.one_hot_levels, 0)
        for width in self.hidden_features:
            check_size("each of hidden_features", width, 1)
        lookup("activation", self.activation, ACTIVATIONS)
        if self.normalization is not None:
            lookup("normalization", self.normalization, NORMALIZATIONS)
        if self.initialization is not None:
            lookup("initialization", self.initialization, INITIALIZATIONS)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is a share in [0, 1), found {self.dropout}")

    def make_layers(
        self, out_features: int, output_activation: str | None = None, bins: int = 0
    ) -> MLP:
        """An ``MLP`` from raw features to so many outputs."""
        assert self.in_features is not None
        return MLP(
            self.in_features,
            self.hidden_features,
            out_features,
            activation=self.activation,
            normalization=self.normalization,
            dropout=self.dropout,
            initialization=self.initialization,
            output_activation=output_activation,
            standardize=self.standardize,
            categories=categories(self.schema),
            one_hot_levels=self.one_hot_levels,
            bins=bins,
        )

    @staticmethod
    def layer_shapes(
        arguments: Mapping[str, Any], out_features: int | None
    ) -> dict[str, tuple[int, ...]]:
        """Shapes of the weights that ``make_layers`` would make of saved arguments."""
        hidden = arguments.get("hidden_features", [512, 512])
        names = [*(f"linear{i + 1}" for i in range(len(hidden))), "output"]
        coded = categories(arguments.get("schema") or {})
        levels = arguments.get("one_hot_levels", 20)
        inputs = table_width(arguments.get("in_features") or 0, coded, levels)
        if bins := arguments.get("bins", 0):
            vectors = [len(codes) for codes in coded.values() if len(codes) - 2 > levels]
            inputs += (inputs - sum(map(embedding_width, vectors))) * (bins - 1)
        widths = pairwise([inputs, *hidden, out_features])
        return {
            f"network.{name}.weight": (after, before)
            for name, (before, after) in zip(names, widths, strict=True)
        }

    def learn(self, survey: Survey) -> None:
        """Take the bins of an encoding from the training split; look at how an epoch ends.

        Raises:
            ValueError: If batch normalisation would end the epoch on a batch of one sample.
        """
        super().learn(survey)
        encoding = getattr(self.network, "encoding", None)
        if isinstance(encoding, PiecewiseLinear) and encoding.count == 0:
            encoding.fit(self._encoded_columns(survey, encoding.columns))
        takes_statistics = self.normalization == "batch" and not self._frozen_norms
        if takes_statistics and survey.last_batch == 1:
            raise ValueError(f"the last batch of an epoch has one sample: {BATCH_OF_ONE}")

    def charts(self, seen: Seen) -> Iterator[Chart]:
        """Those of the task, and the weights of the first layer."""
        yield from super().charts(seen)
        if not isinstance(self.network, MLP):
            return
        name, layer = next(
            (n, m) for n, m in self.network.named_children() if isinstance(m, Linear)
        )
        weight = layer.weight.detach().float().cpu().numpy()
        units = self.output_names if name == "output" else None
        units = units if units is None or len(units) == len(weight) else None
        of = (
            "of inputs in units of their deviation" if self.standardize else "of inputs as they are"
        )
        features = self.schema.get("feature_names") or [f"x{i}" for i in range(weight.shape[1])]
        if seen.image_shape is not None and prod(seen.image_shape) == weight.shape[1]:
            yield weight_images(weight, seen.image_shape, units, of)
        elif len(features) == weight.shape[1] <= MOST_FEATURES and not categories(self.schema):
            yield weight_map(weight, features, units, of)

    @torch.no_grad()
    def _encoded_columns(self, survey: Survey, columns: int) -> Tensor:
        """What reaches an encoding, ``(N, columns)``: of as many of the first rows as fit."""
        assert isinstance(self.network, MLP)
        before, rows = self.network[0], 0
        parts = [torch.zeros(0, columns)]
        for x, *_ in survey.batches():
            if rows < MAX_VALUES // columns:
                parts.append(before(x.to(self.device))[:, :columns].cpu())
                rows += len(x)
        return torch.cat(gather(torch.cat(parts))).to(self.device)


def widths(hidden_features: Sequence[int]) -> list[int]:
    """The widths of hidden layers, as a list.

    Raises:
        TypeError: If it is one width.
    """
    if isinstance(hidden_features, int):
        raise TypeError(
            f"hidden_features is a list of widths, found {hidden_features}: give "
            f"[{hidden_features}] for one hidden layer"
        )
    return list(hidden_features)
