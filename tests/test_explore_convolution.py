"""The convolution explorer: arithmetic against PyTorch, traits, the front end in Chromium."""

import random
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from conftest import violations
from playwright.sync_api import Browser, Locator, Page, expect
from torch.nn.functional import conv2d

from d2lite.conv import rot180
from d2lite.data import fashion_mnist
from d2lite.explore import ConvolutionExplorer

OPERATIONS = ("cross-correlation", "convolution")
SOBEL = [[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]


# ---- Arithmetic ----------------------------------------------------------------------------------


def random_case(rng: random.Random) -> list:
    """(input, kernel, stride, padding, dilation, operation), such that the kernel fits."""
    stride, padding, dilation = rng.randint(1, 4), rng.randint(0, 3), rng.randint(1, 3)
    shapes = []
    for _ in "hw":
        k = rng.randint(1, 5)
        least = max(1, dilation * (k - 1) + 1 - 2 * padding)
        shapes.append((rng.randint(least, least + 8), k))
    (h, kh), (w, kw) = shapes
    input = [[rng.uniform(-9, 9) for _ in range(w)] for _ in range(h)]
    kernel = [[rng.uniform(-9, 9) for _ in range(kw)] for _ in range(kh)]
    return [input, kernel, stride, padding, dilation, rng.choice(OPERATIONS)]


@pytest.fixture(scope="module")
def cases() -> list[list]:
    rng = random.Random(0)
    return [random_case(rng) for _ in range(600)]


def in_torch(input, kernel, stride, padding, dilation, operation) -> torch.Tensor:
    x, k = (torch.tensor(m, dtype=torch.float64)[None, None] for m in (input, kernel))
    k = rot180(k) if operation == "convolution" else k
    return conv2d(x, k, stride=stride, padding=padding, dilation=dilation)[0, 0]


def test_javascript_equals_pytorch(javascript: Callable, cases: list[list]) -> None:
    results = javascript(ConvolutionExplorer, "correlate", cases)
    assert len({len(result) for result in results}) > 5  # shapes of many sizes
    for case, result in zip(cases, results, strict=True):
        torch.testing.assert_close(
            torch.tensor(result, dtype=torch.float64), in_torch(*case), rtol=0, atol=1e-9
        )


def test_every_term_of_a_cell_is_explained(javascript: Callable, cases: list[list]) -> None:
    rng = random.Random(1)
    asked = []
    for case in cases:
        height, width = in_torch(*case).shape
        asked.append([*case, rng.randrange(height), rng.randrange(width)])
    for case, found in zip(asked, javascript(ConvolutionExplorer, "explain", asked), strict=True):
        *settings, row, column = case
        input, kernel, stride, padding, dilation, operation = settings
        padded = np.pad(np.array(input), padding, constant_values=np.nan)
        rows = row * stride + dilation * np.arange(len(kernel))
        columns = column * stride + dilation * np.arange(len(kernel[0]))
        seen = np.array(found["seen"], dtype=float)  # null, which is padding, becomes NaN
        np.testing.assert_array_equal(seen, padded[np.ix_(rows, columns)])
        weight = np.rot90(kernel, 2) if operation == "convolution" else np.array(kernel)
        np.testing.assert_array_equal(found["weight"], weight)
        np.testing.assert_array_equal(found["products"], np.nan_to_num(seen) * weight)
        expected = in_torch(*settings)[row, column].item()
        assert found["sum"] == pytest.approx(expected, rel=0, abs=1e-9)


def test_where_the_kernel_does_not_fit_there_is_no_output(javascript: Callable) -> None:
    ones = [[1] * 3] * 3
    misfits = [
        [[[1, 2], [3, 4]], ones, 1, 0, 1, "convolution"],
        [[[1] * 9] * 2, ones, 1, 0, 1, "convolution"],
        [[[1] * 2] * 9, ones, 1, 0, 1, "convolution"],
        [[[1] * 6] * 6, ones, 3, 0, 3, "cross-correlation"],
    ]
    assert javascript(ConvolutionExplorer, "correlate", misfits) == [[]] * 4
    for input, kernel, stride, padding, dilation, _ in misfits:
        explorer = ConvolutionExplorer(
            input=input, kernel=kernel, stride=stride, padding=padding, dilation=dilation
        )
        assert explorer.output.numel() == 0
        assert "∅" in explorer.picture()


# ---- Traits --------------------------------------------------------------------------------------


def test_python_computes_the_same_output(cases: list[list]) -> None:
    for case in cases[:100]:
        names = ("input", "kernel", "stride", "padding", "dilation", "operation")
        explorer = ConvolutionExplorer(**dict(zip(names, case, strict=True)))
        assert explorer.output_shape == explorer.output.shape
        torch.testing.assert_close(explorer.output.double(), in_torch(*case), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("make", [torch.tensor, np.array, list])
def test_a_matrix_may_be_a_tensor_an_array_or_a_list(make: Callable) -> None:
    explorer = ConvolutionExplorer(input=make([[1, 2], [3, 4]]), kernel=make([[1.5]]))
    assert explorer.input == [[1.0, 2.0], [3.0, 4.0]]
    assert explorer.kernel == [[1.5]]
    assert explorer.output.tolist() == [[1.5, 3.0], [4.5, 6.0]]


@pytest.mark.parametrize(
    ("error", "message", "traits"),
    [
        (ValueError, "kernel=[1, 2]: shape (2,), must be 2-D, (H, W)", {"kernel": [1, 2]}),
        (ValueError, "input=float32 (1, 28, 28): shape", {"input": torch.zeros(1, 28, 28)}),
        (ValueError, "must be rows of numbers, all of one length", {"kernel": [[1], [2, 3]]}),
        (ValueError, "must be rows of numbers, all of one length", {"kernel": "Sobel"}),
        (ValueError, "shape (8, 8), must be from 1 to 7", {"kernel": torch.ones(8, 8)}),
        (ValueError, "shape (0, 3), must be from 1 to 64", {"input": torch.ones(0, 3)}),
        (ValueError, "input=[[nan]]: must be finite", {"input": [[float("nan")]]}),
        (ValueError, "stride=0: must be ≥ 1 and ≤ 8", {"stride": 0}),
        (ValueError, "padding=-1: must be ≥ 0 and ≤ 8", {"padding": -1}),
        (TypeError, "dilation=1.5: must be an int", {"dilation": 1.5}),
        (TypeError, "stride=True: must be an int", {"stride": True}),
        (
            ValueError,
            "operation='conv': must be one of 'cross-correlation',",
            {"operation": "conv"},
        ),
        (ValueError, "row=4: must be < 4", {"row": 4}),
        (ValueError, "column=-1: must be ≥ ", {"column": -1}),
        (TypeError, "strid: no such argument of ConvolutionExplorer", {"strid": 2}),
    ],
)
def test_errors_say_what_is_wrong(error: type, message: str, traits: dict) -> None:
    with pytest.raises(error, match=re.escape(message)):
        ConvolutionExplorer(**traits)
    name, value = next(iter(traits.items()))
    if name != "strid":
        explorer = ConvolutionExplorer()
        before = getattr(explorer, name)
        with pytest.raises(error, match=re.escape(message)):
            setattr(explorer, name, value)
        assert getattr(explorer, name) == before


def test_the_chosen_cell_stays_in_the_output() -> None:
    explorer = ConvolutionExplorer(row=3, column=2)
    explorer.stride = 2
    assert (explorer.row, explorer.column) == (1, 1)
    explorer.dilation = 4  # does not fit
    assert (explorer.row, explorer.column) == (0, 0)


def test_two_explorers_share_nothing() -> None:
    first, second = ConvolutionExplorer(), ConvolutionExplorer()
    first.kernel = [[1.0]]
    first.stride = 2
    assert (second.kernel, second.stride) == (SOBEL, 1)


def test_what_the_reader_typed_can_be_observed() -> None:
    explorer, heard = ConvolutionExplorer(), []
    explorer.observe(lambda change: heard.append(change["new"]), "kernel")
    explorer.set_state({"kernel": [[1, 2]], "row": 5})  # as the front end sends it
    assert heard == [[[1.0, 2.0]]]
    assert explorer.row == 5


def test_the_picture_is_light_and_says_what_it_shows() -> None:
    garment = fashion_mnist()[0].images[0, 0]
    for explorer in (ConvolutionExplorer(padding=1), ConvolutionExplorer(input=garment)):
        picture = explorer.picture()
        assert len(picture.encode()) < 40_000
        n, m = explorer.output.shape
        assert f"<title>Input {len(explorer.input)}×{len(explorer.input)} ⋆ kernel" in picture
        assert f"output {n}×{m}</title>" in picture
        assert "var(--d2-input" in picture
        data, _ = explorer._repr_mimebundle_()
        assert picture in data["text/html"]
        assert len(data["text/plain"]) < 1200


# ---- The front end -------------------------------------------------------------------------------

MOUNT = """async ([esm, css, state, theme]) => {
  document.documentElement.dataset.theme = theme;
  document.head.append(Object.assign(document.createElement("style"), { textContent: css }));
  const heard = {};
  window.saved = 0;
  window.model = {
    get: (name) => state[name],
    set(name, value) {
      if (JSON.stringify(state[name]) === JSON.stringify(value)) return;
      state[name] = value;
      for (const handler of [...heard[`change:${name}`] ?? []]) handler();
    },
    on(event, handler) { (heard[event] ??= new Set()).add(handler); },
    off(event, handler) { heard[event]?.delete(handler); },
    save_changes() { window.saved += 1; },
    handlers: () => Object.values(heard).reduce((sum, set) => sum + set.size, 0),
  };
  const url = URL.createObjectURL(new Blob([esm], { type: "text/javascript" }));
  const widget = (await import(url)).default;
  window.show = (el) => widget.render({ model, el });
  window.leave = show(document.querySelector("#figure"));
}"""


class Figure:
    """An explorer on a page of its own, with a model that lives in the page."""

    def __init__(self, page: Page, explorer: ConvolutionExplorer, theme: str = "light") -> None:
        self.page, self.problems = page, []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.set_content(
            """<!doctype html><html lang="en"><meta name="viewport" content="width=device-width">
            <title>Explorer</title><style>body { margin: 16px }
            html[data-theme=dark] body { background: #121212; color: #eee }</style>
            <main><h1>Chapter</h1><div id="figure"></div></main>"""
        )
        state = {
            name: getattr(explorer, name)
            for name in explorer.trait_names(sync=True)
            if name in vars(ConvolutionExplorer)
        }
        page.evaluate(MOUNT, [ConvolutionExplorer._esm, explorer._css, state, theme])
        expect(self.readout).not_to_be_empty()

    def get(self, name: str) -> Any:
        return self.page.evaluate("name => model.get(name)", name)

    def set(self, **traits: Any) -> None:
        self.page.evaluate(
            "traits => { for (const [n, v] of Object.entries(traits)) model.set(n, v); }", traits
        )

    @property
    def chosen(self) -> tuple[int, int]:
        return self.get("row"), self.get("column")

    @property
    def readout(self) -> Locator:
        return self.page.locator(".d2-readout").first

    @property
    def window(self) -> Locator:
        return self.page.get_by_role("slider", name="Kernel window")

    def cell(self, grid: str, row: int, column: int) -> Locator:
        cells = self.page.get_by_role("grid", name=grid)
        if grid == "Output":
            return cells.locator("tr").nth(row).locator("td").nth(column)
        return cells.get_by_label(f"row {row}, column {column}", exact=True)

    def control(self, label: str) -> Locator:
        return self.page.get_by_label(label)

    def drag_window(self, right: float, down: float) -> None:
        box = self.window.bounding_box()
        assert box
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + right / 2, y + down / 2)
        self.page.mouse.move(x + right, y + down)
        self.page.mouse.up()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 800, "height": 1000})
    yield page
    page.close()


@pytest.fixture
def figure(page: Page) -> Iterator[Figure]:
    figure = Figure(page, ConvolutionExplorer())
    yield figure
    assert figure.problems == []


@pytest.fixture(scope="module")
def garment() -> torch.Tensor:
    return fashion_mnist()[0].images[0, 0]


def test_what_is_shown_is_what_is_computed(figure: Figure) -> None:
    output = ConvolutionExplorer().output
    for (i, j), value in np.ndenumerate(output.numpy()):
        expect(figure.cell("Output", i, j)).to_have_text(f"{value:g}".replace("-", "−"))
    expect(figure.readout).to_have_text(
        "Row 0, column 0 of the output is 4: the sum of 9 products."
    )
    expect(figure.page.locator(".d2-terms")).to_have_text(
        "0·(−1) + 0·0 + 1·1 + 0·(−2) + 0·0 + 1·2 + 0·(−1) + 0·0 + 1·1"
    )
    expect(figure.page.locator(".d2-cards")).to_contain_text("1")


def test_typing_a_number_sets_the_trait(figure: Figure) -> None:
    field = figure.cell("Kernel", 1, 2)
    field.focus()
    figure.page.keyboard.type("−0,5")
    assert figure.get("kernel")[1][2] == -0.5
    assert figure.page.evaluate("saved") > 0
    expect(figure.cell("Output", 0, 0)).to_have_text("1.5")
    field.fill("1/8")
    assert figure.get("kernel")[1][2] == 0.125
    field.press("Escape")
    assert figure.get("kernel")[1][2] == 2
    figure.cell("Input", 0, 0).fill("7")
    assert figure.get("input")[0][0] == 7
    expect(figure.cell("Output", 0, 0)).to_have_text("−3")
    expect(figure.control("Kernel").first).to_have_value("Sobel x")


def test_what_is_no_number_is_marked_and_forgotten(figure: Figure) -> None:
    field = figure.cell("Kernel", 0, 0)
    for nonsense in ("x", "", "1/0", "--1"):
        field.fill(nonsense)
        expect(field).to_have_attribute("aria-invalid", "true")
    assert figure.get("kernel") == SOBEL
    field.blur()
    expect(field).to_have_value("−1")
    expect(field).to_have_attribute("aria-invalid", "false")


def test_arrow_keys_move_between_cells_and_tab_leaves(figure: Figure) -> None:
    page = figure.page
    for grid in ("Input", "Kernel"):
        figure.cell(grid, 0, 0).focus()
        for key in ("ArrowRight", "ArrowDown", "ArrowDown", "ArrowLeft", "ArrowUp", "Enter"):
            page.keyboard.press(key)
        expect(figure.cell(grid, 2, 0)).to_be_focused()
        page.keyboard.press("ArrowLeft")  # stays at the edge
        expect(figure.cell(grid, 2, 0)).to_be_focused()
    page.keyboard.press("Tab")
    assert figure.chosen == (0, 0)
    expect(figure.cell("Output", 0, 0)).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert figure.chosen == (1, 1)
    expect(figure.cell("Output", 1, 1)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Shift+Tab")
    expect(figure.cell("Kernel", 2, 0)).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(figure.window).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert figure.chosen == (1, 3)  # the last column
    expect(figure.window).to_have_attribute("aria-valuetext", "row 1, column 3 of the output")


def test_dragging_the_window_chooses_the_output(figure: Figure) -> None:
    side = figure.cell("Input", 0, 0).bounding_box()["width"]
    figure.drag_window(right=2 * side, down=side)
    assert figure.chosen == (1, 2)
    figure.drag_window(right=7 * side, down=-3 * side)  # beyond the edges
    assert figure.chosen == (0, 3)
    expect(figure.readout).to_contain_text("Row 0, column 3")
    figure.set(stride=3, padding=1)
    expect(figure.page.locator(".d2-of-output .d2-title")).to_have_text("Output 2×2")
    assert figure.chosen == (0, 1)
    side = figure.cell("Input", 0, 0).bounding_box()["width"]
    figure.drag_window(right=-3 * side, down=3 * side)
    assert figure.chosen == (1, 0)
    padding = figure.page.locator(".d2-cards .padding")
    expect(padding).to_have_count(3)


def test_a_click_on_an_input_edits_it(figure: Figure) -> None:
    inside = figure.cell("Input", 1, 1).bounding_box()  # under the window
    figure.page.mouse.click(inside["x"] + 5, inside["y"] + 5)
    expect(figure.cell("Input", 1, 1)).to_be_focused()
    figure.page.keyboard.type("9")
    assert figure.get("input")[1][1] == 9
    assert figure.chosen == (0, 0)


def test_hovering_over_the_output_shows_its_window(figure: Figure) -> None:
    figure.cell("Output", 2, 3).hover()
    assert figure.chosen == (2, 3)
    expect(figure.page.locator(".d2-sum")).to_have_text("Output[2, 3] = −4")
    window, cell = figure.window.bounding_box(), figure.cell("Input", 2, 3).bounding_box()
    assert abs(window["x"] - cell["x"]) <= 1
    assert abs(window["y"] - cell["y"]) <= 1


def test_sliders_and_menus_set_traits(figure: Figure) -> None:
    title = figure.page.locator(".d2-of-output .d2-title")
    formula = figure.page.locator(".d2-result")
    figure.control("Stride").fill("2")
    figure.control("Padding").fill("1")
    expect(title).to_have_text("Output 3×3")
    expect(formula).to_contain_text("⌊(6 + 2·1 − 1·(3 − 1) − 1) / 2⌋ + 1 = 3")
    figure.control("Dilation").fill("2")
    expect(title).to_have_text("Output 2×2")
    assert [figure.get(name) for name in ("stride", "padding", "dilation")] == [2, 1, 2]
    figure.control("Operation").select_option("convolution")
    assert figure.get("operation") == "convolution"
    expect(figure.page.get_by_text("slides turned by 180°")).to_be_visible()
    figure.control("Kernel").first.select_option("Gaussian blur")
    np.testing.assert_allclose(figure.get("kernel"), np.outer([1, 2, 1], [1, 2, 1]) / 16)
    expect(figure.cell("Kernel", 1, 1)).to_have_value("4/16")
    figure.control("Kernel size").fill("5")
    np.testing.assert_allclose(
        figure.get("kernel"), np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    )
    expect(figure.control("Kernel").first).to_have_value("Gaussian blur")
    figure.control("Input").first.select_option("cross")
    assert figure.get("input")[3] == [1] * 6
    figure.page.get_by_role("button", name="Reset").click()
    assert figure.get("kernel") == SOBEL
    assert [figure.get(name) for name in ("stride", "padding", "dilation")] == [1, 0, 1]


def test_another_size_keeps_what_the_reader_typed(figure: Figure) -> None:
    own = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    figure.set(kernel=own)
    for k in (4, 5, 4, 3):
        figure.control("Kernel size").fill(str(k))
        assert np.shape(figure.get("kernel")) == (k, k)
    assert figure.get("kernel") == own


def test_presets_keep_flat_areas_or_make_them_zero(figure: Figure) -> None:
    keep = {"identity", "box blur", "Gaussian blur", "sharpen", "emboss"}
    zero = {"Sobel x", "Sobel y", "Laplacian", "difference"}
    menu = figure.control("Kernel").first
    assert {*menu.locator("option").all_text_contents()} == keep | zero | {"your own"}
    for name in keep | zero:
        menu.select_option(name)
        explorer = ConvolutionExplorer(input=np.ones((6, 6)), kernel=figure.get("kernel"))
        expected = torch.full_like(explorer.output, float(name in keep))
        torch.testing.assert_close(explorer.output, expected)


def test_step_goes_on_in_reading_order(figure: Figure) -> None:
    figure.set(row=0, column=2)
    step = figure.page.get_by_role("button", name="Step")
    places = []
    for _ in range(3):
        step.click()
        places.append(figure.chosen)
    assert places == [(0, 3), (1, 0), (1, 1)]
    figure.set(row=3, column=3)
    step.click()
    assert figure.chosen == (0, 0)


def test_play_fills_the_output_and_pauses(figure: Figure) -> None:
    page = figure.page
    page.clock.install()
    page.get_by_role("button", name="Play").click()
    page.clock.run_for(100)
    assert page.locator(".pending").count() == 15
    page.clock.run_for(3 * 700)
    assert figure.chosen == (0, 3)
    assert page.locator(".pending").count() == 12
    page.get_by_role("button", name="Pause").click()
    page.clock.run_for(2000)
    assert figure.chosen == (0, 3)
    assert page.locator(".pending").count() == 0
    page.get_by_role("button", name="Play").click()
    page.clock.run_for(20 * 700)
    assert figure.chosen == (3, 3)
    expect(page.get_by_role("button", name="Play")).to_be_visible()


def test_without_motion_there_is_step_only(browser: Browser) -> None:
    page = browser.new_page(reduced_motion="reduce")
    figure = Figure(page, ConvolutionExplorer())
    assert page.get_by_role("button", name="Play").count() == 0
    page.get_by_role("button", name="Step").click()
    assert figure.chosen == (0, 1)
    page.close()


def test_a_kernel_that_does_not_fit_is_explained(figure: Figure) -> None:
    figure.page.get_by_role("button", name="Play").click()
    figure.set(dilation=3)
    expect(figure.readout).to_have_text(
        "The kernel spans 7×7 cells, the padded input only 6×6: it does not fit, and there is no "
        "output. PyTorch raises an error."
    )
    expect(figure.page.get_by_role("button", name="Step")).to_be_disabled()
    expect(figure.page.get_by_role("button", name="Play")).to_be_disabled()
    expect(figure.page.locator(".d2-result")).to_contain_text("+ 1 = 0")
    figure.set(dilation=1)
    expect(figure.readout).to_contain_text("Row 0, column 0 of the output is 4")


def test_views_share_one_state_and_clean_up(figure: Figure) -> None:
    page = figure.page
    alone = page.evaluate("model.handlers()")
    page.evaluate(
        """() => {
          const second = document.createElement("div");
          document.querySelector("main").append(second);
          window.leaveSecond = show(second);
        }"""
    )
    assert page.evaluate("model.handlers()") == 2 * alone
    figure.cell("Kernel", 0, 0).first.fill("5")
    second = page.locator(".d2").nth(1)
    expect(second.get_by_role("grid", name="Kernel").locator("input").first).to_have_value("5")
    second.get_by_role("button", name="Step").click()
    expect(page.locator(".d2-sum").first).to_contain_text("Output[0, 1]")
    second.get_by_role("button", name="Play").click()
    page.evaluate("leaveSecond()")
    assert page.evaluate("model.handlers()") == alone
    page.evaluate("leave()")
    assert page.evaluate("model.handlers()") == 0
    place = figure.chosen
    page.wait_for_timeout(1000)
    assert figure.chosen == place


def test_an_image_is_shown_as_pixels(page: Page, garment: torch.Tensor) -> None:
    figure = Figure(page, ConvolutionExplorer(input=garment, kernel=torch.ones(5, 5) / 25))
    expect(page.get_by_role("img", name="Input, 28×28 pixels")).to_be_visible()
    expect(page.get_by_role("img", name="Output, 24×24 pixels")).to_be_visible()
    drawn = "() => [...document.querySelectorAll('.d2-of-output path')].map(p => p.outerHTML)"
    squares = sum(path.count("h1v1h-1z") for path in page.evaluate(drawn))
    output = conv2d(garment[None, None].double(), torch.ones(1, 1, 5, 5).double() / 25)
    assert abs(squares - int((output / output.max() >= 0.005).sum())) <= 2  # not white
    side = page.locator(".d2-of-input svg").bounding_box()["width"] / 28
    figure.drag_window(right=10 * side, down=12 * side)
    assert figure.chosen == (12, 10)
    value = ConvolutionExplorer(input=garment, kernel=torch.ones(5, 5) / 25).output[12, 10].item()
    shown = page.locator(".d2-sum b").text_content().removeprefix("≈ ")
    assert float(shown) == pytest.approx(value, abs=1e-4)
    box = page.locator(".d2-of-output svg").bounding_box()
    page.mouse.click(box["x"] + 3.5 * side, box["y"] + 20.5 * side)
    assert figure.chosen == (20, 3)
    box = page.locator(".d2-of-input svg").bounding_box()
    page.mouse.click(box["x"] + 14.5 * side, box["y"] + 14.5 * side)  # the window's new middle
    assert figure.chosen == (12, 12)
    page.keyboard.press("ArrowLeft")
    assert figure.chosen == (12, 11)
    figure.control("Input").first.select_option("single 1")
    expect(page.get_by_role("grid", name="Input")).to_be_visible()
    assert figure.problems == []


def test_a_finger_drags_the_window_and_scrolls_elsewhere(
    browser: Browser, garment: torch.Tensor
) -> None:
    context = browser.new_context(
        viewport={"width": 390, "height": 700}, has_touch=True, is_mobile=True
    )
    for explorer in (ConvolutionExplorer(), ConvolutionExplorer(input=garment, kernel=SOBEL)):
        page = context.new_page()
        figure = Figure(page, explorer)
        touch = context.new_cdp_session(page)
        columns = len(explorer.input[0])
        frame = page.locator(".d2-of-input .d2-frame")
        frame.scroll_into_view_if_needed()
        side = frame.bounding_box()["width"] / columns

        def swipe(x: float, y: float, right: float, down: float, touch=touch) -> None:
            point = lambda t: [{"x": x + t * right, "y": y + t * down}]  # noqa: E731
            touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": point(0)})
            for step in range(1, 11):
                points = point(step / 10)
                touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": points})
            touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

        scrolled = page.evaluate("scrollY")
        window = figure.window.bounding_box()
        swipe(window["x"] + side, window["y"] + side, 2 * side, 3 * side)
        assert figure.chosen == (3, 2)
        assert page.evaluate("scrollY") == scrolled
        box = frame.bounding_box()
        swipe(box["x"] + box["width"] - 5, box["y"] + box["height"] - 5, 0, -100)
        page.wait_for_timeout(300)
        assert figure.chosen == (3, 2)
        assert page.evaluate("scrollY") > scrolled
        page.locator(".d2-of-output .d2-frame").tap(position={"x": 5, "y": 5})
        assert figure.chosen == (0, 0)
        assert figure.problems == []
    context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("regime", ["numbers", "image", "misfit"])
def test_all_can_read_it(
    browser: Browser, garment: torch.Tensor, regime: str, width: int, theme: str
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    explorer = {
        "numbers": ConvolutionExplorer(padding=3, row=2, column=3, operation="convolution"),
        "image": ConvolutionExplorer(input=garment, padding=2, row=2, column=20),
        "misfit": ConvolutionExplorer(dilation=3),
    }[regime]
    figure = Figure(page, explorer, theme)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    smallest = """() => Math.min(...[...document.querySelectorAll('.d2 *')]
        .filter(e => e.checkVisibility() && (e.value ?? [...e.childNodes].some(
            n => n.nodeType === 3 && n.data.trim())))
        .map(e => parseFloat(getComputedStyle(e).fontSize)).filter(Boolean))"""
    assert page.evaluate(smallest) >= 12
    targets = """() => [...document.querySelectorAll(
            '.d2 :is(input, button, select, td[tabindex])')]
        .map(e => e.getBoundingClientRect()).filter(r => r.width < 24 || r.height < 24).length"""
    assert page.evaluate(targets) == 0
    assert figure.problems == []
    page.close()
