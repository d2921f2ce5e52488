"""The optimizer explorer: its arithmetic against d2lite.optim and autograd, and the figure."""

import json
import random
import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from conftest import assert_legible_and_accessible
from playwright.sync_api import Page, expect

from d2lite import optim
from d2lite.explore.explorer import normals
from d2lite.explore.optimizer import (
    _DEFAULTS,
    _LANDSCAPES,
    LIMIT,
    STEPS,
    OptimizerExplorer,
)

TRAITS = ["landscape", "condition", "angle", "noise", "seed", "start", "optimizers"]
RACES_OF_EACH, STARTS = 3, 6


def random_explorers() -> list[OptimizerExplorer]:
    """Settings as the reader's sliders reach them, on all landscapes, with all seven optimizers."""
    rng = random.Random(0)
    explorers = []
    for landscape, view in _LANDSCAPES.items():
        for _ in range(RACES_OF_EACH):
            optimizers = {}
            for name, settings in _DEFAULTS.items():
                lr = view["lr"][name] * 10 ** rng.uniform(-1.5, 0.7)
                optimizers[name] = {"lr": lr} | {
                    setting: rng.choice([0, 0.01, 0.1]) if setting == "weight_decay"
                    else 1 - 10 ** rng.uniform(-2.5, -0.1)
                    for setting in settings
                }  # fmt: skip
            explorers.append(
                OptimizerExplorer(
                    landscape=landscape,
                    condition=10 ** rng.uniform(0, 3),
                    angle=rng.uniform(0, 90),
                    noise=rng.choice([0, 0.5, 2]),
                    seed=rng.randrange(2**31),
                    start=[rng.uniform(*view[axis]) for axis in "xy"],
                    optimizers=optimizers,
                )
            )
    return explorers


EXPLORERS = random_explorers()


def state(explorer: OptimizerExplorer) -> dict:
    return {name: getattr(explorer, name) for name in TRAITS}


# ---- Arithmetic ----------------------------------------------------------------------------------


def places_on(landscape: str, rng: random.Random) -> list[float]:
    return [rng.uniform(*_LANDSCAPES[landscape][axis]) for axis in "xy"]


def test_losses_and_gradients_equal_autograds(javascript: Callable) -> None:
    rng = random.Random(1)
    cases, losses, gradients = [], [], []
    for explorer in EXPLORERS:
        places = [places_on(explorer.landscape, rng) for _ in range(100)]
        w = torch.tensor(places, dtype=torch.float64, requires_grad=True)
        losses.append(explorer.loss(w))
        gradients.append(torch.autograd.grad(losses[-1].sum(), w)[0])
        cases += [[state(explorer), place] for place in places]
    assert len(cases) == 100 * RACES_OF_EACH * len(_LANDSCAPES) >= 1000
    for function, expected in (("lossAt", losses), ("gradientAt", gradients)):
        actual = javascript(OptimizerExplorer, function, cases)
        actual = torch.tensor(actual, dtype=torch.float64)
        torch.testing.assert_close(actual, torch.cat(expected).detach(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name, lowest", [("Rosenbrock", (1, 1)), ("Beale", (3, 0.5)),
                                          ("saddle", (0, -1)), ("ravine", (0, 0))])  # fmt: skip
def test_the_lowest_place_is_where_the_literature_has_it(name: str, lowest: tuple) -> None:
    w = torch.tensor(lowest, dtype=torch.float64, requires_grad=True)
    loss = OptimizerExplorer(landscape=name).loss(w)
    assert loss.item() == 0
    assert (torch.autograd.grad(loss, w)[0] == 0).all()


def test_the_condition_number_is_the_ratio_of_the_curvatures() -> None:
    explorer = OptimizerExplorer(condition=37, angle=25)
    hessian = torch.autograd.functional.hessian(explorer.loss, torch.ones(2, dtype=torch.float64))
    assert torch.linalg.eigvalsh(hessian).tolist() == pytest.approx([1, 37])


def by_d2lite(explorer: OptimizerExplorer, name: str, starts: list) -> torch.Tensor:
    """The places of one optimizer from many starts at once: (1 + steps, starts, 2)."""
    settings = dict(explorer.optimizers[name])
    if name in ("momentum", "Nesterov"):
        make, settings["nesterov"] = optim.SGD, name == "Nesterov"
    else:
        make = getattr(optim, {"AdaGrad": "Adagrad", "RMSProp": "RMSprop"}.get(name, name))
    if "beta1" in settings:
        settings["betas"] = settings.pop("beta1"), settings.pop("beta2")
    w = torch.tensor(starts, dtype=torch.float64, requires_grad=True)
    optimizer, places = make([w], **settings), [w.detach().clone()]
    for noise in torch.from_numpy(normals(explorer.seed, 0, 2 * STEPS).reshape(STEPS, 2)):
        optimizer.zero_grad()
        explorer.loss(w).sum().backward()
        w.grad += explorer.noise * noise
        optimizer.step()
        places.append(w.detach().clone())
    return torch.stack(places)


def until_it_diverges(path: torch.Tensor) -> torch.Tensor:
    good = (path.abs() <= LIMIT).all(1)
    return path[: int(good.int().cumprod(0).sum())]


def test_the_paths_are_those_of_d2lite(javascript: Callable) -> None:
    """200 steps, on all landscapes, by all seven.

    Ways that agree to the last digits may part where a way is chaotic. Those that the oracle itself
    cannot follow, because a start moved by 1e-12 changes it, are left out: a few.
    """
    rng = random.Random(2)
    cases, expected, chaotic = [], [], 0
    for explorer in EXPLORERS:
        starts = [places_on(explorer.landscape, rng) for _ in range(STARTS)]
        moved = [[w + 1e-12 for w in start] for start in starts]
        for name in _DEFAULTS:
            paths = by_d2lite(explorer, name, starts + moved).unbind(1)
            paths = [until_it_diverges(path) for path in paths]
            for start, path, other in zip(starts, paths[:STARTS], paths[STARTS:], strict=True):
                if len(path) != len(other) or not torch.allclose(path, other, 1e-7, 1e-7):
                    chaotic += 1
                    continue
                cases.append([state(explorer) | {"start": start}, name])
                expected.append(path)
    diverged = 0
    ways = javascript(OptimizerExplorer, "race", cases)
    for (settings, name), way, path in zip(cases, ways, expected, strict=True):
        actual = torch.tensor(way["places"], dtype=torch.float64)
        assert actual.shape == path.shape, (name, settings)
        torch.testing.assert_close(actual, path, rtol=1e-5, atol=1e-5)
        assert way["diverged"] == (None if len(path) == STEPS + 1 else len(path))
        diverged += len(path) <= STEPS
    assert len(cases) >= 500 and chaotic < 0.05 * len(cases) and diverged > 10


def test_the_paths_in_python_are_the_same(javascript: Callable) -> None:
    for explorer in EXPLORERS[::4]:
        cases = [[state(explorer), name] for name in _DEFAULTS]
        ways = javascript(OptimizerExplorer, "race", cases)
        for way, path in zip(ways, explorer.paths.values(), strict=True):
            steps = min(len(path), 20)
            actual = torch.tensor(way["places"][:steps], dtype=torch.float64)
            torch.testing.assert_close(actual, path[:steps], rtol=1e-5, atol=1e-5)
            assert abs(len(way["places"]) - len(path)) <= 1


def test_the_lengths_of_the_steps(javascript: Callable) -> None:
    explorer = OptimizerExplorer(optimizers={"SGD": {"lr": 0.01}, "Adam": {"lr": 0.1}}, noise=1)
    ways = javascript(OptimizerExplorer, "race", [[state(explorer), n] for n in ("SGD", "Adam")])
    steps = javascript(OptimizerExplorer, "lengths", [[way, "step"] for way in ways])
    rates = javascript(OptimizerExplorer, "lengths", [[way, "rate"] for way in ways])
    for way, lengths in zip(ways, steps, strict=True):
        moves = torch.tensor(way["places"]).diff(dim=0).abs()
        torch.testing.assert_close(torch.tensor(lengths), moves, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(torch.tensor(rates[0]), torch.full((200, 2), 0.01))
    assert torch.tensor(steps[1][0]).tolist() == pytest.approx([0.1, 0.1])  # Adam's first is lr
    still = {"places": [[0, 0], [0, 1]], "gradients": [[0, -4]]}
    assert javascript(OptimizerExplorer, "lengths", [[still, "rate"]]) == [[[None, 0.25]]]


def test_the_area_below_a_level(javascript: Callable) -> None:
    """Of a plane it is exact; of anything, all areas and lines lie between the grid's points."""

    def size(area: list) -> float:
        def shoelace(polygon: list) -> float:
            pairs = zip(polygon, polygon[1:] + polygon[:1], strict=True)
            return sum(a * d - b * c for (a, b), (c, d) in pairs) / 2

        return sum(map(shoelace, area))

    plane = [[2 * x + y for x in range(11)] for y in range(11)]
    levels = [-1, 4, 7.5, 12, 30]
    found = javascript(OptimizerExplorer, "contour", [[plane, level] for level in levels])
    assert [size(each["area"]) for each in found] == pytest.approx([0, 4, 14.0625, 35, 100])
    for level, each in zip(levels, found, strict=True):
        for segment in each["line"]:
            assert [2 * x + y for x, y in segment] == pytest.approx([level, level])
    torch.manual_seed(0)
    rough = torch.rand(20, 30)
    (each,) = javascript(OptimizerExplorer, "contour", [[rough.tolist(), 0.5]])
    assert 0.45 < size(each["area"]) / (19 * 29) < 0.55


@pytest.mark.parametrize(
    "traits, words",
    [
        (
            {"optimizers": {"SGD": {"lr": 0.5}}, "condition": 1, "start": (2, -1), "step": 1},
            "After 1 step SGD is at (1, −0.5), loss 0.625.",
        ),
        (
            {
                "optimizers": {"SGD": {"lr": 5}, "momentum": {"lr": 0.01}},
                "condition": 1,
                "start": (1, 1),
                "step": 10,
            },
            "After 10 steps momentum is first. SGD has diverged, at step 5; momentum is at ",
        ),
        ({"optimizers": ["SGD", "Adam"], "step": 0}, "After 0 steps all are level. SGD is at (−4"),
        (
            {"optimizers": {"SGD": {"lr": 9}, "momentum": {"lr": 9}}, "step": 200},
            "After 200 steps nobody is left.",
        ),
    ],
)
def test_the_reading(javascript: Callable, traits: dict, words: str) -> None:
    explorer = OptimizerExplorer(**traits)
    (said,) = javascript(
        OptimizerExplorer, "reading", [[state(explorer) | {"step": traits["step"]}]]
    )
    assert said.startswith(words), said


# ---- Traits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "value", "error", "message"),
    [
        ("landscape", "hill", ValueError, "landscape='hill': must be one of 'ravine', 'saddle'"),
        ("condition", 0.5, ValueError, "condition=0.5: must be ≥ 1 and ≤ 1000"),
        ("condition", "20", TypeError, "condition='20': must be a number"),
        ("condition", float("nan"), ValueError, "condition=nan: must be ≥ "),
        ("angle", 91, ValueError, "angle=91: must be ≥ 0 and ≤ 90"),
        ("noise", -1, ValueError, "noise=-1: must be ≥ 0 and ≤ 100"),
        ("seed", 1.5, TypeError, "seed=1.5: must be an int"),
        ("start", (1,), ValueError, r"start=\(1,\): 1 numbers, must be two"),
        ("start", 3, TypeError, r"start=3: must be two numbers, such as \(-4, 2\)"),
        (
            "start",
            (1, 1000),
            ValueError,
            r"start=\(1, 1000\): \[1\]=1000: must be ≥ -100 and ≤ 100",
        ),
        ("optimizers", "SGD", TypeError, "optimizers='SGD': must be names, or a dict"),
        ("optimizers", [], ValueError, r"optimizers=\[\]: must name one"),
        (
            "optimizers",
            ["Lion"],
            ValueError,
            r"optimizers=\['Lion'\]: name='Lion': must be one of 'SGD',",
        ),
        ("optimizers", {"SGD": 0.1}, TypeError, "SGD=0.1: must be a Mapping"),
        ("optimizers", {"SGD": {"momentum": 0.9}}, TypeError, "momentum: must be of lr"),
        ("optimizers", {"SGD": {"lr": 0}}, ValueError, "SGD.lr=0: must be ≥ 1e-06"),
        ("optimizers", {"Adam": {"beta1": 1}}, ValueError, r"beta1=1: must be ≥ 0 and ≤"),
        ("optimizers", {"Nesterov": {"momentum": 0}}, ValueError, "momentum=0: must be > 0"),
        ("step", 201, ValueError, "step=201: must be ≥ 0 and ≤ 200"),
        ("selected", "sgd", ValueError, "selected='sgd': must be one of 'SGD',"),
        ("measure", "length", ValueError, "measure='length': must be one of 'step', 'rate'"),
        ("learning_rate", 0.1, TypeError, "learning_rate: no such argument"),
    ],
)
def test_bad_arguments_are_named(argument: str, value: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        OptimizerExplorer(**{argument: value})


@pytest.mark.parametrize("landscape", _LANDSCAPES)
def test_what_is_not_given_suits_the_landscape(landscape: str) -> None:
    explorer = OptimizerExplorer(landscape=landscape, optimizers=list(_DEFAULTS))
    view = _LANDSCAPES[landscape]
    assert (explorer.start, explorer.noise) == (list(view["start"]), view["noise"])
    for name, settings in explorer.optimizers.items():
        assert settings == {"lr": view["lr"][name], **_DEFAULTS[name]}
    for path in explorer.paths.values():
        assert len(path) == STEPS + 1
        assert explorer.loss(path[-1]) < explorer.loss(path[0])


def test_the_defaults_are_pytorchs() -> None:
    for name, settings in _DEFAULTS.items():
        twin = {"AdaGrad": "Adagrad", "RMSProp": "RMSprop"}.get(name, name)
        if name in ("momentum", "Nesterov"):  # PyTorch's is 0, which is SGD
            continue
        theirs = dict(getattr(torch.optim, twin)([torch.zeros(1)]).defaults)
        theirs["beta1"], theirs["beta2"] = theirs.get("betas", (None, None))
        assert settings == {setting: theirs[setting] for setting in settings}


def test_traits_can_be_set_and_observed() -> None:
    explorer = OptimizerExplorer()
    heard: list[dict] = []
    explorer.observe(lambda change: heard.append(change["new"]), "optimizers")
    explorer.optimizers = {"Adam": {"lr": 0.5}}
    assert heard[-1] == {"Adam": {"lr": 0.5, **_DEFAULTS["Adam"]}}
    explorer.landscape, explorer.start = "saddle", (1, 0)
    assert explorer.start == [1, 0]
    with pytest.raises(ValueError, match="beta2=2"):
        explorer.optimizers = {"Adam": {"beta2": 2}}
    assert explorer.optimizers["Adam"]["beta2"] == 0.999
    assert "_landscapes" not in repr(explorer)


# ---- Still picture -------------------------------------------------------------------------------


def test_the_picture_shows_each_path() -> None:
    explorer = OptimizerExplorer(optimizers=["SGD", "Adam"], start=(5, 4), step=7)
    svg = ElementTree.fromstring(explorer.picture())
    paths = {path[0].text: path.get("d", "") for path in svg if len(path)}
    assert list(paths) == ["SGD", "Adam"]
    for path in paths.values():
        assert path.startswith("M400.0 0.0") and path.count("L") == 7
    assert len(svg) > 8 and "#" not in explorer.picture()


# ---- The figure in a browser ---------------------------------------------------------------------


def test_the_rate_decides(show: Callable) -> None:
    page = show(OptimizerExplorer(condition=20, optimizers={"SGD": {"lr": 0.05}}, step=200))
    expect(page.get_by_role("figure", name="Optimizer explorer")).to_be_visible()
    status = page.get_by_role("status")
    expect(status).to_contain_text("After 200 steps SGD is at (0, 0)")
    page.get_by_role("slider", name="SGD: lr").fill("-0.95")  # 10^-0.95 = 0.11 > 2/20
    expect(status).to_contain_text("SGD has diverged, at step")
    page.get_by_role("slider", name="SGD: lr").fill("-1.05")  # 0.089 < 2/20
    expect(status).to_contain_text("SGD is at (0, 0)")


def test_who_races(show: Callable) -> None:
    page = show(OptimizerExplorer(optimizers={"SGD": {"lr": 0.01}}))
    expect(page.get_by_role("checkbox", name="SGD")).to_be_disabled()  # the last one stays
    page.get_by_role("checkbox", name="Adam", exact=True).check()
    expect(page.get_by_role("slider", name="Adam: beta2")).to_have_value("0.999")
    expect(page.get_by_label("Whose steps")).to_have_value("Adam")
    expect(page.get_by_role("status")).to_contain_text("Adam is at")
    page.get_by_role("checkbox", name="SGD").uncheck()
    expect(page.get_by_role("slider", name="SGD: lr")).to_have_count(0)
    page.get_by_role("checkbox", name="SGD").check()
    lr = page.get_by_role("slider", name="SGD: lr")  # as it was left
    expect(lr).to_have_attribute("aria-valuetext", "0.01")
    expect(page.get_by_role("group")).to_have_count(3)  # SGD, Adam, and the boxes


def test_a_landscape_brings_its_start_and_rates(show: Callable) -> None:
    page = show(OptimizerExplorer(optimizers=["SGD", "Adam"], step=0))
    page.get_by_role("combobox", name="Landscape").select_option("Rosenbrock")
    expect(page.get_by_role("status")).to_contain_text("SGD is at (−1.5, 2.5)")
    expect(page.get_by_role("slider", name="Condition number")).to_have_count(0)
    rate = page.get_by_role("slider", name="SGD: lr")
    expect(rate).to_have_attribute("aria-valuetext", "4·10⁻⁴")
    page.get_by_role("combobox", name="Landscape").select_option("noisy bowl")
    expect(page.get_by_role("slider", name="Noise")).to_have_value("2")
    page.get_by_role("slider", name="Step").fill("50")
    status = page.get_by_role("status")
    expect(status).to_contain_text("After 50 steps")
    before = status.text_content()
    page.get_by_role("button", name="Other noise").click()
    expect(status).not_to_have_text(before)


def test_the_ridge_of_the_saddle(show: Callable) -> None:
    settings = {"landscape": "saddle", "optimizers": ["SGD", "momentum"], "step": 200}
    page = show(OptimizerExplorer(start=(-1.5, 0), **settings))
    status = page.get_by_role("status")
    expect(status).to_contain_text("SGD is at (0, 0), loss 0.25; momentum is at (0, 0), loss 0.25")
    page.get_by_role("slider", name="Noise").fill("0.1")
    expect(status).to_contain_text(", loss 0.0")


def test_by_keyboard_alone(show: Callable) -> None:
    page = show(OptimizerExplorer(optimizers=["SGD"], start=(0, 0), step=0))
    start = page.get_by_role("button", name="Start at (0, 0)")
    start.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Shift+ArrowUp")
    expect(page.get_by_role("status")).to_contain_text("SGD is at (0.25, 0.22)")
    expect(page.get_by_role("button", name="Start at (0.25, 0.22)")).to_be_focused()
    page.get_by_role("button", name="Step", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("After 1 step ")
    page.get_by_role("slider", name="Step").focus()
    page.keyboard.press("End")
    expect(page.get_by_role("status")).to_contain_text("After 200 steps")
    expect(page.get_by_role("button", name="Step", exact=True)).to_be_disabled()
    page.get_by_role("button", name="Reset").press("Enter")
    expect(page.get_by_role("status")).to_contain_text("After 0 steps")


def test_a_press_sets_the_start(show: Callable) -> None:
    page = show(OptimizerExplorer(optimizers=["SGD"], step=0))
    frame = page.locator(".d2-map > svg rect").bounding_box()
    page.mouse.move(frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 4)
    page.mouse.down()
    expect(page.get_by_role("status")).to_contain_text(re.compile(r"at \(0(\.01)?, (2|1\.99)\)"))
    page.mouse.move(frame["x"] + frame["width"] + 50, frame["y"] + frame["height"] / 2, steps=3)
    page.mouse.up()
    expect(page.get_by_role("button", name="Start at (")).to_be_visible()
    page.mouse.move(frame["x"] + 20, frame["y"] + 20)  # without a press
    expect(page.get_by_role("status")).not_to_contain_text("(−4")


def test_play_and_stillness(show: Callable) -> None:
    page = show(OptimizerExplorer(step=190))
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("After 200 steps")
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    page.emulate_media(reduced_motion="reduce")
    page.get_by_role("button", name="Reset").click()
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_role("slider", name="Step")).to_have_value("200")


def test_the_order_is_the_same_on_a_saved_page(show: Callable) -> None:
    """Jupyter sorts the entries of a saved trait by name."""
    explorer = OptimizerExplorer(optimizers=["Adam", "SGD", "momentum"])
    explorer.get_state = lambda: json.loads(
        json.dumps(type(explorer).get_state(explorer), sort_keys=True)
    )
    page = show(explorer)
    expect(page.locator(".d2-row:not([hidden]) .d2-name")).to_have_text(["SGD", "momentum", "Adam"])
    expect(page.locator("fieldset label")).to_have_text(list(_DEFAULTS))
    menu = page.get_by_role("combobox", name="Landscape")
    expect(menu.locator("option")).to_have_text(list(_LANDSCAPES))
    expect(page.get_by_role("status")).to_contain_text(re.compile("SGD.*momentum.*Adam is"))


def test_divergence_is_marked(show: Callable) -> None:
    page = show(OptimizerExplorer(optimizers={"SGD": {"lr": 1}, "Adam": {}}, step=200))
    crosses = page.locator("path[d='M-5 -5L5 5M-5 5L5 -5']")
    expect(crosses).to_have_count(1 + 1 + 2)  # on the map, and in the charts
    drawn = page.locator(".d2").inner_html()
    assert "NaN" not in drawn and "Infinity" not in drawn and "undefined" not in drawn


def test_two_views_share_one_state(show: Callable) -> None:
    page = show(OptimizerExplorer(optimizers=["SGD"], condition=20), views=2)
    page.get_by_role("slider", name="SGD: lr").first.fill("-1")
    for view in range(2):
        rate = page.get_by_role("slider", name="SGD: lr").nth(view)
        expect(rate).to_have_attribute("aria-valuetext", "0.1")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("landscape", ["ravine", "noisy bowl"])
def test_it_is_legible_and_accessible(show: Callable, landscape: str, theme: str) -> None:
    optimizers = list(_DEFAULTS) if landscape == "ravine" else ["SGD"]
    page: Page = show(OptimizerExplorer(landscape=landscape, optimizers=optimizers), theme=theme)
    assert_legible_and_accessible(
        page,
        "[...document.querySelectorAll('.d2-scene > * > svg')].every("
        "(svg) => svg.viewBox.baseVal.width === svg.getBoundingClientRect().width)",
    )
