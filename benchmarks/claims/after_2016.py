"""From ResNet towards ConvNeXt, and CNN against ViT. The long runs behind the chapter.

    python benchmarks/claims/after_2016.py    # writes after_2016.csv beside it; 16 CPU-minutes

Needs all of Fashion-MNIST: ``FASHION_MNIST`` names the folder, Debian's unless set. Networks for 28
× 28 pixels, whose width is chosen for about equal multiply-adds. One recipe: AdamW with a decay of
0.05 on matrices and kernels, a rate that rises over a tenth of the steps and falls along a cosine,
batches of 64. One row for each network.

*Ladder*: 10,000 garments, 150 steps. Each rung keeps the changes of those before it, at its best
rate, by 2,500 other garments; three seeds. Controls: the first with twice the steps, or the work.
*Images*: a small ResNet, a ViT, and a ViT whose patches come from convolutions, of 2,500, 10,000
and 55,000 garments, 600 steps; the best rate for 10,000, by 2,500 others; three seeds.
*Longer*: the first two, twice the steps, of 10,000 garments; each at its best rate; three seeds.
"""

import os
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, product
from typing import Any

import torch
import torch.nn.functional as F
from table import write_table
from torch import nn

from d2lite.data import LabelledImages, fashion_mnist
from d2lite.nets.mobilenet import conv_bn_relu6
from d2lite.nets.resnet import Residual, ResNet, basic_block, conv_bn
from d2lite.nets.vit import ViT
from d2lite.side_by_side import orders
from d2lite.trace import trace
from d2lite.train import evaluate

HEAD = ["Question", "Network", "Million multiply-adds", "Parameters", "Images", "Steps"]
HEAD += ["Rate", "Seed", "Training, %", "Chosen by, %", "Test, %"]
FOLDER = os.environ.get("FASHION_MNIST", "/usr/share/datasets/fashion-mnist")
RATES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
full, test = fashion_mnist(full=True, root=FOLDER)


def learn(network: nn.Module, data: LabelledImages, steps: int, rate: float, seed: int) -> None:
    """Train by the recipe."""
    weights = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": 0.05}, {"params": others, "weight_decay": 0}]
    optimizer = torch.optim.AdamW(groups, lr=rate, fused=True)
    rise = steps // 10

    def factor(step: int) -> float:
        progress = torch.tensor(torch.pi * max(step - rise, 0) / (steps - rise))
        return min((step + 1) / rise, 1) * (0.5 + 0.5 * torch.cos(progress).item())

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    network.to(memory_format=torch.channels_last).train()
    torch.manual_seed(seed)
    for (indices,) in orders(len(data), 64, steps, [seed]):
        loss = F.cross_entropy(network(data.images[indices]), data.labels[indices])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    network.eval()


def rung(width: int, patches: bool, depthwise: bool) -> nn.Sequential:
    """Build a network of the ladder: two bottlenecks on maps of 14 × 14, two on 7 × 7."""

    def block(before: int, behind: int, stride: int = 1) -> nn.Module:
        changed = nn.Sequential(nn.Conv2d(before, behind, 1, stride), nn.BatchNorm2d(behind))
        narrow = max(behind // 4, 1)
        groups = narrow if depthwise else 1
        path = nn.Sequential(
            nn.Conv2d(before, narrow, 1), nn.BatchNorm2d(narrow), nn.ReLU(),
            nn.Conv2d(narrow, narrow, 3, stride, 1, groups=groups),
            nn.BatchNorm2d(narrow), nn.ReLU(),
            nn.Conv2d(narrow, behind, 1), nn.BatchNorm2d(behind),
        )  # fmt: skip
        return Residual(path, nn.Identity() if (before, stride) == (behind, 1) else changed)

    stem = nn.Conv2d(1, width, 2, 2) if patches else nn.Conv2d(1, width, 3, 2, 1)
    after = nn.Identity() if patches else nn.ReLU()
    down = block(width, 2 * width, 2)
    return nn.Sequential(
        stem, nn.BatchNorm2d(width), after, block(width, width), block(width, width),
        down, block(2 * width, 2 * width), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(2 * width, 10),
    )  # fmt: skip


LADDER = {
    "ResNet": {"patches": False, "depthwise": False},
    "patchify stem": {"patches": True, "depthwise": False},
    "depthwise": {"patches": True, "depthwise": True},
}


def cnn(width: int) -> ResNet:
    """A ResNet of eight layers, on maps of 14 × 14, 7 × 7 and 4 × 4."""
    stem = nn.Sequential(*conv_bn(1, width, 3, stride=2), nn.ReLU())
    return ResNet(stem, basic_block, [width, width, 2 * width, 4 * width], [1, 1, 1], 10)


def vit(width: int) -> ViT:
    """Sixteen patches of 7 × 7, and two layers."""
    return ViT(1, 28, 7, 4 * width, depth=2, heads=4, num_classes=10)


def early_convolutions(width: int) -> ViT:
    """The same tokens, from three convolutions with stride 2 in place of the patches."""
    network = vit(width)
    width *= 4
    network.patches = nn.Sequential(
        conv_bn_relu6(1, width // 4, 3, stride=2),
        conv_bn_relu6(width // 4, width // 2, 3, stride=2),
        conv_bn_relu6(width // 2, width, 3, stride=2),
        nn.Conv2d(width, width, 1),
    )
    return network


def nearest(build: Callable[[int], nn.Module], target: float) -> Callable[[], nn.Module]:
    """Take the width whose multiply-adds are nearest to a target."""
    for width in count(1):
        below, above = (abs(work(build(w)) - target) for w in (width, width + 1))
        if above > below:
            return partial(build, width)
    raise AssertionError("not reached")


def work(network: nn.Module) -> int:
    """Multiply-adds of an image."""
    return trace(network, (1, 28, 28)).total_multiply_adds


def run(
    question: str, name: str, build: Callable[[], nn.Module], images: int, steps: int,
    rate: float, seed: int,
) -> list:  # fmt: skip
    """Train one network: its row."""
    torch.manual_seed(seed)
    network = build()
    learn(network, full[:images], steps, rate, seed)
    size = sum(p.numel() for p in network.parameters())
    found = [100 * evaluate(network, part) for part in (full[:1000], full[57_500:], test)]
    return [
        question, name, f"{work(network) / 1e6:.2f}", size, images, steps, rate,
        seed, *(f"{value:.4g}" for value in found),
    ]  # fmt: skip


def tuned(start: float, seeds: int, **settings: Any) -> Iterator[list]:
    """Train at three rates or more, until the best is not at an edge; then more seeds at it."""
    found: dict[float, float] = {}
    best = start
    while wanted := [r for r in (best, *neighbors(best)) if r not in found]:
        row = run(rate=wanted[0], seed=0, **settings)
        found[wanted[0]] = float(row[-2])
        yield row
        best = max(found, key=found.__getitem__)
    for seed in range(1, seeds):
        yield run(rate=best, seed=seed, **settings)


def neighbors(rate: float) -> tuple[float, float]:
    """The rates that are half a power of ten away."""
    i = RATES.index(rate)
    return RATES[i - 1], RATES[i + 1]


def ladder(name: str) -> Iterator[list]:
    """Train a rung at its rates and seeds, and the first one's controls at its own rate."""
    build = nearest(partial(rung, **LADDER[name]), 0.5e6)
    settings = {"question": "ladder", "images": 10_000}
    rows = list(tuned(0.01, 3, name=name, build=build, steps=150, **settings))
    yield from rows
    if name == "ResNet":
        larger = nearest(partial(rung, **LADDER[name]), 1e6)
        for seed in range(3):
            again = settings | {"rate": rows[-1][6], "seed": seed}
            yield run(name="ResNet, twice the steps", build=build, steps=300, **again)
            yield run(name="ResNet, twice the work", build=larger, steps=150, **again)


def images(name: str) -> Iterator[list]:
    """Choose a rate for 10,000 images, and take it for all numbers of them."""
    settings: Any = {"question": "images", "name": name, "steps": 600}
    settings["build"] = nearest(NETWORKS[name], 0.5e6)
    rows = list(tuned(0.003, 3, images=10_000, **settings))
    yield from rows
    for number, seed in product((2500, 55_000), range(3)):
        yield run(images=number, seed=seed, rate=rows[-1][6], **settings)


def longer(name: str) -> Iterator[list]:
    """Twice the steps, of 10,000 images."""
    settings: Any = {"question": "longer", "name": name, "images": 10_000, "steps": 1200}
    settings["build"] = nearest(NETWORKS[name], 0.5e6)
    yield from tuned(0.01 if name == "CNN" else 0.003, 3, **settings)


NETWORKS: dict[str, Callable[[int], nn.Module]] = {"CNN": cnn, "ViT": vit}
NETWORKS["ViT, early convolutions"] = early_convolutions
GROUPS = [partial(ladder, name) for name in LADDER]
GROUPS += [partial(images, name) for name in NETWORKS]
GROUPS += [partial(longer, name) for name in ("ViT", "CNN")]

if __name__ == "__main__":
    write_table(__file__, HEAD, (row for group in GROUPS for row in group()))
