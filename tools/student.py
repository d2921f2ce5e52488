"""Write student copies of all chapters, ready for nbgrader, into _build/student: `make student`.

In place of a solution stand a cell to work in and the solution's own asserts. The syntax tree tells
one from the other: functions and classes are the work, or else whatever leads to an assert. Where
that guesses wrong, tag `check` the cells of the solution that a student shall see.
"""

import ast
import re
import shutil
import symtable

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from notebooks import ROOT, chapters

STUDENT = ROOT / "_build" / "student"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
EXERCISE = re.compile(r"(```+)\{exercise\}([^\n]*)\n:label: (\S+)\n(.*?)\n\1", re.DOTALL)
MARK = re.compile(r"```+\{solution-(?:start|end)\} ?(\S*)\n(?::class: \w+\n)?```+\n?")
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

    def __init__(self, node: ast.stmt, text: str, tagged: bool):
        self.node, self.text, self.tagged = node, text, tagged
        self.reads, self.binds = names(symtable.symtable(text, "", "exec"))
        inner = list(ast.walk(node))
        stored = [n for n in inner if isinstance(n, ast.Subscript) and isinstance(n.ctx, ast.Store)]
        self.changes = self.binds | {ast.unparse(n.value) for n in stored}
        called = {ast.unparse(n.func) for n in inner if isinstance(n, ast.Call)}
        self.imports = isinstance(node, ast.Import | ast.ImportFrom)
        self.stays = self.imports or called == {"torch.manual_seed"}
        self.prints = isinstance(node, ast.Expr) and "print" in called
        self.defines = isinstance(node, ast.FunctionDef | ast.ClassDef)
        asserts = any(isinstance(n, ast.Assert) for n in inner)
        asserts = asserts or any("assert" in name.lower() for name in called | self.reads)
        self.asserts = asserts and not self.defines


Part = tuple[list[Statement], list[Statement]]  # the work, and what checks it


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
        lines, body, done = cell.source.splitlines(), ast.parse(cell.source).body, 0
        for node in body:
            end = len(lines) if node is body[-1] else node.end_lineno
            tagged = "check" in cell.metadata.get("tags", [])
            found.append(Statement(node, "\n".join(lines[done:end]), tagged))
            done = end
    return found


def checking(code: list[Statement]) -> list[bool]:
    """Tell for each statement whether it checks the work or is part of it."""
    if any(s.tagged for s in code):
        return [s.tagged for s in code]
    checks = [s.asserts for s in code]
    asserted = {name for s in code if isinstance(s.node, ast.Assert) for name in s.reads}
    for i, s in enumerate(code):
        if any(other.defines for other in code):  # work is also what nothing but functions reads
            read = {name for o in code if not o.defines and o is not s for name in o.reads}
            helps = s.imports or (s.binds and not s.binds & read)
            checks[i] = not s.defines and (any(checks[:i]) or s.asserts or not helps)
        elif isinstance(s.node, ast.For | ast.While) and s.changes & asserted:
            checks[i] = False  # what it finds is asserted elsewhere
        elif s.prints:
            checks[i] = i > 0 and checks[i - 1]
    return checks


def split(code: list[Statement]) -> list[Part]:
    """Divide a solution into work and checks in turn; definitions move to the front."""
    checks = dict(zip(code, checking(code), strict=True))
    if any(s.defines for s in code) and not any(s.tagged for s in code):
        code = sorted(code, key=lambda s: checks[s])
    first = next((i for i, s in enumerate(code) if not checks[s]), len(code))
    last = max((i for i, s in enumerate(code) if checks[s]), default=len(code))
    parts: list[Part] = [([], [])]
    for i, s in enumerate(code):
        if i > last or (i > first and checks[s]):
            parts[-1][1].append(s)
        else:
            parts += [([], [])] if parts[-1][1] else []
            parts[-1][0].append(s)
    while len(parts) > 1 and (vain := [i for i in range(len(parts)) if not asked(parts[i:])]):
        i = min(vain[0], len(parts) - 2)  # nothing to ask for: join it with what follows
        (work, check), (then, judged) = parts[i : i + 2]
        parts[i : i + 2] = [(work + check + then, judged)]
    return parts


def asked(parts: list[Part]) -> list[str]:
    """Return what the first part's work defines and a check reads: what a student must supply."""
    read = {name for _, check in parts for s in check for name in s.reads}
    bound = [name for s in parts[0][0] if not s.imports for name in sorted(s.binds)]
    return [name for name in dict.fromkeys(bound) if name in read]


def hollow(node: ast.stmt, label: str) -> ast.stmt:
    """Leave of a function its signature and docstring, of a class those of its methods."""
    body = node.body[: ast.get_docstring(node) is not None]
    if isinstance(node, ast.ClassDef):
        node.body = body + [hollow(n, label) for n in node.body if isinstance(n, ast.FunctionDef)]
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
    cells, parts = [], split(statements(solution))
    for i, (work, check) in enumerate(parts):
        wanted = asked(parts[i:])
        cell = new_code_cell(stub(label, work, wanted))
        cells.append(graded(cell, f"{label}-work-{i + 1}", not wanted, True))
        if wanted:
            guard = "require(" + ", ".join(f'"{name}"' for name in [label, *wanted]) + ")"
            text = re.sub(r"\n{3,}", "\n\n", "\n".join([guard, *(s.text for s in check)]))
            cells.append(graded(new_code_cell(text), f"{label}-check-{i + 1}", True, False))
    return cells


def student_copy(notebook: NotebookNode) -> NotebookNode:
    """Return a chapter without outputs and solutions."""
    cells: list[NotebookNode] = []
    label, solution = "", []
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if "remove-cell" in tags:
            continue
        if cell.cell_type == "code" and label:
            solution.append(cell)
        elif cell.cell_type == "code":
            folded = {"jupyter": {"source_hidden": True}} if "hide-input" in tags else {}
            cells.append(new_code_cell(cell.source, metadata=folded))
            if not any("nbgrader" in c.metadata for c in cells):  # behind the set-up cell
                cells.append(graded(new_code_cell(REQUIRE), "require", False, False))
        else:
            prose, *marks = MARK.split(cell.source)
            for mark, text in [(None, prose), *zip(marks[::2], marks[1::2], strict=True)]:
                if mark == "":
                    cells += answer_cells(label, solution)
                label, solution = (label, solution) if mark is None else (mark, [])
                if text.strip() and not label:
                    text = EXERCISE.sub(r"### Exercise \3\2\n\n\4", text).strip()
                    cells.append(new_markdown_cell(text))
    for number, cell in enumerate(cells):
        cell["id"] = cell.metadata.get("nbgrader", {}).get("grade_id", f"cell-{number}")
    return new_notebook(cells=cells, metadata={"kernelspec": KERNEL})


if __name__ == "__main__":
    shutil.rmtree(STUDENT, ignore_errors=True)
    for path in chapters():
        if path.parent != ROOT / "book":
            copy = STUDENT / path.relative_to(ROOT / "book")
            copy.parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(student_copy(nbformat.read(path, as_version=4)), copy)
            print(copy.relative_to(ROOT))
