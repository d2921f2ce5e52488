"""Which of the small networks leads, each at its own rate? Behind the chapter on the comparison.

    python benchmarks/claims/comparison.py    # writes comparison.csv beside it; 45 CPU-minutes

The seven small networks, and LeNet with the batch normalization that the other six have. Each sees
8,000 garments six times, by the recipe of ``fit``, at five rates, from one seed; the rate that is
best on 2,000 others is then run from four more. So all have the same images and the same steps,
where the chapter's first race gives them the same time. One row for each network: its accuracy on
the 2,000 images to choose by, and on the 10,000 test images.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from table import write_table
from torch import nn

from d2lite.data import fashion_mnist
from d2lite.nets.lenet import LeNet
from d2lite.train import evaluate, fit

sys.path.append(str(Path(__file__).parent.parent))
import nets

HEAD = ["Network", "Rate", "Seed", "Chosen by, %", "Test, %"]
RATES, SEEDS, EPOCHS = (0.03, 0.1, 0.3, 1.0, 3.0), 5, 6
train, test = fashion_mnist()
learn, choose = train[:8000], train[8000:]


def normalized_lenet() -> LeNet:
    """LeNet, with batch normalization behind each layer but the last."""
    model = LeNet()
    for name, layer in list(model.named_children()):
        if isinstance(layer, nn.Conv2d):
            setattr(model, name, nn.Sequential(layer, nn.BatchNorm2d(layer.out_channels)))
        elif isinstance(layer, nn.Linear) and name != "output":
            setattr(model, name, nn.Sequential(layer, nn.BatchNorm1d(layer.out_features)))
    return model


NETS: dict[str, Callable[[], nn.Module]] = {
    "LeNet": LeNet,
    "LeNet, batch norm": normalized_lenet,
} | nets.NETS


def run(name: str, rate: float, seed: int) -> list:
    """Train one network: its row of the table."""
    torch.manual_seed(seed)
    model = NETS[name]()
    try:
        fit(model, learn, epochs=EPOCHS, lr=rate, seed=seed)
        scores = [f"{100 * evaluate(model, data):.1f}" for data in (choose, test)]
    except FloatingPointError:  # its loss was no longer finite: it answers by chance
        scores = ["10.0", "10.0"]
    return [name, rate, seed, *scores]


def rows() -> Iterator[list]:
    """All rates from the first seed, then the best from the others."""
    for name in NETS:
        tried = [run(name, rate, 0) for rate in RATES]
        yield from tried
        best = max(tried, key=lambda row: float(row[3]))[1]
        yield from (run(name, best, seed) for seed in range(1, SEEDS))


if __name__ == "__main__":
    write_table(__file__, HEAD, rows())
