"""`book/_static/explorers.js` mounts any anywidget, not only this book's."""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bitjet
import drawdata
import ipymario
import ipywidgets
import pytest
from conftest import ROOT
from playwright.sync_api import Browser, Page, expect

HOST = ROOT / "book" / "_static" / "explorers.js"
COUNTER = """
let started = 0;
export default () => ({
  initialize({ model }) { started += 1; document.body.dataset.started = started; },
  render({ model, el, signal }) {
    const button = document.createElement("button");
    const byte = model.get("bytes").getUint8(1);
    const show = () => { button.textContent = `n = ${model.get("n")}, ${byte}`; };
    button.onclick = () => { model.set("n", model.get("n") + 1); model.save_changes(); };
    model.on("change:n", show);
    show();
    el.append(button);
    return () => { model.off("change:n", show); document.body.dataset.left = "yes"; };
  },
});
"""
STATE = {
    "state": {
        "counter": {
            "model_name": "AnyModel",
            "state": {"_esm": COUNTER, "_css": "button { color: rgb(1, 2, 3) }", "n": 3,
                      "_anywidget_id": "test.Counter"},
            "buffers": [{"path": ["bytes"], "encoding": "base64",
                         "data": base64.b64encode(bytes([7, 9])).decode()}],
        },
        "broken": {"model_name": "AnyModel", "state": {"_esm": "throw Error('on purpose')"}},
    }
}  # fmt: skip
VIEW = '<script type="application/vnd.jupyter.widget-view+json">{"model_id": "counter"}</script>'


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Page:
    (tmp_path / "index.html").write_text(
        f"""<!doctype html><meta charset="utf-8"><title>host</title>
        <script type="application/vnd.jupyter.widget-state+json">{json.dumps(STATE)}</script>
        <script src="{HOST.as_uri()}"></script>
        <body>{VIEW}<div data-widget-model="counter">still</div>
        <div data-widget-model="broken">still broken</div></body>""",
        encoding="utf-8",
    )
    page = browser.new_page()
    page.goto((tmp_path / "index.html").as_uri())
    page.wait_for_selector('[data-widget="failed"]')
    page.wait_for_function("document.querySelectorAll('[data-widget=live]').length == 2")
    return page


def test_views_of_one_model_share_its_state(page: Page) -> None:
    buttons = page.locator("button")
    assert buttons.all_text_contents() == ["n = 3, 9", "n = 3, 9"]
    buttons.first.click()
    assert buttons.all_text_contents() == ["n = 4, 9", "n = 4, 9"]
    assert page.evaluate("document.body.dataset.started") == "1", "initialized once"


def test_the_style_sheet_is_added_once(page: Page) -> None:
    color = page.locator("button").first.evaluate("e => getComputedStyle(e).color")
    assert color == "rgb(1, 2, 3)"
    assert page.locator("style").count() == 1


def test_a_broken_widget_leaves_its_picture(page: Page) -> None:
    assert page.get_by_text("still broken").is_visible()
    assert page.get_by_text("still", exact=True).count() == 0


def test_unmounting_calls_the_clean_up(page: Page) -> None:
    page.evaluate(
        """async () => {
        document.body.insertAdjacentHTML("beforeend", '<p data-widget-model="counter"></p>');
        (await mountWidgets(document.body.lastElementChild.parentElement))();
        }"""
    )
    assert page.evaluate("document.body.dataset.left") == "yes"


# ---- The whole of anywidget's interface ----------------------------------------------------------


@pytest.fixture
def mount(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Open a page with the saved models (id → state), and views of some of them."""
    opened = []

    def mount(
        models: dict[str, dict], views: list[str], routes: dict[str, tuple[str, str]] | None = None
    ) -> Page:
        saved = {}
        for name, given in models.items():
            state = dict(given)
            saved[name] = {
                "model_name": state.get("_model_name", "AnyModel"),
                "buffers": [
                    {"path": [key], "encoding": "base64",
                     "data": base64.b64encode(state.pop(key)).decode()}
                    for key in [key for key, value in state.items() if isinstance(value, bytes)]
                ],
                "state": state,
            }  # fmt: skip
        kind = "application/vnd.jupyter.widget"
        places = "".join(
            f'<script type="{kind}-view+json">{json.dumps({"model_id": view})}</script>'
            for view in views
        )
        (tmp_path / "index.html").write_text(
            f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>host</title>
            <script type="{kind}-state+json">{json.dumps({"state": saved})}</script>
            <script src="{HOST.as_uri()}"></script><body>{places}</body>""",
            encoding="utf-8",
        )
        page = browser.new_page()
        opened.append(page)
        page.set_default_timeout(10_000)
        for address, (kind, body) in (routes or {}).items():
            answer = {
                "body": body,
                "content_type": kind,
                "headers": {"Access-Control-Allow-Origin": "*"},
            }
            page.route(address, lambda route, _, answer=answer: route.fulfill(**answer))
        page.goto((tmp_path / "index.html").as_uri())
        page.wait_for_function(f"document.querySelectorAll('[data-widget]').length == {len(views)}")
        return page

    yield mount
    for page in opened:
        page.close()


def test_a_module_and_a_style_sheet_by_their_addresses(mount: Callable[..., Page]) -> None:
    esm, css = "https://widgets.test/n.js", "https://widgets.test/n.css"
    page = mount(
        {"a": {"_esm": esm, "_css": css, "n": 5}, "b": {"_esm": esm, "_css": css, "n": 6}},
        ["a", "b"],
        {
            esm: (
                "text/javascript",
                "export default { render({ model, el }) { el.textContent = model.get('n'); } };",
            ),
            css: ("text/css", "[data-widget] { color: rgb(1, 2, 3) }"),
        },
    )
    expect(page.locator("[data-widget=live]")).to_have_text(["5", "6"])
    assert page.locator("link[rel=stylesheet]").count() == 1
    expect(page.locator("[data-widget=live]").first).to_have_css("color", "rgb(1, 2, 3)")


PARENT = """
export default { async render({ model, el, host, signal, experimental }) {
  const reference = model.get("child");
  const [byHost, byManager] = [await host.getModel(reference),
    await model.widget_manager.get_model(reference.replace("anywidget:", ""))];
  const { exports, render } = await host.getWidget(reference);
  const nested = document.createElement("div");
  await render({ el: nested });
  const line = document.createElement("p");
  const show = () => {
    line.textContent = `${byHost.get("n")} ${byManager.get("n")} ${exports.name}`;
  };
  byHost.on("change:n", show);
  show();
  el.append(line, nested);
  el.onclick = () => {
    const same = model.set("x", 1).set({ y: 2 }).get("x") + model.get("y");
    byManager.set("n", byHost.get("n") + same).save_changes();
  };
  model.on("change:x change:y", () => { throw Error("not heard after off"); });
  model.off();
  signal.addEventListener("abort", () => { document.body.dataset.aborted = "yes"; });
  document.body.dataset.command = await experimental.invoke("f").catch(({ message }) => message);
} };
"""
CHILD = """
export default { initialize({ model, signal }) {
  if (!(signal instanceof AbortSignal)) throw Error("no signal");
  return { name: "counter" };
}, render({ model, el, signal }) {
  const show = () => { el.textContent = `n is ${model.get("n")}`; };
  model.on("change:n", show);
  show();
  return () => { document.body.dataset.left = "child"; };
} };
"""


def test_children_chains_signal_and_host(mount: Callable[..., Page]) -> None:
    page = mount(
        {"parent": {"_esm": PARENT, "child": "anywidget:kid"}, "kid": {"_esm": CHILD, "n": 3}},
        ["parent"],
    )
    live = page.locator("[data-widget=live]")
    expect(live.locator("p")).to_have_text("3 3 counter")
    expect(live.locator("div")).to_have_text("n is 3")
    live.click()
    expect(live.locator("p")).to_have_text("6 6 counter")
    expect(live.locator("div")).to_have_text("n is 6")
    assert page.evaluate("document.body.dataset.command") == "There is no kernel behind this page."
    page.evaluate(
        """async () => {
        document.body.insertAdjacentHTML("beforeend", '<p data-widget-model="parent"></p>');
        (await mountWidgets())();
        }"""
    )
    assert page.evaluate("({ ...document.body.dataset })")["aborted"] == "yes"
    assert page.evaluate("document.body.dataset.left") == "child"


def test_an_ordinary_ipywidget_leaves_a_note(mount: Callable[..., Page]) -> None:
    slider = ipywidgets.IntSlider(value=3)
    page = mount({"slider": slider.get_state()}, ["slider", "lost"])
    expect(page.get_by_role("note")).to_have_text(
        [
            "Not shown: IntSlider needs a running notebook.",
            "Not shown: The page has no state of widget lost.",
        ]
    )


def test_what_does_not_come_from_elsewhere_leaves_a_note(mount: Callable[..., Page]) -> None:
    esm = "import x from 'https://widgets.test/gone.js'; export default { render() {} };"
    page = mount({"a": {"_esm": esm}, "b": {"_esm": "https://widgets.test/gone.js"}}, ["a", "b"])
    why = "its code, or what that loads from elsewhere, does not come. Is there a network?"
    expect(page.get_by_role("note")).to_have_text([f"Not shown: {why}"] * 2)


# ---- Public packages whose front ends need no Python ---------------------------------------------


def test_bitjet(mount: Callable[..., Page]) -> None:
    page = mount({"m": bitjet.BitView(b"\x0f\xf0", datawidth=8).get_state()}, ["m", "m"])
    width = page.get_by_role("slider", name="width")
    expect(page.get_by_text("2 bytes · 8 × 2 bits · 32×8px")).to_have_count(2)
    width.first.fill("4")
    expect(page.get_by_text("2 bytes · 4 × 4 bits · 16×16px")).to_have_count(2)
    pixel = "c => [...c.getContext('2d').getImageData(1, 5, 1, 1).data]"  # bit 4, the first 1
    assert page.locator("canvas").last.evaluate(pixel) == [240, 240, 240, 255]


def test_ipymario(mount: Callable[..., Page]) -> None:
    page = mount({"m": ipymario.Widget(size=64).get_state()}, ["m"])
    canvas = page.locator(".ipymario canvas")
    expect(canvas).to_have_css("width", "64px")
    corner = "c => [...c.getContext('2d').getImageData(1, 0, 1, 1).data]"
    assert canvas.evaluate(corner) == [247, 82, 0, 255]
    canvas.click()
    page.wait_for_function(
        "document.querySelector('canvas').style.animation.includes('ipymario-bounce')"
    )


def test_drawdata(mount: Callable[..., Page]) -> None:
    widget: Any = drawdata.ScatterWidget(width=400, height=300)
    page = mount({"m": widget.get_state()}, ["m"])
    svg = page.locator("[data-widget=live] svg").last
    box = svg.bounding_box()
    assert box is not None
    circles = svg.locator("circle").count()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 150, steps=5)
    page.mouse.up()
    assert svg.locator("circle").count() > circles


def test_the_host_stays_small() -> None:
    assert len(HOST.read_text(encoding="utf-8").splitlines()) <= 160
