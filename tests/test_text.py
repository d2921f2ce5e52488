"""d2lite.text: there and back, the order of ids, and batches as PyTorch pads them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pad_sequence

from d2lite.text import BEGIN, END, PAD, SPECIALS, UNKNOWN, Vocabulary

texts = st.lists(st.lists(st.sampled_from("abcdef"), max_size=8), min_size=1, max_size=6)


@settings(max_examples=100, deadline=None)
@given(texts)
def test_there_and_back(sentences):
    vocabulary = Vocabulary(sentences)
    assert [vocabulary.decode(vocabulary.encode(s)) for s in sentences] == sentences
    assert vocabulary.tokens[:4] == list(SPECIALS) and len(set(vocabulary.tokens)) == len(
        vocabulary
    )
    assert vocabulary.ids == {token: i for i, token in enumerate(vocabulary.tokens)}


@settings(max_examples=100, deadline=None)
@given(texts)
def test_a_batch_is_pytorchs_with_begin_and_end(sentences):
    vocabulary = Vocabulary(sentences)
    batch = vocabulary.batch(sentences)
    rows = [torch.tensor(vocabulary.encode([BEGIN, *s, END])) for s in sentences]
    assert torch.equal(batch, pad_sequence(rows, batch_first=True)) and batch.dtype == torch.int64
    assert ((batch != 0).sum(1) - 2).tolist() == [len(s) for s in sentences]


def test_frequent_tokens_come_first():
    vocabulary = Vocabulary(["banana", "bag"], specials=[PAD])
    assert vocabulary.tokens == ["<pad>", "a", "b", "n", "g"]
    assert Vocabulary(["banana"], at_least=2).tokens[4:] == ["a", "n"]
    assert Vocabulary([["<pad>", "a"]]).tokens == [*SPECIALS, "a"]


def test_what_was_never_seen():
    assert Vocabulary(["ab"]).decode(Vocabulary(["ab"]).encode("abc")) == ["a", "b", UNKNOWN]
    with pytest.raises(ValueError, match="'c'"):
        Vocabulary(["ab"], specials=()).encode("abc")
    with pytest.raises(ValueError, match="at_least=0"):
        Vocabulary(["ab"], at_least=0)
    for i in (-1, 6):
        with pytest.raises(ValueError, match=f"id={i}: must be ≥ 0 and ≤ 5"):
            Vocabulary(["ab"]).decode([4, i])
    with pytest.raises(ValueError, match="specials: must have <bos>"):
        Vocabulary(["ab"], specials=()).batch(["ab"])


def test_it_says_what_it_holds():
    assert repr(Vocabulary(["abcde"], specials=())) == "Vocabulary of 5: a, b, c, d, e"
    assert repr(Vocabulary(["abcdef"])).endswith("a, b, c, d, …")
