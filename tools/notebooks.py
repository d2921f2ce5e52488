"""The notebooks of the book: where they are, and what makes their outputs belong to their code."""

import hashlib
import json
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent


def chapters() -> list[Path]:
    """All notebooks of the book, in a fixed order."""
    found = (ROOT / "book").rglob("*.ipynb")
    return sorted(path for path in found if ".ipynb_checkpoints" not in path.parts)


def code_sha256(notebook: nbformat.NotebookNode) -> str:
    """Fingerprint of all code cells: outputs belong to exactly this code."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()
