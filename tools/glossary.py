"""A Sphinx extension: in each chapter the first use of a term leads to the glossary.

Chapters are plain notebooks, in which no role may stand; so their text is searched for the terms of
book/glossary.md, whole words or their plurals. A pointer that rests on one sees the definition.
"""

import re

from docutils import nodes
from sphinx.addnodes import glossary
from sphinx.application import Sphinx
from sphinx.util.nodes import make_refnode

PAGE = "glossary"
NOT_IN = nodes.title, nodes.reference, nodes.literal, nodes.literal_block, nodes.math, nodes.raw


def terms(app: Sphinx) -> tuple[re.Pattern, dict[str, tuple[str, str]]]:
    """What finds a term, and of each, in small letters, its place in the glossary and definition.

    A definition ends where an arrow leads to the chapter that teaches the term.
    """
    if not hasattr(app.builder, "glossary"):
        found = {}
        page = app.env.get_doctree(PAGE)
        for item in page.findall(nodes.definition_list_item):
            if isinstance(item.parent.parent, glossary):
                definition = item[-1].astext().partition(" →")[0].replace("\n", " ")
                for term in item.findall(nodes.term):
                    found[term.astext().lower()] = term["ids"][0], definition
        longest_first = sorted(found, key=len, reverse=True)
        words = "|".join(re.sub(r"[ -]", "[ -]", re.escape(t).replace("\\", "")) for t in longest_first)
        pattern = re.compile(rf"(?<![\w-])({words})(?:e?s)?(?![\w-])", re.IGNORECASE)
        app.builder.glossary = pattern, found
    return app.builder.glossary


def link_terms(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Let the first use of each term in a chapter's sentences lead to the glossary."""
    if not app.env.doc2path(page).endswith(".ipynb") or page == app.config.root_doc:
        return
    pattern, found = terms(app)
    seen = set()
    for paragraph in list(doctree.findall(nodes.paragraph)):
        for text in list(paragraph.findall(nodes.Text)):
            around, node = [], text.parent
            while node is not None:
                around.append(node)
                node = node.parent
            if any(isinstance(node, NOT_IN) for node in around):
                continue
            parts, end = [], 0
            for match in pattern.finditer(text):
                place, definition = found[re.sub("[ -]", " ", match[1].lower())]
                if place not in seen:
                    seen.add(place)
                    link = make_refnode(app.builder, page, PAGE, place, nodes.Text(match[0]))
                    link.update_all_atts({"classes": ["d2-term"], "reftitle": definition})
                    parts += [nodes.Text(text[end : match.start()]), link]
                    end = match.end()
            if parts:
                text.parent.replace(text, [*parts, nodes.Text(text[end:])])


def setup(app: Sphinx) -> dict:
    """Register with Sphinx."""
    app.connect("doctree-resolved", link_terms)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
