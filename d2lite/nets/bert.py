"""BERT: an encoder that learns from gaps in a text, and is then trained on for another task.

From Devlin, Chang, Lee and Toutanova, "BERT: Pre-training of deep bidirectional transformers for
language understanding", NAACL 2019. N examples of T tokens, D numbers each, of a vocabulary of V
whose first five are ``SPECIALS``.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from d2lite.attention import causal_mask
from d2lite.checks import checked, integer, number, tensor
from d2lite.text import Vocabulary

#: Fills up; stands first, for the whole; ends a sentence; hides a word; is a word never seen.
SPECIALS = "<pad>", "<cls>", "<sep>", "<mask>", "<unk>"
PAD, CLS, SEP, MASK, UNK = range(5)


def _of_bert(vocabulary: Any) -> None:
    if not isinstance(vocabulary, Vocabulary) or tuple(vocabulary.tokens[:5]) != SPECIALS:
        raise ValueError("must be a Vocabulary with specials=d2lite.nets.bert.SPECIALS")


def _fits(first: Sequence[str], second: Sequence[str], length: int) -> None:
    if (needed := len(first) + len(second) + 2 + bool(second)) > length:
        raise ValueError(f"length={length}: must be {needed} at least for these sentences")


@checked(_fits, vocabulary=_of_bert, length=integer(at_least=2))
def pack(
    vocabulary: Vocabulary, first: Sequence[str], second: Sequence[str], length: int
) -> tuple[list[int], list[int]]:
    """Put one or two sentences in a row, ``<cls> first <sep> second <sep>``, filled up to a length.

    Returns:
        The ids, and of each whether it belongs to the second sentence, 0 or 1.

    Raises:
        ValueError: If they are longer, or the vocabulary has other special tokens.

    >>> words = Vocabulary([["we", "sail"]], specials=SPECIALS)
    >>> pack(words, ["we", "sail"], ["sail"], length=8)
    ([1, 6, 5, 2, 5, 2, 0, 0], [0, 0, 0, 0, 1, 1, 0, 0])
    """
    ids = [CLS, *vocabulary.encode(first), SEP]
    segments = [0] * len(ids)
    if second:
        ids += [*vocabulary.encode(second), SEP]
        segments += [1] * (len(second) + 1)
    fill = [0] * (length - len(ids))
    return ids + fill, segments + fill


def _shares(split: Any) -> None:
    if not isinstance(split, (tuple, list)) or len(split) != 3:
        raise TypeError("must be three numbers")
    for share in split:
        number(0, 1)(share)
    if abs(sum(split) - 1) > 1e-6:
        raise ValueError("must add up to 1")


@checked(
    ids=tensor(floating=False), vocab_size=integer(at_least=6), share=number(0, 1), split=_shares
)
def mask_tokens(
    ids: Tensor,
    vocab_size: int,
    share: float = 0.15,
    split: tuple[float, float, float] = (0.8, 0.1, 0.1),
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Choose words to be guessed, and hide them: ids of any shape → ids and a mask of that shape.

    Special tokens are never chosen.

    Args:
        ids: The tokens.
        vocab_size: V; a random word has an id from 5 to V − 1.
        share: How probably a word is chosen.
        split: Of the chosen, the share replaced by ``<mask>``, that replaced by a random word, and
            that left as it is; the sum is 1.
        generator: Where chance comes from, on the device of the ids.

    Returns:
        What the network reads, and True where it is to say what stood there.

    Raises:
        ValueError: If a share is out of range, or those of the split do not add up to 1.

    >>> inputs, chosen = mask_tokens(torch.tensor([[1, 7, 8, 2, 0]]), 10, 1.0, (1.0, 0.0, 0.0))
    >>> inputs.tolist(), chosen.int().tolist()
    ([[1, 3, 3, 2, 0]], [[0, 1, 1, 0, 0]])
    """
    here = {"generator": generator, "device": ids.device}
    chance = torch.rand(ids.shape, **here)  # type: ignore
    chosen = (chance < share) & (ids > UNK)
    how = torch.rand(ids.shape, **here)  # type: ignore
    words = torch.randint(UNK + 1, vocab_size, ids.shape, **here)  # type: ignore
    inputs = torch.where(chosen & (how < split[0]), MASK, ids)
    swapped = chosen & (how >= split[0]) & (how < split[0] + split[1])
    return torch.where(swapped, words, inputs), chosen


def _within_context(self: "BERT", ids: Tensor) -> None:
    if ids.shape[1] > self.places.num_embeddings:
        most = self.places.num_embeddings
        raise ValueError(f"ids: {ids.shape[1]} tokens, must be ≤ context={most}")


class BERT(nn.Module):
    """The encoder: ids (N, T) → a vector for each token, which has seen all the others, (N, T, D).

    Layers are PyTorch's, with GELU and post-norm; the embeddings are normalized, too. Matrices
    begin with a standard deviation of ``std``, biases at 0.

    Args:
        vocab_size: V.
        context: The most tokens in a row.
        d_model: Numbers of a token, D.
        nhead: Heads; must divide ``d_model``.
        num_layers: Layers.
        dim_feedforward: Hidden units of the two linear layers on each place.
        dropout: The share left out, in training.
        std: Of the weights at the start.

    >>> bert = BERT(80, context=24, d_model=16, nhead=2, num_layers=1, dim_feedforward=32)
    >>> bert(torch.ones(3, 10, dtype=torch.int64)).shape
    torch.Size([3, 10, 16])
    """

    @checked(vocab_size=integer(at_least=6), context=integer(at_least=1))
    def __init__(
        self,
        vocab_size: int,
        context: int,
        d_model: int,
        nhead: int,
        num_layers: int,
        dim_feedforward: int,
        dropout: float = 0.1,
        std: float = 0.02,
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, d_model)
        self.places = nn.Embedding(context, d_model)
        self.segments = nn.Embedding(2, d_model)
        self.norm = nn.LayerNorm(d_model, eps=1e-12)
        self.dropout = nn.Dropout(dropout)
        sizes = d_model, nhead, dim_feedforward, dropout
        self.layers = nn.ModuleList(
            [
                nn.TransformerEncoderLayer(*sizes, "gelu", 1e-12, batch_first=True)
                for _ in range(num_layers)
            ]
        )
        self.pooler = nn.Sequential(nn.Linear(d_model, d_model), nn.Tanh())
        start(self, std)

    @checked(_within_context, ids=tensor("(N, T)", floating=False))
    def forward(self, ids: Tensor, segments: Tensor | None = None, causal: bool = False) -> Tensor:
        """Map ids (N, T), and segments of that shape, to (N, T, D); causal hides what is later."""
        if segments is None:
            segments = torch.zeros_like(ids)
        T = ids.shape[1]
        x = self.tokens(ids) + self.places.weight[:T] + self.segments(segments)
        x = self.dropout(self.norm(x))
        later = ~causal_mask(T).to(ids.device) if causal else None
        for layer in self.layers:
            x = layer(x, later, ids == PAD)
        return x


class Pretraining(nn.Module):
    """An encoder with the two heads that it learns by.

    Args:
        bert: The encoder. The word head ends in its token embeddings, which both share.
        std: Of the heads' weights at the start.

    >>> bert = BERT(80, context=24, d_model=16, nhead=2, num_layers=1, dim_feedforward=32)
    >>> words, follows = Pretraining(bert)(torch.ones(3, 10, dtype=torch.int64))
    >>> words.shape, follows.shape
    (torch.Size([3, 10, 80]), torch.Size([3, 2]))
    """

    def __init__(self, bert: BERT, std: float = 0.02) -> None:
        super().__init__()
        vocab_size, d_model = bert.tokens.weight.shape
        self.transform = nn.Sequential(
            nn.Linear(d_model, d_model), nn.GELU(), nn.LayerNorm(d_model, eps=1e-12)
        )
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        self.follows = nn.Linear(d_model, 2)
        start(self, std)
        self.bert = bert

    def forward(
        self, ids: Tensor, segments: Tensor | None = None, causal: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Map ids (N, T) to scores of each place's word (N, T, V), and of "it follows" (N, 2)."""
        x = self.bert(ids, segments, causal)
        words = self.transform(x) @ self.bert.tokens.weight.T + self.bias
        return words, self.follows(self.bert.pooler(x[:, 0]))


class Classifier(nn.Module):
    """An encoder with a linear layer on what its pooler makes of ``<cls>``: (N, T) → (N, classes).

    >>> bert = BERT(80, context=24, d_model=16, nhead=2, num_layers=1, dim_feedforward=32)
    >>> Classifier(bert, classes=4)(torch.ones(3, 10, dtype=torch.int64)).shape
    torch.Size([3, 4])
    """

    def __init__(self, bert: BERT, classes: int, std: float = 0.02) -> None:
        super().__init__()
        self.out = nn.Linear(bert.tokens.embedding_dim, classes)
        start(self, std)
        self.bert = bert

    def forward(self, ids: Tensor) -> Tensor:
        """Map ids (N, T) to scores (N, classes)."""
        return self.out(self.bert.pooler(self.bert(ids)[:, 0]))


def start(network: nn.Module, std: float) -> None:
    """Draw all matrices with a standard deviation, and set the biases of linear layers to 0.

    >>> layer = nn.Linear(2, 3)
    >>> start(layer, 0.02)
    >>> layer.bias.tolist()
    [0.0, 0.0, 0.0]
    """
    for name, p in network.named_parameters():
        if p.ndim > 1:
            nn.init.normal_(p, std=std)
        elif name.endswith("bias"):
            nn.init.zeros_(p)
