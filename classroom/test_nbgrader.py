"""nbgrader's whole cycle with every student copy: `make test-nbgrader`.

Generate, release, fetch, submit, collect, autograde, feedback; for a student who did nothing and
for one who wrote what the solutions say. The exchange is where tljh.sh puts it.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from nbgrader.api import Gradebook

import student
from notebooks import ROOT, chapters

CHAPTERS = [path for path in chapters() if path.parent != ROOT / "book"]
PARTS = sorted({path.parent.name for path in CHAPTERS})


class Classroom:
    """A server as tljh.sh leaves it, in a folder: an instructor, students, and their exchange."""

    def __init__(self, folder: Path):
        self.folder, self.course = folder, folder / "course"
        self.copies = self.course / "_build" / "student"
        self.copies.mkdir(parents=True)
        shutil.copy(ROOT / "classroom" / "nbgrader_config.py", self.course)
        server, tools = folder / "server", folder / "server" / "opt" / "tljh" / "user" / "bin"
        tools.mkdir(parents=True)
        (server / "opt/tljh/config/jupyterhub_config.d").mkdir(parents=True)
        for name in ("pip", "tljh-config"):  # what does not matter here
            (tools / name).write_text("#!/bin/sh\n", encoding="utf-8")
            (tools / name).chmod(0o755)
        script = (ROOT / "classroom" / "tljh.sh").read_text(encoding="utf-8")
        for top in ("/opt/", "/srv/"):
            script = script.replace(top, f"{server}{top}")
        path = {"PATH": f"{tools}:{os.environ['PATH']}"}
        subprocess.run(["bash"], input=script, text=True, env=os.environ | path, check=True)
        kernel = folder / "share" / "kernels" / "python3" / "kernel.json"
        kernel.parent.mkdir(parents=True)
        command = [str(ROOT / ".venv/bin/python"), "-m", "ipykernel_launcher"]
        spec = {"argv": [*command, "-f", "{connection_file}"], "display_name": "Python 3"}
        kernel.write_text(json.dumps(spec | {"language": "python"}), encoding="utf-8")
        self.environment = os.environ | {
            "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}",  # nbgrader calls alembic
            "JUPYTER_CONFIG_PATH": str(server / "opt/tljh/user/etc/jupyter"),
            "JUPYTER_PATH": str(folder / "share"),
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "TQDM_DISABLE": "1",
        }

    def run(self, command: str, *arguments: str, name: str = "") -> None:
        """Run a command of nbgrader as the instructor, or as a student."""
        home = self.folder / "homes" / name if name else self.course
        home.mkdir(parents=True, exist_ok=True)
        who = ["--course=convnets", f"--student={name}"] if name else []
        own = {"HOME": str(home), "JUPYTER_DATA_DIR": str(home / ".data")}
        done = subprocess.run(
            [sys.executable, "-m", "nbgrader", command, *arguments, *who],
            cwd=home,
            env=self.environment | own,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout

    def fetched(self, name: str, assignment: str) -> list[Path]:
        """Return the notebooks of an assignment that a student has."""
        return sorted((self.folder / "homes" / name / assignment).glob("*.ipynb"))

    def grades(self, assignment: str, name: str) -> dict[str, list]:
        """Return what the gradebook holds of a student's notebooks."""
        gradebook = Gradebook(f"sqlite:///{self.course / 'gradebook.db'}", "convnets")
        found = gradebook.find_submission(assignment, name).notebooks
        grades = {
            notebook.name: [(g.cell.name, g.auto_score, g.max_score) for g in notebook.grades]
            for notebook in found
        }
        gradebook.close()
        return grades


def solve(copy: Path, chapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write into a student's copy what the chapter's solutions say."""

    def work(label: str, work: list[student.Statement], wanted: list[str]) -> str:
        return "\n".join(s.text for s in work)

    with monkeypatch.context() as patch:
        patch.setattr(student, "stub", work)
        solved = student.student_copy(nbformat.read(chapter, as_version=4), chapter.parent)
    answers = {cell.id: cell.source for cell in solved.cells}
    notebook = nbformat.read(copy, as_version=4)
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("solution"):
            cell.source = answers[cell.metadata.nbgrader.grade_id]
    nbformat.write(notebook, copy)


@pytest.mark.parametrize("part", PARTS)
def test_the_whole_cycle(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who did nothing has no point, who has the solutions has all that a program gives."""
    here = Classroom(tmp_path)
    sources = {path.stem: path for path in CHAPTERS if path.parent.name == part}
    for name, path in sources.items():
        (here.copies / part).mkdir(exist_ok=True)
        copy = student.student_copy(nbformat.read(path, as_version=4), path.parent)
        nbformat.write(copy, here.copies / part / f"{name}.ipynb")
    here.run("generate_assignment", part)
    here.run("release_assignment", part)
    for name in ("unsolved", "solved"):
        here.run("fetch_assignment", part, name=name)
        assert [path.stem for path in here.fetched(name, part)] == sorted(sources)
        for copy in here.fetched(name, part) if name == "solved" else ():
            solve(copy, sources[copy.stem], monkeypatch)
        here.run("submit", part, name=name)
    for command in ("collect", "autograde", "generate_feedback", "release_feedback"):
        here.run(command, part)
    nothing, everything = (here.grades(part, name) for name in ("unsolved", "solved"))
    assert set(nothing) == set(everything) == set(sources)
    for chapter in sources:
        points = {name: most for name, _, most in everything[chapter]}
        print(
            f"{part}/{chapter}: {sum(points.values()):g} points in {len(points)} cells;",
            f"unsolved {sum(score for _, score, _ in nothing[chapter]):g},",
            f"solved {sum(score or 0 for _, score, _ in everything[chapter]):g},",
            f"for a person {sum(score is None for _, score, _ in everything[chapter])}",
        )
    for chapter in sources:
        assert [name for name, score, _ in nothing[chapter] if score != 0] == []
        wrong = [(n, score) for n, score, most in everything[chapter] if score not in (most, None)]
        assert wrong == []
        by_hand = {name for name, score, _ in everything[chapter] if score is None}
        assert not any("-check-" in name for name in by_hand)
    for name in ("unsolved", "solved"):
        here.run("fetch_feedback", part, name=name)
        pages = (tmp_path / "homes" / name / part / "feedback").rglob("*.html")
        assert {page.stem for page in pages} == set(sources)


def test_a_warning_costs_nothing(tmp_path: Path) -> None:
    """Without IgnorePattern, nbgrader 0.9.6 gives 0 to a passing check that writes to stderr."""
    here = Classroom(tmp_path)
    (here.copies / "week").mkdir()
    cells = []
    for name, source in {
        "passes": "import sys\nprint('all is well', file=sys.stderr)",
        "fails": "import warnings\nwarnings.warn('a warning')\nassert False",
    }.items():
        cell = student.graded(new_code_cell(source), name, True, False)
        cell.id = name
        cells.append(cell)
    kernel = {"kernelspec": student.KERNEL}
    nbformat.write(new_notebook(cells=cells, metadata=kernel), here.copies / "week" / "day.ipynb")
    here.run("generate_assignment", "week")
    here.run("release_assignment", "week")
    here.run("fetch_assignment", "week", name="ada")
    here.run("submit", "week", name="ada")
    here.run("collect", "week")
    here.run("autograde", "week")
    assert here.grades("week", "ada")["day"] == [("passes", 1, 1), ("fails", 0, 1)]
    here.run("autograde", "week", "--force", "--IgnorePattern.enabled=False")
    assert here.grades("week", "ada")["day"] == [("passes", 0, 1), ("fails", 0, 1)]
