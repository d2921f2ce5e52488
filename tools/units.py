"""A Sphinx extension: a number and its unit stay on one line, such as 93 % or 28 px."""

import re

from docutils import nodes
from sphinx.application import Sphinx

UNIT = re.compile(r"(?<=\d) (?=(?:%|px|ms|s|min|[kKMG]B)(?!\w))")
AS_IT_IS = nodes.literal | nodes.literal_block | nodes.math | nodes.math_block | nodes.raw


def keep_units(text: str) -> str:
    """Put a space that does not break between a number and its unit."""
    return UNIT.sub("\u00a0", text)


def keep_units_of_page(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Do so in a page's text; code stays as it is."""
    for text in list(doctree.findall(nodes.Text)):
        if not isinstance(text.parent, AS_IT_IS) and UNIT.search(text):
            text.parent.replace(text, nodes.Text(keep_units(text)))


def setup(app: Sphinx) -> dict:
    """Register with Sphinx."""
    app.connect("doctree-resolved", keep_units_of_page)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
