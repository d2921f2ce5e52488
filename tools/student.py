"""Write student copies of all chapters, ready for nbgrader, into _build/student: `make student`.

Tags alone say what a student sees. The cells of a solution have the tag `solution`; those of its
code that check the work have the tag `check` instead, and stay. In place of the work stands a cell
that asks for what the checks read.

A chapter that cannot be copied without doubt ends in one line that names the place; then no copy is
written at all. A copy is one file: its pictures travel inside.
"""

import ast
import re
import shutil
import symtable
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from notebooks import DIRECTIVE, FOLDED, ROOT, carry_pictures, chapters, read

STUDENT = ROOT / "_build" / "student"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
EXERCISE = re.compile(r"### Exercise \d+ ★{1,3}: ")
HEADING = re.compile(r"\s*#{1,4} ")
TELLTALE = re.compile(
    r"^\W*solution\b|^\s*(?:#|<h\d).*\bsolution\b"
    r"|<summary\b(?:(?!</summary>)(?s:.))*?\bsolution\b",
    re.MULTILINE | re.IGNORECASE,
)
LABEL = re.compile(r"[a-zA-Z0-9_-]{1,48}")  # that nbgrader and Jupyter take for a name
REQUIRE = '''\
import inspect


def require(exercise, *names):
    """Say what an exercise still waits for."""
    for name in names:
        answer = globals().get(name, ...)
        where = f"Exercise {exercise}: `{name}`"
        assert answer is not ..., f"{where} is still `...`: give it a value in the cell above."
        parts = vars(answer).values() if inspect.isclass(answer) else [answer]
        codes = [getattr(inspect.unwrap(part), "__code__", None) for part in parts]
        waits = any(code and "NotImplementedError" in code.co_names for code in codes)
        assert not waits, f"{where} is not written yet: write it in the cell above."'''


class Statement:
    """A statement of a solution, with all lines since the statement before."""

    def __init__(self, node: ast.stmt, text: str):
        self.node, self.text = node, text
        self.reads, self.binds = names(symtable.symtable(text, "", "exec"))
        called = {ast.unparse(n.func) for n in ast.walk(node) if isinstance(n, ast.Call)}
        self.imports = isinstance(node, ast.Import | ast.ImportFrom)
        self.stays = self.imports or called == {"torch.manual_seed"}
        self.defines = isinstance(node, ast.FunctionDef | ast.ClassDef)


def names(table: symtable.SymbolTable) -> tuple[set[str], set[str]]:
    """Return the module's names that code reads, now or when called, and those that it binds."""
    symbols = [s for s in table.get_symbols() if table.get_type() == "module" or s.is_global()]
    reads = {s.get_name() for s in symbols if s.is_referenced()}
    reads |= {name for child in table.get_children() for name in names(child)[0]}
    return reads, {s.get_name() for s in symbols if s.is_assigned() or s.is_imported()}


def statements(cells: list[NotebookNode]) -> list[Statement]:
    """Cut the code of a solution into its statements."""
    found = []
    for cell in cells:
        lines, body, done = cell.source.split("\n"), ast.parse(cell.source).body, 0
        for node in body:
            end = len(lines) if node is body[-1] else node.end_lineno
            found.append(Statement(node, "\n".join(lines[done:end])))
            done = end
    return found


Part = tuple[list[Statement], list[Statement]]  # the work, and what checks it


def tags(cell: NotebookNode) -> list[str]:
    """A cell's tags."""
    return cell.metadata.get("tags", [])


def split(code: list[NotebookNode]) -> list[Part]:
    """Divide a solution into work and its checks, in turn, as the tags have it."""
    parts: list[Part] = [([], [])]
    for cell in code:
        if "check" not in tags(cell) and parts[-1][1]:
            parts.append(([], []))
        parts[-1]["check" in tags(cell)].extend(statements([cell]))
    return parts


def asked(parts: list[Part]) -> list[str]:
    """Return what the first part's work defines and a check reads: what a student must supply.

    And what the first lines of those functions and classes read, such as a default.
    """
    needed = {name for _, check in parts for s in check for name in s.reads}
    for s in reversed(parts[0][0]):
        if s.defines and s.binds & needed:
            top = ast.unparse(hollow(ast.parse(s.text).body[0], ""))
            needed |= names(symtable.symtable(top, "", "exec"))[0]
    bound = [name for s in parts[0][0] if not s.imports for name in sorted(s.binds)]
    return [name for name in dict.fromkeys(bound) if name in needed]


def hollow(node: ast.stmt, label: str) -> ast.stmt:
    """Leave of a function its signature and docstring, of a class those of its methods."""
    body = node.body[: ast.get_docstring(node) is not None]
    if isinstance(node, ast.ClassDef):
        methods = [hollow(n, label) for n in node.body if isinstance(n, ast.FunctionDef)]
        node.body = body + methods or [ast.Pass()]
    else:
        text = f"Exercise {label}: `{node.name}` is not written yet."
        node.body = body + ast.parse(f"raise NotImplementedError({text!r})").body
    return node


def stub(label: str, work: list[Statement], wanted: list[str]) -> str:
    """Return what a student finds in place of the work."""
    if not wanted:
        return f'raise NotImplementedError("Exercise {label}: replace this line by your code.")'
    lines, done = [f"# Exercise {label}: your work."], set()
    for s in work:
        if s.stays:
            lines.append(ast.unparse(s.node))
        elif s.defines and s.binds & set(wanted):
            lines.append(f"\n\n{ast.unparse(hollow(ast.parse(s.text).body[0], label))}\n\n")
        else:
            lines += [f"{name} = ..." for name in wanted if name in s.binds - done]
        done |= s.binds
    return re.sub(r"\n{4,}", "\n\n\n", "\n".join(lines)).strip()


def graded(cell: NotebookNode, name: str, grade: bool, solution: bool) -> NotebookNode:
    """Give a cell its role in nbgrader."""
    role = {"schema_version": 3, "task": False, "locked": not solution, "grade_id": name}
    role |= {"grade": grade, "solution": solution} | ({"points": 1} if grade else {})
    cell.metadata["nbgrader"], cell["id"] = role, name
    return cell


def answer_cells(label: str, solution: list[NotebookNode]) -> list[NotebookNode]:
    """Return the cells that take the place of a solution; those without a check a person grades."""
    if not solution:
        return [graded(new_markdown_cell("*Your answer.*"), f"{label}-work-1", True, True)]
    cells, parts = [], split(solution)
    for i, (work, check) in enumerate(parts):
        wanted = asked(parts[i:])
        cell = new_code_cell(stub(label, work, wanted))
        cells.append(graded(cell, f"{label}-work-{i + 1}", not check, True))
        if check:
            guard = "require(" + ", ".join(f'"{name}"' for name in [label, *wanted]) + ")"
            text = re.sub(r"\n{3,}", "\n\n", "\n".join([guard, *(s.text for s in check)]))
            cells.append(graded(new_code_cell(text), f"{label}-check-{i + 1}", True, False))
    return cells


def prose(text: str, attachments: dict, folder: Path) -> list[NotebookNode]:
    """Return a Markdown cell that carries its pictures, those from files as well, or nothing."""
    if left := DIRECTIVE.search(text) or TELLTALE.search(text):
        raise ValueError(f"{left[0].strip()!r}: a student would see it; is the tag missing?")
    kept: dict[str, dict] = {}

    def keep(name: str, kind: str, data: str) -> str:
        name = re.sub(r"[^\w.-]", "-", name, flags=re.ASCII)
        while kept.setdefault(name, {kind: data}) != {kind: data}:  # another picture's name
            name = f"_{name}"
        return f"attachment:{name}"

    cell = new_markdown_cell(carry_pictures(text, attachments, folder, keep).strip())
    if kept:
        cell.attachments = nbformat.from_dict(kept)
    return [cell] if cell.source else []


def plain(source: str) -> None:
    """Refuse a solution that is no plain Python, for it cannot be cut into statements."""
    try:
        compile(source, "", "exec")
    except SyntaxError as error:
        lines = source.rstrip().splitlines()[: error.lineno]
        raise ValueError(
            f"`{lines[-1].strip()}`: a solution must be plain Python, without magics"
        ) from None


def student_copy(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """Return a chapter without outputs and solutions; its pictures are found from its folder.

    Raises ValueError, naming the cell, for what cannot be copied without doubt.
    """
    cells: list[NotebookNode] = []
    label, inside, solution, labels = "", False, [], set()

    def answer() -> list[NotebookNode]:
        if label and not inside:
            raise ValueError(f"{label} has no solution")
        return answer_cells(label, solution) if label else []

    for number, cell in enumerate(notebook.cells):
        code, part = cell.cell_type == "code", {"solution", "check"} & set(tags(cell))
        begins = not code and HEADING.match(cell.source)
        try:
            if begins and not part:
                cells += answer()
                inside, solution = False, []
                label = cell.metadata.get("label", "") if EXERCISE.match(cell.source) else ""
                if EXERCISE.match(cell.source) and not LABEL.fullmatch(label):
                    heading = cell.source.splitlines()[0]
                    raise ValueError(
                        f"{heading!r}: an exercise needs a label of letters and digits"
                    )
                if label in labels:
                    raise ValueError(f"{label} is the label of two exercises")
                labels |= {label} - {""}
            if part and not label:
                raise ValueError(f"the tag {part.pop()!r} stands outside of an exercise")
            if part and not code and begins and inside:
                raise ValueError(f"{label} has a second solution")
            inside = inside or bool(part)
            if code and inside:
                if not part:
                    raise ValueError("code of a solution needs the tag solution or check")
                plain(cell.source)
                solution.append(cell)
            elif code:
                hidden = {"hide-input", "remove-input"} & set(tags(cell))
                cells.append(new_code_cell(cell.source, metadata=FOLDED if hidden else {}))
                if not any("nbgrader" in c.metadata for c in cells):  # behind the set-up cell
                    cells.append(graded(new_code_cell(REQUIRE), "require", False, False))
            elif not part:
                if inside:
                    raise ValueError("prose of a solution needs the tag solution")
                cells += prose(cell.source, cell.get("attachments", {}), folder)
        except ValueError as error:
            raise ValueError(f"cell {number}: {error}") from None
    cells += answer()
    for number, cell in enumerate(cells):
        cell["id"] = cell.metadata.get("nbgrader", {}).get("grade_id", f"cell-{number}")
    return new_notebook(cells=cells, metadata={"kernelspec": KERNEL})


def main() -> None:
    """Write a copy of every chapter, or of none."""
    copies = {}
    for path in chapters():
        if path.parent != ROOT / "book":
            try:
                copy = student_copy(read(path), path.parent)
            except ValueError as error:
                sys.exit(f"{path.relative_to(ROOT)}, {error}; no copy is written")
            copies[STUDENT / path.relative_to(ROOT / "book")] = copy
    shutil.rmtree(STUDENT, ignore_errors=True)
    for path, copy in copies.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(copy, path)
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
