"""The GAN explorer: both networks' steps against PyTorch, and the figure."""

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from conftest import assert_legible_and_accessible, settle, slide
from playwright.sync_api import Page, expect
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, relu

from d2lite.explore import GANExplorer
from d2lite.explore.gan import DEVIATION, MODES, RADIUS

ANGLES = torch.arange(MODES).double() * 2 * torch.pi / MODES
CENTERS = RADIUS * torch.stack([ANGLES.cos(), ANGLES.sin()], 1)
SETTINGS = ["loss", "lr_generator", "lr_discriminator", "discriminator_steps", "seed"]


def settings(**changes: Any) -> dict[str, Any]:
    explorer = GANExplorer(**changes)
    return {name: getattr(explorer, name) for name in SETTINGS}


# ---- The same in PyTorch -------------------------------------------------------------------------


def build(outputs: int, activation: nn.Module, values: list[float]) -> nn.Sequential:
    """Dense layers 2 → 32 → 32 → outputs with the figure's weights, in double precision."""
    sizes, rest = [2, 32, 32, outputs], torch.tensor(values, dtype=torch.float64)
    layers: list[nn.Module] = []
    for inputs, units in pairwise(sizes):
        layer = nn.Linear(inputs, units).double()
        weight, bias, rest = rest.split([inputs * units, units, len(rest) - (inputs + 1) * units])
        with torch.no_grad():
            layer.weight.copy_(weight.view(inputs, units).T)
            layer.bias.copy_(bias)
        layers += [layer, activation]
    assert not len(rest)
    return nn.Sequential(*layers[:-1])


def listed(model: nn.Sequential, gradients: bool = False) -> Tensor:
    """All numbers in the figure's order."""
    rows = [p.grad if gradients else p.detach() for p in model.parameters()]
    return torch.cat([row.T.flatten() for row in rows])


def cross_entropy(scores: Tensor, target: float) -> Tensor:
    return binary_cross_entropy_with_logits(scores, torch.full_like(scores, target))


LOSSES: dict[str, tuple[Callable, Callable]] = {
    "non-saturating": (
        lambda real, made: cross_entropy(real, 1) + cross_entropy(made, 0),
        lambda made: -made.sigmoid().log().mean(),
    ),
    "saturating": (
        lambda real, made: cross_entropy(real, 1) + cross_entropy(made, 0),
        lambda made: (1 - made.sigmoid()).log().mean(),
    ),
    "hinge": (
        lambda real, made: relu(1 - real).mean() + relu(1 + made).mean(),
        lambda made: -made.mean(),
    ),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("more", [{}, {"discriminator_steps": 3, "seed": 7, "lr_generator": 0.01}])
def test_steps_equal_pytorchs(javascript: Callable, loss: str, more: dict[str, Any]) -> None:
    given, steps = settings(loss=loss, **more), 25
    (found,) = javascript(GANExplorer, "trial", [[given, steps]])
    generator = build(2, nn.ReLU(), found["before"]["generator"])
    discriminator = build(1, nn.LeakyReLU(0.2), found["before"]["discriminator"])
    by_g, by_d = (
        torch.optim.Adam(model.parameters(), lr=given[f"lr_{name}"], betas=(0.5, 0.999))
        for name, model in (("generator", generator), ("discriminator", discriminator))
    )
    of_d, of_g = LOSSES[loss]
    batches = iter(found["batches"])
    noted: dict[str, list[float]] = {"discriminator": [], "generator": []}

    def points(name: str) -> Tensor:
        return torch.tensor(batch[name], dtype=torch.float64).view(64, 2)

    for step in range(steps):
        values = []
        for _ in range(given["discriminator_steps"]):
            batch = next(batches)
            made = generator(points("noise")).detach()
            value = of_d(discriminator(points("real")), discriminator(made))
            by_d.zero_grad()
            value.backward()
            by_d.step()
            values.append(value.item())
        batch = next(batches)
        value = of_g(discriminator(generator(points("noise"))))
        by_g.zero_grad()
        value.backward()
        expected = listed(generator, gradients=True)
        got = torch.tensor(found["slopes"][step], dtype=torch.float64)
        assert (got - expected).abs().max() < 1e-5 * expected.abs().max()
        by_g.step()
        noted["discriminator"].append(sum(values) / len(values))
        noted["generator"].append(value.item())
    for name, model in (("generator", generator), ("discriminator", discriminator)):
        after = torch.tensor(found["after"][name], dtype=torch.float64)
        before = torch.tensor(found["before"][name], dtype=torch.float64)
        moved = (after - before).abs().max()
        assert (after - listed(model)).abs().max() < 1e-5 * moved, name
        mean = sum(noted[name][:20]) / 20
        assert found["noted"][name] == pytest.approx([mean], abs=1e-4)
    assert found["noted"]["step"] == [0, 20]


def test_the_points_are_eight_gaussians(javascript: Callable) -> None:
    found = javascript(GANExplorer, "trial", [[settings(seed=seed), 30] for seed in (0, 3)])
    batches = [torch.tensor([b["real"] for b in each["batches"] if b["real"]]) for each in found]
    assert not torch.equal(*batches)
    points = torch.cat(batches).view(-1, 2).double()  # 3,840 of them
    mode = torch.cdist(points, CENTERS).argmin(1)
    shares = mode.bincount(minlength=MODES) / len(points)
    assert (shares - 1 / MODES).abs().max() < 5 * (0.125 * 0.875 / len(points)) ** 0.5
    noise = (points - CENTERS[mode]) / DEVIATION
    assert noise.mean(0).abs().max() < 0.1 and (noise.std(0) - 1).abs().max() < 0.1


def test_modes_are_counted(javascript: Callable) -> None:
    torch.manual_seed(0)
    cases = []
    for share in (0.0, 0.3, 0.9):  # of points that are anywhere
        modes = torch.randint(MODES - 3, (400,))
        points = CENTERS[modes] + DEVIATION * torch.randn(400, 2)
        far = torch.rand(400) < share
        points[far] = 6 * torch.rand(int(far.sum()), 2).double() - 3
        cases.append(points)
    found = javascript(GANExplorer, "coverage", [[case.flatten().tolist()] for case in cases])
    for points, each in zip(cases, found, strict=True):
        near = (torch.cdist(points, CENTERS) <= 3 * DEVIATION).sum(0)
        assert each["near"] == near.tolist()
        assert each["modes"] == (near >= 400 / 32).sum()
        assert each["share"] == pytest.approx(near.sum().item() / 400)
    assert found[0]["modes"] == MODES - 3


# ---- Traits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"loss": "least squares"}, ValueError, "must be one of 'non-saturating', 'saturating'"),
        ({"lr_generator": 0}, ValueError, "lr_generator=0: must be ≥ 1e-05 and ≤ 0.1"),
        ({"lr_discriminator": "1"}, TypeError, "lr_discriminator='1': must be a number"),
        ({"discriminator_steps": 11}, ValueError, "discriminator_steps=11: must be ≥ 1 and ≤ 10"),
        ({"seed": 0.5}, TypeError, "seed=0.5: must be an int"),
        ({"history": []}, TypeError, r"history=\[\]: must be a Mapping"),
        ({"history": {"step": [0]}}, ValueError, "must have step, discriminator, generator"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        GANExplorer(**arguments)


def test_the_picture_has_the_real_points(javascript: Callable) -> None:
    path = ElementTree.fromstring(GANExplorer().picture()).findall("path")[1].get("d", "")
    places = re.findall(r"M([\d.]+) ([\d.]+)", path)
    assert len(places) == 400
    points = torch.tensor([[float(x) - 160, 160 - float(y)] for x, y in places]).double() / 53.3
    assert torch.cdist(points, CENTERS).min(1).values.max() < 5 * DEVIATION


# ---- The figure in a browser ---------------------------------------------------------------------


@pytest.fixture
def page(show: Callable) -> Page:
    return show(GANExplorer())


def steps(page: Page) -> int:
    text = page.locator(".d2-progress").inner_text()
    return int(text.removeprefix("step ").replace(",", ""))


def lines(page: Page) -> list[str]:
    """What the chart of losses has drawn."""
    chart = page.get_by_role("img", name="Both losses over the steps")
    return [line.get_attribute("d") or "" for line in chart.locator("path[stroke-width='2']").all()]


def test_it_trains_pauses_steps_and_begins_anew(page: Page, javascript: Callable) -> None:
    says, progress = page.get_by_role("status"), page.locator(".d2-progress")
    expect(says).to_have_text("Press Train. It learns here, in this page.")
    one, reset = (page.get_by_role("button", name=name) for name in ("Step", "Reset"))
    expect(reset).to_be_disabled()
    for n in range(1, 4):
        one.click()
        expect(progress).to_have_text(f"step {n}")
    expect(says).to_contain_text("After 3 steps: 0 of 8 modes covered")
    page.get_by_role("button", name="Train").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.wait_for_function(
        "Number(document.querySelector('.d2-progress').textContent.slice(5)) >= 40"
    )
    page.get_by_role("button", name="Pause").press("Enter")
    settle(page)
    expect(page.get_by_role("button", name="Train")).to_be_visible()
    at = steps(page)
    (found,) = javascript(GANExplorer, "trial", [[settings(), at]])
    noted = found["noted"]
    expect(says).to_contain_text(f"After {at:,} steps: ")
    expect(says).to_contain_text(f"discriminator's loss is {noted['discriminator'][-1]:.2g}")
    assert all(lines(page))
    settle(page)
    assert steps(page) == at
    reset.click()
    settle(page)
    assert steps(page) == 0 and not any(lines(page))
    one.click()
    page.get_by_role("button", name="Other seed").click()
    expect(progress).to_have_text("step 0")
    one.click()
    page.get_by_role("combobox", name="Loss").select_option("hinge")
    expect(progress).to_have_text("step 0")
    one.click()
    slide(page, "Discriminator's rate", -3)
    expect(progress).to_have_text("step 0")


def test_python_hears_what_was_noted(show: Callable, javascript: Callable) -> None:
    explorer = GANExplorer(loss="saturating", discriminator_steps=2)
    page = show(explorer)
    heard = page.evaluate(
        """async () => {
        const state = JSON.parse(document.querySelector("[type$='widget-state+json']").textContent);
        const { _esm, ...traits } = state.state.m.state, el = document.querySelector("main");
        const model = { get: (name) => traits[name], save_changes() {}, on() {}, off() {},
          set(name, value) { traits[name] = value; } };
        const url = URL.createObjectURL(new Blob([_esm], { type: "text/javascript" }));
        const { default: explorer } = await import(url);
        explorer.render({ model, el });
        const buttons = [...el.lastChild.querySelectorAll("button")];
        const step = buttons.find((each) => each.innerText == "Step");
        for (let n = 0; n < 40; n++) {
          step.click();
          await new Promise((f) => requestAnimationFrame(() => requestAnimationFrame(f)));
        }
        return traits.history;
        }"""
    )
    explorer.history = heard
    given = {name: getattr(explorer, name) for name in SETTINGS}
    (found,) = javascript(GANExplorer, "trial", [[given, 40]])
    assert explorer.history["step"] == [0, 20, 40]
    for name in ("discriminator", "generator"):
        assert explorer.history[name] == pytest.approx(found["noted"][name], abs=1e-3)


def test_a_reader_who_wants_stillness_sees_none_of_the_motion(page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    drawn = "document.querySelector('.d2-plane svg:last-child').innerHTML"
    before = page.evaluate(drawn)
    page.evaluate("window.looks = new Set()")
    page.evaluate(
        f"""() => {{ const look = () => {{ looks.add({drawn}); requestAnimationFrame(look); }};
        look(); }}"""
    )
    page.get_by_role("button", name="Train").click()
    expect(page.locator(".d2-progress")).to_have_text("step 500")
    settle(page)
    assert page.evaluate(drawn) != before
    assert page.evaluate("looks.size") == 2


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_is_legible_and_accessible(show: Callable, theme: str) -> None:
    page = show(GANExplorer(loss="hinge"), theme=theme)
    page.get_by_role("button", name="Step").click()
    settle(page)
    assert_legible_and_accessible(page)
