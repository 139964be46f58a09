"""How the manual is built: ``make docs``."""

import re
import sys
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from configuration_pages import write_pages

project = "lit_course"
author = "The lit_course developers"
release = version("lit-course")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"lit_course {release}"
html_copy_source = False

myst_heading_anchors = 3
autodoc_typehints = "none"  # signatures are long enough; docstrings say what is what
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
napoleon_use_rtype = False
napoleon_use_ivar = True


def _double_backticks(app, what, name, obj, options, lines):  # noqa: ANN001, ANN202, D103  # Sphinx's
    # Of inherited methods, Lightning's docstrings are not ours to mend.
    lines[:] = [re.sub(r"\s+$", "", line) for line in lines]


def setup(app):  # noqa: ANN001, ANN201, D103  # Sphinx calls it
    app.connect("builder-inited", lambda app: write_pages(Path(app.srcdir) / "configuration"))
    app.connect("autodoc-process-docstring", _double_backticks)
