"""Stories of two sentences from a small grammar: a text without end, whose every rule is known.

Made from a seed, so that nothing ships. A word that ends in "s" is two tokens, as in WordPiece:
``sailor ##s``.
"""

import random
from dataclasses import dataclass

from d2lite.checks import checked, integer

#: People, things and what people do with them, of each theme.
THEMES = {
    "sea": ("sailor captain diver pirate", "anchor rope sail net", "pulling mending hauling"),
    "kitchen": ("cook baker waiter butcher", "bread soup cake pie", "tasting stirring serving"),
    "garden": (
        "gardener farmer florist picker",
        "rose hedge seed bush",
        "watering planting pruning",
    ),
    "music": ("singer drummer pianist composer", "song drum flute tune", "playing hearing tuning"),
}

#: The themes, by number.
NAMES = list(THEMES)

#: The people of each theme.
PEOPLE = [people.split() for people, _, _ in THEMES.values()]

#: The things that they have to do with.
THINGS = [things.split() for _, things, _ in THEMES.values()]

#: What they do with these.
ACTS = [acts.split() for _, _, acts in THEMES.values()]

ADJECTIVES = ["old", "young", "tall", "tired", "happy", "quiet", "famous", "kind"]
VERBS = ["knowing", "helping", "following", "seeing"]
PREPOSITIONS = ["near", "behind", "beside"]


@dataclass(frozen=True)
class Story:
    """Two sentences, and what the grammar knows of them.

    Attributes:
        first: Tokens of the first sentence.
        second: Those of the second, which is about the same people.
        theme: Which of ``NAMES`` the people who act belong to, from 0.
        plural: Whether they are several.
        verb: Where the first sentence's "is" or "are" stands that they decide.
        between: Whether the people between them and that verb are several; None if there are none.
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    theme: int
    plural: bool
    verb: int
    between: bool | None


@checked(count=integer(at_least=1), seed=integer(at_least=0))
def stories(count: int, seed: int) -> list[Story]:
    """Draw stories.

    In seven of ten, other people stand between those who act and their verb. These are of any theme
    and number, so that neither the nearest noun nor the mix of words tells the verb's form.

    >>> story = stories(1, seed=2)[0]
    >>> " ".join(story.first), " ".join(story.second)
    ('the captain ##s are hauling the sail .', 'they are tired .')
    """
    draw = random.Random(seed)
    return [_story(draw) for _ in range(count)]


def _person(draw: random.Random, theme: int, plural: bool) -> list[str]:
    adjective = [draw.choice(ADJECTIVES)] if draw.random() < 0.3 else []
    return ["the", *adjective, draw.choice(PEOPLE[theme])] + ["##s"] * plural


def _act(draw: random.Random, theme: int, plural: bool) -> list[str]:
    be = "are" if plural else "is"
    return [be, draw.choice(ACTS[theme]), "the", draw.choice(THINGS[theme])]


def _story(draw: random.Random) -> Story:
    theme, plural, between = draw.randrange(len(NAMES)), draw.random() < 0.5, None
    first = _person(draw, theme, plural)
    kind = draw.random()
    if kind < 0.7:
        between = draw.random() < 0.5
        other = _person(draw, draw.randrange(len(NAMES)), between)
        be = "are" if between else "is"
        near = [draw.choice(PREPOSITIONS), *other]
        first += near if kind < 0.35 else ["that", *other, be, draw.choice(VERBS)]
    verb = len(first)
    first += [*_act(draw, theme, plural), "."]
    second = ["they" if plural else draw.choice(["she", "he"])]
    if draw.random() < 0.3:
        second += ["are" if plural else "is", draw.choice(ADJECTIVES)]
    else:
        second += _act(draw, theme, plural)
        second += [draw.choice(["often", "again"])] if draw.random() < 0.5 else []
    return Story(tuple(first), (*second, "."), theme, plural, verb, between)
