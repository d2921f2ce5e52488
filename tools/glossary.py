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
CHOICE = re.compile(r"[A-Z]\.")  # a choice of a question, which is a button


def terms(app: Sphinx) -> dict[str, tuple[str, str]]:
    """Of each term, in small letters and without hyphens: its place, and its definition.

    A definition ends where an arrow leads to the chapter that teaches the term.
    """
    if not hasattr(app.builder, "glossary"):
        app.builder.glossary = {
            term.astext().lower().replace("-", " "): (
                term["ids"][0],
                " ".join(item[-1].astext().partition("→")[0].split()),
            )
            for list_ in app.env.get_doctree(PAGE).findall(glossary)
            for item in list_.findall(nodes.definition_list_item)
            for term in item.findall(nodes.term)
        }
    return app.builder.glossary


def link_terms(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Let the first use of each term in a chapter's sentences lead to the glossary."""
    if not app.env.doc2path(page).endswith(".ipynb") or page == app.config.root_doc:
        return
    found, seen = terms(app), set()
    words = "|".join(sorted(found, key=len, reverse=True)).replace(" ", "[ -]")
    proper = r"(?-i:Windows\b)"  # a system, no windows
    pattern = re.compile(rf"(?<![\w-])(?!{proper})({words})(?:e?s)?(?![\w-])", re.IGNORECASE)
    for paragraph in list(doctree.findall(nodes.paragraph)):
        if paragraph.children and CHOICE.fullmatch(paragraph[0].astext()):
            continue
        for text in [text for text in paragraph.findall(nodes.Text) if is_plain(text)]:
            parts, end = [], 0
            for match in pattern.finditer(text):
                place, definition = found[match[1].lower().replace("-", " ")]
                if place not in seen:
                    seen.add(place)
                    link = make_refnode(app.builder, page, PAGE, place, nodes.Text(match[0]))
                    link.update_all_atts({"classes": ["d2-term"], "reftitle": definition})
                    parts += [nodes.Text(text[end : match.start()]), link]
                    end = match.end()
            text.parent.replace(text, [*parts, nodes.Text(text[end:])])


def is_plain(text: nodes.Text) -> bool:
    """Whether a text stands in a sentence, at most emphasized: no link, code or formula."""
    parent = text.parent
    if isinstance(parent, nodes.emphasis | nodes.strong):
        parent = parent.parent
    return isinstance(parent, nodes.paragraph)


def setup(app: Sphinx) -> dict:
    """Register with Sphinx."""
    app.connect("doctree-resolved", link_terms)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
