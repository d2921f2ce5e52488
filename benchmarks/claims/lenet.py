"""What of today's LeNet matters, and why is the sigmoid slow? The long run behind the chapter.

    python benchmarks/claims/lenet.py    # writes lenet.csv beside it; about 9 CPU-minutes

Networks learn 2,000 garments, or 8,000, in batches of 32 by Nesterov's momentum of 0.9. The rate is
constant for the first question, and for the others rises and falls, as that of `fit` does.
Four questions:

- "fault": the sigmoid with its slope of ¼ and its value of ½ at 0, with one of them mended, with
  both; and the sigmoid started as the very same function as the one with both mended. On garments
  of 14 × 14, at seven rates.
- "changes": ReLU and tanh, max and average pooling, on 28 × 28.
- "features": LeNet with convolutions that stay as they were drawn, and networks without any.
- "longer": does the plain sigmoid get going in 3,000 steps?

One row for each network: after how many steps its loss, a mean over 20 steps, is below 1; and its
accuracy at the end on 1,000 garments to choose by and on 2,000 to test.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor, nn

from d2lite.data import fashion_mnist
from d2lite.nets.lenet import initialize
from d2lite.schedules import triangular
from d2lite.side_by_side import SideBySide, evaluate_all, fit_all, orders

HEAD = ["Question", "Garments", "Pixels", "Network", "Rate", "Seed", "Steps"]
HEAD += ["Steps to a loss of 1", "Chosen by, %", "Test, %"]
SEEDS = 5
RATES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
PEAKS = (0.01, 0.03, 0.1, 0.3)
train, test = fashion_mnist()
data = [train[:2000], train[8000:9000], test[:2000]]  # to learn from, to choose by, to test
labels = [part.labels for part in data[1:]]
full = [part.images for part in data]
halved = [F.avg_pool2d(images, 2) for images in full]


class Squash(nn.Module):
    """A sigmoid, stretched and moved: slope · (σ(x) − ½) · 4 + middle."""

    def __init__(self, slope: float, middle: float) -> None:
        super().__init__()
        self.slope, self.middle = slope, middle

    def forward(self, x: Tensor) -> Tensor:
        """Compute it, for each number by itself."""
        return 4 * self.slope * (torch.sigmoid(x) - 0.5) + self.middle


def lenet(activation: nn.Module, pool: type = nn.AvgPool2d, side: int = 28) -> nn.Sequential:
    """LeNet's layers in a row; for pictures of 14 × 14, C3 has kernels of 3 × 3."""
    kernel_size, inputs = (5, 16 * 25) if side == 28 else (3, 16 * 4)
    model = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), activation, pool(2),
        nn.Conv2d(6, 16, kernel_size), activation, pool(2),
        nn.Flatten(),
        nn.Linear(inputs, 120), activation,
        nn.Linear(120, 84), activation,
        nn.Linear(84, 10),
    )  # fmt: skip
    initialize(model, torch.relu if isinstance(activation, nn.ReLU) else torch.tanh)
    return model


@torch.no_grad()
def same_start(side: int) -> nn.Sequential:
    """A network of sigmoids that begins as the very same function as one of 4σ − 2.

    A layer behind it computes W (4σ − 2) + b = 4W σ + (b − 2 W 1): so its weights are made four
    times as large, and its bias takes up the rest.
    """
    model = lenet(nn.Sigmoid(), side=side)
    for layer in (model[3], model[7], model[9], model[11]):
        layer.bias -= 2 * layer.weight.flatten(1).sum(1)
        layer.weight *= 4
    return model


FAULTS: dict[str, Callable[[int], nn.Sequential]] = {
    "slope 1/4, middle 1/2": lambda side: lenet(nn.Sigmoid(), side=side),
    "slope 1/4, middle 0": lambda side: lenet(Squash(0.25, 0), side=side),
    "slope 1, middle 1/2": lambda side: lenet(Squash(1, 0.5), side=side),
    "slope 1, middle 0": lambda side: lenet(Squash(1, 0), side=side),
    "slope 1, middle 2": lambda side: lenet(Squash(1, 2), side=side),
    "sigmoid, same start": same_start,
}
CHANGES = {
    f"{name}, {pooling}": partial(lenet, activation(), pool)
    for name, activation in {"ReLU": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}.items()
    for pooling, pool in {"max": nn.MaxPool2d, "average": nn.AvgPool2d}.items()
}


def dense() -> nn.Sequential:
    """As many parameters as LeNet has, and no convolution."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 77), nn.ReLU(), nn.Linear(77, 10))
    initialize(model, torch.relu)
    return model


def run(
    question: str,
    pixels: str,
    name: str,
    make: Callable[[], nn.Module],
    inputs: Sequence[Tensor],
    rates: Sequence[float],
    epochs: int = 5,
) -> Iterator[list]:
    """Train one kind of network at some rates, five seeds each; a row for each.

    Inputs are (N, …), the same for all, or (seeds, N, …): to learn from, to choose by, to test.
    """
    seeds = list(range(SEEDS)) * len(rates)
    lr = torch.tensor(rates).repeat_interleave(SEEDS)
    models = []
    for seed in seeds:
        torch.manual_seed(seed)
        models.append(make())
    networks = SideBySide(models)
    own = inputs[0].ndim == 3  # features, of each seed
    row = torch.tensor(seeds)[:, None]
    count = inputs[0].shape[own]
    total = epochs * math.ceil(count / 32)
    batches = (
        (inputs[0][row, i] if own else inputs[0][i], train.labels[i])
        for i in orders(count, 32, total, seeds)
    )
    constant = question == "fault"
    rule = {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
    rule |= {} if constant else {"schedule": triangular(total)}
    losses = fit_all(networks, batches, lr=lr, **rule)
    below = losses.unfold(0, 20, 1).mean(-1) < 1
    needed = torch.where(below.any(0), below.int().argmax(0) + 20, 0)
    chosen_by, tested = (
        100 * evaluate_all(networks, part[seeds] if own else part[None], truth[None])
        for part, truth in zip(inputs[1:], labels, strict=True)
    )
    for rate, seed, *found in zip(lr, seeds, needed, chosen_by, tested, strict=True):
        steps, *accuracies = (float(value) for value in found)
        start = [question, count, pixels, name, f"{rate:.3g}", seed, total, int(steps) or ""]
        yield [*start, *(f"{value:.4g}" for value in accuracies)]


def fault_on_small() -> Iterator[list]:
    """Mend the sigmoid's slope, its middle, or both; the whole grid, on pictures of 14 × 14."""
    for name, make in FAULTS.items():
        yield from run("fault", "14", name, partial(make, 14), halved, RATES, 6)


def changes(name: str) -> Iterator[list]:
    """Max and average pooling, with one activation."""
    for pooling in ("max", "average"):
        make = CHANGES[f"{name}, {pooling}"]
        yield from run("changes", "28", f"{name}, {pooling}", make, full, PEAKS)


def features() -> Iterator[list]:
    """8,000 garments: convolutions that learn, that stay as they were drawn, and none."""
    images = [train[:8000].images, *full[1:]]
    heads, drawn = [], []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        model = CHANGES["ReLU, max"]()
        heads.append(model[7:])
        with torch.no_grad():
            drawn.append([model[:7](part) for part in images])
    inputs = [torch.stack(parts) for parts in zip(*drawn, strict=True)]
    given = iter(heads * len(PEAKS))
    name = "convolutions as drawn"
    yield from run("features", "28", name, lambda: next(given), inputs, PEAKS, 4)
    flat = [part.flatten(1) for part in images]
    yield from run("features", "28", "no convolution", dense, flat, PEAKS, 4)
    yield from run("features", "28", "linear", lambda: nn.Linear(784, 10), flat, PEAKS, 4)
    yield from run("features", "28", "all learned", CHANGES["ReLU, max"], images, PEAKS, 4)


def longer() -> Iterator[list]:
    """The plain sigmoid, twelve passes over 8,000 garments: 3,000 steps."""
    images, name = [train[:8000].images, *full[1:]], "sigmoid, average"
    yield from run("longer", "28", name, CHANGES[name], images, (0.3, 1.0), 12)


if __name__ == "__main__":
    parts = [fault_on_small(), changes("ReLU"), changes("tanh"), features(), longer()]
    write_table(__file__, HEAD, (row for part in parts for row in part))
