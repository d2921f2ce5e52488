"""Make a deck of slides of each chapter that has one: `make slides`; `make book` does it as well.

A deck is `SLUG.slides.md` beside its chapter, in plain Markdown and mathematics. `# Title` begins
the first slide, `## Title` each further one. At a line `. . .` the speaker presses a key. After a
line `Note:` come the speaker's notes, to the end of the slide.

What the chapter shows, a deck takes by the cell's label (`label` in its metadata), on a line of its
own: `![[label]]` is what a code cell puts out, or a question with its choices. `![[label|picture]]`
is its pictures alone, `![[label|code]]` its code, `![[label|answer]]` the first sentence of a
question's answer. An explorer can have another layout: `beside-last`, `beside-picture`.

As a Sphinx extension it also gives each page that has a deck a button that opens it.
"""

import argparse
import base64
import re
import shutil
import sys
from copy import deepcopy
from functools import cache
from importlib.resources import files
from pathlib import Path

from docutils.nodes import make_id
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from mdit_py_plugins.dollarmath import dollarmath_plugin
from nbconvert import SlidesExporter
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinxcontrib import katex

from notebooks import DIRECTIVE, ROOT, carry_pictures, chapters, question, read
from static_site import prepare_katex
from units import keep_units

TEMPLATE, STYLE = ROOT / "tools" / "slides.html.j2", ROOT / "tools" / "slides.css"
REVEAL = "dist/reveal.js", "dist/reveal.css", "plugin/notes/notes.js", "LICENSE"
STATE = "application/vnd.jupyter.widget-state+json"
WORDS = {"picture", "code", "answer", "beside-last", "beside-picture"}
TAKEN = re.compile(r"!\[\[([^]|]+)((?:\|[^]|]+)*)\]\]")
LINK = re.compile(r"(?<=\]\()(?!\w+:|/)([^()\s#]+)\.(?:ipynb|md)(?=[)#])")  # to a chapter or page
ROLE = re.compile(r"(?<!`)\{[\w:-]+\}`[^`]+`.*")


def deck_of(path: Path) -> Path:
    """Where the deck of a chapter is written, if there is one."""
    return path.with_suffix(".slides.md")


def blocks(text: str) -> list[tuple[str, str]]:
    """Cut a deck into what reveal.js calls slide, fragment, notes, and what goes on: -."""
    found: list[tuple[str, str]] = []
    kind, lines = "-", []
    inert = {
        number
        for token in MarkdownIt("commonmark").parse(text)
        if token.type == "fence" or token.content.startswith("<!--")
        for number in range(*token.map or (0,))
    }

    def end(following: str) -> str:
        if block := "\n".join(lines).strip():
            found.append((kind, block))
        lines.clear()
        return following

    for number, line in enumerate(text.split("\n")):
        mark = "" if number in inert else line.strip()
        if re.match("##? ", line) and mark:
            kind = end("slide")
            lines.append(line)
        elif kind != "notes" and mark == ". . .":
            kind = end("fragment")
        elif kind != "notes" and mark == "Note:":
            kind = end("notes")
        elif kind != "notes" and TAKEN.fullmatch(mark):
            kind = end("-") if "".join(lines).strip() else kind
            lines[:] = [mark]
            kind = end("-")
        else:
            lines.append(line)
    end("")
    return found


def deck(path: Path) -> NotebookNode:
    """Make a notebook of a chapter's deck; its cells know their section and their explorers' state.

    Raises ValueError, naming the slide, for what the chapter does not have and what is no Markdown.
    """
    notebook, name = read(path), deck_of(path).name
    models = notebook.metadata.get("widgets", {}).get(STATE, {}).get("state", {})
    labelled, heading = {}, ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            headings = re.findall(r"^##+ (.+)$", cell.source, re.MULTILINE)
            heading = re.sub("[`$*]", "", headings[-1]) if headings else heading
        cell.metadata.deck = {"section": heading, "anchor": make_id(heading)}
        if label := cell.metadata.get("label"):
            if label in labelled:
                raise ValueError(f"{path.name}: two cells have the label {label!r}")
            labelled[label] = cell
    title, place, cells = "", {"section": "", "anchor": ""}, []
    found = blocks(deck_of(path).read_text(encoding="utf-8-sig"))
    if not found or found[0][0] != "slide":
        raise ValueError(f"{name}: must begin with `# Title`, which begins its first slide")
    for kind, text in found:
        title = text.splitlines()[0].lstrip("# ") if kind == "slide" else title
        try:
            cell = taken(text, labelled, path.parent) if kind != "notes" else None
            if not cell:
                refuse_lost(kind, text)
                cell = markdown_cell(text, {}, path.parent)
        except ValueError as error:
            raise ValueError(f"{name}, slide {title!r}: {error}") from None
        cell.metadata.slideshow = {"slide_type": kind}
        html = [output.get("data", {}).get("text/html", "") for output in cell.get("outputs", [])]
        shown = re.findall(r'data-widget-model="(\w+)"', "".join(html))
        cell.metadata.state = {"state": {model_id: models[model_id] for model_id in shown}}
        cells.append(cell)
    for i, cell in enumerate(cells):  # a slide belongs to the section of the first thing it shows
        if cell.metadata.slideshow.slide_type == "slide":
            kinds = [c.metadata.slideshow.slide_type for c in cells[i + 1 :]]
            rest = cells[i : i + 1 + [*kinds, "slide"].index("slide")]
            place = next((c.metadata.deck for c in rest if "deck" in c.metadata), place)
        cell.metadata.deck = place | {"state": cell.metadata.pop("state")}
    notebook.cells = cells
    return notebook


def taken(text: str, labelled: dict[str, NotebookNode], folder: Path) -> NotebookNode | None:
    """Return what a deck takes from the chapter, or None for text of its own."""
    if not TAKEN.fullmatch(text):
        return None
    label, *words = text[3:-2].split("|")
    if label not in labelled:
        raise ValueError(f"{text}: no cell of the chapter has that label")
    if unknown := set(words) - WORDS:
        raise ValueError(f"{text}: {unknown.pop()!r} is none of {', '.join(sorted(WORDS))}")
    cell = deepcopy(labelled[label])
    outputs = [output for output in cell.get("outputs", []) if output.output_type != "error"]
    shown = [output.get("data", {}) for output in outputs]
    explorer = any("data-widget-model" in data.get("text/html", "") for data in shown)
    has = {
        "picture": any(map(picture, shown)),
        "code": cell.cell_type == "code",
        "answer": cell.cell_type == "markdown" and question(cell.source) is not None,
        "beside-last": explorer,
        "beside-picture": explorer,
    }
    if lacking := [word for word in words if not has[word]]:
        missing = "explorer" if "beside" in lacking[0] else lacking[0]
        raise ValueError(f"{text}: that cell has no {missing}")
    if len(words) > 1:
        raise ValueError(f"{text}: takes one thing of a cell at a time")
    if not outputs and "code" not in words and (cell.cell_type != "markdown" or not cell.source):
        raise ValueError(f"{text}: that cell shows nothing")
    if has["picture"] and "code" not in words and not cell.metadata.get("mystnb", {}).get("image"):
        raise ValueError(f"{text}: the picture has no alt text in its cell's metadata")
    if cell.cell_type == "markdown":
        source = cell.source
        if asked := question(source):
            choices = "\n".join(f"1. {choice}" for choice in asked.choices)
            source = in_short(asked.answer) if "answer" in words else f"> {asked.text}\n\n{choices}"
        place = cell.metadata.deck
        cell = markdown_cell(source, cell.get("attachments", {}), folder)
        cell.metadata.deck = place
    cell.metadata.tags = [f"slide-{word}" for word in words]
    return cell


def in_short(answer: str) -> str:
    """Return the first sentence of an answer: the speaker says the rest."""
    return re.match(r"\*\*[A-Z]\.\*\* .*?[.?!](?= [A-Z$\d]|$)|.*", answer, re.DOTALL)[0]


def markdown_cell(text: str, attachments: dict, folder: Path) -> NotebookNode:
    """Return a cell with its pictures inside; raise ValueError for what no slide can show."""
    if wrong := DIRECTIVE.search(text) or ROLE.search(text):
        raise ValueError(f"{wrong[0].strip()}: slides are plain Markdown")
    for token in MarkdownIt("commonmark").parse(text):
        if token.type == "fence" and token.info:
            try:
                get_lexer_by_name(token.info.split()[0])
            except ClassNotFound:
                fence = f"{token.markup}{token.info}"
                raise ValueError(f"{fence}: no language that is known") from None

    text = carry_pictures(
        text, attachments, folder, lambda name, kind, data: f"data:{kind};base64,{data}"
    )
    return new_markdown_cell(LINK.sub(rf"../../{folder.name}/\1.html", text))


def refuse_lost(kind: str, text: str) -> None:
    """Raise ValueError for what an author means as a mark, and a slide would show as text."""
    lines = text.split("\n")
    for token in MarkdownIt("commonmark").parse(text):
        first, end = token.map or (0, 1)
        line = lines[first].strip()
        closed = re.fullmatch(r"[\s>]*(?:`{3,}|~{3,})\s*", lines[end - 1]) and end - first > 1
        if token.type == "fence" and not closed:
            raise ValueError(f"{line}: this code has no end")
        if token.content.startswith("<!--") and "-->" not in token.content:
            raise ValueError(f"{line}: this comment has no end")
        is_title = token.type == "heading_open" and token.tag in ("h1", "h2") and kind != "notes"
        if is_title and (kind != "slide" or first or line[0] != "#"):
            raise ValueError(f"{line}: a slide begins with `## ` at the beginning of a line")
        if token.type == "inline":
            plain = "".join(child.content for child in token.children if child.type == "text")
            if "![[" in plain:
                raise ValueError(f"{line}: what is taken has a line of its own, not among notes")
            for said in token.content.split("\n"):
                if re.match(r"##+[^\s#]", said):
                    raise ValueError(f"{said}: a title has a space before it")
                if kind != "notes" and re.match(r"notes?:", said, re.IGNORECASE):
                    raise ValueError(f"{said}: notes begin with a line `Note:`")
                if re.fullmatch(r"\.{2,}|…", said):
                    raise ValueError(f"{said}: a pause is a line `. . .`")


def picture(data: dict) -> str:
    """Return the address of an output's picture, or an empty text where it has none."""
    for kind, content in data.items():
        if kind.startswith("image/"):
            if kind == "image/svg+xml":
                content = base64.b64encode(content.encode()).decode()
            return f"data:{kind};base64,{content}"
    return ""


def set_code(source: str, language: str = "python", attributes: str = "") -> str:
    """Set code as HTML, in colours."""
    html = highlight(source, get_lexer_by_name(language or "text"), HtmlFormatter(nowrap=True))
    return f'<pre class="highlight">{html}</pre>'


def set_math(source: str, options: dict) -> str:
    """Set mathematics as HTML."""
    return katex.render_latex(source.strip(), {"displayMode": options["display_mode"]})


def set_text(renderer: object, tokens: list, place: int, options: object, env: object) -> str:
    """Set text as HTML, each number whole on one line."""
    return escapeHtml(keep_units(tokens[place].content))


@cache
def exporter() -> SlidesExporter:
    """Nbconvert's exporter, with a template and filters of our own."""
    markdown = MarkdownIt("commonmark", {"highlight": set_code}).enable("table")
    markdown.use(dollarmath_plugin, renderer=set_math)
    markdown.add_render_rule("text", set_text)
    made = SlidesExporter(template_file=str(TEMPLATE))
    made.register_filter("set_markdown", markdown.render)
    made.register_filter("set_code", set_code)
    made.register_filter("keep_units", keep_units)
    made.register_filter("picture", picture)
    return made


def build(site: Path, paths: list[Path]) -> list[Path]:
    """Write the decks that are new or changed to `slides/PART/SLUG.html` in the site."""
    for alone in (ROOT / "book").rglob("*.slides.md"):
        if not (chapter := alone.with_name(alone.name.replace(".slides.md", ".ipynb"))).exists():
            raise ValueError(f"{alone.name}: there is no chapter {chapter.name} beside it")
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
    for path in paths:
        if not deck_of(path).exists():
            continue
        name = path.relative_to(ROOT / "book").with_suffix("").as_posix()
        target = site / "slides" / f"{name}.html"
        sources = (path, deck_of(path), TEMPLATE, *Path(__file__).parent.glob("*.py"))
        newest = max(file.stat().st_mtime for file in sources)
        if target.exists() and target.stat().st_mtime > newest:
            continue
        notebook = deck(path)
        title = notebook.cells[0].source.splitlines()[0].removeprefix("# ")
        root = "../" * (name.count("/") + 1)
        place = {"title": title, "root": root, "page": f"{name}.html"}
        html, _ = exporter().from_notebook_node(notebook, {"deck": place})
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(html, encoding="utf-8")
        written.append(target)
    return written


def add_button(app: Sphinx, page: str, template: str, context: dict, doctree: object) -> None:
    """Put a button beside the others that opens the page's deck, where it has one."""
    if doctree is not None and deck_of(Path(app.env.doc2path(page))).exists():
        button = {"type": "link", "label": "present", "icon": "fas fa-display", "text": "Present"}
        button |= {"url": context["pathto"](f"slides/{page}.html", 1), "tooltip": "Open the slides"}
        context["header_buttons"].insert(0, button)


def build_decks(app: Sphinx, failure: Exception | None) -> None:
    """Make the decks once the pages are there."""
    if failure is None:
        try:
            build(Path(app.outdir), chapters())
        except ValueError as error:
            raise ExtensionError(str(error)) from None


def setup(app: Sphinx) -> dict:
    """Register with Sphinx."""
    app.connect("html-page-context", add_button, priority=502)  # after the theme's own buttons
    app.connect("build-finished", build_decks, priority=400)  # before what looks at all pages
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, metavar="NOTEBOOK")
    given = [path.resolve() for path in parser.parse_args().notebooks]
    for chapter in given:
        if chapter not in chapters():
            parser.error(f"{chapter}: no notebook of the book; choose from `ls book/*/*.ipynb`")
        if not deck_of(chapter).exists():
            parser.error(f"{chapter} has no deck: write {deck_of(chapter).name} beside it")
    prepare_katex()
    try:
        decks = build(ROOT / "_build" / "html", given or chapters())
    except ValueError as error:
        sys.exit(str(error))
    for made in decks:
        print(f"Open file://{made}")
