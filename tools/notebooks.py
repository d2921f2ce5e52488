"""The notebooks of the book: where they are, and what makes their outputs belong to their code."""

import base64
import hashlib
import json
import mimetypes
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import nbformat

ROOT = Path(__file__).resolve().parent.parent
#: A directive, however deep it is nested: no Markdown that Jupyter, a slide or a student knows.
DIRECTIVE = re.compile(r"^[\s>*+-]*(?:`{3,}|:{3,}|~{3,})\s*\{.*", re.MULTILINE)

#: The address of a picture or link in Markdown, of a reference, or in HTML.
ADDRESS = re.compile(
    r"""(?P<before>\]\(\s*|^\ {0,3}\[[^]\n]+\]:\s*|\bsrc\s*=\s*["'])"""
    r"""(?:<(?P<spaced>[^<>\n]+)>"""
    r"""|(?P<plain>(?:(?<=["'])[^"'\n]+|[^\s()<>"']+(?:\([^\s()]*\)[^\s()<>"']*)*)))""",
    re.MULTILINE,
)

#: What folds in Colab, and in JupyterLab, the code that is folded on the site.
FOLDED = {"cellView": "form", "jupyter": {"source_hidden": True}}


def chapters() -> list[Path]:
    """All notebooks of the book, in a fixed order."""
    found = (ROOT / "book").rglob("*.ipynb")
    return sorted(path for path in found if ".ipynb_checkpoints" not in path.parts)


def read(path: Path) -> nbformat.NotebookNode:
    """Read a notebook; raise ValueError, with its name, for a file that is none."""
    try:
        return nbformat.read(path, as_version=4)
    except (ValueError, AttributeError, KeyError, nbformat.ValidationError) as error:
        why = "has marks of a conflict in git" if "<<<<<<< " in path.read_text("utf-8") else error
        reason = str(why).splitlines()[0][:100]
        raise ValueError(f"{path.name}: no notebook: {reason}") from None


def carry_pictures(
    text: str, attachments: dict, folder: Path, put: Callable[[str, str, str], str]
) -> str:
    """Replace the address of each picture in Markdown that is a file or an attachment.

    `put` gets a picture's name, its kind and its data in base64, and returns the new address.
    Raises ValueError for a picture that is not there.
    """

    def moved(found: re.Match) -> str:
        address = unquote(found["spaced"] or found["plain"])
        kind = mimetypes.guess_type(address, strict=False)[0] or ""
        if address.startswith("attachment:"):
            name = address.removeprefix("attachment:")
            ((kind, data),) = attachments.get(name, {"": ""}).items()
        elif re.match(r"\w+:|/", address) or not kind.startswith("image/"):
            return found[0]  # from elsewhere, or no picture
        else:
            file = folder / address
            name, data = file.name, ""
            if file.is_file():
                data = base64.b64encode(file.read_bytes()).decode()
        if not data:
            raise ValueError(f"{address}: no such picture")
        return found["before"] + put(name, kind, data)

    return ADDRESS.sub(moved, text)


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
