"""A Sphinx extension: the reference of d2lite, made from its source; nothing of it is imported.

Each module has a page in book/reference/, which is written anew before Sphinx looks for pages.
"""

import ast
import re
from pathlib import Path
from textwrap import dedent, indent

from sphinx.application import Sphinx
from sphinx.config import Config

ROOT = Path(__file__).parent.parent
SECTION = re.compile(r"^(Args|Attributes|Raises|Returns|Yields):\n((?:    .*\n|\n)+)", re.M)
INTERNAL = {
    f"d2lite.{name}" for name in ("checks", "receptive_field_rules", "receptive_field_windows")
}
FIELDS = {"Args": "param", "Attributes": "ivar", "Raises": "raises"}
# What is left as it is (literals, doctests, *emphasis*), and signs that mean themselves.
SIGNS = re.compile(
    r"``[^`]+``|^ *>>> (?:.+\n?)+|::\n\n(?:    .+\n)+|\*\w[^*\n]*\*|(?P<sign>[*|]|(?<=\w)_(?!\w))",
    re.MULTILINE,
)
Definition = ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


def name_of(node: ast.AST) -> str:
    """The public name that a statement defines, or none."""
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", node)
    name = getattr(target, "name", getattr(target, "id", "_"))
    return "" if name.startswith("_") else name


def definitions(tree: ast.Module | ast.ClassDef) -> dict[str, Definition]:
    """What a module or a class defines for others, in its order."""
    found = (node for node in tree.body if isinstance(node, Definition))
    return {name: node for node in found if (name := name_of(node))}


def modules() -> dict[str, tuple[ast.Module, dict[str, tuple[Path, Definition]]]]:
    """Each module by its name: its text, and its public names, wherever they are defined.

    What a package hands on from its modules stands there, where it is imported from.
    """
    files = {}
    for file in sorted((ROOT / "d2lite").rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        files[name] = file, ast.parse(file.read_text(encoding="utf-8"))
    handed_on, found = set(), {}
    for module, (file, tree) in files.items():
        if file.name == "__init__.py":
            found[module] = tree, {}
            for node in (node for node in tree.body if isinstance(node, ast.ImportFrom)):
                handed_on.add(node.module)
                own, source = files[node.module]
                for alias in node.names:
                    found[module][1][alias.name] = own, definitions(source)[alias.name]
    for module, (file, tree) in files.items():
        if module not in found and module not in handed_on | INTERNAL:
            found[module] = tree, {name: (file, node) for name, node in definitions(tree).items()}
    return dict(sorted(found.items()))


def written(docstring: str | None) -> str:
    """A docstring as reStructuredText: with fields for its sections."""

    def fields(section: re.Match) -> str:
        body = dedent(section[2])
        if kind := FIELDS.get(section[1]):
            return re.sub(r"^([\w.]+): ", rf":{kind} \1: ", body, flags=re.M)
        return f":{section[1].lower()}: " + indent(body, "   ").lstrip()

    text = SIGNS.sub(lambda m: "\\" * bool(m["sign"]) + m[0], (docstring or "") + "\n")
    return SECTION.sub(fields, text)


def signature(node: Definition) -> str:
    """Arguments and result of a function; of a class, those that make an object of it."""
    if isinstance(node, ast.FunctionDef):
        arguments = re.sub(r"^(self|cls)(, )?", "", ast.unparse(node.args))
        arguments = re.sub(r"(?<=\de-)0", "", arguments)
        is_result = node.returns and node.name != "__init__"
        return f"({arguments})" + (f" -> {ast.unparse(node.returns)}" if is_result else "")
    if own := [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]:
        return signature(own[0])
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        fields = [ast.unparse(field) for field in node.body if isinstance(field, ast.AnnAssign)]
        return "(" + ", ".join(re.sub(r"= field\(.*", "= ...", field) for field in fields) + ")"
    sections = dict(SECTION.findall((ast.get_docstring(node) or "") + "\n"))
    traits = re.findall(r"^    (\w+): ", sections.get("Args", ""), re.M)  # an explorer's
    return "(*, " + ", ".join(f"{trait}=..." for trait in traits) + ")" if traits else ""


def described(name: str, node: Definition, lines: list[str], inside: bool = False) -> str:
    """A definition as a directive of Sphinx's Python domain."""
    kind, head, options, body = "function", name, [], ""
    if isinstance(node, ast.Assign | ast.AnnAssign):
        kind, start = "data", node.lineno - 1
        while lines[start - 1].startswith("#:"):
            start -= 1
        body = "\n".join(line.removeprefix("#:").strip() for line in lines[start : node.lineno - 1])
        value = ast.unparse(node.value) if node.value else ""
        options = [f":value: {value}"] * (0 < len(value) <= 50)
    else:
        head, body = name + signature(node), written(ast.get_docstring(node))
    if isinstance(node, ast.ClassDef):
        kind = "class"
        for inner, method in definitions(node).items():
            if isinstance(method, ast.FunctionDef) and ast.get_docstring(method):
                body += "\n" + described(inner, method, lines, inside=True)
    elif inside:
        kind, decorators = "method", {ast.unparse(decorator) for decorator in node.decorator_list}
        options = [f":{word}:" for word in ("staticmethod", "classmethod") if word in decorators]
        if "property" in decorators:
            kind, head, options = "property", name, [f":type: {ast.unparse(node.returns)}"]
    return f".. py:{kind}:: {head}\n" + indent("\n".join([*options, "", body, ""]), "   ") + "\n"


def page(module: str, tree: ast.Module, names: dict[str, tuple[Path, Definition]]) -> str:
    """A module's page."""
    parts = [f"{module}\n{'=' * len(module)}", f".. py:module:: {module}"]
    parts.append(written(ast.get_docstring(tree)))
    for name, (file, node) in names.items():
        parts.append(described(name, node, file.read_text(encoding="utf-8").splitlines()))
    return "\n\n".join(parts)


def contents(found: dict) -> str:
    """The page of the whole package: its modules, each with the first sentence on it."""
    pages = [page(module, *content) for module, content in found.items() if not content[1]]
    first = {module: written(ast.get_docstring(tree)) for module, (tree, _) in found.items()}
    rows = [f"- :py:mod:`{m}`: {first[m].partition('. ')[0]}" for m in found if found[m][1]]
    return "\n\n".join([*pages, "\n".join(rows)])


def write_pages(app: Sphinx, config: Config) -> None:
    """Write what has changed, so that Sphinx reads no more than that anew."""
    folder, found = Path(app.srcdir) / "reference", modules()
    pages = {name: page(name, *content) for name, content in found.items() if content[1]}
    pages["d2lite"] = contents(found)
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.rst"):
        if old.stem not in pages:
            old.unlink()
    for name, text in pages.items():
        file = folder / f"{name}.rst"
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict:
    """Register with Sphinx."""
    app.connect("config-inited", write_pages, priority=100)  # before Sphinx looks for pages
    return {"version": "1", "parallel_read_safe": True}
