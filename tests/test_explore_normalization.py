"""The normalization explorer: its arithmetic against PyTorch, its traits, the figure."""

import random
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
import torch.nn.functional as F
from conftest import assert_legible_and_accessible, settle, slide
from playwright.sync_api import Page, expect
from torch import Tensor

from d2lite.explore.normalization import NormalizationExplorer, divisors
from d2lite.norm import normalize

METHODS = ["batch", "layer", "instance", "group"]
AXES = {"batch": (0, 2), "layer": (1, 2), "instance": (2,)}


def random_state(rng: random.Random, method: str) -> dict:
    """A state in which each mean is of two numbers or more."""
    N, C, P = rng.randint(1, 4), rng.randint(1, 6), rng.randint(1, 4)
    groups = rng.choice(divisors(C))
    if {"batch": N * P, "layer": C * P, "instance": P, "group": C // groups * P}[method] < 2:
        return random_state(rng, method)
    scale = 10 ** rng.uniform(-2, 3)

    def vector(low: float, high: float) -> list[float]:
        return [rng.uniform(low, high) for _ in range(C)]

    return {
        "values": [[[rng.gauss(c, scale) for _ in range(P)] for c in range(C)] for _ in range(N)],
        "method": method,
        "groups": groups,
        "weight": vector(-2, 2),
        "bias": vector(-2, 2),
        "running_mean": vector(-3, 3),
        "running_var": vector(0, 9),
        "momentum": rng.random(),
        "mode": rng.choice(["train", "eval"]),
        "selected": [rng.randrange(N), rng.randrange(C), rng.randrange(P)],
    }


RNG = random.Random(0)
STATES = [random_state(RNG, METHODS[case % 4]) for case in range(600)]


def double(numbers: Any) -> Tensor:
    return torch.as_tensor(numbers, dtype=torch.float64)


def close(actual: Any, expected: Any) -> None:
    torch.testing.assert_close(double(actual), expected, rtol=1e-9, atol=1e-9)


def torch_output(state: dict, running: tuple[Tensor, Tensor], eps: float) -> Tensor:
    """PyTorch's own layer; in training, batch_norm changes ``running`` in place."""
    x, weight, bias = (double(state[name]) for name in ("values", "weight", "bias"))
    if state["method"] == "batch":
        training = state["mode"] == "train"
        return F.batch_norm(x, *running, weight, bias, training, state["momentum"], eps)
    if state["method"] == "layer":
        each = (vector[:, None].expand(x.shape[1:]) for vector in (weight, bias))
        return F.layer_norm(x, x.shape[1:], *each, eps)
    if state["method"] == "instance":
        return F.instance_norm(x, weight=weight, bias=bias, eps=eps)
    return F.group_norm(x, state["groups"], weight, bias, eps)


# ---- Arithmetic ----------------------------------------------------------------------------------


@pytest.mark.parametrize("eps", [1e-5, 0.5])
def test_output_and_running_statistics_are_pytorchs(javascript: Callable, eps: float) -> None:
    found = javascript(NormalizationExplorer, "normalize", [[s, eps] for s in STATES])
    steps = javascript(NormalizationExplorer, "step", [[s] for s in STATES])
    stepped = 0
    for state, ours, after in zip(STATES, found, steps, strict=True):
        running = double(state["running_mean"]), double(state["running_var"])
        close(ours["output"], torch_output(state, running, eps))
        if state["method"] == "batch" and state["mode"] == "train":
            close(after["running_mean"], running[0])
            close(after["running_var"], running[1])
            stepped += 1
    assert stepped > 60


def test_sets_and_statistics_are_those_of_the_axes(javascript: Callable) -> None:
    """The means of ``normalize`` over the axes, spread out, are those of each number's set."""
    training = [{**state, "mode": "train"} for state in STATES]
    found = javascript(NormalizationExplorer, "normalize", [[state] for state in training])
    shapes = [[s["method"], s["groups"], len(s["values"]), len(s["values"][0])] for s in STATES]
    counts = javascript(NormalizationExplorer, "countOf", shapes)
    for state, ours, count in zip(training, found, counts, strict=True):
        x = double(state["values"])
        if state["method"] == "group":
            x = x.unflatten(1, (state["groups"], -1))
        normal, mean, variance = normalize(x, AXES.get(state["method"], (2, 3)))
        flat = {"start_dim": 1, "end_dim": 2} if state["method"] == "group" else None
        for numbers, expected in (("means", mean), ("variances", variance)):
            spread = expected.expand(x.shape)
            spread = spread.flatten(**flat) if flat else spread
            close(double(ours[numbers])[torch.tensor(ours["sets"])], spread[:, :, 0])
        close(ours["normal"], normal.flatten(**flat) if flat else normal)
        assert count == mean.numel() == len(ours["means"])
        assert ours["size"] * count == x.numel()


def test_python_agrees_on_output_and_sets(javascript: Callable) -> None:
    found = javascript(NormalizationExplorer, "normalize", [[state] for state in STATES])
    for state, ours in zip(STATES, found, strict=True):
        explorer = NormalizationExplorer(**state)
        close(ours["output"], explorer.output)
        N, C, _ = explorer.shape
        assert ours["sets"] == [[explorer.set_of(n, c) for c in range(C)] for n in range(N)]


def test_five_images_of_ten_channels_have_these_means(javascript: Callable) -> None:
    cases = [[method, 2, 5, 10] for method in METHODS]
    assert javascript(NormalizationExplorer, "countOf", cases) == [10, 5, 50, 10]


def test_javascript_and_python_agree_on_another_shape(javascript: Callable) -> None:
    rng = random.Random(1)
    sizes = [[rng.randint(1, 4), rng.randint(1, 6), rng.randint(1, 4)] for _ in STATES]
    resized = javascript(
        NormalizationExplorer,
        "resize",
        [[s["values"], *size] for s, size in zip(STATES, sizes, strict=True)],
    )
    agreed = javascript(
        NormalizationExplorer, "agree", [list(pair) for pair in zip(STATES, resized, strict=True)]
    )
    for state, size, values, after in zip(STATES, sizes, resized, agreed, strict=True):
        explorer = NormalizationExplorer(**state)
        explorer.values = values
        assert list(explorer.shape) == size
        assert explorer.get_state(list(after)) == after
        kept = [min(pair) for pair in zip(size, double(state["values"]).shape, strict=True)]
        N, C, P = kept
        assert torch.equal(double(values)[:N, :C, :P], double(state["values"])[:N, :C, :P])


# ---- Traits --------------------------------------------------------------------------------------


def test_a_tensor_will_do() -> None:
    explorer = NormalizationExplorer(values=torch.ones(2, 6, 3), groups=3)
    assert explorer.shape == (2, 6, 3)
    assert explorer.weight == [1.0] * 6
    explorer.weight = torch.arange(6)
    assert explorer.weight == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    explorer.values = torch.ones(1, 4, 1)
    assert (explorer.weight, explorer.groups) == ([0.0, 1.0, 2.0, 3.0], 2)


def test_a_change_of_shape_is_observed_in_all_that_it_changes() -> None:
    explorer = NormalizationExplorer(selected=[2, 3, 1])
    seen: dict[str, Any] = {}
    explorer.observe(lambda change: seen.update({change["name"]: change["new"]}))
    explorer.values = [[[1, 2], [3, 4], [5, 6]]]
    assert seen == {
        "values": [[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]],
        "weight": [1.0] * 3,
        "bias": [0.0] * 3,
        "running_mean": [0.0] * 3,
        "running_var": [1.0] * 3,
        "groups": 1,
        "selected": [0, 2, 1],
    }


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"values": 3}, TypeError, "values=3: must be a list of images"),
        ({"values": []}, ValueError, r"values=\[\]: 0 images, must be between 1 and 4"),
        ({"values": torch.ones(2, 7, 1)}, ValueError, "values=.*: 7 channels, must be between 1"),
        ({"values": torch.ones(2, 2, 5)}, ValueError, "values=.*: 5 places, must be between"),
        ({"values": [[[1]], [[1], [2]]]}, ValueError, "values=.*: must have as many channels"),
        ({"values": [[["a"]]]}, TypeError, "='a': must be a number"),
        ({"values": [[[float("nan")]]]}, ValueError, "=nan: must be finite"),
        ({"method": "ghost"}, ValueError, "method='ghost': must be one of 'batch', 'layer'"),
        ({"groups": 3}, ValueError, "groups=3: must divide 4 channels: 1, 2, 4"),
        ({"weight": [1, 2]}, ValueError, "weight: 2 numbers, must be 4, one for each channel"),
        ({"bias": [True] * 4}, TypeError, r"bias=.*: \[0\]=True: must be a number"),
        ({"running_var": [1, 1, 1, -1]}, ValueError, r"running_var=.*: \[3\]=-1: must be ≥ 0"),
        ({"momentum": 1.5}, ValueError, "momentum=1.5: must be ≥ 0 and ≤ 1"),
        ({"mode": "test"}, ValueError, "mode='test': must be one of 'train', 'eval'"),
        ({"selected": [3, 0, 0]}, ValueError, r"selected=\[3, 0, 0\]: must be inside the values"),
        ({"selected": [0, 0]}, TypeError, r"selected=\[0, 0\]: must be \[image, channel, place\]"),
        ({"size": 3}, TypeError, "size: no such argument"),
    ],
)
def test_bad_arguments_are_named(arguments: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        NormalizationExplorer(**arguments)


def test_a_mean_of_one_number_is_refused_by_output() -> None:
    explorer = NormalizationExplorer(values=torch.ones(2, 2, 1), method="instance")
    with pytest.raises(ValueError, match="more than 1 value"):
        _ = explorer.output


# ---- Still picture -------------------------------------------------------------------------------


@pytest.mark.parametrize("state", STATES[:12])
def test_the_picture_names_the_mean_of_each_channel(state: dict) -> None:
    explorer = NormalizationExplorer(**state)
    svg = ElementTree.fromstring(explorer.picture())
    names = [text.text for text in svg.iter("text")]
    N, C, _ = explorer.shape
    assert names == [f"mean {explorer.set_of(n, c)}" for n in range(N) for c in range(C)]
    assert "#" not in explorer.picture(), "colours only by the theme's variables"


# ---- The figure in a browser ---------------------------------------------------------------------


def x(page: Page, image: int, channel: int, place: int) -> Any:
    return page.get_by_label(f"image {image}, channel {channel}, place {place}", exact=True).first


def members(page: Page) -> int:
    """Cells of the input in the highlighted set."""
    return page.locator("td.member:has(input)").count()


def test_it_says_how_many_means_there_are(show: Callable) -> None:
    page = show(NormalizationExplorer())
    expect(page.get_by_role("figure", name="Normalization explorer")).to_be_visible()
    status = page.get_by_role("status")
    expect(status).to_contain_text("4 means and 4 variances, each of 6 numbers: those of a channel")
    expect(status).to_contain_text("The number 1 (image 0, channel 0, place 0) is in set 0, of ")
    expect(status).to_contain_text("mean 2 and variance 1.67; it becomes −0.77, and with γ and β")
    assert members(page) == 6
    page.get_by_role("radio", name="Layer").check()
    expect(status).to_contain_text("3 means and 3 variances, each of 8 numbers: those of all 4")
    assert members(page) == 8
    page.get_by_role("radio", name="Instance").check()
    expect(status).to_contain_text("12 means and 12 variances, each of 2 numbers: those of a")
    page.get_by_role("radio", name="Group").check()
    expect(status).to_contain_text("6 means and 6 variances, each of 4 numbers: those of 2")
    slide(page, "Groups g", 2)
    expect(page.get_by_text("the sets of instance normalization")).to_be_visible()
    slide(page, "Groups g", 0)
    expect(page.get_by_text("One group: the sets of layer normalization.")).to_be_visible()
    slide(page, "Channels C", 6)
    slide(page, "Groups g", 2)
    expect(status).to_contain_text("9 means and 9 variances, each of 4 numbers")
    expect(page.get_by_text("6 means", exact=True)).to_be_visible()  # of batch normalization


def test_numbers_are_typed_and_the_others_answer(show: Callable) -> None:
    page = show(NormalizationExplorer(values=[[[0, 2], [5, 5]], [[0, 2], [7, 7]]]))
    status = page.get_by_role("status")
    outputs = page.get_by_label("output y").locator("td:not(.d2-set)")
    before = outputs.all_inner_texts()
    x(page, 1, 0, 1).fill("10")
    expect(status).to_contain_text("The number 10 (image 1, channel 0, place 1) is in set 0, of ")
    expect(status).to_contain_text("mean 3 and")
    after = outputs.all_inner_texts()
    changed = [b != a for b, a in zip(before, after, strict=True)]
    assert any(changed[: len(changed) // 2])
    page.keyboard.press("Escape")
    expect(status).to_contain_text("mean 1 and variance 1")
    page.get_by_role("radio", name="Layer").check()
    settle(page)
    before = outputs.all_inner_texts()
    x(page, 1, 0, 1).fill("−1,5")
    expect(status).to_contain_text("The number −1.5 (image 1,")
    after = outputs.all_inner_texts()
    half = len(before) // 2
    assert before[:half] == after[:half] and before[half:] != after[half:]
    x(page, 0, 0, 0).fill("a")
    expect(x(page, 0, 0, 0)).to_have_attribute("aria-invalid", "true")


def test_the_keyboard_does_everything(show: Callable) -> None:
    page = show(NormalizationExplorer())
    status = page.get_by_role("status")
    page.get_by_role("radio", name="Batch").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="Layer")).to_be_checked()
    x(page, 0, 0, 0).focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    expect(x(page, 1, 1, 0)).to_be_focused()
    expect(status).to_contain_text("(image 1, channel 1, place 0) is in set 1")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowUp")
    expect(status).to_contain_text("(image 0, channel 1, place 1)")
    page.keyboard.press("Tab")
    expect(page.get_by_label("γ, channel 0")).to_be_focused()
    page.keyboard.type("3")
    page.keyboard.press("Enter")
    expect(page.get_by_label("β, channel 0")).to_be_focused()
    page.keyboard.type("0.5")
    x(page, 0, 0, 0).focus()
    expect(page.locator("math").last).to_contain_text("0.5")


def test_pointing_at_a_number_shows_its_set(show: Callable) -> None:
    page = show(NormalizationExplorer(method="instance"))
    status = page.get_by_role("status")
    x(page, 2, 3, 1).hover()
    expect(status).to_contain_text("image 2, channel 3, place 1) is in set 11")
    assert members(page) == 2
    page.mouse.move(2, 2)
    expect(status).to_contain_text("image 0, channel 0, place 0) is in set 0")
    page.get_by_label("output y").locator("td.d2-set").last.hover()
    expect(status).to_contain_text("is in set 0")  # a set's name is no number
    page.get_by_label("output y").locator("td").last.click()
    page.mouse.move(2, 2)
    expect(status).to_contain_text("image 2, channel 3, place 1) is in set 11")


def test_training_steps_and_evaluation(show: Callable) -> None:
    values = [[[0, 2]], [[4, 6]]]  # mean 3, variance 5, unbiased 20/3
    page = show(NormalizationExplorer(values=values, momentum=0.5, selected=[1, 0, 1]))
    status, step = page.get_by_role("status"), page.get_by_role("button", name="One training step")
    expect(status).to_contain_text("it becomes 1.34")
    step.click()
    expect(page.get_by_label("running mean, channel 0")).to_have_value("1.5")
    expect(page.get_by_label("running var., channel 0")).to_have_value("3.83")
    expect(status).to_contain_text("it becomes 1.34")  # training does not look at them
    page.get_by_role("radio", name="eval").check()
    expect(status).to_contain_text("No mean is computed from these images")
    expect(status).to_contain_text("takes 1.5 and 3.83; it becomes 2.3,")
    expect(step).to_be_disabled()
    page.get_by_label("running var., channel 0").fill("-4")
    expect(page.get_by_label("running var., channel 0")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("running var., channel 0").fill("4")
    page.get_by_label("running mean, channel 0").fill("2")
    expect(status).to_contain_text("takes 2 and 4; it becomes 2, and")
    page.get_by_role("button", name="Reset running").click()
    expect(status).to_contain_text("takes 0 and 1; it becomes 6,")
    page.get_by_role("radio", name="Group").check()
    expect(step).to_be_hidden()
    expect(page.get_by_label("running mean, channel 0")).to_have_count(0)


def test_a_mean_of_one_number(show: Callable) -> None:
    page = show(NormalizationExplorer(method="instance"))
    slide(page, "Places", 1)
    expect(page.get_by_text("A mean of one number is that number")).to_be_visible()
    page.get_by_role("radio", name="Batch").check()
    slide(page, "Images", 1)
    expect(page.get_by_text("A mean of one number is that number")).to_be_visible()
    expect(page.get_by_role("button", name="One training step")).to_be_disabled()


def test_new_numbers_and_reset(show: Callable) -> None:
    page = show(NormalizationExplorer(method="layer"))
    fields = page.get_by_label("input x").locator("input")

    def typed() -> list[str]:
        return [fields.nth(i).input_value() for i in range(fields.count())]

    first = typed()
    page.get_by_role("button", name="New numbers").click()
    page.wait_for_function("document.querySelector('.d2-readout')")
    expect(page.get_by_role("status")).not_to_contain_text("mean 2.63 and variance 3.48")
    assert typed() != first
    page.get_by_role("button", name="Reset all").click()
    expect(page.get_by_role("status")).to_contain_text("mean 2.63 and variance 3.48")
    assert typed() == first


def test_two_views_share_one_state(show: Callable) -> None:
    page = show(NormalizationExplorer(), views=2)
    page.get_by_role("radio", name="Group").first.check()
    slide(page, "Images", 2)
    for view in range(2):
        expect(page.get_by_role("radio", name="Group").nth(view)).to_be_checked()
        expect(page.get_by_role("status").nth(view)).to_contain_text("4 means and 4 variances")


EXAMPLES = [
    {"method": "batch"},
    {"method": "layer", "selected": [1, 2, 1]},
    {"method": "instance", "values": torch.arange(96).reshape(4, 6, 4) - 40.5},
    {"method": "group", "values": torch.arange(24).reshape(4, 6, 1) ** 2 / 7, "groups": 3},
    {"mode": "eval", "values": [[[3]]], "running_mean": [-0.25], "weight": [-1], "bias": [2]},
]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("settings", EXAMPLES, ids=lambda s: s.get("method", "eval"))
def test_it_is_legible_and_accessible(show: Callable, settings: dict, theme: str) -> None:
    page = show(NormalizationExplorer(**settings), theme=theme)
    assert_legible_and_accessible(page)
