"""Student copies: what is asked for is missing, said so, and enough; nothing else is lost."""

import ast
import base64
import re
from pathlib import Path

import nbformat
import pytest
import torch
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import student
from notebooks import ROOT, chapters
from student import REQUIRE, Statement, answer_cells, asked, split, statements, student_copy

CHAPTERS = [path for path in chapters() if path.parent != ROOT / "book"]
#: The one form that chapters use; `student.py` knows all others as well.
MARK = re.compile(r"```\{solution-(?:start|end)\} ?(\S*)\n(?::class: dropdown\n)?```")
ROLE = {"schema_version", "task", "locked", "grade_id", "grade", "solution"}
IMPORTED = {"torch": torch, "nn": torch.nn, "F": torch.nn.functional}  # by every chapter


def solutions(notebook: NotebookNode) -> dict[str, list[NotebookNode]]:
    """The code of each solution, found without the tool's own loop."""
    found: dict[str, list[NotebookNode]] = {}
    label = ""
    for cell in notebook.cells:
        if cell.cell_type == "code" and label:
            found[label].append(cell)
        for mark in MARK.finditer(cell.source) if cell.cell_type == "markdown" else ():
            label = mark[1]
            found |= {label: []} if label else {}
    return found


EXERCISES = {
    label: cells
    for path in CHAPTERS
    for label, cells in solutions(nbformat.read(path, as_version=4)).items()
}


@pytest.fixture(params=CHAPTERS, ids=[path.stem for path in CHAPTERS])
def chapter(request: pytest.FixtureRequest) -> NotebookNode:
    return nbformat.read(request.param, as_version=4)


@pytest.fixture(params=EXERCISES)
def exercise(request: pytest.FixtureRequest) -> tuple[str, list[NotebookNode]]:
    return request.param, EXERCISES[request.param]


def dump(code: list[Statement] | str) -> list[str]:
    """The syntax of a text, or of statements, line by line."""
    text = code if isinstance(code, str) else "\n".join(s.text for s in code)
    return [ast.unparse(node) for node in ast.parse(text).body]


def early(node: ast.stmt) -> set[str]:
    """Names that a definition reads before it is called: defaults, decorators, bases."""
    parts = [*node.decorator_list, *getattr(node, "bases", [])]
    if isinstance(node, ast.FunctionDef):
        parts += [*node.args.defaults, *filter(None, node.args.kw_defaults)]
    else:
        parts += [n for n in node.body if not isinstance(n, ast.FunctionDef)]
    return {n.id for part in parts for n in ast.walk(part) if isinstance(n, ast.Name)}


def test_all_exercises_are_found() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in CHAPTERS)
    assert len(EXERCISES) == text.count("{solution-start}") >= 90


def test_work_and_checks_together_are_the_solution(
    exercise: tuple[str, list[NotebookNode]],
) -> None:
    """What runs in the order of the copy is what nbval runs in the chapter."""
    _, cells = exercise
    code = statements(cells)
    source = dump("\n".join(cell.source for cell in cells))
    assert dump(code) == source
    together = [s for part in split(code) for side in part for s in side]
    assert sorted(dump(together)) == sorted(source)
    again = statements([new_code_cell("\n".join(s.text for s in together))])
    places = [source.index(line) for line in dump(again)]
    for place, moved in zip(places, again, strict=True):
        for other, passed in zip(places, again, strict=True):
            before = again.index(moved) < again.index(passed)
            if before and other < place:  # it was overtaken: only a definition may, if harmless
                assert moved.defines or moved.imports
                assert not moved.binds & (passed.reads | passed.binds)
                assert not (moved.defines and early(moved.node) & passed.binds)


def test_a_stub_fails_and_says_what_is_missing(exercise: tuple[str, list[NotebookNode]]) -> None:
    label, cells = exercise
    answers = answer_cells(label, cells)
    parts = split(statements(cells))
    space = dict(IMPORTED)
    exec(REQUIRE, space)
    for i, part in enumerate(parts):
        wanted = asked(parts[i:])
        if not wanted:  # a person grades it
            with pytest.raises(NotImplementedError, match=f"^Exercise {label}: replace this line"):
                exec(answers.pop(0).source, space)
            continue
        stub, check = answers.pop(0), answers.pop(0)
        with pytest.raises(AssertionError, match=f"^Exercise {label}: `{wanted[0]}` is still"):
            exec(check.source, space | dict.fromkeys(wanted, ...))
        exec(stub.source, space)
        guard, *rest = dump(check.source)
        assert rest == dump(part[1])
        for name in wanted:  # each in turn, until all are there
            with pytest.raises(AssertionError, match=f"^Exercise {label}: `{name}` is "):
                exec(check.source, space)
            space[name] = max
        exec(guard, space)
    assert not answers


def test_a_stub_gives_nothing_away(exercise: tuple[str, list[NotebookNode]]) -> None:
    label, cells = exercise
    stubs = [c for c in answer_cells(label, cells) if c.metadata.nbgrader.solution]
    shown = {line.strip() for cell in stubs for line in cell.source.splitlines()}
    for work, _ in split(statements(cells)):
        for s in work:
            kinds = ast.Assign | ast.AugAssign | ast.Return | ast.For | ast.With
            inner = [n for n in ast.walk(s.node) if isinstance(n, kinds)]
            lines = {ast.unparse(n).splitlines()[0] for n in inner}
            assert not lines & shown


def test_a_copy_is_clean_and_whole(chapter: NotebookNode) -> None:
    copy = student_copy(chapter, ROOT)
    nbformat.validate(copy)
    for cell in copy.cells:
        assert not re.search(r"```\{(solution|exercise)", cell.source)
        assert set(cell.metadata) <= {"nbgrader", "jupyter"}
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None
    assert set(copy.metadata) == {"kernelspec"}
    exercises = set(solutions(chapter))
    graded = [cell.metadata["nbgrader"] for cell in copy.cells if "nbgrader" in cell.metadata]
    assert {re.sub(r"-(work|check)-\d$", "", role["grade_id"]) for role in graded} == exercises | {
        "require"
    }
    code = {cell.source for cell in copy.cells if cell.cell_type == "code"}
    inside = {cell.source for cells in solutions(chapter).values() for cell in cells}
    for cell in chapter.cells:
        if cell.cell_type == "code" and "remove-cell" not in cell.metadata.get("tags", []):
            assert (cell.source in code) != (cell.source in inside)


def test_roles_are_those_of_nbgrader(chapter: NotebookNode) -> None:
    """As in nbgrader's schema, version 3; see its nbgraderformat/v3.json."""
    names = []
    for cell in student_copy(chapter, ROOT).cells:
        role = cell.metadata.get("nbgrader")
        if role:
            names.append(role["grade_id"])
            assert cell["id"] == role["grade_id"]
            assert set(role) == ROLE | ({"points"} if role["grade"] else set())
            assert re.fullmatch(r"[a-zA-Z0-9_-]+", role["grade_id"])
            assert role["schema_version"] == 3 and role["locked"] != role["solution"]
            if cell.cell_type == "markdown":
                assert role["grade"] == role["solution"]
            elif role["solution"]:  # a person grades it only where no check follows
                assert role["grade"] == cell.source.startswith("raise NotImplementedError")
    assert len(set(names)) == len(names)


EXERCISE = "````{exercise}\n:label: ex-a-1\nWhy?\n````\n\n"
#: How MyST lets an author open a solution, and close it.
GATES = {
    "as in the book": "```{solution-start} ex-a-1\n:class: dropdown\n```",
    "two classes": "```{solution-start} ex-a-1\n:class: dropdown tip\n```",
    "no option": "```{solution-start} ex-a-1\n```",
    "a label first": "```{solution-start} ex-a-1\n:label: so-1\n:class: dropdown\n```",
    "a label last": "```{solution-start} ex-a-1\n:class: dropdown\n:label: so-1\n```",
    "a flag": "```{solution-start} ex-a-1\n:hidden:\n```",
    "options as YAML": "```{solution-start} ex-a-1\n---\nclass: dropdown\n---\n```",
    "colons": ":::{solution-start} ex-a-1\n:class: dropdown\n:::",
    "many colons": "::::{solution-start} ex-a-1\n::::",
    "tildes": "~~~{solution-start} ex-a-1\n:class: dropdown\n~~~",
    "four ticks": "````{solution-start} ex-a-1\n````",
    "spaces": "  ``` {solution-start}   ex-a-1 \n  :class: dropdown\n  ```  ",
    "capitals": "```{Solution-Start} ex-a-1\n```",
    "an empty line": "```{solution-start} ex-a-1\n:class: dropdown\n\n```",
    "behind odd line ends": "A\x0cB\u2028C\x85D\r\nE\r\n```{solution-start} ex-a-1\r\n```",
    "not closed in its cell": "```{solution-start} ex-a-1\n:class: dropdown",
}
ENDS = [
    "```{solution-end}\n```",
    ":::{solution-end}\n:::",
    "~~~ {solution-end}\n~~~",
    "```{solution-end}",
]


def copy_of(*cells: str | NotebookNode, folder: Path = ROOT) -> list[NotebookNode]:
    """A student copy of a chapter of these cells, of which a text is Markdown."""
    made = [new_markdown_cell(cell) if isinstance(cell, str) else cell for cell in cells]
    return student_copy(new_notebook(cells=made), folder).cells


@pytest.mark.parametrize("start", GATES.values(), ids=GATES)
def test_a_solution_is_found_in_every_form(start: str) -> None:
    code = new_code_cell("secret = 1\nassert secret == 1")
    for end in ENDS:
        question, work, check = copy_of(EXERCISE + start, "A secret.", code, "No secret.\n\n" + end)
        assert question.source.startswith("### Exercise ex-a-1\n\nWhy?")
        assert "secret" not in question.source.lower() and "{" not in question.source
        assert work.source == "# Exercise ex-a-1: your work.\nsecret = ..."
        assert check.source == 'require("ex-a-1", "secret")\nassert secret == 1'
        if start != GATES["not closed in its cell"]:
            whole = copy_of(EXERCISE + start + "\nA secret.\n\n" + end + "\n")
            assert [cell.source for cell in whole] == [question.source, "*Your answer.*"]


@pytest.mark.parametrize("fence", ["```", "````", ":::", "~~~"])
def test_a_solution_in_one_piece_is_found(fence: str) -> None:
    text = (
        f"{EXERCISE}{fence}{{solution}} ex-a-1\n:class: dropdown tip\n\nSecret.\n{fence}\nThe end."
    )
    _, answer, after = copy_of(text)
    assert answer.source == "*Your answer.*" and after.source == "The end."


@pytest.mark.parametrize(
    "exercise",
    [
        "```{exercise} Think\n:label: ex-a-1\nWhy?\n```",
        "```{exercise} Think\n:class: tip\n:label: ex-a-1\n\nWhy?\n```",
        ":::{exercise} Think\n:label: ex-a-1\n:nonumber:\n\nWhy?\n:::",
        "~~~{exercise} Think\n---\nclass: tip\nlabel: ex-a-1\n---\nWhy?\n~~~",
    ],
)
def test_an_exercise_is_read_in_every_form(exercise: str) -> None:
    (cell,) = copy_of(f"Before.\n\n{exercise}\nAfter.")
    assert cell.source == "Before.\n\n### Exercise ex-a-1 Think\n\nWhy?\nAfter."


OPEN, CLOSE = "```{solution-start} ex-a-1\n```\n", "\n```{solution-end}\n```"
NO_PLACE = "no place for it in a copy"
REFUSED = {
    "in a list": (
        "- one\n\n  ```{solution} ex-a-1\n  Secret.\n  ```",
        "{solution}: a student would",
    ),
    "in a quotation": ("> ```{solution} ex-a-1\n> Secret.\n> ```", "{solution}: a student would"),
    "in another directive": ("````{note}\n```{solution} a\nSecret.\n```\n````", "{note}"),
    "in an exercise": (
        "````{exercise}\n:label: a\n```{solution} a\nSecret.\n```\n````",
        "{solution}: a student would",
    ),
    "in reStructuredText": ("```{eval-rst}\n.. solution:: a\n\n   Secret.\n```", "{eval-rst}"),
    "in a block of colons": (":::\n```{solution} a\nSecret.\n```\n:::", "{solution}: a student"),
    "of nothing": ("```{solution-start}\n```\nSecret.", "{solution-start}: " + NO_PLACE),
    "in a solution": (OPEN * 2, "{solution-start} ex-a-1: " + NO_PLACE),
    "whole in a solution": (
        OPEN + "```{solution} b\nSecret.\n```",
        "{solution-start} b: " + NO_PLACE,
    ),
    "a second one": ((OPEN + CLOSE + "\n") * 2, "{solution-start} ex-a-1: " + NO_PLACE),
    "an end alone": (CLOSE, "{solution-end}: " + NO_PLACE),
    "an unknown directive": ("```{figure} a.png\n```", "{figure} a.png: " + NO_PLACE),
    "an exercise with gates": (
        "```{exercise-start}\n:label: a\n```",
        "{exercise-start}: " + NO_PLACE,
    ),
    "an exercise without a label": ("```{exercise} Think\nWhy?\n```", "{exercise} Think: no label"),
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_could_hold_a_solution_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^cell 1: {re.escape(reason)}") as refusal:
        copy_of("Before.", text)
    assert "\n" not in str(refusal.value) and "Secret" not in str(refusal.value)


def test_a_solution_without_an_end_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^the solution of ex-a-1 does not end$"):
        copy_of(EXERCISE + OPEN, new_code_cell("secret = 1"))


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("x = 1\n%timeit x", "%timeit x"),
        ("%%time\nx = 1", "%%time"),
        ("x = 1\n!ls  # list", "!ls  # list"),
        ("x = torch.nn.Linear?", "x = torch.nn.Linear?"),
        ("files = !ls", "files = !ls"),
        ("await answer()", "await answer()"),
        ("def f(:\n    pass", "def f(:"),
        ("if x:\n", "if x:"),
    ],
)
def test_a_solution_is_plain_python(source: str, line: str) -> None:
    with pytest.raises(ValueError, match=f"^cell 1: `{re.escape(line)}`: a solution must be plain"):
        copy_of(OPEN, new_code_cell(source), CLOSE)
    assert copy_of(new_code_cell(source))[0].source == source  # elsewhere magics are welcome


def test_pictures_travel_in_the_copy(tmp_path: Path) -> None:
    chapter, static = tmp_path / "part", tmp_path / "_static"
    chapter.mkdir()
    static.mkdir()
    (static / "map.png").write_bytes(b"a picture")
    (static / "map.svg").write_bytes(b"<svg/>")
    text = '![A map](../_static/map.png "Map") <img src="../_static/map.svg" alt="">\n\n![][one] '
    text += f"![](attachment:own.png) `other.png`\n\n[one]: ../_static/map.png\n\n{OPEN}"
    cell = new_markdown_cell(text + f"![](attachment:secret.png) ![](../_static/map.svg){CLOSE}")
    cell.attachments = {"own.png": {"image/png": "b3du"}, "secret.png": {"image/png": "c2VjcmV0"}}
    shown, _ = copy_of(cell, folder=chapter)
    assert set(shown.attachments) == {"own.png", "map.png", "map.svg"}
    assert base64.b64decode(shown.attachments["map.png"]["image/png"]) == b"a picture"
    assert base64.b64decode(shown.attachments["map.svg"]["image/svg+xml"]) == b"<svg/>"
    assert shown.source == (
        '![A map](attachment:map.png "Map") <img src="attachment:map.svg" alt="">\n\n![][one] '
        "![](attachment:own.png) `other.png`\n\n[one]: attachment:map.png"
    )


def test_pictures_from_elsewhere_stay_there() -> None:
    text = "![](https://example.org/_static/map.png) [a](../convolution/pooling.ipynb)"
    (cell,) = copy_of(text, folder=ROOT / "book" / "training")
    assert cell.source == text and "attachments" not in cell


def test_one_refused_chapter_means_no_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, copies = tmp_path / "book" / "part", tmp_path / "copies"
    part.mkdir(parents=True)
    copies.mkdir()
    (copies / "old").touch()
    for name, text in {"a": "Fine.", "b": f"{OPEN}Secret."}.items():
        nbformat.write(new_notebook(cells=[new_markdown_cell(text)]), part / f"{name}.ipynb")
    monkeypatch.setattr(student, "ROOT", tmp_path)
    monkeypatch.setattr(student, "STUDENT", copies)
    monkeypatch.setattr(student, "chapters", lambda: sorted(part.glob("*.ipynb")))
    with pytest.raises(SystemExit) as end:
        student.main()
    assert end.value.code == (
        "book/part/b.ipynb, the solution of ex-a-1 does not end; no copy is written"
    )
    assert [file.name for file in copies.iterdir()] == ["old"]
    (part / "b.ipynb").unlink()
    student.main()
    assert [file.name for file in copies.rglob("*.*")] == ["a.ipynb"]


def test_a_tag_settles_what_is_shown() -> None:
    def tagged(*tags: str) -> list[str]:
        work = new_code_cell("def f():\n    return 1\n\n\nx = f()")
        check = new_code_cell("assert x == 1", metadata={"tags": list(tags)})
        return [cell.source for cell in answer_cells("ex-a-1", [work, check])]

    assert "x = f()" in tagged()[1]
    stub, check = tagged("check")
    assert stub.endswith("x = ...") and check == 'require("ex-a-1", "x")\nassert x == 1'


#: Light exercises, and what they need of their chapters.
LIGHT = {
    "ex-output-size-2": "from d2lite.shapes import conv_output_size",
    "ex-activations-and-losses-2": "from d2lite.activations import sigmoid",
    "ex-layer-instance-group-norm-2": "",
}


def test_in_a_kernel_stubs_fail_and_solutions_pass(tmp_path: Path) -> None:
    needs = ["import torch", "from torch.nn import functional as F"]
    needs += ["from torch.testing import assert_close", *LIGHT.values()]
    cells = [new_code_cell("\n".join(needs)), new_code_cell(REQUIRE)]
    for label in LIGHT:
        answers = answer_cells(label, EXERCISES[label])
        parts = split(statements(EXERCISES[label]))
        for (work, _), stub, check in zip(parts, answers[::2], answers[1::2], strict=True):
            solved = new_code_cell("\n".join(s.text for s in work))
            cells += [stub, check, solved, new_code_cell(check.source)]
    notebook = new_notebook(cells=cells)
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    NotebookClient(notebook, allow_errors=True, timeout=120).execute(cwd=tmp_path)
    errors = [[o for o in cell.outputs if o.output_type == "error"] for cell in cells]
    checks = errors[3::4], errors[5::4]
    assert not any(errors[0] + errors[1]) and not any(errors[2::4] + errors[4::4])
    for (error,), label in zip(checks[0], LIGHT, strict=True):
        assert error.ename == "AssertionError" and error.evalue.startswith(f"Exercise {label}: `")
    assert not any(checks[1])
