"""The formats that a trained model can be exported in: how each is written, and asked again."""

from __future__ import annotations

import io
import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from lit_course.modules import SupervisedModule
from lit_course.networks import NETWORKS, load_network

Answers = dict[str, Tensor]


class ExportFormat(ABC):
    """A kind of file. Abstract."""

    suffix: ClassVar[str]
    runtime: ClassVar[str] = "torch"  # what runs it
    needs: ClassVar[tuple[str, ...]] = ()  # packages beside those of lit_course

    def expected(self, model: SupervisedModule, x: Tensor) -> Answers:
        """What the file is to answer for raw features ``(N, ...)``."""
        return model.answers(model.outputs_of(x))

    @abstractmethod
    def write(self, model: SupervisedModule, x: Tensor, path: Path) -> None:
        """Write a model; ``x`` are some raw features.

        Raises:
            ValueError: If such a model has no place in such a file.
        """

    @abstractmethod
    def open(self, path: Path, names: list[str]) -> Callable[[Tensor], Answers]:
        """Read a file back; from raw features ``(N, ...)`` to its answers by their names."""


class _Program(nn.Module):
    """A model as a function: raw features in, answers out."""

    def __init__(self, model: SupervisedModule) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.model.answers(self.model.outputs_of(x)).values())


def _traced(model: SupervisedModule, x: Tensor) -> torch.export.ExportedProgram:
    batch = {0: torch.export.Dim("batch", min=1)}
    return torch.export.export(_Program(model), (x,), dynamic_shapes=(batch,))


class TorchExport(ExportFormat):
    """A program for ``torch.export.load``, in Python or C++."""

    suffix = ".pt2"

    def write(self, model: SupervisedModule, x: Tensor, path: Path) -> None:
        """Write the answers as a program."""
        with _tracing(model):
            torch.export.save(_traced(model, x), path)

    def open(self, path: Path, names: list[str]) -> Callable[[Tensor], Answers]:
        """Load the program."""
        program = torch.export.load(path).module()
        return lambda x: dict(zip(names, program(x), strict=True))


class Onnx(ExportFormat):
    """A graph for ONNX runtimes, weights included."""

    suffix = ".onnx"
    runtime = "onnxruntime"
    needs = ("onnx", "onnxscript", "onnxruntime")

    def write(self, model: SupervisedModule, x: Tensor, path: Path) -> None:
        """Write the answers as a graph."""
        with _tracing(model):
            # Given the model itself it would try again with a constant number of samples.
            program = torch.onnx.export(
                _traced(model, x),
                input_names=["x"],
                output_names=list(self.expected(model, x)),
                dynamic_shapes=({0: "batch"},),  # names the axis, which the trace calls s77
                verbose=False,
            )
            assert program is not None
            program.save(path, external_data=False)

    def open(self, path: Path, names: list[str]) -> Callable[[Tensor], Answers]:
        """Load the graph with onnxruntime."""
        from onnxruntime import InferenceSession

        session = InferenceSession(path, providers=["CPUExecutionProvider"])

        def run(x: Tensor) -> Answers:
            answers = session.run(names, {"x": x.numpy()})
            return {n: torch.from_numpy(np.asarray(a)) for n, a in zip(names, answers, strict=True)}

        return run


class StateDict(ExportFormat):
    """The network's weights alone, for ``lit_course.networks.load_network``."""

    suffix = ".pt"

    def expected(self, model: SupervisedModule, x: Tensor) -> Answers:
        """What the model's ``forward`` gives: logits, predictions in original units, scores."""
        return {"outputs": model(x)}

    def write(self, model: SupervisedModule, x: Tensor, path: Path) -> None:
        """Write the weights; their sizes are written beside every file."""
        if type(model.network) not in NETWORKS.values():
            raise ValueError(
                f"{type(model.network).__name__} is no network of lit_course.networks, and its "
                "weights alone are no model: give --format torch_export or onnx"
            )
        if list(model.answers(model.outputs_of(x)))[1:] and not hasattr(model, "predict_proba"):
            raise ValueError(
                "the loss gives an interval beside each prediction, which the network alone does "
                "not make: give --format torch_export or onnx"
            )
        self.save({n: v.contiguous() for n, v in model.network.state_dict().items()}, path)

    def save(self, weights: dict[str, Tensor], path: Path) -> None:
        """Write tensors by name."""
        torch.save(weights, path)

    def open(self, path: Path, names: list[str]) -> Callable[[Tensor], Answers]:
        """Make the network again."""
        network = load_network(path)
        return lambda x: {"outputs": network(x)}


class Safetensors(StateDict):
    """The same in a format that other libraries and languages read."""

    suffix = ".safetensors"
    needs = ("safetensors",)

    def save(self, weights: dict[str, Tensor], path: Path) -> None:
        """Write tensors by name."""
        from safetensors.torch import save_file

        save_file(weights, path)


FORMATS: dict[str, ExportFormat] = {
    "torch_export": TorchExport(),
    "onnx": Onnx(),
    "state_dict": StateDict(),
    "safetensors": Safetensors(),
}


@contextmanager
def _tracing(model: SupervisedModule) -> Iterator[None]:
    """Torch's exporters: quiet about themselves, and an error in a line.

    Raises:
        ValueError: If the model cannot be traced.
    """
    try:
        with _silence():
            yield
    except OSError:
        raise
    except Exception as error:  # they raise whatever they stumble on
        reason = first_line(error).partition(" For more information, run with")[0]
        raise ValueError(
            f"{type(model).__name__} cannot be traced, for any number of samples, by torch.export: "
            f"{reason.rstrip('.!')}. In the network take x.shape[0], not len(x), no loop over "
            "samples, and torch.where, no Python branch on values"
        ) from error


@contextmanager
def _silence() -> Iterator[None]:
    """No warnings and no log; nor the graph that ``torch.export`` prints before it gives up."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def first_line(error: Exception) -> str:
    """What kind of error it is, and the first line of what it says."""
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {reason}"
