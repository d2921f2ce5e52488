"""The layout of the built site: alike on every machine, steady while it loads, on every width."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib
import nbformat
import pytest
from conftest import (
    CHROMIUM_ARGUMENTS,
    LAID_OUT,
    NAMES,
    ROOT,
    SITE,
    await_fonts,
    begin_reading,
    chromium,
    visit,
    wait_for_stragglers,
)
from fontTools.ttLib import TTFont
from playwright.sync_api import Browser, Page, Playwright
from test_slides import MOUNTED, wait

READ = [name for name in NAMES if name not in ("genindex.html", "search.html")]
WIDTHS = (320, 360, 390, 768, 1280)
# Sums up the shifts that no reader caused (https://web.dev/articles/cls).
WATCH = """window.shifts = [];
new PerformanceObserver((list) => shifts.push(...list.getEntries().filter((e) => !e.hadRecentInput)
  .map((e) => [e.value, e.sources.map((s) => (s.node?.outerHTML ?? "").slice(0, 60))])))
  .observe({ type: "layout-shift", buffered: true });"""
# Blocks of code that scroll, or anything that reaches beyond the window.
WIDE_CODE = """() => [...document.querySelectorAll(".bd-article .highlight pre")]
  .filter((e) => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1)
  .map((e) => e.textContent.slice(0, 80))"""


# Sections that are higher than the room that the page keeps for them.
HIGHER = """() => [...document.querySelectorAll(".bd-article > section > section")]
  .map((e) => [e.id, e.offsetHeight, parseFloat(e.style.getPropertyValue("--height"))])
  .filter(([, height, room]) => height > 1.05 * room)"""

# Pictures whose width and height are not in the proportion of what they show.
DISTORTED = """() => [...document.querySelectorAll(".bd-article img[width][height]")]
  .filter((e) => e.checkVisibility())
  .map((e) => [e, getComputedStyle(e)]).map(([e, style]) => [e.alt,
    (e.clientWidth - parseFloat(style.paddingLeft) * 2)
      / (e.clientHeight - parseFloat(style.paddingTop) * 2),
    e.getAttribute("width") / e.getAttribute("height")])
  .filter(([, shown, own]) => Math.abs(shown / own - 1) > 0.02)"""


# Formulas of which a part is cut off: no one can scroll to what lies left of their block.
CUT = """() => [...document.querySelectorAll("div.math")].filter((e) => e.checkVisibility())
  .flatMap((e) => [...e.querySelectorAll(".katex-html .base")]
    .map((part) => [part.textContent, part.getBoundingClientRect(), e.getBoundingClientRect()]))
  .filter(([, part, block]) => part.left < block.left - 1 || part.right > block.right + 1)
  .map(([text]) => text)"""


@pytest.mark.parametrize("name", READ)
def test_nothing_jumps_and_no_width_scrolls(browser: Browser, origin: str, name: str) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.add_init_script(WATCH)
    visit(page, f"{origin}/{name}")
    begin_reading(page)
    wait_for_stragglers(page)
    shifts = page.evaluate("shifts")
    assert sum(shift for shift, _ in shifts) <= 0.02, shifts
    page.add_style_tag(content=LAID_OUT)
    assert page.evaluate(HIGHER) == [], "a section lies over the next until it is near"
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 844})
        page.evaluate("() => new Promise((f) => requestAnimationFrame(() => setTimeout(f)))")
        beyond = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert beyond <= 0, f"{beyond} px too wide at {width} px"
        assert page.evaluate(DISTORTED) == [], f"distorted at {width} px"
        assert page.evaluate(CUT) == [], f"cut at {width} px"
    assert page.evaluate(WIDE_CODE) == [], "code scrolls at 1280 px"
    page.close()


FONTS = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>
<dir>{folder}</dir><cachedir>{cache}</cachedir>
<selectfont><rejectfont><glob>{rejected}</glob></rejectfont></selectfont></fontconfig>"""
# A page of every kind: the landing page, explorers, formulas, tables, code; and decks.
SAMPLES = (
    "index.html",
    "convolution/output-size.html",
    "training/optimizers.html",
    "normalization/batch-norm.html",
    "architectures/resnet.html",
    "teaching/convolution.html",
    "slides/architectures/comparison.html",
    "slides/start/pytorch-essentials.html",
)
BOXES = """() => [...document.body.querySelectorAll("*")]
  .filter((e) => !e.closest("select, svg.d2-pixels, .katex-mathml") && e.checkVisibility())
  .map((e) => [e.localName, e.className.baseVal ?? e.className, e.getBoundingClientRect()])
  .map(([tag, name, { width, height }]) => [tag, name, Math.round(width), Math.round(height)])"""


@pytest.fixture(scope="module")
def with_fonts(
    playwright: Playwright, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Browser]]:
    """Start a Chromium that knows matplotlib's fonts, but for those whose files match a pattern."""
    browsers = []

    def start(rejected: str) -> Browser:
        folder = tmp_path_factory.mktemp("fonts")
        settings = folder / "fonts.conf"
        fonts = Path(matplotlib.get_data_path(), "fonts", "ttf")
        settings.write_text(FONTS.format(folder=fonts, cache=folder / "cache", rejected=rejected))
        browsers.append(
            playwright.chromium.launch(
                executable_path=chromium(),
                args=CHROMIUM_ARGUMENTS,
                env={**os.environ, "FONTCONFIG_FILE": str(settings)},
            )
        )
        return browsers[-1]

    yield start
    for browser in browsers:
        browser.close()


def settled(page: Page) -> list:
    """The boxes of a page, or of a deck once its explorers no longer look for their size."""
    wait(page, MOUNTED)
    boxes: list = []
    while boxes != (boxes := page.evaluate(BOXES)):
        page.wait_for_timeout(500)
    return boxes


@pytest.mark.skipif(os.name != "posix", reason="fontconfig chooses the fonts")
def test_every_measure_is_the_same_whatever_fonts_a_machine_has(
    with_fonts: Callable[[str], Browser], origin: str
) -> None:
    browsers = with_fonts("*/[!D]*.ttf"), with_fonts("*/DejaVu*.ttf")
    for name in SAMPLES:
        for width in (390, 1280):
            found = []
            for browser in browsers:
                page = browser.new_page(viewport={"width": width, "height": 844})
                await_fonts(page)
                visit(page, f"{origin}/{name}")
                begin_reading(page)  # which `settled` would do as well, and not wait for
                wait_for_stragglers(page)
                found.append(settled(page))
                page.close()
            only_dejavu, no_dejavu = found
            differ = [
                pair for pair in zip(only_dejavu, no_dejavu, strict=True) if pair[0] != pair[1]
            ]
            assert not differ, f"{name} at {width} px: {differ[:5]}"


def test_the_fonts_have_every_character_of_the_pages() -> None:
    """Else one is drawn in a font of the machine, as wide as that happens to be."""
    fonts = (SITE / "_static" / "fonts").glob("*.woff2")
    shipped = {chr(code) for font in fonts for code in TTFont(font).getBestCmap()}
    used = {}
    for path in sorted((ROOT / "book").glob("*/*.*")):
        if path.suffix == ".ipynb":
            cells = nbformat.read(path, as_version=4).cells
            text = "\n".join(cell.source for cell in cells)
            outputs = [o for cell in cells if cell.cell_type == "code" for o in cell.outputs]
            text += "".join(
                o.get("text", "") + o.get("data", {}).get("text/markdown", "") for o in outputs
            )
        elif path.suffix == ".md":
            text = path.read_text(encoding="utf-8")
        else:
            continue
        used |= dict.fromkeys(re.sub(r"(?s)\$\$.*?\$\$|\$.*?\$|\s", "", text), path.name)
    assert not {sign: name for sign, name in used.items() if sign not in shipped}


def test_the_fonts_are_small() -> None:
    fonts = (SITE / "_static" / "fonts").glob("*.woff2")
    assert sum(font.stat().st_size for font in fonts) <= 90_000
