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
from notebooks import FOLDED, ROOT, chapters
from student import REQUIRE, Statement, answer_cells, asked, split, student_copy

CHAPTERS = [path for path in chapters() if path.parent != ROOT / "book"]
ROLE = {"schema_version", "task", "locked", "grade_id", "grade", "solution"}
IMPORTED = {"torch": torch, "nn": torch.nn, "F": torch.nn.functional}  # by every chapter


def solutions(notebook: NotebookNode) -> dict[str, list[NotebookNode]]:
    """The code of each exercise's solution, found by the headings and not by the tags."""
    found: dict[str, list[NotebookNode]] = {}
    label, inside = "", False
    for cell in notebook.cells:
        if cell.cell_type == "code":
            if inside:
                found[label].append(cell)
        elif cell.source.startswith("### Exercise"):
            label, inside = cell.metadata.label, False
        elif cell.source.startswith("#### Solution"):
            inside = True
            found[label] = []
        elif cell.source.startswith("#"):
            inside = False
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


def test_all_exercises_are_found() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in CHAPTERS)
    assert len(EXERCISES) == text.count('"### Exercise ') == text.count('"#### Solution') >= 90


def test_work_and_checks_together_are_the_solution(
    exercise: tuple[str, list[NotebookNode]],
) -> None:
    """What runs in the order of the copy is what nbval runs in the chapter."""
    _, cells = exercise
    together = [s for part in split(cells) for side in part for s in side]
    assert dump(together) == dump("\n".join(cell.source for cell in cells))


def test_a_stub_fails_and_says_what_is_missing(exercise: tuple[str, list[NotebookNode]]) -> None:
    label, cells = exercise
    answers = answer_cells(label, cells)
    parts = split(cells)
    space = dict(IMPORTED)
    exec(REQUIRE, space)
    for i, part in enumerate(parts):
        wanted = asked(parts[i:])
        if not part[1]:  # a person grades it
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
    for work, _ in split(cells):
        for s in work:
            kinds = ast.Assign | ast.AugAssign | ast.Return | ast.For | ast.With
            inner = [n for n in ast.walk(s.node) if isinstance(n, kinds)]
            lines = {ast.unparse(n).splitlines()[0] for n in inner}
            assert not lines & shown


def test_a_copy_is_clean_and_whole(chapter: NotebookNode) -> None:
    copy = student_copy(chapter, ROOT)
    nbformat.validate(copy)
    for cell in copy.cells:
        assert "#### Solution" not in cell.source
        assert set(cell.metadata) <= {"nbgrader", *FOLDED}
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
        if cell.cell_type == "code" and "check" not in cell.metadata.get("tags", []):
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


def exercise_cell(label: str = "ex-a-1") -> NotebookNode:
    return new_markdown_cell("### Exercise 1 ★: Think\n\nWhy?", metadata={"label": label})


def tagged(source: str, *tags: str) -> NotebookNode:
    """A cell of a solution: Markdown where it begins with a heading or a capital."""
    make = new_markdown_cell if re.match("[#A-Z]", source) else new_code_cell
    return make(source, metadata={"tags": list(tags)})


def copy_of(*cells: str | NotebookNode, folder: Path = ROOT) -> list[NotebookNode]:
    """A student copy of a chapter of these cells, of which a text is Markdown."""
    made = [new_markdown_cell(cell) if isinstance(cell, str) else cell for cell in cells]
    return student_copy(new_notebook(cells=made), folder).cells


TEXT = tagged("#### Solution\n\nA secret.", "solution")


def test_tags_alone_say_what_a_student_sees() -> None:
    work, check = tagged("secret = 1", "solution"), tagged("assert secret == 1", "check")
    asked_for, stub, checks, end = copy_of(exercise_cell(), TEXT, work, check, "## The end")
    assert asked_for.source == "### Exercise 1 ★: Think\n\nWhy?" and end.source == "## The end"
    assert stub.source == "# Exercise ex-a-1: your work.\nsecret = ..."
    assert checks.source == 'require("ex-a-1", "secret")\nassert secret == 1'


def test_a_solution_in_words_is_graded_by_a_person() -> None:
    more = tagged("More of the secret.", "solution")
    cells = copy_of(exercise_cell(), TEXT, more, "### Exercises end", "Words.")
    assert [cell.source for cell in cells[1:]] == ["*Your answer.*", "### Exercises end", "Words."]


def test_work_and_checks_may_take_turns() -> None:
    cells = [tagged(f"x{i} = {i}", "solution") for i in range(2)]
    checks = [tagged(f"assert x{i} == {i}", "check") for i in range(2)]
    made = copy_of(exercise_cell(), TEXT, cells[0], checks[0], cells[1], checks[1])
    roles = [cell.metadata.nbgrader.grade_id for cell in made[1:]]
    assert roles == [f"ex-a-1-{kind}-{i}" for i in (1, 2) for kind in ("work", "check")]


REFUSED = {
    "no tag at the heading": [exercise_cell(), "#### Solution\n\nSecret."],
    "no tag at the code": [exercise_cell(), TEXT, new_code_cell("secret = 1")],
    "no tag at the prose": [exercise_cell(), TEXT, "The secret."],
    "no exercise": [TEXT],
    "no label": [exercise_cell(""), TEXT],
    "no solution": [exercise_cell(), "## The end"],
    "a label of two": [exercise_cell(), TEXT, exercise_cell(), TEXT],
    "a label that is no name": [exercise_cell("ex a.1"), TEXT],
    "two solutions": [exercise_cell(), TEXT, tagged("#### Solution", "solution")],
    "behind a heading": [exercise_cell(), TEXT, "### More", tagged("secret = 1", "solution")],
    "behind code with a comment": [
        exercise_cell(),
        TEXT,
        "```python\n# a comment\n```",
        new_code_cell("secret = 1"),
    ],
    "in bold": [exercise_cell(), "**Solution.** Secret.", TEXT],
    "folded": [exercise_cell(), "<details><summary>Solution</summary>Secret.</details>", TEXT],
    "folded in bold": [
        exercise_cell(),
        "<details>\n<summary><b>Our\nsolution</b></summary>Secret.</details>",
        TEXT,
    ],
    "under a heading in HTML": [exercise_cell(), "<h4>A solution</h4>Secret.", TEXT],
    "in a directive": ["```{solution} a\nSecret.\n```"],
    "in a gate": ["```{solution-start} a\n:class: dropdown tip\n```\nSecret."],
    "in colons": [":::{solution-start} a\n:::\nSecret."],
    "in tildes": ["~~~{solution} a\nSecret.\n~~~"],
    "in a list": ["- one\n\n  ```{solution} a\n  Secret.\n  ```"],
    "in a quotation": ["> ```{solution} a\n> Secret.\n> ```"],
    "spaces and capitals": ["  ``` {Solution-Start} a\n  ```\nSecret."],
    "an unknown directive": ["```{figure} a.png\n```"],
}


@pytest.mark.parametrize("cells", REFUSED.values(), ids=REFUSED)
def test_what_could_hold_a_solution_is_refused(cells: list) -> None:
    with pytest.raises(ValueError, match=r"^(cell \d+: |ex-a-1 has no)") as refusal:
        copy_of("Before.", *cells)
    assert "\n" not in str(refusal.value) and "Secret" not in str(refusal.value)


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
    with pytest.raises(ValueError, match=f"^cell 2: `{re.escape(line)}`: a solution must be plain"):
        copy_of(exercise_cell(), TEXT, new_code_cell(source, metadata={"tags": ["solution"]}))
    assert copy_of(new_code_cell(source))[0].source == source  # elsewhere magics are welcome


def test_a_check_stays_where_the_work_names_nothing() -> None:
    """Such as work that changes a network of the chapter."""
    work, check = tagged("net.fc = secret", "solution"), tagged("assert net.fc", "check")
    _, stub, checks = copy_of(exercise_cell(), TEXT, work, check)
    assert stub.source.startswith("raise NotImplementedError") and not stub.metadata.nbgrader.grade
    assert checks.source == 'require("ex-a-1")\nassert net.fc' and checks.metadata.nbgrader.grade


def test_a_stub_has_what_its_first_lines_read() -> None:
    work = """\
class Base:
    secret = 1
scale = 2
def double(function, by=scale):
    return function
@double
def answer():
    return 3
class Net(Base):
    def forward(self):
        return answer()"""
    cells = tagged(work, "solution"), tagged("assert Net().forward() == answer()", "check")
    _, stub, check = copy_of(exercise_cell(), TEXT, *cells)
    space: dict = {}
    with pytest.raises(NotImplementedError, match="`double` is not written yet"):
        exec(stub.source, space)
    assert space["scale"] is ... and space["Base"] and "secret" not in stub.source
    assert '"double", "answer", "Net")' in check.source


def test_a_line_ends_where_python_ends_it() -> None:
    work, check = "text = 'a\u2028b'\nsecret = 1\nmore = 2", "assert secret"
    cells = copy_of(exercise_cell(), TEXT, tagged(work, "solution"), tagged(check, "check"))
    assert cells[1].source == "# Exercise ex-a-1: your work.\nsecret = ..."


def test_pictures_travel_in_the_copy(tmp_path: Path) -> None:
    chapter, static = tmp_path / "part", tmp_path / "_static"
    chapter.mkdir()
    static.mkdir()
    (static / "map.png").write_bytes(b"a picture")
    (static / "map.svg").write_bytes(b"<svg/>")
    text = '![A map](../_static/map.png "Map") <img src="../_static/map.svg" alt="">\n\n![][one] '
    text += "![](attachment:own.png) `other.png`\n\n[one]: ../_static/map.png"
    cell = new_markdown_cell(text)
    cell.attachments = {"own.png": {"image/png": "b3du"}, "secret.png": {"image/png": "c2VjcmV0"}}
    (shown,) = copy_of(cell, folder=chapter)
    assert set(shown.attachments) == {"own.png", "map.png", "map.svg"}
    assert base64.b64decode(shown.attachments["map.png"]["image/png"]) == b"a picture"
    assert base64.b64decode(shown.attachments["map.svg"]["image/svg+xml"]) == b"<svg/>"
    assert shown.source == (
        '![A map](attachment:map.png "Map") <img src="attachment:map.svg" alt="">\n\n![][one] '
        "![](attachment:own.png) `other.png`\n\n[one]: attachment:map.png"
    )


def test_pictures_of_any_name_travel_in_the_copy(tmp_path: Path) -> None:
    for name in ("a/map.png", "b/map.png", "MAP.PNG", "my map.png", "löwe (1).webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    text = "![](a/map.png) ![](b/map.png) ![](MAP.PNG) ![](<my map.png>) ![](my%20map.png)"
    cell = new_markdown_cell(f"{text} ![](<löwe (1).webp>) ![](attachment:a%20b.png)")
    cell.attachments = {"a b.png": {"image/png": "b3du"}}
    (shown,) = copy_of(cell, folder=tmp_path)
    asked_for = re.findall(r"attachment:(\S+)\)", shown.source)
    data = [next(iter(shown.attachments[name].values())) for name in asked_for]
    assert [base64.b64decode(text).decode() for text in data] == [
        "a/map.png", "b/map.png", "MAP.PNG", "my map.png", "my map.png", "löwe (1).webp", "own",
    ]  # fmt: skip
    assert len(shown.attachments) == 6
    with pytest.raises(ValueError, match=r"^cell 0: gone\.png: no such picture$"):
        copy_of("![](gone.png)", folder=tmp_path)


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
    for name, text in {"a": "Fine.", "b": "#### Solution\n\nSecret."}.items():
        nbformat.write(new_notebook(cells=[new_markdown_cell(text)]), part / f"{name}.ipynb")
    monkeypatch.setattr(student, "ROOT", tmp_path)
    monkeypatch.setattr(student, "STUDENT", copies)
    monkeypatch.setattr(student, "chapters", lambda: sorted(part.glob("*.ipynb")))
    with pytest.raises(SystemExit) as end:
        student.main()
    assert end.value.code == (
        "book/part/b.ipynb, cell 0: '#### Solution': a student would see it; is the tag missing?;"
        " no copy is written"
    )
    assert [file.name for file in copies.iterdir()] == ["old"]
    (part / "b.ipynb").unlink()
    student.main()
    assert [file.name for file in copies.rglob("*.*")] == ["a.ipynb"]


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
        parts = split(EXERCISES[label])
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
