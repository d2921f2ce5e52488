"""`book/_static/explorers.js` mounts any anywidget, not only this book's."""

import base64
import json
from pathlib import Path

import pytest
from conftest import ROOT
from playwright.sync_api import Browser, Page

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


def test_the_host_stays_small() -> None:
    assert len(HOST.read_text(encoding="utf-8").splitlines()) <= 150
