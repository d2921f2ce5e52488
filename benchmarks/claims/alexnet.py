"""ReLU or tanh, mirrored and moved, two poolings: the long runs behind the chapter on AlexNet.

    python benchmarks/claims/alexnet.py    # writes alexnet.csv beside it; about 11 CPU-minutes

Networks with AlexNet's plan, five convolutions and three dense layers, for garments of 14 × 14
pixels. Each kind first tries all rates of a grid; the best one then trains new seeds.

race
    ReLU and tanh, from two starts: today's (He's weights, each for its activation) and that of
    2012 (small weights; biases of 1 or of 0 in layers 2, 4, 5, 6 and 7), on three kinds of
    pixels. No normalization, no decay, a constant rate, batches of 20, as in the paper's first
    figure: how many steps until a quarter of the last 500 training images were wrong?
augmentation
    Batch normalization; 1,000 garments as they are, mirrored, moved by one pixel, both; for 250,
    1,000 and 2,500 steps. Accuracies on 2,000 test garments: as they are, mirrored, moved.
pooling
    Windows of 3 × 3 against 2 × 2, many seeds, accuracy on the test garments.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor, nn

from d2lite.data import fashion_mnist
from d2lite.data.augment import flip, shift
from d2lite.initializers import he_start_
from d2lite.schedules import triangular
from d2lite.side_by_side import SideBySide, evaluate_all, fit_all, orders

HEAD = ["Experiment", "Network", "Pixels", "Start", "Steps", "Rate", "Role", "Seed"]
HEAD += ["Steps to 25 %", "Last error, %", "Chosen by, %", "Test, %", "Mirrored, %", "Moved, %"]
BATCH, MOST = 20, 500
train, test = fashion_mnist()
halves, new = (F.avg_pool2d(data.images, 2) for data in (train, test))
labels = train.labels
mean_image = halves[:2000].mean(0)
PIXELS = {
    "0 to 1": halves,
    "centered": halves - mean_image,
    "0 to 255, centered": 255 * (halves - mean_image),
}
SEEN = (363, 1200, 2304, 1728, 1728, 9216, 4096, 4096)  # numbers that a unit of AlexNet adds up


def network(activation: type[nn.Module], norm: bool = False, window: int = 3) -> nn.Sequential:
    """Build AlexNet's plan for (N, 1, 14, 14), with today's start."""
    layers: list[nn.Module] = []
    before = 1
    for number, (channels, side) in enumerate([(8, 5), (16, 5), (16, 3), (16, 3), (16, 3)]):
        layers.append(nn.Conv2d(before, channels, side, padding=side // 2))
        layers += [nn.BatchNorm2d(channels), activation()] if norm else [activation()]
        if number < 2:  # 14 → 7 → 3
            layers.append(nn.MaxPool2d(window, 2, ceil_mode=window == 3))
        before = channels
    layers += [nn.Flatten(), nn.Linear(144, 64), activation(), nn.Linear(64, 64), activation()]
    model = nn.Sequential(*layers, nn.Linear(64, 10))
    if window == 2:  # 7 → 3 either way
        assert model(torch.zeros(2, 1, 14, 14)).shape == (2, 10)
    he_start_(model, "relu" if activation is nn.ReLU else "tanh")
    return model


def start_of_2012_(model: nn.Module, bias: float) -> None:
    """Draw weights whose sums are as large as those of the published network, σ = 0.01."""
    layers = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    for number, (layer, seen) in enumerate(zip(layers, SEEN, strict=True), 1):
        nn.init.normal_(layer.weight, std=0.01 * math.sqrt(seen / layer.weight[0].numel()))
        nn.init.constant_(layer.bias, bias if number in (2, 4, 5, 6, 7) else 0.0)


def runner(name: str, start: str) -> nn.Sequential:
    """Build a network of the race."""
    model = network({"ReLU": nn.ReLU, "tanh": nn.Tanh}[name])
    if start != "today":
        start_of_2012_(model, float(start[-1]))
    return model


def side_by_side(make: Callable[[], nn.Module], seeds: list[int]) -> SideBySide:
    """Build one network for each seed; the same seed gives the same weights."""
    models = []
    for seed in seeds:
        torch.manual_seed(seed)
        models.append(make())
    return SideBySide(models)


def race(
    name: str, pixels: str, start: str, rates: list[float], seeds: list[int]
) -> Iterator[tuple[int, float]]:
    """Count the steps until a quarter of 500 images were wrong, 0 for never; and the last error."""
    wrong: list[Tensor] = []

    def loss(scores: Tensor, targets: Tensor) -> Tensor:
        wrong.append((scores.argmax(1) != targets).float().view(len(seeds), -1).mean(1))
        return F.cross_entropy(scores, targets, reduction="none")

    networks = side_by_side(lambda: runner(name, start), seeds)
    images = PIXELS[pixels]
    batches = ((images[i], labels[i]) for i in orders(2000, BATCH, MOST, seeds))
    fit_all(networks, batches, loss=loss, lr=rates, momentum=0.9)
    recent = torch.stack(wrong).unfold(0, 25, 1).mean(2)  # (MOST − 24, R)
    for errors in recent.T:
        reached = (errors <= 0.25).nonzero().flatten()[:1].tolist()
        yield (reached[0] + 25 if reached else 0), errors[-1].item()


def runners() -> Iterator[tuple[str, str, str]]:
    """Name pixels, start, activation; to that of 2012 belong the biases that suit, and others."""
    for pixels in PIXELS:
        for start in ("today", "2012, biases 1", "2012, biases 0"):
            for name in ("ReLU", "tanh"):
                suits = start == "today" or (start[-1] == "1") == (name == "ReLU")
                if suits or pixels != "0 to 1":
                    yield pixels, start, name


def race_rows() -> Iterator[list]:
    """Give each runner two seeds at each rate, and five new seeds at the best."""
    small, large = [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3], [0.00001, 0.00003, 0.0001]
    for pixels, start, name in runners():
        grid = large + small[:-1] if pixels.startswith("0 to 255") else small
        row = ["race", name, pixels, start, MOST]
        rates, seeds = [r for r in grid for _ in range(2)], [10, 11] * len(grid)
        cost = dict.fromkeys(grid, 0.0)
        found = race(name, pixels, start, rates, seeds)
        for rate, seed, (steps, error) in zip(rates, seeds, found, strict=True):
            cost[rate] += steps or MOST * (1 + error)
            yield [*row, rate, "choose", seed, *result(steps, error)]
        best, seeds = min(grid, key=cost.__getitem__), list(range(5))
        for seed, (steps, error) in enumerate(race(name, pixels, start, [best] * 5, seeds)):
            yield [*row, best, "best", seed, *result(steps, error)]


def result(steps: int, error: float) -> list:
    """Fill the columns of a race."""
    return [steps or "never", f"{100 * error:.1f}", "", "", "", ""]


def moved(images: Tensor) -> Tensor:
    """Move each image by one pixel at most, the same each time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return shift(images)


Change = Callable[[Tensor], Tensor]
CHANGES: dict[str, Change] = {
    "as they are": lambda images: images,
    "mirrored": flip,
    "moved": shift,
    "both": lambda images: shift(flip(images)),
}


def trained(
    make: Callable[[], nn.Module], change: Change, count: int, steps: int,
    rates: list[float], seeds: list[int],
) -> list[list[str]]:  # fmt: skip
    """Train side by side: accuracies to choose by, on test garments, mirrored, moved; in %."""
    networks = side_by_side(make, seeds)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for i in orders(count, BATCH, steps, seeds):
            yield change(halves[i].flatten(0, 1)).unflatten(0, i.shape), labels[i]

    fit_all(
        networks, batches(), lr=rates, momentum=0.9, nesterov=True, weight_decay=5e-4,
        schedule=triangular(steps, 0.2),
    )  # fmt: skip
    exams = [(halves[8000:], labels[8000:])]
    exams += [(images, test.labels) for images in (new, new.flip(3), moved(new))]
    right = [100 * evaluate_all(networks, x[None, :2000], y[None, :2000]) for x, y in exams]
    return [[f"{value:.2f}" for value in row] for row in torch.stack(right, 1).tolist()]


def tuned(
    row: list, make: Callable[[], nn.Module], change: Change, count: int, lengths: list[int],
    seeds: list[int],
) -> Iterator[list]:  # fmt: skip
    """Give each rate two seeds and the first length; the best one new seeds, and all lengths."""
    grid = [0.01, 0.03, 0.1, 0.3]
    rates, first = [r for r in grid for _ in range(2)], [100, 101] * len(grid)
    found = trained(make, change, count, lengths[0], rates, first)
    chosen_by = dict.fromkeys(grid, 0.0)
    for rate, seed, numbers in zip(rates, first, found, strict=True):
        chosen_by[rate] += float(numbers[0])
        yield [*row, lengths[0], rate, "choose", seed, "", "", *numbers]
    best = max(grid, key=chosen_by.__getitem__)
    for steps in lengths:
        found = trained(make, change, count, steps, [best] * len(seeds), seeds)
        for seed, numbers in zip(seeds, found, strict=True):
            yield [*row, steps, best, "best", seed, "", "", *numbers]


def augmentation_rows() -> Iterator[list]:
    """1,000 garments changed in four ways; three lengths."""
    make = partial(network, nn.ReLU, norm=True)
    for name, change in CHANGES.items():
        row = ["augmentation", f"1,000 {name}", "0 to 1", "today"]
        yield from tuned(row, make, change, 1000, [1000, 250, 2500], list(range(5)))


def pooling_rows() -> Iterator[list]:
    """Many seeds of each, the same ones."""
    for window in (3, 2):
        make = partial(network, nn.ReLU, norm=True, window=window)
        row = ["pooling", f"windows of {window} × {window}", "0 to 1", "today"]
        yield from tuned(row, make, CHANGES["as they are"], 2000, [400], list(range(50)))


def rows() -> Iterator[list]:
    """All three experiments, one after the other."""
    yield from race_rows()
    yield from pooling_rows()
    yield from augmentation_rows()


if __name__ == "__main__":
    write_table(__file__, HEAD, rows())
