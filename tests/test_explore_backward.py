"""The backward explorer: its gradients against PyTorch's autograd, its traits, the front end."""

import random
import re
from collections.abc import Callable, Iterator
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from conftest import settle, violations
from playwright.sync_api import Browser, Locator, Page, expect
from test_explore_convolution import MOUNT
from torch.nn.functional import conv2d

from d2lite.explore import BackwardExplorer

NAMES = ("input", "kernel", "gradient", "stride", "padding")


def random_case(rng: random.Random) -> list:
    """(input, kernel, gradient of the output, stride, padding), as the controls reach them."""
    stride, padding = rng.randint(1, 3), rng.randint(0, 2)
    (H, W), (kH, kW) = [[rng.randint(*span) for _ in "hw"] for span in ((3, 6), (1, 3))]
    oH, oW = ((n + 2 * padding - k) // stride + 1 for n, k in ((H, kH), (W, kW)))
    numbers = lambda h, w: [[rng.uniform(-9, 9) for _ in range(w)] for _ in range(h)]  # noqa: E731
    return [numbers(H, W), numbers(kH, kW), numbers(oH, oW), stride, padding]


@pytest.fixture(scope="module")
def cases() -> list[list]:
    rng = random.Random(0)
    return [random_case(rng) for _ in range(600)]


def autograd(input, kernel, gradient, stride, padding) -> tuple[torch.Tensor, torch.Tensor]:
    X, K, G = (torch.tensor(m, dtype=torch.float64)[None, None] for m in (input, kernel, gradient))
    X, K = X.requires_grad_(), K.requires_grad_()
    return torch.autograd.grad(conv2d(X, K, stride=stride, padding=padding), (X, K), G)


# ---- Arithmetic ----------------------------------------------------------------------------------


def test_javascript_equals_autograd(javascript: Callable, cases: list[list]) -> None:
    results = javascript(BackwardExplorer, "backward", cases)
    assert len({len(case[2]) for case in cases}) > 7  # outputs of many sizes
    for case, found in zip(cases, results, strict=True):
        for name, expected in zip(("input", "kernel"), autograd(*case), strict=True):
            given = torch.tensor(found[name], dtype=torch.float64)
            torch.testing.assert_close(given, expected[0, 0], rtol=0, atol=1e-9)


def test_python_equals_autograd(cases: list[list]) -> None:
    for case in cases[:200]:
        explorer = BackwardExplorer(**dict(zip(NAMES, case, strict=True)))
        for given, expected in zip(
            (explorer.grad_input, explorer.grad_weight), autograd(*case), strict=True
        ):
            torch.testing.assert_close(given.double(), expected[0, 0], rtol=1e-4, atol=1e-3)


def test_each_product_belongs_to_its_output(javascript: Callable, cases: list[list]) -> None:
    """Added up by outputs, the listed products are the forward pass."""
    asked = [[case[0], case[1], case[3], case[4]] for case in cases]
    for case, found in zip(cases, javascript(BackwardExplorer, "products", asked), strict=True):
        X, K = (torch.tensor(m, dtype=torch.float64) for m in case[:2])
        Y = torch.zeros(len(case[2]), len(case[2][0]), dtype=torch.float64)
        for product in found:
            (i, j), (a, b) = product["input"], product["kernel"]
            inside = 0 <= i < len(X) and 0 <= j < X.shape[1]
            assert product["w"] == K[a, b]
            assert product["x"] == (X[i, j] if inside else None)
            Y[tuple(product["output"])] += product["w"] * (product["x"] or 0)
        expected = conv2d(X[None, None], K[None, None], stride=case[3], padding=case[4])[0, 0]
        torch.testing.assert_close(Y, expected, rtol=0, atol=1e-9)


def test_a_gradient_is_cropped_or_filled_up_alike(javascript: Callable, cases: list[list]) -> None:
    rng = random.Random(1)
    misfits = [[*case[:2], rng.choice(cases)[2], *case[3:]] for case in cases[:200]]
    explorers = [BackwardExplorer(**dict(zip(NAMES, case, strict=True))) for case in misfits]
    asked = [[e.gradient, *e.grad_output.shape] for e in explorers]
    results = javascript(BackwardExplorer, "resized", asked)
    for explorer, found in zip(explorers, results, strict=True):
        torch.testing.assert_close(explorer.grad_output, torch.tensor(found).float())


# ---- Traits --------------------------------------------------------------------------------------


def test_one_output_or_all_of_them() -> None:
    explorer = BackwardExplorer(view="this output only")
    total = torch.zeros(6, 6)
    for explorer.row in range(4):
        for explorer.column in range(4):
            total += explorer.grad_input
    explorer.view = "all outputs"
    torch.testing.assert_close(explorer.grad_input, total)


@pytest.mark.parametrize(
    ("error", "message", "traits"),
    [
        (
            ValueError,
            "input=float32 (2, 2): shape (2, 2), must be from 3 to 6",
            {"input": torch.ones(2, 2)},
        ),
        (ValueError, ": shape (7, 6), must be from 3 to 6", {"input": np.ones((7, 6))}),
        (
            ValueError,
            "kernel=[[1, 2, 3, 4]]: shape (1, 4), must be from 1 to 3",
            {"kernel": [[1, 2, 3, 4]]},
        ),
        (ValueError, "kernel=[1, 2, 3]: shape (3,), must be 2-D", {"kernel": [1, 2, 3]}),
        (ValueError, "]: shape (11, 1), must be from 1", {"gradient": [[1]] * 11}),
        (ValueError, "gradient=[[nan]]: must be finite", {"gradient": [[float("nan")]]}),
        (ValueError, "kernel=[[1], [2, 3]]: must be rows of numbers", {"kernel": [[1], [2, 3]]}),
        (ValueError, "stride=4: must be ≥ 1 and ≤ 3", {"stride": 4}),
        (ValueError, "padding=3: must be ≥ 0 and ≤ 2", {"padding": 3}),
        (TypeError, "row=1.0: must be an int", {"row": 1.0}),
        (ValueError, "view='one': must be one of 'all outputs',", {"view": "one"}),
        (TypeError, "strides: no such argument of BackwardExplorer", {"strides": 2}),
    ],
)
def test_errors_say_what_is_wrong(error: type, message: str, traits: dict) -> None:
    with pytest.raises(error, match=re.escape(message)):
        BackwardExplorer(**traits)


def test_the_chosen_output_stays_in_the_output() -> None:
    explorer = BackwardExplorer(row=3, column=2)
    assert explorer.chosen == (3, 2)
    explorer.stride = 3
    assert explorer.chosen == (1, 1)


def test_the_picture_shows_the_five_matrices() -> None:
    for explorer in (BackwardExplorer(), BackwardExplorer(padding=2, kernel=[[0.5]])):
        picture = ElementTree.fromstring(explorer.picture())
        texts = [text for element in picture.iter() if (text := element.text)]
        matrices = [explorer.grad_output, torch.tensor(explorer.input), explorer.grad_input]
        matrices += [torch.tensor(explorer.kernel), explorer.grad_weight]
        assert len(texts) == 1 + 5 + sum(matrix.numel() for matrix in matrices)
        assert len(explorer.picture()) < 40_000


# ---- The front end -------------------------------------------------------------------------------


class Figure:
    """The explorer on a page of its own, with a model that lives in the page."""

    def __init__(self, page: Page, explorer: BackwardExplorer, theme: str = "light") -> None:
        self.page, self.problems = page, []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.set_content(
            """<!doctype html><html lang="en"><meta name="viewport" content="width=device-width">
            <title>Explorer</title><style>body { margin: 16px }
            html[data-theme=dark] body { background: #121212; color: #eee }</style>
            <main><h1>Chapter</h1><div id="figure"></div></main>"""
        )
        state = explorer.get_state([*NAMES, "view", "row", "column", "label"])
        page.evaluate(MOUNT, [explorer._esm, explorer._css, state, theme])
        expect(self.readout).not_to_be_empty()

    def get(self, name: str) -> Any:
        return self.page.evaluate("name => model.get(name)", name)

    @property
    def readout(self) -> Locator:
        return self.page.locator(".d2-readout").first

    def cell(self, grid: str, row: int, column: int) -> Locator:
        cells = self.page.get_by_role("grid", name=grid, exact=True)
        return cells.locator("tr").nth(row).locator("td").nth(column)

    def type(self, grid: str, row: int, column: int, text: str) -> None:
        cells = self.page.get_by_role("grid", name=grid, exact=True)
        cells.get_by_label(f"row {row}, column {column}", exact=True).fill(text)

    def numbers(self, grid: str) -> torch.Tensor:
        settle(self.page)
        rows = self.page.get_by_role("grid", name=grid, exact=True).locator("tr").all()
        texts = [row.locator("td").all_text_contents() for row in rows]
        return torch.tensor([[float(text.replace("−", "-")) for text in row] for row in texts])

    def marked(self, grid: str) -> int:
        settle(self.page)
        return self.page.get_by_role("grid", name=grid, exact=True).locator(".met").count()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 800, "height": 1000})
    yield page
    page.close()


@pytest.fixture
def figure(page: Page) -> Iterator[Figure]:
    figure = Figure(page, BackwardExplorer())
    yield figure
    assert figure.problems == []


def test_what_is_shown_is_what_is_computed(figure: Figure) -> None:
    explorer = BackwardExplorer()
    for change in ({}, {"stride": 2}, {"padding": 2}, {"view": "this output only"}):
        for name, value in change.items():
            setattr(explorer, name, value)
            figure.page.evaluate("([n, v]) => model.set(n, v)", [name, value])
        assert torch.equal(figure.numbers("Gradient of the input"), explorer.grad_input)
        assert torch.equal(figure.numbers("Gradient of the kernel"), explorer.grad_weight)


def test_an_output_tells_what_it_sends(figure: Figure) -> None:
    figure.cell("Gradient of the output", 1, 2).click()
    assert (figure.get("row"), figure.get("column")) == (1, 2)
    X = BackwardExplorer().input
    rows = [", ".join(f"{2 * x:g}" for x in row[2:5]) for row in X[1:4]]
    expect(figure.readout).to_have_text(
        "Output [1, 2] has gradient 2. Its inputs receive 2 times the weights: "
        "−2, 0, 2 / −4, 0, 4 / −2, 0, 2. The weights receive 2 times the inputs: "
        f"{' / '.join(rows)}. The lower grids add up 3 outputs."
    )
    assert figure.marked("Input") == figure.marked("Gradient of the input") == 9
    assert figure.marked("Gradient of the output") == 1
    figure.page.get_by_label("Send back").select_option("this output only")
    expect(figure.readout).not_to_contain_text("add up")
    assert torch.count_nonzero(figure.numbers("Gradient of the input")) == 6
    figure.page.get_by_role("slider", name="Padding").fill("1")
    figure.cell("Gradient of the output", 0, 0).click()
    figure.type("Gradient of the output", 0, 0, "3")
    expect(figure.readout).to_contain_text("; 5 of these are lost in the padding")
    figure.type("Gradient of the output", 0, 0, "0")
    expect(figure.readout).to_have_text("Output [0, 0] has gradient 0: it sends nothing back.")


def test_an_input_tells_what_it_receives(figure: Figure) -> None:
    figure.cell("Gradient of the input", 2, 3).click()
    expect(figure.readout).to_have_text(
        "Input [2, 3] was read by 9 outputs and receives 1·2 + 2·0 = 2."
    )
    assert figure.marked("Gradient of the output") == figure.marked("Kernel") == 9
    figure.cell("Gradient of the input", 0, 0).click()
    expect(figure.readout).to_have_text("Input [0, 0] was read by 1 output and receives 0.")
    figure.page.get_by_role("button", name="All gradients 1").click()
    expect(figure.readout).to_have_text(
        "Input [0, 0] was read by 1 output and receives 1·(−1) = −1."
    )
    figure.page.get_by_label("Stride").fill("3")
    figure.cell("Gradient of the input", 1, 4).click()
    expect(figure.readout).to_have_text("Input [1, 4] was read by 1 output and receives 1·0 = 0.")


def test_a_weight_tells_what_it_receives(figure: Figure) -> None:
    figure.cell("Gradient of the kernel", 0, 1).click()
    X = BackwardExplorer().input
    terms = f"1·{X[1][2]:g} + 2·{X[1][3]:g} + (−1)·{X[3][4]:g}"
    total = f"{X[1][2] + 2 * X[1][3] - X[3][4]:g}".replace("-", "−")
    expect(figure.readout).to_have_text(
        f"Weight [0, 1] met 16 inputs and receives {terms} = {total}."
    )
    assert figure.marked("Input") == figure.marked("Gradient of the output") == 16
    assert (figure.marked("Kernel"), figure.marked("Gradient of the input")) == (1, 0)
    figure.page.get_by_label("Send back").select_option("this output only")
    expect(figure.readout).to_contain_text("met 1 input that you chose")
    figure.page.get_by_label("Send back").select_option("all outputs")
    figure.page.get_by_role("button", name="All gradients 1").click()
    expect(figure.readout).to_contain_text("the sum of 16 products")


def test_numbers_can_be_typed_and_put_back(figure: Figure) -> None:
    figure.type("Gradient of the output", 0, 0, "−0,5")
    assert figure.get("gradient")[0][0] == -0.5
    figure.type("Kernel", 0, 0, "4")
    assert figure.numbers("Gradient of the input")[0, 0] == -2
    figure.type("Input", 0, 0, "7")
    assert figure.get("input")[0][0] == 7
    figure.page.get_by_role("button", name="Only the chosen one 1").click()
    chosen = figure.get("row"), figure.get("column")
    assert figure.get("gradient") == np.eye(16)[4 * chosen[0] + chosen[1]].reshape(4, 4).tolist()
    figure.page.get_by_role("button", name="Reset").click()
    explorer = BackwardExplorer()
    for name in NAMES:
        assert figure.get(name) == getattr(explorer, name)


def test_the_keyboard_is_enough(figure: Figure) -> None:
    figure.cell("Gradient of the output", 0, 0).locator("input").focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight"):
        figure.page.keyboard.press(key)
    assert (figure.get("row"), figure.get("column")) == (1, 2)
    figure.page.keyboard.type("5")
    assert figure.get("gradient")[1][2] == 5
    expect(figure.readout).to_contain_text("Output [1, 2] has gradient 5")
    for _ in range(2):
        figure.page.keyboard.press("Tab")
    expect(figure.cell("Gradient of the input", 0, 0)).to_be_focused()
    figure.page.keyboard.press("ArrowRight")
    expect(figure.readout).to_contain_text("Input [0, 1] was read by 2 outputs")


def test_leaving_leaves_nothing_behind(figure: Figure) -> None:
    assert figure.page.evaluate("model.handlers()") > 0
    figure.page.evaluate("leave()")
    assert figure.page.evaluate("model.handlers()") == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("state", [{}, {"padding": 2, "kernel": [[0.25, -1.75]]}])
def test_all_can_read_it(browser: Browser, state: dict, width: int, theme: str) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    figure = Figure(page, BackwardExplorer(**state), theme)
    for grid in ("Gradient of the output", "Gradient of the input", "Gradient of the kernel"):
        figure.cell(grid, 0, 1).click()  # nothing jumps: the press lands where it was aimed
        focused = "e => e.contains(document.activeElement)"
        assert figure.cell(grid, 0, 1).evaluate(focused), grid
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    targets = """() => [...document.querySelectorAll('.d2 :is(input, button, select, td)')]
        .filter(e => e.checkVisibility()).map(e => e.getBoundingClientRect())
        .filter(r => r.width < 24 || r.height < 24).length"""
    assert page.evaluate(targets) == 0
    assert figure.problems == []
    page.close()
