"""Questions to the reader: their form, and how they behave on a page."""

from collections.abc import Iterator

import nbformat
import pytest
from conftest import ROOT, SITE, violations
from playwright.sync_api import Browser, Page, expect

from notebooks import question

PAGE = SITE / "start" / "first-network.html"
CELLS = nbformat.read(ROOT / "book" / "start" / "first-network.ipynb", as_version=4).cells
ASKED = next(filter(None, (question(cell.source) for cell in CELLS)))
SOURCE = """**Predict first.** How many are $1 + 1$?

- **A.** one
- **B.** two
- **C.** three

<details><summary>Answer</summary>

**B.** One and one.

- **A.** That is one of them.
- **C.** That is one too many.

</details>"""


def test_a_question_is_read() -> None:
    asked = question(SOURCE)
    assert asked.text == "How many are $1 + 1$?"
    assert asked.choices == ["one", "two", "three"]
    assert asked.answer == "**B.** One and one."
    assert asked.feedback == {"A": "That is one of them.", "C": "That is one too many."}
    assert question("Predict first, then run it.") is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("**B.** One", "**D.** One"),  # no such choice
        ("- **C.** That", "- **B.** That"),  # feedback to the answer, and none to C
        ("- **A.** That is one of them.\n", ""),
        ("<summary>Answer</summary>", "<summary>Solution</summary>"),
        ("\n\n</details>", ""),
        ("- **B.** two\n", ""),
    ],
)
def test_what_is_not_whole_is_refused(old: str, new: str) -> None:
    with pytest.raises(ValueError, match="Predict first"):
        question(SOURCE.replace(old, new, 1))


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of the site with several questions, opened as a file."""
    page = browser.new_page()
    page.goto(PAGE.as_uri())
    yield page
    page.close()


def test_each_choice_is_answered_and_kept(page: Page) -> None:
    first, second = page.locator(".question").all()[:2]
    said, choices = first.locator("[role=status]"), first.get_by_role("radio").all()
    expect(said).to_be_empty()
    heard = []
    for choice in choices:
        choice.check()
        heard.append(said.inner_text())
    assert len(set(heard)) == len(choices) == len(ASKED.choices)
    for letter, text in zip("ABCDE", heard, strict=False):
        right = ASKED.answer.startswith(f"**{letter}.**")
        assert text.startswith(f"Yes. {letter}." if right else f"Not so. {letter}.")
    expect(second.locator("[role=status]")).to_be_empty()
    page.reload()
    expect(page.locator("[role=status]").first).to_have_text(heard[-1])
    expect(page.get_by_role("radio").nth(len(choices) - 1)).to_be_checked()
    assert violations(page, within=".question") == []


def test_the_keyboard_is_enough(page: Page) -> None:
    page.get_by_role("radio").first.focus()
    page.keyboard.press("Space")
    expect(page.locator("[role=status]").first).to_contain_text("A.")
    page.keyboard.press("ArrowDown")
    expect(page.locator("[role=status]").first).to_contain_text("B.")


def test_without_scripts_the_answer_is_folded(browser: Browser) -> None:
    page = browser.new_page(java_script_enabled=False)
    page.goto(PAGE.as_uri())
    answer = page.locator(".question + details").first
    expect(page.locator(".question label").first).to_be_visible()
    expect(page.locator(".question input").first).not_to_be_visible()
    expect(answer.locator("p").first).not_to_be_visible()
    answer.locator("summary").click()
    expect(answer.locator("p").first).to_be_visible()
    page.close()
