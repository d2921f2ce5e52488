"""A Sphinx extension: names of d2lite lead to the reference, in the text and in code.

In the text it is what stands as code with its whole name, `d2lite.conv.conv2d`; in the reference
also shorter. In code it is what was imported from d2lite, once in each cell; a name that the page
itself defines is its own from then on.
"""

import ast
import re
from collections.abc import Iterator
from html import unescape

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.nodes import make_refnode

BLOCK = re.compile(r'(<div class="highlight-i?python3?\b.*?<pre>)(.*?)(</pre>)', re.DOTALL)
PIECE = re.compile(r"<[^>]*>|&[#\w]+;|[^<&]+")
Place = tuple[int, int]  # line and column


def link_text(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Let names in the text lead to the reference."""
    objects = app.env.domaindata["py"]["objects"]
    within = page.removeprefix("reference/") if page.startswith("reference/") else None
    for node in list(doctree.findall(nodes.literal)):
        name = node.astext().removesuffix("()")
        if within and f"{within}.{name}" in objects:
            name = f"{within}.{name}"
        elif within and f"d2lite.{name}" in objects:
            name = f"d2lite.{name}"
        found = objects.get(name)
        if found and not isinstance(node.parent, nodes.reference | nodes.title):
            link = make_refnode(app.builder, page, found.docname, found.node_id, node.deepcopy())
            node.replace_self(link)


def names_in(source: str, imported: dict[str, str]) -> Iterator[tuple[Place, str, str]]:
    """Where names of d2lite stand in code: the place, the text there, the whole name.

    `imported` has those of the cells before, by what they are called, and gets those of this one.
    """
    nodes_of, lines = list(ast.walk(ast.parse(source))), source.splitlines()
    found: list[tuple[int, int, str, str]] = []
    for node in nodes_of:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "d2lite":
            found.append((node.lineno, node.col_offset + len("from "), node.module, node.module))
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                imported[alias.asname or alias.name] = name
                found.append((alias.lineno, alias.col_offset, alias.name, name))
    for node in nodes_of:  # what the page gives a meaning of its own
        own = getattr(node, "name", None) or getattr(node, "arg", None)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            own = node.id
        if isinstance(own, str) and not isinstance(node, ast.alias | ast.keyword):
            imported.pop(own, None)
    for node in nodes_of:
        if isinstance(node, ast.Name) and node.id in imported:
            found.append((node.lineno, node.col_offset, node.id, imported[node.id]))
        elif isinstance(node, ast.Attribute) and getattr(node.value, "id", None) in imported:
            name = f"{imported[node.value.id]}.{node.attr}"
            column = node.end_col_offset - len(node.attr)
            found.append((node.end_lineno, column, node.attr, name))
    for line, column, text, name in sorted(found):
        yield (line, len(lines[line - 1].encode()[:column].decode())), text, name


def link_code(app: Sphinx, page: str, template: str, context: dict, doctree: object) -> None:
    """Let names in the page's code lead to the reference."""
    objects, imported = app.env.domaindata["py"]["objects"], {}

    def linked(block: re.Match) -> str:
        source = unescape(re.sub(r"<[^>]*>", "", block[2]))
        if "d2lite" not in source and not imported.keys() & set(re.findall(r"\w+", source)):
            return block[0]
        try:
            names = list(names_in(source, imported))
        except SyntaxError:  # a magic, or only a part
            return block[0]
        links, seen = {}, set()
        for place, text, name in names:
            if name in objects and name not in seen:
                seen.add(name)
                links[place] = text, objects[name]
        line, column, pieces = 1, 0, []
        for piece in PIECE.findall(block[2]):
            text, found = links.get((line, column), ("", None))
            if found and piece == text:
                address = app.builder.get_relative_uri(page, found.docname)
                pieces.append(f'<a class="d2-name" href="{address}#{found.node_id}">{piece}</a>')
            else:
                pieces.append(piece)
            if not piece.startswith("<"):
                *above, last = unescape(piece).split("\n")
                line, column = line + len(above), len(last) + (0 if above else column)
        return block[1] + "".join(pieces) + block[3]

    if "body" in context:
        context["body"] = BLOCK.sub(linked, context["body"])


def setup(app: Sphinx) -> dict:
    """Register with Sphinx."""
    app.connect("doctree-resolved", link_text)
    app.connect("html-page-context", link_code)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
