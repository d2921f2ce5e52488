"""The glossary on the site: its terms lead to chapters, and chapters to its terms."""

import re
from pathlib import Path

import pytest
from conftest import ROOT, SITE, soup_of

CHAPTERS = [
    SITE / chapter.relative_to(ROOT / "book").with_suffix(".html")
    for chapter in sorted((ROOT / "book").glob("*/*.ipynb"))
]


@pytest.fixture(scope="module")
def definitions() -> dict[str, str]:
    """Each term's place in the glossary, and its definition without the link."""
    found = {}
    for term in soup_of(SITE / "glossary.html").select("dl.glossary dt"):
        definition = term.find_next_sibling("dd")
        assert definition.select_one("a.internal"), f"{term.text}: no chapter"
        found[term["id"]] = " ".join(definition.text.partition("→")[0].split())
    return found


def test_it_is_in_order_and_not_long(definitions: dict[str, str]) -> None:
    first = [
        group.find("dt").text.removesuffix("#").lower()
        for group in soup_of(SITE / "glossary.html").select("dl.glossary")
    ]
    assert first == sorted(first)
    assert 80 <= len(definitions) <= 300
    for definition in definitions.values():
        assert 1 <= len(re.findall(r"\.(?: |$)", definition)) <= 2, definition


@pytest.mark.parametrize("page", CHAPTERS, ids=[page.stem for page in CHAPTERS])
def test_a_chapter_links_each_term_once(page: Path, definitions: dict[str, str]) -> None:
    soup = soup_of(page)
    links = soup.select("a.d2-term")
    places = [link["href"].rpartition("#")[2] for link in links]
    assert links
    assert len(places) == len(set(places))
    for link, place in zip(links, places, strict=True):
        assert link["title"] == definitions[place]
        assert link.find_parent("p")
        assert not link.find_parent(["h1", "h2", "h3", "h4", "code", "pre", "label"])
        words = place.removeprefix("term-").replace("-", " ").lower()
        said = re.sub("[ -]", " ", link.text.lower())
        assert said in (words, words + "s", words + "es")
        assert link.text != "Windows"  # a system


def test_whole_words_and_plurals_only() -> None:
    soup = soup_of(SITE / "convolution" / "cross-correlation.html")
    for link in soup.select("a.d2-term"):
        before, after = link.previous_sibling, link.next_sibling
        assert not re.search(r"[\w-]$", before if isinstance(before, str) else "")
        assert not re.search(r"^[\w-]", after if isinstance(after, str) else "")
    kernels = [link for link in soup.select("a.d2-term") if link["href"].endswith("#term-kernel")]
    assert len(kernels) == 1
