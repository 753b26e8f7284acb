"""The site of the documentation: ``python -m sphinx -W -b html docs site``.

The README, the model card and the changelog stay where people look for them, and the pages link to them as they lie in
the repository. On the site these links lead to pages made of the same text (``ELSEWHERE``).
"""

import re
from pathlib import Path
from typing import Any

import napari_sam_amg

ROOT = Path(__file__).parents[1]
project = "napari-sam-amg"
copyright = "the napari-sam-amg developers, BSD-3-Clause"
release = napari_sam_amg.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_heading_anchors = 4
exclude_patterns = ["site"]
html_theme = "furo"
html_title = project
add_module_names = False
autodoc_typehints_format = "short"
autodoc_type_aliases = {"NDArray": "ndarray"}
suppress_warnings = ["misc.highlighting_failure"]

#: The page of a text that lies elsewhere in the repository. Of the README it is the table of parameters alone.
ELSEWHERE = {
    "training/MODEL_CARD.md": "model-card",
    "training/README.md": "training",
    "CHANGELOG.md": "changelog",
    "README.md": "parameters",
}
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|#)([^)#\s]+)(#[^)]*)?\)")


def read_elsewhere(app: Any, name: str, source: list[str]) -> None:
    """Put the text into its page, and make links to files of the repository links to pages, or words."""
    place = next((path for path, page in ELSEWHERE.items() if page == name), "")
    if place:
        text = (ROOT / place).read_text("utf-8")
        source[0] = "# Parameters\n" + _section(text, "Parameters") if place == "README.md" else text
    folder = (ROOT / (place or f"docs/{name}.md")).parent
    source[0] = _LINK.sub(lambda found: _link(found, folder), source[0])


def _section(text: str, title: str) -> str:
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


def _link(found: "re.Match[str]", folder: Path) -> str:
    words, path, anchor = found[1], found[2], found[3] or ""
    target = (folder / path).resolve()
    name = target.relative_to(ROOT).as_posix() if target.is_relative_to(ROOT) else path
    if name in ELSEWHERE or name.startswith("docs/"):
        page = f"{ELSEWHERE[name]}.md" if name in ELSEWHERE else name.removeprefix("docs/")
        return f"[{words}]({page}{anchor})"
    return f"{words} (`{name}`)"


def setup(app: Any) -> None:
    app.connect("source-read", read_elsewhere)
