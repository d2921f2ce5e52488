"""d2lite.nets.bert: the published size, PyTorch's encoder, and gaps at the published rates."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from d2lite.nets.bert import (
    BERT,
    CLS,
    MASK,
    PAD,
    SEP,
    SPECIALS,
    UNK,
    Classifier,
    Pretraining,
    mask_tokens,
    pack,
)  # fmt: skip
from d2lite.text import Vocabulary

WORDS = Vocabulary([["a", "b", "c"]], specials=SPECIALS)


def small(**changes):
    sizes = {"d_model": 16, "nhead": 2, "num_layers": 2, "dim_feedforward": 32, "dropout": 0.0}
    return BERT(20, context=12, **sizes | changes)


def count(network):
    return sum(p.numel() for p in network.parameters())


def test_base_has_the_published_size():
    with torch.device("meta"):
        base = BERT(30522, 512, 768, 12, 12, 3072)
        assert count(base) == 109_482_240
        assert count(Pretraining(base)) == 109_482_240 + 622_650 + 1538


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from("abcx"), min_size=1), st.lists(st.sampled_from("abcx")))
def test_pack_and_unpack(first, second):
    length = len(first) + len(second) + 5
    ids, segments = pack(WORDS, first, second, length)
    assert len(ids) == len(segments) == length and ids[0] == CLS
    assert ids.count(SEP) == 1 + bool(second) and ids[-1] == PAD
    there = [i for i in ids if i not in (CLS, SEP, PAD)]
    assert there == WORDS.encode(first + second)
    assert sum(segments) == (len(second) + 1 if second else 0)


def test_too_long_is_refused():
    assert pack(WORDS, "ab", "c", 6)[0][-1] == SEP
    with pytest.raises(ValueError, match=r"length=5: must be 6"):
        pack(WORDS, "ab", "c", 5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99), st.floats(0.05, 0.9), st.sampled_from([(0.8, 0.1, 0.1), (0, 1, 0)]))
def test_masks_come_at_their_rates(seed, share, split):
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 5000, (200, 200), generator=draw)
    inputs, chosen = mask_tokens(ids, 5000, share, split, draw)
    word = ids > UNK
    assert not chosen[~word].any() and torch.equal(inputs[~chosen], ids[~chosen])
    assert chosen[word].float().mean().item() == pytest.approx(share, abs=0.015)
    masked = inputs[chosen] == MASK
    same = inputs[chosen] == ids[chosen]
    other = inputs[chosen][~masked & ~same]
    for found, wanted in zip((masked, ~masked & ~same, same), split, strict=True):
        assert found.float().mean().item() == pytest.approx(wanted, abs=0.05)
    assert other.min() > UNK and other.max() < 5000


def test_masks_repeat_with_a_generator():
    ids = torch.full((9, 9), 7)
    one, two = (mask_tokens(ids, 20, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(one[0], two[0]) and torch.equal(one[1], two[1])


@pytest.mark.parametrize("causal", [False, True])
def test_layers_are_pytorchs_with_the_same_weights(causal):
    torch.manual_seed(0)
    bert = small(std=0.3)
    layer = nn.TransformerEncoderLayer(16, 2, 32, 0.0, "gelu", 1e-12, batch_first=True)
    theirs = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    theirs.load_state_dict(
        {name: p for name, p in bert.state_dict().items() if name.startswith("layers.")}
    )
    ids, segments = torch.randint(5, 20, (3, 10)), torch.randint(2, (3, 10))
    ids[1, 7:] = PAD
    vectors = bert.tokens(ids) + bert.places(torch.arange(10)) + bert.segments(segments)
    x = F.layer_norm(vectors, (16,), bert.norm.weight, bert.norm.bias, 1e-12)
    mask = nn.Transformer.generate_square_subsequent_mask(10).isinf() if causal else None
    wanted = theirs(x, mask=mask, src_key_padding_mask=ids == PAD)
    there = ids != PAD
    assert torch.allclose(bert(ids, segments, causal)[there], wanted[there], atol=1e-5)


def test_what_a_place_sees():
    torch.manual_seed(0)
    bert = small(std=0.3).eval()
    ids = torch.randint(5, 20, (1, 8))
    other = ids.clone()
    other[0, 5] = 6 + (ids[0, 5] == 6)
    padded = F.pad(ids, (0, 3), value=PAD)
    with torch.no_grad():
        assert torch.allclose(bert(padded)[:, :8], bert(ids), atol=1e-5)
        assert not torch.allclose(bert(ids)[:, 0], bert(other)[:, 0], atol=1e-3)
        left, right = bert(ids, causal=True), bert(other, causal=True)
    assert torch.allclose(left[:, :5], right[:, :5], atol=1e-5)
    assert not torch.allclose(left[:, 7], right[:, 7], atol=1e-3)


def test_start_draws_every_layer_anew():
    torch.manual_seed(0)
    bert = small(d_model=64, std=0.05)
    one, two = (layer.self_attn.in_proj_weight for layer in bert.layers)
    assert one.std().item() == pytest.approx(0.05, rel=0.05) and not torch.equal(one, two)
    assert bert.norm.weight.eq(1).all()
    assert all(p.eq(0).all() for name, p in bert.named_parameters() if name.endswith("bias"))


def test_word_head_shares_the_embeddings():
    model = Pretraining(small())
    assert count(model) == count(model.bert) + 16 * 17 + 32 + 20 + 2 * 17
    model(torch.full((1, 4), 6))[0][0, 0, 9].backward()
    assert model.bert.tokens.weight.grad[9].abs().sum() > 0


def test_words_may_be_scored_from_the_left_alone():
    torch.manual_seed(0)
    model = Pretraining(small(std=0.3), std=0.3).eval()
    ids = torch.randint(5, 20, (1, 8))
    other = ids.clone()
    other[0, 5] = 6 + (ids[0, 5] == 6)
    with torch.no_grad():
        left, right = model(ids, causal=True)[0], model(other, causal=True)[0]
        both, changed = model(ids)[0], model(other)[0]
    assert torch.allclose(left[:, :5], right[:, :5], atol=1e-5)
    assert not torch.allclose(both[:, :5], changed[:, :5], atol=1e-3)


def test_a_rule_is_learned_from_gaps_and_then_from_few_labels():
    torch.manual_seed(0)
    bert = small(std=0.1)
    model = Pretraining(bert, std=0.1)
    descent = torch.optim.AdamW(model.parameters(), lr=5e-3)

    def rows(count):  # a b . b a . : the third word is the first
        words = torch.randint(5, 9, (count, 2))
        ends = torch.full((count, 1), CLS), torch.full((count, 1), SEP)
        return torch.cat([ends[0], words, words[:, :1], ends[1]], 1)

    for _ in range(150):
        ids = rows(32)
        hidden = ids.clone()
        hidden[:, 3] = MASK
        descent.zero_grad()
        F.cross_entropy(model(hidden)[0][:, 3], ids[:, 3]).backward()
        descent.step()
    ids = rows(100)
    hidden = ids.clone()
    hidden[:, 3] = MASK
    assert (model(hidden)[0][:, 3].argmax(1) == ids[:, 3]).float().mean() > 0.9
    assert Classifier(bert, classes=3)(ids).shape == (100, 3)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="share"):
        mask_tokens(torch.full((2, 2), 7), 20, share=1.5)
    with pytest.raises(ValueError, match="vocab_size=5"):
        BERT(5, 4, 16, 2, 1, 32)
    for split in ((0.8, 0.8, 0.8), (1.2, -0.1, -0.1)):
        with pytest.raises(ValueError, match="split"):
            mask_tokens(torch.full((2, 2), 7), 20, split=split)
    bert = BERT(20, 4, 16, 2, 1, 32)
    with pytest.raises(ValueError, match="ids: 5 tokens, must be ≤ context=4"):
        bert(torch.ones(1, 5, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"ids=int64 \(3,\): must be \(N, T\)"):
        bert(torch.ones(3, dtype=torch.int64))


def test_another_vocabulary_is_refused():
    """Its ids 1 to 4 are other tokens, and nothing would say so."""
    with pytest.raises(ValueError, match=r"vocabulary=Vocabulary of 6.*specials"):
        pack(Vocabulary(["ab"]), "ab", "", 6)


def test_gaps_are_drawn_where_the_ids_are():
    meta = torch.zeros(2, 3, dtype=torch.int64, device="meta")
    inputs, chosen = mask_tokens(meta, 20)
    assert inputs.device == chosen.device == meta.device
