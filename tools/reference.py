"""A Sphinx extension: the reference of d2lite, made from its source; nothing of it is imported.

Each module has a page in book/reference/, which is written before Sphinx looks for pages.
"""

import ast
import re
from pathlib import Path
from textwrap import dedent, indent

from sphinx.application import Sphinx
from sphinx.config import Config

from notebooks import ROOT

# What the package keeps to itself.
INTERNAL = {
    "d2lite.boxes.rules",
    "d2lite.checks",
    "d2lite.receptive_field_rules",
    "d2lite.receptive_field_windows",
}
SECTION = re.compile(r"^(Args|Attributes|Raises|Returns|Yields):\n((?:    .*\n|\n)+)", re.MULTILINE)
FIELDS = {"Args": "param", "Attributes": "ivar", "Raises": "raises"}
# Code, doctests and *emphasis* are as reStructuredText has them; other such signs mean themselves.
SIGNS = re.compile(
    r"``[^`]+``|^ *>>> (?:.+\n?)+|::\n\n(?:    .+\n)+|\*\w[^*\n]*\*|(?P<sign>[*|]|(?<=\w)_(?!\w))",
    re.MULTILINE,
)
Definition = ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign
Module = tuple[ast.Module, dict[str, tuple[Path, Definition]]]


def definitions(tree: ast.Module | ast.ClassDef) -> dict[str, Definition]:
    """The public names that a module or a class defines, in its order."""
    found = {}
    for node in tree.body:
        if isinstance(node, Definition):
            target = node.targets[0] if isinstance(node, ast.Assign) else node
            target = node.target if isinstance(node, ast.AnnAssign) else target
            found[getattr(target, "name", getattr(target, "id", "_"))] = node
    return {name: node for name, node in found.items() if name[0] != "_"}


def modules() -> dict[str, Module]:
    """Each module's syntax tree, and its public names with the files that define them.

    What a package hands on from its modules stands there, where it is imported from.
    """
    files, found, handed_on = {}, {}, set()
    for file in sorted((ROOT / "d2lite").rglob("*.py")):
        name = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        tree = ast.parse(file.read_text(encoding="utf-8"))
        files[name] = file, tree, definitions(tree)
    for name, (file, tree, defined) in files.items():
        found[name] = tree, {public: (file, node) for public, node in defined.items()}
        for node in tree.body if file.stem == "__init__" else []:
            if isinstance(node, ast.ImportFrom):
                handed_on.add(node.module)
                own, _, defined = files[node.module]
                found[name][1].update({a.name: (own, defined[a.name]) for a in node.names})
    return {name: found[name] for name in found.keys() - handed_on - INTERNAL}


def written(docstring: str | None) -> str:
    """A docstring as reStructuredText: its sections become fields."""

    def fields(section: re.Match) -> str:
        body = dedent(section[2])
        if kind := FIELDS.get(section[1]):
            return re.sub(r"^([\w.]+): ", rf":{kind} \1: ", body, flags=re.MULTILINE)
        return f":{section[1].lower()}: " + indent(body, "   ").lstrip()

    text = SIGNS.sub(lambda m: "\\" * bool(m["sign"]) + m[0], (docstring or "") + "\n")
    return SECTION.sub(fields, text)


def signature(node: ast.FunctionDef | ast.ClassDef) -> str:
    """The arguments and the result of a function; of a class, the arguments that make one."""
    if isinstance(node, ast.FunctionDef):
        arguments = re.sub(r"^(self|cls)(, )?|(?<=\de-)0", "", ast.unparse(node.args))
        is_result = node.returns and node.name != "__init__"
        return f"({arguments})" + (f" -> {ast.unparse(node.returns)}" if is_result else "")
    if own := [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]:
        return signature(own[0])
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        fields = [ast.unparse(field) for field in node.body if isinstance(field, ast.AnnAssign)]
        return "(" + ", ".join(re.sub(r"= field\(.*", "= ...", field) for field in fields) + ")"
    sections = dict(SECTION.findall((ast.get_docstring(node) or "") + "\n"))
    traits = re.findall(r"^    (\w+): ", sections.get("Args", ""), re.MULTILINE)  # an explorer's
    return "(*, " + ", ".join(f"{trait}=..." for trait in traits) + ")" if traits else ""


def described(name: str, node: Definition, lines: list[str], inside: bool = False) -> str:
    """A definition as a directive of Sphinx's Python domain."""
    if isinstance(node, ast.Assign | ast.AnnAssign):
        kind, head, value = "data", name, ast.unparse(node.value) if node.value else ""
        options = f":value: {value}\n" if 0 < len(value) <= 50 else ""
        above = "\n".join(lines[: node.lineno - 1])
        body = re.sub("^#: ?", "", re.search(r"(#:.*\n?)*\Z", above)[0], flags=re.MULTILINE)
    else:
        kind, head, options = "function", name + signature(node), ""
        body = written(ast.get_docstring(node))
    if isinstance(node, ast.ClassDef):
        kind = "class"
        for inner, method in definitions(node).items():
            if isinstance(method, ast.FunctionDef) and ast.get_docstring(method):
                body += "\n" + described(inner, method, lines, inside=True)
    elif inside:
        kind, decorators = "method", {ast.unparse(decorator) for decorator in node.decorator_list}
        options = "".join(f":{d}:\n" for d in ("classmethod", "staticmethod") if d in decorators)
        if "property" in decorators:
            kind, head, options = "property", name, f":type: {ast.unparse(node.returns)}\n"
    return f".. py:{kind}:: {head}\n" + indent(f"{options}\n{body}\n", "   ") + "\n"


def page(module: str, content: Module, repository: str) -> str:
    """A module's page."""
    tree, names = content
    path = module.replace(".", "/")
    path += ".py" if (ROOT / f"{path}.py").exists() else "/__init__.py"
    parts = [f"{module}\n{'=' * len(module)}\n\n.. py:module:: {module}"]
    parts += [written(ast.get_docstring(tree)), f"Source: `{path} <{repository}/{path}>`__"]
    for name, (file, node) in names.items():
        parts.append(described(name, node, file.read_text(encoding="utf-8").splitlines()))
    return "\n\n".join(parts)


def write_pages(app: Sphinx, config: Config) -> None:
    """Write the pages that have changed, so that Sphinx reads no other anew."""
    found, folder = modules(), Path(app.srcdir) / "reference"
    repository = "{repository_url}/blob/{repository_branch}".format(**config.html_theme_options)
    pages = {name: page(name, found[name], repository) for name in found if found[name][1]}
    pages["d2lite"] = page("d2lite", found["d2lite"], repository)
    for name in sorted(found.keys() - {"d2lite"}):
        about = written(ast.get_docstring(found[name][0])).partition("\n")[0].rstrip(":")
        line = f"- :py:mod:`{name}`: {about}" if name in pages else f".. py:module:: {name}\n"
        pages["d2lite"] += f"\n{line}"
    folder.mkdir(exist_ok=True)
    for file in folder.glob("*.rst"):
        if file.stem not in pages:
            file.unlink()
    for name, text in pages.items():
        file = folder / f"{name}.rst"
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict:
    """Register with Sphinx."""
    app.connect("config-inited", write_pages, priority=100)  # before Sphinx looks for pages
    return {"version": "1", "parallel_read_safe": True}
