"""What does it take to run a chapter? Processor time and memory of its kernel.

    python benchmarks/chapters.py [CHAPTER …]

Each chapter runs once in a kernel of its own with one thread, as `make execute` runs it, and no
notebook is written. The kernel itself reports, in a cell after the last. Chapters named on the
command line, as in convolution/pooling, are measured anew; without names all are.
"""

import csv
import os
import re
import sys
from pathlib import Path

import nbformat
import yaml
from nbclient import NotebookClient

from results import FOLDER, save

sys.path.append(str(Path(__file__).parent.parent / "tools"))
from execute import KERNEL_ARGUMENTS, QUIET
from notebooks import ROOT, chapters

REPORT = """\
import resource as _resource

_own, _of_children = map(_resource.getrusage, (_resource.RUSAGE_SELF, _resource.RUSAGE_CHILDREN))
print(_own.ru_utime + _own.ru_stime + _of_children.ru_utime + _of_children.ru_stime)
print(_own.ru_maxrss / 1024)  # Linux counts KiB"""
SAVED = FOLDER / "chapters.csv"


def measure(path: Path) -> tuple[str, str]:
    """Return the CPU seconds, start-up included, and the peak memory in MiB of one chapter."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("widgets", None)
    notebook.cells.append(nbformat.v4.new_code_cell(REPORT))
    NotebookClient(
        notebook,
        timeout=3600,
        extra_arguments=KERNEL_ARGUMENTS,
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    seconds, mebibytes = map(float, notebook.cells[-1].outputs[0].text.split())
    return f"{seconds:.0f}", f"{mebibytes:.0f}"


def in_order() -> dict[str, Path]:
    """All chapters as the contents list them."""
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    names = [chapter["file"] for part in contents["parts"] for chapter in part["chapters"]]
    found = {path.relative_to(ROOT / "book").with_suffix("").as_posix(): path
             for path in chapters()}  # fmt: skip
    return {name: found[name] for name in names if name in found}


def title(path: Path) -> str:
    """Return the chapter's title."""
    source = nbformat.read(path, as_version=4).cells[0].source
    return re.search(r"^# (.+)", source, re.MULTILINE).group(1)


if __name__ == "__main__":
    os.environ.update(QUIET)  # the kernels inherit it
    rows: dict[str, list[str]] = {}
    if SAVED.exists():
        rows = {row[0]: row for row in csv.reader(SAVED.open(encoding="utf-8"))}
    found = in_order()
    titles = {name: title(path) for name, path in found.items()}
    for name in sys.argv[1:] or found:
        rows[titles[name]] = [titles[name], *measure(found[name])]
        save(
            "chapters",
            ["Chapter", "CPU seconds", "Peak MiB"],
            [rows[each] for each in titles.values() if each in rows],
        )
