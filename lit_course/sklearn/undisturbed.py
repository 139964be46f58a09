"""A Trainer as a guest in somebody's process: it says nothing, and leaves all as it was."""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning.pytorch.utilities import rank_zero  # noqa: F401  # names the logger below
from lightning.pytorch.utilities.seed import isolate_rng

from lit_course.console import NOISE

LOGGER = "lightning.pytorch.utilities.rank_zero"
NOT_USED = r".*available but not used.*"  # an accelerator that the user did without


@contextmanager
def undisturbed() -> Iterator[None]:
    """Fit within it: random states, threads, loggers, warning filters and signals are put back.

    Of what this thread logs only warnings pass. An interrupt leaves as ``KeyboardInterrupt``.
    """
    thread, threads = threading.get_ident(), torch.get_num_threads()

    def matters(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING or record.thread != thread

    logger = logging.getLogger(LOGGER)
    logger.addFilter(matters)
    try:
        with isolate_rng(), warnings.catch_warnings(), _interruptible():
            for pattern in (*NOISE, NOT_USED):
                warnings.filterwarnings("ignore", pattern)
            yield
    finally:
        logger.removeFilter(matters)
        torch.set_num_threads(threads)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Lightning ends the program on Ctrl-C, and ignores every later one."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        if not isinstance(stop.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, before)
        raise KeyboardInterrupt from None
