"""The output-size explorer: its arithmetic against PyTorch, its traits, and the figure itself."""

import random
from collections.abc import Callable
from fractions import Fraction
from math import ceil, floor
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from conftest import assert_legible_and_accessible, slide
from playwright.sync_api import Page, expect
from torch import Tensor
from torch.nn import functional as F

from d2lite.explore import OutputSizeExplorer

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")

OPERATIONS = ["convolution", "pooling", "transposed convolution"]
DEFAULTS = {
    "size": 10, "kernel_size": 3, "stride": 1, "padding": 0, "dilation": 1, "output_padding": 0,
    "ceil_mode": False, "operation": "convolution",
}  # fmt: skip
CASES_OF_EACH = 1000


def random_states() -> list[dict]:
    """Settings as the reader's sliders reach them, refused ones among them."""
    rng = random.Random(0)
    return [
        {
            "size": rng.randint(1, 32),
            "kernel_size": rng.randint(1, 11),
            "stride": rng.randint(1, 8),
            "padding": rng.choice([0, 0, 1, 1, 2, 3, 4, 5, "same"]),
            "dilation": rng.choice([1, 1, 2, 3, 4]),
            "output_padding": rng.choice([0, 0, 0, 1, 2, 3]),
            "ceil_mode": rng.random() < 0.5,
            "operation": operation,
        }
        for operation in OPERATIONS
        for _ in range(CASES_OF_EACH)
    ]


STATES = random_states()


def run(state: dict, x: Tensor, weight: Tensor) -> Tensor:
    """The operation by PyTorch; x: (n), weight: (k)."""
    x, weight = x[None, None], weight[None, None]
    s, p, d = state["stride"], state["padding"], state["dilation"]
    if state["operation"] == "convolution":
        return F.conv1d(x, weight, stride=s, padding=p, dilation=d)[0, 0]
    if state["operation"] == "pooling":
        return F.max_pool1d(x, state["kernel_size"], s, p, d, state["ceil_mode"])[0, 0]
    extra = state["output_padding"]
    return F.conv_transpose1d(x, weight, None, s, p, extra, 1, d)[0, 0]


def torch_size(state: dict) -> int | None:
    try:
        return len(run(state, torch.zeros(state["size"]), torch.zeros(state["kernel_size"])))
    except (RuntimeError, TypeError):
        return None


def sides(state: dict) -> tuple[int, int]:
    total = state["dilation"] * (state["kernel_size"] - 1)
    p = state["padding"]
    return (total // 2, total - total // 2) if p == "same" else (p, p)


# ---- Arithmetic ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sizes() -> list[int | None]:
    return [torch_size(state) for state in STATES]


@pytest.fixture(scope="module")
def layouts(javascript: Callable) -> list[dict]:
    return javascript(OutputSizeExplorer, "layout", [[state] for state in STATES])


def test_javascript_gives_the_sizes_of_pytorch(javascript: Callable, sizes: list) -> None:
    assert javascript(OutputSizeExplorer, "outputSize", [[s] for s in STATES]) == sizes
    for operation in OPERATIONS:  # each of them both ways, or the comparison shows little
        mine = [n for n, s in zip(sizes, STATES, strict=True) if s["operation"] == operation]
        assert min(mine.count(None), len(mine) - mine.count(None)) > 100


def test_python_gives_the_same_sizes(sizes: list) -> None:
    explorer = OutputSizeExplorer()
    for state, size in zip(STATES, sizes, strict=True):
        with explorer.hold_trait_notifications():
            for name, value in {**state, "position": 0}.items():
                setattr(explorer, name, value)
        if size is None:
            with pytest.raises((ValueError, TypeError)):
                _ = explorer.output_size
        else:
            assert explorer.output_size == size, state


def test_ceil_mode_counts_and_its_exception_both_occur(sizes: list) -> None:
    extra = dropped = 0
    for state, size in zip(STATES, sizes, strict=True):
        if state["operation"] == "pooling" and state["ceil_mode"] and size:
            reach = state["dilation"] * (state["kernel_size"] - 1)
            room = state["size"] + 2 * state["padding"] - reach - 1
            extra += size == room // state["stride"] + 2
            dropped += room % state["stride"] > 0 and size == room // state["stride"] + 1
    assert extra > 20 and dropped > 20


def test_the_windows_lie_where_pytorch_reads(layouts: list, sizes: list) -> None:
    """Sum what the layout says each output reads: that is the operation."""
    generator = torch.Generator().manual_seed(0)
    for state, layout, size in zip(STATES, layouts, sizes, strict=True):
        assert len(layout["starts"]) == (size or 0)
        if size is None:
            continue
        n, k, spread = state["size"], state["kernel_size"], layout["spread"]
        x = torch.randn(n, generator=generator, dtype=torch.float64)
        weight = torch.randn(k, generator=generator, dtype=torch.float64)
        at = {i * spread: value for i, value in enumerate(x.tolist())}
        windows = [[start + j * state["dilation"] for j in range(k)] for start in layout["starts"]]
        if state["operation"] == "pooling":
            mine = [max(at[p] for p in window if p in at) for window in windows]
        else:
            turned = weight.flip(0) if state["operation"] != "convolution" else weight
            pairs = [zip(window, turned.tolist(), strict=True) for window in windows]
            mine = [sum(at.get(p, 0) * w for p, w in pair) for pair in pairs]
        torch.testing.assert_close(torch.tensor(mine, dtype=x.dtype), run(state, x, weight))
        assert layout["overlap"] == [sum(p in at for p in window) for window in windows]


def test_what_is_left_over_has_no_gradient(layouts: list, sizes: list) -> None:
    found = 0
    for state, layout, size in zip(STATES, layouts, sizes, strict=True):
        if size is None or state["operation"] == "pooling":  # a maximum has a gradient in one place
            continue
        transposed = state["operation"] != "convolution"
        left, right = (0, 0) if transposed else sides(state)
        x = torch.ones(left + state["size"] + right, requires_grad=True)
        unpadded = state if transposed else {**state, "padding": 0}
        run(unpadded, x, torch.ones(state["kernel_size"])).sum().backward()
        assert x.grad is not None
        unread = [(i - left) * layout["spread"] for i in torch.where(x.grad == 0)[0].tolist()]
        assert layout["unread"] == unread, state
        found += len(unread) > 0
    assert found > 100


def test_overlap_counts_are_a_transposed_convolution_of_ones(layouts: list, sizes: list) -> None:
    for state, layout, size in zip(STATES, layouts, sizes, strict=True):
        if state["operation"] == "transposed convolution" and size:
            ones = run(state, torch.ones(state["size"]), torch.ones(state["kernel_size"]))
            assert layout["overlap"] == ones.tolist()


def test_a_same_padding_puts_the_odd_cell_at_the_end(javascript: Callable) -> None:
    state = {**DEFAULTS, "kernel_size": 4, "padding": "same"}
    (layout,) = javascript(OutputSizeExplorer, "layout", [[state]])
    assert (layout["starts"][0], layout["strip"]) == (-1, [-1, 11])


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_largest_settings_stay_workable(javascript: Callable, operation: str) -> None:
    state = {**DEFAULTS, "size": 512, "kernel_size": 8, "stride": 512, "operation": operation}
    (size,) = javascript(OutputSizeExplorer, "outputSize", [[state]])
    assert size == torch_size(state)


def test_the_formula_with_numbers_is_true(javascript: Callable, sizes: list) -> None:
    """Compute what its second line says, and what its third line says."""
    texts = javascript(OutputSizeExplorer, "formula", [[state] for state in STATES])
    spelled = {"mfrac": lambda top, bottom: f"Fraction({top}, {bottom})"}
    signs = {"⌊": "floor(", "⌋": ")", "⌈": "ceil(", "⌉": ")", "−": "-", "·": "*"}

    def spell(element: ElementTree.Element) -> str:
        inner = [spell(child) for child in element]
        text = "".join(signs.get(c, c) for c in element.text or "")
        return spelled[element.tag](*inner) if element.tag in spelled else text + "".join(inner)

    for state, size, text in zip(STATES, sizes, texts, strict=True):
        if size is None:
            assert "refused" in text
            continue
        _, numbers, result = (row[-1] for row in ElementTree.fromstring(text).iter("mtr"))
        known = {"floor": floor, "ceil": ceil, "Fraction": Fraction}
        assert eval(spell(numbers), known) == size, state
        assert all(eval(part, known) == size for part in spell(result).split("=")), state


# ---- Traits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "value", "error", "message"),
    [
        ("size", 0, ValueError, "size=0: must be ≥ 1 and ≤ 512"),
        ("kernel_size", 513, ValueError, "kernel_size=513: must be ≥ "),
        ("stride", 2.0, TypeError, "stride=2.0: must be an int"),
        ("stride", True, TypeError, "stride=True: must be an int"),
        ("padding", -1, ValueError, "padding=-1: must be ≥ "),
        ("padding", "valid", TypeError, "padding='valid': must be"),
        ("ceil_mode", 1, TypeError, "ceil_mode=1: must be True or False"),
        ("operation", "pool", ValueError, "operation='pool': must be one of 'convolution'"),
        ("position", 8, ValueError, "position=8: must be < 8, the number of outputs"),
        ("kernel", 3, TypeError, "kernel: no such argument"),
    ],
)
def test_bad_arguments_are_named(argument: str, value: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        OutputSizeExplorer(**{argument: value})


def test_traits_are_checked_later_too() -> None:
    explorer = OutputSizeExplorer()
    with pytest.raises(ValueError, match="stride=0"):
        explorer.stride = 0
    assert explorer.stride == 1


def test_the_position_stays_among_the_outputs() -> None:
    explorer = OutputSizeExplorer(size=10, position=7)
    explorer.stride = 2
    assert explorer.position == explorer.output_size - 1 == 3
    explorer.kernel_size = 11  # refused: no output to choose, so the choice waits
    assert explorer.position == 3


def test_settings_refused_together_can_be_set_but_have_no_size() -> None:
    explorer = OutputSizeExplorer(size=4, kernel_size=7)
    with pytest.raises(ValueError, match="smaller than the dilated kernel"):
        _ = explorer.output_size


def test_repr_shows_the_settings() -> None:
    text = repr(OutputSizeExplorer(padding="same"))
    assert "padding='same'" in text and "size=10" in text


# ---- Still picture -------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("kernel_size", [3, 40])
def test_the_picture_shows_every_cell(operation: str, kernel_size: int) -> None:
    explorer = OutputSizeExplorer(size=9, stride=2, operation=operation, kernel_size=kernel_size)
    try:
        outputs = explorer.output_size
    except ValueError:
        outputs = 0
    svg = ElementTree.fromstring(explorer.picture())
    paths = {(p.get("stroke"), p.get("fill-opacity")): p.get("d", "").count("M") for p in svg}
    assert paths["var(--d2-input)", "0.16"] == 9
    assert paths["var(--d2-kernel)", "1"] == kernel_size
    assert paths["var(--d2-output)", "0.16"] == outputs
    assert paths["var(--d2-output)", "1"] == min(outputs, 1)
    assert "#" not in explorer.picture(), "colours only by the theme's variables"


# ---- The figure in a browser ---------------------------------------------------------------------


def output_x(page: Page, output: int) -> tuple[float, float]:
    """Where an output's number stands in the window."""
    number = page.locator("svg text", has_text=str(output)).last.bounding_box()
    assert number
    return number["x"] + number["width"] / 2, number["y"] + number["height"] / 2


def test_it_says_what_is_read_and_what_is_left_over(show: Callable) -> None:
    page = show(OutputSizeExplorer(size=14, stride=2, dilation=2, padding=1, position=5))
    expect(page.get_by_role("figure", name="Output-size explorer")).to_be_visible()
    status = page.get_by_role("status")
    expect(status).to_contain_text("Output 5 (of 0 to 5) reads inputs 9, 11 and 13.")
    expect(status).to_contain_text("1 padding cell at the right is never read.")
    slide(page, "Stride", 4)
    expect(status).to_contain_text("Output 2 (of 0 to 2) reads inputs 7, 9 and 11.")
    expect(page.locator("math .d2-result").last).to_have_text("3")


def test_alexnet_224_or_227(show: Callable) -> None:
    page = show(OutputSizeExplorer())
    page.get_by_label("Example").select_option("AlexNet, first layer: 224?")
    result, status = page.locator("math .d2-result").last, page.get_by_role("status")
    expect(result).to_have_text("54")
    expect(status).to_contain_text("1 input at the right is never read.")
    size = page.get_by_role("slider", name="Size")
    for _ in range(3):
        size.press("ArrowRight")
    expect(result).to_have_text("55")
    expect(status).not_to_contain_text("never read")
    expect(page.get_by_label("Example")).to_have_value("AlexNet, first layer: 227?")


def test_dragging_a_long_slider_keeps_its_scale(show: Callable) -> None:
    page = show(OutputSizeExplorer(size=224))
    size = page.get_by_role("slider", name="Size")
    box = size.bounding_box()
    x, y = box["x"] + box["width"] * 224 / 256, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(1, 11):
        page.mouse.move(x - step * box["width"] / 20, y)
    assert abs(int(size.input_value()) - (224 - 128)) < 12, "half a slider, half its range"
    page.mouse.up()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": 4, "kernel_size": 7}, "no window fits: the kernel spans 7 cells"),
        ({"stride": 2, "padding": "same"}, 'padding="same" needs stride 1'),
        ({"operation": "pooling", "padding": 2}, "more than half the kernel size, 3"),
        ({"operation": "pooling", "padding": "same"}, 'pooling has no padding="same"'),
        ({"operation": "transposed convolution", "output_padding": 1}, "must be smaller than"),
        ({"operation": "transposed convolution", "size": 2, "padding": 2}, "nothing left"),
    ],
)
def test_it_says_why_pytorch_refuses(show: Callable, settings: dict, words: str) -> None:
    assert torch_size({**DEFAULTS, **settings}) is None
    page = show(OutputSizeExplorer(**settings))
    expect(page.get_by_role("status")).to_contain_text(words)
    expect(page.locator("math .d2-result").last).to_have_text("refused")
    expect(page.get_by_role("slider", name="Output", exact=True)).to_have_count(0)


def test_click_hover_and_arrow_keys_choose_an_output(show: Callable) -> None:
    page = show(OutputSizeExplorer(size=10, stride=2))
    status = page.get_by_role("status")
    page.mouse.move(*output_x(page, 3))
    expect(status).to_contain_text("Output 3")
    page.mouse.move(5, 5)
    expect(status).to_contain_text("Output 0")  # hovering chose for as long as it lasted
    page.mouse.click(*output_x(page, 2))
    page.mouse.move(5, 5)
    expect(status).to_contain_text("Output 2")
    page.keyboard.press("ArrowRight")
    expect(status).to_contain_text("Output 3")
    page.keyboard.press("Home")
    expect(status).to_contain_text("Output 0")


def test_controls_belong_to_the_operation(show: Callable) -> None:
    page = show(OutputSizeExplorer())
    same, ceil = page.get_by_label('padding="same"'), page.get_by_label("ceil_mode")
    extra = page.get_by_role("slider", name="Output padding")
    expect(same).to_be_visible()
    expect(ceil).to_be_hidden()
    same.check()
    expect(page.locator("math .d2-result").last).to_have_text("10")
    same.uncheck()
    page.get_by_label("Operation").select_option("pooling")
    expect(ceil).to_be_visible()
    slide(page, "Stride", 4)
    expect(page.locator("math .d2-result").last).to_have_text("2")
    ceil.check()
    expect(page.locator("math .d2-result").last).to_have_text("3")
    expect(page.get_by_text("hangs over the edge: 3")).to_be_visible()
    page.get_by_label("Operation").select_option("transposed convolution")
    expect(extra).to_be_visible()
    extra.fill("3")
    expect(page.locator("math .d2-result").last).to_have_text("42")


def test_two_views_share_one_state(show: Callable) -> None:
    page = show(OutputSizeExplorer(), views=2)
    slide(page, "Kernel", 5)
    for view in range(2):
        expect(page.get_by_role("slider", name="Kernel").nth(view)).to_have_value("5")
        expect(page.locator("math .d2-result").nth(2 * view + 1)).to_have_text("6")


EXAMPLES = [
    {"size": 10, "stride": 2, "padding": 1, "position": 4},
    {"size": 14, "stride": 2, "ceil_mode": True, "operation": "pooling", "position": 6},
    {"size": 6, "stride": 2, "operation": "transposed convolution", "position": 4},
    {"size": 224, "kernel_size": 11, "stride": 4, "position": 53},
    {"size": 4, "kernel_size": 7},
]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("settings", EXAMPLES, ids=lambda s: f"{s.get('operation', '')}{s['size']}")
def test_it_is_legible_and_accessible(show: Callable, settings: dict, theme: str) -> None:
    page = show(OutputSizeExplorer(**settings), theme=theme)
    assert_legible_and_accessible(
        page,
        "document.querySelector('svg').viewBox.baseVal.width"
        " === document.querySelector('svg').getBoundingClientRect().width",
    )
