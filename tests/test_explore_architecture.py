"""The architecture explorer: its numbers against torchvision and the papers, the figure."""

import math
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

from d2lite.explore import ArchitectureExplorer
from d2lite.explore.architecture import NETWORKS, describe
from d2lite.nets.resnet import small_resnet
from d2lite.trace import trace

DATA = ArchitectureExplorer().networks


# ---- Numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "model"),
    [("VGG-16", "vgg16"), ("ResNet-50", "resnet50"), ("DenseNet-121", "densenet121")],
)
def test_the_networks_are_those_of_torchvision(javascript: Callable, name: str, model: str) -> None:
    with torch.device("meta"):
        theirs = trace(getattr(torchvision.models, model)(weights=None), (3, 224, 224))
    (totals,) = javascript(ArchitectureExplorer, "totals", [[DATA[name]]])
    assert totals["parameters"] == theirs.total_parameters
    assert totals["multiply_adds"] == theirs.total_multiply_adds
    weights = [layer.multiply_adds for layer in theirs if layer.multiply_adds]
    drawn = [layer["multiply_adds"] for layer in DATA[name]["layers"] if layer["multiply_adds"]]
    assert sorted(drawn) == sorted(weights)  # torchvision ends a block by its shortcut


@pytest.mark.parametrize(
    ("name", "parameters", "unused"),
    [
        ("LeNet-5", 60_000, 0),  # LeCun et al. (1998), section II.B
        ("AlexNet", 60_965_224, 0),
        ("NiN", 7_595_176, 0),
        ("GoogLeNet", 6_998_552, 6_379_728),
    ],
)
def test_the_others_have_their_parameters(name: str, parameters: int, unused: int) -> None:
    assert sum(layer["parameters"] for layer in DATA[name]["layers"]) == parameters
    assert DATA[name]["unused"] == unused


def test_bars_and_maps_are_to_scale(javascript: Callable) -> None:
    """Any two networks, at any width: proportions, and columns side by side."""
    rng = random.Random(0)
    pairs = [(rng.choice(list(DATA)), rng.choice(list(DATA))) for _ in range(200)]
    scales = javascript(ArchitectureExplorer, "scales", [[[DATA[n] for n in p]] for p in pairs])
    widths = [rng.randint(240, 900) for _ in pairs]
    cases = [[DATA[p[0]], s, w] for p, s, w in zip(pairs, scales, widths, strict=True)]
    for (network, scale, width), found in zip(
        cases, javascript(ArchitectureExplorer, "layout", cases), strict=True
    ):
        image, *places = found
        assert image["tall"] == pytest.approx(112 * network["input"][1] / scale["pixels"])
        x = image["width"]
        for place, layer in zip(places, network["layers"], strict=True):
            shape = layer["shape"]
            rows = shape[1] if len(shape) > 1 else 1
            assert place["x"] == pytest.approx(x)
            channels = math.sqrt(shape[0] / network["input"][0])
            assert place["width"] == pytest.approx(image["width"] * channels)
            assert place["tall"] == pytest.approx(image["tall"] * rows / network["input"][1])
            for key in ("parameters", "multiply_adds"):
                assert (
                    place[key] == pytest.approx(56 * layer[key] / scale[key]) and place[key] <= 57
                )
            x += place["width"]
        assert x == pytest.approx(width)


@pytest.mark.parametrize("name", DATA)
def test_names_of_parts_never_lie_over_each_other(javascript: Callable, name: str) -> None:
    network, widths = DATA[name], [240, 320, 700, 1200, 3000]
    (scale,) = javascript(ArchitectureExplorer, "scales", [[[network]]])
    layouts = javascript(ArchitectureExplorer, "layout", [[network, scale, w] for w in widths])
    found = javascript(ArchitectureExplorer, "labels", [[network, places] for places in layouts])
    for width, labels in zip(widths, found, strict=True):
        assert len(labels) >= (4 if width < 1200 else 7)
        for row in (0, 1):
            x = 0.0
            for label in (each for each in labels if each["row"] == row):
                assert label["text"] and label["x"] >= x - 1e-9
                assert label["width"] >= 6.7 * len(label["text"])
                x = label["x"] + label["width"]
            assert x <= width + 1e-6


@pytest.mark.parametrize(
    ("model", "last"),
    [
        ("mobilenet_v2", "convolution"), ("convnext_tiny", "dense"), ("swin_t", "dense"),
        ("efficientnet_b0", "dense"), ("vit_b_16", "dense"), ("shufflenet_v2_x1_0", "dense"),
    ],
)  # fmt: skip
def test_any_network_is_drawn_whole(javascript: Callable, model: str, last: str) -> None:
    with torch.device("meta"):
        theirs = getattr(torchvision.models, model)(weights=None)
    network = describe(theirs, (3, 224, 224))
    traced = trace(theirs, (3, 224, 224))
    totals, (scale,) = (
        javascript(ArchitectureExplorer, name, [case])
        for name, case in (("totals", [network]), ("scales", [[network]]))
    )
    assert totals[0]["parameters"] + network["unused"] == traced.total_parameters
    assert totals[0]["multiply_adds"] == traced.total_multiply_adds
    assert network["layers"][-1]["kind"] == "dense" or last == "convolution"
    assert scale["multiply_adds"] == max(layer["multiply_adds"] for layer in network["layers"])


def test_each_layer_of_a_published_network_has_its_field() -> None:
    assert all(layer["field"] for network in DATA.values() for layer in network["layers"])


def test_a_layer_without_a_field_says_nothing_of_it(javascript: Callable) -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Upsample(scale_factor=2), nn.Flatten())
    model.append(nn.Linear(4 * 16 * 16, 10))
    network = describe(model, (1, 8, 8))
    first, second = javascript(ArchitectureExplorer, "reading", [[network, 0], [network, 1]])
    assert "field" not in first + second
    assert second.startswith("Layer 2 of 2, 3: Linear 1024→10. It gives 10 numbers.")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"), (999_999, "999,999"), (1_000_000, "1 million"), (102_764_544, "103 million"),
        (4_089_184_256, "4.09 billion"), (15_470_264_320, "15.5 billion"),
    ],
)  # fmt: skip
def test_large_numbers_have_three_digits(javascript: Callable, number: int, text: str) -> None:
    assert javascript(ArchitectureExplorer, "rounded", [[number]]) == [text]


# ---- Traits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"network": "VGG"}, ValueError, "network='VGG': must be one of 'LeNet-5', 'AlexNet'"),
        ({"other": "VGG"}, ValueError, "other='VGG': must be one of '', 'LeNet-5'"),
        ({"layer": 21}, ValueError, "layer=21: must be < 21, the layers of VGG-16"),
        ({"layer": -1}, ValueError, "layer=-1: must be ≥ 0 and ≤"),
        ({"layer": 1.0}, TypeError, "layer=1.0: must be an int"),
        ({"other": "NiN", "other_layer": 16}, ValueError, "other_layer=16: must be < 16"),
        ({"networks": {}}, Exception, "networks"),
        ({"layers": 1}, TypeError, "layers: no such argument"),
        ({"network": "your network"}, ValueError, "network='your network': needs a model"),
        ({"model": nn.ReLU()}, TypeError, "model and shape: must be given both, or neither"),
        ({"model": nn.ReLU(), "shape": (1, 8, 8)}, ValueError, "model: must have a layer with"),
        ({"model": nn.Linear(8, 2), "shape": (8,)}, ValueError, r"shape=\(8,\): must be \(C, H, W"),
        ({"model": nn.Conv2d(3, 1, 3), "shape": (1, 8, 8)}, ValueError, "3 channels"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        ArchitectureExplorer(**arguments)


def test_the_chosen_layer_stays_inside() -> None:
    explorer = ArchitectureExplorer(network="DenseNet-121", layer=124)
    explorer.network = "LeNet-5"
    assert explorer.layer == 6


def test_your_own_network_is_drawn_first(show: Callable) -> None:
    explorer = ArchitectureExplorer(small_resnet(depth=8), (1, 28, 28), other="ResNet-50")
    assert explorer.network == "your network" and explorer.layer == 0
    layers = explorer.networks["your network"]["layers"]
    assert layers[-1]["text"] == "Linear 64→10" and len(DATA) == len(NETWORKS)
    page = show(explorer)
    expect(page.locator(".d2-name").first).to_contain_text("your network 10 layers with weights.")
    with page.expect_download() as download:
        page.get_by_label("Beside it").select_option("")
        page.get_by_role("button", name="Save as SVG").click()
    assert download.value.suggested_filename == "your network.svg"
    picture = ElementTree.parse(download.value.path()).getroot()
    marks = [mark.attrib for mark in picture.iter()]
    assert len(marks) > 10 and not any("var(" in str(mark) for mark in marks)
    assert {"#00735a", "#b64b00"} <= {mark.get("fill") for mark in marks}


# ---- Still picture -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_the_picture_has_a_map_and_a_bar_for_each_layer(name: str) -> None:
    picture = ArchitectureExplorer(network=name).picture()
    assert len(ElementTree.fromstring(picture)) == 2 * (len(DATA[name]["layers"]) + 1)
    assert "#" not in picture, "colours only by the theme's variables"


# ---- The figure in a browser ---------------------------------------------------------------------


def test_it_says_what_a_layer_is(show: Callable) -> None:
    page = show(ArchitectureExplorer())
    expect(page.get_by_role("figure", name="Architecture explorer")).to_be_visible()
    page.get_by_role("slider", name="Layer of the first network").fill("18")
    expect(page.get_by_role("status")).to_have_text(
        "Layer 19 of 21, classifier.0: Linear 25088→4096. It gives 4,096 numbers. It has "
        "102,764,544 parameters, 74 % of the network's; 103 million multiply-adds, 0.7 %. "
        "A unit's field is 404 × 404 pixels; the picture has 224 × 224."
    )
    expect(page.locator(".d2-name").first).to_contain_text(
        "VGG-16 16 layers with weights. 138 million parameters, 89 % of them in dense layers. "
        "15.5 billion multiply-adds, 99.2 % of them in convolutions."
    )
    page.get_by_role("combobox", name="Network").select_option("DenseNet-121")
    expect(page.locator(".d2-name").first).to_contain_text("DenseNet-121 121 layers with weights.")


def test_two_networks_on_one_scale_or_on_their_own(show: Callable) -> None:
    page = show(ArchitectureExplorer(network="NiN"))
    # The parameters' bars of the first network are the last but one of its filled paths.
    largest = """() => [...document.querySelector(".d2-network svg").querySelectorAll("path[fill]")]
        .at(-2).getBBox().height"""
    assert page.evaluate(largest) == pytest.approx(56, abs=0.1)
    expect(page.get_by_role("checkbox")).to_have_count(0)
    page.get_by_label("Beside it").select_option("VGG-16")
    expect(page.get_by_role("status")).to_have_count(2)
    assert page.evaluate(largest) < 3  # beside the first dense layer of VGG
    page.get_by_role("checkbox", name="same scale").uncheck()
    page.wait_for_function(f"({largest})() > 55")
    page.get_by_role("slider", name="second").fill("20")
    expect(page.get_by_role("status").nth(1)).to_contain_text("Layer 21 of 21, classifier.6")


def test_a_smaller_network_keeps_the_choice_inside(show: Callable) -> None:
    page = show(ArchitectureExplorer(network="DenseNet-121", layer=124))
    page.get_by_role("combobox", name="Network").select_option("LeNet-5")
    expect(page.get_by_role("status")).to_contain_text("Layer 7 of 7, output: EuclideanRBF")


def test_hover_shows_and_a_press_chooses(show: Callable) -> None:
    page = show(ArchitectureExplorer(network="LeNet-5"))
    status, box = page.get_by_role("status"), page.locator(".d2-network svg").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] - 3, box["y"] + 20)
    expect(status).to_contain_text("Layer 7 of 7")
    page.mouse.move(2, 2)
    expect(status).to_contain_text("Layer 1 of 7")
    page.mouse.click(box["x"] + box["width"] - 3, box["y"] + 20)
    page.mouse.move(2, 2)
    expect(status).to_contain_text("Layer 7 of 7")
    page.keyboard.press("ArrowLeft")
    expect(status).to_contain_text("Layer 6 of 7")


def test_two_views_share_one_state(show: Callable) -> None:
    page = show(ArchitectureExplorer(), views=2)
    page.get_by_role("combobox", name="Network").first.select_option("NiN")
    for view in range(2):
        expect(page.get_by_role("combobox", name="Network").nth(view)).to_have_value("NiN")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("network", "other"), [("LeNet-5", ""), ("DenseNet-121", "VGG-16")])
def test_it_is_legible_and_accessible(show: Callable, network: str, other: str, theme: str) -> None:
    page = show(ArchitectureExplorer(network=network, other=other), theme=theme)
    assert_legible_and_accessible(
        page,
        "document.querySelector('.d2-network svg').viewBox.baseVal.width"
        " === document.querySelector('.d2-network svg').getBoundingClientRect().width",
    )
