"""Text: tokens become integers, which a network can look up, and come back."""

from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from d2lite.checks import checked, integer

#: Fills a batch's shorter sentences; begins a sentence; ends one; stands for a token never seen.
PAD, BEGIN, END, UNKNOWN = SPECIALS = "<pad>", "<bos>", "<eos>", "<unk>"


class Vocabulary:
    """The tokens of a text, each with its id: special tokens first, then the most frequent.

    A token is any string: a word, or a character. Tokens of equal frequency stand in alphabetical
    order.

    Args:
        sentences: Each a sequence of tokens; a string is a sequence of characters.
        at_least: How often a token must come, to have an id of its own.
        specials: Tokens that have an id without coming in the text; the first has the id 0.

    Attributes:
        tokens: A list of the tokens: that of id i is ``tokens[i]``.
        ids: A dictionary of the ids: that of a token is ``ids[token]``.

    >>> vocabulary = Vocabulary(["a bag and a coat".split()])
    >>> vocabulary
    Vocabulary of 8: <pad>, <bos>, <eos>, <unk>, a, and, bag, coat
    >>> vocabulary.encode("a hat".split())
    [4, 3]
    >>> vocabulary.decode([4, 7])
    ['a', 'coat']
    """

    @checked(at_least=integer(at_least=1))
    def __init__(
        self,
        sentences: Iterable[Sequence[str]],
        at_least: int = 1,
        specials: Sequence[str] = SPECIALS,
    ) -> None:
        counts = Counter(token for sentence in sentences for token in sentence)
        kept = [t for t, count in counts.items() if count >= at_least and t not in specials]
        self.tokens = [*specials, *sorted(kept, key=lambda token: (-counts[token], token))]
        self.ids = {token: i for i, token in enumerate(self.tokens)}

    def __len__(self) -> int:
        return len(self.tokens)

    def __repr__(self) -> str:
        first = ", ".join(self.tokens[:8]) + (", …" if len(self) > 8 else "")
        return f"Vocabulary of {len(self):,}: {first}"

    def encode(self, sentence: Iterable[str]) -> list[int]:
        """Give the id of each token, that of ``<unk>`` to one never seen.

        Raises:
            ValueError: If there is a token never seen, and no ``<unk>``.

        >>> Vocabulary(["abba"], specials=()).encode("bab")
        [1, 0, 1]
        """
        unknown = self.ids.get(UNKNOWN)
        found = []
        for token in sentence:
            i = self.ids.get(token, unknown)
            if i is None:
                raise ValueError(f"token={token!r}: is not in the vocabulary, nor is {UNKNOWN}")
            found.append(i)
        return found

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Give the token of each id; from a tensor, take ``tolist()`` of it.

        Raises:
            ValueError: If there is an id that no token has, such as −1.

        >>> "".join(Vocabulary(["abba"], specials=()).decode([1, 0, 1]))
        'bab'
        """
        found = []
        for i in ids:
            if not 0 <= i < len(self):
                raise ValueError(f"id={i}: must be ≥ 0 and ≤ {len(self) - 1}")
            found.append(self.tokens[i])
        return found

    def batch(self, sentences: Iterable[Iterable[str]]) -> Tensor:
        """Put sentences below each other: (N, T), int64, between ``<bos>`` and ``<eos>``.

        Shorter ones are filled up with ``<pad>``, so ``batch != 0`` is what counts, if it is the
        first of the special tokens.

        Raises:
            ValueError: If the vocabulary has not all three.

        >>> Vocabulary(["ab"]).batch(["ab", "b"])
        tensor([[1, 4, 5, 2],
                [1, 5, 2, 0]])
        """
        if missing := [token for token in (BEGIN, END, PAD) if token not in self.ids]:
            raise ValueError(f"specials: must have {missing[0]} to make a batch")
        begin, end, pad = (self.ids[token] for token in (BEGIN, END, PAD))
        rows = [torch.tensor([begin, *self.encode(s), end]) for s in sentences]
        return pad_sequence(rows, batch_first=True, padding_value=pad)
