"""How long do the tests take, at commits before and after they were made faster?

    python benchmarks/tests.py [COMMIT ...]

`make test` runs in a clone of each commit, with the `.venv` of this one and what it lacks of the
commit's pins, on a machine that does nothing else. Between the first and the second of the default
commits the checks are the same, and some more; `HEAD` has all that later chapters added, which the
ratio for each test or cell leaves out. The seconds are those that pytest reports, of tests that
pass or fail; all output goes to `_build/tests-COMMIT.log`. Rows of other sittings stay: seconds
compare within one.
"""

import csv
import os
import re
import subprocess
import sys
from datetime import datetime
from importlib.metadata import distributions
from pathlib import Path
from tempfile import TemporaryDirectory

from results import FOLDER, save

ROOT = Path(__file__).resolve().parent.parent
COMMITS = ["e0feac9", "b1a0032"]
PARTS = "package and site", "notebook cells"
SUMMARY = re.compile(r"^=+ (.*) in ([\d.]+)s.* =+$", re.MULTILINE)


def missing(tree: Path, folder: Path) -> Path:
    """Install what a commit pins and this environment has in no version."""
    pins = re.findall(r"^([\w.-]+)(==\S+)$", (tree / "requirements.txt").read_text(), re.MULTILINE)
    here = {re.sub("[-_.]+", "-", d.metadata["Name"].lower()) for d in distributions()}
    lacking = [name + version for name, version in pins if name not in here]
    if lacking:
        command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*command, "--target", folder, *lacking], check=True)
    return folder


def measure(tree: Path, log: Path, extra: Path) -> list[tuple[int, float]]:
    """Run both parts in a folder, failures or not; return the tests and the seconds of each."""
    # The environment is there: neither build it nor stop at a test that fails.
    command = ["make", "--ignore-errors", "--old-file=.venv/.all", "--old-file=.venv/.book", "test"]
    path = os.pathsep.join(map(str, (tree, extra)))
    environment = os.environ | {"PYTHONPATH": path, "D2LITE_REQUIRE_BROWSER": "1"}
    log.parent.mkdir(exist_ok=True)
    with log.open("w", encoding="utf-8") as file:
        subprocess.run(command, cwd=tree, env=environment, stdout=file, stderr=subprocess.STDOUT)
    found = SUMMARY.findall(log.read_text(encoding="utf-8"))
    assert len(found) == 2, f"not run to the end: see {log}"
    counts = [re.findall(r"(\d+) (?:passed|failed|skipped|error)", text) for text, _ in found]
    return [(sum(map(int, n)), float(took)) for n, (_, took) in zip(counts, found, strict=True)]


def main(commits: list[str]) -> None:
    """Measure the commits in turn, and compare each with the first."""
    begun, first = f"{datetime.now():%Y-%m-%d, %H h}", None
    with open(FOLDER / "tests.csv", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    for commit in commits:
        with TemporaryDirectory() as folder:
            clone = Path(folder) / "clone"
            subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
            subprocess.run(["git", "checkout", "--quiet", commit], cwd=clone, check=True)
            (clone / ".venv").symlink_to((ROOT / ".venv").resolve())
            extra = missing(clone, Path(folder) / "extra")
            parts = measure(clone, ROOT / "_build" / f"tests-{commit}.log", extra)
        first = first or parts
        for name, (count, took), (one, before) in zip(PARTS, parts, first, strict=True):
            ratio, each = took / before, took / count / (before / one)
            rows.append([begun, commit, name, count, round(took), f"{ratio:.2f}", f"{each:.2f}"])
            print(*rows[-1], flush=True)
    save("tests", head, rows)


if __name__ == "__main__":
    main(sys.argv[1:] or COMMITS)
