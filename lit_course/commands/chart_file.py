"""A chart as files: ``<name>.png``, and its numbers beside it as ``<name>.csv``."""

from __future__ import annotations

import os
from pathlib import Path

from PIL import Image

from lit_course.figures import Chart
from lit_course.output_file import check_output


def check_chart(path: Path, overwrite: bool) -> None:
    """Refuse files that could not be written in the end, before anything is computed.

    Raises:
        UsageError: Saying what is wrong with one of them.
    """
    check_output(path, overwrite, [".png"])
    check_output(path.with_suffix(".csv"), overwrite, [".csv"])


def write_chart(chart: Chart, path: Path) -> None:
    """Write both files; each is either the old one or whole."""
    partial = path.with_suffix(".part")
    try:
        partial.write_text(chart.text(), encoding="utf-8")
        os.replace(partial, path.with_suffix(".csv"))
        Image.fromarray(chart.pixels()).save(partial, format="png")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
