"""What a measurement was made on: processor, threads, versions."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from threadpoolctl import threadpool_info, threadpool_limits

PACKAGES = (
    "lightgbm",
    "lightning",
    "numpy",
    "scikit-learn",
    "skorch",
    "torch",
    "torchmetrics",
    "torchvision",
)
# What the libraries of a new process read before they make their threads.
VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch and every BLAS compute with so many threads, in processes started here too."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        variables = dict.fromkeys(VARIABLES, str(count))
        with threadpool_limits(count), mock.patch.dict(os.environ, variables):
            yield
    finally:
        torch.set_num_threads(before)


def described() -> dict[str, Any]:
    """The machine, threads and versions, as plain values."""
    return {
        "cores": os.cpu_count(),
        "date": date.today().isoformat(),
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "threads": {"torch": torch.get_num_threads()}
        | {pool["internal_api"]: pool["num_threads"] for pool in threadpool_info()},
        "versions": {"python": platform.python_version()} | dict(_versions()),
    }


def _versions() -> Iterator[tuple[str, str]]:
    for package in PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:  # a peer that is not installed
            continue


def _processor() -> str:
    """Name and instruction set; of the name alone a virtual machine may say little."""
    lines = Path("/proc/cpuinfo")
    found = dict.fromkeys(("model name", "cpu family", "model"), "?")
    for line in lines.read_text(encoding="utf-8").splitlines() if lines.is_file() else ():
        name, _, value = line.partition(":")
        if name.strip() in found:
            found[name.strip()] = value.strip()
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{found['model name']} family {found['cpu family']} model {found['model']} {capability}"
