"""d2lite.attention: PyTorch's values, weights and gradients, with any mask; and who sees whom."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from d2lite.attention import (
    AdditiveAttention,
    MultiHeadAttention,
    causal_mask,
    dot_product_attention,
    masked_softmax,
)

SEEDS = st.integers(0, 999)
FEW = st.integers(1, 5)


def drawn(seed, *shapes):
    source = torch.Generator().manual_seed(seed)
    return [
        torch.randn(shape, generator=source, dtype=torch.float64).requires_grad_()
        for shape in shapes
    ]


def some_mask(seed, *shape, whole_rows=False):
    """A mask by chance; each row has a True, unless whole rows may be masked."""
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.5
    if not whole_rows:
        mask[..., 0] = True
    return mask


# ---- Softmax and dot products --------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(SEEDS, FEW, FEW, FEW, st.booleans())
def test_weights_are_a_softmax_of_what_may_be_seen(seed, n, q, k, broadcast):
    scores = drawn(seed, (n, q, k))[0]
    mask = some_mask(seed, 1 if broadcast else n, q, k)
    weights = masked_softmax(scores, mask)
    assert_close(weights.sum(-1), torch.ones(n, q, dtype=torch.float64))
    assert not weights[~mask.expand(n, q, k)].any()
    seen = mask.expand(n, q, k)[0, 0]
    assert_close(weights[0, 0, seen], scores[0, 0, seen].softmax(-1))


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.lists(FEW, max_size=2), FEW, FEW, FEW, FEW, st.sampled_from(["no", "own", "one"]))
def test_dot_product_attention_is_pytorchs(seed, batch, q, k, d, v, masked):
    mine = drawn(seed, (*batch, q, d), (*batch, k, d), (*batch, k, v))
    theirs = drawn(seed, (*batch, q, d), (*batch, k, d), (*batch, k, v))
    mask = {"no": None, "own": some_mask(seed, *batch, q, k), "one": some_mask(seed, 1, k)}[masked]
    out, weights = dot_product_attention(*mine, mask)
    wanted = F.scaled_dot_product_attention(
        *theirs, attn_mask=None if mask is None else mask.expand(*batch, q, k)
    )
    assert_close(out, wanted)
    assert weights.shape == (*batch, q, k)
    assert_close(weights @ mine[2], out)
    out.square().sum().backward()
    wanted.square().sum().backward()
    for one, other in zip(mine, theirs, strict=True):
        assert_close(one.grad, other.grad)


def test_a_row_that_may_see_nothing_takes_nothing():
    mask = causal_mask(3)
    mask[1] = False
    mine, theirs = drawn(0, (3, 4), (3, 4), (3, 2)), drawn(0, (3, 4), (3, 4), (3, 2))
    out, weights = dot_product_attention(*mine, mask)
    wanted = F.scaled_dot_product_attention(*theirs, attn_mask=mask)
    assert not weights[1].any() and not out[1].any()
    out.sum().backward()
    wanted.sum().backward()
    assert all(one.grad.isfinite().all() for one in mine)
    if torch.__version__ >= "2.5":  # before, PyTorch gives nan for it
        assert_close(out, wanted)
        for one, other in zip(mine, theirs, strict=True):
            assert_close(one.grad, other.grad)


def test_pytorch_masks_say_the_opposite_of_each_other():
    """What the chapter's table says: True may look in one, may not look in the other."""
    torch.manual_seed(0)
    x, lets = torch.randn(1, 4, 8), torch.tensor([[True, True, False, False]])
    layer = nn.MultiheadAttention(8, 1, batch_first=True)
    weights = layer(x, x, x, key_padding_mask=~lets)[1]
    assert weights[..., 2:].eq(0).all() and weights[..., :2].gt(0).all()
    out = F.scaled_dot_product_attention(x, x, x, attn_mask=lets)
    assert_close(out, dot_product_attention(x, x, x, lets)[0])
    assert_close(out, F.scaled_dot_product_attention(x, x[:, :2], x[:, :2]))


# ---- Additive ------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(SEEDS, FEW, FEW, FEW, FEW, FEW)
def test_additive_attention_pair_by_pair(seed, n, q, k, size, hidden):
    torch.manual_seed(seed)
    attend = AdditiveAttention(size, size + 1, hidden).double()
    queries, keys, values = drawn(seed, (n, q, size), (n, k, size + 1), (n, k, 3))
    mask = some_mask(seed, n, 1, k)
    out, weights = attend(queries, keys, values, mask)
    scores = torch.stack([
        torch.stack([
            attend.w((attend.W(queries[:, i]) + attend.U(keys[:, j])).tanh())[:, 0]
            for j in range(k)
        ], -1) for i in range(q)
    ], 1)  # fmt: skip
    assert_close(weights, scores.masked_fill(~mask, -math.inf).softmax(-1))
    assert_close(out, torch.einsum("nqk,nkv->nqv", weights, values))


# ---- Heads ---------------------------------------------------------------------------------------


def with_the_weights_of(theirs: nn.MultiheadAttention) -> MultiHeadAttention:
    mine = MultiHeadAttention(theirs.embed_dim, theirs.num_heads)
    weights, biases = theirs.in_proj_weight.chunk(3), theirs.in_proj_bias.chunk(3)
    for layer, w, b in zip((mine.query, mine.key, mine.value), weights, biases, strict=True):
        layer.load_state_dict({"weight": w, "bias": b})
    mine.out.load_state_dict(theirs.out_proj.state_dict())
    return mine.double()


@settings(max_examples=30, deadline=None)
@given(SEEDS, FEW, FEW, FEW, st.sampled_from([1, 2, 3]), FEW, st.booleans())
def test_multi_head_attention_is_pytorchs(seed, n, q, k, heads, per_head, masked):
    torch.manual_seed(seed)
    E = heads * per_head
    theirs = nn.MultiheadAttention(E, heads, batch_first=True)
    nn.init.normal_(theirs.in_proj_bias)
    mine, theirs = with_the_weights_of(theirs), theirs.double()
    ours, others = drawn(seed, *[(n, t, E) for t in (q, k, k)]), drawn(
        seed, *[(n, t, E) for t in (q, k, k)]
    )  # fmt: skip
    padding = some_mask(seed, n, k) if masked else torch.ones(n, k, dtype=torch.bool)
    pairs = some_mask(seed + 1, q, k) if masked else torch.ones(q, k, dtype=torch.bool)
    out, weights = mine(*ours, padding[:, None, None] & pairs)
    wanted, their_weights = theirs(
        *others, key_padding_mask=~padding, attn_mask=~pairs, average_attn_weights=False
    )
    assert weights.shape == (n, heads, q, k)
    assert_close(weights, their_weights)
    assert_close(out, wanted)
    out.square().sum().backward()
    wanted.square().sum().backward()
    for one, other in zip(ours, others, strict=True):
        assert_close(one.grad, other.grad)
    grads = [layer.weight.grad for layer in (mine.query, mine.key, mine.value)]
    assert_close(torch.cat(grads), theirs.in_proj_weight.grad)


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(2, 6))
def test_without_places_order_is_not_seen(seed, t):
    torch.manual_seed(seed)
    attend, (x,) = MultiHeadAttention(6, 2).double(), drawn(seed, (2, t, 6))
    order = torch.randperm(t)
    assert_close(attend(x, x, x)[0][:, order], attend(*3 * [x[:, order]])[0])
    query = x[:, :1]
    assert_close(attend(query, x, x)[0], attend(query, x[:, order], x[:, order])[0])


def test_a_causal_mask_hides_what_comes():
    torch.manual_seed(0)
    attend, x = MultiHeadAttention(6, 3), torch.randn(1, 5, 6)
    changed = x.clone()
    changed[:, 3:] += 1
    one, other = (attend(y, y, y, causal_mask(5))[0] for y in (x, changed))
    assert_close(one[:, :3], other[:, :3])
    assert not torch.allclose(one[:, 3], other[:, 3])
    wanted = F.scaled_dot_product_attention(x, x, x, is_causal=True)
    assert_close(dot_product_attention(x, x, x, causal_mask(5))[0], wanted)


# ---- What is refused -----------------------------------------------------------------------------


def test_what_does_not_fit_is_named():
    x = torch.zeros(2, 3, 4)
    with pytest.raises(TypeError, match="mask=int64"):
        masked_softmax(x, torch.ones(4, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"mask=bool \(3,\): must broadcast to \(2, 3, 4\)"):
        masked_softmax(x, torch.ones(3, dtype=torch.bool))
    with pytest.raises(ValueError, match="mask=bool"):
        masked_softmax(x, torch.ones(1, 2, 3, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="keys="):
        dot_product_attention(x, torch.zeros(2, 3, 5), x)
    with pytest.raises(ValueError, match="values="):
        dot_product_attention(x, x, torch.zeros(2, 4, 4))
    with pytest.raises(ValueError, match="num_heads=3: must divide embed_dim=8"):
        MultiHeadAttention(8, 3)
    with pytest.raises(ValueError, match="length=0"):
        causal_mask(0)


@pytest.mark.parametrize("attend", [AdditiveAttention(4, 4, 3), MultiHeadAttention(4, 2)])
def test_modules_name_what_does_not_fit(attend):
    one = torch.zeros(3, 4)  # without N, additive attention mixed up units and keys
    with pytest.raises(ValueError, match=r"queries=float32 \(3, 4\): must be \(N, Q, D\)"):
        attend(one, one, one)
    x, other = torch.zeros(2, 3, 4), torch.zeros(2, 3, 6)
    with pytest.raises(ValueError, match=r"keys=float32 \(2, 3, 6\): must have 4 numbers each"):
        attend(x, other, x)
    with pytest.raises(ValueError, match=r"values=float32 \(2, 5, 4\): must be as many as keys, 3"):
        attend(x, x, torch.zeros(2, 5, 4))
