"""Every page and deck once in Firefox and in WebKit: nothing goes wrong, all fits, figures answer.

Chromium has the thorough tests (tests/test_browser.py, tests/test_slides.py, each explorer's own).
"""

import json
import os
import re
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any

import pytest
from conftest import DECKS, LAID_OUT, NAMES, SITE, Quiet, served
from test_slides import FIT, MOUNTED, OUTSIDE
from webdriver import Driven, Firefox, WebKit

pytestmark = pytest.mark.skipif(
    "D2LITE_OTHER_BROWSERS" not in os.environ, reason="run by make test-browsers"
)
SLIDES = [deck.relative_to(SITE).as_posix() for deck in DECKS]
# WebKit's driver does not tell what the console says, so a page keeps it, and its frames tell it.
TELL = """<script>{
const told = (top.problems ??= []);
addEventListener("error", (e) => told.push(e.message ?? `${e.target.src ?? e.target.href}`), true);
addEventListener("unhandledrejection", (e) => told.push(`${e.reason}`));
for (const level of ["error", "warn"]) console[level] = (...words) => told.push(words.join(" "));
}</script>"""


class Telling(Quiet):
    """Serves each page with that script at its start and at the start of its frames."""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if path.suffix != ".html" or not path.is_file():
            return super().do_GET()
        text = path.read_text(encoding="utf-8")
        text = re.sub(r"(?=<meta charset)", TELL, text, count=1)
        body = text.replace("&lt;meta charset", f"{escape(TELL)}&lt;meta charset").encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        # As GitHub Pages does. Firefox fetches rel="next" ahead, and fails if it may not keep it.
        self.send_header("Cache-Control", "max-age=600")
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def telling() -> Iterator[str]:
    with served(Telling) as address:
        yield address


@pytest.fixture(scope="module", params=[Firefox, WebKit], ids=["firefox", "webkit"])
def driven(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Driven]:
    browser = request.param(tmp_path_factory.mktemp("browser"))
    try:
        browser.start()
        yield browser
    finally:
        browser.quit()


# Each time anew: a frame may not have listened yet.
READING = "dispatchEvent(new Event('scroll'))"


def visit(driven: Driven, url: str) -> None:
    """Open a page at a desk, until all of its explorers are there."""
    driven.open(url, 1280, 844)
    there = "!document.querySelector('[data-widget-model]:not([data-widget=failed])')"
    driven.wait(f"{READING} && {there}")


def problems(driven: Driven) -> list[str]:
    return driven.run("() => problems") + driven.problems


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_alive_and_fits(driven: Driven, telling: str, name: str) -> None:
    visit(driven, f"{telling}/{name}")
    saved = (SITE / name).read_text(encoding="utf-8").count("data-widget-model=")
    assert driven.run("() => document.querySelectorAll('[data-widget=live]').length") == saved
    driven.run(
        f"() => void document.head.append(Object.assign(document.createElement('style'), "
        f"{{ textContent: {json.dumps(LAID_OUT)} }}))"
    )
    for width in (1280, 390):
        driven.resize(width, 844)
        driven.run("() => new Promise((f) => requestAnimationFrame(() => setTimeout(f)))")
        assert driven.run("() => document.documentElement.scrollWidth - innerWidth") <= 0
    assert problems(driven) == []


@pytest.mark.parametrize("name", SLIDES)
def test_a_deck_is_alive_and_fits(driven: Driven, telling: str, name: str) -> None:
    driven.open(f"{telling}/{name}", 1280, 720)
    driven.wait("window.Reveal?.isReady()")
    for condition in (MOUNTED, FIT):
        driven.wait(f"{READING} && ({condition})([...document.querySelectorAll('iframe')])")
    assert driven.run(OUTSIDE) == []
    driven.run("() => Reveal.slide(0)")
    driven.press(KEYS["right"])
    driven.wait("Reveal.getIndices().h == 1 || Reveal.getIndices().f == 0")
    assert problems(driven) == []


KEYS = {"right": "\ue014", "down": "\ue015", "space": " "}
# On five pages: what is dragged, which cell is typed into, and what hears which key.
USED = {
    "convolution/cross-correlation.html": (
        ["Padding", "Kernel window"],
        "row 2, column 2",
        ("Kernel window", "right"),
    ),
    "convolution/output-size.html": (["Size n"], None, ("Output", "right")),
    "training/optimizers.html": (
        ["Condition number", "Seen from above"],
        None,
        ("Start at", "right"),
    ),
    "normalization/batch-norm.html": (
        ["Places"],
        "image 0, channel 0, place 0",
        ("Batch", "down"),
    ),
    "architectures/lenet.html": (["Unit", "Board"], None, ("Board", "space")),
}
# The first element of such a name that can be seen, in the middle of the window.
FIND = """(name) => {
  const named = (e) => e.ariaLabel ?? e.closest("label")?.textContent ?? e.textContent;
  window.found = [...document.querySelectorAll(
    "[data-widget=live] :is(input, button, svg, canvas, [role=slider])")]
    .find((e) => e.checkVisibility() && named(e).trim().startsWith(name));
  found.scrollIntoView({ block: "center", behavior: "instant" });
  const { left, top, width, height } = found.getBoundingClientRect();
  return [left, top, width, height];
}"""
# Remembers what its explorer draws, when it has drawn all that it was asked for; and whether it
# draws another thing within 60 frames.
SEEN = """window.seen = () => [...found.closest("[data-widget]").querySelectorAll(
  "svg, table, canvas")].map((e) => e.toDataURL?.() ?? e.innerHTML).join()"""
REMEMBER = f"""async () => {{
  for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame);
  {SEEN};
  window.before = seen();
}}"""
CHANGES = """async () => {
  for (let frame = 0; frame < 60 && seen() === before; frame++)
    await new Promise(requestAnimationFrame);
  return seen() !== before;
}"""


@pytest.mark.parametrize("name", USED)
def test_a_figure_answers_pointer_and_keys(driven: Driven, telling: str, name: str) -> None:
    dragged, cell, (focused, key) = USED[name]
    visit(driven, f"{telling}/{name}")

    def places(name: str, *shares: float) -> list[tuple[float, float]]:
        left, top, width, height = driven.run(FIND, name)
        return [(left + share * width, top + height / 2) for share in shares]

    def changes(what: Callable, *arguments: Any) -> bool:
        driven.run(REMEMBER)
        what(*arguments)
        return driven.run(CHANGES)

    for each in dragged:
        assert changes(driven.drag, *places(each, 0.3, 0.5, 0.7)), f"{each} is dragged in vain"
    if cell:
        driven.drag(*places(cell, 0.5))
        assert changes(driven.press, "7"), "what is typed changes nothing"
        assert "7" in driven.run("() => found.value")
    places(focused)
    driven.run("() => found.focus()")
    assert changes(driven.press, KEYS[key]), f"{focused} does not hear the key {key}"
    assert problems(driven) == []
