"""A quiet console: what libraries say on every run is left out, what matters is one line."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from lit_course.processes import local_rank

PACKAGE = str(Path(__file__).parent)

# Each is said on every run, about nothing that a user of this program could change.
NOISE = (
    r".*isinstance\(treespec, LeafSpec\).*",  # Lightning 2.6 with torch 2.14 and later
    r".*does not have many workers.*",  # loaders over whole tensors have none on purpose
    r".*smaller than the logging interval.*",  # epoch values are logged whatever the interval
    r"LightningCLI's args parameter is intended.*",  # main(args) is meant to be called from Python
    r"Checkpoint directory .* exists and is not empty.*",  # a resumed run goes on in its folder
    r".*callbacks used to create the checkpoint need to be provided.*",  # weights need none of them
    r"The dirpath has changed from.*",  # a new run from a checkpoint judges its best anew
    r"Total length of `list` across ranks is zero.*",  # no validation rows, as asked for
    r".*sync_dist=True.*",  # metrics are already of all processes
)


@contextmanager
def quiet() -> Iterator[None]:
    """Show warnings as one line each, without the noise; of Lightning's log only what we write."""
    import_module("lightning.pytorch")  # sets its loggers up
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    before = [(logger.handlers, logger.propagate) for logger in loggers]
    handler = logging.StreamHandler()
    handler.addFilter(_matters)
    with warnings.catch_warnings():
        for pattern in NOISE:
            warnings.filterwarnings("ignore", pattern)
        warnings.showwarning = _show
        hook, threading.excepthook = threading.excepthook, _show_thread
        for logger in loggers:
            logger.handlers, logger.propagate = [handler], False
        try:
            yield
        finally:
            threading.excepthook = hook
            for logger, (handlers, propagate) in zip(loggers, before, strict=True):
                logger.handlers, logger.propagate = handlers, propagate


def _matters(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or record.pathname.startswith(PACKAGE)


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: str | None = None,
) -> None:
    if local_rank() == 0:  # the others warn of the same
        print(f"warning: {str(message).partition(chr(10))[0]}", file=sys.stderr)


def _show_thread(ended: threading.ExceptHookArgs) -> None:
    """A thread's error without its stack; TensorBoard's writer raises it in the main thread too."""
    print(f"warning: a thread ended: {ended.exc_value!r}", file=sys.stderr)
