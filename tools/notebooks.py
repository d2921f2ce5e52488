"""The notebooks of the book: where they are, and what makes their outputs belong to their code."""

import hashlib
import json
import re
from pathlib import Path
from typing import NamedTuple

import nbformat

ROOT = Path(__file__).resolve().parent.parent
#: A directive, however deep it is nested: no Markdown that Jupyter, a slide or a student knows.
DIRECTIVE = re.compile(r"^[\s>*+-]*(?:`{3,}|:{3,}|~{3,})\s*\{.*", re.MULTILINE)

#: What folds in Colab, and in JupyterLab, the code that is folded on the site.
FOLDED = {"cellView": "form", "jupyter": {"source_hidden": True}}


def chapters() -> list[Path]:
    """All notebooks of the book, in a fixed order."""
    found = (ROOT / "book").rglob("*.ipynb")
    return sorted(path for path in found if ".ipynb_checkpoints" not in path.parts)


def code_sha256(notebook: nbformat.NotebookNode) -> str:
    """Fingerprint of all code cells: outputs belong to exactly this code."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


class Question(NamedTuple):
    """A question to the reader; each choice but the answer, which begins with it, has feedback."""

    text: str
    choices: list[str]
    answer: str
    feedback: dict[str, str]


QUESTION = re.compile(
    r"\*\*Predict first\.\*\* (.+?)\n\n(- .+?)\n\n"
    r"<details><summary>Answer</summary>\n\n(.+?)\n\n(- .+?)\n\n</details>",
    re.DOTALL,
)
CHOICE = re.compile(r"^- \*\*([A-Z])\.\*\*[ ]?(.*)$", re.MULTILINE)


def question(source: str) -> Question | None:
    """Read a Markdown cell that asks a question, or return None for one that does not.

    It begins with **Predict first.**, lists its choices, and folds the answer below them. Raises
    ValueError, with its beginning, where the answer is none of the choices or one lacks feedback.
    """
    if not source.startswith("**Predict first.**"):
        return None
    if not (found := QUESTION.fullmatch(source.strip())):
        raise ValueError(f"{source[:60]!r}: not the form of a question")
    choices, feedback = CHOICE.findall(found[2]), dict(CHOICE.findall(found[4]))
    letters = [letter for letter, _ in choices]
    right = re.match(r"\*\*([A-Z])\.\*\* ", found[3])
    if not right or right[1] not in letters or set(feedback) != set(letters) - {right[1]}:
        raise ValueError(f"{source[:60]!r}: one answer, and words on each other choice")
    return Question(found[1], [text for _, text in choices], found[3], feedback)
