"""Student copies: what is asked for is missing, said so, and enough; nothing else is lost."""

import ast
import re
from pathlib import Path

import nbformat
import pytest
import torch
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from notebooks import ROOT, chapters
from student import MARK, REQUIRE, Statement, answer_cells, asked, split, statements, student_copy

CHAPTERS = [path for path in chapters() if path.parent != ROOT / "book"]
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
    copy = student_copy(chapter)
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
    for cell in student_copy(chapter).cells:
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


def test_prose_alone_keeps_a_place_for_the_answer() -> None:
    text = "````{exercise}\n:label: ex-a-1\nWhy?\n````\n\n```{solution-start} ex-a-1\n"
    text += ":class: dropdown\n```\nBecause.\n\n```{solution-end}\n```\nThe end."
    cells = student_copy(new_notebook(cells=[new_markdown_cell(text)])).cells
    question, answer, after = cells
    assert question.source == "### Exercise ex-a-1\n\nWhy?" and after.source == "The end."
    assert answer.metadata.nbgrader.grade and answer.metadata.nbgrader.solution


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
