"""Measure how high each explorer stands on its page: `make heights`, after explorers have changed.

A page shows a still picture until its explorer is live, which may be a thousand pixels higher. So
that nothing jumps, the site keeps this much room for it (`static_site.keep_room`). The layout tests
fail where what is kept is no longer true.
"""

import functools
import json
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

from playwright.sync_api import sync_playwright

from notebooks import ROOT

SITE, HEIGHTS = ROOT / "_build" / "html", ROOT / "book" / "_static" / "heights.json"
#: Widths of the window at which to measure; each height is kept up to the next.
WIDTHS = (320, 340, 360, 375, 390, 412, 440, 480, 540, 600, 680, 768, 860, 960, 1100, 1200, 1280)
MEASURE = """() => [...document.querySelectorAll("[data-widget=live]")]
  .map((e) => [e.nextElementSibling, e].map((each) => each.getBoundingClientRect()))
  .map(([buttons, figure]) => Math.round(buttons.bottom - figure.top))"""


class Quiet(SimpleHTTPRequestHandler):
    """A server of the site that prints nothing."""

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


def main() -> None:
    """Measure all pages, and write the heights."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found: dict[str, dict[int, list[int]]] = {}  # page: {width: heights, in their order}
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        found_at = shutil.which("chromium-headless-shell") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=found_at, args=arguments)
        page = browser.new_page()
        for path in sorted(SITE.rglob("*.html")):
            name = path.relative_to(SITE).as_posix()
            if name.startswith("slides/") or "data-widget-model=" not in path.read_text("utf-8"):
                continue
            page.goto(f"http://127.0.0.1:{server.server_port}/{name}")
            page.evaluate("() => document.fonts.ready.then(() => true)")
            page.mouse.move(5, 5)
            page.mouse.move(9, 9)
            page.wait_for_function("!document.querySelector('[data-widget-model]')")
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 900})
                page.evaluate("() => new Promise((f) => setTimeout(f, 150))")
                found.setdefault(name, {})[width] = page.evaluate(MEASURE)
            print(name)
        browser.close()
    pages = ",\n".join(f"{json.dumps(name)}: {json.dumps(rows)}" for name, rows in found.items())
    HEIGHTS.write_text(f"{{\n{pages}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
