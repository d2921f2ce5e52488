"""Questions to the reader: their form, and how they behave on a page."""

from pathlib import Path

import pytest
from conftest import ROOT, violations
from markdown_it import MarkdownIt
from playwright.sync_api import Browser, Page, expect

from notebooks import question

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
def page(browser: Browser, tmp_path: Path) -> Page:
    """Two questions on a page, opened as a file."""
    script = (ROOT / "book" / "_static" / "questions.js").as_uri()
    body = MarkdownIt().render(SOURCE) + MarkdownIt().render(SOURCE.replace("1 + 1", "2"))
    (tmp_path / "index.html").write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Questions</title>'
        f'<script src="{script}"></script><main><h1>Questions</h1>{body}</main></html>'
    )
    page = browser.new_page()
    page.goto((tmp_path / "index.html").as_uri())
    yield page
    page.close()


def test_each_choice_is_answered_and_kept(page: Page) -> None:
    first, second = page.locator(".question").all()
    said = first.get_by_role("status")
    expect(said).to_have_text("")
    first.get_by_label("A. one").check()
    expect(said).to_have_text("Not so. A. That is one of them.")
    first.get_by_label("B. two").check()
    expect(said).to_have_text("Yes. B. One and one.")
    expect(second.get_by_role("status")).to_have_text("")
    page.reload()
    expect(page.get_by_role("status").first).to_have_text("Yes. B. One and one.")
    expect(page.get_by_label("B. two").first).to_be_checked()
    expect(page.get_by_role("status").last).to_have_text("")
    assert violations(page) == []


def test_the_keyboard_is_enough(page: Page) -> None:
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.get_by_role("status").first).to_contain_text("That is one of them.")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("status").first).to_contain_text("one too many")


def test_without_scripts_the_answer_is_folded(browser: Browser, page: Page) -> None:
    plain = browser.new_page(java_script_enabled=False)
    plain.goto(page.url)
    expect(plain.get_by_text("C. three").first).to_be_visible()
    expect(plain.get_by_text("One and one.").first).not_to_be_visible()
    plain.get_by_text("Answer", exact=True).first.click()
    expect(plain.get_by_text("One and one.").first).to_be_visible()
    plain.close()
