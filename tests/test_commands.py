"""d2lite.data.commands: SCAN's grammar, read again by an interpreter of its own."""

import pytest

from d2lite.data.commands import commands, split_by_length


def meaning(words: list[str]) -> list[str]:
    """What a command asks for: a recursive reading, of the paper's rules from the outside in."""
    for joint in ("and", "after"):
        if joint in words:
            at = words.index(joint)
            both = meaning(words[:at]), meaning(words[at + 1 :])
            return [*both[0], *both[1]] if joint == "and" else [*both[1], *both[0]]
    if words[-1] in ("twice", "thrice"):
        return meaning(words[:-1]) * (2 if words[-1] == "twice" else 3)
    if words[-1] in ("left", "right"):
        turn = ["LTURN" if words[-1] == "left" else "RTURN"]
        act = [] if words[0] == "turn" else [words[0].upper()]
        if "opposite" in words:
            return turn * 2 + act
        return (turn + act) * (4 if "around" in words else 1)
    return [words[0].upper()]


def test_it_is_the_grammar_of_the_paper():
    pairs = commands()
    assert len(pairs) == len({words for words, _ in pairs}) == 20910
    assert all(list(actions) == meaning(list(words)) for words, actions in pairs)
    assert len({w for words, _ in pairs for w in words}) == 13
    assert {a for _, actions in pairs for a in actions} == {
        "WALK", "LOOK", "RUN", "JUMP", "LTURN", "RTURN",
    }  # fmt: skip
    assert max(len(words) for words, _ in pairs) == 9
    assert max(len(actions) for _, actions in pairs) == 48


def test_examples_of_the_paper():
    found = {" ".join(words): " ".join(actions) for words, actions in commands()}
    assert found["jump"] == "JUMP"
    assert found["jump left"] == "LTURN JUMP"
    assert found["jump around right"] == " ".join(["RTURN JUMP"] * 4)
    assert found["turn left twice"] == "LTURN LTURN"
    assert found["jump opposite left and walk thrice"] == "LTURN LTURN JUMP WALK WALK WALK"
    assert found["run after walk twice"] == "WALK WALK RUN"


def test_order_and_length():
    some = commands(longest=12)
    assert len(some) == 11870 and max(len(actions) for _, actions in some) == 12
    mixed = commands(longest=12, seed=0)
    assert mixed != some and sorted(mixed) == sorted(some) and mixed == commands(12, 0)
    assert mixed != commands(12, 1)
    with pytest.raises(ValueError, match="longest=0"):
        commands(longest=0)


def test_the_split_of_the_paper_by_length():
    short, long = split_by_length(commands(), at_most=22)
    assert (len(short), len(long)) == (16990, 3920)
    assert max(len(a) for _, a in short) == 22 and min(len(a) for _, a in long) == 24
