"""A Sphinx extension: the site's search finds lines, and shows them.

Sphinx's own search knows no numbers, so that "3 × 3" finds nothing, and takes its excerpts from the
finished pages, where each formula stands twice. Here the lines of every page are collected from
what Sphinx has read; `_static/search/search.js` searches them in the reader's browser.
"""

import json
import re
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

LINES = nodes.paragraph, nodes.literal_block, nodes.row, nodes.title, nodes.math_block, nodes.term
SCRIPTS = re.compile(
    r'(<script src="[^"]*\b(?:searchtools|language_data|searchindex)\.js"></script>\s*)+'
)


def collect(app: Sphinx, doctree: nodes.document) -> None:
    """Remember a page's lines: (anchor, title of the section, text, whether it is code)."""
    found = []
    for node in doctree.findall(lambda node: isinstance(node, LINES)):
        inside, section = node.parent, None
        while inside is not None and not isinstance(inside, LINES):
            if section is None and isinstance(inside, nodes.section):
                section = inside
            inside = inside.parent
        if inside is None:  # no part of another line
            title = section[0].astext() if section else ""
            top = section is None or isinstance(section.parent, nodes.document)
            is_code = isinstance(node, nodes.literal_block)
            for text in node.astext().splitlines() if is_code else [node.astext()]:
                if text.strip():
                    anchor = "" if top else section["ids"][0]
                    found.append((anchor, title, " ".join(text.split()), int(is_code)))
    lines(app.env)[app.env.docname] = found


def lines(env: BuildEnvironment) -> dict[str, list[tuple[str, str, str, int]]]:
    """The lines of all pages, which Sphinx keeps from build to build."""
    if not hasattr(env, "search_lines"):
        env.search_lines = {}
    return env.search_lines


def forget(app: Sphinx, env: BuildEnvironment, name: str) -> None:
    """Drop the lines of a page that is read anew, or gone."""
    lines(env).pop(name, None)


def write(app: Sphinx, exception: Exception | None) -> None:
    """Write the lines as a script, and let the search page load it."""
    if exception:
        return
    pages = sorted(lines(app.env))
    found = {
        "pages": [(page, app.env.titles[page].astext()) for page in pages],
        "lines": [(i, *line) for i, page in enumerate(pages) for line in lines(app.env)[page]],
    }
    text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
    out = Path(app.outdir)
    (out / "_static" / "search" / "lines.js").write_text(f"window.bookLines={text};\n", "utf-8")
    ours = "".join(
        f'<script src="_static/search/{name}.js"></script>\n' for name in ("minisearch", "search")
    )
    page = out / "search.html"
    page.write_text(SCRIPTS.sub(ours, page.read_text(encoding="utf-8")), encoding="utf-8")


def setup(app: Sphinx) -> dict:
    """Register with Sphinx."""
    app.connect("doctree-read", collect)
    app.connect("env-purge-doc", forget)
    app.connect("build-finished", write, priority=600)
    return {"version": "1", "env_version": 1, "parallel_read_safe": False}
