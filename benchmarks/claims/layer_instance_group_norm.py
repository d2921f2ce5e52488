"""Which normalization, at which batch? The long run behind the chapter on layer and group norm.

    python benchmarks/claims/layer_instance_group_norm.py    # writes the CSV; about 10 CPU-minutes

First, all four and none at batches of 32, on garments of 28 × 28. Then batch and group
normalization at batches of 1 to 32, on garments of 14 × 14, in two networks: one that ends in maps,
and one with a dense layer before the last, where a mean of batch normalization is over as many
numbers as there are images. Every rate of the grid, five seeds. One row for each network.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from table import write_table
from torch import nn

from d2lite.data import fashion_mnist
from d2lite.side_by_side import SideBySide, evaluate_all, fit_all, orders

HEAD = ["Pixels", "Normalization", "Dense layer", "Batch", "Images", "Epochs", "Rate", "Seed"]
HEAD += ["Validation, %", "Test, %"]
RATES = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0]
SEEDS = range(5)


def norm_layer(kind: str, channels: int) -> nn.Module:
    """Build the layer of a kind, on maps."""
    if kind == "none":
        return nn.Identity()
    if kind == "BN":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm({"LN": 1, "GN": 4, "IN": channels}[kind], channels)


def network(kind: str, dense: str, pixels: int, seed: int) -> nn.Sequential:
    """Build the chapter's network; ``dense`` is "" or the normalization of a dense layer."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    channels = 1
    for width in (16, 32, 64):
        conv = nn.Conv2d(channels, width, 3, stride=2, padding=1)
        layers += [conv, norm_layer(kind, width), nn.ReLU()]
        channels = width
    layers.append(nn.AvgPool2d(pixels // 7))  # to 1 × 1
    if dense:
        layers += [nn.Conv2d(64, 64, 1), norm_layer(dense, 64), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(64, 10, 1), nn.Flatten())


def runs(kind: str, dense: str, pixels: int, batch: int, count: int, epochs: int) -> Iterator[list]:
    """Train five seeds at every rate, side by side; one row a network."""
    train, test = fashion_mnist()
    sets = [train[:count], train[8000:], test]
    known, held_out, new = (F.avg_pool2d(part.images, 28 // pixels) for part in sets)
    labels = train.labels[:count]
    rates = RATES if batch > 2 else [0.0003, *RATES]
    settings = [(rate, seed) for rate in rates for seed in SEEDS]
    steps = epochs * (count // batch)
    networks = SideBySide([network(kind, dense, pixels, seed) for _, seed in settings])
    order = orders(count, batch, steps, [seed for _, seed in settings])
    fit_all(
        networks,
        ((known[indices], labels[indices]) for indices in order),
        lr=[rate for rate, _ in settings],
        momentum=0.9,
        schedule=lambda step: 1 - step / steps,
    )
    on_held_out = evaluate_all(networks, held_out[None], train.labels[None, 8000:])
    on_new = evaluate_all(networks, new[None], test.labels[None])
    for i, (rate, seed) in enumerate(settings):
        shares = f"{100 * on_held_out[i]:.1f}", f"{100 * on_new[i]:.1f}"
        yield [pixels, kind, dense or "–", batch, count, epochs, rate, seed, *shares]


def all_rows() -> Iterator[list]:
    """All runs, one after another."""
    for kind in ("none", "BN", "LN", "GN", "IN"):
        yield from runs(kind, "", 28, 32, 2000, 4)
    for kind, dense in (("BN", ""), ("GN", ""), ("BN", "BN"), ("GN", "GN"), ("BN", "GN")):
        for batch in (1, 2, 4, 8, 32):
            if (dense, batch) != ("BN", 1):  # a mean of one number: PyTorch refuses
                yield from runs(kind, dense, 14, batch, 800, 2)


if __name__ == "__main__":
    write_table(__file__, HEAD, all_rows())
