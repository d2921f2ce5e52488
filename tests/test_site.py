"""The built site, read as files: whole, self-contained, free of errors. `make book` builds it."""

import re
from functools import cache
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup
from conftest import PAGES, ROOT, SITE, soup_of
from playwright.sync_api import Browser

ERROR = r"Traceback \(most recent call last\)"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
# Pages that Sphinx adds: neither taught from nor linked from the chapters.
GENERATED = {"genindex.html", "search.html"}
# How many children MathML asks for (https://www.w3.org/TR/mathml-core/): else it is an error.
CHILDREN = {
    **dict.fromkeys(("mfrac", "mroot", "msub", "msup", "munder", "mover"), 2),
    **dict.fromkeys(("msubsup", "munderover"), 3),
}


@pytest.fixture(scope="module", params=PAGES, ids=[str(page.relative_to(SITE)) for page in PAGES])
def page(request: pytest.FixtureRequest) -> tuple[Path, BeautifulSoup]:
    return request.param, soup_of(request.param)


def test_the_site_is_built() -> None:
    assert len(PAGES) >= 5, "run `make book` first"


def test_nothing_broke_while_building(page: tuple[Path, BeautifulSoup]) -> None:
    _, soup = page
    text = soup.get_text()
    shown = sum(len(re.findall(ERROR, code.get_text())) for code in soup.select(".doctest"))
    assert len(re.findall(ERROR, text)) == shown  # examples in the reference show what is raised
    assert not soup.select(".output.traceback, .system-message, .problematic, .katex-error")
    assert "undefined label" not in text


def test_formulas_are_valid_mathml(page: tuple[Path, BeautifulSoup]) -> None:
    _, soup = page
    for element in soup.select(", ".join(CHILDREN)):
        children = element.find_all(recursive=False)
        assert len(children) == CHILDREN[element.name], str(element)


def test_a_number_stays_whole(page: tuple[Path, BeautifulSoup]) -> None:
    """A line would else end in 94 of 94 %, or 70– of 70–71. Code stays as it is: it is copied."""
    _, soup = page
    torn = re.compile(r"\d (?:%|px|ms|kB)(?!\w)|\d–\d")
    for place in soup.select("article, .slides"):
        for text in place.find_all(string=torn):
            assert text.find_parent(["pre", "code", "svg", "script", "math"]), text
    for code in soup.select("pre.highlight, code"):
        assert not re.search("[\u00a0\u2060]", code.get_text())


def test_links_lead_somewhere(page: tuple[Path, BeautifulSoup]) -> None:
    path, soup = page
    targets = [tag.get("href") or tag.get("src") for tag in soup.select("[href], [src]")]
    for target in filter(None, targets):
        link = urlsplit(target)
        if link.scheme or link.netloc:
            continue
        file = (path.parent / unquote(link.path)).resolve() if link.path else path
        file = file / "index.html" if file.is_dir() else file
        assert file.exists(), target
        if link.fragment and file.suffix == ".html":
            assert unquote(link.fragment) in identifiers(file), target


@cache
def identifiers(file: Path) -> set[str]:
    """What links can lead to in a page."""
    return set(map(unescape, re.findall(r'\bid="([^"]+)"', file.read_text(encoding="utf-8"))))


def test_nothing_is_loaded_from_elsewhere(page: tuple[Path, BeautifulSoup]) -> None:
    _, soup = page
    loaded = soup.select("script[src], img[src], link[rel=stylesheet], link[rel=preload], iframe")
    sources = [tag.get("src") or tag.get("href") for tag in loaded]
    assert not [source for source in sources if urlsplit(source).netloc]


def test_a_page_says_what_it_is_about(page: tuple[Path, BeautifulSoup]) -> None:
    file, soup = page
    moved = soup.select_one("meta[http-equiv=refresh]")
    if (
        not moved
        and file.name not in ("genindex.html", "search.html")
        and "slides" not in file.parts
    ):
        said = soup.select_one("meta[name=description]")["content"]
        assert 20 <= len(said) <= 200
        assert soup.select_one("meta[property='og:description']")["content"] == said
        assert soup.title.text.startswith(soup.select_one("meta[property='og:title']")["content"])
        assert len(set(soup.title.text.split(" — "))) == len(soup.title.text.split(" — "))


def test_pictures_have_descriptions(page: tuple[Path, BeautifulSoup]) -> None:
    _, soup = page
    assert not [
        str(picture)[:120] for picture in soup.select("article img") if not picture.get("alt")
    ]


def test_without_scripts_a_picture_stands_for_each_explorer(
    page: tuple[Path, BeautifulSoup],
) -> None:
    _, soup = page
    assert not soup.select(f'script[type="{WIDGET_VIEW}"]'), "a widget without a still picture"
    for still in soup.select("[data-widget-model]"):
        assert still.select_one("svg"), "a still picture is missing"
        assert still.get("aria-label")


def test_what_folds_is_called_what_it_says(page: tuple[Path, BeautifulSoup]) -> None:
    _, soup = page
    for summary in soup.select("summary[aria-label]"):  # a voice that is told to press it looks so
        shown = " ".join(summary.get_text().split())
        assert shown.lower() in summary["aria-label"].lower()


def test_scripts_do_not_hold_up_the_first_paint(page: tuple[Path, BeautifulSoup]) -> None:
    path, soup = page
    held = {Path(urlsplit(script["src"]).path).name for script in soup.select("head script[src]")
            if not {"defer", "async"} & set(script.attrs)}  # fmt: skip
    at_once = path.relative_to(SITE).parts[0] == "slides" or path.name == "search.html"
    if not at_once and not soup.select_one(".katex"):  # whose fonts are to be there first
        assert held <= {"documentation_options.js", "doctools.js", "sphinx_highlight.js"}


def test_the_theme_measures_no_boxes_in_turn() -> None:
    """Else a chapter is laid out some fifty times; `scrolling.js` looks at what is seen."""
    theme = (SITE / "_static/scripts/pydata-sphinx-theme.js").read_text(encoding="utf-8")
    assert "tabIndex=" in theme  # it still would
    assert '["pre",' not in theme


def test_the_site_styles_no_class_of_an_explorer() -> None:
    """Such as Bootstrap's `.mark`, which is cream-colored in both themes."""
    bare: set[str] = set()
    for path in (SITE / "_static").rglob("*.css"):
        sheet = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        bare |= set(re.findall(r"[{},]\s*\.([\w-]+)\s*(?=[{,])", sheet))
    assert "mark" in bare
    for path in (ROOT / "d2lite" / "explore").glob("*.css"):
        own = re.findall(r"(?<=[.&\s(:])\.([a-z][\w-]*)", path.read_text(encoding="utf-8"))
        found = {name for name in own if name in bare and not name.startswith("d2")}
        assert not found, f"{path.name}: {sorted(found)}"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("training/pytorch-essentials.html#exercises", "start/pytorch-essentials.html#exercises"),
        ("slides/training/pytorch-essentials.html#/5", "slides/start/pytorch-essentials.html#/5"),
    ],
)
def test_an_old_address_leads_to_the_place_on_the_new_page(
    browser: Browser, old: str, new: str
) -> None:
    page = browser.new_page()
    page.goto(f"{SITE.as_uri()}/{old}")
    page.wait_for_url(f"{SITE.as_uri()}/{new}")
    page.close()


def test_on_paper_answers_are_open(browser: Browser) -> None:
    page = browser.new_page()
    page.goto((SITE / "convolution" / "output-size.html").as_uri())
    answer = page.locator("details:not(.hide) > p").first
    assert not answer.is_visible()
    page.emulate_media(media="print")
    assert answer.is_visible()
    assert not page.locator("details.hide pre").first.is_visible()
    page.close()


def test_the_focus_is_seen_in_colors_of_the_readers_own(browser: Browser) -> None:
    page = browser.new_page(forced_colors="active")
    page.goto((SITE / "convolution" / "output-size.html").as_uri())
    for _ in range(6):
        page.keyboard.press("Tab")
        style = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert style == "solid"
    page.close()


def test_a_wrong_address_leads_back(browser: Browser) -> None:
    page = browser.new_page()
    page.goto((SITE / "404.html").as_uri())
    assert page.get_by_role("link").evaluate_all("all => all.map(a => a.getAttribute('href'))") == [
        "/", "/search.html",
    ]  # fmt: skip
    page.close()
