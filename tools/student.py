"""Write student copies of all chapters, ready for nbgrader, into _build/student: `make student`.

In place of a solution stand a cell to work in and the solution's own asserts. The syntax tree tells
one from the other: functions and classes are the work, or else whatever leads to an assert. Where
that guesses wrong, tag `check` the cells of the solution that a student shall see.

A chapter that cannot be copied without doubt ends in one line that names the place; then no copy is
written at all. A copy is one file: its pictures travel inside.
"""

import ast
import base64
import mimetypes
import re
import shutil
import symtable
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
from markdown_it import MarkdownIt
from mdit_py_plugins.colon_fence import colon_fence_plugin
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from notebooks import ROOT, chapters

STUDENT = ROOT / "_build" / "student"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
MARKDOWN = MarkdownIt("commonmark").use(colon_fence_plugin)
DIRECTIVE = re.compile(r"\{(\S+)\}(?:\s+(.*))?")  # of a fence, what follows its opening
OPTIONS = re.compile(r"---\n(?:.*\n)*?---\n|(?:[ \t]*:\S+:.*\n)*")  # at the head of its content
LABEL = re.compile(r"^[ \t]*:?label:[ \t]*(\S+)", re.MULTILINE)
LEFT = re.compile(r"[`~:]{3,}[ \t]*\{(\S+?)\}")  # a directive, however deep it is nested
PICTURE = re.compile(r"(?<![\w./:-])[\w./-]+\.(?:png|svg|jpe?g|gif|webp)\b")
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


def exercise(title: str, content: str) -> str:
    """Return what a student reads of an exercise."""
    options = OPTIONS.match(content)[0]
    label = LABEL.search(options)
    if not label:
        raise ValueError(f"{{exercise}} {title}: no label")
    return f"### Exercise {label[1]} {title}".strip() + f"\n\n{content[len(options) :].strip()}\n"


def pieces(text: str) -> Iterator[tuple[str, str]]:
    """Cut Markdown at its directives: prose is ("", text), a directive (its name, its argument)."""
    text = re.sub(r"\r\n?", "\n", text)
    lines, done = re.split(r"(?<=\n)", text), 0  # as the parser counts them
    for token in MARKDOWN.parse(text):
        fence = token.type in ("fence", "colon_fence") and token.level == 0
        if found := DIRECTIVE.fullmatch(token.info.strip()) if fence else None:
            name, argument = found[1].lower(), found[2] or ""
            yield "", "".join(lines[done : token.map[0]])
            done = token.map[1]
            if name == "exercise":
                yield "", exercise(argument, token.content)
            elif name == "solution":  # not gated: prose alone
                yield from [("solution-start", argument), ("solution-end", "")]
            else:
                yield name, argument
    yield "", "".join(lines[done:])


def prose(text: str, attachments: dict, folder: Path) -> list[NotebookNode]:
    """Return a Markdown cell that carries its pictures, those from files as well, or nothing."""
    if left := LEFT.search(text):
        raise ValueError(f"{{{left[1]}}}: a student would see the directive itself")
    kept = {name: data for name, data in attachments.items() if f"attachment:{name}" in text}

    def attach(link: re.Match) -> str:
        file = folder / link[0]
        if not file.is_file():
            return link[0]
        kind, _ = mimetypes.guess_type(file)
        kept[file.name] = {kind: base64.b64encode(file.read_bytes()).decode()}
        return f"attachment:{file.name}"

    cell = new_markdown_cell(PICTURE.sub(attach, text).strip())
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
    solution: list[NotebookNode] = []
    label, answered = "", set()
    for number, cell in enumerate(notebook.cells):
        tags, shown = cell.metadata.get("tags", []), ""
        if "remove-cell" in tags:
            continue
        try:
            if cell.cell_type == "code" and label:
                plain(cell.source)
                solution.append(cell)
            elif cell.cell_type == "code":
                folded = {"jupyter": {"source_hidden": True}} if "hide-input" in tags else {}
                cells.append(new_code_cell(cell.source, metadata=folded))
                if not any("nbgrader" in c.metadata for c in cells):  # behind the set-up cell
                    cells.append(graded(new_code_cell(REQUIRE), "require", False, False))
            for name, text in pieces(cell.source) if cell.cell_type == "markdown" else ():
                if name == "":
                    shown += "" if label else text
                elif name == "solution-start" and text not in {"", *answered} and not label:
                    cells += prose(shown, cell.get("attachments", {}), folder)
                    label, solution, shown = text, [], ""
                    answered.add(label)
                elif name == "solution-end" and label:
                    cells += answer_cells(label, solution)
                    label = ""
                elif name.startswith("solution") or not label:
                    raise ValueError(f"{{{name}}} {text}".strip() + ": no place for it in a copy")
            cells += prose(shown, cell.get("attachments", {}), folder)
        except ValueError as error:
            raise ValueError(f"cell {number}: {error}") from None
    if label:
        raise ValueError(f"the solution of {label} does not end")
    for number, cell in enumerate(cells):
        cell["id"] = cell.metadata.get("nbgrader", {}).get("grade_id", f"cell-{number}")
    return new_notebook(cells=cells, metadata={"kernelspec": KERNEL})


def main() -> None:
    """Write a copy of every chapter, or of none."""
    copies = {}
    for path in chapters():
        if path.parent != ROOT / "book":
            try:
                copy = student_copy(nbformat.read(path, as_version=4), path.parent)
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
