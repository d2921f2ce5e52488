"""The activation explorer: its arithmetic against PyTorch, its traits, and the figure itself."""

import random
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from conftest import assert_legible_and_accessible, slide
from playwright.sync_api import Locator, Page, expect
from torch import Tensor
from torch.nn import functional as F

from d2lite.explore.activation import FUNCTIONS, LARGEST, ActivationExplorer

TORCH: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": torch.nn.Identity(),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.3),
    "gelu": lambda x: F.gelu(x, approximate="tanh"),
}
SLOPE = 0.3


def array(saved: dict | list) -> Tensor:
    """A typed array as JSON has it: an object with the places as its keys."""
    values = list(saved.values()) if isinstance(saved, dict) else saved
    return torch.tensor(values, dtype=torch.float64)


# ---- Arithmetic ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TORCH)
def test_functions_and_derivatives_are_those_of_pytorch(javascript: Callable, name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x = 4 * torch.randn(500, generator=generator, dtype=torch.float64)
    x = torch.cat([x, torch.tensor([0.0, 1e-8, -1e-8, 30.0, -30.0, 700.0, -700.0]).double()])
    mine = array(javascript(ActivationExplorer, "evaluate", [[name, SLOPE, v] for v in x.tolist()]))
    x.requires_grad_()
    y = TORCH[name](x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(mine[:, 0], y.detach(), rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(mine[:, 1], slope, rtol=1e-10, atol=1e-13)


def test_propagation_is_that_of_autograd(javascript: Callable) -> None:
    """Random networks, cut out of larger tables; every activation and gradient is compared."""
    rng, generator = random.Random(0), torch.Generator().manual_seed(0)
    cases, expected = [], []
    for case in range(120):
        name = list(TORCH)[case % len(TORCH)]
        depth, width, scale = rng.randint(1, 5), rng.randint(1, 6), rng.uniform(0.2, 2)
        stride, batch = width + rng.randint(0, 2), rng.choice([8, 16])

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        tables = draw(depth, stride, stride)
        signal, sent = draw(2, width, batch)
        weights, flat = tables.flatten(1).tolist(), [signal.flatten(), sent.flatten()]
        given = [values.tolist() for values in flat]
        cases.append([weights, scale, width, *given, name, SLOPE])
        signals, sums = [signal.requires_grad_()], []
        for table in tables:
            sums.append(scale * table[:width, :width] @ signals[-1])
            signals.append(TORCH[name](sums[-1]))
        expected.append((signals, sums, torch.autograd.grad(signals[-1], signals, sent)))
    compared = 0
    for found, parts in zip(
        javascript(ActivationExplorer, "propagate", cases), expected, strict=True
    ):
        for name, tensors in zip(("signals", "sums", "gradients"), parts, strict=True):
            for mine, tensor in zip(found[name], tensors, strict=True):
                torch.testing.assert_close(array(mine), tensor.detach().flatten())
                compared += tensor.numel()
    assert compared > 10_000


def random_states() -> list[dict]:
    rng = random.Random(1)
    return [
        {
            "activation": name,
            "negative_slope": rng.choice([0, 0.01, 0.3, 1]),
            "initialization": initialization,
            "sigma": rng.choice([0.01, 0.1, 0.3]),
            "depth": rng.randint(1, 12),
            "width": rng.randint(4, LARGEST),
            "seed": rng.randrange(2**31),
        }
        for name in TORCH
        for initialization in ("normal", "xavier", "he")
    ]


def test_python_and_javascript_send_the_same_signal(javascript: Callable) -> None:
    """The same random numbers, weights and standard deviations in each layer."""
    states = random_states()
    deviations = javascript(ActivationExplorer, "deviationOf", [[state] for state in states])
    passages = javascript(ActivationExplorer, "passage", [[state] for state in states])
    for state, std, found in zip(states, deviations, passages, strict=True):
        explorer = ActivationExplorer(**state)
        assert std == pytest.approx(explorer.std)
        for name, values in explorer.passage._asdict().items():
            assert found[name] == pytest.approx(values, rel=1e-9), (state, name)


@pytest.mark.parametrize("name", ["linear", "relu", "leaky_relu"])
def test_the_rules_are_those_of_pytorch(name: str) -> None:
    activation = {"linear": "identity"}.get(name, name)
    explorer = ActivationExplorer(activation=activation, negative_slope=SLOPE, width=64)
    torch.manual_seed(0)
    for initialization, fill in {
        "xavier": torch.nn.init.xavier_normal_,
        "he": lambda w: torch.nn.init.kaiming_normal_(
            w, a=SLOPE, nonlinearity="relu" if name == "linear" else name
        ),
    }.items():
        explorer.initialization = initialization
        drawn = [fill(torch.empty(64, 64)).std().item() for _ in range(20)]
        assert sum(drawn) / 20 == pytest.approx(explorer.std, rel=0.01)


def test_shares_of_saturated_and_dead(javascript: Callable) -> None:
    outputs = torch.tensor([[0.04, 0.96] * 4, [0.5] * 8, [0.06] * 7 + [0.949]]).double()
    squashed = {"signals": [[0] * 24, outputs.flatten().tolist()], "gradients": [[0] * 24] * 2}
    rectified = {"signals": [[1] * 16, [0] * 8 + [0] * 7 + [1]], "gradients": [[0] * 16] * 2}
    centred = {
        "signals": [[0] * 8, [-0.91, -0.89, 0, 0.5, 0.89, 0.91, 1, -1]],
        "gradients": [[0] * 8],
    }
    cases = [[squashed, 3, "sigmoid"], [rectified, 2, "relu"], [centred, 1, "tanh"]]
    cases.append([rectified, 2, "leaky_relu"])
    found = javascript(ActivationExplorer, "measured", cases)
    assert [each["saturated"] for each in found] == [pytest.approx(8 / 24), 0, 0.5, 0]
    assert [each["dead"] for each in found] == [0, 0.5, 0, 0]


def test_the_axis_holds_every_value(javascript: Callable) -> None:
    rng = random.Random(0)
    cases = [[[10 ** rng.uniform(-90, 60) for _ in range(3)] + [0]] for _ in range(200)]
    for (values,), (low, high) in zip(
        cases, javascript(ActivationExplorer, "decades", cases), strict=True
    ):
        assert all(10.0**low <= value <= 10.0**high for value in values if value)
        assert low <= -3 and high >= 3


# ---- Traits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "value", "error", "message"),
    [
        (
            "activation",
            "swish",
            ValueError,
            "activation='swish': must be one of 'identity', 'sigmoid'",
        ),
        ("initialization", "zero", ValueError, "initialization='zero': must be one of 'normal'"),
        ("first", "both", ValueError, "first='both': must be one of 'function', 'layers'"),
        ("negative_slope", -0.1, ValueError, "negative_slope=-0.1: must be ≥ 0 and ≤ 1"),
        ("x", "2", TypeError, "x='2': must be a number"),
        ("x", float("nan"), ValueError, "x=nan: must be ≥ -5 and ≤ 5"),
        ("sigma", 0, ValueError, "sigma=0: must be ≥ 0.001 and ≤ 2"),
        ("sigma", True, TypeError, "sigma=True: must be a number"),
        ("depth", 51, ValueError, "depth=51: must be ≥ 1 and ≤ 50"),
        ("width", 65, ValueError, "width=65: must be ≥ 4 and ≤ 64"),
        ("seed", 1.5, TypeError, "seed=1.5: must be an int"),
        ("slope", 1, TypeError, "slope: no such argument"),
    ],
)
def test_bad_arguments_are_named(argument: str, value: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        ActivationExplorer(**{argument: value})


def test_values_can_be_read_and_observed() -> None:
    explorer = ActivationExplorer(activation="leaky_relu", negative_slope=0.2, x=-3)
    assert (explorer.value, explorer.slope) == (pytest.approx(-0.6), pytest.approx(0.2))
    heard: list[str] = []
    explorer.observe(lambda change: heard.append(change["new"]), "activation")
    explorer.activation = "gelu"
    assert heard == ["gelu"] and explorer.value == pytest.approx(-0.0036, abs=1e-3)
    assert set(FUNCTIONS) == set(TORCH)


@pytest.mark.parametrize("state", random_states()[::4], ids=lambda s: s["activation"])
def test_the_picture_shows_five_curves(state: dict) -> None:
    explorer = ActivationExplorer(**state)
    svg = ElementTree.fromstring(explorer.picture())
    curves = [path for path in svg if path.get("stroke-width") == "2"]
    points = [path.get("d", "")[1:].split("L") for path in curves]
    assert [len(p) for p in points] == [101, 101] + [state["depth"] + 1] * 3
    assert all(0 <= float(p.split()[1]) <= 210 for curve in points for p in curve)
    assert "#" not in explorer.picture(), "colours only by the theme's variables"


# ---- The figure in a browser ---------------------------------------------------------------------


def menu(page: Page, name: str) -> Locator:
    return page.get_by_role("combobox", name=name)


def test_it_says_what_the_function_does(show: Callable) -> None:
    page = show(ActivationExplorer(x=0))
    expect(page.get_by_role("figure", name="Activation explorer")).to_be_visible()
    status = page.get_by_role("status").first
    expect(status).to_contain_text("sigmoid(0) = 0.5. The slope there is 0.25")
    page.get_by_role("slider", name="x", exact=True).focus()
    page.keyboard.press("ArrowRight")
    expect(status).to_contain_text("sigmoid(0.05) = 0.512")
    menu(page, "Activation").select_option("leaky ReLU")
    page.get_by_role("slider", name="x", exact=True).fill("-4")
    expect(status).to_contain_text("leaky ReLU(−4) = −0.4. The slope there is 0.1")
    slide(page, "Slope for x < 0", 1)
    expect(status).to_contain_text("leaky ReLU(−4) = −4. The slope there is 1")


def test_dragging_moves_x(show: Callable) -> None:
    page = show(ActivationExplorer(activation="identity"))
    box = page.locator(".d2-function > svg").bounding_box()
    at = lambda x: box["x"] + 34 + (x + 5) / 10 * (box["width"] - 42)  # noqa: E731
    page.mouse.move(at(1), box["y"] + 100)
    page.mouse.down()
    expect(page.get_by_role("status").first).to_contain_text("identity(1) = 1")
    page.mouse.move(at(-3), box["y"] + 90)
    expect(page.get_by_role("status").first).to_contain_text("identity(−3) = −3")
    page.mouse.up()
    page.mouse.move(at(4), box["y"] + 90)
    expect(page.get_by_role("status").first).to_contain_text("identity(−3) = −3")


def test_it_says_what_the_layers_do(show: Callable) -> None:
    explorer = ActivationExplorer(activation="relu", initialization="he", depth=30)
    page = show(explorer)
    status = page.get_by_role("status").last
    signal, gradient = explorer.passage.signal, explorer.passage.gradient
    expect(status).to_contain_text("Weights of standard deviation 0.18. Through 30 layers")
    expect(status).to_contain_text(f"from 1 to {signal[-1]:.2g}, ×")
    expect(status).to_contain_text(f"from {gradient[-1]:.2g} to {gradient[0]:.2g}, ×")
    expect(status).to_contain_text("of the units are dead: 0 for all 16 inputs")
    before = status.inner_text()
    page.get_by_role("button", name="Draw again").click()
    expect(status).not_to_have_text(before)
    menu(page, "Activation").select_option("sigmoid")
    expect(status).to_contain_text("of the outputs are saturated")
    expect(status).to_contain_text("·10⁻")
    menu(page, "Initialization").select_option("normal, your σ")
    slide(page, "Std of the weights", 0.5)
    slide(page, "Layers", 1)
    slide(page, "Units a layer", 64)
    expect(status).to_contain_text("Weights of standard deviation 0.5. Through 1 layer the signal")


def test_a_network_that_is_all_dead_is_drawn(show: Callable) -> None:
    """Narrow and deep, with ReLU: sooner or later nothing comes through."""
    explorer = ActivationExplorer(activation="relu", width=4, depth=50)
    assert explorer.passage.signal[-1] == 0
    page = show(explorer)
    expect(page.get_by_role("status").last).to_contain_text("from 1 to 0, × 0 a layer")
    assert "NaN" not in page.locator(".d2").inner_html()


@pytest.mark.parametrize("first", ["function", "layers"])
def test_the_panel_asked_for_comes_first(show: Callable, first: str) -> None:
    page = show(ActivationExplorer(first=first), width=390)
    heights = [
        page.locator(f".d2-{name} > svg").bounding_box()["y"] for name in ("function", "layers")
    ]
    assert (heights[0] < heights[1]) == (first == "function")


def test_two_views_share_one_state(show: Callable) -> None:
    page = show(ActivationExplorer(), views=2)
    menu(page, "Activation").first.select_option("tanh")
    for view in range(2):
        expect(menu(page, "Activation").nth(view)).to_have_value("tanh")
        expect(page.get_by_role("status").nth(2 * view)).to_contain_text("tanh(2) = 0.964")


EXAMPLES: list[dict] = [
    {},
    {"activation": "relu", "initialization": "he", "depth": 30, "first": "layers"},
    {"activation": "leaky_relu", "initialization": "normal", "sigma": 0.01, "depth": 50},
]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("settings", EXAMPLES, ids=["sigmoid", "relu", "leaky_relu"])
def test_it_is_legible_and_accessible(show: Callable, settings: dict, theme: str) -> None:
    page = show(ActivationExplorer(**settings), theme=theme)
    assert_legible_and_accessible(
        page,
        "[...document.querySelectorAll('.d2 svg')].every((svg) =>"
        " Math.abs(svg.viewBox.baseVal.width - svg.getBoundingClientRect().width) < 1)",
    )
