"""What does Lighthouse say of the site's pages, as a phone would get them?

    python benchmarks/pages.py      # after `make book`, on a machine that does nothing else

Lighthouse, from npm, visits each page three times in Chromium, with its own settings for a phone: a
narrow window, a slow network and a processor four times slower than this one. The site is served
compressed, as hosts serve it. What is kept of the three visits is the one with the median score.
"""

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from results import FOLDER, save

LIGHTHOUSE = "lighthouse@12.8.2"
PAGES = [
    "index.html",
    "convolution/output-size.html",
    "training/optimizers.html",
    "architectures/resnet.html",
    "detection/yolo.html",
]
VISITS = 3
SITE = FOLDER.parent / "_build" / "html"
TOOL = FOLDER.parent / "_build" / "lighthouse"
TEXT = {".html", ".css", ".js", ".json", ".svg"}
HEAD = ["Page", "Performance", "Accessibility", "Best practices", "First paint (s)",
        "Largest paint (s)", "Blocked (ms)", "Shift", "KB", "Elements"]  # fmt: skip


class Compressed(SimpleHTTPRequestHandler):
    """Serves files, text compressed."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with a file."""
        file = Path(self.translate_path(self.path))
        if not file.is_file():
            self.send_error(404)
            return
        body = file.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(file))
        self.send_header("Cache-Control", "max-age=600")
        if file.suffix in TEXT:
            body = gzip.compress(body)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served() -> Iterator[str]:
    """Serve the site on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Compressed, directory=SITE))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def visit(address: str) -> dict:
    """Let Lighthouse visit a page; return its report."""
    flags = "--headless=new --no-sandbox --disable-gpu --disable-background-networking"
    command = [TOOL / "node_modules" / ".bin" / "lighthouse", address, "--output=json", "--quiet",
               "--only-categories=performance,accessibility,best-practices",
               f"--chrome-flags={flags}"]  # fmt: skip
    shell = shutil.which("chromium-headless-shell") or ""  # or else it looks for a Chrome itself
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, env={"CHROME_PATH": shell} | os.environ
    )
    return json.loads(done.stdout)


def main() -> None:
    """Visit all pages in turn, three times, and write the table."""
    if not (SITE / "index.html").exists():
        sys.exit("First run: make book")
    command = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", TOOL]
    subprocess.run([*command, LIGHTHOUSE], check=True)
    reports: dict[str, list[dict]] = {page: [] for page in PAGES}
    with served() as origin:
        for _ in range(VISITS):
            for page, seen in reports.items():
                seen.append(visit(f"{origin}/{page}"))
                print(page, seen[-1]["categories"]["performance"]["score"], flush=True)
    rows = []
    for page, seen in reports.items():
        seen.sort(key=lambda report: report["categories"]["performance"]["score"])
        report = seen[VISITS // 2]
        score = {name: round(100 * part["score"]) for name, part in report["categories"].items()}
        value = {name: audit.get("numericValue") for name, audit in report["audits"].items()}
        rows.append([
            page.removesuffix(".html"), score["performance"], score["accessibility"],
            score["best-practices"], f"{value['first-contentful-paint'] / 1000:.1f}",
            f"{value['largest-contentful-paint'] / 1000:.1f}",
            f"{value['total-blocking-time']:.0f}", f"{value['cumulative-layout-shift']:.3f}",
            f"{value['total-byte-weight'] / 1000:.0f}", f"{value['dom-size']:,.0f}",
        ])  # fmt: skip
    save("pages", HEAD, rows)


if __name__ == "__main__":
    main()
