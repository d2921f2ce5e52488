"""Make a deck of slides of each chapter that has one: `make slides`; `make book` does it as well.

A deck is the cells of a notebook whose metadata says `slideshow: {slide_type: …}`: `slide` begins
one, `-` continues it, a `fragment` appears on the next key, `notes` are for the speaker. Code shows
its outputs; tagged `slide-picture`, only its pictures; tagged `slide-code`, itself. Markdown for
the deck alone is tagged `remove-cell`.

As a Sphinx extension it also gives each page that has a deck a button that opens it.
"""

import argparse
import re
import shutil
from functools import cache
from importlib.resources import files
from pathlib import Path

import nbformat
from docutils.nodes import make_id
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from nbconvert import SlidesExporter
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from sphinx.application import Sphinx
from sphinxcontrib import katex

from notebooks import ROOT, chapters
from static_site import prepare_katex

TEMPLATE, STYLE = ROOT / "tools" / "slides.html.j2", ROOT / "tools" / "slides.css"
REVEAL = "dist/reveal.js", "dist/reveal.css", "plugin/notes/notes.js", "LICENSE"
STATE = "application/vnd.jupyter.widget-state+json"
SHOWN = {"slide", "subslide", "fragment", "-", "notes"}


def slide_type(cell: nbformat.NotebookNode) -> str | None:
    """What a cell is in the deck, or None if it is not in it."""
    kind = cell.metadata.get("slideshow", {}).get("slide_type")
    return kind if kind in SHOWN else None


def has_deck(path: Path) -> bool:
    """Is there a notebook at that path, with a slide in it?"""
    return path.suffix == ".ipynb" and any(map(slide_type, nbformat.read(path, 4).cells))


def deck(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Keep the cells of the deck; tell each its section, and the state of its explorers."""
    models = notebook.metadata.get("widgets", {}).get(STATE, {}).get("state", {})
    heading, cells = "", []
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "markdown" and "remove-cell" not in tags:
            found = re.findall(r"^##+ (.+)$", cell.source, re.MULTILINE)
            heading = re.sub("[`$*]", "", found[-1]) if found else heading
        kind = slide_type(cell)
        if kind is None:
            continue
        cell.metadata.slideshow.slide_type = "slide" if kind == "subslide" else kind
        html = [output.get("data", {}).get("text/html", "") for output in cell.get("outputs", [])]
        shown = re.findall(r'data-widget-model="(\w+)"', "".join(html))
        cell.metadata.deck = {
            "section": heading,
            "anchor": make_id(heading),
            "state": {"state": {model_id: models[model_id] for model_id in shown}},
        }
        cells.append(cell)
    notebook.cells = cells
    return notebook


def set_code(source: str, language: str = "python", attributes: str = "") -> str:
    """Set code as HTML, in colours."""
    html = highlight(source, get_lexer_by_name(language or "text"), HtmlFormatter(nowrap=True))
    return f'<pre class="highlight">{html}</pre>'


def set_math(source: str, options: dict) -> str:
    """Set mathematics as HTML."""
    return katex.render_latex(source.strip(), {"displayMode": options["display_mode"]})


@cache
def exporter() -> SlidesExporter:
    """Nbconvert's exporter, with a template and filters of our own."""
    markdown = MarkdownIt("commonmark", {"highlight": set_code}).enable("table")
    markdown.use(dollarmath_plugin, renderer=set_math)
    made = SlidesExporter(template_file=str(TEMPLATE))
    made.register_filter("set_markdown", markdown.render)
    made.register_filter("set_code", set_code)
    return made


def build(site: Path, paths: list[Path]) -> list[Path]:
    """Write the decks that are new or changed to `slides/PART/SLUG.html` in the site."""
    static = site / "_static"
    shutil.copytree(ROOT / "book" / "_static", static, dirs_exist_ok=True)
    shutil.copy(ROOT / "d2lite" / "explore" / "explorer.css", static)
    (own := static / "slides").mkdir(exist_ok=True)
    for name in REVEAL:
        shutil.copy(files("sphinx_revealjs") / "_static" / "revealjs" / name, own)
    colours = HtmlFormatter(style="a11y-high-contrast-light").get_style_defs(".highlight")
    # A slide has no room for another font's letters: a deck waits for its own, and a page does not.
    fonts = (static / "fonts" / "fonts.css").read_text(encoding="utf-8")
    fonts = fonts.replace("font-display: optional", "font-display: block")
    fonts = fonts.replace("url(", "url(../fonts/")
    (own / "slides.css").write_text(f"{fonts}\n{STYLE.read_text(encoding='utf-8')}\n{colours}\n")
    written = []
    for path in filter(has_deck, paths):
        name = path.relative_to(ROOT / "book").with_suffix("").as_posix()
        target = site / "slides" / f"{name}.html"
        sources = max(file.stat().st_mtime for file in (path, TEMPLATE, Path(__file__)))
        if target.exists() and target.stat().st_mtime > sources:
            continue
        notebook = nbformat.read(path, as_version=4)
        title = notebook.cells[0].source.splitlines()[0].removeprefix("# ")
        root = "../" * (name.count("/") + 1)
        place = {"title": title, "root": root, "page": f"{name}.html"}
        html, _ = exporter().from_notebook_node(deck(notebook), {"deck": place})
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(html, encoding="utf-8")
        written.append(target)
    return written


def add_button(app: Sphinx, page: str, template: str, context: dict, doctree: object) -> None:
    """Put a button beside the others that opens the page's deck, where it has one."""
    if doctree is not None and has_deck(Path(app.env.doc2path(page))):
        button = {"type": "link", "label": "present", "icon": "fas fa-display", "text": "Present"}
        button |= {"url": context["pathto"](f"slides/{page}.html", 1), "tooltip": "Open the slides"}
        context["header_buttons"].insert(0, button)


def build_decks(app: Sphinx, failure: Exception | None) -> None:
    """Make the decks once the pages are there."""
    if failure is None:
        build(Path(app.outdir), chapters())


def setup(app: Sphinx) -> dict:
    """Register with Sphinx."""
    app.connect("html-page-context", add_button, priority=502)  # after the theme's own buttons
    app.connect("build-finished", build_decks, priority=400)  # before what looks at all pages
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, metavar="NOTEBOOK")
    given = [path.resolve() for path in parser.parse_args().notebooks]
    prepare_katex()
    for written in build(ROOT / "_build" / "html", given or chapters()):
        print(f"Open file://{written}")
