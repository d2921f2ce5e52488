"""Do separable layers pay at equal work? The long run behind the chapter on channels.

    python benchmarks/claims/channels.py    # writes channels.csv beside it; about 4 CPU-minutes

The chapter's network, with full or with depthwise separable layers, wide and narrow; 16 full
channels take as many parameters and multiply-adds as 44 separable ones, 7 full about as many as 16
separable. Adam for three epochs, its rate falling to zero. Each network has its first rate chosen
from four: two seeds learn from 8,000 garments, the other 2,000 of the training set decide. Then
five seeds learn from all 10,000 and are tested on 10,000 new ones. One row for each run.
"""

from collections import defaultdict
from collections.abc import Iterator

import torch
from table import write_table
from torch import nn
from torch.nn import functional as F

from d2lite.data import LabelledImages, fashion_mnist

HEAD = ["Layers", "Width", "Rate", "Seed", "On", "Accuracy, %"]
NETWORKS = [("full", 16), ("separable", 44), ("full", 7), ("separable", 16)]
RATES = [0.003, 0.01, 0.03, 0.1]
EPOCHS = 3


def full(C_in: int, C_out: int) -> list[nn.Module]:
    """A convolution that halves."""
    return [nn.Conv2d(C_in, C_out, 3, stride=2, padding=1)]


def separable(C_in: int, C_out: int) -> list[nn.Module]:
    """Each channel by itself, then the channels of each pixel."""
    depthwise = nn.Conv2d(C_in, C_in, 3, stride=2, padding=1, groups=C_in)
    return [depthwise, nn.Conv2d(C_in, C_out, 1)]


def network(layers: str, width: int) -> nn.Sequential:
    """Build the chapter's network: three convolutions, the second and third of the named kind."""
    kind = {"full": full, "separable": separable}[layers]
    parts = [*full(1, width), nn.BatchNorm2d(width), nn.ReLU()]
    for C_in in (width, 2 * width):
        parts += [*kind(C_in, 2 * C_in), nn.BatchNorm2d(2 * C_in), nn.ReLU()]
    parts += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, 10)]
    return nn.Sequential(*parts).to(memory_format=torch.channels_last)


def run(
    layers: str, width: int, rate: float, seed: int, lesson: LabelledImages, check: LabelledImages
) -> float:
    """Train one network, its rate falling in a line to zero; its accuracy on ``check``, percent."""
    torch.manual_seed(seed)
    model, batches = network(layers, width), len(lesson.images) // 100
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, EPOCHS * batches)
    model.train()
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(lesson.images)).split(100):
            loss = F.cross_entropy(model(lesson.images[batch]), lesson.labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()
    with torch.no_grad():
        answers = torch.cat([model(images).argmax(1) for images in check.images.split(500)])
    return round(100 * (answers == check.labels).double().mean().item(), 2)


def all_rows() -> Iterator[list]:
    """Choose each network's rate on garments held back, and test it at that rate."""
    train, test = fashion_mnist()
    for layers, width in NETWORKS:
        chosen: dict[float, float] = defaultdict(float)
        for rate in RATES:
            for seed in range(2):
                found = run(layers, width, rate, seed, train[:8000], train[8000:])
                yield [layers, width, rate, seed, "held back", found]
                chosen[rate] += found
        best = max(RATES, key=lambda rate: chosen[rate])
        for seed in range(5):
            yield [layers, width, best, seed, "test", run(layers, width, best, seed, train, test)]


if __name__ == "__main__":
    write_table(__file__, HEAD, all_rows())
