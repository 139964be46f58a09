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

from lit_course.messages import in_words
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
    r"Total length of .* across ranks is zero.*",  # no validation rows, as asked for
    r"You defined a .validation_step. but have no .val_dataloader.*",  # our modules always can
    r".*sync_dist=True.*",  # metrics are already of all processes
)


@contextmanager
def quiet(debug: bool = False) -> Iterator[None]:
    """Show warnings as one line each, without the noise; of Lightning's log only what we write.

    An error in a thread, or where nobody can catch it, is one line too.

    Args:
        debug: Whether such an error shows its stack trace.
    """
    import_module("lightning.pytorch")  # sets its loggers up
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    before = [(logger.handlers, logger.propagate) for logger in loggers]
    handler = logging.StreamHandler()
    handler.addFilter(_matters)
    hooks = threading.excepthook, sys.unraisablehook
    if not debug:
        threading.excepthook = sys.unraisablehook = _say
    with warnings.catch_warnings():
        for pattern in NOISE:
            warnings.filterwarnings("ignore", pattern)
        warnings.showwarning = _show
        for logger in loggers:
            logger.handlers, logger.propagate = [handler], False
        try:
            yield
        finally:
            threading.excepthook, sys.unraisablehook = hooks
            for logger, (handlers, propagate) in zip(loggers, before, strict=True):
                logger.handlers, logger.propagate = handlers, propagate


def _say(failed: threading.ExceptHookArgs | sys.UnraisableHookArgs) -> None:
    thread = getattr(failed, "thread", None)
    where = f" in {thread.name}" if thread is not None else ""
    if failed.exc_value is not None and not isinstance(failed.exc_value, SystemExit):
        print(f"error{where}: {in_words(failed.exc_value)}", file=sys.stderr)


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
    lines = [line.strip() for line in str(message).splitlines() if line.strip()]
    if local_rank() == 0:  # the others warn of the same
        print(f"warning: {lines[0] if lines else category.__name__}", file=sys.stderr)
