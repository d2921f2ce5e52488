"""The adversarial explorer: gradients, attacks and counts against PyTorch, and the figure."""

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from conftest import assert_legible_and_accessible, settle, slide
from playwright.sync_api import Page, expect
from torch import nn
from torch.nn.functional import avg_pool2d, cross_entropy

from d2lite.data import fashion_mnist
from d2lite.data.labelled_images import LabelledImages
from d2lite.explore import AdversarialExplorer
from d2lite.explore.adversarial import pack, shipped

_, TEST = fashion_mnist()
SMALL = LabelledImages(avg_pool2d(TEST.images[:9], 2), TEST.labels[:9], TEST.classes)
FIXED = ["names", "layers", "weights", "side", "gallery", "labels"]
STATE = ["garment", "epsilon", "method", "steps", "step_size", "random_start", "target", "seed"]
PGD = {"method": "pgd", "steps": 6}
ATTACKS: list[dict[str, Any]] = [
    {"method": "noise", "seed": 3},
    {"method": "fgsm"},
    {"method": "fgsm", "target": 4},
    PGD,
    PGD | {"target": 7, "step_size": 0.5},
    PGD | {"random_start": True, "seed": 5, "step_size": 1.25},
    PGD | {"epsilon": 0},
]


def strided() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(6), nn.Tanh(),
        nn.AvgPool2d(2), nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8), nn.GELU(),
        nn.Flatten(), nn.Linear(72, 20), nn.BatchNorm1d(20), nn.Sigmoid(), nn.Linear(20, 10),
    )  # fmt: skip


def pooled() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 4, 3),
        nn.LeakyReLU(), nn.Flatten(), nn.Dropout(), nn.Linear(100, 10),
    )  # fmt: skip


def dense(side: int = 14) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(side**2, 10))


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def stirred(model: nn.Sequential) -> nn.Sequential:
    """Give batch normalization statistics to use, and weights that have a say."""
    for layer in model:
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
            nn.init.normal_(layer.weight)
    return model


def outcomes(javascript: Callable, explorer: AdversarialExplorer, states: list[dict]) -> list[dict]:
    """What the figure's own arithmetic makes of each state."""
    traits = {name: getattr(explorer, name) for name in FIXED}
    traits |= {name: list(traits[name]) for name in ("weights", "gallery")}
    full = [{name: getattr(explorer, name) for name in STATE} | state for state in states]
    (found,) = javascript(AdversarialExplorer, "outcome", [[traits, full]])
    return found


# ---- Arithmetic ----------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [strided, pooled, dense])
def test_gradients_scores_and_losses_equal_pytorchs(javascript: Callable, build: Callable) -> None:
    data = LabelledImages(torch.rand(4, 1, 14, 14), torch.arange(4), TEST.classes)
    explorer = AdversarialExplorer(stirred(build()), data)
    found = outcomes(javascript, explorer, [{"garment": garment} for garment in range(4)])
    model = explorer.networks["the network"].double()
    for garment, each in enumerate(found):
        explorer.garment = garment
        x = explorer.original.double().requires_grad_()
        scores = model(x)
        loss = cross_entropy(scores, data.labels[garment : garment + 1])
        (gradient,) = torch.autograd.grad(loss, x)
        for name, expected in {"scores": scores, "slopes": gradient, "loss": loss}.items():
            got = torch.tensor(each["places"][0][0][name], dtype=torch.float64).view_as(expected)
            assert (got - expected).abs().max() < 1e-5 * expected.abs().max(), name


@pytest.mark.parametrize("build", [strided, dense])  # smooth: a step has no kinks
def test_pictures_and_counts_equal_pytorchs(javascript: Callable, build: Callable) -> None:
    models = {name: stirred(build()) for name in ("plain", "robust")}
    explorer = AdversarialExplorer(models, SMALL, epsilon=20)
    for state, found in zip(ATTACKS, outcomes(javascript, explorer, ATTACKS), strict=True):
        with explorer.hold_trait_notifications():
            for name, value in {"epsilon": 20, "target": -1, **state}.items():
                setattr(explorer, name, value)
        for i, (name, model) in enumerate(explorer.networks.items()):
            for step, place in enumerate(found["places"][i]):
                explorer.garment, explorer.step = 0, step
                got = torch.tensor(place["pixels"]).view_as(explorer.original)
                assert (got - explorer.changed[name]).abs().max() < 1e-5, (state, step)
                budget = explorer.epsilon / 255 + 1e-6
                assert (got - explorer.original).abs().max() <= budget
            right = []
            for garment, label in enumerate(SMALL.labels.tolist()):
                explorer.garment = garment
                right.append(model(explorer.changed[name]).argmax().item() == label)
            assert found["right"][i] == right, state


def test_a_step_raises_the_loss_or_lowers_that_of_the_target(javascript: Callable) -> None:
    explorer = AdversarialExplorer(stirred(strided()), SMALL, epsilon=2)
    away, toward = outcomes(javascript, explorer, [PGD, PGD | {"target": 5}])
    for found, sign in ((away, 1), (toward, -1)):
        losses = [place["loss"] for place in found["places"][0]]
        assert all(sign * (b - a) > 0 for a, b in pairwise(losses[:4]))


def test_the_noise_is_even_and_of_each_garment_another(javascript: Callable) -> None:
    data = LabelledImages(torch.full((40, 1, 28, 28), 0.5), torch.zeros(40).long(), TEST.classes)
    explorer = AdversarialExplorer(dense(28), data, random_start=True, epsilon=20, step=0)
    starts = []
    for garment in range(40):
        explorer.garment = garment
        starts.append(explorer.changed["the network"].flatten())
    start = (torch.stack(starts) - explorer.original[0, 0, 0, 0]) * 255 / 20
    assert start.abs().max() <= 1 and (start[0] != start[1]).all()
    n = start.numel()
    for power, moment in ((1, 0), (2, 1 / 3), (3, 0), (4, 1 / 5)):
        assert abs((start**power).mean() - moment) < 5 / n**0.5
    explorer.method, explorer.step = "noise", 1
    change = (explorer.changed["the network"] - explorer.original) * 255
    assert change.abs().sub(20).abs().max() < 1e-3  # each pixel, up or down
    assert abs(change.sign().mean()) < 5 / 784**0.5


def test_eight_bits_are_enough(trained: dict) -> None:
    model = stirred(strided()).eval()
    images = avg_pool2d(TEST.images[:500], 2)
    for each, bound in ((model, 0.05), (trained["plain"], 0.02)):
        with torch.no_grad():
            expected, found = each(images), shipped(each)(images)
        assert (found - expected).abs().max() < bound * expected.std()
        assert (found.argmax(1) == expected.argmax(1)).float().mean() > 0.98
    units, weights = 6 + 8 + 20 + 10, 6 * 25 + 8 * 6 * 9 + 72 * 20 + 20 * 10
    assert len(pack(shipped(model))) == 8 * units + weights


def test_the_given_network_stays_as_it_was() -> None:
    model = strided().train()
    before = {name: x.clone() for name, x in model.state_dict().items()}
    AdversarialExplorer(model, SMALL)
    assert model.training and all(p.requires_grad for p in model.parameters())
    for name, x in model.state_dict().items():
        assert torch.equal(x, before[name])


# ---- Traits --------------------------------------------------------------------------------------

RGB = LabelledImages(torch.rand(2, 3, 14, 14), torch.zeros(2).long(), TEST.classes)
FEW = LabelledImages(torch.rand(2, 1, 14, 14), torch.zeros(2).long(), ("boot", "bag"))
LOUD = LabelledImages(torch.full((1, 1, 14, 14), 2.0), torch.zeros(1).long(), TEST.classes)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"models": nn.Linear(2, 2)}, TypeError, "must be a Sequential"),
        ({"models": {}}, ValueError, "models: 0 networks, must be 1 or 2"),
        ({"models": {"a": dense(), "b": 1}}, TypeError, r"models\['b'\]=1: must be a Sequential"),
        ({"models": dense()[:1]}, ValueError, r"gives \(1, 196\), must be \(1, 10\) scores"),
        (
            {"models": nn.Sequential(nn.Softmax(1))},
            TypeError,
            r"Softmax\(dim=1\): the figure has no",
        ),
        ({"models": nn.Sequential(nn.Conv2d(1, 2, (3, 1)))}, TypeError, "has no such layer"),
        ({"models": nn.Sequential(nn.Conv2d(1, 2, 3, dilation=2))}, TypeError, "has no such"),
        ({"models": nn.Sequential(nn.MaxPool2d(3, 2))}, TypeError, "has no such layer"),
        ({"models": nn.Sequential(nn.GELU("tanh"))}, TypeError, "has no such layer"),
        ({"models": nn.Sequential(nn.LeakyReLU(0.2))}, TypeError, "has no such layer"),
        ({"models": nn.Sequential(nn.BatchNorm2d(1))}, TypeError, "has no such layer"),
        ({"garments": SMALL.images}, TypeError, "garments=float32 .*: must be a LabelledImages"),
        ({"garments": RGB}, ValueError, r"\(2, 3, 14, 14\), must be \(1 to 40, 1, S, S\)"),
        ({"garments": SMALL[:0]}, ValueError, "must be .1 to 40"),
        ({"garments": FEW}, ValueError, "garments: 2 classes, must be 10"),
        ({"garments": LOUD}, ValueError, "garments: images must be from 0 to 1"),
        ({"garment": 9}, ValueError, "garment=9: must be ≤ 8"),
        ({"epsilon": 49}, ValueError, "epsilon=49: must be ≥ 0 and ≤ 48"),
        ({"epsilon": 0.1}, TypeError, "epsilon=0.1: must be an int"),
        ({"method": "cw"}, ValueError, "method='cw': must be one of 'noise', 'fgsm', 'pgd'"),
        ({"steps": 0}, ValueError, "steps=0: must be ≥ 1 and ≤ 20"),
        ({"step_size": 2}, ValueError, "step_size=2: must be ≥ 0.05 and ≤ 1.25"),
        ({"random_start": 1}, TypeError, "random_start=1: must be True or False"),
        ({"target": 10}, ValueError, "target=10: must be ≥ -1 and ≤ 9"),
        ({"step": -1}, ValueError, "step=-1: must be ≥ 0"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        AdversarialExplorer(**{"models": dense(), "garments": SMALL, **arguments})


def test_the_picture_has_bars_of_each_network() -> None:
    models = {"<plain>": dense(), "robust": dense()}
    svg = ElementTree.fromstring(AdversarialExplorer(models, SMALL).picture())
    texts = [text.text for text in svg if text.tag.endswith("text")]
    assert texts == [*TEST.classes, "<plain>", "robust"]
    bars = [path for path in svg if path.get("d", "").count("v6H") == 10]
    assert len(bars) == 4


# ---- The figure in a browser ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained() -> dict[str, nn.Sequential]:
    """Two linear networks, the second one from garments with noise."""
    images, labels = avg_pool2d(TEST.images[:1000], 2), TEST.labels[:1000]
    models = {}
    for name, noise in (("plain", 0), ("noisy", 0.3)):
        torch.manual_seed(0)
        models[name] = dense()
        optimizer = torch.optim.Adam(models[name].parameters(), 0.01)
        for _ in range(60):
            optimizer.zero_grad()
            cross_entropy(
                models[name](images + noise * torch.randn_like(images)), labels
            ).backward()
            optimizer.step()
    return models


def said(explorer: AdversarialExplorer) -> str:
    """The first line that the figure must say."""
    own, told, most = explorer.labels[explorer.garment], [], 0.0
    with torch.no_grad():
        for name, model in explorer.networks.items():
            changed = explorer.changed[name]
            shares = model(torch.cat([explorer.original, changed])).softmax(1)
            best = [f"{TEST.classes[int(p.argmax())]} {100 * p.max():.0f} %" for p in shares]
            told.append(f"{name}: {best[0]} → {best[1]}")
            most = max(most, 255 * (changed - explorer.original).abs().max().item())
    steps = min(explorer.step, explorer.steps if explorer.method == "pgd" else 1)
    return (
        f"Garment {explorer.garment + 1}, {TEST.classes[own]}. {'; '.join(told)}; after {steps} "
        f"step{'' if steps == 1 else 's'}, no pixel changed by more than {round(most, 1):g} of 255."
    )


def counted(explorer: AdversarialExplorer) -> list[int]:
    """How many garments each network gets right, after all steps."""
    garment, step = explorer.garment, explorer.step
    right = [0] * len(explorer.networks)
    explorer.step = 20
    for each, label in enumerate(explorer.labels):
        explorer.garment = each
        for i, (name, model) in enumerate(explorer.networks.items()):
            right[i] += model(explorer.changed[name]).argmax().item() == label
    explorer.garment, explorer.step = garment, step
    return right


def await_counts(page: Page) -> None:
    """Wait until all work on the first state is done."""
    page.wait_for_function("document.querySelectorAll('.d2-readout')[1].textContent")
    settle(page)


def test_every_control_does_what_python_does(show: Callable, trained: dict) -> None:
    explorer = AdversarialExplorer(trained, SMALL)
    page = show(explorer)

    def agree() -> None:
        first, second = page.locator(".d2-readout").all()
        expect(first).to_have_text(said(explorer))
        numbers = ".*".join(f"gets {n} right" for n in counted(explorer))
        expect(second).to_have_text(re.compile(numbers))

    agree()
    page.get_by_role("button", name="garment 4").click()
    explorer.garment = 3
    agree()
    slide(page, "Budget", 16)
    slide(page, "Step size", 0.5)
    slide(page, "Steps in all", 5)
    slide(page, "Steps done", 3)
    explorer.epsilon, explorer.step_size, explorer.steps, explorer.step = 16, 0.5, 5, 3
    agree()
    page.get_by_label("Toward").select_option("Bag")
    explorer.target = 8
    agree()
    page.get_by_label("random start").check()
    page.get_by_role("button", name="Other noise").click()
    explorer.random_start, explorer.seed = True, 1
    agree()
    page.get_by_label("Method").select_option("noise")
    expect(page.get_by_label("Toward")).to_be_hidden()
    explorer.method = "noise"
    agree()
    page.get_by_label("Method").select_option("fgsm")
    expect(page.get_by_label("Steps in all")).to_be_hidden()
    explorer.method = "fgsm"
    agree()


def test_it_goes_step_by_step_and_plays(show: Callable, trained: dict) -> None:
    explorer = AdversarialExplorer(trained["plain"], SMALL, steps=4, step=0)
    page = show(explorer)
    done = page.get_by_label("Steps done")
    expect(page.get_by_role("status").first).to_contain_text("The network:")
    page.get_by_role("button", name="Step", exact=True).press("Enter")
    expect(done).to_have_value("1")
    play = page.get_by_role("button", name="Play")
    play.press("Space")
    expect(done).to_have_value("4")
    expect(play).to_have_text("Play")
    expect(page.get_by_role("button", name="Step", exact=True)).to_be_disabled()
    page.emulate_media(reduced_motion="reduce")
    done.fill("0")
    play.click()
    settle(page)
    expect(done).to_have_value("4")


def test_charts_are_pressed(show: Callable, trained: dict) -> None:
    page = show(AdversarialExplorer(trained, SMALL, epsilon=0))
    await_counts(page)
    for name, slider, value in (("The loss", "Steps done", "5"), ("How many", "Budget", "24")):
        svg = page.get_by_role("img", name=name)
        svg.scroll_into_view_if_needed()
        box = svg.bounding_box()
        page.mouse.click(box["x"] + (44 + box["width"] - 18) / 2, box["y"] + 80)
        settle(page)
        expect(page.get_by_role("slider", name=slider)).to_have_value(value)


def test_marks_and_names_say_which_garments_are_right(show: Callable, trained: dict) -> None:
    explorer = AdversarialExplorer(trained, SMALL, epsilon=12)
    page = show(explorer)
    await_counts(page)
    buttons = page.get_by_role("group", name="Garments").get_by_role("button")
    names = [each.get_attribute("aria-label") for each in buttons.all()]
    right = [sum(f"{model} right" in name for name in names) for model in trained]
    assert right == counted(explorer)
    marks = [path.get_attribute("d") for path in page.locator(".d2-thumb path").all()]
    assert [len(marks), sum("a" in mark for mark in marks)] == [18, sum(right)]  # arcs: dots
    expect(buttons.first).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_is_legible_and_accessible(
    show: Callable, trained: dict, width: int, theme: str
) -> None:
    explorer = AdversarialExplorer(trained, SMALL, random_start=True)
    page = show(explorer, theme=theme, width=width)
    assert_legible_and_accessible(page, "document.querySelectorAll('.d2-readout')[1].textContent")
