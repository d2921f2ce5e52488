"""Ensembles and data parallelism: one network or a team? The long run behind the chapter.

    python benchmarks/claims/ensembles_and_data_parallel.py    # 9 CPU-minutes; writes the .csv

Pictures halved to 14 × 14, two convolutions with batch normalization, SGD with Nesterov's momentum.
Rates are chosen on accuracy on 2,000 garments that nobody learns from, with seeds from 100 on; then
other seeds are trained at the best rate, and tested on 5,000 garments. The rows of the choosing
have no test. A seed has its garments; a member of a team has weights and an order of its own.

- ``work``: one wide network, a team of narrow ones, or one narrow network for as many more steps,
  all with equal multiply-adds times steps, 200 of the wide one's; and 400, at the rates of 200.
  Batches of 50.
- ``parts``: one network whose batch of 64 is normalized in parts, as p processes would do it, each
  with its own mean and variance. What is remembered for later is that of the first part, as in
  ``DistributedDataParallel``; ``Again`` is the test with those of 2,000 garments instead, and
  ``Alone`` (64 parts) with each garment's own, as in training.
- ``weights``: pairs of networks that share their first steps, and then go on with orders of their
  own; or no step and no weight. ``Blend`` is the test of their averaged weights, ``Test`` that of
  their averaged answers. And one run whose rate stays or falls; its ``Blend`` is the mean of twenty
  moments of its second half. Statistics are measured anew for a blend, on 2,000 garments.

One row for each network, team or pair.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor, nn

from d2lite.data import fashion_mnist
from d2lite.schedules import triangular
from d2lite.side_by_side import SideBySide, fit_all, orders

RATES, TUNING, SEEDS = [0.03, 0.1, 0.3, 0.9], [100, 101, 102], range(6)
DESCENT = {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
HEAD = ["Experiment", "Arm", "Members", "Channels", "Garments", "Steps", "Rate", "Seed", "Choosing"]
HEAD += ["Test", "By scores", "Member", "Loss", "ECE", "T", "ECE at T", "Again", "Blend", "Alone"]
#: Channels of the two layers, members, and steps as a multiple of the wide network's.
WORK = {
    "one wide": ((16, 32), 1, 1),
    "team of 2": ((11, 22), 2, 1),
    "team of 4": ((8, 14), 4, 1),
    "narrow, 4 times as long": ((8, 14), 1, 4),
}

TRAIN, TEST = fashion_mnist()
PICTURES, NAMES = F.avg_pool2d(TRAIN.images, 2), TRAIN.labels
UNSEEN, UNSEEN_NAMES = F.avg_pool2d(TEST.images[:5000], 2), TEST.labels[:5000]


class PartNorm(nn.BatchNorm2d):
    """Batch normalization of each of some equal parts of a batch by itself."""

    def __init__(self, channels: int, parts: int) -> None:
        super().__init__(channels)
        self.parts = parts

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same; remembers the statistics of the first part."""
        if not self.training:
            return super().forward(x)
        parts = x.unflatten(0, (self.parts, -1))  # (parts, N / parts, C, H, W)
        with torch.no_grad():
            var, mean = torch.var_mean(parts[0], (0, 2, 3))
            self.running_mean.mul_(1 - self.momentum).add_(self.momentum * mean)
            self.running_var.mul_(1 - self.momentum).add_(self.momentum * var)
        own = self.weight.repeat(self.parts), self.bias.repeat(self.parts)
        apart = parts.transpose(0, 1).flatten(1, 2)  # each part has channels of its own
        apart = F.batch_norm(apart, None, None, *own, training=True, eps=self.eps)
        return apart.unflatten(1, (self.parts, -1)).transpose(0, 1).flatten(0, 1)


def network(seed: int, channels: tuple[int, int], parts: int = 1) -> nn.Sequential:
    """Build two convolutions, each with batch normalization, and a linear layer."""
    torch.manual_seed(seed)
    c, d = channels
    norms = [nn.BatchNorm2d(n) if parts == 1 else PartNorm(n, parts) for n in channels]
    return nn.Sequential(
        nn.Conv2d(1, c, 3, padding=1), norms[0], nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(c, d, 3, padding=1), norms[1], nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(9 * d, 10),
    )  # fmt: skip


def learn(
    networks: SideBySide, chosen: Tensor, batch: int, steps: int, rates: list[float],
    seeds: list[int],
) -> None:  # fmt: skip
    """Train networks side by side, each on its garments, (R, N)."""
    rows = torch.arange(len(networks))[:, None]
    batches = (
        (PICTURES[chosen[rows, i]], NAMES[chosen[rows, i]])
        for i in orders(chosen.shape[1], batch, steps, seeds)
    )
    fit_all(networks, batches, lr=rates, schedule=triangular(steps), **DESCENT)


@torch.no_grad()
def answers(networks: SideBySide, images: Tensor) -> Tensor:
    """The logarithms of the shares of all networks, (R, N, 10)."""
    return torch.cat([networks(part[None]) for part in images.split(500)], dim=1).log_softmax(2)


def draw(seed: int, count: int) -> Tensor:
    """The garments of a seed, out of the first 8,000."""
    return torch.randperm(8000, generator=torch.Generator().manual_seed(seed))[:count]


def right(scores: Tensor, names: Tensor) -> float:
    """Percent right, from scores (…, N, 10)."""
    return 100 * (scores.argmax(-1) == names).float().mean().item()


def calibration_error(shares: Tensor, names: Tensor) -> float:
    """Expected calibration error in percent, 15 bins of equal width."""
    sure, kind = shares.max(1)
    bins = (sure * 15).long().clamp(max=14)
    off = torch.zeros(15).index_add(0, bins, sure - (kind == names).float())
    return 100 * off.abs().sum().item() / len(names)


def temperature(logs: Tensor, names: Tensor) -> float:
    """The temperature with the smallest loss on known garments, to about 2 %."""
    tried = torch.logspace(-1, 1, 101, base=3).tolist()
    return min(tried, key=lambda T: F.cross_entropy(logs / T, names).item())


def team(known: Tensor, new: Tensor | None) -> list[object]:
    """Measure a team from the logarithms of its members' shares, (M, N, 10)."""
    logs = known.exp().mean(0).log()
    found = [right(logs, NAMES[8000:])]
    if new is not None:
        mean = new.exp().mean(0).log()
        T = temperature(logs, NAMES[8000:])
        found += [right(mean, UNSEEN_NAMES), right(new.mean(0), UNSEEN_NAMES)]
        found += [right(new, UNSEEN_NAMES), F.cross_entropy(mean, UNSEEN_NAMES).item()]
        found += [calibration_error(mean.exp(), UNSEEN_NAMES), T]
        found += [calibration_error((mean / T).softmax(1), UNSEEN_NAMES)]
    digits = [2, 2, 2, 2, 4, 2, 3, 2]
    return [round(x, n) for x, n in zip(found, digits[: len(found)], strict=True)]


def row(*known: object) -> list[object]:
    """Fill up a row to the length of the head."""
    return [*known] + [""] * (len(HEAD) - len(known))


def work(name: str, garments: int, steps: int, rate: float = 0.0) -> Iterator[list]:
    """Tune an arm, unless it has a rate, then train other seeds at its best rate."""
    channels, members, times = WORK[name]
    known = "work", name, members, f"{channels[0]} and {channels[1]}", garments, steps * times

    def run(tried: list[tuple[float, int]]) -> Iterator[list]:
        together = max(1, 12 // members)
        for part in (tried[i : i + together] for i in range(0, len(tried), together)):
            own = [10 * seed + m for _, seed in part for m in range(members)]
            networks = SideBySide([network(seed, channels) for seed in own])
            chosen = torch.stack([draw(seed // 10, garments) for seed in own])
            rates = [rate for rate, _ in part for _ in range(members)]
            learn(networks, chosen, 50, steps * times, rates, own)
            old = answers(networks, PICTURES[8000:]).unflatten(0, (-1, members))
            choosing = part[0][1] >= 100
            new = None if choosing else answers(networks, UNSEEN).unflatten(0, (-1, members))
            for i, (rate, seed) in enumerate(part):
                yield row(*known, rate, seed, *team(old[i], None if new is None else new[i]))

    if rate:
        yield from run([(rate, seed) for seed in SEEDS])
    else:
        yield from tuned(run, TUNING if members == 1 else TUNING[:2])  # a team is less noisy


def tuned(
    run: Callable[[list[tuple[float, int]]], Iterator[list]], tuning: list[int]
) -> Iterator[list]:
    """Try the rates, one more where the best is an edge, then train at the best."""
    rows = list(run([(rate, seed) for rate in RATES for seed in tuning]))
    for edge, further in ((RATES[0], 0.01), (RATES[-1], 2.7)):
        if best(rows) == edge:
            rows += run([(further, seed) for seed in tuning])
    yield from rows
    yield from run([(best(rows), seed) for seed in SEEDS])


def best(rows: list[list]) -> float:
    """The rate with the highest accuracy on the choosing garments."""
    total: dict[float, float] = defaultdict(float)
    for each in rows:
        total[each[6]] += each[8]
    return max(total, key=total.__getitem__)


def parts(count: int) -> Iterator[list]:
    """Normalize a batch of 64 in so many parts."""

    def run(tried: list[tuple[float, int]]) -> Iterator[list]:
        for part in (tried[i : i + 12] for i in range(0, len(tried), 12)):
            own = [seed for _, seed in part]
            networks = SideBySide([network(seed, (8, 16), count) for seed in own])
            chosen = torch.arange(8000).expand(len(own), 8000)
            learn(networks, chosen, 64, 300, [rate for rate, _ in part], own)
            old, new = answers(networks, PICTURES[8000:]), answers(networks, UNSEEN)
            again = remembered_anew(networks)
            alone = each_alone(networks)
            for i, (rate, seed) in enumerate(part):
                known = row("parts", f"{count} parts", 1, "8 and 16", 8000, 300, rate, seed)
                if seed >= 100:
                    known[8] = team(old[i : i + 1], None)[0]
                else:
                    known[8:17] = [*team(old[i : i + 1], new[i : i + 1]), round(again[i], 2)]
                    known[18] = round(alone[i], 2) if count == 64 else ""
                yield known

    yield from tuned(run, TUNING[:2])


@torch.no_grad()
def remembered_anew(networks: SideBySide) -> list[float]:
    """Percent right in the test, with statistics of 2,000 garments in place of the remembered."""
    for norm in (networks.form[1], networks.form[5]):
        norm.parts = 1
        norm.momentum = 1.0
    networks.train()
    networks(PICTURES[None, :2000])
    networks.eval()
    return [right(each, UNSEEN_NAMES) for each in answers(networks, UNSEEN)]


@torch.no_grad()
def each_alone(networks: SideBySide) -> list[float]:
    """Percent right in the test, each garment normalized by itself."""
    for norm in (networks.form[1], networks.form[5]):
        norm.parts = 500
    networks.train()
    found = [right(each, UNSEEN_NAMES) for each in answers(networks, UNSEEN)]
    networks.eval()
    return found


def weights(rate: float, steps: int, moments: Sequence[int]) -> Iterator[list]:
    """Average the weights of pairs, and of moments of one run."""
    known = "8 and 16", 2000, steps, rate
    seeds, falling = list(SEEDS), triangular(steps)
    lessons = torch.stack([draw(seed, 2000) for seed in seeds])

    def go_on(
        networks: SideBySide, begin: int, end: int, own: list[int],
        schedule: Callable[[int], float] = falling,
        watch: Callable[[int], object] = lambda step: None,
    ) -> None:  # fmt: skip
        chosen = lessons.repeat_interleave(len(own) // len(seeds), 0)
        rows = torch.arange(len(own))[:, None]
        batches = (
            (PICTURES[chosen[rows, i]], NAMES[chosen[rows, i]])
            for i in orders(2000, 50, end - begin, own)
        )
        later = {"schedule": lambda step: schedule(begin + step), "watch": watch}
        fit_all(networks, batches, lr=rate, **later, **DESCENT)

    def blend(sets: list[list[Tensor]]) -> list[float]:
        mixed = SideBySide([network(seed, (8, 16)) for seed in seeds])
        for p, *own in zip(mixed.parameters(), *sets, strict=True):
            p.data = torch.stack(own).mean(0)
        return remembered_anew(mixed)

    def pairs(name: str, begun: list[nn.Module], done: int) -> Iterator[list]:
        two = SideBySide(begun)
        go_on(two, done, steps, [10 * seed + i for seed in seeds for i in (0, 1)])
        old, new = (answers(two, x).unflatten(0, (-1, 2)) for x in (PICTURES[8000:], UNSEEN))
        halves = [[p.detach()[i::2] for p in two.parameters()] for i in (0, 1)]
        for seed, *each, mixed in zip(seeds, old, new, blend(halves), strict=True):
            yield row("weights", name, 2, *known, seed, *team(*each), "", round(mixed, 2))

    own = [network(10 * seed + i, (8, 16)) for seed in seeds for i in (0, 1)]
    yield from pairs("nothing shared", own, 0)
    one, done = SideBySide([network(10 * seed, (8, 16)) for seed in seeds]), 0
    for shared in moments:
        if shared:
            go_on(one, done, shared, seeds)
            done = shared
        both = [one[i] for i in range(len(seeds)) for _ in (0, 1)]
        yield from pairs(f"{shared} steps shared", both, shared)
    for name, schedule in (("falls", falling), ("stays", lambda step: 1.0)):
        run = SideBySide([network(10 * seed, (8, 16)) for seed in seeds])
        kept: list[list[Tensor]] = []

        def keep(step: int, run: SideBySide = run, kept: list = kept) -> None:
            if step > steps / 2 and step % 5 == 0:
                kept.append([p.detach().clone() for p in run.parameters()])

        go_on(run, 0, steps, seeds, schedule, keep)
        for seed, each, mixed in zip(seeds, answers(run, UNSEEN), blend(kept), strict=True):
            found = round(right(each, UNSEEN_NAMES), 2)
            known_of = row("weights", f"one run, rate {name}", 1, *known, seed, "", found)
            known_of[HEAD.index("Blend")] = round(mixed, 2)
            yield known_of


def everything() -> Iterator[list]:
    """All rows."""
    for rate in (0.1, 0.3):
        yield from weights(rate, 200, (0, 10, 40, 100))
    yield from weights(0.3, 800, (0, 40))
    for count in (1, 2, 8, 32, 64):
        yield from parts(count)
    chosen = {}
    for garments in (1000, 8000):
        for name in WORK:
            for each in work(name, garments, 200):
                yield each
                chosen[name] = each[6]  # at last, the best
    for name, rate in chosen.items():
        yield from work(name, 8000, 400, rate)


if __name__ == "__main__":
    write_table(__file__, HEAD, chain(everything()))
