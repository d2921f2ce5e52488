"""Commands and the actions that they ask for: a small language to translate, made by a grammar.

The grammar of SCAN, from Lake and Baroni, "Generalization without systematicity: on the
compositional skills of sequence-to-sequence recurrent networks", ICML 2018; actions have shorter
names here. A command is one part, or two joined by *and* or *after*. A part is a phrase, such as
*jump*, *jump left* or *turn around right*, perhaps with *twice* or *thrice* after it.
"""

from collections.abc import Sequence
from itertools import product

import torch

from d2lite.checks import checked, integer, optional

Pair = tuple[tuple[str, ...], tuple[str, ...]]  # the words of a command, its actions

VERBS = "walk", "look", "run", "jump"
TIMES = {"": 1, "twice": 2, "thrice": 3}


def _phrases() -> list[Pair]:
    """Make all 34: *walk*, …, then each verb and *turn* with a side, 30 of them."""
    found: list[Pair] = [((verb,), (verb.upper(),)) for verb in VERBS]
    for verb, side in product((*VERBS, "turn"), ("left", "right")):
        turn = (side[0].upper() + "TURN",)
        act = () if verb == "turn" else (verb.upper(),)
        found += [
            ((verb, side), turn + act),
            ((verb, "opposite", side), turn + turn + act),
            ((verb, "around", side), (turn + act) * 4),
        ]
    return found


@checked(longest=integer(at_least=1), seed=optional(integer(at_least=0)))
def commands(longest: int = 48, seed: int | None = None) -> list[Pair]:
    """Make every command of the grammar with its actions: 20,910 pairs.

    A command has 1 to 9 of 13 words. It asks for 1 to 48 of 6 actions: WALK, LOOK, RUN, JUMP, LTURN
    and RTURN. "Left" turns first, "opposite" turns twice first, "around" turns and acts four times;
    what stands before "after" is done second.

    Args:
        longest: Keep pairs of at most so many actions; 12 keeps 11,870.
        seed: Shuffle the pairs by it; otherwise they come in the grammar's order.

    >>> words, actions = commands(longest=4)[-1]
    >>> print(*words, "→", *actions)
    turn opposite right after turn opposite right → RTURN RTURN RTURN RTURN
    """
    parts = [
        ((*words, times) if times else words, actions * count)
        for words, actions in _phrases()
        for times, count in TIMES.items()
    ]
    pairs = list(parts)
    for (words, actions), (more_words, more_actions) in product(parts, parts):
        pairs.append(((*words, "and", *more_words), actions + more_actions))
        pairs.append(((*words, "after", *more_words), more_actions + actions))
    pairs = [pair for pair in pairs if len(pair[1]) <= longest]
    if seed is None:
        return pairs
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(seed))
    return [pairs[i] for i in order.tolist()]


@checked(at_most=integer(at_least=1))
def split_by_length(pairs: Sequence[Pair], at_most: int) -> tuple[list[Pair], list[Pair]]:
    """Split pairs into those of at most so many actions, to learn from, and longer ones, to test.

    >>> short, long = split_by_length(commands(), at_most=22)
    >>> len(short), len(long)
    (16990, 3920)
    """
    short = [pair for pair in pairs if len(pair[1]) <= at_most]
    return short, [pair for pair in pairs if len(pair[1]) > at_most]
