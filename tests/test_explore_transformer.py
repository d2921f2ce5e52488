"""The transformer explorer: scores and attention against PyTorch, typing, keys, writing."""

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from conftest import assert_legible_and_accessible, settle, slide
from playwright.sync_api import Page, expect
from torch import nn

from d2lite.data import help_topics, small_transformer
from d2lite.data.small_transformer import CHARACTERS, PACKAGED, from_8_bits, split, to_8_bits
from d2lite.explore import TransformerExplorer
from d2lite.explore.transformer import LONGEST, pack, unpack
from d2lite.nets.transformer import LanguageModel

TEXT = 'The "with" statement is used to wrap the execution of a block'
FIXED = ["characters", "context", "width", "depth", "heads"]


def wild(characters: str, *sizes: int) -> LanguageModel:
    """A model of random weights that have a say."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LanguageModel(len(characters), *sizes).eval()
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.15 * torch.randn_like(p))
    return model


def traits(explorer: TransformerExplorer) -> dict[str, Any]:
    """What the figure has of the model."""
    given = {name: getattr(explorer, name) for name in FIXED}
    return given | {"weights": list(explorer.weights)}


# ---- Arithmetic ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "characters"),
    [
        (None, CHARACTERS),
        ((96, 64, 4, 4), CHARACTERS),
        ((9, 6, 3, 1), "ab\n"),
        ((33, 20, 5, 3), CHARACTERS[::-1]),
        ((8, 48, 8, 6), "abcdefgh "),
    ],
)
def test_scores_and_attention_equal_pytorchs(
    javascript: Callable, sizes: tuple[int, ...] | None, characters: str
) -> None:
    """Of texts one after another, each with parts of the one before: what was read is kept."""
    model = small_transformer() if sizes is None else wild(characters, *sizes)
    explorer = TransformerExplorer(model, characters)
    chance, text, texts = random.Random(0), "", []
    for i in range(40):
        kept = text[: chance.randint(0, len(text))] if i % 2 else text
        length = chance.choice([0, 1, 2, 5, explorer.context, 2 * explorer.context])
        text = (kept + "".join(chance.choices(characters, k=length)))[:LONGEST]
        texts.append(text if len(text) < LONGEST else (text := text[:3]))
    (found,) = javascript(TransformerExplorer, "answers", [[traits(explorer), texts]])
    shipped, checked = explorer.model, 0
    for text, answer in zip(texts, found, strict=True):
        explorer.text = text
        if not text:
            assert answer["scores"] == []
            continue
        scores = torch.tensor(answer["scores"]).float()
        torch.testing.assert_close(scores, shipped(explorer.ids)[0], rtol=1e-3, atol=1e-3)
        shares = torch.tensor(answer["attention"]).float()
        torch.testing.assert_close(shares, explorer.attention, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(scores[-1], explorer.logits, rtol=1e-3, atol=1e-3)
        checked += len(scores)
    assert checked > 100


def test_what_it_writes_equals_pythons(javascript: Callable) -> None:
    explorer = TransformerExplorer()
    cases = [(TEXT, t, seed, 60) for t in (0.1, 1.0, 2.0) for seed in (0, 7)]
    found = javascript(
        TransformerExplorer,
        "continued",
        [
            [traits(explorer), text, {"temperature": t, "seed": seed}, count]
            for text, t, seed, count in cases
        ],
    )
    assert len(set(found)) >= 5
    for (text, t, seed, count), written in zip(cases, found, strict=True):
        explorer.set_trait("text", text)
        explorer.temperature, explorer.seed = t, seed
        assert explorer.continued(count) == written
    explorer.text = "x" * (LONGEST - 2)
    assert len(explorer.continued(9)) == LONGEST


def test_what_is_drawn_follows_the_probabilities() -> None:
    explorer = TransformerExplorer(text="The ", temperature=1.5)
    expected = explorer.probabilities
    counts = torch.zeros(len(CHARACTERS))
    for seed in range(1000):
        explorer.seed = seed
        counts[CHARACTERS.index(explorer.continued(1)[4])] += 1
    kept = expected > 0.02
    error = (expected * (1 - expected) / 1000).sqrt()
    assert kept.sum() > 5
    assert ((counts / 1000 - expected).abs() < 4.5 * error)[kept].all()


def test_eight_bits_are_enough() -> None:
    model = wild(CHARACTERS, 32, 32, 4, 2)
    explorer = TransformerExplorer(model, text=TEXT[:32])
    original, shipped = model(explorer.ids), explorer.model(explorer.ids)
    assert (original - shipped).std() < 0.05 * original.std()
    again = pack(explorer.model)
    assert again == explorer.weights
    model = unpack(again, LanguageModel(95, 32, 32, 4, 2))
    for p, q in zip(model.parameters(), explorer.model.parameters(), strict=True):
        assert torch.equal(p, q)
    x = torch.randn(5, 40)
    assert (from_8_bits(*to_8_bits(x)) - x).abs().max() <= 0.51 * x.abs().max() / 127


def test_of_a_long_text_it_sees_the_end() -> None:
    explorer = TransformerExplorer(wild("ab", 8, 8, 2, 1), "ab")
    for length, start in [(1, 0), (8, 0), (9, 4), (12, 4), (13, 8), (16, 8), (17, 12)]:
        explorer.text = "ab" * 20
        explorer.text = explorer.text[:length]
        assert explorer.start == start
        assert explorer.attention.shape == (1, 2, length - start, length - start)
        for place, chosen in [(-1, length - 1), (0, start), (length, length - 1)]:
            explorer.place = place
            assert explorer.chosen == chosen


def test_what_is_accepted_of_an_input(javascript: Callable) -> None:
    long = "a" * (LONGEST + 1)
    cases = ["a b\n", "aéb", "é", "a\u201cb\u201d\tc", "x`", long, "", "a\U0001f600b"]
    found = javascript(
        TransformerExplorer, "accepted", [[c, "as it was", CHARACTERS] for c in cases]
    )
    texts = ["a b\n", "ab", "", "abc", "x", "as it was", "", "ab"]
    assert [each["text"] for each in found] == texts
    strange = [[], ["é"], ["é"], ["\u201c", "\u201d", "\t"], ["`"], [], [], ["\U0001f600"]]
    assert [each["strange"] for each in found] == strange
    assert [each["long"] for each in found] == [len(c) > LONGEST and len(c) for c in cases]


# ---- What ships ----------------------------------------------------------------------------------


def test_the_model_that_ships() -> None:
    """It is far better, on what it has not seen, than by each character's frequency."""
    assert "".join(sorted(set(help_topics()))) == CHARACTERS
    seen, held_out = split()
    assert seen + held_out == help_topics() and held_out.startswith("Functions\n*********\n")
    assert PACKAGED.stat().st_size < 300_000 and len(TransformerExplorer().weights) < 300_000
    model = small_transformer()
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    ids = torch.tensor([CHARACTERS.index(c) for c in held_out[: 97 * 60]]).view(60, 97)
    loss = nn.functional.cross_entropy(model(ids[:, :-1])[:, 48:].mT, ids[:, 49:])
    counts = torch.tensor([seen.count(c) for c in CHARACTERS])
    dull = nn.functional.nll_loss((counts / counts.sum()).log().expand(60 * 48, -1),
                                  ids[:, 49:].flatten())  # fmt: skip
    assert loss < 0.5 * dull


# ---- Traits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": nn.Linear(2, 2)}, TypeError, "model=Linear.*: must be a LanguageModel"),
        ({"model": LanguageModel(3, 8, 4, 1, 1)}, ValueError, "model: 3 tokens, must be 95"),
        ({"model": LanguageModel(95, 8, 4, 1, 0)}, ValueError, "model: 0 layers, must be 1 to 6"),
        ({"model": LanguageModel(95, 8, 9, 9, 1)}, ValueError, "model: 9 heads, must be at most 8"),
        ({"model": LanguageModel(95, 7, 4, 1, 1)}, ValueError, "context 7, must be at least 8"),
        ({"characters": 3}, TypeError, "characters=3: must be a str"),
        ({"characters": "aba"}, ValueError, "each at most once"),
        ({"characters": "aé"}, ValueError, "must be printable ASCII or new lines"),
        ({"text": 3}, TypeError, "text=3: must be a str"),
        ({"text": "naïve"}, ValueError, "text='naïve': 'ï': must be printable ASCII"),
        ({"text": "a`b"}, ValueError, "text: '`' are not among the model's characters"),
        ({"text": "a" * 289}, ValueError, "289 characters, must be at most 288"),
        ({"place": -2}, ValueError, "place=-2: must be ≥ -1"),
        ({"layer": 4}, ValueError, "layer=4: must be ≤ 3"),
        ({"head": 4}, ValueError, "head=4: must be ≤ 3"),
        ({"temperature": 0}, ValueError, "temperature=0: must be ≥ 0.1"),
        ({"seed": -1}, ValueError, "seed=-1: must be ≥ 0"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        TransformerExplorer(**arguments)


def test_the_picture_has_the_text_and_what_comes_next() -> None:
    explorer = TransformerExplorer(text="a <b>\n& c", layer=1, head=1)
    svg = ElementTree.fromstring(explorer.picture())
    texts = [text.text for text in svg if text.tag.endswith("text")]
    assert texts[:9] == list("a·<b>¶&·c")
    best = explorer.probabilities.topk(5).values
    assert texts[10::2] == [f"{100 * p:.0f} %" for p in best]
    empty = TransformerExplorer(text="")
    assert "NaN" not in empty.picture()
    assert empty.attention.numel() == 0 and empty.probabilities.std() == 0


# ---- The figure in a browser ---------------------------------------------------------------------


@pytest.fixture
def page(show: Callable) -> Page:
    return show(TransformerExplorer(text=TEXT))


def bars(page: Page) -> list[list[str]]:
    """The next characters and their shares."""
    settle(page)
    rows = page.locator(".d2-bar").all()
    return [[row.locator("span").first.inner_text(), row.locator(".d2-share").inner_text()]
            for row in rows]  # fmt: skip


def expected(explorer: TransformerExplorer) -> list[list[str]]:
    """What the bars say of the explorer's text."""
    best = explorer.probabilities.topk(10)
    names = {" ": "space", "\n": "new line"}
    return [
        [
            names.get(c := explorer.characters[i], c),
            f"{100 * p:.0f}\u00a0%" if p >= 0.005 else "<\u00a01\u00a0%",
        ]
        for p, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ]


def says(page: Page) -> str:
    settle(page)
    return page.get_by_role("status").first.inner_text()


def test_a_text_is_typed(page: Page) -> None:
    field = page.get_by_label("Type here")
    field.focus()
    page.keyboard.press("Control+End")
    page.keyboard.type(" of\nco")
    explorer = TransformerExplorer(text=TEXT + " of\nco")
    assert field.input_value() == explorer.text
    assert bars(page) == expected(explorer)
    assert page.locator(".d2-stage").inner_text().replace("\n", "") == (
        explorer.text.replace(" ", "·").replace("\n", "¶")
    )
    field.fill("")
    assert says(page) == "Type something, and the model reads it."
    expect(page.locator(".d2-bar").first).to_be_hidden()
    expect(page.get_by_role("button", name="Continue")).to_be_disabled()
    field.fill("pri")
    assert bars(page) == expected(TransformerExplorer(text="pri"))


def test_what_it_does_not_know_is_left_out_and_said(page: Page) -> None:
    field, warning = page.get_by_label("Type here"), page.get_by_role("alert")
    expect(warning).to_be_hidden()
    field.focus()
    page.keyboard.press("Control+Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.insert_text("ü\u201c")
    settle(page)
    assert field.input_value() == TEXT
    assert field.evaluate("e => e.selectionStart") == 1
    expect(warning).to_contain_text("95 characters; “ü” and “\u201c” are not among them")
    page.keyboard.type("m")
    settle(page)
    assert field.input_value() == "Tm" + TEXT[1:]
    expect(warning).to_be_hidden()
    page.keyboard.insert_text("x" * 300)
    settle(page)
    assert field.input_value() == "Tm" + TEXT[1:]
    expect(warning).to_contain_text(f"at most {LONGEST} characters")


def shares(page: Page) -> list[float]:
    """How deep the ground of each character is."""
    settle(page)
    return page.locator(".d2-char").evaluate_all(
        "all => all.map((e) => parseFloat(e.style.getPropertyValue('--mix')) || 0)"
    )


def test_a_place_and_a_head_are_chosen(page: Page) -> None:
    explorer = TransformerExplorer(text=TEXT, place=20, layer=2, head=3)
    page.locator(".d2-char").nth(20).click()
    page.get_by_role("button", name="Layer 2, head 3").click()

    def check() -> None:
        attention = explorer.attention[explorer.layer, explorer.head, explorer.chosen]
        for found, share in zip(shares(page), attention.tolist(), strict=True):
            assert found == pytest.approx(8 + 42 * share if share > 0.005 else 0, abs=0.06)
        top = int(attention.argmax())
        steps = explorer.chosen - top
        name = {" ": "space"}.get(TEXT[top], f"“{TEXT[top]}”")
        own = {" ": "space"}.get(TEXT[explorer.chosen], f"“{TEXT[explorer.chosen]}”")
        where = f"{steps} before" if steps else "itself"
        assert says(page).startswith(
            f"Layer {explorer.layer}, head {explorer.head}, from {own}: "
            f"{100 * attention[top]:.0f}\u00a0% to {name} ({where})"
        )
        assert bars(page) == expected(explorer)
        pressed = page.locator(".d2-head[aria-pressed=true]")
        expect(pressed).to_have_attribute("tabindex", "0")
        assert pressed.count() == 1

    check()
    page.get_by_role("application").focus()
    for key, place in [("ArrowLeft", 19), ("ArrowRight", 20), ("ArrowRight", 21), ("Home", 0)]:
        page.keyboard.press(key)
        explorer.place = place
        check()
    page.keyboard.press("ArrowLeft")
    check()
    page.keyboard.press("End")
    explorer.place = -1
    check()
    page.locator(".d2-head[aria-pressed=true]").focus()
    for key, layer, head in [("ArrowUp", 1, 3), ("ArrowLeft", 1, 2), ("ArrowDown", 2, 2)]:
        page.keyboard.press(key)
        explorer.layer, explorer.head = layer, head
        check()
        focused = page.evaluate("document.activeElement.ariaLabel")
        assert focused.startswith(f"Layer {layer}, head {head}")


def test_lines_of_the_text_are_gone_up_and_down(show: Callable) -> None:
    page = show(TransformerExplorer(text="first line\nsecond line\nthird"))
    page.get_by_role("application").focus()
    own = page.locator(".d2-char.own")
    places = []
    for key in ("ArrowUp", "ArrowUp", "ArrowUp", "ArrowDown"):
        page.keyboard.press(key)
        settle(page)
        places.append(own.get_attribute("data-at"))
    assert places == ["15", "4", "4", "15"]


def test_what_comes_is_compared_with_the_guess(show: Callable) -> None:
    explorer = TransformerExplorer(text=TEXT, place=7)
    page = show(explorer)
    chances = explorer.probabilities
    next_id = CHARACTERS.index(TEXT[8])
    rank = int((chances > chances[next_id]).sum()) + 1
    told = page.get_by_role("status").last.inner_text()
    assert told.startswith(f"After “{TEXT[7]}” may come ")
    assert f"In the text comes “{TEXT[8]}”" in told
    assert told.endswith("the first guess." if rank == 1 else f"guess {rank}.")


def test_it_goes_on_with_the_text(page: Page) -> None:
    field = page.get_by_label("Type here")
    slide(page, "Temperature", 0.5)
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    page.wait_for_function(
        "n => document.querySelector('textarea').value.length >= n", arg=len(TEXT) + 10
    )
    page.get_by_role("button", name="Stop").click()
    settle(page)
    written = field.input_value()
    explorer = TransformerExplorer(text=TEXT, temperature=0.5)
    assert written == explorer.continued(len(written) - len(TEXT))
    assert bars(page) == expected(TransformerExplorer(text=written, temperature=0.5))
    page.get_by_role("button", name="Take back").click()
    settle(page)
    assert field.input_value() == TEXT
    expect(page.get_by_role("button", name="Take back")).to_be_disabled()
    page.get_by_role("button", name="Other seed").click()
    expect(page.get_by_text("seed 1")).to_be_visible()
    assert field.input_value() == TEXT
    page.get_by_role("button", name="Continue").click()
    page.wait_for_function(
        "n => document.querySelector('textarea').value.length >= n", arg=len(TEXT) + 10
    )
    field.press("Control+End")
    field.press("!")  # who types stops it
    settle(page)
    written = field.input_value()
    expect(page.get_by_role("button", name="Continue")).to_be_visible()
    assert written[-1] == "!"
    explorer.seed = 1
    assert written[:-1] == explorer.continued(len(written) - 1 - len(TEXT))


def test_who_asks_for_stillness_gets_it_at_once(show: Callable) -> None:
    page = show(TransformerExplorer(text="The "))
    page.emulate_media(reduced_motion="reduce")
    page.evaluate(
        """() => {
        window.lengths = new Set();
        const look = () => {
          lengths.add(document.querySelector("textarea").value.length);
          requestAnimationFrame(look);
        };
        look();
        }"""
    )
    page.get_by_role("button", name="Continue").click()
    page.wait_for_function(f"document.querySelector('textarea').value.length == {LONGEST}")
    settle(page)
    assert page.evaluate("[...lengths]") == [4, LONGEST]
    expect(page.get_by_role("button", name="Continue")).to_be_disabled()
    explorer = TransformerExplorer(text="The ")
    assert page.get_by_label("Type here").input_value() == explorer.continued(LONGEST)


def test_it_rests_where_nobody_sees_it(page: Page) -> None:
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    page.evaluate("document.body.style.paddingTop = '9000px'")
    length = "document.querySelector('textarea').value.length"
    page.wait_for_function("document.querySelector('.d2-start').textContent == 'Continue'")
    before = page.evaluate(length)
    page.wait_for_timeout(300)
    assert page.evaluate(length) == before < LONGEST


def test_temperature_flattens_the_bars(page: Page) -> None:
    explorer, tops = TransformerExplorer(text=TEXT), []
    for temperature in (0.1, 1, 2):
        slide(page, "Temperature", temperature)
        explorer.temperature = temperature
        assert bars(page) == expected(explorer)
        tops.append(explorer.probabilities.max())
    assert all(a > b for a, b in pairwise(tops))


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    "given",
    [
        {"text": TEXT, "layer": 1, "head": 2},
        {"text": "x = (1,\n     2" + 90 * "ab ", "place": 250, "temperature": 0.1},
        {"text": ""},
    ],
)
def test_it_is_legible_and_accessible(show: Callable, theme: str, given: dict[str, Any]) -> None:
    page = show(TransformerExplorer(**given), theme=theme)
    assert_legible_and_accessible(page)
    page.get_by_label("Type here").fill("naïve")
    assert_legible_and_accessible(page)
    page.set_viewport_size({"width": 320, "height": 800})
    settle(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
