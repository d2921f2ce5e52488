"""A Sphinx extension: the site's search finds sections, and shows of each the line that says most.

Sphinx's own search knows no numbers, so that "3 × 3" finds nothing, and takes its excerpts from the
finished pages, where each formula stands twice. Here the lines of every page are collected from
what Sphinx has read; `_static/search/search.js` searches them in the reader's browser.
"""

import json
import re
from html import unescape
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

LINES = nodes.paragraph, nodes.literal_block, nodes.row, nodes.title, nodes.math_block, nodes.term
SCRIPTS = re.compile(
    r'(<script src="[^"]*\b(?:searchtools|language_data|searchindex)\.js"></script>\s*)+'
)
ENTRY = re.compile(r'<div class="citation" id="([^"]+)".*?<p>(.*?)</p>', re.DOTALL)
Section = tuple[str, str, list[str], list[str]]  # anchor, title, prose, code


def collect(app: Sphinx, doctree: nodes.document) -> None:
    """Remember a page's sections, with the lines of each."""
    found: dict[tuple[str, str], Section] = {}
    for node in doctree.findall(lambda node: isinstance(node, LINES)):
        inside, section = node.parent, None
        while inside is not None and not isinstance(inside, LINES):
            if section is None and isinstance(inside, nodes.section):
                section = inside
            inside = inside.parent
        if inside is None:  # no part of another line
            title = section[0].astext() if section else ""
            top = section is None or isinstance(section.parent, nodes.document)
            place = "" if top else section["ids"][0], title
            is_code = isinstance(node, nodes.literal_block)
            texts = node.astext().splitlines() if is_code else [node.astext()]
            own = found.setdefault(place, (*place, [], []))[3 if is_code else 2]
            own += [line for text in texts if (line := " ".join(text.split()))]
    sections(app.env)[app.env.docname] = list(found.values())


def sections(env: BuildEnvironment) -> dict[str, list[Section]]:
    """The sections of all pages, which Sphinx keeps from build to build."""
    if not hasattr(env, "search_sections"):
        env.search_sections = {}
    return env.search_sections


def forget(app: Sphinx, env: BuildEnvironment, name: str) -> None:
    """Drop the sections of a page that is read anew, or gone."""
    sections(env).pop(name, None)


def papers(page: Path) -> list[Section]:
    """Each paper of a bibliography, which is there only when its page is finished."""
    entries = ENTRY.findall(page.read_text(encoding="utf-8"))
    return [(name, "", [unescape(re.sub("<[^>]*>", "", text))], []) for name, text in entries]


def write(app: Sphinx, exception: Exception | None) -> None:
    """Write the sections as a script, and let the search page load it."""
    if exception:
        return
    out, pages = Path(app.outdir), sorted(sections(app.env))
    found = {
        "pages": [(page, app.env.titles[page].astext()) for page in pages],
        "sections": [
            (i, *section)
            for i, page in enumerate(pages)
            for section in sections(app.env)[page] + papers(out / f"{page}.html")
        ],
    }
    text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
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
    return {"version": "1", "env_version": 2, "parallel_read_safe": False}
