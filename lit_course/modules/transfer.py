"""Starting from trained weights: freezing what shall stay, loading what fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn
from torch import nn

from lit_course import checkpoints, runs

# What trained weights are good for: the network, and the units that its outputs are in.
NETWORK = "network."
TRANSFERRED = (NETWORK, "target_scaling.")


def freeze(model: nn.Module, patterns: Sequence[str]) -> list[nn.Module]:
    """Switch off the gradients of the parameters that match, so that training leaves them alone.

    Args:
        model: Whose parameters.
        patterns: Glob patterns over their names, such as ``network.linear1.*``.

    Returns:
        The normalisation layers that keep their running statistics too: those with parameters
        that are all frozen.

    Raises:
        ValueError: If a pattern matches nothing, or nothing is left to train.
    """
    parameters = dict(model.named_parameters())
    for pattern in patterns:
        matching = [name for name in parameters if fnmatchcase(name, pattern)]
        if not matching:
            raise ValueError(
                f"freeze: {pattern!r} matches no parameter\nparameters: {', '.join(parameters)}"
            )
        for name in matching:
            parameters[name].requires_grad_(False)
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise ValueError(f"freeze: {list(patterns)} leaves no parameter to train")
    return [
        layer
        for layer in model.modules()
        if isinstance(layer, nn.modules.batchnorm._NormBase)
        and (own := list(layer.parameters()))
        and not any(parameter.requires_grad for parameter in own)
    ]


def load_weights(model: nn.Module, path: str) -> list[str]:
    """Load the network's weights from a checkpoint, layer by layer, where names and shapes agree.

    Args:
        model: The module whose network to load into; the scaling of its targets goes with it.
        path: A checkpoint of any of our modules, or the folder of its run.

    Returns:
        The names that did not fit and start new.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: If the file holds no such weights, or not one of them fits.
    """
    checkpoint = checkpoints.read(runs.checkpoint_of(path))
    saved = checkpoint["state_dict"]
    own = {n: v for n, v in model.state_dict().items() if n.startswith(TRANSFERRED)}
    # A layer is taken whole or not at all: the count of a scaling fits any, its mean does not.
    other = {
        name.rpartition(".")[0]
        for name, value in own.items()
        if name not in saved or saved[name].shape != value.shape
    }
    fitting = {name: saved[name] for name in own if name.rpartition(".")[0] not in other}
    # Statistics of the inputs fit any network of so many features; they are no layer.
    if not fitting.keys() & dict(model.named_parameters()).keys():
        raise ValueError(f"init_from: no layer of {path} fits this network")
    model.load_state_dict(fitting, strict=False)
    theirs = checkpoint.get("hyper_parameters", {}).get("schema") or {}
    ours = getattr(model, "schema", {})
    for layer, names in (("first", _inputs), ("last", _outputs)):
        for mine, known in zip(names(ours), names(theirs), strict=False):
            if mine != known:
                rank_zero_warn(
                    f"init_from: {path} was trained on {known} where this data has {mine}: what "
                    f"its {layer} layer learned is of something else"
                )
                break
    return [name.removeprefix(NETWORK) for name in own if name not in fitting]


def _inputs(schema: Mapping[str, Any]) -> list[str]:
    """What each raw column is, as far as it is known."""
    columns = schema.get("table", {}).get("columns")
    if columns is None:
        return [repr(name) for name in schema.get("feature_names") or ()]
    return [
        repr(column["name"]) + (f" of {column['levels']}" if column["levels"] else "")
        for column in columns
    ]


def _outputs(schema: Mapping[str, Any]) -> list[str]:
    """What each output stands for, as far as it is known."""
    return [repr(name) for name in schema.get("class_names") or schema.get("target_names") or ()]
