"""The LeNet explorer: every number against PyTorch, its weights in 12 bits, the board."""

import random
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from conftest import assert_legible_and_accessible, settle
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import Page, expect
from torch.nn.functional import unfold

from d2lite.data import fashion_mnist
from d2lite.explore import LeNetExplorer
from d2lite.explore.lenet import ACTIVATIONS, POOLINGS, SHAPES, pack, unpack
from d2lite.nets.lenet import LeNet
from d2lite.train import fit

TRAIN, TEST = fashion_mnist()
SETTINGS = [(activation, pool) for activation in ACTIVATIONS for pool in POOLINGS]


@pytest.fixture(scope="module")
def trained() -> LeNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LeNet()
    fit(model, TRAIN[:2000], epochs=2, batch_size=32, lr=0.05)
    return model


def explore(model: LeNet, **traits: Any) -> LeNetExplorer:
    return LeNetExplorer(model, TEST.images[:20], TEST.classes, **traits)


@pytest.fixture
def page(trained: LeNet, show: Callable) -> Page:
    return show(explore(trained))


def of_five_classes() -> LeNet:
    model = LeNet()
    model.output = torch.nn.Linear(84, 5)
    return model


def by_layer(model: LeNet, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """What each layer gives, (N, …), after its activation."""
    C1 = model.activation(model.C1(images))
    S2 = model.S2(C1)
    C3 = model.activation(model.C3(S2))
    S4 = model.S4(C3)
    C5 = model.activation(model.C5(S4.flatten(1)))
    F6 = model.activation(model.F6(C5))
    return {"C1": C1, "S2": S2, "C3": C3, "S4": S4, "C5": C5, "F6": F6, "output": model.output(F6)}


def pixels(image: torch.Tensor) -> list[float]:
    return image.flatten().tolist()


# ---- Arithmetic ----------------------------------------------------------------------------------


def test_scores_of_200_images_equal_pytorchs(javascript: Callable, trained: LeNet) -> None:
    images = TEST.images[:200]
    explorer = explore(trained)
    case = [list(explorer.weights), [pixels(image) for image in images], "relu", "max"]
    (found,) = javascript(LeNetExplorer, "layersOf", [case])
    scores = torch.tensor([each["output"] for each in found])
    with torch.no_grad():
        shipped, original = explorer.model(images), trained(images)
    torch.testing.assert_close(scores, shipped, rtol=0, atol=1e-4)
    assert (scores - original).abs().max() < 1e-2  # 12 bits are enough
    assert original.std() > 1  # of scores that have learned something


@pytest.mark.parametrize(("activation", "pool"), SETTINGS)
def test_every_map_equals_pytorchs(javascript: Callable, activation: str, pool: str) -> None:
    explorer = explore(LeNet(ACTIVATIONS[activation], POOLINGS[pool]))
    assert (explorer.activation, explorer.pool) == (activation, pool)
    images = torch.rand(20, 1, 28, 28)
    case = [list(explorer.weights), [pixels(image) for image in images], activation, pool]
    (found,) = javascript(LeNetExplorer, "layersOf", [case])
    with torch.no_grad():
        expected = by_layer(explorer.model, images)
    for name, values in expected.items():
        assert tuple(values.shape[1:]) == SHAPES[name]
        given = torch.tensor([each[name] for each in found]).view_as(values)
        torch.testing.assert_close(given, values, rtol=0, atol=1e-5)


def test_what_is_behind_a_unit(javascript: Callable, trained: LeNet) -> None:
    """Windows and weights, for units of all layers: their products add up to what PyTorch gives."""
    explorer, image, rng = explore(trained), TEST.images[7:8], random.Random(0)
    units = [
        (layer, rng.randrange(int(torch.tensor(shape).prod())))
        for layer, shape in SHAPES.items()
        for _ in range(80)
    ]
    case = [list(explorer.weights), pixels(image), "relu", "max", units]
    (found,) = javascript(LeNetExplorer, "reasons", [case])
    model = explorer.model
    with torch.no_grad():
        maps = {"image": image, **by_layer(model, image)}
        windows = {
            "C1": unfold(image, 5, padding=2)[0],
            "C3": unfold(maps["S2"], 5)[0],
        }
        linear = {"C5": maps["S4"].flatten(), "F6": maps["C5"][0], "output": maps["F6"][0]}
    for (layer, unit), reason in zip(units, found, strict=True):
        assert reason["value"] == pytest.approx(maps[layer].flatten()[unit].item(), abs=1e-5)
        if layer in ("S2", "S4"):
            assert reason["value"] == max(reason["sees"])
            assert len(reason["sees"]) == 4 and "weights" not in reason
            continue
        if layer in windows:
            place = windows[layer].shape[1]
            sees, map_ = windows[layer][:, unit % place], unit // place
        else:
            sees, map_ = linear[layer], unit
        weight = getattr(model, layer).weight[map_].flatten()
        torch.testing.assert_close(torch.tensor(reason["sees"]).float(), sees, rtol=0, atol=1e-5)
        torch.testing.assert_close(torch.tensor(reason["weights"]), weight, rtol=0, atol=1e-6)
        bias = getattr(model, layer).bias[map_].item()
        assert reason["sum"] == pytest.approx((sees @ weight).item() + bias, abs=1e-4)
        assert reason["sum"] == pytest.approx(sum(reason["products"]) + bias, abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(scale=st.floats(-6, 3), seed=st.integers(0, 10**6))
def test_twelve_bits_keep_each_weight_to_half_a_step(scale: float, seed: int) -> None:
    torch.manual_seed(seed)
    model = LeNet()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 10**scale)
    packed = pack(model)
    assert len(packed) < 100_000
    copy = unpack(packed, LeNet())
    for name, weight in model.named_parameters():
        kept = copy.get_parameter(name)
        if weight.ndim == 1:
            assert torch.equal(kept, weight)
            continue
        step = weight.flatten(1).abs().amax(1) / 2047
        error = (kept - weight).flatten(1).abs().amax(1)
        assert (error <= 0.501 * step).all()
    zeros = LeNet().requires_grad_(False)
    for parameter in zeros.parameters():
        parameter.zero_()
    assert not unpack(pack(zeros), LeNet()).C5.weight.any()


def test_a_stroke_marks_what_it_passes(javascript: Callable) -> None:
    blank, full = [0] * 784, [255] * 784
    line, dot, erased = (
        torch.tensor(board).view(28, 28)
        for board in javascript(
            LeNetExplorer,
            "stroke",
            [
                [blank, [3.5, 10.5], [20.5, 10.5], False, 1.5],
                [blank, [14.5, 14.5], [14.5, 14.5], False, 1.5],
                [full, [3.5, 10.5], [20.5, 10.5], True, 1.5],
            ],
        )
    )
    assert (line[10, 3:21] == 255).all() and not line[:8].any() and not line[13:].any()
    assert torch.equal(dot, dot.T) and (dot[14, 13:16] == 255).all()
    assert 0 < dot[13, 13] < 255 and not dot[:12].any()
    assert torch.equal(erased, 255 - line)


# ---- Traits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": torch.nn.Linear(2, 2)}, TypeError, "model: a Linear, must be a LeNet with 10"),
        ({"model": of_five_classes()}, TypeError, "model: a LeNet, must be a LeNet with 10"),
        ({"model": LeNet(torch.sin)}, TypeError, "model: has .*sin.*, must have one of .*'relu'"),
        ({"classes": ["boot"]}, ValueError, "classes: 1 names, must be 10"),
        ({"gallery": torch.rand(41, 1, 28, 28)}, ValueError, "gallery: shape .*must be .1 to 40"),
        (
            {"gallery": torch.rand(2, 1, 32, 32)},
            ValueError,
            r"gallery\[0\]=.*: shape \(1, 32, 32\)",
        ),
        ({"image": torch.rand(28, 28) + 1}, ValueError, "image=.*: values from .* must be 0 to 1"),
        ({"image": [256] * 784}, ValueError, r"\[0\]=256: must be ≥ 0 and ≤ 255"),
        ({"layer": "C4"}, ValueError, "layer='C4': must be one of 'C1',"),
        ({"layer": "F6", "unit": 84}, ValueError, "unit=84: must be < 84, the units of F6"),
        ({"brush": 3}, TypeError, "brush: no such argument"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], error: type, message: str) -> None:
    good = {"model": LeNet(), "gallery": TEST.images[:2], "classes": TEST.classes}
    with pytest.raises(error, match=message):
        LeNetExplorer(**{**good, **arguments})


def test_the_board_is_read_from_python(trained: LeNet) -> None:
    explorer = explore(trained, image=TEST.images[3, 0])
    with torch.no_grad():
        torch.testing.assert_close(explorer.scores, trained(TEST.images[3:4])[0], atol=2e-2, rtol=0)
    explorer.layer = "output"
    explorer.unit = 9
    explorer.layer = "C1"
    assert explorer.unit == 9
    explorer.unit = 4703
    explorer.layer = "F6"
    assert explorer.unit == 83


def test_making_one_draws_no_random_numbers(trained: LeNet) -> None:
    before = torch.random.get_rng_state()
    explorer = explore(trained)
    _ = explorer.scores, explorer.picture()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_picture_has_a_bar_for_each_class(trained: LeNet) -> None:
    explorer = explore(trained)
    svg = ElementTree.fromstring(explorer.picture())
    texts = [text.text for text in svg if text.tag.endswith("text")]
    assert texts[::2] == list(TEST.classes)
    assert texts[1::2] == [f"{100 * p:.0f} %" for p in explorer.scores.softmax(0)]
    assert "#" not in explorer.picture(), "colours only by the theme's variables"


# ---- The figure in a browser ---------------------------------------------------------------------


def ink(page: Page) -> int:
    """How many pixels of the board are not paper."""
    settle(page)
    return page.evaluate(
        """() => {
        const { data } = document.querySelector(".d2-board canvas").getContext("2d")
          .getImageData(0, 0, 28, 28);
        return Array.from({ length: 784 }, (_, i) => data[4 * i]).filter((red) => red < 250).length;
        }"""
    )


def test_a_picked_garment_is_recognised(page: Page, trained: LeNet) -> None:
    explorer = explore(trained)
    for i in (2, 9):
        page.get_by_role("button", name=f"garment {i + 1}", exact=True).click()
        explorer.image = TEST.images[i, 0]
        shares = explorer.scores.softmax(0)
        best = TEST.classes[int(shares.argmax())]
        expect(page.get_by_role("status").first).to_contain_text(
            f"The network says: {best} {100 * shares.max():.0f} %"
        )


def test_drawing_erasing_and_clearing(page: Page) -> None:
    says = page.get_by_role("status").first
    page.get_by_role("button", name="Clear").click()
    settle(page)
    blank = says.inner_text()
    box = page.locator(".d2-board canvas").bounding_box()

    def drag() -> None:
        for i, (x, y) in enumerate([(60, 40), (60, 200), (160, 200), (160, 40)]):
            page.mouse.move(box["x"] + x, box["y"] + y, steps=4)
            if i == 0:
                page.mouse.down()
        page.mouse.up()

    drag()
    expect(says).not_to_have_text(blank)
    drawn = ink(page)
    assert drawn > 100
    page.get_by_label("erase").check()
    drag()
    expect(says).to_have_text(blank)
    assert ink(page) == 0  # the eraser is wider than the brush
    page.get_by_role("button", name="Clear").click()
    expect(says).to_have_text(blank)
    assert ink(page) == 0


def test_by_keyboard_alone(page: Page) -> None:
    page.get_by_role("button", name="Clear").press("Enter")
    settle(page)
    page.get_by_role("application").focus()
    before = page.get_by_role("status").first.inner_text()
    page.keyboard.press("ArrowDown")  # the cursor appears
    for _ in range(6):
        page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Space")
    expect(page.get_by_role("status").first).not_to_have_text(before)
    assert ink(page) >= 3 * 6
    unit = page.get_by_role("slider", name="Unit")
    unit.focus()
    page.keyboard.press("End")
    expect(page.get_by_role("status").last).to_contain_text("C3, map 15, row 9, column 9")
    page.get_by_label("Look into a unit of").select_option("output")
    expect(page.get_by_role("status").last).to_contain_text("The score for Ankle boot: 84 products")


def test_a_press_chooses_a_unit(page: Page) -> None:
    box = page.get_by_role("img", name="S2: 6 maps").bounding_box()
    page.mouse.click(box["x"] + 3, box["y"] + 3)
    expect(page.get_by_role("status").last).to_contain_text(
        "S2, map 0, row 0, column 0: the largest"
    )
    box = page.get_by_role("img", name="C1: 6 maps").bounding_box()
    page.mouse.click(box["x"] + box["width"] - 3, box["y"] + box["height"] - 1.5)
    expect(page.get_by_role("status").last).to_contain_text(
        "C1, map 5, row 27, column 27: 25 products"
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("layer", "unit"), [("C3", 345), ("F6", 4), ("S2", 40)])
def test_it_is_legible_and_accessible(
    show: Callable, trained: LeNet, layer: str, unit: int, theme: str
) -> None:
    assert_legible_and_accessible(show(explore(trained, layer=layer, unit=unit), theme=theme))
