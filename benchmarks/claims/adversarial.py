"""Adversarial examples: overfitting to FGSM, what robustness costs, and what transfers.

    python benchmarks/claims/adversarial.py    # writes adversarial.csv beside it; CPU-minutes: 10

Garments of 28 × 28, batches of 50, momentum, a rate that rises over a fifth of the steps and falls
to 0. Every accuracy is in percent: *Clean* and *Noise* (each pixel ± eps by the toss of a coin) on
2,000 test garments; FGSM, PGD of 10 steps, and *Strong* on the first of them (250; ``transfer``:
500). *Strong* is PGD of 50 steps with 5 restarts: a garment counts if it survives all.

- ``overfitting``: 2,000 garments; training on FGSM, on one step of 1.25 eps from a random start, or
  on PGD of 4 steps, at each rate; watched on the way on 150 garments that nobody learns from, by
  FGSM and PGD of 10 steps.
- ``cost``: 2,000 garments; plain training and its rivals against training on PGD. Each has its own
  rate, chosen with seed 100 on 1,000 garments that nobody learns from: by the accuracy under PGD
  for training on PGD, else by the clean one. These rows have no test.
- ``transfer``: networks of three forms attack each other. Those that attack learned from 4,000
  garments, those that are attacked from 4,000 others. *Shuffled* adds another garment's change,
  *FGSM* and *PGD* are of the network that attacks, *Strong* is PGD of 10 steps on the attacked one.

One row for each network; in ``transfer``, for each pair of networks.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product

import torch
from table import write_table
from torch import Tensor, nn

from d2lite.adversarial import fgsm, pgd
from d2lite.data import fashion_mnist
from d2lite.schedules import triangular
from d2lite.side_by_side import SideBySide, cross_entropies, fit_all, orders

RATES, SEEDS, WATCHED = [0.01, 0.03, 0.1, 0.3, 0.9], range(5), range(100, 901, 100)
HEAD = ["Experiment", "Arm", "Garments", "Eps", "Steps", "Rate", "Seed", "Choosing"]
HEAD += ["Clean", "Noise", "Shuffled", "FGSM", "PGD", "Strong"]
HEAD += [f"{attack} {step}" for attack in ("FGSM", "PGD") for step in WATCHED]
KINDS = {"fgsm": (1, 1.0), "start": (1, 1.25), "pgd": (4, 0.625), "ten": (10, 0.25)}

TRAIN, TEST = fashion_mnist()
CHOOSING = TRAIN.images[8000:9000], TRAIN.labels[8000:9000]
UNSEEN = TEST.images[:2000], TEST.labels[:2000]
Make = Callable[[int], nn.Sequential]


def strided(seed: int) -> nn.Sequential:
    """Build the network of all experiments: 9,274 parameters."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2, padding=2), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Flatten(), nn.Linear(784, 10),
    )  # fmt: skip


def pooling(seed: int) -> nn.Sequential:
    """Build a network of small kernels and maxima: 4,626 parameters."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(392, 10),
    )  # fmt: skip


def dense(seed: int) -> nn.Sequential:
    """Build a network without convolutions: 25,450 parameters."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10))


def climb(networks: SideBySide, x: Tensor, labels: Tensor, eps: float, kind: str) -> Tensor:
    """Attack each network on its own images, (R, B, 1, 28, 28), in evaluation mode."""
    steps, size = KINDS[kind]
    low, high = (x - eps).clamp(min=0), (x + eps).clamp(max=1)
    moved = x if kind == "fgsm" else low + (high - low) * torch.rand_like(x)
    networks.eval()
    for _ in range(steps):
        moved = moved.detach().requires_grad_()
        with torch.enable_grad():
            loss = cross_entropies(networks(moved).flatten(0, 1), labels.flatten()).sum()
        moved = moved + size * eps * torch.autograd.grad(loss, moved)[0].sign()
        moved = moved.clamp(low, high)
    networks.train()
    return moved.detach()


def right(model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    """Say which images get their label, in evaluation mode: (N,), or (R, N) for a stack."""
    model.eval()
    with torch.no_grad():
        found = model(x).argmax(-1) == labels
    return found


def share(found: Tensor) -> float:
    """Give a percentage."""
    return round(100 * found.float().mean().item(), 1)


def strong(model: nn.Module, x: Tensor, labels: Tensor, eps: float) -> float:
    """Measure the accuracy under PGD of 50 steps, 5 restarts; who has fallen is not asked again."""
    count = len(x)
    for restart in range(6):
        shown = pgd(model, x, labels, eps, 50, eps / 8) if restart else x
        kept = right(model, shown, labels)
        x, labels = x[kept], labels[kept]
        if not len(x):
            break
    return round(100 * len(x) / count, 1)


def noisy(x: Tensor, eps: float) -> Tensor:
    """Add eps or −eps to each pixel, by the toss of a coin."""
    return (x + eps * torch.randn_like(x).sign()).clamp(0, 1)


def train(
    arm: str, count: int, eps: float, steps: int, pairs: Sequence[tuple[float, int]],
    make: Make = strided, first: int = 0, watch: bool = False,
) -> tuple[SideBySide, list[list[float]]]:  # fmt: skip
    """Train a network for each rate and seed; what is seen on the way: (moments, networks)."""
    kind, _, strength = arm.partition(" ")
    networks = SideBySide([make(seed) for _, seed in pairs])
    torch.manual_seed(0)
    seen: dict[str, list[list[float]]] = {"fgsm": [], "ten": []}
    watched, names = (data[None, :150].expand(len(pairs), *[-1] * data.ndim) for data in CHOOSING)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for i in orders(count, 50, steps, [seed for _, seed in pairs]):
            x, labels = TRAIN.images[first + i], TRAIN.labels[first + i]
            if kind == "noise":
                x = noisy(x, eps)
            yield (climb(networks, x, labels, eps, kind) if kind in KINDS else x), labels

    def look(step: int) -> None:
        if watch and step in WATCHED:
            for attack, values in seen.items():
                found = right(networks, climb(networks, watched, names, eps, attack), names)
                values.append([share(own) for own in found])
            networks.train()

    smooth = 0.1 if kind == "smoothing" else 0.0
    fit_all(
        networks, batches(), lr=[rate for rate, _ in pairs], momentum=0.9, nesterov=True,
        weight_decay=float(strength) if kind == "decay" else 5e-4,
        loss=partial(cross_entropies, label_smoothing=smooth),
        schedule=triangular(steps, 0.2), watch=look,
    )  # fmt: skip
    return networks, seen["fgsm"] + seen["ten"]


def choose(
    arms: Sequence[str], count: int, eps: float, steps: int, make: Make = strided
) -> tuple[str, float, list[list]]:
    """Find the best arm and rate, and give the rows of all that were tried."""
    tries = []
    for arm in arms:
        pairs = [(rate, 100) for rate in RATES]
        networks, _ = train(arm, count, eps, steps, pairs, make)
        x, labels = (data[None].expand(len(pairs), *[-1] * data.ndim) for data in CHOOSING)
        if arm in KINDS:
            x = climb(networks, x, labels, eps, "ten")
        found = right(networks, x, labels)
        tries += [(share(own), arm, *pair) for own, pair in zip(found, pairs, strict=True)]
    rows = [[arm, count, eps, steps, rate, seed, value] for value, arm, rate, seed in tries]
    _, arm, rate, _ = max(tries)
    return arm, rate, rows


def tested(
    arm: str, count: int, eps: float, steps: int, pairs: Sequence[tuple[float, int]], watch: bool
) -> Iterator[list]:
    """Train and test: the rows of these rates and seeds."""
    networks, way = train(arm, count, eps, steps, pairs, watch=watch)
    x, labels = (data[:250] for data in UNSEEN)
    for r, (rate, seed) in enumerate(pairs):
        torch.manual_seed(seed)
        model = networks[r].eval()
        versions = fgsm(model, x, labels, eps), pgd(model, x, labels, eps)
        yield [
            arm, count, eps, steps, rate, seed, "", share(right(model, *UNSEEN)),
            share(right(model, noisy(UNSEEN[0], eps), UNSEEN[1])), "",
            *(share(right(model, version, labels)) for version in versions),
            strong(model, x, labels, eps), *(values[r] for values in way),
        ]  # fmt: skip


def overfitting_rows() -> Iterator[list]:
    """FGSM at two budgets, a random start, and PGD, each at two rates or three."""
    for arm, eps, rates in [
        ("fgsm", 0.2, [0.03, 0.1, 0.3]), ("fgsm", 0.1, [0.3]),
        ("start", 0.2, [0.1, 0.3]), ("pgd", 0.2, [0.1, 0.3]),
        ("fgsm", 0.1, [0.1]),
    ]:  # fmt: skip
        yield from tested(arm, 2000, eps, 900, list(product(rates, SEEDS)), watch=True)


def cost_rows() -> Iterator[list]:
    """Plain training, its rivals, and training on PGD, each at its best rate."""
    for arms, steps in [
        (["plain"], 600), (["plain"], 1200), (["decay 0.005", "decay 0.02"], 600),
        (["smoothing"], 600), (["noise"], 600), (["pgd"], 600),
    ]:  # fmt: skip
        arm, rate, rows = choose(arms, 2000, 0.1, steps)
        yield from rows
        yield from tested(arm, 2000, 0.1, steps, [(rate, seed) for seed in SEEDS], watch=False)


def transfer_rows() -> Iterator[list]:
    """Each form attacks each, five pairs of networks each time."""
    count, eps, steps, forms = 4000, 0.1, 400, (strided, pooling, dense)
    sources, targets = {}, {}
    for make in forms:
        _, rate, rows = choose(["plain"], count, eps, steps, make)
        yield from ([f"plain {make.__name__}", *row[1:]] for row in rows)
        plain = partial(train, "plain", count, eps, steps, make=make)
        sources[make], _ = plain([(rate, seed + 10) for seed in SEEDS])
        targets[make], _ = plain([(rate, seed) for seed in SEEDS], first=4000)
    x, labels = (data[:500] for data in UNSEEN)
    for source, target, seed in product(forms, forms, SEEDS):
        torch.manual_seed(seed)
        own, other = sources[source][seed].eval(), targets[target][seed].eval()
        climbed = pgd(own, x, labels, eps)
        shuffled = (x + (climbed - x).roll(1, 0)).clamp(0, 1)
        versions = x, noisy(x, eps), shuffled, fgsm(own, x, labels, eps), climbed
        found = [share(right(other, v, labels)) for v in (*versions, pgd(other, x, labels, eps))]
        arm = f"{source.__name__} to {target.__name__}"
        yield [arm, count, eps, steps, "", seed, "", *found]


def all_rows() -> Iterator[list]:
    """Name the experiment of each row, and fill it to the width of the table."""
    experiments = {
        "overfitting": overfitting_rows, "cost": cost_rows, "transfer": transfer_rows,
    }  # fmt: skip
    for name, rows in experiments.items():
        for row in rows():
            yield [name, *row] + [""] * (len(HEAD) - 1 - len(row))


if __name__ == "__main__":
    write_table(__file__, HEAD, all_rows())
