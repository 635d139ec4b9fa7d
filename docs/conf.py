"""How Sphinx makes the documentation: ``make docs``.

The source is the whole checkout, so that README.md and the pages of the rooms are part of it as
they are, and links between them hold here as they do there.
"""

import re
from pathlib import Path
from typing import Any

import prunebench

project = "prunebench"
version = release = prunebench.__version__
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**.md", "strategies/README.md", "results/README.md",
                    "results/published/*.md"]  # fmt: skip
exclude_patterns = [".*", "build", "docs/_build", "runs", "site", "tests"]
templates_path = ["templates"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 4
add_module_names = False
autodoc_default_options = {"members": True, "imported-members": True}
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

html_theme = "furo"
html_title = "prunebench"
html_copy_source = False
html_additional_pages = {"index": "to-start.html"}

_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)#\s]+)\)")
_ENTRY = re.compile(r"^(Formula|Source|Use|Cost): ")


def setup(app: Any) -> None:
    """Say what is read otherwise here than it is written."""
    app.connect("source-read", _without_folders)
    app.connect("autodoc-process-docstring", _as_fields)


def _without_folders(app: Any, page: str, source: list[str]) -> None:
    """Leave the words of links to folders, which are no pages."""
    folder = Path(app.srcdir, page).parent

    def led(link: re.Match[str]) -> str:
        return link[1] if (folder / link[2]).is_dir() else link[0]

    source[0] = _LINK.sub(led, source[0])


def _as_fields(app: Any, kind: str, name: str, member: Any, options: Any, lines: list[str]) -> None:
    """Make fields of the entries of components; a bar stands for itself."""
    for number, line in enumerate(lines):
        parts = re.split(r"(``.*?``)", _ENTRY.sub(r":\1: ", line))
        lines[number] = "".join(
            part if part.startswith("``") else part.replace("|", r"\|") for part in parts
        )
