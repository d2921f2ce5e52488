"""Do several kernel sizes pay? The long run behind the chapter on GoogLeNet.

    python benchmarks/claims/googlenet.py    # writes googlenet.csv beside it; about 6 CPU-minutes

Garments of 14 × 14 pixels; a 3 × 3 convolution to 16 channels and a pooling to 7 × 7; then two
Inception modules, or a rival at the same multiply-adds: two 3 × 3 convolutions; four, which are
as deep as the modules; two of them behind 1 × 1 reductions; or modules with 3 × 3 in the place of
5 × 5, behind a wider reduction. All with batch normalization. They learn from 2,000 garments, 200
steps of 32, by SGD with Nesterov's momentum of 0.9 at a rate that rises and falls as in ``fit``:
rates to both sides of the best, five seeds each. One row for each network: its loss over the last
30 steps; its accuracy on the garments it has learned from, on 2,000 others to choose the rate by,
and on those to test.
"""

from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor, nn

from d2lite.data import fashion_mnist
from d2lite.nets.googlenet import Inception, Unit, conv_norm
from d2lite.schedules import triangular
from d2lite.side_by_side import SideBySide, evaluate_all, fit_all, orders
from d2lite.trace import trace

HEAD = ["Network", "Rate", "Seed", "Parameters", "Multiply-adds", "Loss"]
HEAD += ["Train, %", "Chosen by, %", "Test, %"]
SEEDS, STEPS, BATCH = 5, 200, 32
train, test = fashion_mnist()
pixels, new = (F.avg_pool2d(data.images, 2)[None] for data in (train, test))
labels, new_labels = train.labels[None], test.labels[None]


class Beside(nn.ModuleList):
    """Branches side by side, whose channels are concatenated: (N, …) → (N, C, …)."""

    def forward(self, x: Tensor) -> Tensor:
        """Ask each."""
        return torch.cat([branch(x) for branch in self], 1)


class Networks(SideBySide):
    """R networks, each a row of ``Beside``, as one; a branch of all of them is computed at once."""

    def __init__(self, models: list[nn.Sequential]) -> None:
        nn.Module.__init__(self)
        self._count = len(models)
        self.stages = nn.ModuleList(
            nn.ModuleList(map(SideBySide, zip(*stage, strict=True)))
            for stage in zip(*models, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Answer for each: (R or 1, N, …) → (R, N, 10)."""
        for branches in self.stages:
            x = torch.cat([branch(x) for branch in branches], 2)
        return x


def network(*stages: list[nn.Module], channels: int) -> nn.Sequential:
    """Put stages between a convolution and a linear layer that reads the mean of each map."""
    stem = nn.Sequential(conv_norm(1, 16, 3), nn.MaxPool2d(2))
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))
    return nn.Sequential(*map(Beside, ([stem], *stages, [head])))


def in_a_row(*channels: int) -> nn.Sequential:
    """3 × 3 convolutions, and nothing else."""
    layers = [conv_norm(c, n, 3) for c, n in zip((16, *channels), channels, strict=False)]
    return network([nn.Sequential(*layers)], channels=channels[-1])


def modules(reduced: int = 4, unit: Unit = conv_norm) -> nn.Sequential:
    """Two Inception modules: 16 → 56 → 56 channels."""
    stages = [Inception(channels, (16, 16, 24, reduced, 8, 8), unit) for channels in (16, 56)]
    return network(*(list(stage.children()) for stage in stages), channels=56)


def no_larger(in_channels: int, channels: int, kernel_size: int) -> nn.Module:
    """3 × 3 for 5 × 5, as torchvision has it."""
    return conv_norm(in_channels, channels, min(kernel_size, 3))


def with_reductions() -> nn.Sequential:
    """3 × 3 convolutions to 55 channels, behind 1 × 1 to 11."""
    pairs = [(conv_norm(c, 11, 1), conv_norm(11, 55, 3)) for c in (16, 55)]
    return network([nn.Sequential(*pairs[0], *pairs[1])], channels=55)


NETWORKS = {
    "Inception": (modules, (0.03, 0.1, 0.3)),
    "two 3 × 3": (partial(in_a_row, 29, 29), (0.03, 0.1, 0.3, 1.0)),
    "four 3 × 3": (partial(in_a_row, 18, 18, 18, 18), (0.03, 0.1, 0.3, 1.0)),
    "two reduced 3 × 3": (with_reductions, (0.03, 0.1, 0.3, 1.0)),
    "Inception, 3 × 3 for 5 × 5": (partial(modules, 9, no_larger), (0.03, 0.1, 0.3, 1.0)),
}


def run(name: str) -> Iterator[list]:
    """Train one kind of network at its rates, five seeds each; a row for each."""
    make, rates = NETWORKS[name]
    models, settings = [], [(rate, seed) for rate in rates for seed in range(SEEDS)]
    for _, seed in settings:
        torch.manual_seed(seed)
        models.append(make())
    networks = Networks(models)
    order = orders(2000, BATCH, STEPS, [seed for _, seed in settings])
    batches = ((pixels[0, i], train.labels[i]) for i in order)
    descent = {"lr": [rate for rate, _ in settings], "momentum": 0.9, "nesterov": True}
    losses = fit_all(networks, batches, schedule=triangular(STEPS), **descent)
    columns = [losses[-30:].mean(0)]
    for x, y in (
        (pixels[:, :2000], labels[:, :2000]), (pixels[:, 8000:], labels[:, 8000:]),
        (new, new_labels),
    ):  # fmt: skip
        columns.append(100 * evaluate_all(networks, x, y))
    counted = trace(models[0], (1, 14, 14))
    sizes = [counted.total_parameters, counted.total_multiply_adds]
    for (rate, seed), *row in zip(settings, *(c.tolist() for c in columns), strict=True):
        yield [name, rate, seed, *sizes, *(f"{value:.4g}" for value in row)]


if __name__ == "__main__":
    write_table(__file__, HEAD, (row for name in NETWORKS for row in run(name)))
