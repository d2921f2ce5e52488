"""Every notebook is what its chapter promises: executed as it stands, honest, readable by all."""

import ast
import importlib
import itertools
import re
from functools import cache
from pathlib import Path

import nbformat
import pytest
from compared_pictures import BOUND, difference, pictures
from IPython.core.displayhook import DisplayHook
from pybtex.database import Entry, parse_file

from links import set_up_cell
from notebooks import FOLDED, ROOT, chapters, code_sha256, question
from slides import STATE as WIDGETS
from slides import deck, deck_of

NOTEBOOKS = chapters()
UNCOMPARED = {"nbval-ignore-output", "nbval-skip", "skip-execution", "raises-exception"}
LINK = re.compile(r"\[([^\]\[]+)\]\(((?:[^()\s]|\([^()\s]*\))+)\)")  # its text, its address
EXERCISE = re.compile(r"^### Exercise (\d+) (★{1,3}): .", re.M)


@pytest.fixture(params=NOTEBOOKS, ids=[str(path.relative_to(ROOT)) for path in NOTEBOOKS])
def notebook(request: pytest.FixtureRequest) -> nbformat.NotebookNode:
    read = nbformat.read(request.param, as_version=4)
    read.path = request.param
    return read


def code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook: nbformat.NotebookNode) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def words(text: str) -> int:
    text = re.sub(r"```.*?```|\$\$.*?\$\$", "", text, flags=re.S)
    return len(re.sub(r"^(>|\d[.]) ", "", text, flags=re.M).split())


def is_chapter(notebook: nbformat.NotebookNode) -> bool:
    return notebook.path.parent != ROOT / "book"


def test_there_are_notebooks() -> None:
    assert len(NOTEBOOKS) >= 4


def test_outputs_belong_to_the_code(notebook: nbformat.NotebookNode) -> None:
    assert notebook.metadata.d2lite.code_sha256 == code_sha256(notebook), (
        "the code was edited after it was executed: run `make execute`"
    )
    counts = [cell.execution_count for cell in code(notebook)]
    assert counts == list(range(1, len(counts) + 1)), "executed out of order: `make execute`"


def test_it_is_in_normal_form(notebook: nbformat.NotebookNode) -> None:
    from execute import normalize

    text = notebook.path.read_text(encoding="utf-8")
    assert nbformat.writes(normalize(nbformat.reads(text, as_version=4))) + "\n" == text


def test_no_cell_failed(notebook: nbformat.NotebookNode) -> None:
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [o for o in outputs if o.output_type == "stream" and o.name == "stderr"]


def test_it_begins_with_the_set_up_cell(notebook: nbformat.NotebookNode) -> None:
    first = code(notebook)[0]
    assert first.source == set_up_cell(), "run `make links`"
    assert first.metadata.tags == ["remove-input"], "it is not shown on the page"


def test_uncompared_cells_are_declared(notebook: nbformat.NotebookNode) -> None:
    loose = [cell for cell in code(notebook) if UNCOMPARED & set(cell.metadata.get("tags", []))]
    assert not [c for c in code(notebook) if re.search("NBVAL_(IGNORE|SKIP|RAISES)", c.source)]
    assert len(loose) <= notebook.metadata.d2lite.get("volatile_cells", 0)


def test_code_is_folded_everywhere_or_nowhere(notebook: nbformat.NotebookNode) -> None:
    """Who runs a chapter in JupyterLab or Colab sees as little of its machinery as on the site."""
    for cell in code(notebook):
        on_the_site = {"hide-input", "remove-input"} & set(cell.metadata.get("tags", []))
        assert {key: cell.metadata.get(key) for key in FOLDED} == (
            FOLDED if on_the_site else dict.fromkeys(FOLDED)
        )


def test_a_core_runs_without_its_folded_cells(notebook: nbformat.NotebookNode) -> None:
    """Who copies the visible cells of a core has everything: imports, data, functions."""
    if not any("## Experiments" in cell.source for cell in notebook.cells):
        return
    folded, shown = set(), set()
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            if "## Experiments" in cell.source:
                break
            continue
        nodes = list(ast.walk(ast.parse(cell.source)))
        names = [node for node in nodes if isinstance(node, ast.Name)]
        imports = [node for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom))]
        made = {name.id for name in names if isinstance(name.ctx, ast.Store)}
        made |= {n.name for n in nodes if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
        made |= {a.asname or a.name.split(".")[0] for node in imports for a in node.names}
        made |= {node.arg for node in nodes if isinstance(node, ast.arg)}
        if {"hide-input", "remove-input"} & set(cell.metadata.get("tags", [])):
            folded |= made
        else:
            shown |= made
            missing = {name.id for name in names} & folded - shown
            assert not missing, f"made in folded cells only: {missing}"


def test_no_cell_ends_in_a_semicolon(notebook: nbformat.NotebookNode) -> None:
    """It hides a value in Jupyter, but not in nbval, whose cells have no history: assign it."""
    hidden = DisplayHook.semicolon_at_end_of_expression
    assert not [cell.source for cell in code(notebook) if hidden(cell.source)]


def test_no_table_is_made_and_not_shown(notebook: nbformat.NotebookNode) -> None:
    """A cell shows the value of its last line alone."""
    lost = [
        ast.unparse(node)
        for cell in code(notebook)
        for node in ast.parse(re.sub(r"^(\s*)%.*$", r"\1pass", cell.source, flags=re.M)).body[:-1]
        if isinstance(node, ast.Expr) and re.match(r"table\(|\w*Explorer\(", ast.unparse(node))
    ]
    assert not lost


def test_no_picture_could_stand_for_another(notebook: nbformat.NotebookNode) -> None:
    """A run's pictures are compared with those that are kept: the bound tells all of them apart."""
    drawn = [picture for cell in code(notebook) for picture in pictures(cell.outputs)]
    pairs = itertools.combinations(drawn, 2)
    assert all(difference(one, other) > 2 * BOUND for one, other in pairs)


def test_claims_are_asserted(notebook: nbformat.NotebookNode) -> None:
    asserts = [
        node
        for cell in code(notebook)
        for node in ast.walk(ast.parse(re.sub(r"^(\s*)%.*$", r"\1pass", cell.source, flags=re.M)))
        if isinstance(node, ast.Assert)
    ]
    assert asserts
    assert not [node for node in asserts if isinstance(node.test, ast.Constant)]


def test_pictures_are_described(notebook: nbformat.NotebookNode) -> None:
    for cell in code(notebook):
        pictures = [o for o in cell.outputs if "image/png" in o.get("data", {})]
        if pictures:
            alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            assert len(alt) > 20, f"a picture without alt text: {cell.source[:80]}"


def test_saved_explorers_are_the_current_ones(notebook: nbformat.NotebookNode) -> None:
    for model in notebook.metadata.get("widgets", {}).get(WIDGETS, {}).get("state", {}).values():
        name = model["state"].get("_anywidget_id", "")
        if name.startswith("d2lite"):
            module, _, explorer = name.rpartition(".")
            current = getattr(importlib.import_module(module), explorer)
            assert model["state"]["_esm"] == current._esm, "run `make execute`"
            assert model["state"]["_css"] == current._css, "run `make execute`"


def test_taught_code_is_shipped_code(notebook: nbformat.NotebookNode) -> None:
    for cell in code(notebook):
        name = cell.metadata.get("d2lite", {}).get("ships")
        if name:
            module, _, function = name.rpartition(".")
            handed_on = getattr(importlib.import_module(f"d2lite.{module}"), function)
            shipped = importlib.import_module(handed_on.__module__).__file__
            assert bare(Path(shipped).read_text(), function) == bare(cell.source, function)


def bare(source: str, name: str) -> str:
    """A function's or class's syntax tree, without docstrings, comments, type hints and checks."""
    definitions = (ast.FunctionDef, ast.ClassDef)
    top = next(n for n in ast.parse(source).body if isinstance(n, definitions) and n.name == name)
    for node in ast.walk(top):
        if isinstance(node, definitions) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            node.decorator_list = [d for d in node.decorator_list if not is_check(d)]
        if isinstance(node, ast.arg):
            node.annotation = None
    return ast.unparse(top)


def is_check(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "checked"


def test_a_chapter_has_its_parts(notebook: nbformat.NotebookNode) -> None:
    if not is_chapter(notebook):
        pytest.skip("not a chapter")
    text = prose(notebook)
    for part in (
        "# ",
        "**You will be able to**",
        "## What we measured",
        "## Summary",
        "## Questions people ask",
        "## Exercises",
        "## Further reading",
    ):
        assert re.search(f"^{re.escape(part)}", text, re.M), part
    exercises = EXERCISE.findall(text)
    assert [int(number) for number, _ in exercises] == list(range(1, len(exercises) + 1))
    assert 3 <= len(exercises) <= 6
    stars = [len(stars) for _, stars in exercises]
    assert stars == sorted(stars) and {1, 3} <= set(stars)
    assert text.count("#### Solution") == len(exercises)
    read = re.sub(r"\*\*Predict first\.\*\*.*?</details>", "", text, flags=re.S)
    assert words(read) <= 4500, f"{words(read)} words: more than 25 minutes of reading"


def test_a_chapter_is_named_by_its_topic(notebook: nbformat.NotebookNode) -> None:
    if is_chapter(notebook):
        title = notebook.cells[0].source.splitlines()[0]
        assert re.fullmatch(r"# [A-Z][^:]*: [^:]+\?", title), "# Topic: the question?"


def test_it_reads_well_raw(notebook: nbformat.NotebookNode) -> None:
    """As plain Markdown, which is all that Jupyter, Colab and GitHub know."""
    text = re.sub(r"^```.*?^```|\$\$.*?\$\$", "", prose(notebook), flags=re.S | re.M)
    assert not re.findall(r"(?<!`)\{[a-z][\w:-]*\}`[^`]+`", text)  # a role
    assert not re.findall(r"^:{3,}.*|^\([\w-]+\)=$|^% .*|\{#.*\}", text, re.M)
    assert not re.findall(r"^[\s>*+-]*(?:`{3,}|~{3,})\s*\{.*", prose(notebook), re.M)
    assert not [c for c in notebook.cells if "slideshow" in c.metadata]
    assert not [c for c in notebook.cells if "remove-cell" in c.metadata.get("tags", [])]


def test_it_is_spelled_as_in_america(notebook: nbformat.NotebookNode) -> None:
    deck = deck_of(notebook.path)
    text = prose(notebook) + (deck.read_text("utf-8") if deck.exists() else "")
    text = re.sub(r"```.*?```|`[^`\n]*`|\]\([^)]*\)|!\[\[.*?\]\]", "", text, flags=re.S)
    british = r"(?:normal|initial|optim|regular|general|minim|maxim|recogn|organ|memor)is(?=[ei])"
    british += r"|colour|neighbour|behaviour|\bgrey|\bcentre|(?:label|model)l(?=ed|ing)"
    assert not re.findall(rf"\w*(?:{british})\w*", text, re.I)


def test_links_lead_somewhere(notebook: nbformat.NotebookNode) -> None:
    for target in re.findall(r"\]\((?!\w+:|#)([^)\s#]+)", prose(notebook)):
        if "." in target:  # else it is mathematics
            assert (notebook.path.parent / target).is_file(), target


def author_and_year(entry: Entry) -> tuple[str, str]:
    """How the book names the authors of an entry of references.bib, and when it appeared."""
    persons = entry.persons["author"]
    last = [
        " ".join(map(str, [*person.rich_prelast_names, *person.rich_last_names]))
        for person in persons
    ]
    names = f"{last[0]} et al." if len(last) > 2 or last[-1] == "others" else " & ".join(last)
    return names, entry.fields["year"]


@cache
def bibliography() -> dict[str, set[tuple[str, str]]]:
    """Authors and years of what lies at each address."""
    cited: dict[str, set[tuple[str, str]]] = {}
    for entry in parse_file(str(ROOT / "book" / "references.bib")).entries.values():
        doi = entry.fields.get("doi")
        address = entry.fields.get("url") or (f"https://doi.org/{doi}" if doi else None)
        cited.setdefault(address or "../references.md", set()).add(author_and_year(entry))
    return cited


def test_citations_are_those_of_the_bibliography(notebook: nbformat.NotebookNode) -> None:
    cited, found = bibliography(), 0
    for text, address in LINK.findall(prose(notebook)):
        named = re.fullmatch(r"(.+?)(?: \((\d{4})\)|, (\d{4}))", text)
        if named:
            assert (named[1], named[2] or named[3]) in cited.get(address, ()), f"{text}: {address}"
            found += 1
        else:
            assert address not in cited, f"{text}: name the authors and the year"
    assert found or not is_chapter(notebook)


def test_code_is_not_wider_than_the_page(notebook: nbformat.NotebookNode) -> None:
    lines = [line for cell in code(notebook) for line in cell.source.splitlines()]
    assert not [line for line in lines if len(line) > 79]


def test_questions_have_their_form(notebook: nbformat.NotebookNode) -> None:
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("**Predict"):
            asked = question(cell.source)
            assert asked and 2 <= len(asked.choices) <= 5 and cell.metadata.label


def test_each_solution_runs_and_checks_itself(notebook: nbformat.NotebookNode) -> None:
    checked: dict[str, int] = {}
    exercise, inside = "", False
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            if inside := cell.source.startswith("#### Solution"):
                checked[exercise] = 0
            exercise = cell.metadata.get("label", exercise)
        elif inside:
            checked[exercise] += cell.source.count("assert")
    assert all(checked.values()), f"solutions without an assert: {checked}"


def slides(notebook: nbformat.NotebookNode) -> list[list[nbformat.NotebookNode]]:
    """The cells of each slide of its deck."""
    if not deck_of(notebook.path).exists():
        pytest.skip("no deck")
    found: list[list[nbformat.NotebookNode]] = []
    for cell in deck(notebook.path).cells:
        if kind(cell) == "slide":
            found.append([])
        found[-1].append(cell)
    return found


def kind(cell: nbformat.NotebookNode) -> str:
    return cell.metadata.slideshow.slide_type


def test_a_deck_is_a_lecture(notebook: nbformat.NotebookNode) -> None:
    shown = slides(notebook)
    assert 12 <= len(shown) <= 20
    starts = ["\n".join(c.source for c in slide if c.cell_type == "markdown") for slide in shown]
    assert starts[0].splitlines()[0] == notebook.cells[0].source.splitlines()[0]
    assert [s for s in starts[:3] if re.search("^1[.] ", s, re.M)], "no vote at the opening"
    assert sum("\n> " in start for start in starts) >= 4, "too few questions to the room"
    assert [slide for slide in shown if kind(slide[-1]) == "notes"] == shown, "no notes"


def test_a_slide_shows_little(notebook: nbformat.NotebookNode) -> None:
    lines = {line.strip() for cell in code(notebook) for line in cell.source.splitlines()}
    for first, *others in slides(notebook):
        title = re.match("##? (.+)", first.source)
        assert len(title[1]) <= (75 if title[0].startswith("# ") else 60), title[1]
        shown = [cell for cell in (first, *others) if kind(cell) != "notes"]
        prose = [cell.source for cell in shown if cell.cell_type == "markdown"]
        prose[0] = prose[0].removeprefix(title.group())
        text = "\n\n".join(prose)
        own = [part for part in prose if not part.startswith("> ")]  # not a question, taken
        assert all(words(part) <= 40 for part in own) and words(text) <= 60, title[1]
        plain = re.sub(r"\$\$.*?\$\$|\$.*?\$|```.*?```", "", text, flags=re.S)
        assert "{" not in plain, "CommonMark and mathematics only"
        quoted = [block.splitlines() for block in re.findall(r"```python\n(.*?)```", text, re.S)]
        assert {line.strip() for block in quoted for line in block} <= lines, (
            "not the chapter's code"
        )
        cells = [cell for cell in shown if cell.cell_type == "code"]
        blocks = quoted + [
            cell.source.splitlines()
            for cell in cells
            if "slide-code" in cell.metadata.get("tags", [])
        ]
        assert all(len(block) <= 12 for block in blocks), "more than 12 lines of code"
        assert all(len(line) <= 76 for block in blocks for line in block), "a line would wrap"
        assert len(cells) + len(quoted) <= 1, f"one thing to look at: {title.group(1)}"
