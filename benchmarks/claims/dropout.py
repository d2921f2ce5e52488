"""Dropout: data or steps, and which rivals? The long run behind the chapter on dropout.

    python benchmarks/claims/dropout.py    # writes dropout.csv beside it; about 6 CPU-minutes

Pictures halved to 14 × 14, two hidden layers, batches of 50, Adam. Each network is watched on its
way: its accuracy on (500 of) the garments that it learns from, on 2,000 for choosing, and on 5,000
of the test, always with all units in place. So one run has each length, and stopping early, too.

- ``true``: 500 garments, 1,600 steps, or 8,000 garments, up to 3,200; 128 units with p from 0 to
  0.75, and 64 with none.
- ``noisy``: 500 garments, 40 % of them with a label thrown with a die, 800 steps; dropout, or
  AdamW's decay.

Each with five seeds at each of three rates, and what opens the chapter at a fourth; a seed has its
garments, weights and order. One row for each network.
"""

from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor, nn

from d2lite.data import fashion_mnist
from d2lite.side_by_side import SideBySide, evaluate_all, fit_all, orders

STEPS = [50, 70, 100, 140, 200, 280, 400, 560, 800, 1120, 1600, 2240, 3200]
RATES, SEEDS = [0.0005, 0.0015, 0.0045], range(5)
HEAD = ["Labels", "Images", "Units", "p", "Decay", "Rate", "Seed"]
HEAD += [f"{on} {steps}" for on in ("Own", "Choosing", "Test") for steps in STEPS]


def network(seed: int, units: int, p: float) -> nn.Sequential:
    """Build the chapter's network, for pictures of 14 × 14."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(196, units), nn.ReLU(), nn.Dropout(p),
        nn.Linear(units, units), nn.ReLU(), nn.Dropout(p), nn.Linear(units, 10),
    )  # fmt: skip


def lesson(seed: int, count: int, noise: float) -> tuple[Tensor, Tensor]:
    """Draw garments from the first 8,000, (count,), and their labels, a share of them at random."""
    source = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(8000, generator=source)[:count]
    labels, wrong = TRAIN.labels[chosen].clone(), round(noise * count)
    labels[:wrong] = torch.randint(10, (wrong,), generator=source)
    return chosen, labels


def settings() -> Iterator[tuple[str, int, int, float, float, float, int]]:
    """How five networks are made and trained, and for how many steps."""
    for rate in RATES:
        for units, p in [(64, 0), (128, 0), (128, 0.25), (128, 0.5), (128, 0.75)]:
            yield "true", 500, units, p, 0, rate, 1600
        for p in (0, 0.25, 0.5):
            yield "true", 8000, 128, p, 0, rate, 3200
        yield "true", 8000, 64, 0, 0, rate, 1600
        for p, decay in [(0, 0), (0.5, 0), (0.7, 0), (0.85, 0), (0, 1), (0, 3), (0, 10)]:
            yield "noisy", 500, 128, p, decay, rate, 800
    for units, p in [(64, 0), (128, 0), (128, 0.5)]:  # is the highest rate above the best one?
        yield "true", 500, units, p, 0, 0.0135, 1600


def run(
    labels: str, count: int, units: int, p: float, decay: float, rate: float, steps: int
) -> list[list[object]]:
    """Train five networks side by side; accuracies of each, in percent, as in a row."""
    drawn = [lesson(seed, count, 0.4 if labels == "noisy" else 0.0) for seed in SEEDS]
    chosen, names = (torch.stack(parts) for parts in zip(*drawn, strict=True))
    networks = SideBySide([network(seed, units, p) for seed in SEEDS])
    rows = torch.arange(len(SEEDS))[:, None]
    batches = (
        (TRAIN_IMAGES[chosen[rows, i]], names[rows, i])
        for i in orders(count, 50, steps, list(SEEDS))
    )
    own = TRAIN_IMAGES[chosen[:, -500:]], names[:, -500:]
    if labels == "noisy":  # also those with a wrong label
        own = TRAIN_IMAGES[chosen], names
    choosing = TRAIN_IMAGES[None, 8000:], TRAIN.labels[None, 8000:]
    test = TEST_IMAGES[None], TEST.labels[None, :5000]
    seen: list[Tensor] = []

    def watch(step: int) -> None:
        if step in STEPS:
            seen.append(torch.stack([evaluate_all(networks, *d) for d in (own, choosing, test)]))

    adam = partial(torch.optim.AdamW, fused=True, weight_decay=decay)
    if not decay:
        adam = partial(torch.optim.Adam, fused=True)
    fit_all(networks, batches, optimizer=adam, lr=rate, weight_decay=decay, watch=watch)
    shares = 100 * torch.stack(seen)  # (moments, 3, seeds)
    missing = len(STEPS) - len(seen)
    return [
        [x for on in shares[..., i].T for x in [round(v, 1) for v in on.tolist()] + [""] * missing]
        for i in range(len(SEEDS))
    ]


TRAIN, TEST = fashion_mnist()
TRAIN_IMAGES = F.avg_pool2d(TRAIN.images, 2)
TEST_IMAGES = F.avg_pool2d(TEST.images[:5000], 2)

if __name__ == "__main__":
    write_table(
        __file__,
        HEAD,
        (
            [*setting[:-1], seed, *accuracies]
            for setting in settings()
            for seed, accuracies in zip(SEEDS, run(*setting), strict=True)
        ),
    )
