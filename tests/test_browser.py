"""The built site in a real browser: every page, wide and narrow, light and dark, and its keyboard.

Writes what it measured to `_build/browser.csv`: requests, weight on a first visit, explorers, and
the processor time that moving a slider takes.
"""

import csv
import gzip
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import PAGES, ROOT, SITE, violations
from playwright.sync_api import Browser, Page, Response

NAMES = [page.relative_to(SITE).as_posix() for page in PAGES]
READ = [name for name in NAMES if name not in ("genindex.html", "search.html")]
BUDGET = 400_000  # bytes, compressed, on a first visit
TEXT = (".html", ".css", ".js", ".svg", ".json")
EXPLORERS = "[data-widget]"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def report() -> Iterator[list[dict]]:
    rows: list[dict] = []
    yield rows
    if rows:
        with (ROOT / "_build" / "browser.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


def visit(page: Page, url: str) -> None:
    page.goto(url)
    page.wait_for_load_state("networkidle")
    page.wait_for_function("!document.querySelector('[data-widget-model]:not([data-widget])')")


def compressed(response: Response) -> int:
    path = Path(response.url.split("?")[0])
    body = response.body()
    return len(gzip.compress(body)) if path.suffix in TEXT or not path.suffix else len(body)


def drag_every_slider(page: Page) -> float:
    """Move each slider of each explorer to all its places; return processor ms a move."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def busy() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return next(m["value"] for m in metrics if m["name"] == "TaskDuration")

    before = busy()
    moves = page.evaluate(
        """async () => {
            let moves = 0;
            for (const slider of document.querySelectorAll('[data-widget] input[type=range]')) {
                const start = slider.value;
                for (let value = +slider.min; value <= +slider.max + 1; value += 1) {
                    slider.value = value <= slider.max ? value : start;
                    slider.dispatchEvent(new Event("input", { bubbles: true }));
                    await new Promise(requestAnimationFrame);
                    moves += 1;
                }
            }
            return moves;
        }"""
    )
    return 1000 * (busy() - before) / moves if moves else 0.0


@pytest.mark.parametrize("name", NAMES)
def test_a_first_visit(browser: Browser, origin: str, name: str, report: list[dict]) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    requests, problems, responses = [], [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("response", lambda response: responses.append(response))
    page.on("console", lambda m: problems.append(m.text) if m.type in ("error", "warning") else 0)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("requestfailed", lambda request: problems.append(f"failed: {request.url}"))
    visit(page, f"{origin}/{name}")
    weight = sum(compressed(r) for r in responses if r.url.startswith("http"))
    live = page.locator('[data-widget="live"]').count()
    cost = drag_every_slider(page)
    saved = (SITE / name).read_text(encoding="utf-8").count("data-widget-model=")
    report.append(
        {
            "page": name,
            "requests": len([url for url in requests if url.startswith("http")]),
            "compressed KB": round(weight / 1000),
            "explorers": live,
            "ms a move": round(cost, 1),
            "problems": len(problems),
        }
    )
    page.close()
    foreign = [u for u in requests if not u.startswith((origin, "blob:", "data:"))]
    assert not foreign
    assert not problems
    assert live == saved, "an explorer did not mount"
    assert weight <= BUDGET


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", READ)
def test_it_fits_and_all_can_read_it(
    browser: Browser, origin: str, name: str, width: int, theme: str
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=theme)
    visit(page, f"{origin}/{name}")
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    too_wide = """() => [...document.querySelectorAll(
        '.bd-article table, .bd-article div.math, .bd-article [data-widget], .bd-article img')]
        .filter(e => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display != 'inline'
                  || e.getBoundingClientRect().right > innerWidth)
        .map(e => e.outerHTML.slice(0, 150))"""
    assert page.evaluate(too_wide) == []
    broken = violations(page, within=".bd-article")
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
