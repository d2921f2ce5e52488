"""A captioner: it looks at an image's places, each word anew, and says the next word.

From Xu et al., "Show, attend and tell: neural image caption generation with visual attention",
2015: soft attention over a grid of features, and an LSTM. Left out are the paper's gate on what is
looked at, its deeper output layer and its doubly stochastic penalty; added are two features that
say where a place is. N images, P places of F features each, T words.
"""

import torch
from torch import Tensor, nn

from d2lite.attention import AdditiveAttention
from d2lite.checks import checked, integer, tensor

State = tuple[Tensor, Tensor]


@checked(maps=tensor("(N, C, H, W)"))
def grid_of(maps: Tensor) -> Tensor:
    """Make a row of each place's features: (N, C, H, W) → (N, HW, C + 2), row by row.

    The two last ones are where it is: columns to the right of the middle, and rows below it.

    >>> grid_of(torch.zeros(1, 3, 2, 2))[0]
    tensor([[ 0.0000,  0.0000,  0.0000, -0.5000, -0.5000],
            [ 0.0000,  0.0000,  0.0000,  0.5000, -0.5000],
            [ 0.0000,  0.0000,  0.0000, -0.5000,  0.5000],
            [ 0.0000,  0.0000,  0.0000,  0.5000,  0.5000]])
    """
    N, _, H, W = maps.shape
    y = torch.arange(H).to(maps) - (H - 1) / 2
    x = torch.arange(W).to(maps) - (W - 1) / 2
    where = torch.stack(torch.meshgrid(x, y, indexing="xy"))  # (2, H, W)
    maps = torch.cat([maps, where.expand(N, -1, -1, -1)], 1)
    return maps.flatten(2).transpose(1, 2)


class Captioner(nn.Module):
    """Map a grid (N, P, F) and words (N, T) to logits of the next words (N, T, V) and weights.

    Args:
        vocab_size: V, the number of words.
        features: F.
        hidden_size: Numbers in each of the LSTM's two states.
        embed_dim: Numbers for a word.
        attention_size: Units of the network that scores the places.

    >>> captioner = Captioner(vocab_size=37, features=50)
    >>> logits, weights = captioner(torch.zeros(2, 64, 50), torch.ones(2, 9, dtype=torch.int64))
    >>> logits.shape, weights.shape
    (torch.Size([2, 9, 37]), torch.Size([2, 9, 64]))
    """

    @checked(
        vocab_size=integer(at_least=1), features=integer(at_least=1),
        hidden_size=integer(at_least=1), embed_dim=integer(at_least=1),
        attention_size=integer(at_least=1),
    )  # fmt: skip
    def __init__(
        self, vocab_size: int, features: int, hidden_size: int = 64, embed_dim: int = 32,
        attention_size: int = 32,
    ) -> None:  # fmt: skip
        super().__init__()
        self.embed = nn.Embedding(vocab_size, embed_dim)
        self.start = nn.Linear(features, 2 * hidden_size)
        self.attend = AdditiveAttention(hidden_size, features, attention_size)
        self.cell = nn.LSTMCell(embed_dim + features, hidden_size)
        self.logits = nn.Linear(hidden_size + features, vocab_size)

    def begin(self, grid: Tensor) -> State:
        """Make the LSTM's first states (N, hidden), of the mean of all places."""
        h, c = self.start(grid.mean(1)).tanh().chunk(2, 1)
        return h, c

    def look(self, grid: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Choose where to look: what is seen (N, F), and the weights of the places (N, P)."""
        seen, weights = self.attend(h[:, None], grid, grid)
        return seen[:, 0], weights[:, 0]

    def speak(self, seen: Tensor, word: Tensor, state: State) -> tuple[Tensor, State]:
        """Take in what is seen and the last word (N,): logits (N, V) of the next, and states."""
        h, c = self.cell(torch.cat([self.embed(word), seen], 1), state)
        return self.logits(torch.cat([h, seen], 1)), (h, c)

    def forward(self, grid: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        """Score what follows each of the right words: teacher forcing."""
        state, logits, weights = self.begin(grid), [], []
        for word in words.unbind(1):
            seen, where = self.look(grid, state[0])
            scores, state = self.speak(seen, word, state)
            logits.append(scores)
            weights.append(where)
        return torch.stack(logits, 1), torch.stack(weights, 1)

    @torch.no_grad()
    def describe(self, grid: Tensor, begin: int, longest: int = 16) -> tuple[Tensor, Tensor]:
        """Say the likeliest word each time, ``longest`` of them: ids (N, T) and weights (N, T, P).

        What comes after a sentence's end is to be cut off.

        Args:
            grid: (N, P, F).
            begin: The id with which a sentence begins.
            longest: T.
        """
        word = torch.full((len(grid),), begin, device=grid.device)
        state, words, weights = self.begin(grid), [], []
        for _ in range(longest):
            seen, where = self.look(grid, state[0])
            scores, state = self.speak(seen, word, state)
            word = scores.argmax(1)
            words.append(word)
            weights.append(where)
        return torch.stack(words, 1), torch.stack(weights, 1)
