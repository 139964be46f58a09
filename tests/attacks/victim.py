"""A process that opens hostile files through the command line and the Python loader.

It says how each ended, and what it took. One process opens many files: importing torch costs
seconds. One that hangs is killed by whoever asked.
"""

import io
import resource
import time
import warnings
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

SECONDS, MEGABYTES = 20, 200  # no file may take longer, or more memory above normal


@dataclass(frozen=True)
class Ended:
    """How opening a file ended: exit status, what was said, seconds, megabytes above before."""

    status: int
    err: str
    seconds: float
    megabytes: float


class Victim:
    """The other end of the process."""

    def __init__(self) -> None:
        self.context = get_context("forkserver")
        self.context.set_forkserver_preload(
            ["attacks.victim", "processes", "lit_course.trainer_cli"]
        )
        self._start()

    def _start(self) -> None:
        self.pipe, other = self.context.Pipe()
        self.process = self.context.Process(target=serve, args=(other,), daemon=True)
        self.process.start()
        other.close()

    def open(self, *args: object) -> Ended:
        """Run ``lit-course`` with arguments; ``open("load", CLASS, FILE)`` loads from Python."""
        self.pipe.send([str(arg) for arg in args])
        if not self.pipe.poll(SECONDS):
            self.end()
            self._start()
            return Ended(-1, "it hung", SECONDS, 0)
        try:
            return self.pipe.recv()
        except EOFError:
            self.process.join()
            code = self.process.exitcode
            self._start()
            return Ended(-1, f"the process died with {code}", 0, 0)

    def end(self) -> None:
        self.process.kill()
        self.process.join()


def serve(pipe) -> None:
    """Open one file after another until the pipe is closed."""
    import torch

    torch.set_num_threads(1)
    # Whoever takes gigabytes gets a MemoryError, and the test a message; not the machine's end.
    resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") + (4 << 30),) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while True:
        try:
            args = pipe.recv()
        except EOFError:
            return
        out, err = io.StringIO(), io.StringIO()
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts at what is in use now
        before, start = _status("VmRSS"), time.perf_counter()
        with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
            status = _load(*args[1:]) if args[0] == "load" else _run(args)
        seconds, peak = time.perf_counter() - start, _status("VmHWM")
        pipe.send(Ended(status, err.getvalue(), seconds, (peak - before) / 2**20))


def _run(args: list[str]) -> int:
    from lit_course.cli import main

    return main(args)


def _load(name: str, path: str) -> int:
    """As from Python: any error is printed as the command line would."""
    import sys

    import lit_course

    try:
        getattr(lit_course, name).load_from_checkpoint(path)
    except Exception as error:
        kind = "" if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: "
        print(f"error: {kind}{error}", file=sys.stderr)
        return 1
    return 0


def _status(name: str) -> int:
    """A line of ``/proc/self/status`` in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(name)
