"""Configuration of the documentation: ``sphinx-build -W -b html docs build/html`` with ``psfmatch[docs]`` installed.

Tables of fields, limits and public names are made from the package, pictures from a simulated pair: no data is needed.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import psfmatch

project = "psfmatch"
author = "the psfmatch developers"
project_copyright = author
release = version = psfmatch.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx-mathjax-offline",
    "configFields",
    "fieldLists",
    "gradeLimits",
    "hotpantsOptions",
    "pictures",
    "publicNames",
]
exclude_patterns = ["_ext", "packaging"]
# Absolute values in docstrings are no substitutions.
rst_prolog = "\n".join(f".. |{name}| replace:: \\|{name}\\|" for name in ("K", "phi", "weight")) + "\n"
default_role = "py:obj"
highlight_language = "python"

myst_enable_extensions = ["dollarmath", "amsmath", "deflist", "colon_fence"]
myst_heading_anchors = 4

autosummary_generate = False
autodoc_typehints = "none"  # numpydoc sections name shapes and units, signatures would repeat the types
autodoc_member_order = "bysource"
numpydoc_show_class_members = False

html_theme = "furo"
html_title = f"psfmatch {release}"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_copy_source = False
