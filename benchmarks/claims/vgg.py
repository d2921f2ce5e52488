"""Small kernels, starts, and doubling: the long runs behind the chapter on VGG.

    python benchmarks/claims/vgg.py    # writes vgg.csv beside it; about 10 CPU-minutes

*Kernels*: two blocks, on maps of 28 × 28 and of 14 × 14, at equal parameters and multiply-adds:
three layers of 3 × 3 with a ReLU behind each, the same with one ReLU a block, one of 7 × 7, and a
single 3 × 3 with more channels, which sees less; and a single 3 × 3 of the same channels, for a
third of the price. Batch normalization behind each convolution; 4,000 garments, 250 steps of 32.
*Doubling*: three blocks of two convolutions at equal multiply-adds, on garments of 14 × 14, whose
channels double, stay, or halve; 120 steps, the rest likewise.
*Starts*: 11 and 16 layers as in configurations A and D, with 16 channels each and no normalization
unless said, on garments of 7 × 7. "2014's" draws each weight as much smaller than He's start as a
deviation of 0.01 is in the layer of VGG at the same place, so that the signal fades as it did
there. "A first" takes the first four and the last three layers from a trained network of 11, and
draws the rest as Glorot does. 2,000 garments, 400 steps of 16.

Each at several rates, five seeds, momentum 0.9, a rate that rises and falls as in ``fit``. One row
for each network: its loss in training, over the last 30 steps; the step at which the mean loss of
20 steps first is below 2.2 (0: never); its accuracy on 1,000 garments to choose by and on 2,000 to
test.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor, nn

from d2lite.data import fashion_mnist
from d2lite.initializers import he_start_
from d2lite.schedules import triangular
from d2lite.side_by_side import SideBySide, evaluate_all, fit_all, orders
from d2lite.trace import trace

HEAD = ["Question", "Network", "Parameters", "Multiply-adds", "Rate", "Seed", "Steps", "Loss"]
HEAD += ["Starts at step", "Chosen by, %", "Test, %"]
SEEDS = range(5)
RATES = {"kernels": (0.03, 0.1, 0.3), "doubling": (0.01, 0.03, 0.1, 0.3)}
RATES["starts"] = (0.001, 0.003, 0.01, 0.03, 0.1)
Make = Callable[[], nn.Module]
train, test = fashion_mnist()


def convolution(incoming: int, channels: int, kernel_size: int = 3, relu: bool = True) -> list:
    """Make one that keeps the size, with batch normalization, and ReLU if so."""
    layer = nn.Conv2d(incoming, channels, kernel_size, padding=kernel_size // 2)
    return [layer, nn.BatchNorm2d(channels), *([nn.ReLU()] if relu else [])]


def network(layers: list[nn.Module], last: int, side: int) -> nn.Sequential:
    """Behind the blocks, 32 maps for all alike, their averages, ten scores."""
    end = [nn.Conv2d(last, 32, 1), nn.ReLU(), nn.AvgPool2d(side), nn.Flatten(), nn.Linear(32, 10)]
    model = nn.Sequential(*layers, *end)
    he_start_(model)
    return model


def kernels(channels: int, count: int, kernel_size: int, inner_relus: bool = True) -> Make:
    """Two blocks of so many convolutions, on 28 × 28 and on 14 × 14."""

    def make() -> nn.Module:
        layers = convolution(1, channels)
        for _ in range(2):
            for i in range(count):
                relu = inner_relus or i == count - 1
                layers += convolution(channels, channels, kernel_size, relu)
            layers.append(nn.MaxPool2d(2))
        return network(layers, channels, 7)

    return make


def doubling(*widths: int) -> Make:
    """Blocks of two convolutions, each block with its own width."""

    def make() -> nn.Module:
        layers: list[nn.Module] = []
        incoming = 1
        for width in widths:
            layers += [*convolution(incoming, width), *convolution(width, width), nn.MaxPool2d(2)]
            incoming = width
        return network(layers, incoming, 1)

    return make


#: Channels that come into each layer with weights of configurations A and D.
INCOMING = {
    11: (3, 64, 128, 256, 256, 512, 512, 512, 25088, 4096, 4096),
    16: (3, 64, 64, 128, 128, 256, 256, 256, *[512] * 5, 25088, 4096, 4096),
}


def weighted(model: nn.Module) -> list[nn.Module]:
    """List its layers with weights."""
    return [layer for layer in model.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]


def plain(depth: int, start: str, batch_norm: bool = False) -> Make:
    """All but three of the layers are convolutions of 16 channels on 7 × 7."""

    def make() -> nn.Module:
        layers: list[nn.Module] = []
        for i in range(depth - 3):
            layers.append(nn.Conv2d(16 if i else 1, 16, 3, padding=1))
            layers += [nn.BatchNorm2d(16), nn.ReLU()] if batch_norm else [nn.ReLU()]
        layers += [nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * 3 * 3, 32), nn.ReLU()]
        model = nn.Sequential(*layers, nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10))
        he_start_(model)
        for layer, incoming in zip(weighted(model), INCOMING[depth], strict=True):
            fan_in = incoming * (9 if isinstance(layer, nn.Conv2d) else 1)
            with torch.no_grad():
                if start == "2014's":
                    layer.weight *= 0.01 / math.sqrt(2 / fan_in)
                elif start == "Glorot's":
                    nn.init.xavier_normal_(layer.weight)
        return model

    return make


def grown(shallow: nn.Module, start: str) -> nn.Module:
    """Sixteen layers: the first four and the last three are those of a trained eleven."""
    deep = plain(16, start)()
    old, new = weighted(shallow), weighted(deep)
    for i in (0, 1, 2, 3, -3, -2, -1):
        new[i].load_state_dict(old[i].state_dict())
    return deep


def first_below(losses: Tensor, bound: float = 2.2) -> list[int]:
    """The step at which the mean of 20 losses first is below the bound; 0 if it never is."""
    means = losses.unfold(0, 20, 1).mean(2) < bound
    return [int(m.nonzero()[0]) + 20 if m.any() else 0 for m in means.T]


def run(
    question: str,
    name: str,
    makers: list[Make],
    count: int = 4000,
    batch: int = 32,
    steps: int = 250,
    shrink: int = 1,
    rates: tuple[float, ...] = (),
) -> Iterator[tuple[list, nn.Module]]:
    """Train one network at all rates from all seeds; ``makers`` has one for each seed."""
    models, each_rate, seeds = [], [], []
    for rate in rates or RATES[question]:
        for seed, make in zip(SEEDS, makers, strict=True):
            torch.manual_seed(seed)
            models.append(make())
            each_rate.append(rate)
            seeds.append(seed)
    images, new = (F.avg_pool2d(data.images, shrink)[None] for data in (train, test))
    cost = trace(models[0], tuple(images.shape[2:]))
    networks = SideBySide(models)
    batches = ((images[0, i], train.labels[i]) for i in orders(count, batch, steps, seeds))
    schedule = triangular(steps)
    losses = fit_all(
        networks, batches, lr=each_rate, momentum=0.9, nesterov=True, schedule=schedule
    ).nan_to_num(99)
    held = evaluate_all(networks, images[:, 8000:9000], train.labels[None, 8000:9000])
    right = evaluate_all(networks, new[:, :2000], test.labels[None, :2000])
    columns = zip(
        each_rate, seeds, losses[-30:].mean(0).tolist(), first_below(losses),
        held.tolist(), right.tolist(), strict=True,
    )  # fmt: skip
    sizes = [cost.total_parameters, cost.total_multiply_adds]
    for r, (rate, seed, loss, step, chosen, tested) in enumerate(columns):
        row = [question, name, *sizes, rate, seed, steps, f"{loss:.3f}", step]
        yield [*row, f"{100 * chosen:.1f}", f"{100 * tested:.2f}"], networks[r]


def same(make: Make) -> list[Make]:
    """One for each seed."""
    return [make for _ in SEEDS]


KERNELS = {
    "three 3 × 3": kernels(8, 3, 3),
    "three 3 × 3, one ReLU": kernels(8, 3, 3, inner_relus=False),
    "one 7 × 7": kernels(6, 1, 7),
    "one 3 × 3, wider": kernels(14, 1, 3),
    "one 3 × 3": kernels(8, 1, 3),
}
WIDTHS = {"doubling": doubling(8, 16, 32), "one width": doubling(12, 12, 12)}
WIDTHS["halving"] = doubling(14, 7, 4)
TINY = {"count": 2000, "batch": 16, "steps": 400, "shrink": 4}


def everything() -> Iterator[list]:
    """All rows."""
    for name, make in KERNELS.items():
        yield from (row for row, _ in run("kernels", name, same(make)))
        if name == "one 3 × 3":
            yield from (row for row, _ in run("kernels", name, same(make), rates=(1.0,)))
    for name, make in WIDTHS.items():
        yield from (row for row, _ in run("doubling", name, same(make), steps=120, shrink=2))
    for start in ("2014's", "Glorot's", "He's"):
        found: dict[float, list[tuple[list, nn.Module]]] = {}
        for row, model in run("starts", f"11, {start}", same(plain(11, start)), **TINY):
            yield row
            found.setdefault(row[4], []).append((row, model))
        if start == "2014's":  # with which even eleven do not start
            continue
        yield from (row for row, _ in run("starts", f"16, {start}", same(plain(16, start)), **TINY))
        if start == "Glorot's":
            best = max(found.values(), key=lambda r: sum(float(row[-2]) for row, _ in r))
            makers = [partial(grown, model, start) for _, model in best]
            yield from (row for row, _ in run("starts", "16, A first", makers, **TINY))
    normalized = same(plain(16, "2014's", batch_norm=True))
    yield from (row for row, _ in run("starts", "16, batch norm", normalized, **TINY))


if __name__ == "__main__":
    write_table(__file__, HEAD, everything())
