"""How far the memory of a fit grows above that of the same process after all imports."""

from __future__ import annotations

import re
import sys
import tempfile
from functools import partial
from importlib import import_module
from pathlib import Path

from benchmarks.fresh import output
from benchmarks.group import Group, Row, Setting
from benchmarks.rounds import Contender, Rounds, interleave
from benchmarks.training import Epoch

# Whatever a fit imports, also what it imports late.
IMPORTED = (
    "lit_course.trainer_cli",
    "torch.utils.tensorboard",
    "torchvision.datasets",
)


def peak() -> int:
    """Bytes of the largest resident memory of this process since the last ``reset``."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return 1024 * int(found[1])


def reset() -> None:
    """Let the peak begin again at what is resident now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def growth(args: list[str]) -> int:
    """Bytes by which a command's peak is above this process after its imports."""
    for name in IMPORTED:
        import_module(name)
    main = import_module("lit_course.cli").main
    reset()
    before = peak()
    if status := main(args):
        raise SystemExit(status)
    return peak() - before


def measure(setting: Setting) -> Rounds:
    """One epoch with batches of 64, and with the data module's default; Linux only."""

    def grown(*flags: str) -> float:
        command = Epoch(setting.images, 64, "SGD").command()
        with tempfile.TemporaryDirectory() as folder:
            args = [arg.replace("{folder}", folder) for arg in (*command, *flags)]
            last = output([sys.executable, "-m", "benchmarks.memory", *args]).splitlines()[-1]
        return int(last) / setting.images.nbytes

    contenders: dict[str, Contender] = {
        "batch 64": grown,
        "default": partial(grown, "--data.batch_size=128"),
    }
    return interleave(contenders, setting.rounds)


GROUP = Group(
    "peak memory of a fit above its imports, in units of all images as uint8",
    (
        Row("batch 64", "batch 64", at_most=2),
        Row("the default batch size, 128", "default", at_most=2),
    ),
    measure,
)

if __name__ == "__main__":
    print(growth(sys.argv[1:]))
