"""How long do the tests take, beside those of another commit?

    python benchmarks/tests.py [COMMIT]

`make test` runs in a clone of the commit and then in the working tree, with the same `.venv`, on a
machine that does nothing else. The seconds are those that pytest reports. All output goes to
`_build/tests-before.log` and `_build/tests-after.log`.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from results import save

ROOT = Path(__file__).resolve().parent.parent
COMMIT = "e0feac9"  # before the tests were made faster
PARTS = ["Package and site in a browser", "Notebooks"]
SUMMARY = re.compile(r"^=+ (.*) in ([\d.]+)s.* =+$", re.MULTILINE)


def measure(tree: Path, log: Path) -> list[tuple[int, float]]:
    """Run both parts in a folder, failures or not; return the tests and the seconds of each."""
    # The environment is there: neither build it nor stop at a test that fails.
    command = ["make", "--ignore-errors", "--old-file=.venv/.all", "--old-file=.venv/.book", "test"]
    environment = os.environ | {"PYTHONPATH": str(tree), "D2LITE_REQUIRE_BROWSER": "1"}
    log.parent.mkdir(exist_ok=True)
    with log.open("w", encoding="utf-8") as file:
        subprocess.run(command, cwd=tree, env=environment, stdout=file, stderr=subprocess.STDOUT)
    found = SUMMARY.findall(log.read_text(encoding="utf-8"))
    assert len(found) == len(PARTS), f"not run to the end: see {log}"
    counts = [re.findall(r"(\d+) (?:passed|failed|skipped|error)", text) for text, _ in found]
    return [(sum(map(int, n)), float(took)) for n, (_, took) in zip(counts, found, strict=True)]


def main(commit: str) -> None:
    """Measure the commit, then the working tree."""
    with TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        subprocess.run(["git", "checkout", "--quiet", commit], cwd=clone, check=True)
        (clone / ".venv").symlink_to((ROOT / ".venv").resolve())
        before = measure(clone, ROOT / "_build" / "tests-before.log")
    after = measure(ROOT, ROOT / "_build" / "tests-after.log")
    rows = [
        [part, old, f"{was:.0f}", new, f"{now:.0f}", f"{now / was:.2f}"]
        for part, (old, was), (new, now) in zip(PARTS, before, after, strict=True)
    ]
    head = ["Part", f"Tests at {commit}", "Seconds", "Tests now", "Seconds now", "Ratio"]
    save("tests", head, rows)


if __name__ == "__main__":
    main(*(sys.argv[1:] or [COMMIT]))
