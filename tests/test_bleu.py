"""d2lite.bleu: sacrebleu's score, the notes' example, and the table of what libraries say."""

import csv
import math
import random

import nbformat
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st

from d2lite.bleu import bleu, ngram_matches, ngrams
from notebooks import ROOT

words = st.lists(st.sampled_from("abc"), min_size=1, max_size=9)


@settings(max_examples=200, deadline=None)
@given(st.data(), st.integers(1, 5), st.integers(1, 3))
def test_it_is_sacrebleus(data, count, several):
    candidates = data.draw(st.lists(words, min_size=count, max_size=count))
    references = [[data.draw(words) for _ in range(several)] for _ in candidates]
    theirs = sacrebleu.corpus_bleu(
        [" ".join(c) for c in candidates],
        [[" ".join(r[i]) for r in references] for i in range(several)],
        smooth_method="none", tokenize="none", force=True,
    )  # fmt: skip
    assert bleu(candidates, references) * 100 == pytest.approx(theirs.score, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from("abcd"), min_size=4, max_size=12))
def test_a_sentence_equals_itself(sentence):
    assert bleu([sentence], [[["x"], sentence]]) == pytest.approx(1)
    assert bleu([sentence], [[["x"] * len(sentence)]]) == 0


def test_the_example_of_the_notes():
    found = [ngram_matches("abbcd", ["abcdef"], n) for n in (1, 2, 3, 4)]
    assert found == [(4, 5), (3, 4), (1, 3), (0, 2)]
    said, right = [list("abbcd")], [[list("abcdef")]]
    assert bleu(said, right) == 0
    by_hand = math.exp(1 - 6 / 5) * (4 / 5) ** 0.5 * (3 / 4) ** 0.25
    assert bleu(said, right, weights=(0.5, 0.25)) == pytest.approx(by_hand)


def test_a_token_counts_as_often_as_in_one_reference():
    assert ngram_matches(["the"] * 7, [["the", "cat", "is", "on", "the", "mat"]], 1) == (2, 7)
    assert ngram_matches(["the"] * 7, [["the"], ["the", "the", "the"]], 1) == (3, 7)
    assert ngrams("aa", 3) == {}


def test_the_penalty_is_of_the_corpus():
    short, long, right = list("abcd"), list("abcdefgh"), list("abcdef")
    assert bleu([short], [[right]]) == pytest.approx(math.exp(1 - 6 / 4))
    both = bleu([short, long], [[right], [right]], weights=(1.0,))
    assert both == pytest.approx(10 / 12)  # 12 tokens beside 12: no penalty
    near = bleu([list("abcde")], [[list("abcdef"), list("abcd")]], weights=(1.0,))
    assert near == 1  # as near, so the shorter one counts


def test_a_weight_of_0_leaves_its_length_out():
    three, other = list("abc"), list("abd")
    assert bleu([three], [[three]], weights=(1, 0, 0, 0)) == 1
    assert bleu([three], [[other]], weights=(1, 0, 0, 0)) == pytest.approx(2 / 3)
    assert bleu([three], [[other]], weights=(0.5, 0, 0.5)) == 0  # a length that counts


def test_order_of_candidates_does_not_matter():
    source = random.Random(0)
    pairs = [([source.choice("ab") for _ in range(6)], [[*"abaabb"]]) for _ in range(6)]
    mixed = source.sample(pairs, 6)
    scores = [bleu(*map(list, zip(*some, strict=True))) for some in (pairs, mixed)]
    assert scores[0] == pytest.approx(scores[1]) and scores[0] > 0


def test_strings_are_refused():
    with pytest.raises(TypeError, match="candidates"):
        bleu(["a bag"], [[["a", "bag"]]])
    with pytest.raises(TypeError, match="references"):
        bleu([["a", "bag"]], [["a bag"]])
    with pytest.raises(ValueError, match="2 candidates"):
        bleu([["a"], ["b"]], [[["a"]]])
    with pytest.raises(ValueError, match="references"):
        bleu([["a"]], [[]])


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ((), ValueError, "above 0"),  # else any sentence would be perfect
        ((0, 0), ValueError, "above 0"),
        ((1, -0.5), ValueError, "must be ≥ 0"),
        ((float("nan"),), ValueError, "finite"),
        (0.5, TypeError, "weights=0.5: must be a list of numbers"),
    ],
)
def test_weights_that_are_none_are_refused(weights, error, message):
    with pytest.raises(error, match=message):
        bleu([["a", "b"]], [[["a", "c"]]], weights)


def table() -> list[dict[str, str]]:
    with (ROOT / "benchmarks" / "bleu.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_chapter_has_the_table():
    chapter = nbformat.read(ROOT / "book" / "sequences" / "seq2seq.ipynb", as_version=4)
    text = "\n".join(cell.source for cell in chapter.cells if cell.cell_type == "markdown")
    for row in table():
        library = f"{row['Library']} {row['Version']}".strip()
        cells = [library, row["Setting"], row["Perfect three"], row["abbcd"]]
        assert "| " + " | ".join(cells) + " |" in text


def test_ours_stands_in_the_table_as_it_is():
    default, weighted = (row for row in table() if row["Library"] == "d2lite")
    said, right = [list("abbcd")], [[list("abcdef")]]
    assert float(default["abbcd"]) == bleu(said, right) == float(default["Perfect three"])
    assert float(weighted["abbcd"]) == pytest.approx(bleu(said, right, (0.5, 0.25)), abs=5e-4)
