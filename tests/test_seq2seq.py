"""d2lite.nets.seq2seq: PyTorch's cells, padding that changes nothing, and search against all."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from d2lite.nets.seq2seq import BEGIN, END, Seq2Seq, beam_search, greedy, gru_step, lstm_step

sizes = (
    st.integers(0, 99),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(1, 5),
)


def small(seed: int = 0, source: int = 7, target: int = 5) -> Seq2Seq:
    torch.manual_seed(seed)
    model = Seq2Seq(source, target, embed_size=4, hidden_size=6).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # so that tokens differ in probability
    return model


@settings(max_examples=60, deadline=None)
@given(*sizes)
def test_a_gru_is_pytorchs_in_values_and_gradients(seed, N, T, D, H):
    torch.manual_seed(seed)
    layer = nn.GRU(D, H, batch_first=True, dtype=torch.float64)
    x, h = torch.randn(N, T, D, dtype=torch.float64), torch.randn(N, H, dtype=torch.float64)
    weights = list(layer.parameters())
    theirs, last = layer(x, h[None])
    states, state = [], h
    for t in range(T):
        state = gru_step(x[:, t], state, *weights)
        states.append(state)
    ours = torch.stack(states, 1)
    assert torch.allclose(ours, theirs) and torch.allclose(state, last[0])
    wanted = torch.autograd.grad((theirs**2).sum(), weights)
    for mine, other in zip(torch.autograd.grad((ours**2).sum(), weights), wanted, strict=True):
        assert torch.allclose(mine, other)


@settings(max_examples=60, deadline=None)
@given(*sizes)
def test_an_lstm_is_pytorchs_in_values_and_gradients(seed, N, T, D, H):
    torch.manual_seed(seed)
    layer = nn.LSTM(D, H, batch_first=True, dtype=torch.float64)
    x = torch.randn(N, T, D, dtype=torch.float64)
    h, memory = torch.randn(2, N, H, dtype=torch.float64)
    weights = list(layer.parameters())
    theirs, (last, kept) = layer(x, (h[None], memory[None]))
    states, state = [], h
    for t in range(T):
        state, memory = lstm_step(x[:, t], state, memory, *weights)
        states.append(state)
    ours = torch.stack(states, 1)
    assert torch.allclose(ours, theirs) and torch.allclose(state, last[0])
    assert torch.allclose(memory, kept[0])
    wanted = torch.autograd.grad((theirs**2).sum(), weights)
    for mine, other in zip(torch.autograd.grad((ours**2).sum(), weights), wanted, strict=True):
        assert torch.allclose(mine, other)


def test_the_reset_gate_comes_after_the_matrix():
    torch.manual_seed(0)
    cell = nn.GRUCell(3, 4)
    x, h = torch.randn(2, 3), torch.randn(2, 4)
    W, U, b, c = cell.parameters()
    r, z, n = (x @ W.T + b).chunk(3, 1)
    hr, hz, _ = (h @ U.T + c).chunk(3, 1)
    r, z = (r + hr).sigmoid(), (z + hz).sigmoid()
    before = (n + (r * h) @ U[8:].T + c[8:]).tanh()  # as in the paper
    assert not torch.allclose((1 - z) * before + z * h, cell(x, h), atol=1e-3)
    assert torch.allclose(gru_step(x, h, W, U, b, c), cell(x, h), atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 99), st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(0, 4))
def test_padding_changes_nothing(seed, lengths, more):
    model, source = small(seed), torch.Generator().manual_seed(seed)
    rows = [torch.randint(1, 7, (n,), generator=source) for n in lengths]
    batch = F.pad(nn.utils.rnn.pad_sequence(rows, batch_first=True), (0, more))
    alone = torch.cat([model.encode(row[None]) for row in rows], 1)
    assert torch.allclose(model.encode(batch), alone, atol=1e-5)


def test_teacher_forcing_is_one_step_after_another():
    model = small()
    source, target = (
        torch.tensor([[1, 4, 5, 2], [1, 6, 2, 0]]),
        torch.tensor([[1, 3, 4], [1, 4, 4]]),
    )
    state, scores = model.encode(source), []
    for t in range(3):
        out, state = model.decode(target[:, t : t + 1], state)
        scores.append(out)
    assert torch.allclose(model(source, target), torch.cat(scores, 1), atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 99))
def test_greedy_takes_the_most_probable_token(seed):
    model, source = small(seed), torch.tensor([[1, 4, 5, 2], [1, 6, 2, 0], [1, 3, 3, 2]])
    written = greedy(model, source, longest=6)
    for ids, row in zip(source, written.tolist(), strict=True):
        real = row[: row.index(END) + 1] if END in row else row
        assert not any(row[len(real) :])
        read = torch.tensor([[BEGIN, *real[:-1]]])
        with torch.no_grad():
            assert model(ids[ids != 0][None], read).argmax(2)[0].tolist() == real
        found = beam_search(model, ids[ids != 0], width=1, longest=6)
        assert [sentence for _, sentence in found] == [real]


def probability(model: Seq2Seq, source: torch.Tensor, sentence: list[int]) -> float:
    with torch.no_grad():
        logs = model(source[None], torch.tensor([[BEGIN, *sentence[:-1]]])).log_softmax(2)
    return logs[0, range(len(sentence)), sentence].sum().item()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.sampled_from([0.0, 0.7, 1.0]))
def test_a_beam_of_all_finds_the_best_sentence(seed, alpha):
    model, source, longest = small(seed), torch.tensor([1, 4, 5, 2]), 3
    everything = [
        list(s) for n in range(1, longest + 1) for s in product(range(5), repeat=n)
        if END not in s[:-1] and (s[-1] == END or n == longest)
    ]  # fmt: skip
    best = max(probability(model, source, s) / len(s) ** alpha for s in everything)
    found = beam_search(model, source, width=5**3, longest=longest, alpha=alpha)
    assert len(found) == len(everything) and found[0][0] == pytest.approx(best, abs=1e-4)
    for rank, sentence in found[:5]:
        log = probability(model, source, sentence)
        assert rank == pytest.approx(log / len(sentence) ** alpha, abs=1e-4)


def test_it_learns_to_copy():
    torch.manual_seed(0)
    model = Seq2Seq(8, 8, embed_size=16, hidden_size=32)
    descent = torch.optim.Adam(model.parameters(), lr=0.01)
    letters = torch.randint(3, 8, (64, 3))
    ends = torch.full((64, 1), BEGIN), torch.full((64, 1), END)
    ids = torch.cat([ends[0], letters, ends[1]], 1)
    for _ in range(150):
        loss = F.cross_entropy(model(ids, ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        descent.zero_grad()
        loss.backward()
        descent.step()
    assert (greedy(model, ids, 4) == ids[:, 1:]).all(1).float().mean() > 0.9


def test_bad_arguments_are_refused():
    model = small()
    with pytest.raises(ValueError, match="width=0"):
        beam_search(model, torch.tensor([1, 2]), width=0, longest=3)
    with pytest.raises(ValueError, match="source"):
        greedy(model, torch.tensor([1, 2]), longest=3)
