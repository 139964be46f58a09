"""A real TensorBoard over a folder of runs, and what it looks like in a browser."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

SECONDS = 60.0  # until a server has started, a page is drawn
# No look-ups beyond this machine.
QUIET = "--disable-quic --no-first-run --disable-background-networking --disable-component-update"


class Server:
    """A TensorBoard that answers.

    Args:
        url: Where.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **query: str) -> Any:
        """What it says at a path below ``data``: parsed JSON, or bytes if that is none."""
        return self._read(f"{self.url}data/{path}?{urlencode(query)}")

    def post(self, path: str, asked: Mapping[str, Any]) -> Any:
        """The same for what must be asked with a request in JSON."""
        body = json.dumps(asked).encode()
        headers = {"Content-Type": "application/json"}
        return self._read(Request(f"{self.url}data/{path}", data=body, headers=headers))

    @staticmethod
    def _read(request: str | Request) -> Any:
        with urlopen(request, timeout=SECONDS) as response:  # on this machine
            content = response.read()
            kind = response.headers.get_content_type()
        return json.loads(content) if kind == "application/json" else content


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """TensorBoard over a folder of runs, on a free port of this machine, once it knows of a run.

    Raises:
        RuntimeError: If it has not started, or read a run, in a minute.
    """
    program = [sys.executable, "-m", "tensorboard.main", "--port", "0", "--host", "127.0.0.1"]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen([*program, "--logdir", str(folder)], stdout=log, stderr=log)
        try:
            server = Server(_url(process, log))
            _until(lambda: server.get("runs"))
            yield server
        finally:
            process.terminate()
            process.wait()


def _url(process: subprocess.Popen[bytes], log: Any) -> str:
    def said() -> str | None:
        if process.poll() is not None:
            raise RuntimeError(f"TensorBoard ended with {process.returncode}")
        log.seek(0)
        words = [word for word in log.read().split() if word.startswith("http://127.")]
        return words[0] if words else None

    return str(_until(said))


def _until(found: Any) -> Any:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.1)
    raise RuntimeError(f"TensorBoard did not answer within {SECONDS:g} s")


def browser() -> str | None:
    """Chromium, if there is one on this machine."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def screenshot(url: str, path: Path, width: int = 1200, height: int = 750) -> None:
    """Write a picture of a page as PNG.

    Raises:
        RuntimeError: If the browser made none.
    """
    program = browser()
    if program is None:
        raise RuntimeError("a screenshot needs Chromium: install Debian's chromium")
    with tempfile.TemporaryDirectory() as profile:
        flags = f"--headless --no-sandbox --disable-gpu --hide-scrollbars --disable-sync {QUIET}"
        command = [program, *flags.split(), f"--user-data-dir={profile}"]
        size = [f"--window-size={width},{height}", "--virtual-time-budget=20000"]
        subprocess.run(
            [*command, *size, f"--screenshot={path}", url],
            check=False,
            capture_output=True,
            timeout=2 * SECONDS,
        )
    if not path.is_file():
        raise RuntimeError(f"{program} made no picture of {url}")
