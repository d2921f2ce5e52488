"""How long a chapter takes: its core, its experiments, what goes further, its exercises.

Words are read at 200 a minute, lines of code that the page shows at 20 a minute. An exercise of one
star takes 5 minutes, of two 15, of three 60. A Sphinx extension that writes it below the title, and
on the front page in the list of contents.

    python tools/times.py    # prints the sizes and times of all chapters
"""

import math
import re
from pathlib import Path

import nbformat
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

from notebooks import ROOT, chapters

WORDS, LINES = 200, 20  # a minute
STARS = {"★": 5, "★★": 15, "★★★": 60}  # minutes
PARTS = {
    "Experiments": "experiments", "Going further": "further", "What we measured": "end",
    "Exercises": "exercises", "Further reading": "end",
}  # fmt: skip
HIDDEN = {"hide-input", "hide-cell", "remove-input", "remove-cell", "solution", "check"}


def sizes(notebook: nbformat.NotebookNode) -> dict[str, dict[str, int]]:
    """Words, visible lines and cells of code of each part that a chapter has.

    What stands before the heading "Experiments" is the core; without that heading, all is.
    """
    found: dict[str, dict[str, int]] = {}
    part = "core"
    for cell in notebook.cells:
        hidden = set(cell.metadata.get("tags", [])) & HIDDEN
        markdown = cell.cell_type == "markdown"
        for piece in re.split(r"^(?=## )", cell.source, flags=re.M) if markdown else [cell.source]:
            if markdown and (heading := re.match(r"## (.+)", piece)):
                part = PARTS.get(heading[1].strip(), part)
            text = re.sub(r"```.*?```|\$\$.*?\$\$|\]\([^)]*\)", "", piece, flags=re.DOTALL)
            lines = [line for line in piece.splitlines() if line.strip()]
            size = {"words": len(text.split())} if markdown else {"lines": len(lines), "cells": 1}
            own = found.setdefault(part, {"words": 0, "lines": 0, "cells": 0})
            for name, number in size.items() if not hidden else ():
                own[name] += number
    return found


def minutes(notebook: nbformat.NotebookNode) -> dict[str, int]:
    """Minutes for each part, for all that is read, and for the exercises; in steps of five."""

    def rounded(number: float) -> int:
        return max(5, 5 * math.ceil(number / 5 - 0.5))

    parts = sizes(notebook)
    exercises = parts.pop("exercises", None)
    taken = {name: size["words"] / WORDS + size["lines"] / LINES for name, size in parts.items()}
    stars = re.findall(
        r"^### Exercise \d+ (★+):", "\n".join(c.source for c in notebook.cells), re.M
    )
    found = {"all": rounded(sum(taken.values()))}
    if "experiments" in taken:
        found["core"] = rounded(taken["core"])
    if exercises:
        found["exercises"] = sum(STARS[star] for star in stars)
    return found


def as_text(times: dict[str, int]) -> str:
    """Say it in a line."""

    def hours(number: int) -> str:
        return f"{number} minutes" if number < 100 else f"{number / 60:.1f} hours"

    core = f"Core: {times['core']} minutes. " if "core" in times else ""
    exercises = f" Exercises: {hours(times['exercises'])}." if "exercises" in times else ""
    return f"{core}All: {times['all']} minutes.{exercises}"


def write(app: Sphinx, doctree: nodes.document) -> None:
    """Write the times of a chapter below its title, those of all on the front page."""
    path = Path(app.env.doc2path(app.env.docname))
    if path == ROOT / "book" / "index.ipynb":
        for item in doctree.findall(nodes.list_item):
            link = next(iter(item.findall(addnodes.pending_xref)), None)
            chapter = ROOT / "book" / f"{link['reftarget']}.ipynb" if link else path
            if chapter.is_file() and chapter != path:
                app.env.note_dependency(str(chapter))
                text = as_text(minutes(nbformat.read(chapter, as_version=4)))
                item[-1] += [nodes.Text(" "), nodes.inline(text, text, classes=["times"])]
    elif path.suffix == ".ipynb" and path.parent != ROOT / "book":
        text = as_text(minutes(nbformat.read(path, as_version=4)))
        title = next(iter(doctree.findall(nodes.title)))
        place = title.parent.index(title) + 1
        title.parent.insert(place, nodes.paragraph(text, text, classes=["times"]))


def setup(app: Sphinx) -> dict:
    """Register with Sphinx."""
    app.connect("doctree-read", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    print(f"{'chapter':44} {'part':12} {'words':>6} {'lines':>6} {'cells':>6}")
    for chapter in chapters():
        book = nbformat.read(chapter, as_version=4)
        for name, size in sizes(book).items():
            print(f"{chapter.parent.name + '/' + chapter.stem:44} {name:12}", end="")
            print(*(f"{size[key]:6}" for key in ("words", "lines", "cells")))
        print(" " * 44, as_text(minutes(book)))
