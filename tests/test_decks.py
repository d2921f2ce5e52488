"""A deck's source: it takes from the chapter by label, and says what it cannot take or show."""

import base64
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import slides
from slides import blocks, deck, exporter, prepare_katex

PIXEL = base64.b64encode(b"a picture").decode()
QUESTION = """**Predict first.** How many?

- **A.** one
- **B.** two

<details><summary>Answer</summary>

**B.** One and one.

- **A.** That is one.

</details>"""


@pytest.fixture
def chapter(tmp_path: Path) -> Path:
    """A chapter with something of each kind to take."""
    (tmp_path / "map.png").write_bytes(b"a map")
    printed = new_output("stream", text="printed\n")
    drawn = new_output("display_data", data={"image/png": PIXEL, "text/plain": "Figure"})
    cells = [
        new_markdown_cell("# Topic: why?\n\n## First $x$"),
        new_code_cell("print(1)", outputs=[printed, drawn], metadata={"label": "both"}),
        new_markdown_cell(f"{QUESTION}", metadata={"label": "how-many"}),
        new_markdown_cell("## Second"),
        new_markdown_cell("![Own](attachment:own.png)", metadata={"label": "own"}),
    ]
    cells += [
        new_code_cell("x = 1", metadata={"label": "nothing"}),
        new_code_cell("draw()", outputs=[drawn], metadata={"label": "undescribed"}),
    ]
    cells[1].metadata.mystnb = {"image": {"alt": "two lines"}}
    cells[4].attachments = {"own.png": {"image/png": PIXEL}}
    path = tmp_path / "chapter.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    return path


def slides_of(chapter: Path, text: str) -> list[tuple[str, str]]:
    """What the deck's cells are, and say."""
    chapter.with_suffix(".slides.md").write_text(text, encoding="utf-8")
    return [(cell.metadata.slideshow.slide_type, cell.source) for cell in deck(chapter).cells]


def test_a_deck_is_cut_at_its_marks_but_not_inside_of_code() -> None:
    code = "```python\n# no title\n. . .\nNote:\n```"
    text = f"# One\n\nText.\n\n. . .\n\n![[a|code]]\n\n{code}\n\nNote:\nSay:\n\n. . .\n## Two\n"
    assert blocks(text) == [
        ("slide", "# One\n\nText."),
        ("fragment", "![[a|code]]"),
        ("-", code),
        ("notes", "Say:\n\n. . ."),
        ("slide", "## Two"),
    ]


def test_code_and_comments_are_seen_as_markdown_sees_them() -> None:
    inert = [
        "~~~python\n# no title\n. . .\n~~~",
        "````\n```\n# no title\n```\n````",
        "- one\n\n  ```\n  Note:\n  ```",
        "<!--\n## An old slide\n\n. . .\n-->",
        "```x``` begins no block",
    ]
    for text in inert:
        found = blocks(f"# One\n\n{text}\n\n## Two\n")
        assert found == [("slide", f"# One\n\n{text}"), ("slide", "## Two")]


def test_a_question_comes_with_its_choices_and_its_answer_by_itself(chapter: Path) -> None:
    found = slides_of(chapter, "## Vote\n\n![[how-many]]\n\n. . .\n\n![[how-many|answer]]\n")
    assert found[1:] == [
        ("-", "> How many?\n\n1. one\n1. two"),
        ("fragment", "**B.** One and one."),
    ]


def test_a_slide_belongs_to_the_section_of_what_it_shows(chapter: Path) -> None:
    chapter.with_suffix(".slides.md").write_text(
        "# Topic: why?\n\n## A\n\n![[both]]\n\n## B\n\nText.\n\n## C\n\n![[own]]\n"
    )
    first = [c for c in deck(chapter).cells if c.metadata.slideshow.slide_type == "slide"]
    assert [c.metadata.deck.section for c in first] == ["", "First x", "First x", "Second"]
    assert first[1].metadata.deck.anchor == "first-x"


def test_pictures_travel_in_the_deck(chapter: Path) -> None:
    found = slides_of(chapter, "## A\n\n![A map](map.png)\n\n![[own]]\n")
    data = base64.b64encode(b"a map").decode()
    assert found[0][1] == f"## A\n\n![A map](data:image/png;base64,{data})"
    assert found[1][1] == f"![Own](data:image/png;base64,{PIXEL})"


@pytest.mark.parametrize(
    "link",
    ['![A map](map.png "Map")', '<img src="map.png" alt="A map">', "![A][one]\n\n[one]: map.png",
     "![A map](<a map.PNG>)", "![A map](a%20map.PNG)"],
)  # fmt: skip
def test_a_picture_travels_however_it_is_written(chapter: Path, link: str) -> None:
    (chapter.parent / "a map.PNG").write_bytes(b"a map")
    (_, text), *_ = slides_of(chapter, f"## A\n\n{link}\n")
    assert f"data:image/png;base64,{base64.b64encode(b'a map').decode()}" in text


def test_a_link_to_a_chapter_leads_to_its_page(chapter: Path) -> None:
    ((_, text),) = slides_of(chapter, "## A\n\n[B](../part/b.ipynb#c) [D](https://d.org/e.md)\n")
    here = chapter.parent.name
    assert text.endswith(f"[B](../../{here}/../part/b.html#c) [D](https://d.org/e.md)")


@pytest.mark.parametrize(
    ("kind", "data", "seen"),
    [
        ("image/jpeg", PIXEL, f'src="data:image/jpeg;base64,{PIXEL}"'),
        ("image/svg+xml", "<svg/>", 'src="data:image/svg+xml;base64,PHN2Zy8+"'),
        ("text/latex", "$x$", 'class="katex"'),
    ],
)
def test_an_output_of_any_kind_is_shown(chapter: Path, kind: str, data: str, seen: str) -> None:
    notebook = nbformat.read(chapter, as_version=4)
    notebook.cells[1].outputs = [new_output("display_data", data={kind: data, "text/plain": "?"})]
    nbformat.write(notebook, chapter)
    prepare_katex()
    slides_of(chapter, "## A\n\n![[both]]\n")
    place = {"title": "A", "root": "", "page": "a.html"}
    html, _ = exporter().from_notebook_node(deck(chapter), {"deck": place})
    assert seen in html


def test_what_a_cell_shows_depends_on_the_words(chapter: Path) -> None:
    for words, seen in {
        "": ("printed", "two lines"),
        "|picture": ("two lines",),
        "|code": ('class="nb"',),
    }.items():
        slides_of(chapter, f"## A\n\n![[both{words}]]\n")
        place = {"title": "A", "root": "", "page": "a.html"}
        html, _ = exporter().from_notebook_node(deck(chapter), {"deck": place})
        body = html.partition('<div class="slides">')[2].partition("</main>")[0]
        for text in ("printed", "two lines", 'class="nb"'):
            assert (text in body) == (text in seen), words


@pytest.mark.parametrize(
    ("slide", "reason"),
    {
        "![[gone]]": "![[gone]]: no cell of the chapter has that label",
        "![[both|big]]": "![[both|big]]: 'big' is none of answer, beside-last,",
        "![[how-many|picture]]": "![[how-many|picture]]: that cell has no picture",
        "![[how-many|code]]": "![[how-many|code]]: that cell has no code",
        "![[both|answer]]": "![[both|answer]]: that cell has no answer",
        "![[both|code|picture]]": "takes one thing of a cell at a time",
        "![[both|beside-last]]": "![[both|beside-last]]: that cell has no explorer",
        "![[nothing]]": "![[nothing]]: that cell shows nothing",
        "![[undescribed]]": "![[undescribed]]: the picture has no alt text",
        "See ![[both]].": "See ![[both]].: what is taken has a line of its own",
        "- ![[both]]": "- ![[both]]: what is taken has a line of its own",
        "Note:\n![[both]]": "![[both]]: what is taken has a line of its own, not among notes",
        "```python\nx\n\n## B": "```python: this code has no end",
        "<!--\n\n## B": "<!--: this comment has no end",
        "##B": "##B: a title has a space before it",
        "B\n---": "B: a slide begins with `## `",
        "  ## B": "## B: a slide begins with `## `",
        "Note: say this": "Note: say this: notes begin with a line `Note:`",
        "notes:\nsay this": "notes:: notes begin with a line `Note:`",
        "...": "...: a pause is a line `. . .`",
        "```{note}\nText.\n```": "```{note}: slides are plain Markdown",
        ":::{note}\nText.\n:::": ":::{note}: slides are plain Markdown",
        "See {doc}`a`.": "{doc}`a`.: slides are plain Markdown",
        "```klingon\nx\n```": "```klingon: no language that is known",
        "~~~klingon\nx\n~~~": "~~~klingon: no language that is known",
        "- one\n\n  ```klingon wide\n  x\n  ```": "```klingon wide: no language that is known",
        "> ```{note}\n> Text.\n> ```": "```{note}: slides are plain Markdown",
        "![](gone.png)": "gone.png: no such picture",
        "![](attachment:gone.png)": "attachment:gone.png: no such picture",
    }.items(),
)
def test_what_cannot_be_shown_ends_in_a_line_that_names_the_place(
    chapter: Path, slide: str, reason: str
) -> None:
    text = f"# One\n\n## The slide\n\n{slide}\n"
    with pytest.raises(ValueError, match=r"^chapter\.slides\.md, slide 'The slide': ") as refusal:
        slides_of(chapter, text)
    assert reason in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_label_is_of_one_cell(chapter: Path) -> None:
    notebook = nbformat.read(chapter, as_version=4)
    notebook.cells[3].metadata.label = "both"
    nbformat.write(notebook, chapter)
    with pytest.raises(ValueError, match=r"^chapter.ipynb: two cells have the label 'both'$"):
        slides_of(chapter, "## A\n\n![[both]]\n")


@pytest.mark.parametrize("text", ["", "Text.\n\n# One\n", "One\n===\n", "### One\n"])
def test_a_deck_begins_with_a_slide(chapter: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"^chapter\.slides\.md: must begin with `# Title`"):
        slides_of(chapter, text)


def test_a_conflict_in_the_chapter_is_named(chapter: Path) -> None:
    chapter.write_text("<<<<<<< HEAD\n" + chapter.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"^chapter\.ipynb: no notebook: has marks of a conflict"):
        slides_of(chapter, "# One\n")


def test_a_deck_without_a_chapter_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "chaptr.slides.md").write_text("# One\n")
    monkeypatch.setattr(slides, "ROOT", tmp_path)
    with pytest.raises(ValueError, match=r"^chaptr\.slides\.md: there is no chapter chaptr\.ipynb"):
        slides.build(tmp_path / "site", [])
