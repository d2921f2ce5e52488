"""Does the rule matter, or the rate? The long runs behind the chapter on optimizers.

    python benchmarks/claims/optimizers.py    # writes optimizers.csv beside it; 5 CPU-minutes

Each rule at rates in steps of √10, constant, without weight decay, five seeds; each seed gives all
rules and rates the same start and the same batches of 100.

- small: the network of Parts 2 and 3 with hidden layers of 128, on 8,000 garments, halved to
  14 × 14 pixels.
- characters: of Python's help topics the next character, from the eight before it; words: the next
  word or sign, of the 999 most frequent and one for all others, from the four before it.
- finer: characters again, at the rates half-way to the best one's neighbors.
- balanced: characters again, drawn so that each of the 95 is the next one equally often. Scored on
  other draws of that kind from the same text, since too few rare ones are held back.

One row for each network, at two lengths: its score on what the rate is chosen by, and on what is
looked at in the end. The score is the accuracy in percent, of text the mean loss.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor, nn

from d2lite import optim
from d2lite.data import fashion_mnist, help_topics
from d2lite.side_by_side import SideBySide, evaluate_all, fit_all, orders

HEAD = ["Task", "Rule", "Rate", "Seed", "Steps", "Chosen by", "In the end"]
SEEDS = range(5)
Batch = tuple[Tensor, Tensor]


class Uncorrected(optim.Adam):
    """Adam without its bias correction."""

    def _update(self, w: Tensor, g: Tensor, state: dict, group: dict) -> None:
        beta1, beta2 = group["betas"]
        m = state["m"] = beta1 * state.get("m", 0) + (1 - beta1) * g
        v = state["v"] = beta2 * state.get("v", 0) + (1 - beta2) * g**2
        w -= group["lr"] * m / (v.sqrt() + group["eps"])


class Sign(optim.Optimizer):
    """A step of the rate for each weight, against the sign of Adam's average of the gradients."""

    def _update(self, w: Tensor, g: Tensor, state: dict, group: dict) -> None:
        m = state["m"] = 0.9 * state.get("m", 0) + 0.1 * g
        w -= group["lr"] * m.sign()


class HeavyBall(optim.SGD):
    """SGD with momentum, in place."""

    def _update(self, w: Tensor, g: Tensor, state: dict, group: dict) -> None:
        v = state["v"] = state["v"].mul_(0.9).add_(g) if "v" in state else g.clone()
        w -= group["lr"] * (g + 0.9 * v if group["nesterov"] else v)


def nesterov(groups: list, **settings: float) -> torch.optim.Optimizer:
    """PyTorch's form of Nesterov's momentum."""
    return HeavyBall(groups, momentum=0.9, nesterov=True, **settings)


#: The rule, and ten to the power of half of each number is a rate.
RULES: dict[str, tuple[Callable[..., torch.optim.Optimizer], range]] = {
    "SGD": (optim.SGD, range(-3, 2)),
    "momentum": (HeavyBall, range(-4, 1)),
    "Nesterov": (nesterov, range(-4, 1)),
    "AdaGrad": (optim.Adagrad, range(-5, 0)),
    "RMSProp": (optim.RMSprop, range(-8, -3)),
    "Adam": (optim.Adam, range(-7, -2)),
    "Adam, uncorrected": (Uncorrected, range(-8, -3)),
    "sign": (lambda groups, **settings: Sign(groups, **settings), range(-9, -4)),
}
TASKS = {
    "small": [rule for rule in RULES if rule != "sign"],
    "characters": ["momentum", "Adam", "sign"],
    "words": ["momentum", "Adam"],
    "finer": ["momentum", "Adam"],
    "balanced": ["momentum", "Adam"],
}
FINER = {"momentum": (-2.5, -1.5), "Adam": (-4.5, -3.5)}
LENGTHS = {
    "small": (100, 400), "characters": (500, 1500), "words": (250, 500),
    "finer": (500, 1500), "balanced": (250, 500),
}  # fmt: skip


def perceptron(seed: int) -> nn.Sequential:
    """Build the network of Parts 2 and 3, at half of its size."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(196, 128), nn.ReLU(),
        nn.Linear(128, 128), nn.ReLU(),
        nn.Linear(128, 10),
    )  # fmt: skip


def next_symbol(seed: int, symbols: int, context: int, width: int, hidden: int) -> nn.Sequential:
    """Build a model of text: each symbol of the context is looked up, then one hidden layer."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Embedding(symbols, width), nn.Flatten(),
        nn.Linear(context * width, hidden), nn.ReLU(),
        nn.Linear(hidden, symbols),
    )  # fmt: skip


def read(task: str) -> tuple[Tensor, int, int]:
    """Give the text as numbers, how many symbols there are, and the length of a context."""
    text = help_topics()
    if task != "words":
        parts, context, most = list(text), 8, 95
    else:
        parts, context, most = re.findall(r"[A-Za-z_]+|[^\sA-Za-z_]", text), 4, 999
    number = {part: i for i, (part, _) in enumerate(Counter(parts).most_common(most))}
    return torch.tensor([number.get(part, most) for part in parts]), most + 1, context


def of_garments(
    task: str, copies: int
) -> tuple[SideBySide, Iterator[Batch], Callable[[SideBySide], list[Tensor]]]:
    """Make the networks, their batches, and what scores them."""
    train, test = fashion_mnist()
    images, new = F.avg_pool2d(train.images, 2), F.avg_pool2d(test.images, 2)
    seeds = [seed for seed in SEEDS for _ in range(copies)]
    networks = SideBySide([perceptron(seed) for seed in seeds])
    batches = ((images[i], train.labels[i]) for i in orders(8000, 100, 400, seeds))

    def score(networks: SideBySide) -> list[Tensor]:
        sets = (images[8000:], train.labels[8000:]), (new, test.labels)
        return [100 * evaluate_all(networks, x[None], y[None]) for x, y in sets]

    return networks, batches, score


def of_text(
    task: str, copies: int
) -> tuple[SideBySide, Iterator[Batch], Callable[[SideBySide], list[Tensor]]]:
    """Make the networks, their batches, and what scores them."""
    symbols, count, context = read(task)
    width, hidden = (32, 64) if task == "words" else (16, 128)
    before = torch.arange(-context, 0)
    balanced = task == "balanced"
    cuts = [round(share * len(symbols)) for share in (0.92, 0.96, 1)]
    seeds = [seed for seed in SEEDS for _ in range(copies)]
    networks = SideBySide([next_symbol(seed, count, context, width, hidden) for seed in seeds])

    known = symbols[context : cuts[0]]
    places_of = [(known == symbol).nonzero()[:, 0] + context for symbol in range(count)]
    places_of = [places for places in places_of if len(places)]

    def draw(number: int, source: torch.Generator) -> Tensor:
        if not balanced:
            return torch.randint(context, cuts[0], (number,), generator=source)
        of = torch.randint(len(places_of), (number,), generator=source).tolist()
        which = torch.rand(number, generator=source).tolist()
        return torch.stack(
            [places_of[i][int(u * len(places_of[i]))] for i, u in zip(of, which, strict=True)]
        )

    def batches() -> Iterator[Batch]:
        sources = {seed: torch.Generator().manual_seed(seed) for seed in SEEDS}
        for _ in range(LENGTHS[task][-1]):
            drawn = {seed: draw(100, source) for seed, source in sources.items()}
            places = torch.stack([drawn[seed] for seed in seeds])
            yield symbols[places[..., None] + before], symbols[places]

    def score(networks: SideBySide) -> list[Tensor]:
        losses = []
        for start, end in pairwise(cuts):
            places = torch.arange(start + context, end, 2 if task == "words" else 8)
            if balanced:
                places = draw(2000, torch.Generator().manual_seed(start))
            total = torch.zeros(len(networks))
            for some in places.split(250):
                answers = networks(symbols[some[:, None] + before][None])
                targets = symbols[some].expand(len(networks), -1)
                each = F.cross_entropy(answers.mT, targets, reduction="none")
                total += each.sum(1)
            losses.append(total / len(places))
        return losses

    return networks, batches(), score


def run(task: str, rule: str) -> Iterator[list]:
    """Train the networks of all rates and seeds with one rule: their rows."""
    make, halves = RULES[rule]
    halves = FINER[rule] if task == "finer" else tuple(halves)
    rates = [10 ** (half / 2) for half in halves]
    make_task = of_garments if task == "small" else of_text
    networks, batches, score = make_task(task, len(rates))
    lengths = LENGTHS[task]
    rows: list[list] = []

    def watch(steps: int) -> None:
        if steps in lengths:
            chosen, end = (scores.tolist() for scores in score(networks))
            pairs = [(seed, half) for seed in SEEDS for half in halves]
            for (seed, half), a, b in zip(pairs, chosen, end, strict=True):
                rate = f"{10 ** (half / 2):.2g}"
                rows.append([task, rule, rate, seed, steps, round(a, 3), round(b, 3)])

    fit_all(networks, batches, make, watch=watch, lr=rates * len(SEEDS))
    yield from sorted(rows, key=lambda row: (row[4], float(row[2]), row[3]))


if __name__ == "__main__":
    write_table(
        __file__,
        HEAD,
        (row for task, rules in TASKS.items() for rule in rules for row in run(task, rule)),
    )
