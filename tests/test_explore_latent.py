"""The latent explorer: decoded pictures against PyTorch, and the figure."""

from collections.abc import Callable
from functools import partial
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from conftest import assert_legible_and_accessible, settle, slide
from playwright.sync_api import Page, expect
from torch import nn

from d2lite.data import fashion_mnist, latent_nets
from d2lite.data.labelled_images import LabelledImages
from d2lite.explore import LatentExplorer
from d2lite.nets.vae import VAE

_, TEST = fashion_mnist()


def wild(width: int) -> VAE:
    """A VAE of random weights that have a say."""
    torch.manual_seed(width)
    model = VAE(latent=2, width=width)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return model


# ---- Arithmetic ----------------------------------------------------------------------------------


@pytest.mark.parametrize("models", [None, {"narrow": wild(1), "odd": wild(5), "wide": wild(16)}])
def test_pictures_equal_pytorchs(javascript: Callable, models: dict[str, VAE] | None) -> None:
    explorer = LatentExplorer(models, TEST[:20])
    points = 3 * torch.randn(120, 2, generator=torch.Generator().manual_seed(0))
    traits = {"widths": explorer.widths, "weights": list(explorer.weights)}
    (found,) = javascript(LatentExplorer, "pictures", [[traits, points.tolist()]])
    assert len(found) == len(explorer.names)
    for network, pictures in enumerate(found):
        explorer.network = network
        expected = explorer.model(points).sigmoid().flatten(1)
        assert (torch.tensor(pictures) - expected).abs().max() < 1e-3
        assert expected.std(0).max() > 0.1  # they differ
        explorer.z = points[7]
        torch.testing.assert_close(explorer.decoded.flatten(), expected[7])


def test_sixteen_bits_are_enough() -> None:
    models = {"wide": wild(16), "narrow": wild(4)}
    explorer = LatentExplorer(models, TEST[:20])
    points = torch.randn(100, 2)
    for network, model in enumerate(models.values()):
        explorer.network = network
        with torch.no_grad():
            original = model.decode(points).sigmoid()
        assert (explorer.model(points).sigmoid() - original).abs().max() < 0.02


def test_codes_are_the_encoders() -> None:
    model = latent_nets()["VAE"]
    explorer = LatentExplorer()
    with torch.no_grad():
        mean, log_var = model.encode(TEST.images[:300])
    torch.testing.assert_close(explorer.code, torch.cat([mean, (log_var / 2).exp()], 1))
    explorer.network = 1
    assert explorer.code[:, 2:].max() < 1e-6


def test_what_is_drawn_equals_pythons(javascript: Callable) -> None:
    explorer = LatentExplorer()
    states = [{"draws": d, "seed": s} for d in ("posterior", "prior") for s in (0, 5)]
    code = explorer.code[4].tolist()
    found = javascript(LatentExplorer, "drawn", [[state, code] for state in states])
    explorer.garment = 4
    for state, points in zip(states, found, strict=True):
        explorer.draws, explorer.seed = state["draws"], state["seed"]
        torch.testing.assert_close(torch.tensor(points), explorer.drawn)


def test_the_nearest_place_on_the_line(javascript: Callable) -> None:
    cases = [
        ([[1, 5], [0, 0], [4, 0]], 0.25),
        ([[-9, 1], [0, 0], [4, 0]], 0),
        ([[9, 1], [0, 0], [4, 0]], 1),
        ([[1, 1], [0, 0], [2, 2]], 0.5),
        ([[1, 1], [2, 2], [2, 2]], 0),
    ]
    found = javascript(LatentExplorer, "shareOfWay", [case for case, _ in cases])
    assert found == [share for _, share in cases]


# ---- What ships ----------------------------------------------------------------------------------


def test_the_networks_that_ship() -> None:
    """All rebuild garments; a VAE spreads its codes, the more so as the divergence counts."""
    images = TEST.images[:1000]
    spread = {}
    for name, model in latent_nets().items():
        mean, log_var = model.encode(images)
        rebuilt = model.decode(mean).sigmoid()
        error = (rebuilt - images).pow(2).mean()
        assert error < 0.5 * (images - images.mean(0)).pow(2).mean(), name
        assert (mean.std(0) > 0.4).all() and (mean.abs() < 5).all()
        spread[name] = (log_var / 2).exp().median().item()
    assert spread["autoencoder"] < 1e-6 < 0.02 < spread["VAE"]
    assert spread["VAE"] * 1.5 < spread["VAE, β = 10"] < 1


# ---- Traits --------------------------------------------------------------------------------------

SMALL = TEST[:5]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"models": VAE()}, TypeError, "models=a VAE: must be a Mapping"),
        ({"models": {}}, ValueError, "models: 0 networks, must be 1 to 3"),
        ({"models": {"a": nn.Linear(2, 2)}}, TypeError, r"models\['a'\]=Linear.*must be a VAE"),
        ({"models": {"a": VAE(3)}}, ValueError, r"\['a'\]: 3 latent dimensions, must be 2"),
        ({"garments": TEST.images}, TypeError, "must be a LabelledImages"),
        ({"garments": TEST[:0]}, ValueError, r"garments: images \(0, 1, 28, 28\), must be"),
        (
            {"garments": LabelledImages(2 * SMALL.images, SMALL.labels, SMALL.classes)},
            ValueError,
            "garments: images must be from 0 to 1",
        ),
        (
            {"garments": LabelledImages(SMALL.images, SMALL.labels, (*SMALL.classes, "hat"))},
            ValueError,
            "garments: 11 classes, must be 10",
        ),
        ({"models": {"a": VAE()}, "network": 1}, ValueError, "network=1: must be ≤ 0"),
        ({"garment": 5}, ValueError, "garment=5: must be ≤ 4"),
        ({"background": "grid"}, ValueError, "must be one of 'garments', 'pictures'"),
        ({"z": 3}, TypeError, "z=3: must be a list of two numbers"),
        ({"start": [1, 2, 3]}, ValueError, "start=.*: 3 numbers, must be two"),
        ({"end": [1, 101]}, ValueError, r"end=.*\[1\]=101: must be ≥ -100 and ≤ 100"),
        ({"draws": 3}, ValueError, "draws=3: must be one of 'posterior', 'prior'"),
        ({"seed": -1}, ValueError, "seed=-1: must be ≥ 0"),
        ({"highlight": 10}, ValueError, "highlight=10: must be ≥ -1 and ≤ 9"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        LatentExplorer(**{"garments": SMALL, **arguments})


def test_a_point_may_be_a_tensor() -> None:
    assert LatentExplorer(garments=SMALL, z=torch.tensor([1.0, -2.0])).z == [1, -2]


def test_the_picture_has_each_class() -> None:
    svg = ElementTree.fromstring(LatentExplorer().picture())
    assert [title.text for title in svg.iter("title")] == list(TEST.classes)


# ---- The figure in a browser ---------------------------------------------------------------------


@pytest.fixture
def page(show: Callable) -> Page:
    return show(LatentExplorer())


def place(page: Page) -> list[float]:
    settle(page)
    return [float(field.input_value()) for field in page.get_by_role("spinbutton").all()]


def says(page: Page, explorer: LatentExplorer) -> str:
    """What the first line tells of the explorer's point."""
    far = (explorer.code[:, :2] - torch.tensor(explorer.z)).norm(dim=1)
    name = TEST.classes[TEST.labels[far.argmin()]]
    at = ", ".join(f"{x:.2f}" for x in explorer.z)
    text = f"At ({at}). The nearest garment's code, a {name}'s, is {far.min():.2f} away."
    return text.replace("-", "−").replace("T−shirt", "T-shirt")


def test_the_point_is_dragged_and_moved_by_keys(page: Page) -> None:
    explorer, line = LatentExplorer(), page.get_by_role("status").first
    stage = page.get_by_role("application")
    box = stage.bounding_box()
    assert box is not None
    reach = float(page.get_by_label("z₁").get_attribute("max"))
    side, (x, y) = box["width"] - 40, (box["x"] + 34, box["y"] + 6)
    page.mouse.move(x + 0.5 * side, y + 0.5 * side)
    page.mouse.down()
    page.mouse.move(x + 0.7 * side, y + 0.4 * side, steps=5)
    page.mouse.move(x + 0.75 * side, y + 0.25 * side)
    page.mouse.up()
    explorer.z = place(page)
    assert explorer.z == pytest.approx([0.5 * reach, 0.5 * reach], abs=0.02)
    expect(line).to_have_text(says(page, explorer))
    stage.focus()
    for keys in ("ArrowLeft", "ArrowDown", "Shift+ArrowUp"):
        page.keyboard.press(keys)
    moved = [explorer.z[0] - 0.1, explorer.z[1] + 0.4]
    assert place(page) == pytest.approx(moved, abs=0.006)
    for _ in range(20):
        page.keyboard.press("Shift+ArrowRight")
    assert place(page)[0] == reach
    page.get_by_label("z₁").fill("-1.25")
    page.get_by_label("z₂").fill("0.5")
    explorer.z = [-1.25, 0.5]
    assert place(page) == explorer.z
    expect(line).to_have_text(says(page, explorer))
    for wrong in ("", "99"):
        page.get_by_label("z₂").fill(wrong)
        settle(page)
        expect(page.get_by_label("z₂")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("z₂").blur()
    assert place(page) == explorer.z


def pixels(page: Page, name: str) -> torch.Tensor:
    """How far the pixels of a canvas are from the paper, from 0 to 1, whatever the colors."""
    settle(page)
    canvas = page.get_by_role("img", name=name, exact=True)
    red = canvas.evaluate(
        """canvas => {
        const { width, height } = canvas;
        const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
        return [...data].filter((_, i) => i % 4 == 0);
        }"""
    )
    values = torch.tensor(red, dtype=torch.float32)
    return (255 - values) / 255


def test_what_is_painted_is_what_pytorch_decodes(page: Page) -> None:
    explorer = LatentExplorer(z=[0.8, -0.6])
    for field, value in zip(("z₁", "z₂"), explorer.z, strict=True):
        page.get_by_label(field).fill(str(value))
    found = pixels(page, "The picture at the point")  # full in red: the color's is 0 of 255
    torch.testing.assert_close(found, explorer.decoded.flatten(), atol=0.01, rtol=0)
    way = pixels(page, "Pictures along the line from A to B").view(28, -1)
    points = [torch.tensor([x, 0.0]) for x in (-1.5, 1.5)]
    for columns, z in zip((slice(0, 28), slice(240, 268)), points, strict=True):
        explorer.z = z
        torch.testing.assert_close(way[:, columns], explorer.decoded, atol=0.01, rtol=0)
    drawn = pixels(page, "Pictures of points drawn at random").view(28, -1)
    for n, z in enumerate(explorer.drawn):
        explorer.z = z
        part = drawn[:, 30 * n : 30 * n + 28]
        torch.testing.assert_close(part, explorer.decoded, atol=0.01, rtol=0)


def test_the_line_from_a_to_b(page: Page) -> None:
    slide(page, "Way done", 0.5)
    assert place(page) == [0, 0]
    slide(page, "Way done", 0)
    assert place(page) == [-1.5, 0]
    before = pixels(page, "Pictures along the line from A to B")
    page.get_by_label("z₁").fill("1")
    page.get_by_label("z₂").fill("1")
    page.get_by_role("button", name="A here").click()
    page.get_by_label("z₂").fill("-1")
    page.get_by_role("button", name="B here").click()
    settle(page)
    expect(page.get_by_role("slider", name="Way done")).to_have_value("1")
    assert not torch.equal(pixels(page, "Pictures along the line from A to B"), before)
    slide(page, "Way done", 0.25)
    assert place(page) == [1, 0.5]


def test_a_garment_its_posterior_and_draws(page: Page) -> None:
    explorer, line = LatentExplorer(), page.get_by_role("status").last
    page.get_by_label("z₁").fill("0.7")
    page.get_by_role("button", name="Choose the nearest garment").click()
    far = (explorer.code[:, :2] - torch.tensor([0.7, 0.0])).norm(dim=1)
    explorer.garment = int(far.argmin())
    a, b, s, t = explorer.code[explorer.garment].tolist()
    assert place(page) == pytest.approx([a, b], abs=0.006)
    name = TEST.classes[TEST.labels[explorer.garment]]
    expect(line).to_contain_text(f"Garment {explorer.garment + 1}, {name}: its code is a Gaussian")
    told = f"({a:.2f}, {b:.2f}) and standard deviations {s:.2f} and {t:.2f}".replace("-", "−")
    expect(line).to_contain_text(told)
    first = pixels(page, "Pictures of points drawn at random")
    page.get_by_role("button", name="Draw again").click()
    second = pixels(page, "Pictures of points drawn at random")
    page.get_by_role("combobox", name="From").select_option("prior")
    third = pixels(page, "Pictures of points drawn at random")
    assert not torch.equal(first, second) and not torch.equal(second, third)
    page.get_by_label("Network").select_option("1")
    expect(line).to_contain_text("it has no spread")
    page.get_by_role("combobox", name="From").select_option("posterior")
    drawn = pixels(page, "Pictures of points drawn at random").view(28, -1)
    assert torch.equal(drawn[:, :28], drawn[:, 210:238])  # eight times the same


def test_a_press_on_a_mark_chooses_that_garment(page: Page) -> None:
    codes = LatentExplorer().code[:, :2]
    lone = int((torch.cdist(codes, codes) + 9 * torch.eye(len(codes))).min(1).values.argmax())
    box = page.get_by_role("application").bounding_box()
    assert box is not None
    reach = float(page.get_by_label("z₁").get_attribute("max"))
    side, (a, b) = box["width"] - 40, codes[lone].tolist()
    x = box["x"] + 34 + side * (1 + a / reach) / 2
    y = box["y"] + 6 + side * (1 - b / reach) / 2
    page.mouse.click(x + 2, y)
    assert place(page) == pytest.approx([a, b], abs=0.006)
    expect(page.get_by_role("status").last).to_contain_text(f"Garment {lone + 1}, ")
    page.mouse.click(box["x"] + 36, box["y"] + 8)  # a corner: nobody is there
    assert place(page) == pytest.approx([-reach, reach], abs=0.1)
    expect(page.get_by_role("status").last).to_contain_text(f"Garment {lone + 1}, ")


def test_a_class_stands_out_and_the_map_shows_pictures(page: Page) -> None:
    bag = page.get_by_role("button", name="Bag")
    bag.click()
    settle(page)
    expect(bag).to_have_attribute("aria-pressed", "true")
    assert page.locator(".d2-stage path[opacity='0.18']").count() == 9
    bag.click()
    settle(page)
    assert page.locator(".d2-stage path[opacity='0.18']").count() == 0
    canvas = page.locator(".d2-stage canvas")
    expect(canvas).to_be_hidden()
    page.get_by_label("The map shows").select_option("pictures")
    expect(canvas).to_be_visible()
    page.wait_for_function(
        """() => document.querySelector(".d2-stage canvas").getContext("2d")
        .getImageData(0, 0, 364, 364).data.every((x, i) => i % 4 < 3 || x)"""
    )


def test_a_finger_drags_the_point_by_its_handle(show: Callable) -> None:
    page = show(LatentExplorer(), width=390)
    send = partial(page.context.new_cdp_session(page).send, "Input.dispatchTouchEvent")
    box = page.get_by_role("application").bounding_box()
    assert box is not None
    side = box["width"] - 40

    def touch(start: tuple[float, float], end: tuple[float, float]) -> list[float]:
        for share, kind in ((0, "touchStart"), (0.5, "touchMove"), (1, "touchMove")):
            x, y = (a + share * (b - a) for a, b in zip(start, end, strict=True))
            at = {"x": box["x"] + 34 + x * side, "y": box["y"] + 6 + y * side}
            send({"type": kind, "touchPoints": [at]})
        send({"type": "touchEnd", "touchPoints": []})
        return place(page)

    x, y = touch((0.5, 0.5), (0.6, 0.4))
    assert x > 0.3 and y > 0.3
    assert touch((0.2, 0.2), (0.3, 0.3)) == [x, y]  # elsewhere a finger only scrolls


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("traits", [{}, {"background": "pictures", "network": 1, "highlight": 4}])
def test_it_is_legible_and_accessible(show: Callable, theme: str, traits: dict[str, Any]) -> None:
    assert_legible_and_accessible(show(LatentExplorer(**traits), theme=theme))
