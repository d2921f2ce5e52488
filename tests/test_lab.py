"""Explorers in a real JupyterLab: they come with a run, answer, and come back. `make test-lab`."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

import nbformat
import pytest
from conftest import ROOT, slide
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Browser, Page, expect

from d2lite import explore

pytestmark = pytest.mark.skipif("D2LITE_LAB" not in os.environ, reason="run by make test-lab")
CHAPTER = ROOT / "book" / "convolution" / "cross-correlation.ipynb"
ARGUMENTS = {"LeNetExplorer": "LeNet(), torch.rand(1, 1, 28, 28), list('abcdefghij')"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a notebook: a chapter that is trusted, and one that shows all explorers."""
    folder, home = tmp_path_factory.mktemp("book"), tmp_path_factory.mktemp("home")
    shutil.copy(CHAPTER, folder / "chapter.ipynb")
    cells = ["import torch\nfrom d2lite import explore\nfrom d2lite.nets.lenet import LeNet"]
    cells += [f"{n} = explore.{n}({ARGUMENTS.get(n, '')})\n{n}" for n in explore.__all__]
    cells += ["print('padding', ConvolutionExplorer.padding)", "ConvolutionExplorer.padding = 1"]
    chapter = nbformat.read(CHAPTER, as_version=4).metadata
    metadata = {name: chapter[name] for name in ("kernelspec", "language_info")}
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells], metadata=metadata)
    nbformat.write(notebook, folder / "all.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    own = ("HOME", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    own += ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    environment = os.environ | {name: str(home / name.lower()) for name in own}
    environment["PYTHONPATH"] = str(ROOT)
    sign = [sys.executable, "-m", "nbformat.sign", "chapter.ipynb"]
    subprocess.run(sign, cwd=folder, env=environment, check=True, capture_output=True)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [f"--ServerApp.port={port}", f"--IdentityProvider.token={token}"]
    command += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    command += ["--LabApp.extension_manager=readonly", "--LabApp.news_url="]
    with open(home / "log", "w") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            urlopen(f"{address}/api?token={token}").close()
            break
        except URLError:
            assert server.poll() is None, (home / "log").read_text()
            time.sleep(0.2)
    yield f"{address}/lab/tree/{{}}?token={token}"
    server.terminate()  # it ends its kernels
    server.wait(60)


@pytest.fixture
def opened(browser: Browser, lab: str) -> Iterator[Callable[[str], Page]]:
    """Open a notebook in a window in which all of it can be seen; afterwards nothing went wrong."""
    page = browser.new_page(viewport={"width": 1280, "height": 16_000})
    page.set_default_timeout(120_000)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda m: m.type == "error" and problems.append(f"{m.text} {m.location}"))
    page.on("request", lambda r: hosts.add(urlsplit(r.url).hostname))
    hosts: set[str | None] = set()

    def opened(name: str) -> Page:
        page.goto(lab.format(name))
        page.wait_for_selector(".jp-Notebook .jp-Cell")
        return page

    yield opened
    page.close()
    assert problems == [] and hosts <= {"127.0.0.1", None}


def run_cell(page: Page, text: str) -> None:
    page.locator(".jp-CodeCell", has_text=text).last.locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")


def test_all_explorers_come_with_a_run_and_answer(opened: Callable[[str], Page]) -> None:
    page = opened("all.ipynb")
    page.get_by_text("| Idle").wait_for()  # before, it would ask which kernel is meant
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    figures = page.locator(".jp-OutputArea-output .d2")
    expect(figures).to_have_count(len(explore.__all__), timeout=120_000)
    padding = page.locator(".d2-convolution").get_by_role("slider", name="Padding")
    expect(padding).to_have_value("1", timeout=120_000)
    slide(page.locator(".d2-convolution"), "Padding", 3)
    run_cell(page, "print(")
    expect(page.get_by_text("padding 3", exact=True)).to_be_visible()
    run_cell(page, "padding = 1")
    expect(padding).to_have_value("1")
    page.keyboard.press("Control+s")
    page.reload()
    expect(figures).to_have_count(len(explore.__all__), timeout=120_000)
    expect(padding).to_have_value("1")


def test_a_trusted_chapter_is_alive_without_a_run(opened: Callable[[str], Page]) -> None:
    page = opened("chapter.ipynb")
    figure = page.locator(".d2-convolution").first
    slider = figure.get_by_role("slider", name="Padding")
    figure.wait_for()
    before = figure.inner_html()
    slider.fill(str(int(slider.input_value()) + 1))
    expect(page.locator(".d2-convolution").first).not_to_have_js_property("innerHTML", before)
