"""What do the mean and the 1 × 1 layers do? The long run behind the chapter on NiN.

    python benchmarks/claims/nin.py    # writes nin.csv beside it; about 10 CPU-minutes

A NiN for garments of 14 × 14 pixels: mlpconv layers of 16, 24 and 32 maps of 7 × 7, batch
normalization, and a head. 1,000 garments to learn from, 300 steps of 50 with Nesterov's momentum
of 0.9 and a rate that rises and falls, as ``fit`` has it. One row for each network.

- heads: mean, max, one linear layer on all pixels (flatten), two dense layers; and learned from
  garments that are moved by up to 4 of 28 pixels, at random in each step;
- layers: without the 1 × 1 layers, and wider until parameters and multiply-adds are equal; and with
  3 × 3 in their place, narrower until they are equal;
- start: without batch normalization, 200 steps, with and without the last ReLU.

Of heads and layers, seeds 10 and 11 choose the rate, on 1,000 other garments; seeds 0 to 4 have
that rate, and are tested: at the end, where 1,000 other garments would have stopped them, at 95 %
in training, and with test garments moved by 1 to 4 pixels, mean of four directions. Of the dense
layers with dropout two rates stand, which the choice does not tell apart.
"""

from collections.abc import Callable, Iterator
from functools import cache

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor, nn

from d2lite.data import fashion_mnist
from d2lite.initializers import he_start_
from d2lite.schedules import triangular
from d2lite.side_by_side import SideBySide, evaluate_all, fit_all, orders

HEAD = ["Question", "Network", "Parameters", "Rate", "Seed", "Loss", "Train, %", "Chosen by, %"]
HEAD += ["Test, %", "Stopped early, %", "At 95 % in training, %"]
HEAD += [*(f"Moved by {pixels}, %" for pixels in (1, 2, 3, 4)), "Dead scores"]
RATES, SEEDS = (0.03, 0.1, 0.3, 1.0, 3.0), (0, 1, 2, 3, 4)
START_RATES = (0.003, 0.01, 0.03, 0.1, 0.3)
COUNT, BATCH, STEPS, START_STEPS = 1000, 50, 300, 200
train, test = fashion_mnist()
labels = train.labels


def moved(images: Tensor, down: int, right: int) -> Tensor:
    """Move images of 28 × 28 by some pixels, and halve them."""
    return F.avg_pool2d(F.pad(images, (right, -right, down, -down)), 2)


learned, chosen_by = moved(train.images[:COUNT], 0, 0), moved(train.images[8000:9000], 0, 0)
tests = {0: [moved(test.images[:1000], 0, 0)]}
for s in (1, 2, 3, 4):
    ways = [(s, 0), (-s, 0), (0, s), (0, -s)]
    tests[s] = [moved(test.images[:1000], *way) for way in ways]


@cache
def everywhere() -> Tensor:
    """The garments to learn from at 81 places: (81, 1000, 1, 14, 14)."""
    places = [(down, right) for down in range(-4, 5) for right in range(-4, 5)]
    return torch.stack([moved(train.images[:COUNT], *place) for place in places])


def layers(
    *blocks: tuple[int, ...], kernel_size: int = 1, norm: bool = True, last_relu: bool = True
) -> list[nn.Module]:
    """Make mlpconv layers: each begins with 3 × 3, the first of all with stride 2."""
    result: list[nn.Module] = []
    channels, stride = 1, 2
    for widths in blocks:
        for i, width in enumerate(widths):
            k = kernel_size if i else 3
            result.append(nn.Conv2d(channels, width, k, stride, padding=k // 2))
            result += [nn.BatchNorm2d(width)] * norm + [nn.ReLU()]
            channels, stride = width, 1
    return result if last_relu else result[:-1]


FIRST = ((16, 16, 16), (24, 24, 24))
NIN = (*FIRST, (32, 32, 10))
MEAN = (nn.AvgPool2d(7), nn.Flatten())


def dense(last: tuple[int, ...], hidden: int, p: float = 0.0) -> list[nn.Module]:
    """Two dense layers in place of the last 1 × 1 layer, as AlexNet ends."""
    head: list[nn.Module] = [nn.Flatten(), nn.Dropout(p), nn.Linear(49 * last[-1], hidden)]
    return [*layers(*FIRST, last), *head, nn.ReLU(), nn.Dropout(p), nn.Linear(hidden, 10)]


HEADS: dict[str, Callable[[], list[nn.Module]]] = {
    "mean": lambda: [*layers(*NIN), *MEAN],
    "max": lambda: [*layers(*NIN), nn.MaxPool2d(7), nn.Flatten()],
    "flatten": lambda: [*layers(*NIN), nn.Flatten(), nn.Linear(490, 10)],
    "dense": lambda: dense((32, 32), 64),
    "dense, dropout": lambda: dense((32, 32), 64, 0.5),
}
HEADS |= {f"{name}, moved": HEADS[name] for name in ("mean", "flatten")}
LAYERS: dict[str, Callable[[], list[nn.Module]]] = {
    "without, wider": lambda: [*layers((27,), (40,), (10,)), *MEAN],
    "3 × 3 for 1 × 1": lambda: [
        *layers((9, 9, 9), (14, 14, 14), (19, 19, 10), kernel_size=3), *MEAN
    ],
}  # fmt: skip
START: dict[str, Callable[[], list[nn.Module]]] = {
    "as published": lambda: [*layers(*NIN, norm=False), *MEAN],
    "no last ReLU": lambda: [*layers(*NIN, norm=False, last_relu=False), *MEAN],
}


def networks_of(make: Callable[[], list[nn.Module]], seeds: list[int]) -> SideBySide:
    """One network for each seed, with He's start."""
    models = []
    for seed in seeds:
        torch.manual_seed(seed)
        models.append(nn.Sequential(*make()))
        he_start_(models[-1])
    return SideBySide(models)


class Watch:
    """Accuracies on the way, every 25 steps: learned, chosen by, test."""

    def __init__(self, networks: SideBySide) -> None:
        self.networks = networks
        self.seen: list[Tensor] = []

    def __call__(self, step: int) -> None:
        """Ask all networks."""
        if step % 25 == 0:
            self.seen.append(torch.stack(accuracies(self.networks)))

    def stopped(self) -> Tensor:
        """Test accuracy where the accuracy on the garments to choose by was highest, (R,)."""
        seen = torch.stack(self.seen)  # (moments, 3, R)
        return seen[:, 2].gather(0, seen[:, 1].argmax(0)[None])[0]

    def at(self, known: float) -> list[float | None]:
        """Test accuracy where the one in training crosses ``known``, on a line between moments."""
        result: list[float | None] = []
        for t, _, e in torch.stack(self.seen).permute(2, 1, 0):
            i = int((t >= known).int().argmax())
            if not t[i] >= known or i == 0:
                result.append(None)
                continue
            way = (known - t[i - 1]) / (t[i] - t[i - 1])
            result.append(float(e[i - 1] + way * (e[i] - e[i - 1])))
        return result


def accuracies(networks: SideBySide) -> list[Tensor]:
    """On what is learned, what one chooses by, and the test: each (R,)."""
    return [
        evaluate_all(networks, images[None], truth[None])
        for images, truth in [
            (learned, labels[:COUNT]),
            (chosen_by, labels[8000:9000]),
            (tests[0][0], test.labels[:1000]),
        ]
    ]


def trained(
    networks: SideBySide, seeds: list[int], rates: list[float], steps: int, move: bool, watch=None
) -> Tensor:
    """Train all; losses of the last 20 steps, (R,)."""

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        places = torch.Generator().manual_seed(0)
        for i in orders(COUNT, BATCH, steps, seeds):
            if move:
                yield everywhere()[torch.randint(81, i.shape, generator=places), i], labels[i]
            else:
                yield learned[i], labels[i]

    losses = fit_all(
        networks, batches(), lr=rates, momentum=0.9, nesterov=True, weight_decay=5e-4,
        schedule=triangular(steps), watch=watch or (lambda step: None),
    )  # fmt: skip
    return losses[-20:].mean(0)


def percent(value: Tensor | float | None) -> str:
    """Round, for the table."""
    return "" if value is None else f"{100 * float(value):.1f}"


def compare(question: str, name: str) -> Iterator[list]:
    """Choose a rate by two seeds, then train five."""
    make = {"heads": HEADS, "layers": LAYERS}[question][name]
    move = name.endswith("moved")
    size = sum(p.numel() for p in nn.Sequential(*make()).parameters())
    dropout = name == "dense, dropout"
    tried = (0.003, 0.01, *RATES) if dropout else RATES
    seeds = [10, 11] * len(tried)
    rates = [rate for rate in tried for _ in range(2)]
    networks = networks_of(make, seeds)
    losses = trained(networks, seeds, rates, STEPS, move)
    known, choice, _ = accuracies(networks)
    for r, (rate, seed) in enumerate(zip(rates, seeds, strict=True)):
        row = [f"{losses[r]:.3f}", percent(known[r]), percent(choice[r])]
        yield [question, name, size, rate, seed, *row, *[""] * 8]
    best = [tried[int(choice.view(-1, 2).mean(1).argmax())]]
    if dropout:
        best = [0.01, 0.03]  # nearer to each other than two seeds can tell

    seeds, rates = list(SEEDS) * len(best), [rate for rate in best for _ in SEEDS]
    networks = networks_of(make, seeds)
    watch = Watch(networks)
    losses = trained(networks, seeds, rates, STEPS, move, watch)
    known, choice, right = accuracies(networks)
    stopped, at_95 = watch.stopped(), watch.at(0.95)
    shifted = [
        torch.stack([evaluate_all(networks, x[None], test.labels[None, :1000]) for x in four])
        for s, four in tests.items()
        if s
    ]
    for r, (rate, seed) in enumerate(zip(rates, seeds, strict=True)):
        row = [f"{losses[r]:.3f}", *map(percent, (known[r], choice[r], right[r], stopped[r]))]
        row += [percent(at_95[r]), *(percent(four[:, r].mean()) for four in shifted), ""]
        yield [question, name, size, rate, seed, *row]


def start(name: str) -> Iterator[list]:
    """Train at all rates, five seeds each, and count the scores that are 0 for all garments."""
    size = sum(p.numel() for p in nn.Sequential(*START[name]()).parameters())
    seeds = list(SEEDS) * len(START_RATES)
    rates = [rate for rate in START_RATES for _ in SEEDS]
    networks = networks_of(START[name], seeds)
    losses = trained(networks, seeds, rates, START_STEPS, move=False)
    with torch.no_grad():
        dead = (networks(learned[None]) == 0).all(1).sum(1)
    known, choice, right = accuracies(networks)
    for r, (rate, seed) in enumerate(zip(rates, seeds, strict=True)):
        row = [f"{losses[r]:.3f}", *map(percent, (known[r], choice[r], right[r]))]
        yield ["start", name, size, rate, seed, *row, *[""] * 6, int(dead[r])]


def runs() -> Iterator[Iterator[list]]:
    """List all groups of networks."""
    yield from (compare("heads", name) for name in HEADS)
    yield from (compare("layers", name) for name in LAYERS)
    yield from (start(name) for name in START)


if __name__ == "__main__":
    write_table(__file__, HEAD, (row for run in runs() for row in run))
