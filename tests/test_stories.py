"""d2lite.data.stories: every sentence obeys the grammar, and the shares are those promised."""

import pytest

from d2lite.data import stories
from d2lite.data.stories import ACTS, NAMES, PEOPLE, THINGS

MANY = stories(4000, seed=3)


def test_they_repeat_by_their_seed():
    assert stories(50, 1) == stories(50, 1) != stories(50, 2)
    assert stories(100, 1)[:50] == stories(50, 1)


def test_rules_hold():
    for s in MANY:
        assert s.first[s.verb] == ("are" if s.plural else "is")
        assert s.first[s.verb + 1] in ACTS[s.theme] and s.first[-2] in THINGS[s.theme]
        people = [w for w in s.first if any(w in theme for theme in PEOPLE)]
        assert people[0] in PEOPLE[s.theme]
        after = s.first.index(people[0]) + 1
        assert (s.first[after] == "##s") == s.plural
        assert len(people) == 1 + (s.between is not None)
        assert (s.second[0] == "they") == s.plural and s.second[-1] == s.first[-1] == "."
        things = [w for w in s.second if any(w in theme for theme in THINGS)]
        assert all(w in THINGS[s.theme] for w in things)


def test_shares():
    def share(true):
        return sum(map(true, MANY)) / len(MANY)

    assert share(lambda s: s.between is not None) == pytest.approx(0.7, abs=0.03)
    assert share(lambda s: s.plural) == pytest.approx(0.5, abs=0.03)
    assert share(lambda s: s.between not in (None, s.plural)) == pytest.approx(0.35, abs=0.03)
    for i in range(len(NAMES)):
        assert share(lambda s, i=i: s.theme == i) == pytest.approx(0.25, abs=0.03)


def test_no_word_has_two_roles():
    words = [w for column in (PEOPLE, THINGS, ACTS) for theme in column for w in theme]
    assert len(words) == len(set(words))


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="count=0"):
        stories(0, 0)
