"""Sphinx configuration."""

import stoker

project = "Stoker"
author = "The Stoker authors"
copyright = "2026, the Stoker authors"
release = version = stoker.__version__
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
html_theme = "furo"
html_title = "Stoker"
exclude_patterns = ["_build"]
myst_heading_anchors = 3
