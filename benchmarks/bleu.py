"""BLEU of the same sentences by four libraries and some of their settings.

    python benchmarks/bleu.py    # writes bleu.csv beside it

Two of them, nltk and torchmetrics, are not among the course's requirements, so it needs an
environment of its own, with this folder's parent on ``PYTHONPATH``::

    pip install torch sacrebleu==2.6.0 nltk==3.10.4 torchmetrics==1.9.0

Three cases: the notes' candidate "a b b c d" beside "a b c d e f"; a candidate of three tokens that
is its reference; and two candidates, each beside two references, given once as a library wants them
and once nested the other way. Every library gets tokens separated by spaces, and no other
tokenization. Scores are written as the library gives them: sacrebleu's run to 100.
"""

import csv
import warnings
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import nltk.translate.bleu_score as of_nltk
import sacrebleu
from torchmetrics.functional.text import bleu_score

from d2lite.bleu import bleu

HEAD = ["Library", "Version", "Setting", "abbcd", "Perfect three", "Right nesting", "Other nesting"]
Texts = list[list[str]]  # for each candidate, its references
CASES: dict[str, tuple[list[str], Texts]] = {
    "abbcd": (["a b b c d"], [["a b c d e f"]]),
    "perfect": (["a bag left"], [["a bag left"]]),
    "two": (
        ["a bag left of a coat", "a shirt above a shoe or a bag"],
        [
            ["a bag left of a coat", "a coat right of a bag"],
            ["a shirt above a shoe and a bag", "a bag and a shoe below a shirt"],
        ],
    ),
}


def turned(references: Texts) -> Texts:
    """Nest references the other way: for each place in the lists, a list of all candidates'."""
    return [list(column) for column in zip(*references, strict=True)]


def by_d2lite(candidates: list[str], references: Texts, **settings: object) -> float:
    """Ours: from 0 to 1, references by candidate."""
    return bleu([c.split() for c in candidates],
                [[r.split() for r in several] for several in references], **settings)  # fmt: skip


def by_sacrebleu(candidates: list[str], references: Texts, **settings: object) -> float:
    """From 0 to 100; it wants references the other way, so they are turned here."""
    found = sacrebleu.corpus_bleu(
        candidates, turned(references), tokenize="none", force=True, **settings
    )
    return found.score


def by_sentence(candidates: list[str], references: Texts) -> float:
    """Its score of single sentences, their mean; of effective order."""
    pairs = zip(candidates, references, strict=True)
    scores = [sacrebleu.sentence_bleu(c, r, tokenize="none").score for c, r in pairs]
    return sum(scores) / len(scores)


def by_nltk(candidates: list[str], references: Texts, **settings: object) -> float:
    """From 0 to 1, references by candidate."""
    with warnings.catch_warnings(action="ignore"):
        return of_nltk.corpus_bleu([[r.split() for r in several] for several in references],
                                   [c.split() for c in candidates], **settings)  # fmt: skip


def by_torchmetrics(candidates: list[str], references: Texts, **settings: object) -> float:
    """From 0 to 1, references by candidate."""
    return bleu_score(candidates, references, **settings).item()


def of_d2l(candidates: list[str], references: Texts) -> float:
    """The weighting of *Dive into Deep Learning*: ½, ¼, … for n-grams of up to k = 2."""
    return by_d2lite(candidates, references, weights=(0.5, 0.25))


def with_method1(candidates: list[str], references: Texts) -> float:
    """Smoothed: 0.1 is put for 0 matches."""
    smooth = of_nltk.SmoothingFunction().method1
    return by_nltk(candidates, references, smoothing_function=smooth)


WAYS: list[tuple[str, str, Callable[..., float], dict[str, object]]] = [
    ("d2lite", "default", by_d2lite, {}),
    ("d2lite", "weights ½, ¼", of_d2l, {}),
    ("sacrebleu", "corpus", by_sacrebleu, {}),
    ("sacrebleu", "corpus, not smoothed", by_sacrebleu, {"smooth_method": "none"}),
    ("sacrebleu", "sentence", by_sentence, {}),
    ("nltk", "default", by_nltk, {}),
    ("nltk", "method1", with_method1, {}),
    ("nltk", "auto_reweigh", by_nltk, {"auto_reweigh": True}),
    ("torchmetrics", "default", by_torchmetrics, {}),
    ("torchmetrics", "smooth", by_torchmetrics, {"smooth": True}),
]


def cell(score: Callable[[], float]) -> str:
    """A score to three digits, or the name of the error."""
    try:
        return f"{score():.3g}"
    except Exception as error:
        return type(error).__name__


def main() -> None:
    """Score every case in every way, and write the table."""
    said, references = CASES["two"]
    cases = [*CASES.values(), (said, turned(references))]
    rows = [
        [library, "" if library == "d2lite" else version(library), setting]
        + [cell(partial(score, *case, **settings)) for case in cases]
        for library, setting, score, settings in WAYS
    ]
    with Path(__file__).with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([HEAD, *rows])


if __name__ == "__main__":
    main()
