"""The built site in a real browser: every page, wide in light and narrow in dark."""

import re

import pytest
from conftest import NAMES, PAGES, SITE, violations, visit
from playwright.sync_api import Browser

READ = [name for name in NAMES if name not in ("genindex.html", "search.html")]


THEMES = [(1280, "light"), (390, "dark")]


# Widths decide what fits and themes what contrasts: two visits see both of each.
@pytest.mark.parametrize(("width", "theme"), THEMES)
@pytest.mark.parametrize("name", READ)
def test_it_fits_and_all_can_read_it(
    browser: Browser, origin: str, name: str, width: int, theme: str
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=theme)
    visit(page, f"{origin}/{name}")
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
    broken = violations(page, within=".bd-article")
    page.close()
    assert broken == []


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
    assert len(kinds) > 20
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=theme)
    visit(page, f"{origin}/convolution/cross-correlation.html")
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


@pytest.mark.parametrize("name", READ)
def test_without_scripts_the_page_is_whole(browser: Browser, origin: str, name: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{origin}/{name}")
    for still in page.locator("[data-widget-model] svg").all():
        assert still.is_visible()
    context.close()


def test_it_works_from_a_file(browser: Browser) -> None:
    page = browser.new_page()
    page.goto((SITE / "index.html").as_uri())
    page.wait_for_selector('[data-widget="live"]')
    page.close()
