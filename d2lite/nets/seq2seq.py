"""Sequence to sequence: one recurrent network reads a sentence, another one writes.

From Sutskever, Vinyals and Le, "Sequence to sequence learning with neural networks", 2014, and Cho
et al., "Learning phrase representations using RNN encoder–decoder for statistical machine
translation", 2014, from whom the GRU is; the LSTM from Hochreiter and Schmidhuber, "Long short-term
memory", 1997. N sentences of S (source) or T (target) tokens, H numbers of a hidden state. Ids are
those of a ``Vocabulary``: 0 is ``<pad>``, 1 ``<bos>``, 2 ``<eos>``.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from d2lite.checks import checked, integer, number, tensor

PAD, BEGIN, END = 0, 1, 2


@checked(x=tensor("(…, D)"), h=tensor("(…, H)"))
def gru_step(x: Tensor, h: Tensor, W: Tensor, U: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Make a GRU's next hidden state of an input and the state before: (N, D), (N, H) → (N, H).

    As ``nn.GRUCell``: the reset gate scales what the state gives to the candidate *after* the
    matrix and its bias c. (In the paper it scales the state before the matrix.)

    Args:
        x: What comes in.
        h: The state before.
        W: Weights of the input, (3 H, D): for the gates r and z and the candidate n, in this order.
        U: Weights of the state, (3 H, H).
        b: Biases beside W, (3 H,).
        c: Biases beside U, (3 H,).

    >>> cell = nn.GRUCell(3, 4)
    >>> x, h = torch.randn(2, 3), torch.randn(2, 4)
    >>> torch.allclose(gru_step(x, h, *cell.parameters()), cell(x, h), atol=1e-6)
    True
    """
    r, z, n = (x @ W.T + b).chunk(3, -1)
    from_r, from_z, from_n = (h @ U.T + c).chunk(3, -1)
    r, z = (r + from_r).sigmoid(), (z + from_z).sigmoid()
    n = (n + r * from_n).tanh()
    return (1 - z) * n + z * h


@checked(x=tensor("(…, D)"), h=tensor("(…, H)"), memory=tensor("(…, H)"))
def lstm_step(
    x: Tensor, h: Tensor, memory: Tensor, W: Tensor, U: Tensor, b: Tensor, c: Tensor
) -> tuple[Tensor, Tensor]:
    """Make an LSTM's next hidden state and memory: (N, D), (N, H), (N, H) → two of (N, H).

    As ``nn.LSTMCell``; weights are (4 H, …), for the gates i (input) and f (forget), the candidate
    g and the gate o (output), in this order.

    >>> cell = nn.LSTMCell(3, 4)
    >>> x, h, memory = torch.randn(2, 3), torch.randn(2, 4), torch.randn(2, 4)
    >>> ours = lstm_step(x, h, memory, *cell.parameters())
    >>> torch.allclose(ours[0], cell(x, (h, memory))[0], atol=1e-6)
    True
    """
    i, f, g, o = (x @ W.T + b + h @ U.T + c).chunk(4, -1)
    memory = f.sigmoid() * memory + i.sigmoid() * g.tanh()
    return o.sigmoid() * memory.tanh(), memory


class Seq2Seq(nn.Module):
    """Encoder and decoder, each an embedding and a GRU: all of the source goes through one state.

    Args:
        source_size: Tokens of the source's vocabulary.
        target_size: Tokens of the target's.
        embed_size: Numbers of a token.
        hidden_size: Numbers of a state, H.

    >>> model = Seq2Seq(17, 10, embed_size=8, hidden_size=16)
    >>> source, target = torch.ones(3, 7, dtype=torch.int64), torch.ones(3, 5, dtype=torch.int64)
    >>> model(source, target).shape
    torch.Size([3, 5, 10])
    """

    def __init__(
        self, source_size: int, target_size: int, embed_size: int = 32, hidden_size: int = 64
    ) -> None:
        super().__init__()
        self.source = nn.Embedding(source_size, embed_size)
        self.encoder = nn.GRU(embed_size, hidden_size, batch_first=True)
        self.target = nn.Embedding(target_size, embed_size)
        self.decoder = nn.GRU(embed_size, hidden_size, batch_first=True)
        self.out = nn.Linear(hidden_size, target_size)

    def encode(self, source: Tensor) -> Tensor:
        """Map ids (N, S) to the state after each sentence's last token, (1, N, H)."""
        lengths = (source != 0).sum(1).cpu()
        packed = pack_padded_sequence(
            self.source(source), lengths, batch_first=True, enforce_sorted=False
        )
        return self.encoder(packed)[1]

    def decode(self, target: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Map ids (N, T) and a state to scores of the token after each, (N, T, V), and a state."""
        hidden, state = self.decoder(self.target(target), state)
        return self.out(hidden), state

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Map ids (N, S) and (N, T) to scores of the token after each of the target, (N, T, V)."""
        return self.decode(target, self.encode(source))[0]


@checked(source=tensor("(N, S)", floating=False), longest=integer(at_least=1))
@torch.no_grad()
def greedy(model: Seq2Seq, source: Tensor, longest: int) -> Tensor:
    """Write sentences, always with the most probable next token: ids (N, S) → (N, T), T ≤ longest.

    After its ``<eos>`` a sentence is padded with 0; one that has none was cut off.

    >>> model = Seq2Seq(17, 10, embed_size=8, hidden_size=16)
    >>> greedy(model, torch.ones(3, 7, dtype=torch.int64), longest=5).shape[0]
    3
    """
    state = model.encode(source)
    token = torch.full_like(source[:, :1], BEGIN)
    ended, written = torch.zeros_like(token, dtype=torch.bool), [token]
    while len(written) <= longest and not ended.all():
        scores, state = model.decode(token, state)
        token = scores.argmax(2).masked_fill(ended, PAD)
        written.append(token)
        ended = ended | (token == END)
    return torch.cat(written[1:], 1)


@checked(
    source=tensor("(S,)", floating=False),
    width=integer(at_least=1),
    longest=integer(at_least=1),
    alpha=number(at_least=0),
)
@torch.no_grad()
def beam_search(
    model: Seq2Seq, source: Tensor, width: int, longest: int, alpha: float = 0.0
) -> list[tuple[float, list[int]]]:
    """Write one sentence, following the ``width`` most probable beginnings: the found, best first.

    A sentence that ends leaves the beam. One that has not ended after ``longest`` tokens counts as
    it is.

    Args:
        model: Encoder and decoder.
        source: Ids (S,).
        width: Beginnings that are followed; with 1, this is ``greedy``.
        longest: The most tokens of a sentence, ``<eos>`` included.
        alpha: Sentences are ranked by their log-probability over their length to this power: with
            0, by itself, which favors short ones.

    Returns:
        Pairs of that rank and a sentence's ids.

    >>> model = Seq2Seq(17, 10, embed_size=8, hidden_size=16)
    >>> len(beam_search(model, torch.ones(7, dtype=torch.int64), width=3, longest=1))
    3
    """
    state, found = model.encode(source[None]), []
    total, written = state.new_zeros(1), source.new_full((1, 1), BEGIN)
    for length in range(1, longest + 1):
        scores, state = model.decode(written[:, -1:], state)
        sums = total[:, None] + scores[:, 0].log_softmax(1)
        best = sums.flatten().topk(min(width, sums.numel()))
        row = best.indices // sums.shape[1]
        token = best.indices % sums.shape[1]
        total, state = best.values, state[:, row]
        written = torch.cat([written[row], token[:, None]], 1)
        ended = (token == END) | (length == longest)
        for log, ids in zip(total[ended], written[ended], strict=True):
            found.append((log.item() / length**alpha, ids[1:].tolist()))
        total, written = total[~ended], written[~ended]
        state = state[:, ~ended]
        if ended.all():
            break
    return sorted(found, reverse=True)
