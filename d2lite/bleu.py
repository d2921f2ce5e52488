"""BLEU: how many n-grams of a sentence stand in a reference.

From Papineni et al., "BLEU: a method for automatic evaluation of machine translation", ACL 2002.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from d2lite.checks import checked, integer, number

Tokens = Sequence[str]


def _paired(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> None:
    if isinstance(candidates, str) or any(isinstance(c, str) for c in candidates):
        raise TypeError("candidates: must be lists of tokens, not strings")
    if any(isinstance(r, str) or any(isinstance(one, str) for one in r) for r in references):
        raise TypeError("references: must be a list of lists of tokens for each candidate")
    if len(candidates) != len(references) or not candidates or not all(references):
        raise ValueError(
            f"references: must be some for each of {len(candidates)} candidates, one at least"
        )


def _weights(value: Any) -> None:
    if not isinstance(value, (tuple, list)):
        raise TypeError("must be a list of numbers")
    for weight in value:
        number(at_least=0)(weight)
    if not any(value):
        raise ValueError("must be above 0 for some length")


@checked(n=integer(at_least=1))
def ngrams(tokens: Tokens, n: int) -> Counter[tuple[str, ...]]:
    """Count the runs of n tokens.

    >>> ngrams("abbcd", 2)["b", "b"]
    1
    """
    starts = range(len(tokens) - n + 1)
    return Counter(tuple(tokens[i : i + n]) for i in starts)


def ngram_matches(candidate: Tokens, references: Sequence[Tokens], n: int) -> tuple[int, int]:
    """Count a candidate's n-grams that stand in a reference, and all of them.

    One that comes more often than in any single reference counts as often as there.

    >>> [ngram_matches("abbcd", ["abcdef"], n) for n in (1, 2, 3, 4)]
    [(4, 5), (3, 4), (1, 3), (0, 2)]
    """
    own, most = ngrams(candidate, n), ngrams([], n)
    for reference in references:
        most |= ngrams(reference, n)
    return (own & most).total(), own.total()


@checked(_paired, weights=_weights)
def bleu(
    candidates: Sequence[Tokens],
    references: Sequence[Sequence[Tokens]],
    weights: Sequence[float] = (0.25, 0.25, 0.25, 0.25),
) -> float:
    """Compute BLEU of a corpus, from 0 to 1: Π pₙ to the power of its weight, times a penalty.

    pₙ is the share of all candidates' n-grams that stand in their references. The penalty is for
    candidates that are shorter, all together, than their references (each the nearest in length,
    the shorter one if two are as near): exp(1 − length of references / length of candidates).
    Where no n-gram matches for some n of a weight above 0, it is 0; nothing is smoothed.

    Args:
        candidates: N lists of tokens.
        references: For each candidate, a list of one or more lists of tokens.
        weights: Of p₁, p₂, …: as many as there are lengths of n-grams. One of 0 leaves its length
            out.

    Raises:
        TypeError: If a sentence is a string, in place of a list of its tokens, or the weights are
            no list.
        ValueError: If candidates and references are not as many, there are none, a weight is
            negative, or none is above 0.

    >>> said, right = "a bag left of a coat".split(), "a bag left of two coats".split()
    >>> round(bleu([said], [[right]]), 3)
    0.508
    """
    matched, counted = [0] * len(weights), [0] * len(weights)
    length = wanted = 0
    for candidate, several in zip(candidates, references, strict=True):
        length += len(candidate)
        wanted += min((abs(len(r) - len(candidate)), len(r)) for r in several)[1]
        for i in range(len(weights)):
            hits, all_of_them = ngram_matches(candidate, several, i + 1)
            matched[i] += hits
            counted[i] += all_of_them
    used = [(w, m, c) for w, m, c in zip(weights, matched, counted, strict=True) if w]
    if not all(m for _, m, _ in used):
        return 0.0
    logs = (w * math.log(m / c) for w, m, c in used)
    return math.exp(min(0, 1 - wanted / length) + sum(logs))
