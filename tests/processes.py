"""Real processes that run ``lit-course``, forked from a server that has imported it once.

Tests that start them are of one group, ``in_one_worker``, so that there is one such server.
"""

import ctypes
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities import rank_zero_only

from lit_course.cli import main
from lit_course.processes import local_rank

in_one_worker = pytest.mark.xdist_group("processes")
_context = multiprocessing.get_context("forkserver")
# What draws too: matplotlib is imported for the first figure only.
_context.set_forkserver_preload(
    ["processes", "lit_course.trainer_cli", "matplotlib.backends.backend_agg"]
)


class Wait(Callback):
    """Makes the n-th batch of a training last for minutes."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def on_train_batch_start(self, trainer: Trainer, *args: object) -> None:
        if trainer.fit_loop.total_batch_idx == self.batch:
            Path(os.environ["WAITING"]).touch()
            time.sleep(300)


def _run(args: list[str], log: str, environment: dict[str, str], file_limit: int | None) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.update(environment)
    rank_zero_only.rank = local_rank()  # Lightning asks when it is imported, which was before
    torch.set_num_threads(1)
    _leave_root()
    if file_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    sys.exit(main(args))


def _leave_root() -> None:
    """Give up root's right to write where the file system does not let its owner."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None)
        header = (ctypes.c_uint32 * 2)(
            0x20080522, 0
        )  # third version of the interface, this process
        rights = (ctypes.c_uint32 * 6)()
        assert libc.capget(header, rights) == 0
        rights[0] &= ~0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH of the effective ones
        assert libc.capset(header, rights) == 0


def run_script(script: str, seconds: float = 60, **variables: object) -> int:
    """Run Python code in a process of its own; returns its exit status."""
    process = _context.Process(target=exec, args=(script, variables))
    process.start()
    process.join(seconds)
    return -1 if process.exitcode is None else process.exitcode


class Command:
    """A ``lit-course`` command in a process of its own; ``log`` is what it writes.

    Args:
        log: Where its output goes.
        *args: The command line.
        file_limit: Most bytes that a file it writes may have.
        **environment: Variables that it has beside this process's own.
    """

    def __init__(
        self, log: Path, *args: object, file_limit: int | None = None, **environment: str
    ) -> None:
        self.log = log
        given = [str(arg) for arg in args]
        self._process = _context.Process(
            target=_run, args=(given, str(log), environment, file_limit)
        )
        self._process.start()

    def send(self, number: int) -> None:
        """Send it a signal."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def wait_for(self, happened: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until something has happened while it runs."""
        end = time.monotonic() + seconds
        while not happened():
            assert self._process.is_alive(), self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.002)

    def kill(self) -> None:
        """End it as nothing can prevent."""
        self._process.kill()

    def status(self, seconds: float = 60) -> int:
        """Wait for its end; minus the signal's number where a signal killed it."""
        self._process.join(seconds)
        if self._process.exitcode is None:
            self._process.kill()
            raise AssertionError(f"still running after {seconds} s:\n{self.log.read_text()}")
        return self._process.exitcode
