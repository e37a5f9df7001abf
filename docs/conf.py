"""How the documentation becomes a site: `nox -s docs`, which takes every warning for an error."""

from __future__ import annotations

from importlib.metadata import version as installed
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "taaxdog_datamig"
version = release = installed("taaxdog-datamig")
author = copyright = "the taaxdog_datamig contributors"  # noqa: A001

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "index"
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "reference/*.py"]
# What stands between backquotes in a docstring is code.
default_role = "literal"

html_theme = "furo"
html_title = f"taaxdog_datamig {version}"
html_show_sphinx = False

# Links between pages name their headings as other readers of Markdown do.
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_google_docstring = True
napoleon_numpy_docstring = False

#: The pages of the side bar. Here, since other readers of Markdown would show it as code.
_CONTENTS = """

```{{toctree}}
:hidden:
:caption: {caption}
:glob:

{pages}
```
"""
_PARTS = {
    "Tutorial": "tutorial/*",
    "How to": "how-to/*",
    "Reference": "reference/*",
    "Explanation": "explanation/*\nexplanation/decisions/*",
}


def _add_contents(_app: Sphinx, page: str, source: list[str]) -> None:
    if page == root_doc:
        source[0] += "".join(_CONTENTS.format(caption=name, pages=pages) for name, pages in _PARTS.items())


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _add_contents)
