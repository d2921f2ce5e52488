"""The schedule explorer: its arithmetic against d2lite.schedules and PyTorch, the figure."""

import math
import random
from collections.abc import Callable
from functools import partial
from itertools import accumulate
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from conftest import assert_legible_and_accessible, slide
from playwright.sync_api import Page, expect
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    LinearLR,
    OneCycleLR,
    SequentialLR,
    StepLR,
)

from d2lite.explore.schedule import NAMES, ScheduleExplorer

CURVATURES = torch.logspace(0, math.log10(0.05), 10, dtype=torch.float64)


def random_settings() -> list[dict]:
    """Settings as the reader's controls reach them, all schedules at once."""
    rng = random.Random(0)
    return [
        {
            "schedules": list(NAMES),
            "total_steps": rng.randint(10, 150),
            "lr": 10 ** rng.uniform(-3, 1),
            "warmup": rng.choice([0, 0, rng.uniform(0, 0.5), rng.randint(1, 50) / 100]),
            "start_factor": rng.choice([1 / 3, 1, rng.uniform(0.01, 1)]),
            "step_size": rng.randint(1, 100),
            "gamma": rng.uniform(0.01, 1),
            "end_factor": rng.choice([0, rng.random()]),
            "noise": rng.random(),
        }
        for _ in range(120)
    ]


SETTINGS = random_settings()
CASES = [(settings, name) for settings in SETTINGS for name in NAMES]


def torch_rates(settings: dict, name: str) -> list[float]:
    """The learning rates that PyTorch's own schedulers give, step by step."""
    total, lr = settings["total_steps"], settings["lr"]
    rise = int(settings["warmup"] * total + 0.5)
    rest = total - rise
    if name == "triangular":  # PyTorch has its two lines only
        peak = max(1, round(0.2 * rest))
        fall = rest - peak + 1
        factors = [min((t + 1) / peak, (rest - t) / fall) for t in range(rest)]
        start = settings["start_factor"]
        up = [factors[0] * (start + (1 - start) * t / rise) for t in range(rise)]
        return [lr * factor for factor in up + factors]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    make = {
        "constant": partial(ConstantLR, factor=1),
        "step_decay": partial(StepLR, step_size=settings["step_size"], gamma=settings["gamma"]),
        "cosine": partial(CosineAnnealingLR, T_max=rest, eta_min=settings["end_factor"] * lr),
        "one_cycle": partial(OneCycleLR, max_lr=lr, total_steps=rest, cycle_momentum=False),
    }[name]
    if name == "one_cycle":  # sets the first rate itself: SequentialLR would lose it
        scheduler = make(optimizer)
        rates = []
        for _ in range(rest):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        start = settings["start_factor"]
        return [rates[0] * (start + (1 - start) * t / rise) for t in range(rise)] + rates
    if rise:
        linear = LinearLR(optimizer, settings["start_factor"], total_iters=rise)
        scheduler = SequentialLR(optimizer, [linear, make(optimizer)], milestones=[rise])
    else:
        scheduler = make(optimizer)
    rates = []
    for _ in range(total):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


# ---- Arithmetic ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rates(javascript: Callable) -> list[list[float]]:
    return javascript(ScheduleExplorer, "ratesOf", [[settings, name] for settings, name in CASES])


def test_javascript_gives_the_rates_of_d2lite_and_of_pytorch(rates: list) -> None:
    assert len(CASES) >= 500
    for (settings, name), found in zip(CASES, rates, strict=True):
        close = pytest.approx(found, rel=1e-9, abs=1e-13)
        assert torch_rates(settings, name) == close, (settings, name)
        explorer = ScheduleExplorer(**{**settings, "schedules": [name]})
        assert explorer.rates == {name: close}


def test_distances_are_areas(javascript: Callable, rates: list) -> None:
    cases = [[found, settings["lr"]] for (settings, _), found in zip(CASES, rates, strict=True)]
    found = javascript(ScheduleExplorer, "distances", cases)
    for (settings, name), of_case, shares in zip(CASES, rates, found, strict=True):
        sums = accumulate(of_case)
        assert shares == pytest.approx([s / (n * settings["lr"]) for n, s in enumerate(sums, 1)])
        explorer = ScheduleExplorer(**{**settings, "schedules": [name]})
        assert explorer.distances[name] == pytest.approx(shares[-1])


def descents(rates: list) -> list[tuple[list[float], float]]:
    """Some rates, from low to far too high, and a standard deviation of the noise for each."""
    return [(found, settings["noise"]) for (settings, _), found in zip(CASES, rates, strict=True)]


def test_the_descent_is_pytorchs(javascript: Callable, rates: list) -> None:
    rng = random.Random(1)
    cases = [
        [found, sigma, [rng.gauss(0, 1) for _ in range(10 * len(found))]]
        for found, sigma in descents(rates)[::3]
    ]
    diverged = 0
    for (lrs, sigma, noise), losses in zip(
        cases, javascript(ScheduleExplorer, "descend", cases), strict=True
    ):
        w = torch.ones(10, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.SGD([w], lr=1)
        table = torch.tensor(noise, dtype=torch.float64).view(-1, 10)
        expected = []
        for lr, xi in zip([*lrs, 0.0], [*table, table[0]], strict=True):
            loss = (CURVATURES * w**2).sum() / 2
            expected.append(loss.item())
            if loss >= 100:
                break
            optimizer.zero_grad()
            (loss + sigma * (xi * w).sum()).backward()
            optimizer.param_groups[0]["lr"] = lr
            optimizer.step()
        assert losses == pytest.approx(expected, rel=1e-6, abs=1e-12)
        diverged += len(losses) <= len(lrs)
    assert 10 < diverged < len(cases) - 100


def test_the_mean_is_that_of_many_descents(javascript: Callable, rates: list) -> None:
    cases = [[found, sigma] for found, sigma in descents(rates)[::29] if max(found) < 1.8]
    assert len(cases) >= 10
    generator = torch.Generator().manual_seed(0)
    for (lrs, sigma), mean in zip(
        cases, javascript(ScheduleExplorer, "expected", cases), strict=True
    ):
        w = torch.ones(4000, 10, dtype=torch.float64)
        for step, lr in enumerate(lrs):
            losses = (CURVATURES * w**2).sum(1) / 2
            error = losses.std() / 4000**0.5
            assert abs(mean[step] - losses.mean()) < 6 * error + 1e-9
            noise = torch.randn(w.shape, generator=generator, dtype=torch.float64)
            w = w - lr * (CURVATURES * w + sigma * noise)


# ---- Traits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "value", "error", "message"),
    [
        (
            "schedules",
            [],
            ValueError,
            r"schedules=\[\]: none, must be one or more of constant, step",
        ),
        (
            "schedules",
            ["cosin"],
            ValueError,
            r"schedules=\['cosin'\]: 'cosin', must be one or more of",
        ),
        ("schedules", "cosine", TypeError, "schedules='cosine': must be a list of names"),
        ("total_steps", 9, ValueError, "total_steps=9: must be ≥ 10 and ≤ 1000"),
        ("total_steps", 20.0, TypeError, "total_steps=20.0: must be an int"),
        ("lr", 0, ValueError, "lr=0: must be ≥ 0.0001 and ≤ 10"),
        ("lr", "0.1", TypeError, "lr='0.1': must be a number"),
        ("lr", float("nan"), ValueError, "lr=nan: must be ≥ "),
        ("warmup", 0.6, ValueError, "warmup=0.6: must be ≥ 0 and ≤ 0.5"),
        ("start_factor", 2, ValueError, "start_factor=2: must be ≥ 0 and ≤ 1"),
        ("step_size", 0, ValueError, "step_size=0: must be ≥ 1 and ≤ 1000"),
        ("gamma", 0, ValueError, "gamma=0: must be ≥ 0.01 and ≤ 1"),
        ("end_factor", -1, ValueError, "end_factor=-1: must be ≥ 0 and ≤ 1"),
        ("noise", True, TypeError, "noise=True: must be a number"),
        ("step", 300, ValueError, "step=300: must be < 300, the number of steps"),
        ("log_scale", 1, TypeError, "log_scale=1: must be True or False"),
        ("momentum", 1, TypeError, "momentum: no such argument"),
    ],
)
def test_bad_arguments_are_named(argument: str, value: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        ScheduleExplorer(**{argument: value})


def test_traits_can_be_set_and_observed() -> None:
    explorer = ScheduleExplorer(step=250, lr=1)
    heard: list = []
    explorer.observe(lambda change: heard.append(change["new"]), "schedules")
    explorer.schedules = ("cosine", "constant", "cosine")
    assert heard == [["constant", "cosine"]]
    explorer.total_steps = 100
    assert explorer.step == 99
    with pytest.raises(ValueError, match="gamma=2"):
        explorer.gamma = 2
    assert explorer.gamma == 0.1


# ---- Still picture -------------------------------------------------------------------------------


def test_the_picture_shows_each_step() -> None:
    explorer = ScheduleExplorer(total_steps=20, step=7, lr=2, schedules=["cosine", "triangular"])
    _, cosine, _ = ElementTree.fromstring(explorer.picture())
    heights = [float(point.split()[1]) for point in cosine.get("d", "")[1:].split("L")]
    assert [(200 - y) / 192 * 2 for y in heights] == pytest.approx(
        explorer.rates["cosine"], abs=0.002
    )
    assert "#" not in explorer.picture(), "colours only by the theme's variables"


# ---- The figure in a browser ---------------------------------------------------------------------


def cells(page: Page, row: int) -> list[str]:
    line = page.locator(".d2-facts tbody tr").nth(row)
    return [text.replace("\xa0", " ") for text in line.locator("th, td").all_inner_texts()]


def test_it_says_what_the_rates_are(show: Callable) -> None:
    page = show(ScheduleExplorer(step=150, total_steps=300))
    expect(page.get_by_role("figure", name="Schedule explorer")).to_be_visible()
    status = page.get_by_role("status")
    expect(status).to_contain_text("Step 150 of 0 to 299")
    expect(status).to_contain_text("constant 0.3, step decay 0.03, cosine 0.15.")
    assert cells(page, 0)[:4] == ["constant", "0.3", "100 %", "100 %"]
    assert cells(page, 1)[:4] == ["step decay", "0.03", "70 %", "37 %"]
    assert cells(page, 2)[:4] == ["cosine", "0.15", "82 %", "50 %"]
    page.get_by_role("slider", name="Step", exact=True).fill("299")
    expect(status).to_contain_text("step decay 0.003")
    expect(status).to_contain_text("Lowest mean loss at the end: cosine")


def test_schedules_are_ticked_and_one_stays(show: Callable) -> None:
    page = show(ScheduleExplorer(schedules=["cosine"]))
    decay, ends = (page.get_by_role("slider", name=name) for name in ("Decay every", "Cosine ends"))
    expect(decay).to_be_hidden()
    page.get_by_label("step decay").check()
    expect(decay).to_be_visible()
    page.get_by_label("cosine", exact=True).uncheck()
    expect(ends).to_be_hidden()
    expect(page.locator(".d2-facts tbody th")).to_have_text(["step decay"])
    page.get_by_label("step decay").click()
    expect(page.get_by_label("step decay")).to_be_checked()


def test_warm_up_starts_low(show: Callable) -> None:
    page = show(ScheduleExplorer(schedules=["constant"], total_steps=100, lr=0.9))
    factor, status = page.get_by_role("slider", name="from a factor"), page.get_by_role("status")
    expect(factor).to_be_hidden()
    expect(status).to_contain_text("constant 0.9")
    slide(page, "Warm-up", 0.2)
    expect(status).to_contain_text("constant 0.3")
    factor.fill("0")
    expect(status).to_contain_text("constant 0.")
    page.get_by_role("slider", name="Step", exact=True).fill("10")
    expect(status).to_contain_text("constant 0.45")


def test_a_rate_that_is_too_large_diverges(show: Callable) -> None:
    page = show(ScheduleExplorer(schedules=["constant", "step_decay"], lr=1.9, total_steps=200))
    status = page.get_by_role("status")
    expect(status).not_to_contain_text("Diverged")
    slide(page, "Learning rate", 0.5)  # its logarithm
    expect(status).to_contain_text("learning rate: constant 3.2")
    expect(status).to_contain_text("Diverged: constant in step")
    page.get_by_role("slider", name="Step", exact=True).fill("199")
    expect(page.locator(".d2-facts tbody tr").first.locator("th, td").nth(4)).to_have_text("∞")


def test_other_noise_changes_the_run_and_not_the_mean(show: Callable) -> None:
    page = show(ScheduleExplorer(step=299))
    paths = page.locator("svg[role=img] >> nth=1").locator("path")
    before = [path.get_attribute("d") for path in paths.all()]
    loss = cells(page, 0)[4]
    page.get_by_role("button", name="Other noise").click()
    expect(page.locator(".d2-facts tbody td").nth(3)).not_to_have_text(loss)
    assert len(before) == paths.count() > 6


def test_click_hover_and_arrow_keys_move_the_cursor(show: Callable) -> None:
    page = show(ScheduleExplorer(total_steps=300))
    status, svg = page.get_by_role("status"), page.locator("svg[role=img]").first.bounding_box()
    x = svg["x"] + 46 + (svg["width"] - 54) * 0.5
    page.mouse.move(x, svg["y"] + 80)
    expect(status).to_contain_text("Step 150 ")
    page.mouse.move(5, 5)
    expect(status).to_contain_text("Step 0 ")  # hovering chose for as long as it lasted
    page.mouse.click(x, svg["y"] + 80)
    page.mouse.move(5, 5)
    expect(status).to_contain_text("Step 150 ")
    page.keyboard.press("ArrowRight")
    expect(status).to_contain_text("Step 151 ")
    page.keyboard.press("Home")
    expect(status).to_contain_text("Step 0 ")


def test_fewer_steps_keep_the_cursor_inside(show: Callable) -> None:
    page = show(ScheduleExplorer(total_steps=300, step=299))
    slide(page, "Steps in all", 100)
    expect(page.get_by_role("status")).to_contain_text("Step 99 of 0 to 99")


def test_two_views_share_one_state(show: Callable) -> None:
    page = show(ScheduleExplorer(), views=2)
    slide(page, "Warm-up", 0.25)
    page.get_by_label("triangular").first.check()
    for view in range(2):
        expect(page.get_by_role("slider", name="Warm-up").nth(view)).to_have_value("0.25")
        expect(page.get_by_role("status").nth(view)).to_contain_text("triangular")


EXAMPLES = [
    {},
    {"schedules": NAMES, "total_steps": 1000, "warmup": 0.2, "step": 700, "log_scale": True},
    {"schedules": ["cosine"], "lr": 3.0, "step": 200},
]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("settings", EXAMPLES, ids=["default", "all", "diverged"])
def test_it_is_legible_and_accessible(show: Callable, settings: dict, theme: str) -> None:
    page = show(ScheduleExplorer(**settings), theme=theme)
    assert_legible_and_accessible(
        page,
        "document.querySelector('svg[role=img]').viewBox.baseVal.width"
        " === document.querySelector('svg[role=img]').getBoundingClientRect().width",
    )
