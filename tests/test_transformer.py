"""d2lite.nets.transformer: PyTorch's layers, forward and backward, and models that learn."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from d2lite.attention import causal_mask
from d2lite.nets.transformer import (
    DecoderLayer,
    Embedding,
    EncoderLayer,
    LanguageModel,
    Residual,
    Transformer,
    feed_forward,
    generate,
    greedy,
    positional_encoding,
)

SIZES = {
    "nhead": st.integers(1, 3),
    "per_head": st.integers(1, 4),
    "hidden": st.integers(1, 9),
    "norm_first": st.booleans(),
    "seed": st.integers(0, 99),
}


def take_over(ours: nn.Module, theirs: nn.Module) -> None:
    """Copy the weights of one of PyTorch's layers, random ones, into ours."""
    for tensor in theirs.parameters():
        tensor.data += 0.1 * torch.randn_like(tensor)
    attentions = {"self_attn": "attention", "multihead_attn": "cross_attention"}
    if isinstance(ours, DecoderLayer):
        attentions["self_attn"] = "self_attention"
    pairs = [(ours.feed_forward[0], theirs.linear1), (ours.feed_forward[3], theirs.linear2)]
    pairs += [
        (getattr(ours, f"add{i}").norm, getattr(theirs, f"norm{i}"))
        for i in (1, 2, 3)
        if hasattr(ours, f"add{i}")
    ]
    for name, our_name in attentions.items():
        if hasattr(theirs, name):
            one, other = getattr(ours, our_name), getattr(theirs, name)
            pairs.append((one.out, other.out_proj))
            thirds = zip(other.in_proj_weight.chunk(3), other.in_proj_bias.chunk(3), strict=True)
            for linear, (weight, bias) in zip((one.query, one.key, one.value), thirds, strict=True):
                linear.weight.data, linear.bias.data = weight.detach(), bias.detach()
    for one, other in pairs:
        one.load_state_dict(other.state_dict())


def made(kind: str, nhead: int, per_head: int, hidden: int, norm_first: bool):
    """Ours and PyTorch's, in float64, with the same weights and without dropout."""
    shape = nhead * per_head, nhead, hidden
    ours = {"Encoder": EncoderLayer, "Decoder": DecoderLayer}[kind](*shape, norm_first=norm_first)
    theirs = getattr(nn, f"Transformer{kind}Layer")(
        *shape, dropout=0.0, norm_first=norm_first, batch_first=True, dtype=torch.float64
    )
    ours.double()
    take_over(ours, theirs)
    return ours, theirs


def equal_with_gradients(ours, theirs, call_ours, call_theirs, inputs) -> None:
    """Compare in training, with the gradients of inputs and of layers, and in evaluation."""
    for mode in (True, False):
        ours.train(mode), theirs.train(mode)
        outputs = [call(*inputs) for call in (call_ours, call_theirs)]
        torch.testing.assert_close(*outputs)
        weights = torch.randn_like(outputs[0])
        grads = [torch.autograd.grad((out * weights).sum(), inputs) for out in outputs]
        torch.testing.assert_close(*grads)
    with torch.no_grad():  # PyTorch takes its fast path
        torch.testing.assert_close(call_ours(*inputs), call_theirs(*inputs))
    ours.zero_grad(), theirs.zero_grad()
    for call in (call_ours, call_theirs):
        call(*inputs).square().sum().backward()
    torch.testing.assert_close(ours.feed_forward[0].weight.grad, theirs.linear1.weight.grad)
    torch.testing.assert_close(ours.add1.norm.weight.grad, theirs.norm1.weight.grad)
    attention = ours.attention if hasattr(ours, "attention") else ours.self_attention
    stacked = torch.cat([m.weight.grad for m in (attention.query, attention.key, attention.value)])
    torch.testing.assert_close(stacked, theirs.self_attn.in_proj_weight.grad)


@settings(max_examples=25, deadline=None)
@given(T=st.integers(1, 5), masked=st.sampled_from(["not", "causal", "padding"]), **SIZES)
def test_encoder_layer_is_pytorchs(T, masked, seed, **sizes):
    torch.manual_seed(seed)
    ours, theirs = made("Encoder", **sizes)
    x = torch.randn(2, T, ours.add1.norm.normalized_shape[0], dtype=torch.float64)
    mask, asked = None, {}
    if masked == "causal":
        mask, asked = causal_mask(T), {"src_mask": ~causal_mask(T)}
    if masked == "padding":
        seen = torch.arange(T) < torch.tensor([[T], [max(1, T - 1)]])
        mask, asked = seen[:, None, None], {"src_key_padding_mask": ~seen}
    equal_with_gradients(
        ours, theirs, lambda x: ours(x, mask), lambda x: theirs(x, **asked), [x.requires_grad_()]
    )


@settings(max_examples=25, deadline=None)
@given(T=st.integers(1, 5), S=st.integers(1, 5), **SIZES)
def test_decoder_layer_is_pytorchs(T, S, seed, **sizes):
    torch.manual_seed(seed)
    ours, theirs = made("Decoder", **sizes)
    width = ours.add1.norm.normalized_shape[0]
    x, memory = (torch.randn(2, n, width, dtype=torch.float64).requires_grad_() for n in (T, S))
    seen = torch.arange(S) < torch.tensor([[S], [max(1, S - 1)]])
    equal_with_gradients(
        ours, theirs,
        lambda x, memory: ours(x, memory, causal_mask(T), seen[:, None, None]),
        lambda x, memory: theirs(
            x, memory, tgt_mask=~causal_mask(T), memory_key_padding_mask=~seen
        ),
        [x, memory],
    )  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(length=st.integers(1, 60), d_model=st.integers(1, 40))
def test_positions_are_the_papers(length, d_model):
    found = positional_encoding(length, d_model)
    assert found.shape == (length, d_model)
    for t in (0, length // 2, length - 1):
        for j in range(d_model):
            angle = t / 10000 ** (2 * (j // 2) / d_model)
            wanted = math.cos(angle) if j % 2 else math.sin(angle)
            assert found[t, j].item() == pytest.approx(wanted, abs=1e-5)


@settings(max_examples=20, deadline=None)
@given(pairs=st.integers(1, 8), shift=st.integers(0, 9))
def test_a_shift_is_a_rotation_of_the_positions(pairs, shift):
    codes = positional_encoding(40, 2 * pairs).double()
    turn = 10000 ** -(2 * torch.arange(pairs).double() / (2 * pairs)) * shift
    sine, cosine = codes[:, 0::2], codes[:, 1::2]
    moved = sine * turn.cos() + cosine * turn.sin(), cosine * turn.cos() - sine * turn.sin()
    torch.testing.assert_close(
        torch.stack(moved, -1).flatten(1)[: 40 - shift], codes[shift:], atol=1e-4, rtol=1e-4
    )


def test_embedding_is_multiplied_by_the_root():
    torch.manual_seed(0)
    embed = Embedding(500, 64)
    ids = torch.randint(500, (3, 7))
    places = positional_encoding(7, 64)
    torch.testing.assert_close(embed(ids), embed.tokens.weight[ids] * 8 + places)
    assert (embed(ids) - places).std().item() == pytest.approx(1, rel=0.05)
    wrong = embed.tokens.weight[ids] / 8 + places
    assert (embed(ids) - wrong).abs().mean() > 0.5


def test_where_dropout_stands():
    torch.manual_seed(0)
    x = torch.randn(2, 5, 8)
    added = Residual(8, dropout=0.5, norm_first=True)
    left_out = (added(x, lambda x: torch.ones_like(x)) - x).round().unique().tolist()
    assert left_out == [0, 2]  # the sum is whole, a half of what is added is missing
    assert sum(isinstance(m, nn.Dropout) for m in feed_forward(8, 16, dropout=0.5)) == 1
    layer = EncoderLayer(8, 2, 16, dropout=0.5)
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))


def test_nobody_looks_at_padding_or_ahead():
    torch.manual_seed(0)
    model = Transformer(9, 9, d_model=8, nhead=2, num_layers=2, dim_feedforward=16)
    source, target = torch.randint(1, 9, (2, 6)), torch.randint(1, 9, (2, 5))
    longer = F.pad(source, (0, 3))
    torch.testing.assert_close(model(longer, target), model(source, target))
    other = target.clone()
    other[:, 3:] = 1
    torch.testing.assert_close(model(source, other)[:, :3], model(source, target)[:, :3])
    other = source.clone()
    other[:, -1] = source[:, -1] % 8 + 1
    assert not torch.allclose(model(other, target), model(source, target))
    decoder = LanguageModel(9, context=6, d_model=8, nhead=2, num_layers=2)
    changed = source.clone()
    changed[:, 4:] = 1
    torch.testing.assert_close(decoder(changed)[:, :4], decoder(source)[:, :4])
    torch.testing.assert_close(decoder(source[:, :3]), decoder(source)[:, :3])


def test_language_model_is_pytorchs_stack():
    torch.manual_seed(0)
    model = LanguageModel(11, context=7, d_model=8, nhead=2, num_layers=2)
    ids = torch.randint(11, (3, 7))
    x = F.embedding(ids, model.tokens.weight) + model.places.weight
    for ours in model.layers:
        theirs = nn.TransformerEncoderLayer(
            8, 2, 32, dropout=0.0, norm_first=True, batch_first=True
        )
        take_over(ours, theirs)
        x = theirs(x, src_mask=~causal_mask(7))
    torch.testing.assert_close(model(ids), model.norm(x) @ model.out.weight.T)


def test_a_sum_grows_only_if_the_input_is_normalized():
    torch.manual_seed(0)
    x = torch.randn(4, 6, 16)
    for norm_first in (False, True):
        layers = [EncoderLayer(16, 2, 64, norm_first=norm_first) for _ in range(8)]
        y = x
        for layer in layers:
            y = layer(y)
        grown = y.std().item() / x.std().item()
        assert grown > 1.2 if norm_first else grown == pytest.approx(1, abs=0.05)


def test_an_encoder_and_a_decoder_learn_to_reverse():
    torch.manual_seed(0)
    model = Transformer(8, 8, d_model=32, nhead=4, num_layers=1, dim_feedforward=64)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    def batch(count):
        source = torch.randint(3, 8, (count, 3))
        ends = torch.ones(count, 1, dtype=torch.int64)
        return source, torch.cat([ends, source.flip(1), 2 * ends], 1)

    for _ in range(120):
        source, target = batch(32)
        scores = model(source, target[:, :-1])
        loss = F.cross_entropy(scores.flatten(0, 1), target[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    source, target = batch(100)
    written = greedy(model, source, begin=1, end=2, max_length=6)
    assert written.shape == (100, 4)
    assert (written == target[:, 1:]).all(1).float().mean() > 0.9


def test_greedy_ends_with_padding():
    model = Transformer(5, 5, d_model=8, nhead=2, num_layers=1, dim_feedforward=8)
    nn.init.zeros_(model.out.weight)
    model.out.bias.data = torch.tensor([0.0, 0, 1, 0, 0])
    source = torch.ones(2, 3, dtype=torch.int64)
    assert greedy(model, source, begin=1, end=2, max_length=9).tolist() == [[2], [2]]
    assert greedy(model, source, begin=1, end=4, max_length=3).tolist() == [[2] * 3] * 2


def test_generate_draws_by_temperature():
    torch.manual_seed(0)
    model = LanguageModel(3, context=4, d_model=8, nhead=2, num_layers=1)
    nn.init.zeros_(model.out.weight)
    start = torch.zeros(1, 2, dtype=torch.int64)
    drawn = generate(model, start, count=600)[0, 2:]
    assert drawn.bincount(minlength=3).min() > 150  # all alike
    scores = torch.tensor([0.0, 1.0, 2.0])
    model.norm.weight.data.zero_()
    model.norm.bias.data = F.one_hot(torch.tensor(0), 8).float()
    model.out.weight.data[:, 0] = scores
    for temperature in (0.5, 2.0):
        drawn = generate(model, start.expand(400, 2), 1, temperature)[:, 2]
        shares = drawn.bincount(minlength=3) / 400
        torch.testing.assert_close(shares, (scores / temperature).softmax(0), atol=0.08, rtol=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: positional_encoding(0, 4), "length=0: must be ≥ 1"),
        (lambda: Embedding(0, 4), "vocab_size=0: must be ≥ 1"),
        (lambda: EncoderLayer(10, 4, 8), "num_heads=4: must divide embed_dim=10"),
        (lambda: feed_forward(4, 8, dropout=1.0), "dropout=1.0: must be ≥ 0 and < 1"),
        (lambda: LanguageModel(5, 0, 4, 2, 1), "context=0: must be ≥ 1"),
        (
            lambda: LanguageModel(5, 4, 4, 2, 1)(torch.zeros(1, 5).long()),
            "ids: 5 tokens, must be ≤ context=4",
        ),
        (lambda: LanguageModel(5, 4, 4, 2, 1)(torch.ones(3).long()), r"ids=.*: must be \(N, T\)"),
        (lambda: Embedding(5, 4)(torch.ones(3).long()), r"ids=.*: must be \(N, T\)"),
        (
            lambda: generate(LanguageModel(5, 4, 4, 2, 1), torch.zeros(1, 1).long(), 1, 0.0),
            "temperature=0.0: must be > 0",
        ),
    ],
)
def test_wrong_settings(call, message):
    with pytest.raises(ValueError, match=message):
        call()
