"""The way in: the front page lists what there is, under its name; paths and papers agree."""

import re

import nbformat
import yaml

from links import address
from notebooks import ROOT, chapters
from times import minutes

FRONT = "\n\n".join(
    cell.source
    for cell in nbformat.read(ROOT / "book" / "index.ipynb", as_version=4).cells
    if cell.cell_type == "markdown"
)
GUIDE = (ROOT / "book" / "how-to-use.md").read_text(encoding="utf-8")
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
LINK = re.compile(r"\[([^\]]+)\]\(([\w/-]+)\.ipynb\)")


def read(slug: str) -> nbformat.NotebookNode:
    return nbformat.read(ROOT / "book" / f"{slug}.ipynb", as_version=4)


def title(slug: str) -> str:
    return read(slug).cells[0].source.splitlines()[0].removeprefix("# ")


def in_order() -> list[str]:
    """The chapters, as the table of contents has them."""
    parts = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))["parts"]
    files = [chapter["file"] for part in parts for chapter in part["chapters"]]
    known = {path.relative_to(ROOT / "book").with_suffix("").as_posix() for path in chapters()}
    return [file for file in files if file in known]


def test_the_front_page_lists_every_chapter_by_its_title() -> None:
    listed = LINK.findall(FRONT.partition("## Contents")[2])
    assert listed == [(title(slug), slug) for slug in in_order()]


def test_the_front_page_says_where_to_begin_and_how_long_it_takes() -> None:
    (name, slug), _ = LINK.findall(FRONT.partition("**Start here:**")[2])[:2]
    assert slug == in_order()[0] and name == title(slug)
    (said,) = re.findall(r"\((\d+) minutes\)", FRONT.partition("## ")[0])
    assert int(said) == minutes(read(slug))["all"]


def test_the_weeks_alone_read_every_chapter_once() -> None:
    weeks = GUIDE.partition("### Twelve weeks alone")[2].partition("\n### ")[0]
    assert sorted(slug for _, slug in LINK.findall(weeks)) == sorted(in_order())


def test_the_citation_is_of_this_version_at_this_address() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert f'version = "{citation["version"]}"' in PROJECT
    assert citation["repository-code"] == address()[0], "run `make links`"
    assert f"## {citation['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
