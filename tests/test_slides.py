"""The decks of slides in a real browser, on a projector of 1280 × 720: `make book` makes them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from conftest import DECKS, SITE, violations
from conftest import NAMES as READ
from playwright.sync_api import Browser, Page, expect

NAMES = [deck.relative_to(SITE / "slides").as_posix() for deck in DECKS]
# The pointer keeps moving: a frame that begins to listen later hears it too, as one does that
# reveal.js has moved to a page for print.
MOUNTED = """frames => {
  dispatchEvent(new PointerEvent("pointermove", { movementX: 1 }));
  return frames.every(f => f.contentDocument.querySelector("[data-widget=live]"));
}"""
FIT = """frames => frames.every(({ contentDocument, clientHeight }) =>
  contentDocument.documentElement.scrollHeight <= clientHeight)"""
# What does not lie on its slide, above the foot, or is cut off: as text, for each slide.
OUTSIDE = """() => Reveal.getSlides().flatMap((slide, i) => {
  Reveal.slide(i, 0, 99);
  const { left, right } = slide.getBoundingClientRect();
  const { top } = slide.querySelector(".section").getBoundingClientRect();
  return [...slide.querySelectorAll("h1, h2, p, li, pre, table, img, iframe, .katex-html")]
    .filter((e) => !e.closest("aside, .section"))
    .filter((e) => {
      const box = e.getBoundingClientRect();
      return box.left < left + 16 || box.right > right - 16 || box.bottom > top
        || !box.width || e.scrollWidth > e.clientWidth + 1 && e.localName == "pre";
    })
    .map((e) => `${i + 1}: ${e.outerHTML.slice(0, 100)}`);
})"""
# What lies over something else on its slide: both as text, for each slide.
OVER = """() => Reveal.getSlides().flatMap((slide, i) => {
  Reveal.slide(i, 0, 99);
  const all = [...slide.querySelectorAll("h1, h2, p, li, pre, table, img, iframe, .katex-display")]
    .filter((e) => !e.closest("aside, .section") && e.checkVisibility())
    .map((e) => [e, e.getBoundingClientRect()]);
  return all.flatMap(([one, a], j) => all.slice(j + 1)
    .filter(([other, b]) => !one.contains(other)
      && Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
      && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1)
    .map(([other]) => [one, other].map((e) => `${i + 1}: ${e.outerHTML.slice(0, 60)}`)));
})"""
# Text in letters of less than 24 px, but for the foot, and for indices in mathematics.
SMALL = """() => [...document.querySelectorAll(".slides *")]
  .filter((e) => !e.closest("aside, .section, .d2-sharing, .katex"))
  .filter((e) => [...e.childNodes].some((n) => n.nodeType == 3 && n.data.trim()))
  .filter((e) => parseFloat(getComputedStyle(e).fontSize) < 24).map((e) => e.outerHTML)"""


@dataclass
class Deck:
    """An open deck, and what the browser has said and asked for since."""

    page: Page
    requests: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def place(self) -> int:
        return self.page.evaluate("Reveal.getIndices().h")

    def show(self, slide: str) -> None:
        """Go to the first slide that has such an element."""
        self.page.evaluate(
            "s => Reveal.slide(Reveal.getSlides().findIndex(e => e.matches(s)))", slide
        )


def open_deck(browser: Browser, url: str) -> Deck:
    deck = Deck(browser.new_page(viewport={"width": 1280, "height": 720}))
    deck.page.on("request", lambda request: deck.requests.append(request.url))
    deck.page.on("requestfailed", lambda request: deck.problems.append(f"failed: {request.url}"))
    deck.page.on("pageerror", lambda error: deck.problems.append(str(error)))
    deck.page.on("console", lambda message: deck.problems.append(message.text))
    deck.page.goto(url)
    deck.page.wait_for_function("window.Reveal?.isReady()")
    wait(deck.page, MOUNTED)
    deck.page.evaluate("() => document.fonts.ready.then(() => true)")
    return deck


def wait(page: Page, condition: str) -> None:
    """Wait until something is true of the explorers' frames."""
    page.wait_for_function(f"({condition})([...document.querySelectorAll('iframe')])")


@pytest.fixture(scope="module", params=NAMES)
def deck(request: pytest.FixtureRequest, browser: Browser, origin: str) -> Iterator[Deck]:
    opened = open_deck(browser, f"{origin}/slides/{request.param}")
    yield opened
    opened.page.close()


def test_there_are_decks() -> None:
    assert DECKS, "run `make book` first"


def test_nothing_is_wrong_and_nothing_asked_of_others(deck: Deck) -> None:
    assert not deck.problems
    home = deck.page.evaluate("location.origin")
    assert not [u for u in deck.requests if not u.startswith((home, "blob:", "data:", "about:"))]


def test_every_slide_fits(deck: Deck) -> None:
    wait(deck.page, FIT)
    assert deck.page.evaluate(OUTSIDE) == []
    assert deck.page.evaluate(OVER) == []


def test_the_last_row_can_read_it(deck: Deck) -> None:
    assert deck.page.evaluate(SMALL) == []


def test_keys_move_the_slides_but_not_from_within_an_explorer(deck: Deck) -> None:
    page = deck.page
    page.evaluate("Reveal.slide(0)")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("Reveal.getIndices().h == 1 || Reveal.getIndices().f == 0")
    if not page.locator("iframe").count():
        return
    deck.show(":has(iframe)")
    place = deck.place
    inside = page.frame_locator(".present iframe")
    control = inside.locator("input[type=range]:visible, select:visible").first
    control.focus()
    control.evaluate("e => e.addEventListener('keyup', e => e.target.dataset.heard = e.key)")
    page.keyboard.press("ArrowRight")
    expect(control).to_have_attribute("data-heard", "ArrowRight")
    assert deck.place == place
    page.keyboard.press("Escape")
    page.wait_for_function("document.activeElement == document.body")
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"Reveal.getIndices().h > {place}")
    deck.show(":has(iframe)")
    control.focus()
    page.keyboard.press("PageDown")  # a presenter's remote
    page.wait_for_function(f"Reveal.getIndices().h > {place}")


def test_all_can_use_it(deck: Deck) -> None:
    for kind in (":has(ol)", ":has(iframe)"):
        if deck.page.locator(f".slides > {kind}").count():
            deck.show(kind)
            assert violations(deck.page, but="iframe") == []  # explorers have tests of their own


@pytest.mark.parametrize("name", READ)
def test_a_page_leads_to_its_deck_and_back(name: str) -> None:
    text, deck = (SITE / name).read_text(encoding="utf-8"), SITE / "slides" / name
    present = re.search(r'<a href="([^"]+)"[^>]*btn-present.*?</a>', text, re.S)
    assert bool(present) == deck.exists()
    if present:
        assert ((SITE / name).parent / present.group(1)).resolve() == deck
        assert "Present</span>" in present.group()
        slides = deck.read_text(encoding="utf-8")
        links = set(re.findall(r'<p class="section"><a href="([^"#]+)([^"]*)"', slides))
        assert {(deck.parent / page).resolve() for page, _ in links} == {SITE / name}
        assert len(links) >= 4  # tests/test_site.py follows each of them


def test_it_prints_a_page_for_each_slide(browser: Browser, origin: str) -> None:
    deck = open_deck(browser, f"{origin}/slides/{NAMES[0]}?print-pdf")
    expect(deck.page.locator(".pdf-page")).to_have_count(deck.page.locator(".section").count())
    wait(deck.page, MOUNTED)  # once more: reveal.js has moved them to their pages
    assert deck.page.evaluate(OUTSIDE) == []
    assert not deck.problems
    deck.page.close()


def test_it_works_from_a_file(browser: Browser) -> None:
    """And on a larger screen, where slides are scaled, the pointer is where it seems to be."""
    deck = open_deck(browser, (SITE / "slides/convolution/cross-correlation.html").as_uri())
    deck.page.set_viewport_size({"width": 1920, "height": 1080})
    deck.show(":has(iframe)")
    inside = deck.page.frame_locator(".present iframe")
    inside.locator(".d2-of-output td").last.hover()
    expect(inside.locator(".d2-sum")).to_contain_text("Output[3, 3]")
    assert not deck.problems
    deck.page.close()


@pytest.mark.parametrize("place", ["server", "file"])
def test_a_network_comes_into_its_frame_when_the_reader_begins(
    browser: Browser, origin: str, place: str
) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    name = "slides/architectures/lenet.html"
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{origin}/{name}" if place == "server" else (SITE / name).as_uri())
    page.wait_for_function("window.Reveal?.isReady()")
    picture = page.frame_locator("iframe").locator("[data-widget=waiting]")
    said = re.findall(r">([\d.]+ %)<", picture.inner_html())
    assert len(said) == 10
    assert not [url for url in asked if "/explorers/" in url]
    page.keyboard.press("ArrowRight")
    shares = page.frame_locator("iframe").locator("[data-widget=live] .d2-lenet .d2-share")
    expect(shares).to_have_text(said)
    assert len([url for url in asked if "/explorers/" in url]) == 1
    page.close()
