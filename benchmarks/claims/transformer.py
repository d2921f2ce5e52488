"""Transformer: which of its parts pay, and is it ahead of counting and of a recurrent network?

    python benchmarks/claims/transformer.py    # writes transformer.csv; about 12 CPU-minutes

The long run behind the chapter on transformers: models of characters, on Python's help topics.
Every tenth topic is held out; bits per character are measured on those, in windows that overlap by
half, so that each character is predicted from half a window at least.

``rivals``: windows of 64 characters, 16 a step, 400 steps: two layers of 64 numbers a token against
a GRU of 148 units. ``parts``: windows of 32, 16 a step, 400 steps; 32 numbers a token, two layers
that normalize first, four heads; an arm changes the codes of the places, the factor before the
embedding, or the number of heads. In both, each arm's rate is chosen with seed 100 from three or
more, none at an edge; then five other seeds are trained at it. The rivals then get five times the
steps, with one seed, and learned places and none four times, with three. ``order``: as ``parts``,
with the norm before or after, with and without warm-up, with two and with six layers, 200 steps of
8; four rates, three seeds each.

With warm-up the rate rises for a tenth of the steps, without it begins at its highest; then it
falls to 0 along half a cosine. AdamW, weight decay 0.1. One row for each network.
"""

import math
import re
import time
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor, nn

from d2lite.attention import causal_mask
from d2lite.data import help_topics
from d2lite.nets.transformer import EncoderLayer, LanguageModel, positional_encoding
from d2lite.optim import AdamW
from d2lite.side_by_side import SideBySide, fit_all

HEAD = ["Experiment", "Arm", "Layers", "Warm-up", "Rate", "Seed", "Steps", "Seconds", "Bits"]
NATS = math.log(2)

# ---- The text ------------------------------------------------------------------------------------


def topics() -> tuple[Tensor, Tensor]:
    """Ids of the characters of nine tenths of the topics, and of every tenth one."""
    text = help_topics()
    ids = {c: i for i, c in enumerate(sorted(set(text)))}
    parts = re.split(r"\n(?=[^\n]+\n\*{5,}\n)", text)
    known = "\n".join(part for i, part in enumerate(parts) if i % 10 != 9)
    new = "\n".join(parts[9::10])
    known_ids, new_ids = (torch.tensor([ids[c] for c in part]) for part in (known, new))
    return known_ids, new_ids


TRAIN, TEST = topics()


def batch(T: int, count: int, rng: torch.Generator) -> Tensor:
    """Windows of T + 1 characters, (count, T + 1)."""
    starts = torch.randint(len(TRAIN) - T, (count, 1), generator=rng)
    return TRAIN[starts + torch.arange(T + 1)]


@torch.no_grad()
def bits(model: nn.Module, T: int) -> list[float]:
    """Bits per character of each network on new topics, in the second half of each window."""
    windows = TEST.unfold(0, T + 1, T // 2)
    side_by_side = isinstance(model, SideBySide)
    networks = len(model) if isinstance(model, SideBySide) else 1
    total = torch.zeros(networks)
    for part in windows.split(100):
        inputs = part[None, :, :-1] if side_by_side else part[:, :-1]
        scores = model(inputs).reshape(networks, len(part), T, -1)[:, :, T // 2 :]
        wanted = part[:, T // 2 + 1 :].expand(networks, -1, -1)
        nats = F.cross_entropy(scores.flatten(0, 2), wanted.flatten(), reduction="none")
        total += nats.view(networks, -1).sum(1)
    return (total / (len(windows) * (T // 2)) / NATS).tolist()


def factor(step: int, steps: int, warm_up: bool) -> float:
    """The share of the highest rate at a step, from 0."""
    first = steps // 10 if warm_up else 0
    if step < first:
        return (step + 1) / first
    return (1 + math.cos(math.pi * (step - first) / (steps - first))) / 2


# ---- Networks side by side -----------------------------------------------------------------------


class Characters(nn.Module):
    """A model of characters whose parts can be changed: ids (N, T) → scores (N, T, 95)."""

    def __init__(
        self, places: str = "learned", times: float = 1.0, std: float | None = None,
        nhead: int = 4, num_layers: int = 2, norm_first: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        T, D = 32, 32
        self.times = times
        self.tokens = nn.Embedding(95, D)
        nn.init.normal_(self.tokens.weight, std=std or D**-0.5)
        if places == "learned":
            self.places = nn.Parameter(D**-0.5 * torch.randn(T, D))
        else:
            codes = positional_encoding(T, D) if places == "sinusoidal" else torch.zeros(T, D)
            self.register_buffer("places", codes)
        self.layers = nn.ModuleList(
            [EncoderLayer(D, nhead, 4 * D, norm_first=norm_first) for _ in range(num_layers)]
        )
        self.norm = nn.LayerNorm(D) if norm_first else nn.Identity()
        self.out = nn.Linear(D, 95, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Score the character after each."""
        x = self.times * self.tokens(ids) + self.places
        mask = causal_mask(ids.shape[1])
        for layer in self.layers:
            x = layer(x, mask)
        return self.out(self.norm(x))


def losses(scores: Tensor, targets: Tensor) -> Tensor:
    """The mean loss of each sequence, in nats: (N, T, 95) and (N, T) → (N,)."""
    return F.cross_entropy(scores.mT, targets, reduction="none").mean(1)


def together(
    make: Callable[[], nn.Module], tried: list[tuple[float, int]], steps: int, count: int,
    warm_up: bool = True,
) -> list[list]:  # fmt: skip
    """Train a network for each rate and seed, side by side: rows from the rate on."""
    models = []
    for _, seed in tried:
        torch.manual_seed(seed)
        models.append(make())
    networks = SideBySide(models)
    sources = [torch.Generator().manual_seed(seed) for _, seed in tried]

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(steps):
            windows = torch.stack([batch(32, count, rng) for rng in sources])
            yield windows[..., :-1], windows[..., 1:]

    start = time.process_time()
    fit_all(
        networks, batches(), AdamW, loss=losses, lr=[rate for rate, _ in tried], weight_decay=0.1,
        schedule=lambda step: factor(step, steps, warm_up),
    )  # fmt: skip
    seconds = (time.process_time() - start) / len(tried)
    found = bits(networks, 32)
    return [
        [*pair, steps, round(seconds, 1), round(value, 4)]
        for pair, value in zip(tried, found, strict=True)
    ]


def tuned(train: Callable[[list[tuple[float, int]]], list[list]]) -> list[list]:
    """Try rates, and further ones while the best is at an edge; then five seeds at it."""
    rates = [0.003, 0.01, 0.03]
    rows = train([(rate, 100) for rate in rates])
    while (best := best_rate(rows)) in (min(rates), max(rates)) and len(rates) < 6:
        rates.append(round(best * (0.3 if best == min(rates) else 3), 6))
        rows += train([(rates[-1], 100)])
    return rows + train([(best, seed) for seed in range(5)])


def best_rate(rows: list[list]) -> float:
    """The rate with the lowest bits, of rows of one seed; NaN counts as infinite."""
    return min(rows, key=lambda row: row[-1] if row[-1] == row[-1] else math.inf)[0]


# ---- The experiments -----------------------------------------------------------------------------

ROOT = 32**0.5
PARTS: dict[str, dict] = {
    "learned": {},
    "none": {"places": "none"},
    "sinusoidal, times √D": {"places": "sinusoidal", "times": ROOT},
    "sinusoidal, times 1": {"places": "sinusoidal"},
    "sinusoidal, times 1/√D": {"places": "sinusoidal", "times": 1 / ROOT},
    "sinusoidal, times 1, start 1": {"places": "sinusoidal", "std": 1.0},
    "heads 1": {"nhead": 1},
    "heads 2": {"nhead": 2},
    "heads 8": {"nhead": 8},
}


def parts() -> Iterator[list]:
    """Each arm at its own rate."""
    for arm, settings in PARTS.items():

        def make(settings: dict = settings) -> nn.Module:
            return Characters(**settings)

        rows = tuned(lambda tried, make=make: together(make, tried, 400, 16))
        for row in rows:
            yield ["parts", arm, 2, "yes", *row]


def longer() -> Iterator[list]:
    """Learned places and none, each at the rate that was its best, with four times the steps."""
    for arm in ("learned", "none"):

        def make(settings: dict = PARTS[arm]) -> nn.Module:
            return Characters(**settings)

        for row in together(make, [(0.01, seed) for seed in range(3)], 1600, 16):
            yield ["parts", arm, 2, "yes", *row]


def order() -> Iterator[list]:
    """Norm before or after, with and without warm-up, at four rates."""
    tried = [(rate, seed) for rate in (0.001, 0.003, 0.01, 0.03) for seed in range(3)]
    for layers in (2, 6):
        for first in (True, False):
            for warm_up in (True, False):
                rows = together(
                    lambda layers=layers, first=first: Characters(
                        num_layers=layers, norm_first=first
                    ),
                    tried, 200, 8, warm_up,
                )  # fmt: skip
                for row in rows:
                    arm = "before" if first else "after"
                    yield ["order", arm, layers, "yes" if warm_up else "no", *row]


class Recurrent(nn.Module):
    """A GRU of characters: ids (N, T) → scores (N, T, 95)."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(95, 64)
        self.gru = nn.GRU(64, 148, batch_first=True)
        self.out = nn.Linear(148, 95)

    def forward(self, ids: Tensor) -> Tensor:
        """Score the character after each."""
        return self.out(self.gru(self.tokens(ids))[0])


RIVALS: dict[str, Callable[[], nn.Module]] = {
    "transformer": lambda: LanguageModel(95, context=64, d_model=64, nhead=4, num_layers=2),
    "GRU": Recurrent,
}


def alone(name: str, rate: float, seed: int, steps: int) -> list:
    """Train one rival: a row from the rate on."""
    torch.manual_seed(seed)
    model, rng = RIVALS[name](), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=0.1)
    start = time.process_time()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * factor(step, steps, warm_up=True)
        windows = batch(64, 16, rng)
        loss = F.cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    seconds = time.process_time() - start
    return [rate, seed, steps, round(seconds, 1), round(bits(model, 64)[0], 4)]


def rivals() -> Iterator[list]:
    """Transformer and GRU of equal size, each at its own rate; then five times the steps."""
    for name in RIVALS:
        rows = tuned(lambda tried, name=name: [alone(name, *pair, 400) for pair in tried])
        rows.append(alone(name, rows[-1][0], 0, 2000))
        for row in rows:
            yield ["rivals", name, 2 if name == "transformer" else 1, "yes", *row]


def all_rows() -> Iterator[list]:
    """All experiments."""
    yield from rivals()
    yield from order()
    yield from parts()
    yield from longer()


if __name__ == "__main__":
    write_table(__file__, HEAD, all_rows())
