"""The networks, in plain torch: usable without Lightning. Raw features in, outputs out."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import combinations_with_replacement
from math import comb
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lit_course.categories import Categories, OneHot, TableInput
from lit_course.names import lookup
from lit_course.piecewise import PiecewiseLinear
from lit_course.scaling import InputScaling, as_float, flatten
from lit_course.target_scaling import TargetScaling

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
    "mish": nn.Mish,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "identity": nn.Identity,
}
NORMALIZATIONS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
}
INITIALIZATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "kaiming_normal": nn.init.kaiming_normal_,
    "kaiming_uniform": nn.init.kaiming_uniform_,
    "orthogonal": nn.init.orthogonal_,
    "xavier_normal": nn.init.xavier_normal_,
    "xavier_uniform": nn.init.xavier_uniform_,
}
OUTPUT_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "log_softmax": lambda: nn.LogSoftmax(dim=1),
}


BATCH_OF_ONE = (
    "batch normalisation needs two to know their deviation; give another batch_size, "
    "or set drop_last to true"
)


def _takes_statistics(layer: nn.Module) -> bool:
    return isinstance(layer, nn.BatchNorm1d) and layer.training


class MLP(nn.Sequential):
    """Multilayer perceptron: scaling, then hidden layers, then one linear output layer.

    A hidden layer is ``linear<i>``, ``normalization<i>``, ``activation<i>``, ``dropout<i>``, in
    this order, those that are asked for; the last layer is ``output``. ``hidden_features=[]``
    is a linear model.

    Args:
        in_features: Features per sample after flattening.
        hidden_features: Width of each hidden layer.
        out_features: Width of the output.
        activation: One of ``ACTIVATIONS``.
        normalization: ``batch``, ``layer`` or None.
        dropout: Probability of dropping a hidden unit, in [0, 1).
        initialization: One of ``INITIALIZATIONS`` for the weights, biases then start at zero;
            None keeps torch's own.
        output_activation: ``relu`` or ``log_softmax`` after the last layer; None for neither.
        standardize: Whether the inputs are standardised, see ``InputScaling``.
        categories: Features that hold codes, see ``categories.py``; ``scaling`` is then within
            ``table``, a ``TableInput``.
        one_hot_levels: The most levels that a category may have to get a column for each; of more
            it gets a learned vector.
        bins: Bins of a ``PiecewiseLinear`` named ``encoding`` behind the scaling, of all columns
            but learned vectors; 0 for none.
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: Sequence[int],
        out_features: int,
        *,
        activation: str = "relu",
        normalization: str | None = None,
        dropout: float = 0.0,
        initialization: str | None = None,
        output_activation: str | None = None,
        standardize: bool = True,
        categories: Categories | None = None,
        one_hot_levels: int = 20,
        bins: int = 0,
    ) -> None:
        super().__init__()
        self.arguments = {
            "in_features": in_features,
            "hidden_features": list(hidden_features),
            "out_features": out_features,
            "activation": activation,
            "normalization": normalization,
            "dropout": dropout,
            "output_activation": output_activation,
            "standardize": standardize,
            "categories": dict(categories or {}),
            "one_hot_levels": one_hot_levels,
            "bins": bins,
        }
        make_activation = lookup("activation", activation, ACTIVATIONS)
        make_normalization = normalization and lookup(
            "normalization", normalization, NORMALIZATIONS
        )
        width = columns = in_features
        if categories:
            table = TableInput(in_features, categories, one_hot_levels, standardize)
            width, columns = table.out_features, table.scaling.in_features
            self.add_module("table", table)
        else:
            self.add_module("scaling", InputScaling(in_features, standardize))
        if bins and columns:
            self.add_module("encoding", PiecewiseLinear(columns, bins))
            width += columns * (bins - 1)
        for i, hidden in enumerate(hidden_features, start=1):
            self.add_module(f"linear{i}", nn.Linear(width, hidden))
            if make_normalization:
                self.add_module(f"normalization{i}", make_normalization(hidden))
            self.add_module(f"activation{i}", make_activation())
            if dropout:
                self.add_module(f"dropout{i}", nn.Dropout(dropout))
            width = hidden
        self.add_module("output", nn.Linear(width, out_features))
        if output_activation is not None:
            make_output = lookup("output activation", output_activation, OUTPUT_ACTIVATIONS)
            self.add_module("output_activation", make_output())
        if initialization is not None:
            self._initialize(lookup("initialization", initialization, INITIALIZATIONS))

    def forward(self, x: Tensor) -> Tensor:
        """Raw features ``(B, ...)`` to outputs ``(B, out_features)``.

        Raises:
            ValueError: If batch normalisation is trained on one sample.
        """
        if self.training and x.shape[0] == 1 and any(map(_takes_statistics, self)):
            raise ValueError(f"a training batch has one sample: {BATCH_OF_ONE}")
        outputs: Tensor = super().forward(x)  # type: ignore[no-untyped-call]  # as torch has it
        return outputs

    def _initialize(self, fill: Callable[[Tensor], Tensor]) -> None:
        for layer in self:
            if isinstance(layer, nn.Linear):
                fill(layer.weight)
                nn.init.zeros_(layer.bias)


# Each is computed by a call of its own: with more, a batch takes seconds.
MAX_MONOMIALS = 20_000


class PolynomialFeatures(nn.Module):
    """All monomials of the features up to a degree, without the constant.

    The order is scikit-learn's: for features ``a, b`` and degree 2: ``a, b, a², ab, b²``.

    Args:
        in_features: Features per sample after flattening.
        degree: Highest total degree, at least 1.
    """

    def __init__(self, in_features: int, degree: int) -> None:
        super().__init__()
        self.in_features = in_features
        columns = comb(in_features + degree, degree) - 1
        if columns > MAX_MONOMIALS:
            raise ValueError(
                f"degree {degree} makes {columns:,} columns of {in_features} features, "
                f"{MAX_MONOMIALS:,} at most: lower it, or choose fewer features"
            )
        self.monomials = [
            monomial
            for d in range(1, degree + 1)
            for monomial in combinations_with_replacement(range(in_features), d)
        ]

    def forward(self, x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Raw features ``(B, ...)`` to floats ``(B, monomials)``, of torch's default dtype."""
        x = as_float(flatten(x, self.in_features), dtype or torch.get_default_dtype())
        return torch.stack([x[:, monomial].prod(1) for monomial in self.monomials], dim=1)

    def names(self, feature_names: Sequence[str]) -> list[str]:
        """Name each monomial as scikit-learn does: ``a``, ``b``, ``a^2``, ``a b``, ``b^2``."""
        return [
            " ".join(
                feature_names[i] + (f"^{n}" if (n := monomial.count(i)) > 1 else "")
                for i in sorted(set(monomial))
            )
            for monomial in self.monomials
        ]


class LinearModel(nn.Sequential):
    """One linear layer on scaled, possibly expanded, inputs.

    Args:
        in_features: Features per sample after flattening.
        out_features: Number of outputs.
        degree: Degree of the polynomial features; 1 takes the features as they are.
        bias: Whether the layer has an intercept.
        standardize: Whether the (expanded) features are standardised, see ``InputScaling``.
        categories: Features that hold codes, see ``categories.py``; each code gets a column.
    """

    scaling: InputScaling
    linear: nn.Linear

    def __init__(
        self,
        in_features: int,
        out_features: int = 1,
        *,
        degree: int = 1,
        bias: bool = True,
        standardize: bool = True,
        categories: Categories | None = None,
    ) -> None:
        super().__init__()
        self.arguments = {
            "in_features": in_features,
            "out_features": out_features,
            "degree": degree,
            "bias": bias,
            "standardize": standardize,
            "categories": dict(categories or {}),
        }
        width = in_features
        if categories:
            one_hot = OneHot(in_features, categories)
            width = one_hot.out_features
            self.add_module("one_hot", one_hot)
        if degree > 1:
            polynomial = PolynomialFeatures(width, degree)
            self.add_module("polynomial", polynomial)
            width = len(polynomial.monomials)
        self.add_module("scaling", InputScaling(width, standardize))
        self.add_module("linear", nn.Linear(width, out_features, bias=bias))

    def feature_names(self, raw: Sequence[str]) -> list[str]:
        """Name what the linear layer weighs, given the names of the raw features."""
        names = list(raw)
        for layer in self:
            if isinstance(layer, OneHot | PolynomialFeatures):
                names = layer.names(names)
        return names

    def columns(self, x: Tensor) -> Tensor:
        """What the linear layer weighs, ``(B, columns)``, computed in float64."""
        for layer in list(self)[:-1]:
            x = layer(x, torch.float64)
        return x

    def original_weights(
        self, weight: Tensor | None = None, intercept: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Weights ``(out, columns)`` and intercept ``(out,)`` in original units, float64.

        Args:
            weight: Weights of scaled columns; None takes the linear layer's.
            intercept: Their intercept; None takes the linear layer's, zeros if it has none.
        """
        bias = self.linear.bias
        weight = (self.linear.weight.detach() if weight is None else weight).double()
        if intercept is None:
            intercept = weight.new_zeros(len(weight)) if bias is None else bias.detach().double()
        if self.scaling.standardize:
            weight = weight / self.scaling.std
            intercept = intercept - weight @ self.scaling.mean.double()
        return weight, intercept


NETWORKS: dict[str, type[MLP] | type[LinearModel]] = {"MLP": MLP, "LinearModel": LinearModel}


_RUNTIMES = {"torch_export": "torch.export.load", "onnx": "onnxruntime"}


class InOriginalUnits(nn.Module):
    """A network whose outputs are scaled as its targets were, and the way back.

    Args:
        network: Raw features to scaled predictions ``(B, K)``.
        scaling: Of its targets.
    """

    def __init__(self, network: nn.Module, scaling: TargetScaling) -> None:
        super().__init__()
        self.network = network
        self.scaling = scaling

    def forward(self, x: Tensor) -> Tensor:
        """Raw features ``(B, ...)`` to predictions ``(B, K)`` float64 in original units."""
        return self.scaling.undo(self.network(x).double())


def json_beside(path: Path) -> Path:
    """What says the sizes and names of exported weights, or of a program."""
    return path.with_name(path.name + ".json")


def load_network(path: str | Path) -> nn.Module:
    """Make a network of what ``lit-course export`` wrote; torch is all that is needed.

    Args:
        path: A file of ``--format state_dict`` or ``safetensors``, its JSON beside it.

    Returns:
        The network in evaluation mode: raw features to logits, scores, or predictions in original
        units.

    Raises:
        FileNotFoundError: If there is no such file, or no JSON.
        ValueError: If the file is a program or broken, or they do not belong together.
    """
    path = Path(path)
    said = _described(path)
    arguments = dict(said["arguments"])
    # The keys of JSON are texts.
    arguments["categories"] = {int(p): codes for p, codes in arguments["categories"].items()}
    network = lookup("network", said["class"], NETWORKS)(**arguments)
    try:
        network.load_state_dict(_weights(path))
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"{path} does not belong to the JSON beside it") from error
    scaling = said.get("target_scaling")
    if scaling is None or scaling["transform"] == "identity":
        return network.eval()
    return InOriginalUnits(network, TargetScaling.from_plain(scaling)).eval()


def _described(path: Path) -> dict[str, Any]:
    """What the JSON beside exported weights says of their network."""
    try:
        said = json.loads(json_beside(path).read_text(encoding="utf-8"))
        runtime = _RUNTIMES.get(said["format"])
        if runtime is None:
            network: dict[str, Any] = said["network"]
            return network
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{json_beside(path)} is not what lit-course export wrote beside weights"
        ) from error
    raise ValueError(
        f"{path} is a program, for {runtime}: weights are written by lit-course export --format "
        "state_dict or safetensors"
    )


def _weights(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        return weights
    except (OSError, ImportError):
        raise
    except Exception as error:  # they raise whatever they stumble on
        raise ValueError(f"{path} holds no weights") from error
