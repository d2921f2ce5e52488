"""Which ingredients of a modern training pay? The long run behind the chapter on modern training.

    python benchmarks/claims/modern_training.py    # writes modern_training.csv; 7 CPU-minutes

Each arm is tuned with seeds 100 and 101 over the same five rates, relative to the middle of its
rule, and over further ones while the best is at the edge; where weights are averaged, over four
decays of the average as well. At its best setting five other seeds are trained and tested; the rows
of the tuning have no test. A seed has its weights and its batches. All weights, newest and
averaged, get batch statistics of their own, from 1,000 training garments. At the middle rate each
rule's weight decay takes 1/2000 of a weight at each step.

- ``garments``: three convolutions of 8, 16 and 16 channels with batch normalization, a hidden layer
  of 48, 11,058 parameters; 8,000 garments of 14 × 14; 300 steps of 50. Chosen on 2,000 garments,
  tested on 5,000.
  ``plain`` is SGD with Nesterov's momentum and a cosine; each further arm has one ingredient more,
  or another rule; ``all`` has warm-up, cosine, clipping and, in some of its rows, the average.
- ``long``: a constant rate and a cosine, three times as many steps.
- ``whole`` and ``one broken batch``: two convolutions of 8 and 16 channels without normalization,
  2,698 parameters, 300 steps; in the second the batch in the middle has its pixels from 0 to 255.
- ``characters``: of Python's help topics the next character, from the eight before it; one hidden
  layer of 128; 500 steps of 100. The score is the mean loss.

One row for each network and each of its weights: those of the last step, or their average.
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain, product

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor, nn

from d2lite.data import fashion_mnist, help_topics
from d2lite.schedules import Schedule, cosine, warmup
from d2lite.side_by_side import SideBySide, cross_entropies, orders

HEAD = ["Task", "Arm", "Weights", "Steps", "Rate", "Average", "Seed"]
HEAD += ["Choosing", "Test", "Test loss"]
TUNING, SEEDS = [100, 101], [*range(5)]
OFF = [10 ** (half / 2) for half in range(-2, 3)]  # of the rule's middle rate
HIDDEN = {(16, 8, 3, 3), (16, 16, 3, 3), (48, 144), (128, 128)}  # neither first nor last layers
AVERAGES = (0.9, 0.97, 0.99, 0.997)  # decays of the moving averages

TRAIN, TEST = fashion_mnist()
PICTURES, NAMES = F.avg_pool2d(TRAIN.images, 2), TRAIN.labels
UNSEEN, UNSEEN_NAMES = F.avg_pool2d(TEST.images[:5000], 2), TEST.labels[:5000]

TEXT = help_topics()
NUMBER = {symbol: i for i, symbol in enumerate(sorted(set(TEXT)))}
CODES = torch.tensor([NUMBER[symbol] for symbol in TEXT])
BEFORE = torch.arange(-8, 0)
CUTS = [380_000, 397_000, len(CODES)]  # learned from; then chosen by; then tested on


class Descent:
    """SGD with Nesterov's momentum, as in ``torch.optim.SGD``; and what all rules share."""

    middle, decay = 0.1, 5e-4

    def __init__(self, networks: SideBySide, rates: list[float], clip: bool) -> None:
        self.weights = [*networks.parameters()]
        self.state: dict[Tensor, dict] = {w: {} for w in self.weights}
        self.rates, self.clip, self.steps = torch.tensor(rates), clip, 0

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """Clip each network's gradient to a length of 1, decay, and update."""
        self.steps += 1
        if self.clip:
            squares = torch.stack([w.grad.flatten(1).square().sum(1) for w in self.weights])
            shrink = (1 / (squares.sum(0).sqrt() + 1e-6)).clamp(max=1)
            for w in self.weights:
                w.grad *= beside(shrink, w)
        for w in self.weights:
            decay = self.decay if w.ndim > 2 else 0  # not of biases and scales
            self._update(w, w.grad, self.state[w], factor * beside(self.rates, w), decay, factor)

    def _update(
        self, w: Tensor, g: Tensor, state: dict, lr: Tensor, decay: float, factor: float
    ) -> None:
        g = g.add(w, alpha=decay)
        v = state["v"] = state["v"].mul_(0.9).add_(g) if state else g.clone()
        w -= lr * g.add(v, alpha=0.9)

    def _finish(self) -> None:
        """Put the weights to use in place."""


class AdamW(Descent):
    """As ``torch.optim.AdamW``."""

    middle, decay = 0.01, 0.05

    def _update(
        self, w: Tensor, g: Tensor, state: dict, lr: Tensor, decay: float, factor: float
    ) -> None:
        if not state:
            state |= {"m": torch.zeros_like(w), "v": torch.zeros_like(w)}
        m, v = state["m"].lerp_(g, 0.1), state["v"].lerp_(g.square(), 0.001)
        m_hat, v_hat = m / (1 - 0.9**self.steps), v / (1 - 0.999**self.steps)
        w -= lr * decay * w
        w -= lr * m_hat / (v_hat.sqrt() + 1e-8)


class Muon(AdamW):
    """As ``torch.optim.Muon`` for the hidden layers; AdamW at its middle rate for all else."""

    middle, decay = 0.1, 0.005

    def _update(
        self, w: Tensor, g: Tensor, state: dict, lr: Tensor, decay: float, factor: float
    ) -> None:
        if w.shape[1:] not in HIDDEN:
            rate = factor * AdamW.middle * torch.ones_like(lr)
            super()._update(w, g, state, rate, 10 * decay, factor)
            return
        B = state["B"] = state["B"].lerp_(g, 0.05) if state else 0.05 * g
        X = g.lerp(B, 0.95).flatten(2)
        w -= lr * decay * w
        w -= lr * math.sqrt(max(1, X.shape[1] / X.shape[2])) * orthogonalized(X).view_as(w)


def orthogonalized(X: Tensor) -> Tensor:
    """Five Newton–Schulz steps, for matrices (R, rows, columns)."""
    if X.shape[1] > X.shape[2]:
        return orthogonalized(X.mT).mT
    X = X / (X.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        A = X @ X.mT
        X = 3.4445 * X + (-4.7750 * A + 2.0315 * A @ A) @ X
    return X


class ScheduleFree(Descent):
    """Schedule-free SGD: gradients at y, steps of z, and x is z's mean, weighted by lr²."""

    middle, decay = 1.0, 5e-4

    def _update(
        self, w: Tensor, g: Tensor, state: dict, lr: Tensor, decay: float, factor: float
    ) -> None:
        if not state:
            state |= {"x": w.clone(), "z": w.clone(), "sum": 0.0}
        state["sum"] += factor**2
        state["z"] -= lr * g.add(w, alpha=decay)
        state["x"].lerp_(state["z"], factor**2 / state["sum"])
        w.copy_(state["z"].lerp(state["x"], 0.9))

    def _finish(self) -> None:
        for w in self.weights:
            w.copy_(self.state[w]["x"])


def beside(values: Tensor, w: Tensor) -> Tensor:
    """The value of each network, (R,), beside a parameter (R, …): (R, 1, …)."""
    return values.view(-1, *[1] * (w.ndim - 1))


def small_vgg(seed: int) -> nn.Sequential:
    """Build the network of the garments: 11,058 parameters."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(144, 48), nn.ReLU(), nn.Linear(48, 10),
    )  # fmt: skip


def without_norm(seed: int) -> nn.Sequential:
    """Build the network of the broken batch: 2,698 parameters."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(16 * 9, 10),
    )  # fmt: skip


def next_character(seed: int) -> nn.Sequential:
    """Build the model of text: 30,287 parameters."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Embedding(95, 16), nn.Flatten(),
        nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 95),
    )  # fmt: skip


NETWORKS = {
    "whole": without_norm, "one broken batch": without_norm, "characters": next_character,
}  # fmt: skip


def batches(task: str, steps: int, seeds: list[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """Draw what each network learns from, in the order of its seed."""
    if task != "characters":
        for step, i in enumerate(orders(8000, 50, steps, seeds)):
            broken = task == "one broken batch" and step == steps // 2
            yield PICTURES[i] * (255 if broken else 1), NAMES[i]
        return
    for places in orders(CUTS[0] - 8, 100, steps, seeds):
        yield CODES[places[..., None] + 8 + BEFORE], CODES[places + 8]


def recalibrate(networks: SideBySide) -> None:
    """Give batch normalization the statistics that these weights have on 1,000 garments."""
    layers = [part for part in networks.form if isinstance(part, nn.BatchNorm2d)]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean
    networks.train()
    for some in PICTURES[:1000].split(250) if layers else ():
        networks(some[None])
    for layer in layers:
        layer.momentum = 0.1


@torch.no_grad()
def measured(task: str, networks: SideBySide, part: str) -> tuple[Tensor, Tensor]:
    """Scores and losses of all networks on what the settings are chosen by, or on the test."""
    networks.eval()
    if task == "characters":
        start, end = CUTS[:2] if part == "choosing" else CUTS[1:]
        places = torch.arange(start + 8, end, 8)
        x, y = CODES[places[:, None] + BEFORE], CODES[places]
    else:
        x, y = (PICTURES[8000:], NAMES[8000:]) if part == "choosing" else (UNSEEN, UNSEEN_NAMES)
    right, losses = [], []
    for some, wanted in zip(x.split(250), y.split(250), strict=True):
        scores = networks(some[None])
        losses.append(F.cross_entropy(scores.mT, wanted.expand(len(scores), -1), reduction="none"))
        right.append(scores.argmax(2) == wanted)
    loss = torch.cat(losses, 1).mean(1).nan_to_num(nan=99)
    return loss if task == "characters" else 100 * torch.cat(right, 1).float().mean(1), loss


def train(
    task: str, rule: type[Descent], schedule: Schedule, clip: bool, averages: list[float],
    steps: int, settings: list[tuple[float, int]],
) -> Iterator[tuple[str, float | str, SideBySide]]:  # fmt: skip
    """Train networks of these rates and seeds; give them with each of their weights."""
    rates, seeds = ([*each] for each in zip(*settings, strict=True))
    networks = SideBySide([NETWORKS.get(task, small_vgg)(seed) for seed in seeds])
    optimizer = rule(networks, rates, clip)
    means = [[w.detach().clone() for w in optimizer.weights] for _ in averages]
    networks.train()
    for step, (x, y) in enumerate(batches(task, steps, seeds)):
        each = cross_entropies(networks(x).flatten(0, 1), y.flatten())
        networks.zero_grad()
        each.view(len(seeds), -1).mean(1).sum().backward()
        optimizer.step(schedule(step))
        for decay, mean in zip(averages, means, strict=True):
            torch._foreach_lerp_(mean, [w.detach() for w in optimizer.weights], 1 - decay)
    with torch.no_grad():
        optimizer._finish()
        recalibrate(networks)
        yield "last", "", networks
        for decay, mean in zip(averages, means, strict=True):
            for w, average in zip(optimizer.weights, mean, strict=True):
                w.copy_(average)
            recalibrate(networks)
            yield "average", decay, networks


def arm(
    task: str, name: str, rule: type[Descent], *, decayed: bool = True, warm: bool = False,
    clip: bool = False, averages: tuple[float, ...] = (), steps: int = 300,
) -> Iterator[list]:  # fmt: skip
    """Tune an arm, then train and test other seeds at its best setting."""
    ahead = steps // 10 if warm else 0
    schedule = cosine(steps - ahead) if decayed else lambda step: 1.0
    if warm:
        schedule = warmup(schedule, ahead, start_factor=1 / ahead)
    recipe = task, rule, schedule, clip
    totals: dict[tuple, float] = defaultdict(float)
    wanted = {rule.middle * off for off in OFF}
    rates: set[float] = set()
    while wanted - rates:
        tried = [*product(sorted(wanted - rates), TUNING)]
        rates |= wanted
        for weights, decay, networks in train(*recipe, [*averages], steps, tried):
            scores = measured(task, networks, "choosing")[0].tolist()
            for (rate, seed), score in zip(tried, scores, strict=True):
                totals[weights, rate, decay] += -score if task == "characters" else score
                score = round(score, 3)
                yield [task, name, weights, steps, f"{rate:.2g}", decay, seed, score, "", ""]
        best = {key[0]: key for key in sorted(totals, key=totals.__getitem__)}
        for _, rate, _ in best.values():  # is one at the edge? Then try further out
            wanted |= {rate * 10**0.5} if rate == max(rates) else set()
            wanted |= {rate / 10**0.5} if rate == min(rates) else set()
    for rate in sorted({key[1] for key in best.values()}):
        final = [(rate, seed) for seed in SEEDS]
        finals = {(key[0], key[2]) for key in best.values() if key[1] == rate}
        decays = [key[2] for key in best.values() if key[1] == rate and key[2]]
        for weights, decay, networks in train(*recipe, decays, steps, final):
            if (weights, decay) in finals:
                known = measured(task, networks, "choosing")[0].tolist()
                new = (values.tolist() for values in measured(task, networks, "test"))
                for (_, seed), *found in zip(final, known, *new, strict=True):
                    found = [round(value, 3) for value in found]
                    yield [task, name, weights, steps, f"{rate:.2g}", decay, seed, *found]


def ingredients() -> Iterator[list]:
    """Every ingredient alone, all together, and the rules."""
    yield from arm("garments", "constant", Descent, decayed=False, averages=AVERAGES)
    yield from arm("garments", "plain", Descent, averages=AVERAGES)
    yield from arm("garments", "warm-up", Descent, warm=True)
    yield from arm("garments", "clipping", Descent, clip=True)
    yield from arm("garments", "AdamW", AdamW)
    yield from arm("garments", "AdamW, warm-up", AdamW, warm=True)
    yield from arm("garments", "Muon", Muon)
    yield from arm("garments", "schedule-free", ScheduleFree, decayed=False, warm=True)
    for name, rule in {"SGD": Descent, "AdamW": AdamW, "Muon": Muon}.items():
        yield from arm("garments", f"all, {name}", rule, warm=True, clip=True, averages=AVERAGES)


def longer() -> Iterator[list]:
    """Does an average replace the decay of the rate, when there is more time?"""
    for name, decayed in {"constant": False, "plain": True}.items():
        averages = (*AVERAGES, 0.999)
        yield from arm("long", name, Descent, decayed=decayed, averages=averages, steps=900)


def broken() -> Iterator[list]:
    """Measure what clipping is worth where something goes wrong, and where nothing does."""
    for task in ("whole", "one broken batch"):
        for name in ("plain", "clipping"):
            yield from arm(task, name, Descent, clip=name == "clipping", steps=300)


def text() -> Iterator[list]:
    """Compare the rules where AdamW is known to be ahead."""
    rules = {"plain": Descent, "AdamW": AdamW, "Muon": Muon}
    for name, rule in rules.items():
        yield from arm("characters", name, rule, steps=500)
    yield from arm("characters", "schedule-free", ScheduleFree, decayed=False, warm=True, steps=500)


if __name__ == "__main__":
    write_table(__file__, HEAD, chain(ingredients(), longer(), broken(), text()))
