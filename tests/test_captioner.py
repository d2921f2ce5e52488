"""d2lite.nets.captioner: as the paper's formulas say, word by word, and a decoder that learns."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from d2lite.nets.captioner import Captioner, grid_of


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.integers(1, 6))
def test_a_grid_has_each_place_and_where_it_is(N, C, H, W):
    maps = torch.randn(N, C, H, W)
    grid = grid_of(maps)
    assert grid.shape == (N, H * W, C + 2)
    for y in range(H):
        for x in range(W):
            place = grid[:, y * W + x]
            assert torch.equal(place[:, :C], maps[:, :, y, x])
            assert (place[:, C:] == torch.tensor([x - (W - 1) / 2, y - (H - 1) / 2])).all()
    assert grid[..., C:].mean(1).abs().max() < 1e-6


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.integers(1, 3), st.integers(1, 7), st.integers(1, 5))
def test_words_are_scored_as_by_the_formulas(seed, N, P, T):
    torch.manual_seed(seed)
    V, F_, H, E, A = 11, 6, 5, 4, 3
    model = Captioner(V, F_, hidden_size=H, embed_dim=E, attention_size=A).double()
    grid = torch.randn(N, P, F_, dtype=torch.float64)
    words = torch.randint(V, (N, T))
    logits, weights = model(grid, words)
    assert logits.shape == (N, T, V) and weights.shape == (N, T, P)

    theirs = nn.LSTMCell(E + F_, H).double()
    theirs.load_state_dict(model.cell.state_dict())
    h, c = model.start(grid.mean(1)).tanh().split(H, 1)
    for t in range(T):
        scores = model.attend.w((model.attend.W(h)[:, None] + model.attend.U(grid)).tanh())[..., 0]
        alpha = scores.softmax(1)
        z = torch.einsum("np,npf->nf", alpha, grid)
        h, c = theirs(torch.cat([F.embedding(words[:, t], model.embed.weight), z], 1), (h, c))
        wanted = F.linear(torch.cat([h, z], 1), model.logits.weight, model.logits.bias)
        assert torch.allclose(weights[:, t], alpha) and torch.allclose(logits[:, t], wanted)


def test_what_it_describes_is_what_it_scores_highest():
    torch.manual_seed(0)
    model, grid = Captioner(9, 4), torch.randn(5, 7, 4)
    ids, weights = model.describe(grid, begin=1, longest=6)
    assert ids.shape == (5, 6) and weights.shape == (5, 6, 7)
    heard = torch.cat([torch.ones(5, 1, dtype=torch.int64), ids[:, :-1]], 1)
    logits, looked = model(grid, heard)
    assert torch.equal(logits.argmax(2), ids) and torch.allclose(looked, weights, atol=1e-6)


def test_the_order_of_places_does_not_matter():
    torch.manual_seed(1)
    model, grid, words = Captioner(9, 4), torch.randn(2, 7, 4), torch.randint(9, (2, 3))
    order = torch.randperm(7)
    one, other = model(grid, words), model(grid[:, order], words)
    assert torch.allclose(one[0], other[0], atol=1e-5)
    assert torch.allclose(one[1][..., order], other[1], atol=1e-6)


def test_it_learns_to_name_what_stands_at_two_places():
    torch.manual_seed(0)
    V, N = 6, 400
    left, right = torch.randint(2, V, (2, N))
    maps = torch.zeros(N, V, 1, 4)
    maps[torch.arange(N), left, 0, torch.randint(2, (N,))] = 1
    maps[torch.arange(N), right, 0, 2 + torch.randint(2, (N,))] = 1
    grid = grid_of(maps)
    words = torch.stack([torch.ones_like(left), left, right], 1)
    model = Captioner(V, V + 2, hidden_size=24)
    descent = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(150):
        logits, _ = model(grid, words[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), words[:, 1:].flatten())
        descent.zero_grad()
        loss.backward()
        descent.step()
    ids, weights = model.describe(grid, begin=1, longest=2)
    assert (ids == words[:, 1:]).float().mean() > 0.95
    assert weights[:, 1, 2:].sum(1).mean() > 0.6  # looks right for the right one


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match="vocab_size=0"):
        Captioner(0, 4)
    with pytest.raises(ValueError, match="maps"):
        grid_of(torch.zeros(3, 4, 5))
