"""A Sphinx extension: what is one number stays on one line, such as 93 %, 28 px or 70.5–70.8."""

import re

from docutils import nodes
from sphinx.application import Sphinx

UNIT = re.compile(r"(?<=\d) (?=(?:%|px|ms|s|min|[kKMG]B)(?!\w))")
RANGE = re.compile(r"(?<=\d)–(?=[\d−])")
AS_IT_IS = nodes.literal | nodes.literal_block | nodes.math | nodes.math_block | nodes.raw


def keep_units(text: str) -> str:
    """Put a space that does not break before a unit, and a word joiner into a range."""
    return RANGE.sub("–\u2060", UNIT.sub("\u00a0", text))


def keep_units_of_page(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Do so in a page's text; code stays as it is."""
    for text in list(doctree.findall(nodes.Text)):
        if not isinstance(text.parent, AS_IT_IS) and text != (kept := keep_units(text)):
            text.parent.replace(text, nodes.Text(kept))


def setup(app: Sphinx) -> dict:
    """Register with Sphinx."""
    app.connect("doctree-resolved", keep_units_of_page)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
