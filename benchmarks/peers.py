"""What else trains the same network in one call: scikit-learn, and skorch where it is installed."""

from __future__ import annotations

import time
import warnings
from importlib.util import find_spec
from typing import Any

from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from torch import Tensor, nn
from torch.optim import Adam

from benchmarks.network import LEARNING_RATES, SIZES, network
from benchmarks.program import terminal

HAS_SKORCH = find_spec("skorch") is not None


def scikit_learn(
    x: Tensor, y: Tensor, batch_size: int, sizes: tuple[int, ...] = SIZES, epochs: int = 1
) -> float:
    """Seconds of ``fit`` with Adam over float32 inputs; it reports the loss of an epoch."""
    model = MLPClassifier(
        sizes[1:-1],
        solver="adam",
        alpha=0.0,
        batch_size=batch_size,
        learning_rate_init=LEARNING_RATES["Adam"],
        max_iter=epochs,
        n_iter_no_change=epochs,
        random_state=0,
    )
    return _timed(model, x, y)


def skorch(
    x: Tensor, y: Tensor, batch_size: int, sizes: tuple[int, ...] = SIZES, epochs: int = 1
) -> float:
    """Seconds of ``fit`` with Adam over float32 inputs, its own defaults, nothing held out."""
    from skorch import NeuralNetClassifier

    model = NeuralNetClassifier(
        network(sizes),
        criterion=nn.CrossEntropyLoss,
        optimizer=Adam,
        lr=LEARNING_RATES["Adam"],
        batch_size=batch_size,
        max_epochs=epochs,
        iterator_train__shuffle=True,
        train_split=None,
    )
    return _timed(model, x, y)


def _timed(model: Any, x: Tensor, y: Tensor) -> float:
    features, labels = x.numpy(), y.numpy()
    with terminal(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # so few epochs were asked for
        started = time.perf_counter()
        model.fit(features, labels)
        return time.perf_counter() - started
