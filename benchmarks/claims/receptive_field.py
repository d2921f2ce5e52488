"""Does the field decide, and does training widen it? The long runs behind the chapter on fields.

    python benchmarks/claims/receptive_field.py    # writes the .csv beside it; 5 CPU-minutes

*Alone*: one unit names a garment from the pixels of its field; four layers of 3 × 3 whose
dilations differ, a wider and a deeper network with the smallest field, and one with strides; on
garments of 28 and of 14 pixels; 2,000 garments, 300 steps of 50, three rates, five seeds.
*Widening*: seven layers, whose middle unit decides alone or whose maps are averaged; five seeds,
one rate; how wide the influence on the middle unit is, after more and more epochs. One row for
each network and number of steps.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor, nn

from d2lite.data import fashion_mnist
from d2lite.optim import Adam
from d2lite.side_by_side import SideBySide, evaluate_all, fit_all, orders
from d2lite.train import evaluate

HEAD = ["Task", "Network", "Field", "Garment", "Rate", "Seed", "Steps", "Accuracy, %", "Width"]
Row = tuple[str, str, int, int, float, int, int, float, float]
train, test = fashion_mnist()
train, held = train[:2000], train[8000:]


def middle(images: Tensor, size: int) -> Tensor:
    """Cut out the middle of images, size × size."""
    start = (images.shape[-1] - size) // 2
    return images[..., start : start + size, start : start + size]


def halved(images: Tensor, garment: int) -> Tensor:
    """Leave the garment, or halve it, in the middle of 28 × 28."""
    return images if garment == 28 else F.pad(F.avg_pool2d(images, 2), (7, 7, 7, 7))


def alone(
    dilations: tuple[int, ...], strides: tuple[int, ...] = (1,) * 4, width: int = 16, ones: int = 0
) -> nn.Sequential:
    """Four layers without padding that end in one unit, and a linear layer."""
    layers: list[nn.Module] = []
    for i, (d, s) in enumerate(zip(dilations, strides, strict=True)):
        layers += [nn.Conv2d(width if i else 1, width, 3, s, dilation=d), nn.ReLU()]
    for _ in range(ones):
        layers += [nn.Conv2d(width, width, 1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width, 10))


ALONE = {
    "1, 1, 1, 1": (9, {"dilations": (1, 1, 1, 1)}),
    "1, 1, 2, 2": (13, {"dilations": (1, 1, 2, 2)}),
    "1, 1, 2, 4": (17, {"dilations": (1, 1, 2, 4)}),
    "1, 2, 4, 6": (27, {"dilations": (1, 2, 4, 6)}),
    "wider": (9, {"dilations": (1, 1, 1, 1), "width": 48}),
    "deeper": (9, {"dilations": (1, 1, 1, 1), "ones": 4}),
    "strides": (23, {"dilations": (1, 1, 1, 1), "strides": (2, 2, 1, 1)}),
}


def rows_alone(name: str, garment: int) -> Iterator[Row]:
    """Train one form at three rates, from three seeds each."""
    field, settings = ALONE[name]
    who = [(rate, seed) for rate in (0.002, 0.005, 0.0125) for seed in range(5)]
    networks = []
    for _, seed in who:
        torch.manual_seed(seed)
        networks.append(alone(**settings))  # type: ignore[arg-type]
    together, found = SideBySide(networks), []
    inputs = middle(halved(train.images, garment), field)
    new = middle(halved(held.images, garment), field)[None]

    def watch(step: int) -> None:
        if step in (100, 300):
            right = evaluate_all(together, new, held.labels[None])
            for (rate, seed), share in zip(who, right.tolist(), strict=True):
                found.append(("alone", name, field, garment, rate, seed, step, 100 * share, 0.0))

    batches = (
        (inputs[i], train.labels[i])
        for i in orders(len(inputs), 50, steps=300, seeds=[seed for _, seed in who])
    )
    rates = [rate for rate, _ in who]
    fit_all(together, batches, Adam, lr=rates, watch=watch)
    yield from found


class Middle(nn.Module):
    """Keep the unit in the middle."""

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, 14, 14) → (N, C, 1, 1)."""
        return maps[:, :, 7:8, 7:8]


def build(ending: nn.Module, seed: int, channels: int = 10) -> nn.Sequential:
    """Build the chapter's seven layers, with He's weights and no biases."""
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, channels, 3, stride=2, padding=1), nn.ReLU()]
    for _ in range(6):
        layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU()]
    stack = nn.Sequential(*layers)
    network = nn.Sequential(stack, ending, nn.Flatten(), nn.Linear(channels, 10))
    for weight in network.parameters():
        if weight.ndim > 1:
            nn.init.kaiming_normal_(weight, nonlinearity="relu")
        else:
            nn.init.zeros_(weight)
    return network


def width(network: nn.Module, images: Tensor) -> float:
    """Measure the standard deviation of the middle unit's influence along an axis, in pixels."""
    images = images.clone().requires_grad_()
    unit = network[0](images)[:, :, 7, 7]  # type: ignore[index]
    signs = torch.randn(unit.shape, generator=torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad((unit * signs).sum(), images)
    share = gradient.square().mean((0, 1)).double()[1:, 1:]
    share = share / share.sum()
    offset = torch.arange(27).double() - 13
    return float(((share.sum(0) + share.sum(1)) @ offset**2 / 2).sqrt())


def rows_widening(ending: str) -> Iterator[Row]:
    """Train five networks at one rate, with momentum as the chapter's `fit` has it."""
    module = Middle() if ending == "middle" else nn.AdaptiveAvgPool2d(1)
    who = [(rate, seed) for rate in (0.01,) for seed in range(5)]
    together, found = SideBySide([build(module, seed) for _, seed in who]), []

    def watch(step: int) -> None:
        if step in (0, 315, 945):
            with torch.enable_grad():
                for r, (rate, seed) in enumerate(who):
                    network = together[r].eval()
                    right, wide = 100 * evaluate(network, held), width(network, test.images[:300])
                    found.append(("widening", ending, 27, 28, rate, seed, step, right, wide))

    watch(0)
    batches = (
        (train.images[i], train.labels[i])
        for i in orders(len(train.images), 32, steps=945, seeds=[seed for _, seed in who])
    )
    rates = [rate for rate, _ in who]
    fit_all(together, batches, lr=rates, momentum=0.9, nesterov=True, watch=watch)
    yield from found


def all_rows() -> Iterator[list]:
    """All runs, one after another."""
    for garment in (28, 14):
        for name in ALONE if garment == 28 else list(ALONE)[:3]:
            yield from rows_alone(name, garment)
    for ending in ("middle", "mean"):
        yield from rows_widening(ending)


if __name__ == "__main__":
    write_table(
        __file__,
        HEAD,
        ([*row, f"{right:.2f}", f"{wide:.3f}"] for *row, right, wide in all_rows()),
    )
