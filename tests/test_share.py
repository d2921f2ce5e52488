"""*Copy link* and *Reset figure*: a link is checked as Python checks, and harms nothing."""

import json
import random
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote_plus

import jsonschema
import pytest
from conftest import SITE, begin_reading, settle, visit
from playwright.sync_api import Browser, Page, expect
from test_explorer import EVALUATE, mounted  # noqa: F401

from d2lite import explore
from rules import READS, RULES, rules, schema, written

SCHEMAS = rules()
SCRIPTS = ("explorers", "rules", "share")
# Keeps each figure's model, what is copied and what goes wrong.
WATCH = """window.models = {}; window.wrong = []; window.copied = [];
addEventListener("error", (event) => wrong.push(event.message));
addEventListener("unhandledrejection", (event) => wrong.push(String(event.reason)));
document.addEventListener("widget-live", ({ detail }) => {
  models[detail.place.dataset.figure] = detail.model;
});
const clipboard = { writeText: async (text) => copied.push(text) };
Object.defineProperty(navigator, "clipboard", { value: clipboard });
"""
STATE = """([figure, names]) => Object.fromEntries(names.map((n) => [n, models[figure].get(n)]))"""
SWAP = str.maketrans("""[]{}"()!*'""", """()!*'[]{}\"""")


def test_the_rules_are_those_of_the_classes() -> None:
    assert RULES.read_text(encoding="utf-8") == written(), "make rules"
    with pytest.raises(ValueError, match=r"test_share.unknown: .* needs a schema"):
        schema(unknown)
    for name, traits in SCHEMAS.items():
        for trait, given in traits.items():
            jsonschema.Draft202012Validator.check_schema(given)
            jsonschema.validate(getattr(EVALUATE[name](), trait), given)
    known = {json.dumps(each) for traits in SCHEMAS.values() for each in traits.values()}
    assert {json.dumps(each) for each in READS.values()} <= known, "a schema that nobody needs"


def unknown(value: object) -> None:
    """Obey as a rule: anything."""


# ---- Any fragment --------------------------------------------------------------------------------


def drawn(given: dict, chance: random.Random) -> Any:
    """Draw a value that obeys a schema."""
    if "anyOf" in given:
        return drawn(chance.choice(given["anyOf"]), chance)
    if "enum" in given:
        return chance.choice(given["enum"])
    low, high = given.get("minimum", 0), given.get("maximum", 20)
    match given["type"]:
        case "boolean":
            return chance.random() < 0.5
        case "string":
            length = chance.choice([0, 1, 9, given["maxLength"], given["maxLength"] + 1])
            return "".join(chance.choices('aZ0 `+&=#%"\\\n', k=length))
        case "integer":
            return chance.choice(
                [low, high, min(high, low + chance.randint(0, 3)), chance.randint(low, high)]
            )
        case "number":
            share = chance.choice([0.01, 0.5, 1, chance.random()])
            return round(low + share * (high - low), 6)
        case "object":
            names = list(given["properties"])
            if "required" not in given:
                names = chance.sample(names, chance.randint(1, len(names)))
            return {name: drawn(given["properties"][name], chance) for name in names}
    sizes = given["minItems"], min(given["maxItems"], max(given["minItems"], 9))
    count, items = chance.randint(*sizes), given["items"]
    if given.get("uniqueItems"):
        return list({json.dumps(each := drawn(items, chance)): each for _ in range(count)}.values())
    first = drawn(items, chance)  # rows of one length, mostly
    rest = [drawn(items, chance) for _ in range(count - 1)]
    if isinstance(first, list) and chance.random() < 0.9:
        rest = [[*each, *first][: len(first)] for each in rest]
    return [first, *rest]


BAD = [
    "", "null", "NaN", "1e999", "-1", "1e9", "0.5", "true", "<img/src=x/onerror=wrong.push(1)>",
    "__proto__", "constructor", "('__proto__',1)", "!'__proto__':!'lr':1**", "((((((", "()", "(())",
    "((1,2),(3))", "!*", "!'SGD':!*,'__proto__':!'polluted':1**", "%", "%E0%A4%A", "%00", "1" * 400,
]  # fmt: skip


def write(value: Any) -> str:
    """Write a value as a link has it."""
    text = value if isinstance(value, str) else json.dumps(value).translate(SWAP)
    return quote(text, safe="(),!*':")


@pytest.mark.parametrize("name", explore.__all__)
def test_a_link_sets_what_python_would_accept_and_else_nothing(
    mounted: Callable[..., Page],  # noqa: F811
    name: str,
) -> None:
    chance = random.Random(name)
    shipped = EVALUATE[name]()
    traits = {n: s for n, s in SCHEMAS[name].items() if n != "image"}
    first = json.loads(json.dumps({n: getattr(shipped, n) for n in traits}))

    def expected(given: dict) -> dict:
        """The state, or the shipped one where Python or the page's own bounds say no."""
        try:
            for trait, value in given.items():
                jsonschema.validate(value, traits[trait])
            EVALUATE[name](**first | given)
        except (TypeError, ValueError, jsonschema.ValidationError):
            return first
        return first | given

    fragments: list[str] = []
    states: list[dict] = []
    for _ in range(40):
        some = chance.sample(list(traits), min(len(traits), chance.choice([1, 1, 2, 3])))
        given = {trait: drawn(traits[trait], chance) for trait in some}
        parts = [f"{trait}={write(value)}" for trait, value in given.items()]
        parts += [
            "__proto__=1",
            "label=<b>",
            "_esm=1",
            "toString=1",
            f"nothing={chance.choice(BAD)}",
        ]
        chance.shuffle(parts)
        fragments.append(f"figure={name}&" + "&".join(parts))
        states.append(expected(given))
    accepted = sum(state != first for state in states)
    assert accepted >= 8, "too few that Python accepts: nothing is tested"
    for text in BAD:
        trait = chance.choice(list(traits))
        try:
            value: Any = json.loads(text.translate(SWAP))
        except ValueError:
            value = text
        if traits[trait].get("type") == "string":
            value = unquote_plus(text)
        fragments.append(f"figure={name}&{trait}={text}")
        states.append(expected({trait: value}))

    page = mounted([name], scripts=SCRIPTS, init=WATCH)
    found = page.evaluate(
        """async ([name, names, fragments]) => {
        const found = [], copy = document.querySelector(".d2-sharing button");
        const frame = () => new Promise(requestAnimationFrame);
        const drawn = () => frame().then(frame);
        const state = () => Object.fromEntries(names.map((n) => [n, models[name].get(n)]));
        for (const fragment of fragments) {
          location.hash = fragment;
          await new Promise((f) => addEventListener("hashchange", f, { once: true }));
          await drawn();
          const html = document.querySelector(".d2").outerHTML;
          const said = html.match(/NaN|undefined|Infinity|\\[object/);
          copy.click();
          await drawn();
          found.push([state(), said?.[0] ?? null, copied.pop()]);
        }
        return found;
        }""",
        [name, list(traits), fragments],
    )
    for fragment, state, (got, said, _) in zip(fragments, states, found, strict=True):
        assert got == state, fragment
        assert said is None, fragment
    again = [link.partition("#")[2] for _, _, link in found]
    got = page.evaluate(
        """async ([name, names, links]) => {
        const found = [];
        for (const link of links) {
          location.hash = `figure=${name}`;
          await new Promise((f) => setTimeout(f));
          location.hash = link;
          await new Promise((f) => setTimeout(f));
          found.push(Object.fromEntries(names.map((n) => [n, models[name].get(n)])));
        }
        return found;
        }""",
        [name, list(traits), again],
    )
    assert got == states, "its own links lead back"
    assert page.evaluate("wrong") == []
    assert page.evaluate("[{}.polluted, [].polluted, Object.keys(Object.prototype)]") == [
        None,
        None,
        [],
    ]
    assert page.locator("img[src=x]").count() == 0


def test_a_drawing_and_a_garment_travel_in_a_link(mounted: Callable[..., Page]) -> None:  # noqa: F811
    name, image = "LeNetExplorer", [3 * i % 256 for i in range(784)]
    page = mounted([name], scripts=SCRIPTS, init=WATCH)
    links = page.evaluate(
        """async ([name, image]) => {
        const links = [], copy = document.querySelector(".d2-sharing button"), model = models[name];
        const shipped = model.get("image");
        for (const each of [image, shipped.map(() => 0), shipped]) {
          model.set("image", each);
          copy.click();
          await new Promise((f) => setTimeout(f));
          links.push(copied.pop().split("#")[1]);
        }
        return links;
        }""",
        [name, image],
    )
    drawing, empty, garment = links
    assert garment == f"figure={name}"
    assert len(drawing) < 1200
    for link, expected in ((drawing, image), (empty, [0] * 784)):
        page.evaluate("link => { location.hash = link; }", link)
        page.wait_for_function(
            "([n, image]) => JSON.stringify(models[n].get('image')) === JSON.stringify(image)",
            arg=[name, expected],
        )
    for broken in (
        "image=1",
        "image=999",
        "image=AAAA",
        "image=!!",
        f"image={drawing[-1:] * 4000}",
    ):
        page.evaluate("link => { location.hash = link; }", f"figure={name}&unit=3&{broken}")
        settle(page)
        assert page.evaluate(STATE, [name, ["unit"]]) == {"unit": 0}, broken
    assert page.evaluate("wrong") == []


# ---- On the site ---------------------------------------------------------------------------------

CHAPTER = "convolution/cross-correlation"
FIGURES = "one-output-nine-products", "sobel-x-finds-outline"


@pytest.fixture
def page(browser: Browser) -> Any:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    made = context.new_page()
    made.on("pageerror", lambda error: pytest.fail(str(error)))
    yield made
    context.close()


def slider(page: Page, name: str, figure: str = FIGURES[0]) -> Any:
    """A slider of one of the figures."""
    return page.locator(f"[data-widget][data-figure={figure}]").get_by_role("slider", name=name)


def button(page: Page, name: str) -> Any:
    """A button below the first figure."""
    return page.get_by_role("button", name=name).first


def test_a_link_opens_the_figure_as_it_was_left(page: Page, origin: str) -> None:
    address = f"{origin}/{CHAPTER}.html"
    visit(page, f"{address}?x=1#the-idea")
    slider(page, "Stride").fill("2")
    button(page, "Copy link").press("Enter")
    expect(page.locator(".d2-sharing [role=status]").first).to_have_text("Link copied.")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link == f"{address}?x=1#figure={FIGURES[0]}&stride=2"

    visit(page, "about:blank")
    visit(page, link.replace(FIGURES[0], FIGURES[1]))
    expect(slider(page, "Stride", FIGURES[1])).to_have_value("2")
    expect(slider(page, "Stride")).to_have_value("1")
    expect(page.locator(f"[data-widget][data-figure={FIGURES[1]}]")).to_be_in_viewport()
    assert page.evaluate("scrollY") > 500

    visit(page, "about:blank")
    visit(page, f"{link}&kernel=((1,2),(3,4))&operation=convolution")
    expect(slider(page, "Kernel size")).to_have_value("2")
    button(page, "Reset figure").press("Enter")
    expect(slider(page, "Kernel size")).to_have_value("3")
    expect(slider(page, "Stride")).to_have_value("1")
    expect(button(page, "Reset figure")).to_be_focused()


def test_back_and_reload_keep_what_the_reader_has_done(page: Page, origin: str) -> None:
    address = f"{origin}/{CHAPTER}.html"
    visit(page, f"{address}#figure={FIGURES[0]}&stride=2")
    slider(page, "Padding").fill("3")
    slider(page, "Padding", FIGURES[1]).fill("1")
    page.wait_for_timeout(500)
    assert page.evaluate("location.hash") == f"#figure={FIGURES[0]}&stride=2"

    def as_left() -> None:
        expect(slider(page, "Stride")).to_have_value("2")
        expect(slider(page, "Padding")).to_have_value("3")
        expect(slider(page, "Padding", FIGURES[1])).to_have_value("1")

    page.reload()
    as_left()
    page.evaluate("location.hash = 'summary'")  # a heading: figures stay as they are
    page.wait_for_timeout(100)
    as_left()
    page.evaluate(f"location.hash = 'figure={FIGURES[0]}&padding=1'")
    expect(slider(page, "Stride")).to_have_value("1")
    expect(slider(page, "Padding")).to_have_value("1")
    expect(slider(page, "Padding", FIGURES[1])).to_have_value("1")
    page.go_back()
    as_left()
    page.go_forward()
    expect(slider(page, "Padding")).to_have_value("1")
    visit(page, f"{origin}/index.html")
    page.go_back()
    expect(slider(page, "Padding")).to_have_value("1")
    visit(page, address)
    expect(slider(page, "Stride")).to_have_value("1")
    expect(slider(page, "Padding")).to_have_value("0")


def test_where_the_clipboard_is_refused_the_link_stands_in_a_field(page: Page) -> None:
    page.add_init_script("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    visit(page, (SITE / f"{CHAPTER}.html").as_uri())
    slider(page, "Stride").fill("3")
    button(page, "Copy link").click()
    field = page.get_by_role("textbox", name="The link")
    expect(field).to_be_focused()
    expect(field).to_have_value(re.compile(rf"#figure={FIGURES[0]}&stride=3$"))
    assert field.evaluate("e => [e.selectionStart, e.selectionEnd == e.value.length]") == [0, True]


def test_a_deck_understands_the_same_link(page: Page, origin: str) -> None:
    frame = page.frame_locator("section.present iframe")

    def stride(value: str) -> None:
        expect(frame.get_by_role("slider", name="Stride")).to_have_value(value)

    link = f"{origin}/slides/{CHAPTER}.html#figure={FIGURES[1]}&stride=2"
    page.goto(link)
    begin_reading(page)
    stride("2")
    shown = page.evaluate("Reveal.getSlidePastCount() + 1")
    page.wait_for_function(f"location.hash.endsWith('/&figure={FIGURES[1]}&stride=2')")
    page.reload()
    stride("2")
    assert page.evaluate("Reveal.getSlidePastCount() + 1") == shown
    page.get_by_role("button", name="Reset figure").last.click()
    stride("1")
    page.wait_for_function("!location.hash.includes('figure=')")
    page.goto("about:blank")
    page.goto(f"{origin}/slides/{CHAPTER}.html#/{shown}/&figure={FIGURES[1]}&padding=2")
    expect(frame.get_by_role("slider", name="Padding")).to_have_value("2")
    assert page.evaluate("Reveal.getSlidePastCount() + 1") == shown


def test_in_jupyter_no_button_needs_an_address() -> None:
    for make in EVALUATE.values():
        assert "Copy link" not in make()._esm
