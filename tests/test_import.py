"""``import lit_course`` in somebody else's program: cheap, and nothing there changes."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Prints what the import changed. Nothing beside the package's own file may have been loaded but
# what its four lines import: a name is looked up when it is asked for.
SCRIPT = """
import importlib.util, logging, os, random, signal, sys, threading, time, typing, warnings

def state():
    return {
        "signals": [signal.getsignal(number) for number in signal.valid_signals()],
        "warnings": list(warnings.filters),
        "loggers": sorted(logging.root.manager.loggerDict),
        "handlers": list(logging.root.handlers),
        "environment": dict(os.environ),
        "threads": threading.enumerate(),
        "random": random.getstate(),
        "hooks": (sys.excepthook, sys.displayhook, sys.unraisablehook, threading.excepthook),
        "files": sorted(os.listdir()),
        "path": list(sys.path),
        "modules": sorted(set(sys.modules) - {"lit_course"}),
    }

before, start = state(), time.process_time()
import lit_course
seconds, after = time.process_time() - start, state()
for name in before:
    if before[name] != after[name]:
        print(name, before[name], after[name])
if seconds > 0.1:
    print("it took", seconds)
"""


def test_an_import_changes_nothing(tmp_path):
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n" + SCRIPT]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_public_name_is_there_and_no_other():
    import lit_course

    assert set(lit_course.__all__) <= set(dir(lit_course))
    for name in lit_course.__all__:
        assert getattr(lit_course, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'MLP'"):
        _ = lit_course.MLP
