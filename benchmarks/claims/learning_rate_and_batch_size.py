"""What are the rate, its schedule, a warm-up and the batch worth? The long runs behind the chapter.

    python benchmarks/claims/learning_rate_and_batch_size.py    # writes the .csv; 6 CPU-minutes

The network is that of Part 2, smaller: garments of 14 × 14 pixels, hidden layers of 128. It learns
from 8,000 garments and is judged on 2,000 others, by which a rate is chosen, and on 10,000 of the
test. One row for each of five networks (three in the longest) that differ only in their seed.

- schedules: each schedule at rates √10 apart, 10 epochs with batches of 100.
- warm-up: the same with eight hidden layers, Adam, 400 steps of 50 (and 1,600), with PyTorch's
  start and with He's; four rates, with a warm-up over the first tenth and without.
- batches: constant rates, each twice the one before. The loss on 1,000 of the other garments after
  200 steps, after 16,384 garments, and the number of steps after which it is first below 0.65.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor, nn

from d2lite.data import fashion_mnist
from d2lite.schedules import cosine, warmup
from d2lite.side_by_side import SideBySide, cross_entropies, evaluate_all, fit_all, orders

HEAD = ["Experiment", "Hidden layers", "Start", "Optimizer", "Schedule", "Batch", "Steps", "Rate"]
HEAD += ["Seed", "Validation, %", "Test, %"]
HEAD += ["Loss after 200 steps", "Loss after 16,384 garments", "Steps to 0.65"]
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "SGD": partial(torch.optim.SGD, momentum=0.9),
    "Adam": torch.optim.Adam,
}
DATA, TEST = fashion_mnist()
IMAGES, NEW = F.avg_pool2d(DATA.images, 2), F.avg_pool2d(TEST.images, 2)


def network(seed: int, hidden: int = 2, start: str = "PyTorch") -> nn.Sequential:
    """Build it: so many hidden layers of 128 units."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs in [196] + [128] * (hidden - 1):
        layers += [nn.Linear(inputs, 128), nn.ReLU()]
    layers.append(nn.Linear(128, 10))
    if start == "He":
        for layer in layers:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight)
                nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def schedule(name: str, steps: int) -> Callable[[int], float]:
    """By what the rate is multiplied at each of so many steps."""
    rise = steps // 10
    return {
        "constant": lambda step: 1.0,
        "step": lambda step: 0.1 ** ((step >= steps / 2) + (step >= 3 * steps / 4)),
        "cosine": cosine(steps),
        "warm-up, cosine": warmup(cosine(steps - rise), rise, start_factor=0.01),
    }[name]


def batches(size: int, steps: int, seeds: range) -> Iterator[tuple[Tensor, Tensor]]:
    """Draw from the 8,000, in the order of each seed."""
    return ((IMAGES[i], DATA.labels[i]) for i in orders(8000, size, steps, seeds))


def scheduled(experiment: str) -> Iterator[list]:
    """Train for one of the first two experiments."""
    rates = {"SGD": [0.01, 0.03, 0.1, 0.3], "Adam": [0.0003, 0.001, 0.003, 0.01, 0.03]}
    deep = [0.001, 0.003, 0.01, 0.03]
    plan: list[tuple] = [
        ("schedules", 2, "PyTorch", optimizer, name, 100, 800, rate, 5)
        for optimizer in OPTIMIZERS
        for name in ("constant", "step", "cosine", "warm-up, cosine")
        for rate in rates[optimizer]
    ]
    plan += [
        ("warm-up", 8, start, "Adam", name, 50, steps, rate, seeds)
        for start, steps, seeds, tried in (
            ("PyTorch", 400, 5, deep), ("He", 400, 5, deep), ("PyTorch", 1600, 3, deep[:3]),
        )
        for name in ("cosine", "warm-up, cosine")
        for rate in tried
    ]  # fmt: skip
    for *setting, seeds in (line for line in plan if line[0] == experiment):
        _, hidden, start, optimizer, name, size, steps, rate = setting
        networks = SideBySide([network(seed, hidden, start) for seed in range(seeds)])
        drawn, factors = batches(size, steps, range(seeds)), schedule(name, steps)
        fit_all(networks, drawn, OPTIMIZERS[optimizer], lr=rate, schedule=factors)
        chosen = evaluate_all(networks, IMAGES[None, 8000:], DATA.labels[None, 8000:])
        tested = evaluate_all(networks, NEW[None], TEST.labels[None])
        for seed in range(seeds):
            shares = [round(100 * share[seed].item(), 2) for share in (chosen, tested)]
            yield [*setting, seed, *shares, "", "", ""]


def loss_on_others(networks: SideBySide) -> Tensor:
    """Mean loss of each network, (R,), on 1,000 garments that it has not learned from."""
    scores = networks(IMAGES[None, 8000:9000]).flatten(0, 1)
    labels = DATA.labels[8000:9000].repeat(len(networks))
    return cross_entropies(scores, labels).view(len(networks), -1).mean(1)


def watched() -> Iterator[list]:
    """Train for the third experiment, at constant rates."""
    first = {"SGD": {8: 0.0025, 32: 0.01, 128: 0.04, 512: 0.04}}
    first["Adam"] = {8: 0.0005, 32: 0.001, 128: 0.002, 512: 0.004}
    plan = [
        (optimizer, size, lowest * 2**k)
        for optimizer, sizes in first.items()
        for size, lowest in sizes.items()
        for k in range(5)
    ]
    for optimizer, size, rate in plan:
        steps, every = max(200, 16_384 // size), max(2, 128 // size)
        networks = SideBySide([network(seed) for seed in range(5)])
        losses = {0: loss_on_others(networks).detach()}

        def watch(
            step: int, networks: SideBySide = networks, every: int = every, losses: dict = losses
        ) -> None:
            if step % every == 0 or step == 200:
                losses[step] = loss_on_others(networks)

        fit_all(networks, batches(size, steps, range(5)), OPTIMIZERS[optimizer], lr=rate,
                watch=watch)  # fmt: skip
        for seed in range(5):
            own = {step: loss[seed].item() for step, loss in losses.items()}
            wanted = own[200], own[16_384 // size]
            below = [step for step, loss in own.items() if loss < 0.65]
            row = ["batches", 2, "PyTorch", optimizer, "constant", size, steps, rate, seed, "", ""]
            yield row + [f"{loss:.3f}" for loss in wanted] + [below[0] if below else ""]


if __name__ == "__main__":
    write_table(__file__, HEAD, chain(scheduled("schedules"), scheduled("warm-up"), watched()))
