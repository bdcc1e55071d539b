"""Settings of Sphinx: pages in Markdown, docstrings in NumPy's form. Nothing is fetched from anywhere."""

from __future__ import annotations

from sphinx.application import Sphinx

from remanager import __version__

project = "remanager"
author = "the remanager developers"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
exclude_patterns = ["decisions/0000-template.md"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

html_theme = "furo"
html_title = "remanager"
html_copy_source = False
html_show_copyright = False


def _leave_out_classes(
    app: Sphinx, what: str, name: str, member: object, skip: bool, options: object
) -> bool | None:
    """Leave out errors that the client has as attributes, too: they are described once."""
    return True if what == "class" and isinstance(member, type) else None


def setup(app: Sphinx) -> None:
    """Connect what this file adds."""
    app.connect("autodoc-skip-member", _leave_out_classes)
