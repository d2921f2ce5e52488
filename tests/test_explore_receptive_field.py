"""The receptive-field explorer: its arithmetic against d2lite.receptive_field, and the figure."""

import random
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
import torchvision
from conftest import assert_legible_and_accessible
from playwright.sync_api import expect
from torch import nn

from d2lite.explore import ReceptiveFieldExplorer
from d2lite.explore.receptive_field import _layers, _sizes
from d2lite.nets.lenet import LeNet
from d2lite.receptive_field import receptive_field


def random_stacks() -> list[tuple[int, list[dict]]]:
    """Stacks as the reader's controls reach them, some that do not fit among them."""
    rng = random.Random(0)
    stacks = []
    for _ in range(650):
        layers = []
        for _ in range(rng.randint(1, 6)):
            kernel_size = rng.randint(1, 7)
            pooling = rng.random() < 0.3
            layers.append(
                {
                    "operation": "pooling" if pooling else "convolution",
                    "kernel_size": kernel_size,
                    "stride": rng.choice([1, 1, 2, 3]),
                    "padding": rng.randint(0, kernel_size // 2 if pooling else 4),
                    "dilation": rng.choice([1, 1, 1, 2, 3]),
                }
            )
        stacks.append((rng.randint(16, 64), layers))
    return stacks


STACKS = random_stacks()


def positive(explorer: ReceptiveFieldExplorer) -> nn.Sequential:
    """The stack with weights of ½ and averages for maxima, so that every pixel read has a share."""
    modules = []
    for module in explorer.model:
        if isinstance(module, nn.MaxPool2d):
            kernel, stride, padding = module.kernel_size, module.stride, module.padding
            module = nn.Conv2d(1, 1, kernel, stride, padding, module.dilation)
        for parameter in module.parameters():
            nn.init.constant_(parameter, 0.5)
        modules.append(module.double())
    return nn.Sequential(*modules)


# ---- Arithmetic ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows(javascript: Callable) -> list[list[dict]]:
    return javascript(ReceptiveFieldExplorer, "fieldsOf", [[n, layers] for n, layers in STACKS])


def test_javascript_gives_the_fields_and_sizes_of_d2lite(rows: list) -> None:
    fitting = 0
    explorer = ReceptiveFieldExplorer()
    for (size, layers), found in zip(STACKS, rows, strict=True):
        with explorer.hold_trait_notifications():
            explorer.layers, explorer.size, explorer.unit = layers, size, 0
        assert [row["units"] for row in found] == _sizes(size, layers)
        if len(found) <= len(layers):
            assert explorer.units == 0
            with pytest.raises(ValueError, match=f"{len(found) - 1} "):
                _ = explorer.fields
            continue
        fitting += 1
        mine = [(row["size"], row["jump"], row["start"]) for row in found[1:]]
        assert mine == explorer.fields
        assert found[-1]["units"] == explorer.units
        assert explorer.model(torch.zeros(1, 1, size)).shape[-1] == explorer.units
    assert fitting >= 500 and len(STACKS) - fitting > 50


def test_the_cone_ends_at_the_pixels_that_have_a_gradient(javascript: Callable, rows: list) -> None:
    rng = random.Random(1)
    fits = [i for i, found in enumerate(rows) if len(found) > len(STACKS[i][1])][:200]
    units = {i: rng.randrange(rows[i][-1]["units"]) for i in fits}
    cones = javascript(ReceptiveFieldExplorer, "cone", [[*STACKS[i], units[i]] for i in fits])
    padded = gaps = 0
    for i, cone in zip(fits, cones, strict=True):
        size, layers = STACKS[i]
        model = positive(ReceptiveFieldExplorer(layers=layers, size=size))
        x = torch.ones(1, 1, size, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(model(x)[0, 0, units[i]], x)
        assert cone[0]["read"] == gradient[0, 0].nonzero()[:, 0].tolist(), STACKS[i]
        field = rows[i][-1]
        first = field["start"] + units[i] * field["jump"] - (field["size"] - 1) / 2
        assert (cone[0]["first"], cone[0]["last"]) == (first, first + field["size"] - 1)
        padded += cone[0]["first"] < 0 or cone[0]["last"] >= size
        gaps += len(cone[0]["read"]) < field["size"]
    assert min(padded, gaps) > 30 and padded < len(fits) - 10


# ---- Traits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "value", "error", "message"),
    [
        ("layers", [], ValueError, r"layers=\[\]: 0 of them, must be between 1 and 40"),
        ("layers", [[3]] * 41, ValueError, "41 of them"),
        ("layers", 3, TypeError, "layers=3: must be a list of layers"),
        ("layers", [3], TypeError, r"layers=\[3\]: \[0\]=3: must be a dict or a list"),
        ("layers", ["3"], TypeError, "must be a dict or a list"),
        ("layers", [[3], []], ValueError, r": \[1\]=\[\]: must be 1 to 4 numbers"),
        ("layers", [[3, 1, 0, 1, 1]], ValueError, "must be 1 to 4 numbers"),
        ("layers", [[0]], ValueError, r"\[0\]=\[0\]: kernel_size=0: must be ≥ 1 and ≤ 64"),
        ("layers", [[3, 2.0]], TypeError, r"\[0\]=\[3, 2.0\]: stride=2.0: must be an int"),
        ("layers", [{"stride": 2}], TypeError, "must have a kernel_size"),
        ("layers", [{"kernel_size": 3, "groups": 2}], TypeError, "groups: no setting of a layer"),
        ("layers", [{"kernel_size": 3, "operation": "pool"}], ValueError, "operation='pool'"),
        (
            "layers",
            [{"kernel_size": 3, "padding": 2, "operation": "pooling"}],
            ValueError,
            "padding=2: must be ≤ half the kernel_size",
        ),
        ("size", 513, ValueError, "size=513: must be ≥ 1 and ≤ 512"),
        ("unit", 6, ValueError, "unit=6: must be < 6, the units of the last layer"),
        ("strides", 2, TypeError, "strides: no such argument"),
    ],
)
def test_bad_arguments_are_named(argument: str, value: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        ReceptiveFieldExplorer(**{argument: value})


def test_layers_are_filled_in_as_pytorch_does() -> None:
    explorer = ReceptiveFieldExplorer(
        layers=[[5, 2], {"operation": "pooling", "kernel_size": 3}], size=32
    )
    assert explorer.layers == _layers([[5, 2, 0, 1], explorer.layers[1]])
    assert explorer.layers[1]["stride"] == nn.MaxPool2d(3).stride == 3


def test_layers_can_be_set_and_observed() -> None:
    explorer = ReceptiveFieldExplorer(size=12, unit=5)
    heard: list[list] = []
    explorer.observe(lambda change: heard.append(change["new"]), "layers")
    explorer.layers = [[3, 2]]
    assert (explorer.unit, explorer.units, len(heard[0])) == (4, 5, 1)
    with pytest.raises(ValueError, match="kernel_size=65"):
        explorer.layers = [[65]]
    assert explorer.layers[0]["kernel_size"] == 3


def test_a_stack_that_does_not_fit_can_be_set_but_has_no_fields() -> None:
    explorer = ReceptiveFieldExplorer(layers=[[3], [9]], size=8)
    assert explorer.units == 0 and "<svg" in explorer.picture()
    with pytest.raises(ValueError, match="1 "):
        _ = explorer.fields


# ---- Still picture -------------------------------------------------------------------------------


def test_the_picture_is_to_scale() -> None:
    explorer = ReceptiveFieldExplorer(size=12, unit=2)
    svg = ElementTree.fromstring(explorer.picture())
    drawn = [path.get("d", "").split("v")[0] for path in svg]
    assert len(drawn) == 2 * (3 + 1)

    def span(path: str) -> tuple[float, float]:
        start, end = path[1:].split("H")
        return float(start.split()[0]), float(end)

    whole, seen = span(drawn[0]), span(drawn[1])
    pixel = (whole[1] - whole[0]) / 12
    assert [round((x - whole[0]) / pixel, 1) for x in seen] == [2, 9]
    assert "#" not in explorer.picture(), "colours only by the theme's variables"


# ---- The figure in a browser ---------------------------------------------------------------------


def test_it_says_what_a_unit_sees(show: Callable) -> None:
    page = show(ReceptiveFieldExplorer(unit=3))
    expect(page.get_by_role("figure", name="Receptive-field explorer")).to_be_visible()
    status = page.get_by_role("status")
    expect(status).to_contain_text("Unit 3 (of 0 to 5) has a field of 7 pixels: pixels 3 to 9.")
    page.get_by_label("layer 2: stride").fill("2")
    expect(status).to_contain_text("Unit 1 (of 0 to 1) has a field of 9 pixels: pixels 2 to 10.")
    expect(status).to_contain_text("The next unit's field lies 2 pixels further on.")
    page.get_by_label("layer 1: dilation").fill("9")
    expect(status).to_contain_text("Layer 1 does not fit: its kernel spans 19, it finds 12 cells.")
    expect(page.get_by_role("slider", name="Unit")).to_have_count(0)


def test_three_small_kernels_and_one_large_one(show: Callable) -> None:
    page = show(ReceptiveFieldExplorer())
    expect(page.get_by_label("Example")).to_have_value("Three 3 × 3")
    fields = page.locator(".d2-stack td.d2-field")
    expect(fields).to_have_text(["3", "5", "7"])
    expect(page.get_by_text("27 C² weights")).to_be_visible()
    page.get_by_label("Example").select_option("One 7 × 7")
    expect(fields).to_have_text(["7"])
    expect(page.get_by_text("49 C² weights")).to_be_visible()


def test_the_examples_have_the_fields_of_the_networks(show: Callable) -> None:
    page = show(ReceptiveFieldExplorer())
    models = torchvision.models
    for example, model, layer, shape in (
        ("LeNet", LeNet(), "S4", (1, 28, 28)),
        ("AlexNet", models.alexnet().features, "12", (3, 224, 224)),
        ("VGG-16", models.vgg16(init_weights=False).features, "30", (3, 224, 224)),
        ("ResNet-18, the longest path", models.resnet18(), "layer4.1.bn2", (3, 224, 224)),
    ):
        page.get_by_label("Example").select_option(example)
        row = page.locator(".d2-stack tbody tr").last.locator("td")
        field = receptive_field(model, shape)[layer]
        expected = [str(field.size), str(field.jump), f"{field.start:g}"]
        for kind, text in zip(("field", "jump", "start"), expected, strict=True):
            expect(row.and_(page.locator(f".d2-{kind}"))).to_have_text(text)


def test_by_keyboard_alone(show: Callable) -> None:
    page = show(ReceptiveFieldExplorer(layers=[[3]], size=12))
    add = page.get_by_role("button", name="Add a layer")
    add.focus()
    page.keyboard.press("Enter")
    kernel = page.get_by_label("layer 2: kernel")
    expect(kernel).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("status")).to_contain_text("a field of 7 pixels")
    expect(kernel).to_be_focused()
    page.get_by_role("button", name="remove layer 1").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("a field of 5 pixels")
    remove = page.get_by_role("button", name="remove layer 1")
    expect(remove).to_be_disabled()  # the last one stays
    unit = page.get_by_role("slider", name="Unit")
    unit.focus()
    page.keyboard.press("End")
    expect(page.get_by_role("status")).to_contain_text("Unit 7 (of 0 to 7)")


def test_what_is_no_setting_is_marked_and_not_taken(show: Callable) -> None:
    page = show(ReceptiveFieldExplorer(unit=3))
    kernel, status = page.get_by_label("layer 1: kernel"), page.get_by_role("status")
    for typed in ("0", "", "2.5", "65"):
        kernel.fill(typed)
        expect(kernel).to_have_attribute("aria-invalid", "true")
        expect(status).to_contain_text("a field of 7 pixels")
    kernel.blur()
    expect(kernel).to_have_value("3")
    page.get_by_label("layer 1: operation").select_option("pooling")
    page.get_by_label("layer 1: padding").fill("2")
    expect(status).to_contain_text("PyTorch refuses layer 1: padding 2 is more than half")


def test_click_and_hover_choose_a_unit(show: Callable) -> None:
    page = show(ReceptiveFieldExplorer())
    status, svg = page.get_by_role("status"), page.locator("svg").bounding_box()
    bottom = svg["y"] + svg["height"] - 10
    page.mouse.move(svg["x"] + svg["width"] - 5, bottom)
    expect(status).to_contain_text("Unit 5")
    page.mouse.move(5, 5)
    expect(status).to_contain_text("Unit 0")  # hovering chose for as long as it lasted
    page.mouse.click(svg["x"] + svg["width"] - 5, bottom)
    page.mouse.move(5, 5)
    expect(status).to_contain_text("Unit 5")


def test_two_views_share_one_state(show: Callable) -> None:
    page = show(ReceptiveFieldExplorer(), views=2)
    page.get_by_label("layer 1: kernel").first.fill("5")
    for view in range(2):
        expect(page.get_by_label("layer 1: kernel").nth(view)).to_have_value("5")
        expect(page.get_by_role("status").nth(view)).to_contain_text("a field of 9 pixels")


EXAMPLES = ["Three 3 × 3", "3 × 3, dilated by 1, 2 and 4", "VGG-16", "ResNet-18, the longest path"]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("example", EXAMPLES)
def test_it_is_legible_and_accessible(show: Callable, example: str, theme: str) -> None:
    page = show(ReceptiveFieldExplorer(size=9), theme=theme)
    page.get_by_label("Example").select_option(example)
    assert_legible_and_accessible(
        page,
        "document.querySelector('svg').viewBox.baseVal.width"
        " === document.querySelector('svg').getBoundingClientRect().width",
    )
