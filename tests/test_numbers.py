"""Numbers on slides and teaching pages are those of the chapters, in their text or outputs."""

import re
from pathlib import Path

import nbformat
import pytest

from notebooks import ROOT, chapters
from slides import TAKEN, blocks, deck_of

NUMBER = re.compile(r"(?<![\w.])(?:about |some |over |nearly )?\d+(?:,\d{3})*(?:\.\d+)?(?!\w)")
#: Worked out on a slide or at the board, from what stands beside them.
BY_HAND = {
    "googlenet.slides.md": "256",
    "batch-norm.slides.md": "1.67 1.29 0.001",
    "layer-instance-group-norm.slides.md": "40 900",
    "first-network.slides.md": "85",
    "start.md": "78,400",
    "training.md": "0.98",
    "convolution.md": "146,016 4,900 19,600 1.25",
    "normalization.md": "1,600 1.76 86590 0.76 2",
    "generative.md": "2.53",
    "architectures.md": "73,728 3,136 231 73,856 147,584 25088 25,088 401,408 2.41",
}
CHAPTERS = [path for path in chapters() if deck_of(path).exists()]
PAGES = [ROOT / "book" / "teaching" / f"{part}.md" for part in (
    "start", "convolution", "training", "normalization", "architectures", "practice",
    "detection", "generative", "sequences",
)]  # fmt: skip


def numbers(text: str) -> set[str]:
    """Those of two digits or more; what a text calls about so much is no claim of this kind."""
    text = re.sub(r"```.*?```|\{\w+\}`[^`]*`|\]\([^)]*\)", "", text, flags=re.DOTALL)
    text = text.replace("{,}", ",").replace("\\,", "")
    found = {match[0] for match in NUMBER.finditer(text)}
    return {number for number in found if len(re.sub(r"\D", "", number)) > 1 and " " not in number}


def said(path: Path) -> str:
    """All that a chapter says and shows."""
    texts = []
    for cell in nbformat.read(path, as_version=4).cells:
        texts.append(cell.source)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            texts += [output.get("text", ""), *(v for k, v in data.items() if k[:5] == "text/")]
    return "\n".join(texts).replace("about ", "")


@pytest.mark.parametrize("path", CHAPTERS, ids=[path.stem for path in CHAPTERS])
def test_slides_have_the_numbers_of_their_chapter(path: Path) -> None:
    deck = blocks(deck_of(path).read_text(encoding="utf-8"))
    own = [text for kind, text in deck if kind != "notes" and not TAKEN.fullmatch(text)]
    by_hand = BY_HAND.get(deck_of(path).name, "").split()
    assert numbers("\n".join(own)) - numbers(said(path)) <= set(by_hand)


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_teaching_pages_have_the_numbers_of_their_part(page: Path) -> None:
    part = [path for path in CHAPTERS if path.parent.name in (page.stem, "start")]
    assert part
    known = "\n".join(said(path) + deck_of(path).read_text(encoding="utf-8") for path in part)
    unknown = numbers(page.read_text(encoding="utf-8")) - numbers(known)
    minutes = {number for number in unknown if int(re.sub(r"\D", "", number)) <= 50}
    assert unknown - minutes <= set(BY_HAND.get(page.name, "").split())
