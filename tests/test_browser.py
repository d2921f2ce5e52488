"""The built site in a real browser: a visit at a desk, in the light; one by phone, in the dark.

What a first visit asks for, weighs and costs is written to the properties of its test in pytest's
`--junit-xml`: requests, weight, explorers, and the processor time that moving a slider takes.
"""

import gzip
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import (
    LAID_OUT,
    NAMES,
    PAGES,
    SITE,
    await_fonts,
    begin_reading,
    drag,
    processor_clock,
    violations,
    visit,
    wait_for_stragglers,
)
from playwright.sync_api import Browser, BrowserContext, Page, Response, expect

READ = [name for name in NAMES if name not in ("genindex.html", "search.html")]
# Widths decide what fits and themes what contrasts: two visits see both of each.
THEMES = [(1280, "light"), (390, "dark")]
BUDGET, ON_DEMAND = 300_000, 1_200_000  # bytes, compressed: on a first visit, and what comes later
TEXT = (".html", ".css", ".js", ".svg", ".json")


@dataclass
class Visit:
    """An open page, and what the browser has said and asked for since."""

    name: str
    page: Page
    requests: list[str] = field(default_factory=list)
    responses: list[Response] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def first_visit(browser: Browser, origin: str, name: str, width: int, theme: str) -> Visit:
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=theme)
    made = Visit(name, page)
    told = made.problems.append
    answered = made.responses.append
    page.on("request", lambda request: made.requests.append(request.url))
    page.on("response", lambda response: answered(response))  # Playwright marks its handlers
    page.on("console", lambda m: told(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: told(str(error)))
    page.on("requestfailed", lambda request: told(f"failed: {request.url}"))
    await_fonts(page)
    visit(page, f"{origin}/{name}")
    return made


@pytest.fixture(scope="module", params=NAMES)
def desk(request: pytest.FixtureRequest, browser: Browser, origin: str) -> Iterator[Visit]:
    made = first_visit(browser, origin, request.param, *THEMES[0])
    yield made
    made.page.close()


def test_a_first_visit(desk: Visit, origin: str, record_property: Callable) -> None:
    page = desk.page
    wait_for_stragglers(page)
    weight = weigh(desk)
    begin_reading(page)
    more = weigh(desk) - weight
    live = page.locator('[data-widget="live"]').count()
    record_property("requests", len([url for url in desk.requests if url.startswith("http")]))
    record_property("compressed KB", round(weight / 1000))
    record_property("compressed KB on demand", round(more / 1000))
    record_property("explorers", live)
    record_property("processor ms a move", round(drag_every_slider(page), 1))
    assert not [u for u in desk.requests if not u.startswith((origin, "blob:", "data:"))]
    assert not desk.problems
    saved = (SITE / desk.name).read_text(encoding="utf-8").count("data-widget-model=")
    assert live == saved, "an explorer did not mount"
    assert weight <= BUDGET
    assert more <= ON_DEMAND


def weigh(made: Visit) -> int:
    return sum(compressed(r) for r in made.responses if r.url.startswith("http"))


def compressed(response: Response) -> int:
    path = Path(response.url.split("?")[0])
    body = response.body()
    return len(gzip.compress(body)) if path.suffix in TEXT or not path.suffix else len(body)


def drag_every_slider(page: Page) -> float:
    """Move each slider of each explorer to 20 places or all; return processor ms a move."""
    clock = processor_clock(page)
    started = clock()
    sliders = page.locator("[data-widget] input[type=range]").all()
    moves = sum(drag(slider, 20) for slider in sliders if slider.is_visible())
    return (clock() - started) / moves if moves else 0.0


@pytest.mark.parametrize("desk", READ, indirect=True)
def test_at_a_desk_it_fits_and_all_can_read_it(desk: Visit) -> None:
    begin_reading(desk.page)
    assert_fits_and_all_can_read_it(desk.page, *THEMES[0])


@pytest.mark.parametrize("name", READ)
def test_on_a_phone_it_fits_and_all_can_read_it(browser: Browser, origin: str, name: str) -> None:
    page = first_visit(browser, origin, name, *THEMES[1]).page
    begin_reading(page)
    assert_fits_and_all_can_read_it(page, *THEMES[1])
    page.close()


def assert_fits_and_all_can_read_it(page: Page, width: int, theme: str) -> None:
    page.add_style_tag(content=LAID_OUT)
    assert page.evaluate("innerWidth") == width
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    too_wide = """() => [...document.querySelectorAll(
        '.bd-article :is(table, .pst-scrollable-table-container, div.math, [data-widget], img)')]
        .filter(e => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display != 'inline'
                  || e.getBoundingClientRect().right > innerWidth)
        .map(e => e.outerHTML.slice(0, 150))"""
    assert page.evaluate(too_wide) == []
    # Most elements are words of code, which the next test looks at, and symbols of formulas, all of
    # one colour: with a dot for each block and formula axe takes less than half the time.
    page.evaluate("document.querySelectorAll('pre, .katex-html').forEach(e => e.textContent = '·')")
    assert violations(page, within=".bd-article") == []


@pytest.mark.parametrize(("width", "theme"), THEMES)
def test_code_of_every_colour_can_be_read(
    browser: Browser, origin: str, width: int, theme: str
) -> None:
    """One cell with a word of each kind that the pages' code has; thousands would take minutes."""
    kinds = {
        kind
        for page in PAGES
        for kind in re.findall(r'<span class="([a-z0-9]{1,2})">', page.read_text("utf-8"))
    }
    assert len(kinds) > 12  # those that look like plain text are none
    page = first_visit(browser, origin, "convolution/cross-correlation.html", width, theme).page
    page.add_style_tag(content=LAID_OUT)
    page.locator(".cell_input pre:visible").first.evaluate(
        """(code, kinds) => {
        code.id = "kinds";
        code.innerHTML = kinds.map((kind) => `<span class=${kind}>${kind}</span>`).join(" ");
        }""",
        sorted(kinds),
    )
    broken = violations(page, within="#kinds")
    page.close()
    assert broken == []


@pytest.fixture(scope="module")
def without_scripts(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(java_script_enabled=False)
    yield context
    context.close()


@pytest.mark.parametrize("name", READ)
def test_without_scripts_the_page_is_whole(
    without_scripts: BrowserContext, origin: str, name: str
) -> None:
    page = without_scripts.new_page()
    page.goto(f"{origin}/{name}")
    for still in page.locator("[data-widget-model] svg").all():
        assert still.is_visible()
    page.close()


def test_it_works_from_a_file(browser: Browser) -> None:
    page = browser.new_page()
    page.goto((SITE / "index.html").as_uri())
    page.wait_for_selector('[data-widget="live"]')
    page.close()


WEIGHTS = re.compile(r"_static/explorers/\w+\.js")


@pytest.mark.parametrize("sign", ["pointer", "key", "scroll"])
@pytest.mark.parametrize("place", ["server", "file"])
def test_a_networks_weights_come_when_the_reader_begins(
    browser: Browser, origin: str, place: str, sign: str
) -> None:
    """The still picture stands until then; then the network says what PyTorch has said in it."""
    name = "architectures/lenet.html"
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    visit(page, f"{origin}/{name}" if place == "server" else (SITE / name).as_uri())
    wait_for_stragglers(page)
    still = page.locator("[data-widget=waiting]")
    said = re.findall(r">([\d.]+ %)<", still.inner_html())
    assert still.locator("svg").is_visible() and len(said) == 10
    assert not [url for url in asked if WEIGHTS.search(url)]
    if sign == "pointer":
        page.mouse.move(200, 400, steps=2)
    elif sign == "key":
        page.keyboard.press("Tab")
    else:
        page.evaluate("scrollBy(0, 50)")
    expect(page.locator("[data-widget=live] .d2-lenet .d2-share")).to_have_text(said)
    assert len([url for url in asked if WEIGHTS.search(url)]) == 1
    page.close()


def test_where_weights_do_not_come_the_picture_stays(browser: Browser, origin: str) -> None:
    page = browser.new_page()
    page.route(WEIGHTS, lambda route: route.abort())
    visit(page, f"{origin}/architectures/lenet.html")
    with page.expect_event("requestfailed"):
        page.mouse.move(200, 400, steps=2)
    assert page.locator("[data-widget=waiting] svg").is_visible()
    page.close()
