"""A reader opens a page for the first time: what it asks for, weighs and costs.

Writes what it measured to `_build/browser.csv`: requests, weight on a first visit, explorers, and
the processor time that moving a slider takes.
"""

import csv
import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import NAMES, ROOT, SITE, drag, processor_clock, visit
from playwright.sync_api import Browser, Page, Response

BUDGETS = {  # bytes, compressed, on a first visit; LeNet's page has a whole network in it
    "architectures/lenet.html": 550_000,
    "architectures/": 450_000,
    "": 400_000,
}
TEXT = (".html", ".css", ".js", ".svg", ".json")


@pytest.fixture(scope="module")
def report() -> Iterator[list[dict]]:
    rows: list[dict] = []
    yield rows
    if rows:
        with (ROOT / "_build" / "browser.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


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
    page.wait_for_load_state("networkidle")
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
    assert weight <= next(budget for start, budget in BUDGETS.items() if name.startswith(start))
