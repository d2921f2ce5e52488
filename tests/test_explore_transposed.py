"""The up-sampling explorer: its arithmetic against PyTorch, its traits, and the figure itself."""

import random
from collections.abc import Callable
from xml.etree import ElementTree

import pytest
import torch
from conftest import assert_legible_and_accessible, slide
from playwright.sync_api import expect
from torch import Tensor
from torch.nn import functional as F

from d2lite.explore import TransposedExplorer
from d2lite.explore.transposed import NEAREST

METHODS = ["transposed convolution", NEAREST]
CASES_OF_EACH = 300


def random_states() -> list[dict]:
    """Settings as the reader's controls reach them, refused ones among them."""
    rng = random.Random(0)
    return [
        {
            "size": rng.randint(1, 8),
            "kernel_size": rng.randint(1, 7),
            "stride": rng.randint(1, 4),
            "padding": rng.choice([0, 0, 1, 2, 3, 4]),
            "method": method,
            "weights": rng.choice(["ones", "random", "tent"]),
        }
        for method in METHODS
        for _ in range(CASES_OF_EACH)
    ]


STATES = random_states()
EXPLORERS = [TransposedExplorer(row=0, column=0, **state) for state in STATES]


def run(state: dict, x: Tensor, kernel: Tensor) -> Tensor | None:
    """The layer by PyTorch, or None where nothing is left; x: (n, n), kernel: (k, k).

    PyTorch refuses to give an output of size 0, but for 4 × 4, 5 × 5, padding 4: that is empty.
    """
    x, weight = x[None, None], kernel[None, None]
    try:
        if state["method"] == NEAREST:
            enlarged = F.interpolate(x, scale_factor=state["stride"], mode="nearest")
            return F.conv2d(enlarged, weight, padding=state["padding"])[0, 0]
        y = F.conv_transpose2d(x, weight, None, state["stride"], state["padding"])[0, 0]
        return y if y.numel() else None
    except RuntimeError:
        return None


WHITE = [run(s, torch.ones(s["size"], s["size"]), e.kernel) for s, e in zip(STATES, EXPLORERS)]  # noqa: B905


# ---- Arithmetic ----------------------------------------------------------------------------------


def test_javascript_refuses_what_pytorch_refuses(javascript: Callable) -> None:
    reasons = javascript(TransposedExplorer, "refusal", [[state] for state in STATES])
    assert [reason is None for reason in reasons] == [y is not None for y in WHITE]
    for method in METHODS:  # each of them both ways, or the comparison shows little
        mine = [y is None for y, s in zip(WHITE, STATES, strict=True) if s["method"] == method]
        assert mine.count(True) > 10 and mine.count(False) > 200


def test_javascript_equals_pytorch_on_ones(javascript: Callable) -> None:
    fitting = [(s, y) for s, y in zip(STATES, WHITE, strict=True) if y is not None]
    assert len(fitting) > 500
    results = javascript(TransposedExplorer, "output", [[state] for state, _ in fitting])
    for (_, expected), result in zip(fitting, results, strict=True):
        torch.testing.assert_close(torch.tensor(result).float(), expected)


@pytest.mark.parametrize("method", METHODS)
def test_javascript_equals_pytorch_on_random_values(javascript: Callable, method: str) -> None:
    generator = torch.Generator().manual_seed(0)
    cases, expected = [], []
    for state in STATES:
        if state["method"] == method:
            n, k = state["size"], state["kernel_size"]
            x = torch.randn(n, n, generator=generator, dtype=torch.float64)
            kernel = torch.randn(k, k, generator=generator, dtype=torch.float64)
            y = run(state, x, kernel)
            if y is not None:
                cases.append([x.tolist(), kernel.tolist(), state["stride"], state["padding"]])
                expected.append(y)
    assert len(cases) > 250
    function = "nearest" if method == NEAREST else "transposed"
    for result, y in zip(javascript(TransposedExplorer, function, cases), expected, strict=True):
        torch.testing.assert_close(torch.tensor(result, dtype=torch.float64), y)


def test_javascript_and_python_have_the_same_kernels(javascript: Callable) -> None:
    kernels = javascript(TransposedExplorer, "kernelOf", [[state] for state in STATES])
    for kernel, explorer in zip(kernels, EXPLORERS, strict=True):
        torch.testing.assert_close(torch.tensor(kernel).float(), explorer.kernel)


def test_phases_are_the_outputs_away_from_the_edge(javascript: Callable) -> None:
    """Outputs of a large white image repeat the phases, from output 0 on."""
    phases = javascript(TransposedExplorer, "phases", [[state] for state in STATES])
    for state, explorer, block in zip(STATES, EXPLORERS, phases, strict=True):
        s, n = state["stride"], 24
        y = run(state, torch.ones(n, n), explorer.kernel)
        assert y is not None
        inner = y[8 * s : 12 * s, 8 * s : 12 * s]
        expected = torch.tensor(block).float()
        torch.testing.assert_close(inner, expected.repeat(4, 4), atol=1e-4, rtol=1e-5)


def test_the_tent_interpolates(javascript: Callable) -> None:
    """The kernel of 2s, or 2s − 1, has phases that are all even: Long et al., 2015, section 3.3."""
    for s in (2, 3):
        for k in (2 * s, 2 * s - 1):
            state = {"kernel_size": k, "stride": s, "padding": 0, "weights": "tent"}
            [phases] = javascript(TransposedExplorer, "phases", [[state | {"method": METHODS[0]}]])
            assert [pytest.approx(row) for row in phases] == [[1] * s] * s


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kernel_size": 3, "stride": 2}, "not a multiple of stride 2: 1, 2 or 4 stamps fall"),
        ({"kernel_size": 3, "stride": 2}, "with a period of 2: a checkerboard."),
        ({"kernel_size": 4, "stride": 2}, "a multiple of stride 2: 4 stamps overlap"),
        ({"kernel_size": 4, "stride": 2}, ": no pattern."),
        ({"kernel_size": 2, "stride": 2}, "1 stamp falls on each output"),
        ({"kernel_size": 1, "stride": 2}, "0 or 1 stamps fall"),
        ({"kernel_size": 4, "stride": 2, "weights": "random"}, "a checkerboard."),
        ({"kernel_size": 3, "stride": 2, "weights": "tent"}, "add up to 1 everywhere: no pattern."),
        ({"kernel_size": 3, "stride": 2, "method": NEAREST}, "9 everywhere. No pattern."),
    ],
)
def test_the_verdict(javascript: Callable, settings: dict, words: str) -> None:
    explorer = TransposedExplorer(**settings)
    [text] = javascript(TransposedExplorer, "verdict", [[explorer.get_state()]])
    assert words in text


def test_the_verdict_is_right_about_every_setting(javascript: Callable) -> None:
    """It says 'checkerboard' exactly where the inner outputs of a large white image differ."""
    verdicts = javascript(TransposedExplorer, "verdict", [[state] for state in STATES])
    seen = {True: 0, False: 0}
    for state, explorer, text in zip(STATES, EXPLORERS, verdicts, strict=True):
        y = run(state, torch.ones(24, 24), explorer.kernel)
        assert y is not None
        s = state["stride"]
        inner = y[8 * s : 12 * s, 8 * s : 12 * s]
        uneven = bool(inner.max() - inner.min() > 1e-3)
        assert ("checkerboard" in text, "o pattern" in text) == (uneven, not uneven), (state, text)
        seen[uneven] += 1
    assert min(seen.values()) > 80


# ---- Traits --------------------------------------------------------------------------------------


def test_python_equals_pytorch_and_refuses_what_it_refuses() -> None:
    for explorer, expected in zip(EXPLORERS, WHITE, strict=True):
        if expected is None:
            with pytest.raises(ValueError):
                _ = explorer.output
        else:
            torch.testing.assert_close(explorer.output, expected)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"size": 9}, ValueError, "size=9: must be ≥ 1 and ≤ 8"),
        ({"kernel_size": 0}, ValueError, "kernel_size=0: must be ≥ 1 and ≤ 7"),
        ({"stride": 2.0}, TypeError, "stride=2.0: must be an int"),
        ({"padding": True}, TypeError, "padding=True: must be an int"),
        ({"method": "bilinear"}, ValueError, "method='bilinear': must be"),
        ({"weights": "zeros"}, ValueError, "weights='zeros': must be"),
        ({"size": 3, "row": 3}, ValueError, "row=3: must be < 3"),
        ({"kernel": 3}, TypeError, "kernel: no such argument"),
    ],
)
def test_it_refuses(settings: dict, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        TransposedExplorer(**settings)


def test_the_chosen_pixel_stays_inside() -> None:
    explorer = TransposedExplorer(size=6, row=5, column=2)
    explorer.size = 3
    assert (explorer.row, explorer.column) == (2, 2)


@pytest.mark.parametrize("weights", ["ones", "random"])
@pytest.mark.parametrize("padding", [0, 4])
def test_the_picture_shows_every_output(weights: str, padding: int) -> None:
    explorer = TransposedExplorer(size=2, kernel_size=4, padding=padding, weights=weights)
    svg = ElementTree.fromstring(explorer.picture())
    assert len(svg) == (36 if padding == 0 else 0)  # with padding 4 nothing is left
    assert "#" not in explorer.picture(), "colours only by the theme's variables"
    assert ("--d2-kernel" in explorer.picture()) == bool(len(svg) and explorer.output.min() < 0)


# ---- The figure in a browser ---------------------------------------------------------------------


def test_the_checkerboard_comes_and_goes(show: Callable) -> None:
    page = show(TransposedExplorer())
    status = page.get_by_role("status")
    caption = page.locator("figcaption").last
    expect(page.get_by_role("figure", name="Up-sampling explorer")).to_be_visible()
    expect(status).to_contain_text("Input (1, 1) stamps rows 2 to 4, columns 2 to 4.")
    expect(status).to_contain_text("a checkerboard")
    expect(caption).to_have_text("Output of white, 11 × 11, from 1 to 4")
    slide(page, "Kernel", 4)
    expect(status).to_contain_text("4 stamps overlap on each output away from the edge: no pattern")
    page.get_by_label("Weights").select_option("random")
    expect(status).to_contain_text("a checkerboard")
    page.get_by_label("Way up").select_option(NEAREST)
    expect(status).to_contain_text("No pattern")
    slide(page, "Pixel: row", 4)
    expect(status).to_contain_text("Input (4, 1) stamps rows")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": 1, "kernel_size": 2, "padding": 1}, "padding 1 takes off all there is"),
        ({"size": 1, "kernel_size": 3, "method": NEAREST}, "no window fits: the kernel spans 3"),
    ],
)
def test_it_says_why_pytorch_refuses(show: Callable, settings: dict, words: str) -> None:
    state = {"stride": 2, "padding": 0, "method": METHODS[0]} | settings
    n, k = state["size"], state["kernel_size"]
    assert run(state, torch.ones(n, n), torch.ones(k, k)) is None
    page = show(TransposedExplorer(row=0, column=0, **settings))
    expect(page.get_by_role("status")).to_contain_text(f"No output: {words}")
    expect(page.locator("figcaption").last).to_have_text("No output")
    slide(page, "Input n", 4)
    expect(page.get_by_role("status")).not_to_contain_text("No output")


def test_a_smaller_input_keeps_the_chosen_pixel(show: Callable) -> None:
    page = show(TransposedExplorer(size=6, row=5, column=0))
    slide(page, "Input n", 3)
    expect(page.get_by_role("slider", name="Pixel: row")).to_have_value("2")
    expect(page.get_by_role("status")).to_contain_text("Input (2, 0)")


@pytest.mark.parametrize("method", METHODS)
def test_hover_and_press_choose_the_pixel(show: Callable, method: str) -> None:
    page = show(TransposedExplorer(size=4, kernel_size=3, stride=3, padding=1, method=method))
    status = page.get_by_role("status")
    before, after = page.locator("svg").all()
    for picture, press in (
        (before, False),
        (after, True),
    ):  # the middles are between pixels 1 and 2
        box = picture.bounding_box()
        x, y = box["x"] + box["width"] * 0.59, box["y"] + min(box["height"], box["width"]) * 0.59
        page.mouse.move(x, y)
        expect(status).to_contain_text("Input (2, 2)")
        if press:
            page.mouse.down()
            page.mouse.up()
        page.mouse.move(2, 2)
        expect(status).to_contain_text("Input (2, 2)" if press else "Input (1, 1)")
    expect(page.get_by_role("slider", name="Pixel: row")).to_have_value("2")


def test_two_views_share_one_state(show: Callable) -> None:
    page = show(TransposedExplorer(), views=2)
    slide(page, "Kernel", 5)
    for view in range(2):
        expect(page.get_by_role("slider", name="Kernel").nth(view)).to_have_value("5")
        expect(page.locator("figcaption").nth(2 * view + 1)).to_contain_text("13 × 13")


EXAMPLES = [
    {"size": 5, "stride": 2, "kernel_size": 3},
    {"size": 8, "stride": 4, "kernel_size": 7, "weights": "random"},
    {"size": 4, "stride": 2, "kernel_size": 3, "padding": 1, "method": NEAREST, "weights": "tent"},
]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("settings", EXAMPLES, ids=lambda s: f"n{s['size']}")
def test_it_is_legible_and_accessible(show: Callable, settings: dict, theme: str) -> None:
    page = show(TransposedExplorer(**settings), theme=theme)
    assert_legible_and_accessible(
        page,
        "[...document.querySelectorAll('svg')].every((svg) =>"
        " Math.abs(svg.viewBox.baseVal.width - svg.getBoundingClientRect().width) < 0.5)",
    )
