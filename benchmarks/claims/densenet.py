"""Does concatenation save parameters, and which connections are needed? The long run for DenseNet.

    python benchmarks/claims/densenet.py    # writes densenet.csv beside it; about 11 CPU-minutes

*Classifiers*: networks of two stages, with maps of 7 × 7 and 4 × 4, learn 2,000 garments of 14 × 14
pixels in 240 steps of 25. Rivals have about as many parameters and as many multiply-adds. Each
kind tries some rates with two seeds, descent with momentum and the schedule of ``fit``; the best
by 2,000 other garments gets five seeds. Two of them also with twice the growth rate and width, and
of both sizes for twice the steps, at rates to both sides of the best. *Denoisers*: encoders and
decoders learn to remove noise from garments of 28 × 28 pixels in 160 steps of Adam, as above; what
counts is the mean squared error, in units of 0.001.

One row for each network: what it is, its size, its rate and seed, its loss in training over the
last 30 steps, what chose the rate, and what the test garments say, in per cent or in 0.001.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from statistics import median

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor, nn

from d2lite.data import fashion_mnist
from d2lite.nets.densenet import DenseLayer
from d2lite.nets.resnet import Residual, basic_path, conv_bn, shortcut
from d2lite.optim import SGD, Adam
from d2lite.schedules import triangular
from d2lite.side_by_side import SideBySide, _answer, cross_entropies, evaluate_all, fit_all, orders
from d2lite.trace import trace

HEAD = ["Task", "Network", "Layers", "Connections", "Parameters", "Multiply-adds", "Steps"]
HEAD += ["Rate", "Seed", "Loss", "Chosen by", "Test"]
RATES = {"classify": (0.01, 0.03, 0.1, 0.3, 1.0), "denoise": (0.003, 0.01, 0.03, 0.1, 0.3)}
STEPS = {"classify": 240, "denoise": 160}
NEARBY: dict[str, tuple[float, ...]] = {
    "dense, k = 12": (0.03, 0.1, 0.3, 1.0),
    "residual, twice as wide": (0.01, 0.03, 0.1),
}
LONGER: dict[str, tuple[float, ...]] = {
    "dense": (0.1, 0.3, 1.0),
    "residual": (0.01, 0.03, 0.1, 0.3, 1.0),
    "dense, k = 12": (0.03, 0.1, 0.3),
    "residual, twice as wide": (0.01, 0.03, 0.1, 0.3),
}
TRIES, SEEDS = range(2), range(5)
DESCENT = partial(SGD, momentum=0.9, nesterov=True)
squares = partial(F.mse_loss, reduction="none")

PATTERNS: dict[
    str, Callable[[int], Sequence[int]]
] = {  # what layer i reads; 0 is the block's input
    "all": lambda i: range(i + 1),
    "predecessor": lambda i: [i],
    "input, predecessor": lambda i: sorted({0, i}),
}


class Block(nn.Module):
    """A dense block whose layers read chosen sources only."""

    def __init__(self, channels: int, growth_rate: int, layers: int, reads: Callable):
        super().__init__()
        self.sources = [list(reads(i)) for i in range(layers + 1)]
        widths = [channels] + [growth_rate] * layers
        seen = [sum(widths[s] for s in sources) for sources in self.sources]
        self.paths = nn.ModuleList(DenseLayer(c, growth_rate).path for c in seen[:-1])
        self.out_channels = seen[-1]

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) → (N, out_channels, H, W)."""
        return joined(self, maps, lambda layer, x: layer(x))


def joined(block: nn.Module, maps: Tensor, answer: Callable) -> Tensor:
    """Let a block answer, for one network or, (R, N, C, H, W), for many."""
    if isinstance(block, Block):
        found = [maps]
        for path, sources in zip(block.paths, block.sources[:-1], strict=True):
            found.append(answer(path, torch.cat([found[s] for s in sources], -3)))
        return torch.cat([found[s] for s in block.sources[-1]], -3)
    if isinstance(block, Residual):
        return torch.relu(answer(block.path, maps) + answer(block.shortcut, maps))
    if isinstance(block, Hourglass):
        first = answer(block.first, maps)
        second = answer(block.second, first)
        third = answer(block.third, block.joined([second, answer(block.deepest, second)]))
        return answer(block.last, block.joined([first, third]))
    return answer(block, maps)


class Joined(SideBySide):
    """Networks side by side, whose blocks need no ``vmap``: in half of the time."""

    def forward(self, x: Tensor) -> Tensor:
        """(1 or R, N, …) → (R, N, …)."""
        x = x.expand(len(self), *x.shape[1:])
        for part in self.form:
            x = joined(part, x, _answer)
        return x


def network(*parts: nn.Module, channels: int) -> nn.Sequential:
    """Add the head, and start as He does."""
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)]
    model = nn.Sequential(*parts, *head)
    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight)
    return model


def dense(layers: int, k: int, start: int, between: int, pattern: str) -> nn.Sequential:
    """Two dense blocks of some pattern, with ``start`` maps before the first."""
    reads = PATTERNS[pattern]
    first = Block(start, k, layers, reads)
    second = Block(between, k, layers, reads)
    transition = [nn.BatchNorm2d(first.out_channels), nn.ReLU()]
    transition += [nn.Conv2d(first.out_channels, between, 1, bias=False)]
    transition += [nn.AvgPool2d(2, ceil_mode=True)]  # 4 × 4, as with stride 2
    end = [nn.BatchNorm2d(second.out_channels), nn.ReLU()]
    stem = nn.Conv2d(1, start, 3, stride=2, padding=1, bias=False)
    return network(stem, first, *transition, second, *end, channels=second.out_channels)


def stages(layers: int, widths: Sequence[int], residual: bool) -> nn.Sequential:
    """Two stages of basic blocks, with or without their shortcuts."""
    blocks: list[nn.Module] = []
    for stage, (before, width) in enumerate(pairwise([widths[0], *widths])):
        for i in range(layers):
            sizes = (before if i == 0 else width, width, 2 if stage == 1 and i == 0 else 1)
            path = basic_path(*sizes)
            blocks += [Residual(path, shortcut(*sizes))] if residual else [*path, nn.ReLU()]
    return network(*conv_bn(1, widths[0], 3, stride=2), nn.ReLU(), *blocks, channels=widths[1])


class Hourglass(nn.Module):
    """Halve twice, double twice; early maps are left, or placed beside late ones."""

    def __init__(self, skip: str, width: int):
        super().__init__()

        def conv(before: int, behind: int) -> list[nn.Module]:
            return [nn.Conv2d(before, behind, 3, padding=1), nn.ReLU()]

        w, wide = width, 2 if skip == "concatenated" else 1
        up = nn.Upsample(scale_factor=2)
        self.concatenated = skip == "concatenated"
        self.first = nn.Sequential(*conv(1, w))
        self.second = nn.Sequential(nn.MaxPool2d(2), *conv(w, 2 * w))
        self.deepest = nn.Sequential(nn.MaxPool2d(2), *conv(2 * w, 2 * w), up)
        self.third = nn.Sequential(*conv(wide * 2 * w, w), up)
        self.last = nn.Conv2d(wide * w, 1, 3, padding=1)

    def joined(self, pair: list[Tensor]) -> Tensor:
        """Early maps and late ones."""
        early, late = pair
        return torch.cat([early, late], -3) if self.concatenated else late

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, H, W) → (N, 1, H, W)."""
        return joined(self, x, lambda layer, x: layer(x))


train, test = fashion_mnist()
DATA = {
    "classify": [F.avg_pool2d(data.images, 2) for data in (train, test)],
    "denoise": [train.images, test.images],
}

KINDS: list[tuple[str, str, int, str, Callable[[], nn.Sequential]]] = [
    ("classify", "dense", 5, "all", lambda: dense(5, 6, 12, 21, "all")),
    ("classify", "residual", 5, "", lambda: stages(5, (10, 12), residual=True)),
    ("classify", "plain", 5, "", lambda: stages(5, (10, 12), residual=False)),
    ("classify", "dense", 5, "predecessor", lambda: dense(5, 7, 12, 39, "predecessor")),
    ("classify", "dense", 5, "input, predecessor",
     lambda: dense(5, 6, 18, 33, "input, predecessor")),
    ("classify", "dense, k = 12", 5, "all", lambda: dense(5, 12, 24, 42, "all")),
    ("classify", "residual, twice as wide", 5, "", lambda: stages(5, (20, 24), residual=True)),
    ("denoise", "hourglass", 5, "none", lambda: nn.Sequential(Hourglass("none", 9))),
    ("denoise", "hourglass", 5, "concatenated",
     lambda: nn.Sequential(Hourglass("concatenated", 8))),
]  # fmt: skip


def batches(task: str, steps: int, seeds: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """Images, and labels or what should come out, (R, B, …), in each seed's order."""
    images = DATA[task][0]
    for step, i in enumerate(orders(2000, 25, steps, seeds)):
        if task == "classify":
            yield images[i], train.labels[i]
        else:
            noise = {seed: torch.Generator().manual_seed(10_000 * seed + step) for seed in seeds}
            yield noisy(images[i], [noise[seed] for seed in seeds])


def noisy(clean: Tensor, sources: Sequence[torch.Generator]) -> tuple[Tensor, Tensor]:
    """Add noise to (R, B, 1, 28, 28), and hand on what should come out."""
    noise = torch.stack([torch.randn(clean.shape[1:], generator=source) for source in sources])
    return clean + 0.3 * noise, clean


def judge(task: str, networks: SideBySide, new: bool) -> Tensor:
    """Accuracies in per cent, or squared errors in 0.001, on 2,000 images: (R,)."""
    images = DATA[task][new][None]
    images = images[:, :2000] if new else images[:, 8000:]
    if task == "classify":
        labels = test.labels[:2000] if new else train.labels[8000:]
        return 100 * evaluate_all(networks, images, labels[None])
    inputs, aim = noisy(images, [torch.Generator().manual_seed(int(new))])
    pairs = zip(inputs.split(250, 1), aim.split(250, 1), strict=True)
    with torch.no_grad():
        errors = [(networks(x) - y).square().flatten(1).mean(1) for x, y in pairs]
    return 1000 * torch.stack(errors).mean(0)


def learn(
    make: Callable, task: str, steps: int, pairs: Sequence[tuple[float, int]]
) -> Iterator[list]:
    """Train networks side by side, a rate and a seed each; a row's numbers for each."""
    models = []
    for _, seed in pairs:
        torch.manual_seed(seed)
        models.append(make())
    networks = Joined(models)
    rule, loss = (DESCENT, cross_entropies) if task == "classify" else (Adam, squares)
    rates, seeds = map(list, zip(*pairs, strict=True))
    schedule = triangular(steps, 0.2)
    losses = fit_all(
        networks, batches(task, steps, seeds), rule, loss=loss, lr=rates, schedule=schedule
    )
    found = losses[-30:].mean(0), judge(task, networks, False), judge(task, networks, True)
    for (rate, seed), *numbers in zip(pairs, *(f.tolist() for f in found), strict=True):
        yield [rate, seed, *(f"{number:.4g}" for number in numbers)]


def run(
    task: str, name: str, layers: int, pattern: str, make: Callable[[], nn.Sequential],
    longer: bool = False,
) -> Iterator[list]:  # fmt: skip
    """Find the rate, and train the rest of the seeds with it."""
    sizes = trace(make(), (1, *DATA[task][0].shape[2:]))
    reads = PATTERNS.get(pattern)
    connections = 2 * sum(len(reads(i)) for i in range(layers + 1)) if reads else ""
    kind = [task, f"{name}: {pattern}" if pattern else name, layers, connections]
    kind += [sizes.total_parameters, sizes.total_multiply_adds]
    steps, rates = STEPS[task], NEARBY.get(name, RATES[task])
    if longer:
        steps, rates = 2 * steps, LONGER[name]
    found = list(learn(make, task, steps, [(rate, seed) for rate in rates for seed in TRIES]))
    sign = 1 if task == "classify" else -1
    score = {rate: sign * median(float(r[3]) for r in found if r[0] == rate) for rate in rates}
    best = max(rates, key=score.__getitem__)
    found += learn(make, task, steps, [(best, seed) for seed in SEEDS if seed not in TRIES])
    for row in sorted(found, key=lambda row: row[:2]):
        yield [*kind, steps, *row]


def everything() -> Iterator[list]:
    """Train all, and what is compared at two sizes for twice the steps as well."""
    for kind in KINDS:
        yield from run(*kind)
    for kind in KINDS:
        if kind[1] in LONGER and kind[3] in ("all", ""):
            yield from run(*kind, longer=True)


if __name__ == "__main__":
    write_table(__file__, HEAD, everything())
