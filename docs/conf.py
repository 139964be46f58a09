"""How the manual is built: ``make docs``."""

import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from configuration_pages import write_pages

project = "lit_course"
author = "The lit_course developers"
release = metadata.version("lit-course")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"lit_course {release}"
html_show_sourcelink = False
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # signatures with types are longer than what they say


def hooks_are_lightnings(app, what, name, obj, skip, options) -> bool | None:  # noqa: ANN001  # Sphinx calls it
    """Leave the Trainer's hooks out of the pages: they are called by the Trainer alone."""
    return True if name.startswith("on_") else None


def setup(app) -> None:  # noqa: ANN001  # Sphinx calls it
    """Write the reference of the configuration, and say what is left out."""
    app.connect("builder-inited", lambda app: write_pages(Path(app.srcdir) / "configuration"))
    app.connect("autodoc-skip-member", hooks_are_lightnings)
