"""Transformer: attention between places, then two layers on each place, again and again.

From Vaswani et al., "Attention is all you need", NeurIPS 2017. N sentences of S (source) or T
(target) tokens, each of D numbers. Masks are True where a place may look.
"""

import math

import torch
from torch import Tensor, nn

from d2lite.attention import MultiHeadAttention, causal_mask
from d2lite.checks import checked, integer, number, tensor

SHARE = number(at_least=0, below=1)  # of what dropout leaves out


@checked(length=integer(at_least=1), d_model=integer(at_least=1))
def positional_encoding(length: int, d_model: int) -> Tensor:
    """Make a vector for each place: sines and cosines of D / 2 wavelengths, (T, D).

    Numbers 2i and 2i + 1 of place t are the sine and the cosine of t / 10000^(2i / D).

    >>> positional_encoding(2, 4)
    tensor([[0.0000, 1.0000, 0.0000, 1.0000],
            [0.8415, 0.5403, 0.0100, 0.9999]])
    """
    even = torch.arange(0, d_model, 2)
    angles = torch.arange(length)[:, None] / 10000 ** (even / d_model)  # (T, D / 2)
    both = torch.stack([angles.sin(), angles.cos()], -1).flatten(1)
    return both[:, :d_model]


class Embedding(nn.Module):
    """Look tokens up, multiply by √D, and add each place's code: ids (N, T) → (N, T, D).

    The table starts with a variance of 1 / D, so that what is looked up starts with one of 1.

    >>> Embedding(vocab_size=10, d_model=8)(torch.zeros(2, 5, dtype=torch.int64)).shape
    torch.Size([2, 5, 8])
    """

    @checked(vocab_size=integer(at_least=1), d_model=integer(at_least=1), dropout=SHARE)
    def __init__(self, vocab_size: int, d_model: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, d_model)
        nn.init.normal_(self.tokens.weight, std=d_model**-0.5)
        self.dropout = nn.Dropout(dropout)

    @checked(ids=tensor("(N, T)", floating=False))
    def forward(self, ids: Tensor) -> Tensor:
        """Map ids (N, T) to vectors (N, T, D)."""
        width = self.tokens.embedding_dim
        places = positional_encoding(ids.shape[1], width).to(ids.device)
        return self.dropout(math.sqrt(width) * self.tokens(ids) + places)


class Residual(nn.Module):
    """Add what a layer computes to what came in, and normalize: after it, or the input before.

    >>> Residual(8)(torch.zeros(2, 5, 8), nn.Linear(8, 8)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, d_model: int, dropout: float = 0.0, norm_first: bool = False) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)
        self.norm_first = norm_first

    def forward(self, x: Tensor, layer) -> Tensor:
        """Map (N, T, D) to the same shape."""
        if self.norm_first:
            return x + self.dropout(layer(self.norm(x)))
        return self.norm(x + self.dropout(layer(x)))


@checked(d_model=integer(at_least=1), dim_feedforward=integer(at_least=1), dropout=SHARE)
def feed_forward(d_model: int, dim_feedforward: int, dropout: float = 0.0) -> nn.Sequential:
    """Make two layers that work on each place alone: (N, T, D) → the same.

    >>> feed_forward(8, 32)(torch.zeros(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """
    return nn.Sequential(
        nn.Linear(d_model, dim_feedforward), nn.ReLU(), nn.Dropout(dropout),
        nn.Linear(dim_feedforward, d_model),
    )  # fmt: skip


class EncoderLayer(nn.Module):
    """Each place looks at all places, then works alone.

    It equals ``nn.TransformerEncoderLayer(…, batch_first=True)``, but for dropout: PyTorch leaves
    out some of the weights of attention, too.

    Args:
        d_model: Numbers of a token, D.
        nhead: Heads of the attention; must divide ``d_model``.
        dim_feedforward: Hidden units of the two layers on each place.
        dropout: The share left out of what each part adds, and of the hidden units.
        norm_first: Normalize what goes into each part (pre-norm), not the sum (post-norm).

    >>> EncoderLayer(8, nhead=2, dim_feedforward=32)(torch.zeros(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int,
        dropout: float = 0.0,
        norm_first: bool = False,
    ) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(d_model, nhead)
        self.feed_forward = feed_forward(d_model, dim_feedforward, dropout)
        self.add1 = Residual(d_model, dropout, norm_first)
        self.add2 = Residual(d_model, dropout, norm_first)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map (N, T, D) to the same; the mask broadcasts to (N, heads, T, T)."""
        x = self.add1(x, lambda x: self.attention(x, x, x, mask)[0])
        return self.add2(x, self.feed_forward)


class DecoderLayer(nn.Module):
    """Each place looks at those before it, then at the encoder's memory, then works alone.

    Arguments as for ``EncoderLayer``. It looks only at those before it if the mask says so.

    >>> layer = DecoderLayer(8, nhead=2, dim_feedforward=32)
    >>> layer(torch.zeros(2, 5, 8), memory=torch.zeros(2, 7, 8)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int,
        dropout: float = 0.0,
        norm_first: bool = False,
    ) -> None:
        super().__init__()
        self.self_attention = MultiHeadAttention(d_model, nhead)
        self.cross_attention = MultiHeadAttention(d_model, nhead)
        self.feed_forward = feed_forward(d_model, dim_feedforward, dropout)
        self.add1 = Residual(d_model, dropout, norm_first)
        self.add2 = Residual(d_model, dropout, norm_first)
        self.add3 = Residual(d_model, dropout, norm_first)

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
    ) -> Tensor:
        """Map (N, T, D) and memory (N, S, D) to (N, T, D)."""
        x = self.add1(x, lambda x: self.self_attention(x, x, x, mask)[0])
        x = self.add2(x, lambda x: self.cross_attention(x, memory, memory, memory_mask)[0])
        return self.add3(x, self.feed_forward)


class Transformer(nn.Module):
    """Encoder and decoder: from a source and the target so far to scores of the next token.

    Tokens with the id 0 are padding; nobody looks at them. Layers normalize sums, as in the paper.

    Args:
        source_size: Tokens of the source's vocabulary.
        target_size: Tokens of the target's.
        d_model: Numbers of a token.
        nhead: Heads; must divide ``d_model``.
        num_layers: Of the encoder, and as many of the decoder.
        dim_feedforward: Hidden units of the two layers on each place.
        dropout: The share left out, in training.

    >>> model = Transformer(10, 12, d_model=16, nhead=2, num_layers=1, dim_feedforward=32)
    >>> source, target = torch.ones(3, 7, dtype=torch.int64), torch.ones(3, 5, dtype=torch.int64)
    >>> model(source, target).shape
    torch.Size([3, 5, 12])
    """

    def __init__(
        self,
        source_size: int,
        target_size: int,
        d_model: int,
        nhead: int,
        num_layers: int,
        dim_feedforward: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        sizes = d_model, nhead, dim_feedforward, dropout
        self.source = Embedding(source_size, d_model, dropout)
        self.target = Embedding(target_size, d_model, dropout)
        self.encoder = nn.ModuleList([EncoderLayer(*sizes) for _ in range(num_layers)])
        self.decoder = nn.ModuleList([DecoderLayer(*sizes) for _ in range(num_layers)])
        self.out = nn.Linear(d_model, target_size)

    def encode(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Map ids (N, S) to the memory (N, S, D) and its mask (N, 1, 1, S)."""
        mask = (source != 0)[:, None, None]
        x = self.source(source)
        for layer in self.encoder:
            x = layer(x, mask)
        return x, mask

    def decode(self, target: Tensor, memory: Tensor, memory_mask: Tensor) -> Tensor:
        """Map ids (N, T) to scores of the token after each, (N, T, target_size)."""
        mask = causal_mask(target.shape[1]).to(target.device) & (target != 0)[:, None, None]
        x = self.target(target)
        for layer in self.decoder:
            x = layer(x, memory, mask, memory_mask)
        return self.out(x)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Map ids (N, S) and (N, T) to scores (N, T, target_size)."""
        return self.decode(target, *self.encode(source))


def _within_context(self: "LanguageModel", ids: Tensor) -> None:
    if ids.shape[1] > self.context:
        raise ValueError(f"ids: {ids.shape[1]} tokens, must be ≤ context={self.context}")


class LanguageModel(nn.Module):
    """A decoder alone: from the tokens so far to scores of the next one, as GPT.

    From Radford et al., "Improving language understanding by generative pre-training", 2018; as in
    its successor, layers normalize first, and the last sum once more. Places are learned.

    Args:
        vocab_size: Tokens of the vocabulary.
        context: The most tokens that it looks back on.
        d_model: Numbers of a token.
        nhead: Heads; must divide ``d_model``.
        num_layers: Layers, each of attention and of two layers on each place, 4 D hidden units.
        dropout: The share left out, in training.

    >>> model = LanguageModel(95, context=64, d_model=32, nhead=4, num_layers=2)
    >>> model(torch.zeros(3, 10, dtype=torch.int64)).shape
    torch.Size([3, 10, 95])
    """

    @checked(context=integer(at_least=1), num_layers=integer(at_least=0), dropout=SHARE)
    def __init__(
        self,
        vocab_size: int,
        context: int,
        d_model: int,
        nhead: int,
        num_layers: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.context = context
        self.tokens = nn.Embedding(vocab_size, d_model)
        self.places = nn.Embedding(context, d_model)
        for embedding in (self.tokens, self.places):
            nn.init.normal_(embedding.weight, std=d_model**-0.5)
        self.layers = nn.ModuleList(
            [
                EncoderLayer(d_model, nhead, 4 * d_model, dropout, norm_first=True)
                for _ in range(num_layers)
            ]
        )
        self.norm = nn.LayerNorm(d_model)
        self.out = nn.Linear(d_model, vocab_size, bias=False)

    @checked(_within_context, ids=tensor("(N, T)", floating=False))
    def forward(self, ids: Tensor) -> Tensor:
        """Map ids (N, T), T at most ``context``, to scores of the token after each, (N, T, V)."""
        T = ids.shape[1]
        x = self.tokens(ids) + self.places.weight[:T]
        mask = causal_mask(T).to(ids.device)
        for layer in self.layers:
            x = layer(x, mask)
        return self.out(self.norm(x))


@checked(source=tensor("(N, S)", floating=False), max_length=integer(at_least=1))
@torch.no_grad()
def greedy(model: Transformer, source: Tensor, begin: int, end: int, max_length: int) -> Tensor:
    """Write the best next token, again and again: ids (N, S) → (N, T), T ≤ ``max_length``.

    Args:
        model: Put it in evaluation mode first, if it has dropout.
        source: Ids, with 0 for padding.
        begin: The id of the token that begins every target; it is not in the answer.
        end: The id of the token that ends one. After it comes padding, 0.
        max_length: Tokens at most, the last one included.

    >>> model = Transformer(10, 12, d_model=16, nhead=2, num_layers=1, dim_feedforward=32)
    >>> greedy(model, torch.ones(3, 7, dtype=torch.int64), begin=1, end=2, max_length=4).shape[0]
    3
    """
    memory, mask = model.encode(source)
    target = torch.full((len(source), 1), begin, device=source.device)
    done = torch.zeros(len(source), dtype=torch.bool, device=source.device)
    for _ in range(max_length):
        best = model.decode(target, memory, mask)[:, -1].argmax(-1)
        best = best.masked_fill(done, 0)  # padding after the end
        target = torch.cat([target, best[:, None]], 1)
        done |= best == end
        if done.all():
            break
    return target[:, 1:]


@checked(
    ids=tensor("(N, T)", floating=False),
    count=integer(at_least=1),
    temperature=number(above=0),
)
@torch.no_grad()
def generate(model: LanguageModel, ids: Tensor, count: int, temperature: float = 1.0) -> Tensor:
    """Draw the next token, again and again: ids (N, T) → (N, T + count).

    Args:
        model: Put it in evaluation mode first, if it has dropout.
        ids: What it continues; it looks back on the last ``model.context`` of them.
        count: Tokens to draw.
        temperature: Scores are divided by it: below 1 likely tokens become likelier.

    >>> model = LanguageModel(95, context=8, d_model=16, nhead=2, num_layers=1)
    >>> generate(model, torch.zeros(2, 3, dtype=torch.int64), count=10).shape
    torch.Size([2, 13])
    """
    for _ in range(count):
        scores = model(ids[:, -model.context :])[:, -1]
        drawn = torch.multinomial((scores / temperature).softmax(-1), 1)
        ids = torch.cat([ids, drawn], 1)
    return ids
