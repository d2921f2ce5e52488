"""Attention: each query takes a weighted mean of the values, most of those whose keys fit it.

From Bahdanau, Cho and Bengio, "Neural machine translation by jointly learning to align and
translate", 2015 (additive), and Vaswani et al., "Attention is all you need", 2017 (scaled dot
product, several heads). N examples, Q queries, K keys and as many values.
"""

import math

import torch
from torch import Tensor, nn

from d2lite.checks import checked, given, integer, optional, tensor


def _looks(mask: object) -> None:
    tensor(floating=False)(mask)
    if isinstance(mask, Tensor) and mask.dtype != torch.bool:
        raise TypeError("must be bool, True where a query may look")


def _broadcasts(scores: Tensor, mask: Tensor | None) -> None:
    if mask is None:
        return
    pairs = zip(reversed(mask.shape), reversed(scores.shape), strict=False)
    if mask.ndim > scores.ndim or any(m not in (1, s) for m, s in pairs):
        raise ValueError(f"mask{given(mask)}: must broadcast to {tuple(scores.shape)}")


def _fit(queries: Tensor, keys: Tensor, values: Tensor) -> None:
    if queries.shape[-1] != keys.shape[-1]:
        raise ValueError(f"keys{given(keys)}: must be as long as queries, {queries.shape[-1]}")
    if keys.shape[-2] != values.shape[-2]:
        raise ValueError(f"values{given(values)}: must be as many as keys, {keys.shape[-2]}")


@checked(_broadcasts, scores=tensor(), mask=optional(_looks))
def masked_softmax(scores: Tensor, mask: Tensor | None = None) -> Tensor:
    """Make weights of scores, (…, Q, K): each row sums to 1, with 0 where the mask is False.

    A row that is masked everywhere is all 0, so that its query takes nothing. (PyTorch's functions
    give 0 or nan for it.)

    Args:
        scores: How well each key fits each query, (…, Q, K).
        mask: True where a query may look, of a shape that broadcasts to that of the scores.

    Raises:
        TypeError: If the mask is not of bools.
        ValueError: If it does not broadcast.

    >>> masked_softmax(torch.zeros(1, 3), torch.tensor([True, True, False]))
    tensor([[0.5000, 0.5000, 0.0000]])
    """
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    weights = scores.softmax(-1)
    return weights if mask is None else weights.masked_fill(~mask, 0)


@checked(
    _fit,
    queries=tensor("(…, Q, D)"),
    keys=tensor("(…, K, D)"),
    values=tensor("(…, K, V)"),
    mask=optional(_looks),
)
def dot_product_attention(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Attend by scaled dot products: (…, Q, D), (…, K, D), (…, K, V) → (…, Q, V), (…, Q, K).

    A score is the dot product of a query and a key, divided by √D.

    Args:
        queries: What each place looks for.
        keys: What each place offers.
        values: What each place gives.
        mask: True where a query may look, of a shape that broadcasts to (…, Q, K).

    Returns:
        What each query takes, and its weights.

    Raises:
        ValueError: If queries and keys differ in length, keys and values in number.

    >>> out, weights = dot_product_attention(*torch.ones(3, 2, 5, 8))
    >>> out.shape, weights[0, 0]
    (torch.Size([2, 5, 8]), tensor([0.2000, 0.2000, 0.2000, 0.2000, 0.2000]))
    """
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])
    weights = masked_softmax(scores, mask)
    return weights @ values, weights


def _sized(name: str, vectors: Tensor, size: int) -> None:
    if vectors.shape[-1] != size:
        raise ValueError(f"{name}{given(vectors)}: must have {size} numbers each")


def _fit_additive(self: "AdditiveAttention", queries: Tensor, keys: Tensor, values: Tensor) -> None:
    _sized("queries", queries, self.W.in_features)
    _sized("keys", keys, self.U.in_features)
    _fit(keys, keys, values)


def _fit_heads(self: "MultiHeadAttention", queries: Tensor, keys: Tensor, values: Tensor) -> None:
    for name, vectors in (("queries", queries), ("keys", keys), ("values", values)):
        _sized(name, vectors, self.query.in_features)
    _fit(queries, keys, values)


_BATCHES = {
    "queries": tensor("(N, Q, D)"),
    "keys": tensor("(N, K, D)"),
    "values": tensor("(N, K, V)"),
}


class AdditiveAttention(nn.Module):
    """Attend by a small network: a score is w · tanh(W q + U k).

    Queries and keys may have different sizes.

    Args:
        query_size: Numbers in a query.
        key_size: Numbers in a key.
        hidden_size: Units of the network.

    >>> attend = AdditiveAttention(query_size=6, key_size=4, hidden_size=8)
    >>> out, weights = attend(torch.zeros(2, 1, 6), torch.zeros(2, 5, 4), torch.zeros(2, 5, 3))
    >>> out.shape, weights.shape
    (torch.Size([2, 1, 3]), torch.Size([2, 1, 5]))
    """

    @checked(
        query_size=integer(at_least=1),
        key_size=integer(at_least=1),
        hidden_size=integer(at_least=1),
    )
    def __init__(self, query_size: int, key_size: int, hidden_size: int) -> None:
        super().__init__()
        self.W = nn.Linear(query_size, hidden_size, bias=False)
        self.U = nn.Linear(key_size, hidden_size, bias=False)
        self.w = nn.Linear(hidden_size, 1, bias=False)

    @checked(_fit_additive, **_BATCHES)
    def forward(
        self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Map (N, Q, …), (N, K, …), (N, K, V) to (N, Q, V) and weights (N, Q, K).

        The mask broadcasts to the weights' shape.
        """
        pairs = self.W(queries)[:, :, None] + self.U(keys)[:, None]  # (N, Q, K, hidden)
        weights = masked_softmax(self.w(pairs.tanh())[..., 0], mask)
        return weights @ values, weights


def _divides(embed_dim: int, num_heads: int) -> None:
    if embed_dim % num_heads:
        raise ValueError(f"num_heads={num_heads}: must divide embed_dim={embed_dim}")


class MultiHeadAttention(nn.Module):
    """Attend several times at once, each head in a part of its own of the projected vectors.

    Args:
        embed_dim: Numbers in a query, a key, a value, and in what comes out.
        num_heads: Must divide ``embed_dim``.

    Raises:
        ValueError: If the heads do not divide the numbers.

    >>> attend = MultiHeadAttention(embed_dim=12, num_heads=3)
    >>> out, weights = attend(*torch.zeros(3, 2, 5, 12))
    >>> out.shape, weights.shape
    (torch.Size([2, 5, 12]), torch.Size([2, 3, 5, 5]))
    """

    @checked(_divides, embed_dim=integer(at_least=1), num_heads=integer(at_least=1))
    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(embed_dim, embed_dim)
        self.key = nn.Linear(embed_dim, embed_dim)
        self.value = nn.Linear(embed_dim, embed_dim)
        self.out = nn.Linear(embed_dim, embed_dim)

    @checked(_fit_heads, **_BATCHES)
    def forward(
        self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Map (N, Q, E), (N, K, E), (N, K, E) to (N, Q, E) and weights (N, heads, Q, K).

        The mask broadcasts to the weights' shape.
        """
        q = self.split(self.query(queries))
        k = self.split(self.key(keys))
        v = self.split(self.value(values))
        taken, weights = dot_product_attention(q, k, v, mask)  # (N, heads, Q, E / heads)
        return self.out(taken.transpose(1, 2).flatten(2)), weights

    def split(self, x: Tensor) -> Tensor:
        """Give each head a part of its own: (N, T, E) → (N, heads, T, E / heads)."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


@checked(length=integer(at_least=1))
def causal_mask(length: int) -> Tensor:
    """Make the mask by which each place sees itself and what came before it, (T, T), bool.

    >>> causal_mask(3).int()
    tensor([[1, 0, 0],
            [1, 1, 0],
            [1, 1, 1]], dtype=torch.int32)
    """
    return torch.ones(length, length, dtype=torch.bool).tril()
