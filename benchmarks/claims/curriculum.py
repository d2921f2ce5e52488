"""Curriculum learning: does the order help, and is it the order?

    python benchmarks/claims/curriculum.py    # writes curriculum.csv beside it; 11 CPU-minutes

Pictures halved to 14 × 14, a CNN of 18,394 parameters, 1,000 garments, batches of 50, momentum
0.9, a rate that falls along a cosine to 0. ``true`` labels, or ``noisy`` ones: 40 % of them are of
another class, and so are 40 % of those that the choice of settings looks at. 600 or 150
steps; with true labels also 50.

Hard is what a network of the same form, which has not seen the garment, has a high loss on: four
folds, two rounds, 120 steps each. Where labels are noisy, the scores know nothing else.

- ``tune``: three seeds at each rate and pace; rates go on by √10 until the best is not at the edge.
  Chosen by the accuracy on 2,000 garments that no network learned from.
- ``report``: ten other seeds, each arm at its best setting, on 2,000 test garments.
- ``pace``: the ten seeds of 150 steps with true labels at a slower pace, which none prefers.
- ``share``: the ten seeds of noisy labels with other shares left out, or slower paces, each at its
  own best rate.
- ``scorer``: five of these ten, ``easy`` and ``drop`` at the same settings, by other scores.

``epochs`` draws each garment once an epoch, all others draw from the pool at each step anew.
``stopped`` is kept at its best moment; ``balanced`` is easy first within each class.

``Pace`` is the share of the steps until all garments are in the pool, which begins at a fifth; at
1.6 and above they never are. ``Dropped`` is left out from start to end. One row for each network.
"""

import math
from collections.abc import Iterator, Sequence
from functools import cache, partial
from itertools import chain

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor, nn

from d2lite.data import fashion_mnist
from d2lite.side_by_side import SideBySide, cross_entropies, evaluate_all, fit_all

COUNT, BATCH, BEGIN = 1000, 50, 0.2
TUNE, REPORT, SCORER = range(3), range(3, 13), range(3, 8)
MOMENTS = [1 / 8, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 7 / 8, 1]
HEAD = ["Part", "Labels", "Steps", "Arm", "Scorer", "Pace", "Dropped", "Rate", "Seed"]
HEAD += [f"{on} {moment:g}" for on in ("Choosing", "Test") for moment in MOMENTS]
HEAD += ["Wrong in hardest 40 %", "Rank correlation"]


def network(seed: int) -> nn.Sequential:
    """Build the chapter's network, for pictures of 14 × 14."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def linear(seed: int) -> nn.Sequential:
    """Build the small reference: softmax regression."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(196, 10))


def mislabel(labels: Tensor, source: torch.Generator) -> Tensor:
    """Give 40 % of the labels (N,) another class."""
    labels, wrong = labels.clone(), round(0.4 * len(labels))
    chosen = torch.randperm(len(labels), generator=source)[:wrong]
    labels[chosen] += torch.randint(1, 10, (wrong,), generator=source)
    return labels % 10


@cache
def lesson(seed: int, noisy: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Draw garments from the first 8,000: pictures, their labels, and which of these are wrong."""
    source = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(8000, generator=source)[:COUNT]
    labels = TRAIN.labels[chosen]
    given = mislabel(labels, source) if noisy else labels
    return TRAIN_IMAGES[chosen], given, given != labels


def cosine(steps: int, step: int) -> float:
    """Let the rate fall to 0."""
    return (1 + math.cos(math.pi * step / steps)) / 2


def train(
    networks: SideBySide,
    images: Tensor,
    labels: Tensor,
    rows: Sequence[Sequence[Tensor]],
    rates: list[float],
    **settings,
) -> None:
    """Train on images (R, N, …) and labels (R, N); ``rows`` has each step's batch for each."""
    each = torch.arange(len(networks))[:, None]
    batches = ((images[each, i], labels[each, i]) for i in (torch.stack(step) for step in rows))
    schedule = partial(cosine, len(rows))
    fit_all(networks, batches, lr=rates, momentum=0.9, schedule=schedule, **settings)


@cache
def score(seed: int, noisy: bool, scorer: str) -> Tensor:
    """How hard each garment is, (N,), from its given label alone: high is hard."""
    images, labels, wrong = lesson(seed, noisy)
    source = torch.Generator().manual_seed(100 + seed)
    if scorer == "random":
        return torch.rand(COUNT, generator=source)
    if scorer == "truth":  # cheating: which labels are wrong
        return wrong + torch.rand(COUNT, generator=source)
    make = linear if scorer == "linear" else network
    if scorer in ("own loss", "steps to learn"):  # a network that has learned from them itself
        networks = SideBySide([make(200 + seed), make(300 + seed)])
        both = images.expand(2, *images.shape), labels.expand(2, COUNT)
        right: list[Tensor] = []

        def watch(step: int) -> None:
            if step % 20 == 0 and scorer == "steps to learn":
                networks.eval()
                right.append((networks(both[0]).argmax(-1) == both[1]).float())
                networks.train()

        orders = [2 * [torch.randperm(COUNT, generator=source)[:BATCH]] for _ in range(600)]
        train(networks, *both, orders, [0.03] * 2, watch=watch)
        if scorer == "steps to learn":  # a share of the moments at which it was wrong
            return 1 - torch.stack(right).mean((0, 1))
        with torch.no_grad():
            scores = networks(both[0])
        return cross_entropies(scores.flatten(0, 1), both[1].flatten()).view(2, -1).mean(0)
    losses = torch.zeros(COUNT)
    for turn in range(2):
        folds = torch.randperm(COUNT, generator=source).view(4, -1)
        known = torch.stack([torch.cat([*folds[:k], *folds[k + 1 :]]) for k in range(4)])
        networks = SideBySide([make(1000 * turn + 200 + seed) for _ in range(4)])
        place = torch.randperm
        steps = [4 * [place(known.shape[1], generator=source)[:BATCH]] for _ in range(120)]
        train(networks, images[known], labels[known], steps, [0.03] * 4)
        with torch.no_grad():
            answers = networks(images[folds]).flatten(0, 1)
        losses[folds.flatten()] += cross_entropies(answers, labels[folds].flatten())
    return losses


def generalized(scores: Tensor, labels: Tensor, q: float = 0.7) -> Tensor:
    """Compute the generalized cross-entropy of each, (N,) (Zhang and Sabuncu, 2018)."""
    return (1 - scores.softmax(1).gather(1, labels[:, None])[:, 0] ** q) / q


LOSSES = {"smoothing": partial(cross_entropies, label_smoothing=0.2), "robust": generalized}


def within_kinds(score: Tensor, labels: Tensor) -> Tensor:
    """Rank each garment among those of its label, from 0 to 1, so that all classes come at once."""
    rank = torch.empty(COUNT)
    for kind in range(10):
        own = (labels == kind).nonzero().flatten()
        rank[own[score[own].argsort()]] = torch.arange(len(own)) / len(own)
    return rank


def drawn(arm: str, score: Tensor, seed: int, steps: int, pace: float, dropped: float):
    """Draw the batches of one network, a tensor (B,) for each step."""
    source = torch.Generator().manual_seed(seed)
    if arm == "epochs":
        epochs = [torch.randperm(COUNT, generator=source).split(BATCH) for _ in range(steps)]
        return [batch for epoch in epochs for batch in epoch][:steps]
    order = score.argsort(descending=arm == "hard")
    if arm == "random":
        order = torch.randperm(COUNT, generator=source)
    sizes = [COUNT - round(dropped * COUNT)] * steps
    if pace:
        grown = [BEGIN + (1 - BEGIN) * step / (pace * steps) for step in range(steps)]
        sizes = [round(COUNT * min(1, share)) for share in grown]
    return [order[torch.randperm(size, generator=source)[:BATCH]] for size in sizes]


def run(
    part: str, noisy: bool, steps: int, arm: str, scorer: str, pace: float, dropped: float,
    rates: Sequence[float], seeds: Sequence[int],
) -> list[list[object]]:  # fmt: skip
    """Train a network for each seed and rate, side by side: a row for each."""
    each = [(rate, seed) for rate in rates for seed in seeds]
    networks = SideBySide([network(seed) for _, seed in each])
    lessons = [lesson(seed, noisy) for _, seed in each]
    images, labels = (torch.stack([one[i] for one in lessons]) for i in (0, 1))
    scores = [score(seed, noisy, scorer) for _, seed in each]
    if arm == "balanced":
        scores = [within_kinds(hard, y) for hard, y in zip(scores, labels, strict=True)]
    batches = [
        drawn(arm, hard, seed, steps, pace, dropped)
        for hard, (_, seed) in zip(scores, each, strict=True)
    ]
    moments = [round(moment * steps) for moment in MOMENTS]
    often = arm in ("standard", "stopped")  # is it to be stopped?
    found: dict[str, list[list[float]]] = {"choosing": [], "test": []}
    choosing = NOISY_CHOOSING if noisy else TRAIN.labels[8000:]

    def watch(step: int) -> None:
        if step in moments:
            last = step == steps
            for on, x, y, wanted in (
                ("choosing", TRAIN_IMAGES[8000:], choosing, often or last),
                ("test", TEST_IMAGES, TEST.labels[:2000], part != "tune" and (often or last)),
            ):
                none = [math.nan] * len(each)
                share = evaluate_all(networks, x[None], y[None]).tolist() if wanted else none
                found[on].append(share)

    loss = LOSSES.get(arm, cross_entropies)
    train(
        networks, images, labels, list(zip(*batches, strict=True)), [rate for rate, _ in each],
        loss=loss, watch=watch,
    )  # fmt: skip
    rows = []
    for i, (rate, seed) in enumerate(each):
        values = [100 * share[i] for on in found.values() for share in on]
        hardest = score(seed, noisy, scorer).argsort(descending=True)[: round(0.4 * COUNT)]
        wrong = 100 * lessons[i][2][hardest].float().mean().item()
        alike = spearman(score(seed, noisy, scorer), score(seed, noisy, "folds"))
        row = [part, LABELS[noisy], steps, arm, scorer, pace, dropped, rate, seed]
        row += ["" if math.isnan(value) else round(value, 2) for value in values]
        rows.append([*row, round(wrong, 1), round(alike, 2)])
    return rows


def spearman(a: Tensor, b: Tensor) -> float:
    """Correlate ranks (there are no ties to speak of)."""
    ranks = torch.stack([a.argsort().argsort(), b.argsort().argsort()]).float()
    return torch.corrcoef(ranks)[0, 1].item()


def tuned(
    noisy: bool, steps: int, arm: str, rows: list[list[object]],
    paces: Sequence[float], shares: Sequence[float],
) -> tuple[float, ...]:  # fmt: skip
    """Try an arm's settings, append their rows, and give the best: pace, dropped, rate."""
    at = HEAD.index("Choosing 1")
    marks: dict[tuple[float, float, float], float] = {}

    def measure(pace: float, dropped: float, rates: list[float]) -> None:
        settings = [(noisy, steps, arm, pace, dropped, rate) for rate in rates]
        untried = [setting[-1] for setting in settings if setting not in TRIED]
        if untried:
            new = run("tune", noisy, steps, arm, "folds", pace, dropped, untried, TUNE)
            rows.extend(new)
            for rate in untried:
                setting = (noisy, steps, arm, pace, dropped, rate)
                TRIED[setting] = [row for row in new if row[HEAD.index("Rate")] == rate]
        for rate in rates:
            own = TRIED[noisy, steps, arm, pace, dropped, rate]
            first = at - len(MOMENTS) + 1 if arm == "stopped" else at
            best = [max(row[first : at + 1]) for row in own]  # type: ignore[type-var]
            marks[pace, dropped, rate] = sum(best) / len(best)  # type: ignore[arg-type]

    for pace in paces:
        for dropped in shares:
            measure(pace, dropped, [0.01, 0.03, 0.1])
    while True:
        pace, dropped, rate = max(marks, key=marks.__getitem__)
        tried = [r for p, d, r in marks if (p, d) == (pace, dropped)]
        if min(tried) < rate < max(tried):
            return pace, dropped, rate
        beyond = RATES.index(rate) + (1 if rate == max(tried) else -1)
        measure(pace, dropped, [RATES[beyond]])


def study(noisy: bool, steps: int) -> Iterator[list[object]]:
    """Choose for each arm, then train ten seeds of each at its choice."""
    best: dict[str, tuple[float, ...]] = {}
    for arm in ARMS[noisy]:
        rows: list[list[object]] = []
        paces = PACES[noisy, steps] if arm in PACED else [0.0]
        shares = [0.2, 0.4] if arm == "drop" else [0.0]
        if arm == "epochs":
            best[arm] = best["standard"]
        else:
            best[arm] = tuned(noisy, steps, arm, rows, paces, shares)
        yield from rows
    for arm, (pace, dropped, rate) in best.items():
        yield from run("report", noisy, steps, arm, "folds", pace, dropped, [rate], REPORT)
    if not noisy and steps == 150:
        for arm in PACED:
            yield from run("pace", noisy, steps, arm, "folds", 0.4, 0.0, [0.1], REPORT)
    if noisy and steps == 600:
        for scorer in ("linear", "own loss", "steps to learn", "random", "truth"):
            for arm in ("easy", "drop"):
                pace, dropped, rate = best[arm]
                yield from run("scorer", noisy, steps, arm, scorer, pace, dropped, [rate], SCORER)


def how_much(steps: int) -> Iterator[list[object]]:
    """How much is best left out of noisy labels, and how much does easy first leave out?

    Each share and each pace has a rate of its own. ``drop`` of 0.4 and ``easy`` at a pace of 1.6
    have ten seeds already, as they were the best of ``study``.
    """
    tries = [("drop", 0.0, share) for share in (0.2, 0.3, 0.4, 0.5, 0.6)]
    tries += [("easy", pace, 0.0) for pace in (1.6, 2.0, 3.2)]
    for arm, pace, dropped in tries:
        rows: list[list[object]] = []
        *_, rate = tuned(True, steps, arm, rows, [pace], [dropped])
        yield from rows
        if dropped != 0.4 and pace != 1.6:
            yield from run("share", True, steps, arm, "folds", pace, dropped, [rate], REPORT)


def slower() -> Iterator[list[object]]:
    """Go on where, with true labels, the slowest of two paces was the best; ten seeds if it is."""
    for steps, arm in ((50, "random"), (50, "balanced"), (600, "random")):
        rows: list[list[object]] = []
        pace, _, rate = tuned(False, steps, arm, rows, [0.4, 0.8], [0.0])
        yield from rows
        if pace == 0.8:
            yield from run("report", False, steps, arm, "folds", pace, 0.0, [rate], REPORT)


TRAIN, TEST = fashion_mnist()
TRAIN_IMAGES = F.avg_pool2d(TRAIN.images, 2)
TEST_IMAGES = F.avg_pool2d(TEST.images[:2000], 2)
NOISY_CHOOSING = mislabel(TRAIN.labels[8000:], torch.Generator().manual_seed(0))
PACED = ["easy", "hard", "random", "balanced"]
PACES = {
    (False, 600): [0.1, 0.4], (False, 150): [0.1, 0.4, 0.8, 1.6], (False, 50): [0.1, 0.4],
    (True, 600): [0.4, 0.8, 1.6], (True, 150): [0.4, 0.8, 1.6],
}  # fmt: skip
ARMS = [
    ["standard", "epochs", *PACED, "drop"],
    ["standard", "epochs", "stopped", *PACED[:3], "drop", "smoothing", "robust"],
]  # for true labels, for noisy ones
#: the rows of the settings that were tried
TRIED: dict[tuple[object, ...], list[list[object]]] = {}
LABELS, RATES = ["true", "noisy"], [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0]

if __name__ == "__main__":
    studies = [study(*setting) for setting in PACES]
    write_table(__file__, HEAD, chain(*studies, how_much(600), how_much(150), slower()))
