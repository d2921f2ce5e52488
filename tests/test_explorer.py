"""What all explorers share: a front end, a still picture, errors that say what is wrong."""

import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT, handlers, settle, violations
from IPython.core.formatters import DisplayFormatter
from playwright.sync_api import Browser, Page
from torch import Tensor, nn

from d2lite import explore
from d2lite.data.labelled_images import LabelledImages
from d2lite.explore.explorer import Explorer, normals
from d2lite.nets.lenet import LeNet
from d2lite.nets.vit import small_vit

EVALUATE = {name: getattr(explore, name) for name in explore.__all__}
# What each needs to be made: a network and images with classes, or nothing.
DENSE = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
NETWORKS = {"AdversarialExplorer": DENSE, "LeNetExplorer": LeNet(), "ViTExplorer": small_vit()}


def of_network(name: str, images: Tensor) -> partial[Explorer]:
    """An explorer of a network, with these images."""
    make, classes = getattr(explore, name), tuple("abcdefghij")
    labels = torch.zeros(len(images)).long()
    given = {"AdversarialExplorer": [LabelledImages(images, labels, classes)]}
    return partial(make, NETWORKS[name], *given.get(name, [images, classes]))


for name in NETWORKS:
    EVALUATE[name] = of_network(name, torch.ones(1, 1, 28, 28))
EXPLORERS = [pytest.param(make, id=name) for name, make in EVALUATE.items()]


@pytest.mark.parametrize("explorer", EXPLORERS)
def test_its_front_end_is_the_shared_module_and_its_own(explorer: Callable[..., Explorer]) -> None:
    made = explorer()
    assert made._esm.startswith("// What all explorers share.")
    assert re.search(r"export default \{ render(, fits)? \};", made._esm)
    assert not re.search(r"https?://(?!www\.w3\.org)", made._esm), "asks the network"
    assert ".d2-readout" in made._css


@pytest.mark.parametrize("explorer", EXPLORERS)
def test_a_page_without_scripts_shows_its_picture(explorer: Callable[..., Explorer]) -> None:
    made = explorer(label='A "named" <figure>')
    bundle = made._repr_mimebundle_()
    assert bundle is not None
    data, _ = bundle
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == made.model_id
    assert data["text/html"].startswith(
        f'<div class="d2-still" data-widget-model="{made.model_id}" '
        'role="img" aria-label="A &quot;named&quot; &lt;figure&gt;"><svg '
    )
    assert data["text/plain"] == repr(made)
    shown, _ = DisplayFormatter().format(made)  # with ipywidgets 7 too, which has its own way
    assert shown == data


@pytest.mark.parametrize("explorer", EXPLORERS)
def test_its_repr_is_what_to_type(explorer: Callable[..., Explorer]) -> None:
    made = explorer()
    text = repr(made)
    assert re.match(r"\w+Explorer\(", text)
    assert "_esm" not in text
    own = [name for name in made.trait_names(sync=True) if f"{name}=" in text]
    assert own
    if "..." not in text:  # long values are shortened
        assert eval(text, EVALUATE).get_state(own) == made.get_state(own)


@pytest.mark.parametrize("explorer", EXPLORERS)
def test_an_unknown_argument_is_refused(explorer: Callable[..., Explorer]) -> None:
    with pytest.raises(TypeError, match=r"strides: .*no such argument"):
        explorer(strides=2)


def test_an_explorer_must_draw_itself() -> None:
    with pytest.raises(NotImplementedError, match="must draw its own picture"):
        Explorer().picture()


def test_the_random_numbers_are_normal_and_come_again(javascript: Callable) -> None:
    ranges = [(seed, start, 100_000) for seed in (0, 1, 2**31 - 1) for start in (0, 3200)]
    drawn = javascript(explore.ActivationExplorer, "normals", [list(place) for place in ranges])
    found = [np.array(list(numbers.values())) for numbers in drawn]  # a typed array as JSON has it
    for values, place in zip(found, ranges, strict=True):
        np.testing.assert_allclose(values, normals(*place), atol=1e-12)
        n = len(values)
        # Moments 1 to 4 of a normal distribution, each within five standard errors.
        for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
            assert abs((values**power).mean() - moment) < 5 * (variance / n) ** 0.5
        for lag in (1, 2, 80):  # neighbours, and numbers further apart
            assert abs((values[lag:] * values[:-lag]).mean()) < 5 / n**0.5
        inside = (abs(values) < 1).mean()
        assert abs(inside - 0.682689) < 5 * (0.6827 * 0.3173 / n) ** 0.5
    assert (found[0][3200:] == found[1][:-3200]).all()  # the place alone counts
    for other in found[2::2]:
        assert abs((found[0] * other).mean()) < 5 / len(other) ** 0.5  # seeds are unrelated


def test_a_trait_keeps_the_type_of_its_default() -> None:
    explorer = explore.ScheduleExplorer(total_steps=np.int64(20), lr=1, warmup=np.float32(0.5))
    values = explorer.total_steps, explorer.lr, explorer.warmup
    assert values == (20, 1.0, 0.5)
    assert [type(value) for value in values] == [int, float, float]


def test_what_is_read_is_named_when_it_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^layers=\[\[3\], \[0\]\]: \[1\]=\[0\]: kernel_size=0: must be"
    ):
        explore.ReceptiveFieldExplorer(layers=[[3], [0]])


# ---- In the browser: views of one ----------------------------------------------------------------


@pytest.mark.parametrize("explorer", EXPLORERS)
def test_a_view_hears_each_trait_and_when_it_is_gone_nothing(
    explorer: Callable[..., Explorer], show: Callable[..., Page]
) -> None:
    made = explorer()
    classes = type(made).__mro__[: type(made).__mro__.index(Explorer) + 1]
    own = {name for each in classes for name in vars(each)}
    settable = [
        name
        for name, trait in made.traits(sync=True).items()
        if name in own and name[0] != "_" and not trait.read_only
    ]
    assert handlers(show(made, views=0)) == [len(settable), 0]


@pytest.mark.parametrize("name", NETWORKS)
def test_two_views_of_a_network_share_one_state(show: Callable[..., Page], name: str) -> None:
    page = show(of_network(name, torch.rand(3, 1, 28, 28))(), views=2)
    says = [view.locator(".d2-readout").first for view in page.locator(".d2").all()]
    before = says[1].inner_text()
    page.get_by_role("button", name=re.compile("^garment 3")).first.click()
    settle(page)
    assert says[1].inner_text() == says[0].inner_text() != before


# ---- In the browser: one beside the other --------------------------------------------------------


@pytest.fixture
def mounted(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Open a static page with several explorers, each in a section of its class's name."""
    opened = []

    def mounted(
        names: list[str],
        width: int = 1280,
        scripts: Sequence[str] = ("explorers",),
        init: str = "",
        **options: Any,
    ) -> Page:
        models, places = {}, ""
        for name in names:
            traits = EVALUATE[name]().get_state()
            saved = [
                {"path": [key], "encoding": "base64", "data": b64encode(traits.pop(key)).decode()}
                for key in [key for key, value in traits.items() if isinstance(value, bytes)]
            ]
            models[name] = {"model_name": "AnyModel", "state": traits, "buffers": saved}
            place = f'<div data-figure="{name}" data-widget-model="{name}"></div>'
            places += f'<section id="{name}">{place}</section>'
        static = (ROOT / "book" / "_static").as_uri()
        loads = "".join(f'<script src="{static}/{script}.js"></script>' for script in scripts)
        (tmp_path / "index.html").write_text(
            f"""<!doctype html><html lang="en" data-theme="light"><meta charset="utf-8">
            <meta name="viewport" content="width=device-width"><title>Explorers</title>
            <style>body {{ max-width: 750px; margin: 10px auto 999px; padding: 0 8px }}</style>
            <script type="application/vnd.jupyter.widget-state+json">
            {json.dumps({"state": models})}</script>
            {loads}<body>{places}""",
            encoding="utf-8",
        )
        page = browser.new_page(viewport={"width": width, "height": 1000}, **options)
        opened.append(page)
        page.add_init_script(init)
        page.goto((tmp_path / "index.html").as_uri())
        page.wait_for_function(
            f"document.querySelectorAll('[data-widget=live]').length == {len(names)}"
        )
        settle(page)
        return page

    yield mounted
    for page in opened:
        page.close()


STYLES = """name => [...document.querySelectorAll(`#${name} *`)].map((element) => {
    const style = getComputedStyle(element);
    return [element.localName, ...["display", "position", "width", "height", "min-width",
      "min-height", "max-width", "margin", "padding", "border", "border-radius", "outline", "color",
      "background", "box-shadow", "font", "font-variant-numeric", "letter-spacing", "text-align",
      "text-decoration", "vertical-align", "white-space", "gap", "flex", "grid-template-columns",
      "align-items", "justify-content", "cursor", "touch-action", "overflow", "opacity",
      "visibility", "accent-color", "fill", "fill-opacity", "stroke", "stroke-width",
    ].map((property) => style[property] ?? style.getPropertyValue(property))].join("; ");
})"""


def test_explorers_leave_each_other_alone(mounted: Callable[..., Page]) -> None:
    """Each brings a copy of the shared style sheet: in any order, all look as they do alone."""
    names = explore.__all__
    together = []
    for order in (names, names[::-1]):
        page = mounted(order)
        together.append({name: page.evaluate(STYLES, name) for name in names})
    for name in names:
        page.evaluate(
            """name => {
            const scope = document.querySelector(`#${name} .d2`).classList[1];
            for (const sheet of document.querySelectorAll("head style"))
              sheet.disabled = sheet.textContent.includes(":where(.d2-") &&
                !sheet.textContent.includes(`:where(.${scope})`);
            }""",
            name,
        )
        settle(page)
        alone = page.evaluate(STYLES, name)
        assert len(alone) > 20
        for found in together:
            assert found[name] == alone, name


@pytest.mark.parametrize("name", explore.__all__)
def test_one_that_is_rendered_out_of_the_page_looks_the_same(
    mounted: Callable[..., Page], name: str
) -> None:
    """JupyterLab calls render with an element that is put into the page later."""
    page = mounted([name])
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.evaluate(
        """async name => {
        document.body.insertAdjacentHTML("beforeend", '<section id="late"></section>');
        const late = document.createElement("section");
        late.innerHTML = `<div data-widget-model="${name}"></div>`;
        await mountWidgets(late);
        await new Promise((f) => requestAnimationFrame(() => requestAnimationFrame(f)));
        document.querySelector("#late").append(late.firstChild);
        }""",
        name,
    )
    for place in (name, "late"):  # some say their text after a while
        page.wait_for_function(
            """p => [...document.querySelectorAll(`#${p} .d2-readout`)]
            .every((e) => e.textContent || !e.checkVisibility())""",
            arg=place,
        )
    settle(page)
    assert not errors
    drawn = """name => document.querySelector(`#${name} .d2`).outerHTML
        .replace(/(name="d2-[a-z]+)-\\d+/g, "$1")"""
    assert page.evaluate(drawn, "late") == page.evaluate(drawn, name)
    assert page.evaluate(STYLES, "late") == page.evaluate(STYLES, name)
    canvases = "name => [...document.querySelectorAll(`#${name} canvas`)].map(c => c.toDataURL())"
    pictures = page.evaluate(canvases, "late")
    assert pictures == page.evaluate(canvases, name)
    assert bool(pictures) == (
        name
        in {
            *NETWORKS,
            "AugmentationExplorer",
            "DetectorExplorer",
            "GANExplorer",
            "LatentExplorer",
        }
    )


# ---- A finger, the reader's own colours, zoom ----------------------------------------------------


def test_a_finger_that_scrolls_past_changes_nothing(mounted: Callable[..., Page]) -> None:
    """Wherever it starts, but on the convolution's window, which is a handle; a tap chooses."""
    page = mounted(explore.__all__, width=390, has_touch=True, is_mobile=True)
    touch = page.context.new_cdp_session(page)

    def send(kind: str, *points: tuple[float, float]) -> None:
        places = [{"x": x, "y": y} for x, y in points]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    drawn = """name => document.querySelector(`#${name} .d2`).outerHTML
        .replaceAll(/(tabindex|aria-selected)="[^"]*"/g, "")"""
    for name in explore.__all__:
        pictures = page.locator(f"#{name} .d2 :is(svg[role=img], canvas[role], table)")
        for picture in pictures.all():
            box = picture.bounding_box()
            if not box or min(box["width"], box["height"]) < 60:
                continue
            picture.evaluate("e => e.scrollIntoView({ block: 'center' })")
            settle(page)
            before, scrolled = page.evaluate(drawn, name), page.evaluate("scrollY")
            box = picture.bounding_box()
            assert box is not None
            x, y = box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2
            send("touchStart", (x, y))
            for step in range(1, 9):
                send("touchMove", (x + step / 2, y - 12 * step))
                page.evaluate("() => new Promise(requestAnimationFrame)")  # as fast as a finger
            send("touchEnd")
            page.wait_for_function("before => scrollY > before", arg=scrolled)
            settle(page)
            assert page.evaluate(drawn, name) == before, name
    for name in ("ArchitectureExplorer", "OutputSizeExplorer", "ScheduleExplorer"):
        before = page.evaluate(drawn, name)
        page.locator(f"#{name} svg[role=img]").first.tap()
        settle(page)
        assert page.evaluate(drawn, name) != before, name


def test_a_finger_draws_on_the_board_after_a_tap(mounted: Callable[..., Page]) -> None:
    page = mounted(["LeNetExplorer"], width=390, has_touch=True, is_mobile=True)
    board = page.get_by_role("application")
    picture = "canvas => canvas.toDataURL()"
    page.get_by_role("button", name="Clear").tap()
    settle(page)
    empty = board.evaluate(picture)
    board.tap()
    settle(page)
    assert board.evaluate(picture) == empty
    board.tap()
    settle(page)
    assert board.evaluate(picture) != empty


MARKS = """name => [...document.querySelectorAll(`#${name} .d2 *`)].map((element) => {
    const style = getComputedStyle(element);
    return [style.backgroundImage === "none", style.fill === "none", style.stroke === "none"];
})"""
COLOURS = """name => new Set([...document.querySelectorAll(`#${name} .d2 :is(path, circle, rect)`)]
    .flatMap((e) => [getComputedStyle(e).fill, getComputedStyle(e).stroke])).size"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_readers_own_colours(mounted: Callable[..., Page], scheme: str) -> None:
    """In forced colours all text can be read, and no mark that is told by its colour is lost."""
    page = mounted(explore.__all__)
    before = [(page.evaluate(MARKS, n), page.evaluate(COLOURS, n)) for n in explore.__all__]
    page.emulate_media(forced_colors="active", color_scheme=scheme)
    settle(page)
    assert page.evaluate("matchMedia('(forced-colors: active)').matches")
    for name, (marks, colours) in zip(explore.__all__, before, strict=True):
        assert page.evaluate(MARKS, name) == marks, name
        assert page.evaluate(COLOURS, name) >= colours - 2, name  # ink and muted are one, and so on
        faint = [rule for rule in violations(page, f"#{name}") if rule[0] == "color-contrast"]
        assert not faint, name


def test_at_200_percent(mounted: Callable[..., Page]) -> None:
    page = mounted(explore.__all__, width=640)
    assert page.evaluate("document.documentElement.scrollWidth") <= 640
    assert page.evaluate(
        """() => [...document.querySelectorAll(".d2")].every((root) => {
        const right = root.getBoundingClientRect().right;
        const inside = (e) => e.getBoundingClientRect().right <= right;
        return [...root.querySelectorAll("*")].every(inside);
        })"""
    )
