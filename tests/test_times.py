"""How long a chapter takes, and that its core is short."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from notebooks import ROOT, chapters
from times import as_text, minutes, sizes

CHAPTERS = [path for path in chapters() if path.parent != ROOT / "book"]
#: A core has about 1,800 words and 12 visible cells of about 15 lines; half as much again is much.
MOST = {"words": 2700, "cells": 18, "lines": 270}


def test_parts_are_counted() -> None:
    code = "a = 1\n\nb = 2\n" * 10
    cells = [
        new_markdown_cell("# T: q?\n\n" + "word " * 397),
        new_code_cell(code),
        new_code_cell(code, metadata={"tags": ["hide-input"]}),
        new_markdown_cell("## Experiments\n\n" + "word " * 998 + "\n\n## Exercises"),
        new_markdown_cell("### Exercise 1 ★: A"),
        new_markdown_cell("#### Solution\n\n" + "word " * 500, metadata={"tags": ["solution"]}),
        new_markdown_cell("### Exercise 2 ★★★: B"),
    ]
    book = new_notebook(cells=cells)
    found = sizes(book)
    assert found["core"] == {"words": 400, "lines": 20, "cells": 1}
    assert found["experiments"]["words"] == 1000
    assert found["exercises"]["words"] == 12
    assert minutes(book) == {"core": 5, "all": 10, "exercises": 65}
    assert as_text(minutes(book)) == "Core: 5 minutes. All: 10 minutes. Exercises: 65 minutes."
    assert as_text({"all": 30, "exercises": 120}) == "All: 30 minutes. Exercises: 2.0 hours."


@pytest.mark.parametrize("path", CHAPTERS, ids=[path.stem for path in CHAPTERS])
def test_a_core_is_short(path, record_property) -> None:
    notebook = nbformat.read(path, as_version=4)
    found = sizes(notebook)
    for key, number in found["core"].items():
        record_property(key, number)
    if "experiments" not in found:
        pytest.skip("its core is not marked yet")
    print(path.stem, found["core"])
    reason = notebook.metadata.d2lite.get("long_core", "")
    assert reason or all(found["core"][key] <= most for key, most in MOST.items()), found["core"]
