"""Bends and smoothed labels, each at its best rate: the long run behind the chapter on activations.

    python benchmarks/claims/activations_and_losses.py   # writes the .csv beside it; 5 CPU-minutes

Garments of 14 × 14 pixels, 640 steps of 100 of them with Adam, whose rate falls linearly to 0. Five
rates (the sigmoid has a sixth), five seeds; for a seed all kinds see the same batches. All have
43,018 parameters, the gated ones 43,130, those of ten hidden layers 42,814. They learn from the
first 2,000 or 8,000 training garments. The last 2,000 choose the rate and the temperature T, the
10,000 test garments judge. One row a network.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor, nn

from d2lite.data import LabelledImages, fashion_mnist
from d2lite.side_by_side import SideBySide, fit_all, orders

HEAD = ["Bend", "Hidden", "Smoothing", "Images", "Steps", "Rate", "Seed", "Held out, %"]
HEAD += ["Training, %", "Test, %", "Test loss", "ECE, %", "T", "Test loss at T", "ECE at T, %"]
RATES, SEEDS, STEPS = [0.0003, 0.001, 0.003, 0.01, 0.03], range(5), 640


class Gated(nn.Module):
    """Two halves of a linear layer; one of them, bent, multiplies the other: GLU, SwiGLU."""

    def __init__(self, inputs: int, outputs: int, bend: nn.Module) -> None:
        super().__init__()
        self.both, self.bend = nn.Linear(inputs, 2 * outputs), bend

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs) → (N, outputs)."""
        gate, value = self.both(x).chunk(2, dim=-1)
        return self.bend(gate) * value


BENDS: dict[str, type[nn.Module]] = {
    "none": nn.Identity, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "ReLU": nn.ReLU,
    "GELU": nn.GELU, "SiLU": nn.SiLU, "SwiGLU": nn.SiLU,
}  # fmt: skip


def network(name: str, hidden: int, seed: int) -> nn.Sequential:
    """Build 196 → hidden layers → 10; weights as PyTorch draws them."""
    torch.manual_seed(seed)
    gated = name == "SwiGLU"
    width = 77 if gated else 128 if hidden == 2 else 58
    layers, inputs = [nn.Flatten()], 196
    for _ in range(hidden):
        bend = BENDS[name]()
        layers += [Gated(inputs, width, bend)] if gated else [nn.Linear(inputs, width), bend]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(width, 10))


def arms() -> Iterator[tuple[str, int, float, int]]:
    """Which kinds are compared: what stands before the steps in a row."""
    for smoothing in (0.0, 0.1):
        yield "ReLU", 2, smoothing, 8000
    for name in ("GELU", "SiLU", "SwiGLU", "sigmoid", "tanh", "none"):
        yield name, 2, 0.0, 8000
    for smoothing in (0.0, 0.1):
        yield "ReLU", 2, smoothing, 2000
    for name in ("ReLU", "sigmoid"):
        yield name, 10, 0.0, 8000


def calibration_error(scores: Tensor, labels: Tensor) -> Tensor:
    """Mean gap of confidence and accuracy over 15 bins of confidence, weighted by their size."""
    sure, answer = scores.softmax(1).max(1)
    bins = (15 * sure.nan_to_num()).long().clamp(max=14)
    gaps = torch.zeros(15).index_add(0, bins, sure - (answer == labels).float())
    return gaps.abs().sum() / len(labels)


def judged(scores: Tensor, labels: Tensor) -> list[float]:
    """Loss and calibration error, in percent."""
    loss = F.cross_entropy(scores, labels).item()
    return [round(loss, 4), round(100 * calibration_error(scores, labels).item(), 2)]


def results(network: nn.Module, learned: LabelledImages) -> list[float]:
    """Accuracies of one network, and loss and calibration error on the test garments, also at T."""
    train, test = fashion_mnist()
    z, labels, right = {}, {}, []
    for part, data in (("held out", train[8000:]), ("learned", learned), ("test", test)):
        with torch.no_grad():
            z[part], labels[part] = network(F.avg_pool2d(data.images, 2)), data.labels
        share = (z[part].argmax(1) == data.labels).double().mean().item()
        right.append(round(100 * share, 2))
    candidates = torch.arange(0.3, 6, 0.05)
    fits = [F.cross_entropy(z["held out"] / T, labels["held out"]) for T in candidates]
    T = round(candidates[torch.stack(fits).argmin()].item(), 2)
    at_1, at_T = (judged(z["test"] / temperature, labels["test"]) for temperature in (1, T))
    return [*right, *at_1, T, *at_T]


def run(name: str, hidden: int, smoothing: float, count: int) -> Iterator[list[object]]:
    """Train a kind at all rates and seeds; its rows."""
    learned = fashion_mnist()[0][:count]
    images = F.avg_pool2d(learned.images, 2)
    for rate in RATES + [0.1] * (name == "sigmoid"):
        networks = SideBySide([network(name, hidden, seed) for seed in SEEDS])
        fit_all(
            networks,
            ((images[i], learned.labels[i]) for i in orders(count, 100, STEPS, SEEDS)),
            torch.optim.Adam,
            lr=rate,
            loss=lambda z, y: F.cross_entropy(z, y, reduction="none", label_smoothing=smoothing),
            schedule=lambda step: 1 - step / STEPS,
        )
        for seed in SEEDS:
            start = [name, hidden, smoothing, count, STEPS, rate, seed]
            yield start + results(networks[seed], learned)


if __name__ == "__main__":
    write_table(__file__, HEAD, (row for arm in arms() for row in run(*arm)))
