"""The long runs behind verdicts: each script has its table, and a chapter that quotes it."""

import csv
import re
from pathlib import Path

import pytest

from notebooks import ROOT, chapters

CLAIMS = ROOT / "benchmarks" / "claims"
SCRIPTS = sorted(p for p in CLAIMS.glob("*.py") if p.stem not in {"table", "muon"})
CHAPTERS = {path.stem.replace("-", "_"): path for path in chapters()}


def rows(script: Path) -> list[list[str]]:
    with script.with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("script", SCRIPTS, ids=[script.stem for script in SCRIPTS])
def test_a_claim_has_its_table_and_its_chapter(script: Path) -> None:
    head, *results = rows(script)
    assert len(results) > 20 and all(len(row) == len(head) for row in results)
    assert len({tuple(row) for row in results}) == len(results), "a run stands twice"
    chapter = CHAPTERS[script.stem].read_text(encoding="utf-8")
    assert f"benchmarks/claims/{script.stem}" in chapter


def test_the_page_counts_them() -> None:
    page = (ROOT / "book" / "benchmarks.md").read_text(encoding="utf-8")
    counted = dict(re.findall(r"^\| \{doc\}`\w+/([\w-]+)` \| ([\d,]+) \|", page, flags=re.M))
    found = {script.stem.replace("_", "-"): f"{len(rows(script)) - 1:,}" for script in SCRIPTS}
    assert counted == found
    total = sum(int(count.replace(",", "")) for count in found.values())
    assert f"{total:,} networks" in page
