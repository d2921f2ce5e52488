"""The reference of d2lite on the site: complete, and what names in text and code lead to."""

import ast
import importlib
import inspect
import json
import pkgutil
import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from conftest import ROOT, SITE, soup_of

import d2lite.boxes
import d2lite.data
import d2lite.explore
import names
import reference

PAGES = sorted((SITE / "reference").glob("*.html"))
CHAPTERS = sorted((ROOT / "book").glob("*/*.ipynb"))


@pytest.fixture(scope="module")
def described() -> dict[str, str]:
    """Each name of the reference, and what its page says of it."""
    return {
        heading["id"]: heading.parent.get_text()
        for page in PAGES
        for heading in soup_of(page).select("dt.sig")
    }


def test_every_public_function_and_class_is_described(described: dict[str, str]) -> None:
    packages = (d2lite.boxes, d2lite.data, d2lite.explore)
    public = {
        f"{package.__name__}.{name}": value
        for package in packages
        for name in package.__all__
        if inspect.isclass(value := getattr(package, name)) or inspect.isfunction(value)
    }
    handed_on = {value.__module__ for value in public.values()}
    modules = {module.name for module in pkgutil.walk_packages(d2lite.__path__, "d2lite.")}
    for module in modules - handed_on - reference.INTERNAL:
        for name, value in vars(importlib.import_module(module)).items():
            is_own = getattr(value, "__module__", None) == module
            if name[0] != "_" and is_own and (inspect.isclass(value) or inspect.isfunction(value)):
                public[f"{module}.{name}"] = value
    assert public.keys() <= described.keys()
    for name, value in public.items():
        summary = re.findall(r"\w+", inspect.getdoc(value).partition("\n")[0])
        assert set(summary) <= set(re.findall(r"\w+", described[name])), name


def test_what_is_internal_exists() -> None:
    for name in reference.INTERNAL:
        importlib.import_module(name)


def test_signatures_have_types_and_defaults(described: dict[str, str]) -> None:
    said = " ".join(described["d2lite.conv.conv2d"].split())
    assert "input: Tensor, weight: Tensor, bias: Tensor | None = None" in said
    assert "padding: IntOrPair | str = 0" in said
    assert "→ Tensor" in said
    assert "eps: float = 1e-5" in " ".join(described["d2lite.norm.normalize"].split())
    assert "self" not in described["d2lite.norm.BatchNorm"]


def test_docstrings_are_set_as_they_are_meant(described: dict[str, str]) -> None:
    assert "(N, C, *)" in described["d2lite.norm.BatchNorm"]
    for page in PAGES:
        soup = soup_of(page)
        for code in soup.select("pre, code"):
            code.extract()
        text = soup.select_one("article").get_text()
        assert ">>>" not in text
        assert "``" not in text
        assert "\\" not in text
        assert "Args:" not in text


def imported(chapter: Path) -> set[str]:
    """Names that a chapter imports from d2lite in cells that the page shows."""
    found = set()
    for cell in json.loads(chapter.read_text(encoding="utf-8"))["cells"]:
        tags = cell["metadata"].get("tags", [])
        if cell["cell_type"] == "code" and not {"remove-input", "remove-cell"} & set(tags):
            for node in ast.walk(ast.parse("".join(cell["source"]))):
                if isinstance(node, ast.ImportFrom) and node.module.startswith("d2lite"):
                    found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("chapter", CHAPTERS, ids=[chapter.stem for chapter in CHAPTERS])
def test_names_of_d2lite_lead_to_the_reference(chapter: Path) -> None:
    page = SITE / chapter.relative_to(ROOT / "book").with_suffix(".html")
    soup = soup_of(page)
    linked = set()
    for link in soup.select("pre a.d2-name"):
        name = unquote(link["href"]).rpartition("#")[2].removeprefix("module-")
        assert f".{name}".endswith(f".{link.text}")
        linked.add(name)
    assert imported(chapter) <= linked
    for code in soup.select("article :not(pre) > code"):
        if re.fullmatch(r"d2lite(\.\w+)+(\(\))?", code.text):
            assert code.find_parent("a"), code.text


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from d2lite.conv import conv2d as c\nc(1)", ["d2lite.conv", "conv2d", "c"]),
        ("from d2lite import pool\npool.max_pool2d(X)", ["d2lite", "pool", "pool", "max_pool2d"]),
        ("from d2lite.trace import trace\ndef trace(): ...\ntrace()", ["d2lite.trace", "trace"]),
        ("from torch import conv2d\nconv2d(1)", []),
        ("é, from_ = 1, 2\n'é', kept(1)", ["kept"]),
    ],
)
def test_a_name_is_followed_until_it_is_given_another_meaning(
    source: str, found: list[str]
) -> None:
    places = list(names.names_in(source, {"kept": "d2lite.kept"}))
    assert [text for _, text, _ in places] == found
    for (line, column), text, _ in places:
        assert source.splitlines()[line - 1][column:].startswith(text)


def test_the_notation_has_the_colours_of_the_figures() -> None:
    from d2lite import plot

    rows = [row.get_text() for row in soup_of(SITE / "notation.html").select("tr:has(.d2-swatch)")]
    colours = ("INPUT", "KERNEL", "OUTPUT", "GRADIENT", "MUTED", "LINE", "INK")
    for row, name in zip(rows, colours, strict=True):
        assert f"d2lite.plot.{name}, {getattr(plot, name)}" in row
