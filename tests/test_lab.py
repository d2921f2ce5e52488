"""Explorers in a real JupyterLab: they come with a run, answer, and come back. `make test-lab`."""

import os
import secrets
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
from conftest import ROOT
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Browser, Page, expect

from d2lite import explore

pytestmark = pytest.mark.skipif("D2LITE_LAB" not in os.environ, reason="run by make test-lab")
CHAPTER = ROOT / "book" / "convolution" / "cross-correlation.ipynb"
ARGUMENTS = {
    "AdversarialExplorer": "nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), TEST[:4]",
    "LeNetExplorer": "LeNet(), torch.rand(1, 1, 28, 28), list('abcdefghij')",
    "ViTExplorer": "small_vit(), torch.rand(1, 1, 28, 28), list('abcdefghij')",
}
IMPORTS = """import torch
from torch import nn
from d2lite import explore
from d2lite.data import fashion_mnist
from d2lite.nets.lenet import LeNet
from d2lite.nets.vit import small_vit
_, TEST = fashion_mnist()"""


def write(path: Path, names: list[str], *more: str) -> None:
    """A notebook that shows explorers, each in a variable of its own name."""
    cells = [IMPORTS]
    cells += [f"{name} = explore.{name}({ARGUMENTS.get(name, '')})\n{name}" for name in names]
    chapter = nbformat.read(CHAPTER, as_version=4).metadata
    metadata = {name: chapter[name] for name in ("kernelspec", "language_info")}
    code = [new_code_cell(cell) for cell in (*cells, *more)]
    nbformat.write(new_notebook(cells=code, metadata=metadata), path)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of notebooks in a JupyterLab: a chapter, which is trusted, and two others."""
    folder, home = tmp_path_factory.mktemp("book"), tmp_path_factory.mktemp("home")
    chapter = nbformat.read(CHAPTER, as_version=4)
    # Few cells: anywidget gives up a figure that has not come after two seconds.
    chapter.cells = [cell for cell in chapter.cells if "d2-still" in str(cell.get("outputs"))]
    nbformat.write(chapter, folder / "chapter.ipynb")
    read, set_ = "print('padding', ConvolutionExplorer.padding)", "ConvolutionExplorer.padding = 1"
    write(folder / "two.ipynb", ["ConvolutionExplorer", "OutputSizeExplorer"], read, set_)
    write(folder / "all.ipynb", explore.__all__)
    begin, load = (
        "explorer = explore.TrainingExplorer(steps=10)\nexplorer",
        (
            "model = explorer.model()\nmodel.load_state_dict(explorer.weights)\n"
            "print('trained', len(explorer.history[0]['loss']), model[0].weight.isfinite().all())\n"
            "with torch.no_grad():\n    model[7].bias[3] = 100\n"
            "explorer.weights = model.state_dict()"
        ),
    )
    write(folder / "train.ipynb", [], begin, load)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    own = ("HOME", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    own += ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    environment = os.environ | {name: str(home / name.lower()) for name in own}
    environment["PYTHONPATH"] = str(ROOT)
    # Else cells that cannot be seen are taken out of the page.
    settings = home / "jupyterlab_settings_dir" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
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
    yield f"{address}/lab/workspaces/{{0}}/tree/{{0}}.ipynb?token={token}"
    server.terminate()  # it ends its kernels
    server.wait(60)


@pytest.fixture
def opened(browser: Browser, lab: str) -> Iterator[Callable[[str], Page]]:
    """Open a notebook; afterwards nothing went wrong."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
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
    page.locator(".jp-CodeCell", has_text=text).first.locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")


def await_kernel(page: Page) -> None:
    """Wait for the kernel: before, it would ask which one is meant."""
    page.get_by_text("| Idle").wait_for()


def test_a_figure_and_python_follow_each_other(opened: Callable[[str], Page]) -> None:
    page = opened("two")
    await_kernel(page)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    figures = page.locator(".jp-OutputArea-output .d2")
    padding = page.locator(".d2-convolution").get_by_role("slider", name="Padding")
    expect(figures).to_have_count(2, timeout=120_000)
    expect(padding).to_have_value("1", timeout=120_000)  # the last cell's
    padding.fill("3")
    run_cell(page, "print(")
    expect(page.get_by_text("padding 3", exact=True)).to_be_visible()
    run_cell(page, "padding = 1")
    expect(padding).to_have_value("1")
    page.keyboard.press("Control+s")
    expect(page.locator(".jp-mod-dirty")).to_have_count(0)
    page.reload()
    expect(figures).to_have_count(2, timeout=120_000)
    expect(padding).to_have_value("1")


def test_every_explorer_comes_with_its_cell(opened: Callable[[str], Page]) -> None:
    page = opened("all")
    await_kernel(page)
    run_cell(page, "import torch")
    for name in explore.__all__:
        run_cell(page, f"{name} = ")
        cell = page.locator(".jp-CodeCell", has_text=f"{name} = ")
        drawn = cell.locator(".d2 :is(svg, canvas, table):visible").first
        expect(drawn).to_be_visible(timeout=120_000)


def test_a_trusted_chapter_is_alive_before_a_run(opened: Callable[[str], Page]) -> None:
    page = opened("chapter")
    figure = page.locator(".d2-convolution").first
    padding = figure.get_by_role("slider", name="Padding")
    padding.wait_for()
    before = figure.inner_html()
    padding.fill(str(int(padding.input_value()) + 1))
    expect(figure).not_to_have_js_property("innerHTML", before)


def test_a_network_that_trains_in_the_figure_is_pythons_too(opened: Callable[[str], Page]) -> None:
    page = opened("train")
    await_kernel(page)
    run_cell(page, "import torch")
    run_cell(page, "explorer = ")
    figure = page.locator(".jp-OutputArea-output .d2-training")
    figure.get_by_role("button", name="Train", exact=True).click(timeout=120_000)
    expect(figure.get_by_role("status")).to_contain_text("After 10 steps", timeout=120_000)
    run_cell(page, "model = ")
    expect(page.get_by_text("trained 10 tensor(True)")).to_be_visible(timeout=120_000)
    expect(figure).to_contain_text("The network says: Dress 100", timeout=120_000)
