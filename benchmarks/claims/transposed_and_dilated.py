"""Do holes and the way up matter after longer runs? Behind transposed and dilated convolution.

    python benchmarks/claims/transposed_and_dilated.py    # writes the .csv beside it; 3 CPU-minutes

The chapter's short runs, longer and at three rates each. *Clean*: three dilated layers mend
garments of which 30 % of the pixels are spoilt. *Product*: they learn the product of two pixels.
*Label*: networks that differ in how they go up name the garment at every pixel. One row for each
network and number of steps.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor, nn

from d2lite.data import LabelledImages, fashion_mnist
from d2lite.optim import Adam
from d2lite.side_by_side import SideBySide, fit_all

HEAD = ["Task", "Network", "Rate", "Seed", "Steps", "Measure", "Value"]
Row = tuple[str, str, float, int, int, str, float]
train, test = fashion_mnist()


def up(way: str, before: int, after: int) -> list[nn.Module]:
    """Enlarge twofold."""
    if way == "nearest":
        return [nn.Upsample(scale_factor=2), nn.Conv2d(before, after, 3, padding=1)]
    if way == "sub-pixel":
        return [nn.Conv2d(before, 4 * after, 3, padding=1), nn.PixelShuffle(2)]
    return [nn.ConvTranspose2d(before, after, 4, 2, padding=1)]


def dilated(dilations: tuple[int, ...]) -> nn.Sequential:
    """Three layers of 16 channels, then one number a pixel."""
    layers: list[nn.Module] = []
    for i, d in enumerate(dilations):
        layers += [nn.Conv2d(16 if i else 1, 16, 3, padding=d, dilation=d), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(16, 1, 1))


def labeller(way: str) -> nn.Sequential:
    """Down to a quarter and up again: four scores for each pixel."""
    down = [nn.Conv2d(1, 16, 3, 2, padding=1), nn.ReLU()]
    down += [nn.Conv2d(16, 32, 3, 2, padding=1), nn.ReLU()]
    down += [nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*down, *up(way, 32, 16), nn.ReLU(), *up(way, 16, 4))


def spoil(images: Tensor) -> Tensor:
    """Replace 30 % of the pixels by random values."""
    return torch.where(torch.rand_like(images) < 0.3, torch.rand_like(images), images)


def scenes(garments: LabelledImages, count: int) -> tuple[Tensor, Tensor]:
    """Paste two small garments of three kinds into each noisy picture; a label for each pixel."""
    small = F.avg_pool2d(garments.images, 2)[:, 0]
    kinds = torch.tensor([1, 8, 9])
    some = torch.isin(garments.labels, kinds).nonzero()[:, 0]
    images = torch.zeros(count, 28, 28)
    labels = torch.zeros(count, 28, 28, dtype=torch.long)
    for n in range(count):
        for i in some[torch.randint(len(some), (2,))]:
            y, x = torch.randint(15, (2,)).tolist()
            place = n, slice(y, y + 14), slice(x, x + 14)
            inside = small[i] > 0.1
            images[place][inside] = small[i][inside]
            labels[place][inside] = 1 + int((kinds == garments.labels[i]).nonzero())
    return images[:, None] + 0.2 * torch.randn(count, 1, 28, 28), labels


Look = Callable[[nn.Module], dict[str, float]]


def rows(
    task: str,
    name: str,
    make: Callable[[], nn.Module],
    batch: Callable[[], tuple[Tensor, Tensor]],
    loss: Callable[..., Tensor],
    look: Look,
    rates: tuple[float, ...],
    steps: tuple[int, ...],
    seeds: int = 3,
) -> Iterator[Row]:
    """Train networks at all rates from all seeds, side by side, and look at some steps."""
    who = [(rate, seed) for rate in rates for seed in range(seeds)]
    networks = []
    for _, seed in who:
        torch.manual_seed(seed)
        networks.append(make())
    together = SideBySide(networks)
    found: list[Row] = []

    def watch(step: int) -> None:
        if step in steps:
            for r, (rate, seed) in enumerate(who):
                values = look(together[r].eval())
                found.extend((task, name, rate, seed, step, m, v) for m, v in values.items())

    torch.manual_seed(0)
    batches = ((x[None], y[None]) for x, y in (batch() for _ in range(max(steps))))
    settings: dict[str, Any] = {"lr": [rate for rate, _ in who], "loss": loss, "watch": watch}
    fit_all(together, batches, Adam, **settings)
    yield from found


def squares(answers: Tensor, targets: Tensor) -> Tensor:
    """Compare number by number."""
    return (answers - targets).square()


def all_rows() -> Iterator[Row]:
    """Run the three tasks."""
    targets = test.images[:500]
    torch.manual_seed(1)
    spoilt = spoil(targets)

    def spoilt_and_whole() -> tuple[Tensor, Tensor]:
        images = train.images[torch.randint(0, len(train.images), (8,))]
        return spoil(images), images

    for dilations in ((1, 1, 1), (2, 2, 2), (1, 2, 5)):
        name = ", ".join(map(str, dilations))
        make = lambda dilations=dilations: dilated(dilations)  # noqa: E731
        clean = lambda net: {"error": float(F.mse_loss(net(spoilt), targets))}  # noqa: E731
        yield from rows(
            "clean", name, make, spoilt_and_whole, squares, clean, (0.003, 0.01, 0.03), (100, 300)
        )

    for dilations, gap in (((2, 2, 2), 1), ((2, 2, 2), 6), ((1, 2, 5), 6)):
        name = ", ".join(map(str, dilations)) + f", {gap} apart"

        def signs(gap: int = gap) -> tuple[Tensor, Tensor]:
            X = torch.randint(0, 2, (4, 1, 12, 24)) * 2.0 - 1
            return X, X * X.roll(gap, -1)

        def inside(answers: Tensor, wanted: Tensor) -> Tensor:
            return (answers - wanted)[..., 8:-8].square()

        torch.manual_seed(2)
        many = [signs() for _ in range(20)]
        X, Y = (torch.cat(parts) for parts in zip(*many, strict=True))
        score = lambda net, X=X, Y=Y: {"score": 1 - float(inside(net(X), Y).mean())}  # noqa: E731
        make = lambda dilations=dilations: dilated(dilations)  # noqa: E731
        yield from rows(
            "product", name, make, signs, inside, score, (0.002, 0.005, 0.015), (150, 1000)
        )

    torch.manual_seed(0)
    pictures, labels = scenes(train[:8000], 2000)
    shown, truth = scenes(train[8000:], 500)

    def some() -> tuple[Tensor, Tensor]:
        indices = torch.randint(0, len(pictures), (25,))
        return pictures[indices], labels[indices]

    def right(net: nn.Module) -> dict[str, float]:
        hits = (net(shown).argmax(1) == truth).float()
        return {"pixels": float(hits.mean()), "garments": float(hits[truth > 0].mean())}

    each = lambda answers, labels: F.cross_entropy(answers, labels, reduction="none")  # noqa: E731
    for way in ("kernel 4", "nearest", "sub-pixel"):
        make = lambda way=way: labeller(way)  # noqa: E731
        yield from rows("label", way, make, some, each, right, (0.003, 0.01, 0.03), (240,))


if __name__ == "__main__":
    write_table(__file__, HEAD, ([*row, f"{value:.5f}"] for *row, value in all_rows()))
