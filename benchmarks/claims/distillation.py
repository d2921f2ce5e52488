"""Distillation: what is in a teacher's answers? The long run behind the chapter on distillation.

    python benchmarks/claims/distillation.py    # writes distillation.csv beside it; 15 CPU-minutes

Pictures halved to 14 × 14, SGD with Nesterov's momentum, batches of 50, 300 steps unless the row
says otherwise. Each arm is tuned on accuracy on 2,000 garments that nobody learns from, with seeds
100 to 102; at its best rate, temperature T and weight of the soft labels, other seeds are trained,
and tested on 5,000 garments. The rows of the tuning have no test. A seed has its garments, weights
and order.

- ``teacher``: the networks that teach.
- ``labels``, ``1000``, ``8000``: students of 1,000 labeled garments; labels alone, or soft labels
  of a teacher that learned from the same 1,000, or from 8,000; and with parts of them destroyed.
- ``8000 seen``: students that see all 8,000 garments, with labels, or soft labels of the teacher.
- ``unlabeled``: a teacher of 1,000 labels gives soft labels to 8,000 garments.
- ``unseen class``: students that never see one class, from the soft labels of a teacher that has;
  then a number is added to its score, for which a tenth of the garments for choosing get its name.
- ``hints``: eight narrow layers or two wide ones; labels, a teacher, or hints for 100 of the steps.

One row for each network.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, pairwise

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor, nn

from d2lite.data import fashion_mnist
from d2lite.schedules import triangular
from d2lite.side_by_side import SideBySide, fit_all, orders

STEPS, RATES, TUNING = 300, [0.01, 0.03, 0.1, 0.3], [100, 101, 102]
HIGH, SEEDS = [0.03, 0.09, 0.3, 0.9], [*TUNING, *range(8)]
SETTINGS = [(T, weight) for T in (1, 3, 9) for weight in (0.5, 1)]
DESCENT = {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
HEAD = ["Experiment", "Arm", "Steps", "T", "Weight", "Rate", "Seed", "Hidden"]
HEAD += ["Choosing", "Test", "Confidence", "Found", "Bias", "Found after", "Test after"]

TRAIN, TEST = fashion_mnist()
PICTURES, NAMES = F.avg_pool2d(TRAIN.images, 2), TRAIN.labels
UNSEEN, UNSEEN_NAMES = F.avg_pool2d(TEST.images[:5000], 2), TEST.labels[:5000]
ALL = torch.arange(8000)
Lesson = tuple[Tensor, Tensor]  # garments (N,) and targets (N, 22)
#: the rows of the tuning, by experiment, arm and steps
TRIED: dict[tuple[str, str, int], list[list]] = defaultdict(list)


def layers(*channels: int) -> list[nn.Module]:
    """Convolutions of 3 × 3, each with batch normalization and ReLU."""
    parts: list[nn.Module] = []
    for before, after in pairwise(channels):
        parts += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
    return parts


def teacher(seed: int) -> nn.Sequential:
    """Build the network that teaches: 17,098 parameters."""
    torch.manual_seed(seed)
    return nn.Sequential(
        *layers(1, 16), nn.MaxPool2d(2), *layers(16, 32, 32), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(288, 10),
    )  # fmt: skip


def student(seed: int) -> nn.Sequential:
    """Build the network that learns: 1,090 parameters."""
    torch.manual_seed(seed)
    return nn.Sequential(
        *layers(1, 4), nn.MaxPool2d(2), *layers(4, 8), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(72, 10),
    )  # fmt: skip


def target(labels: Tensor, soft: Tensor, T: float, weight: float) -> Tensor:
    """What a student learns from, (N, 22): one-hot labels, soft labels, and the two settings."""
    settings = torch.tensor([T, weight]).expand(len(labels), 2)
    return torch.cat([F.one_hot(labels, 10), soft, settings], dim=1)


def distill(scores: Tensor, targets: Tensor) -> Tensor:
    """The loss of each example: of the labels, and of the soft ones at their temperature."""
    hard, soft, (T, weight) = targets[:, :10], targets[:, 10:20], targets[:, 20:].T
    by_labels = -(hard * scores.log_softmax(1)).sum(1)
    by_teacher = -(soft * (scores / T[:, None]).log_softmax(1)).sum(1)
    return (1 - weight) * by_labels + weight * T**2 * by_teacher


def learn(
    networks: SideBySide, lessons: Sequence[Lesson], rates: list[float], steps: int,
    seeds: list[int],
) -> None:  # fmt: skip
    """Train networks side by side, each on its own lesson."""
    chosen, targets = (torch.stack(parts) for parts in zip(*lessons, strict=True))
    rows = torch.arange(len(networks))[:, None]
    batches = (
        (PICTURES[chosen[rows, i]], targets[rows, i])
        for i in orders(chosen.shape[1], 50, steps, seeds)
    )
    fit_all(networks, batches, loss=distill, lr=rates, schedule=triangular(steps), **DESCENT)


@torch.no_grad()
def answers(networks: SideBySide, images: Tensor) -> Tensor:
    """The scores of all networks, (R, N, 10)."""
    return torch.cat([networks(part[None]) for part in images.split(500)], dim=1)


def measured(networks: SideBySide, tuning: bool) -> list[list]:
    """Percent right on the choosing garments, then test, and mean of the largest share."""
    scores = answers(networks, PICTURES[8000:])
    columns = [(scores.argmax(2) == NAMES[8000:]).float().mean(1)]
    if not tuning:
        scores = answers(networks, UNSEEN)
        columns.append((scores.argmax(2) == UNSEEN_NAMES).float().mean(1))
        columns.append(scores.softmax(2).amax(2).mean(1))
    return [[round(100 * x, 2) for x in row] for row in torch.stack(columns, 1).tolist()]


def row(*known: object) -> list[object]:
    """Fill up a row to the length of the head."""
    return [*known] + [""] * (len(HEAD) - len(known))


def draw(seed: int, count: int) -> Tensor:
    """The garments of a seed, out of the first 8,000."""
    return torch.randperm(8000, generator=torch.Generator().manual_seed(seed))[:count]


def from_labels(chosen: Tensor, label_smoothing: float = 0.0) -> Lesson:
    """Labels, of which a share is spread evenly."""
    even = torch.full((len(chosen), 10), 0.1)
    return chosen, target(NAMES[chosen], even, 1, label_smoothing)


def permuted(scores: Tensor, kept: Tensor, seed: int) -> Tensor:
    """Each garment's wrong classes change places; the score of the class ``kept`` stays."""
    source = torch.Generator().manual_seed(seed)
    keys = torch.rand(len(scores), 10, generator=source).scatter(1, kept[:, None], -1)
    old = torch.arange(10).expand(len(scores), 10).scatter(1, kept[:, None], -1)
    new, old = keys.argsort(1), old.argsort(1)  # the kept class is first in both
    return torch.empty_like(scores).scatter(1, old, scores.gather(1, new))


def class_means(shares: Tensor, labels: Tensor) -> Tensor:
    """Each garment gets the mean shares of all with its label."""
    rows = F.one_hot(labels, 10).float()
    return rows @ (rows.T @ shares / rows.sum(0)[:, None])


def teach(
    make: Callable[[int], nn.Module], seeds: Sequence[int], chosen: list[Tensor], steps: int,
    rate: float = 0.1,
) -> tuple[Tensor, SideBySide, list[list]]:  # fmt: skip
    """Train teachers on labels: their scores for 8,000 garments, themselves, their rows."""
    networks = SideBySide([make(1000 + seed) for seed in seeds])
    learn(networks, [from_labels(c) for c in chosen], [rate] * len(seeds), steps, list(seeds))
    name = f"{make.__name__} of {len(chosen[0])}"
    right = 100 * (answers(networks, UNSEEN).argmax(2) == UNSEEN_NAMES).float().mean(1)
    rows = [
        row("teacher", name, steps, "", "", rate, seed, "", "", round(test, 2))
        for seed, test in zip(seeds, right.tolist(), strict=True)
    ]
    return answers(networks, PICTURES[:8000]), networks, rows


def arm(
    experiment: str, name: str, lesson: Callable[[int, float, float], Lesson],
    settings: list[tuple[float, float]], steps: int = STEPS, rates: list[float] = RATES,
    tuning: list[int] = TUNING, seeds: Sequence[int] = range(8),
) -> Iterator[list]:  # fmt: skip
    """Tune an arm, then train other seeds at its best setting, if it was not the best before."""

    def run(tried: list[tuple]) -> list[list]:
        rows = []
        for part in (tried[i : i + 24] for i in range(0, len(tried), 24)):
            own, lessons = [t[-1] for t in part], [lesson(t[-1], *t[:2]) for t in part]
            networks = SideBySide([student(seed) for seed in own])
            learn(networks, lessons, [t[2] for t in part], steps, own)
            found = measured(networks, tuning=own[0] in TUNING)
            rows += [
                row(experiment, name, steps, *t, "", *f) for t, f in zip(part, found, strict=True)
            ]
        return rows

    tried = TRIED[experiment, name, steps]
    before = best(tried) if tried else None
    rows = run([(*s, rate, seed) for s in settings for rate in rates for seed in tuning])
    tried += rows
    yield from rows
    if best(tried) != before:
        yield from run([(*best(tried), seed) for seed in seeds])


def best(rows: list[list]) -> tuple:
    """Temperature, weight and rate with the highest accuracy on the choosing garments."""
    total: dict[tuple, float] = defaultdict(float)
    for each in rows:
        total[tuple(each[3:6])] += each[8]
    return max(total, key=total.__getitem__)


def by(scores: Tensor, change: str = "") -> Callable[[int, float, float], Lesson]:
    """1,000 labeled garments, and a teacher's soft labels, whole or with a part destroyed."""

    def lesson(seed: int, T: float, weight: float) -> Lesson:
        chosen = draw(seed, 1000)
        z = scores[SEEDS.index(seed) % len(scores)][chosen] / T
        if change == "permuted":
            z = permuted(z, NAMES[chosen], seed)
        soft = z.softmax(1)
        if change == "class means":
            soft = class_means(soft, NAMES[chosen])
        return chosen, target(NAMES[chosen], soft, T, weight)

    return lesson


def without_labels(scores: Tensor, change: str) -> Callable[[int, float, float], Lesson]:
    """Soft labels for 8,000 garments."""

    def lesson(seed: int, T: float, weight: float) -> Lesson:
        z = scores[SEEDS.index(seed) % len(scores)] / T
        if change == "permuted":
            z = permuted(z, z.argmax(1), seed)
        soft = F.one_hot(z.argmax(1), 10).float() if change == "hard" else z.softmax(1)
        return ALL, target(NAMES[:8000], soft, T, weight)

    return lesson


def dark_knowledge(of_8000: Tensor) -> Iterator[list]:
    """Soft labels whole and in parts, for students of 1,000 labels; and for 8,000 pictures."""
    own = [draw(seed, 1000) for seed in SEEDS]
    hard = [(1, 0)], [(1, smoothing) for smoothing in (0.05, 0.1, 0.2, 0.4)]

    def by_labels(seed: int, T: float, weight: float) -> Lesson:
        return from_labels(draw(seed, 1000), weight)

    yield from arm("labels", "labels", by_labels, hard[0], rates=HIGH)
    yield from arm("labels", "labels", by_labels, hard[0], 2 * STEPS, rates=HIGH)
    yield from arm("labels", "smoothing", by_labels, hard[1], rates=HIGH)

    of_1000, _, rows = teach(teacher, SEEDS, own, 400)
    without = [*TUNING[:2], *range(5)]  # seeds of the experiment without labels
    yield from (each for each in rows if each[6] in without)
    for count, scores in {"1000": of_1000, "8000": of_8000}.items():
        for change in ("", "permuted", "class means"):
            yield from arm(count, change or "teacher", by(scores, change), SETTINGS)
    small, *_ = teach(student, SEEDS, own, STEPS)
    yield from arm("1000", "small teacher", by(small), SETTINGS)
    bad, _, rows = teach(teacher, SEEDS, own, 12, 0.02)
    yield from rows
    yield from arm("1000", "bad teacher", by(bad), [(1, 0.5), (3, 0.5)])

    for change in ("teacher", "permuted", "hard"):
        settings = [(1, 1)] if change == "hard" else [(1, 1), (3, 1)]
        yield from arm(
            "unlabeled", change, without_labels(of_1000, change), settings, 2 * STEPS, [0.1, 0.3],
            TUNING[:2], range(5),
        )  # fmt: skip


def by_all_labels(seed: int, T: float, weight: float) -> Lesson:
    """All 8,000 labels, smoothed or not; the seed decides their order only."""
    return from_labels(ALL, weight)


def all_labels(of_8000: Tensor) -> Iterator[list]:
    """What the teacher of 8,000 is measured by: students that see all 8,000 garments themselves."""
    for steps, rates in ((STEPS, HIGH), (2 * STEPS, HIGH[1:])):
        yield from arm("8000 seen", "labels", by_all_labels, [(1, 0)], steps, rates)
    answered = without_labels(of_8000, "teacher")
    yield from arm("8000 seen", "teacher", answered, [(1, 1), (3, 1)], rates=RATES[1:])


def at_the_edge(of_8000: Tensor) -> Iterator[list]:
    """Go on where the best rate, temperature or weight was the last one of its list.

    Only at settings at which 0.3 did not fail.
    """
    cool = [(1, 0.5), (1, 1), (3, 0.5)]
    own = [draw(seed, 1000) for seed in SEEDS]
    of_1000, *_ = teach(teacher, SEEDS, own, 400)
    small, *_ = teach(student, SEEDS, own, STEPS)
    bad, *_ = teach(teacher, SEEDS, own, 12, 0.02)
    for count, scores in {"1000": of_1000, "8000": of_8000}.items():
        for change in ("permuted", "class means"):
            yield from arm(count, change, by(scores, change), cool, rates=[0.9])
    yield from arm("1000", "small teacher", by(small), cool, rates=[0.9])
    untried = [(9, 0.5), *((T, 1) for T in (1, 3, 9))]
    yield from arm("1000", "bad teacher", by(bad), untried, rates=[0.03, 0.1, 0.3, 0.9])
    yield from arm("1000", "bad teacher", by(bad), [(1, 0.5), (3, 0.5)], rates=[0.9])
    yield from arm("1000", "bad teacher", by(bad), [(9, 0.5)], rates=[2.7])
    yield from arm("1000", "bad teacher", by(bad), [(27, 0.5)], rates=[0.3, 0.9, 2.7])
    for change in ("teacher", "permuted", "hard"):
        settings = [(1, 1)] if change == "hard" else [(1, 1), (3, 1)]
        yield from arm(
            "unlabeled", change, without_labels(of_1000, change), settings, 2 * STEPS, [0.03],
            TUNING[:2], range(5),
        )  # fmt: skip


def beyond_labels(of_8000: Tensor) -> Iterator[list]:
    """Is it the teacher that is worth more than 8,000 labels, or softness? And for longer?"""
    answered = without_labels(of_8000, "teacher")
    yield from arm("8000 seen", "teacher", answered, [(1, 1)], rates=[0.9])
    smoothed = [(1, smoothing) for smoothing in (0.05, 0.1, 0.2)]
    yield from arm("8000 seen", "smoothing", by_all_labels, smoothed, rates=HIGH[1:3])
    yield from arm("8000 seen", "teacher", answered, [(1, 1)], 2 * STEPS, [0.1, 0.3, 0.9])


def unseen_class(of_8000: Tensor) -> Iterator[list]:
    """Students that never see one class of garments; then one number is added to its score."""
    seeds = [*TUNING, *range(5)]

    def lesson(name: str, T: float, weight: float, seed: int, hidden: int) -> Lesson:
        seen = ALL[NAMES[:8000] != hidden]
        source = torch.Generator().manual_seed(seed)
        chosen = seen[torch.randperm(len(seen), generator=source)[:7000]]
        z = of_8000[seeds.index(seed) % len(of_8000)][chosen] / T
        if name == "permuted":
            z = permuted(z, NAMES[chosen], seed)
        return chosen, target(NAMES[chosen], z.softmax(1), T, weight)

    def run(name: str, tried: list[tuple]) -> list[list]:
        rows = []
        for part in (tried[i : i + 25] for i in range(0, len(tried), 25)):
            lessons = [lesson(name, T, w, seed, hidden) for T, w, _, seed, hidden in part]
            own = [seed for *_, seed, _ in part]
            networks = SideBySide([student(seed) for seed in own])
            learn(networks, lessons, [t[2] for t in part], STEPS, own)
            known, new = answers(networks, PICTURES[8000:]), answers(networks, UNSEEN)
            for each, z, scores in zip(part, known, new, strict=True):
                found = corrected(z, scores, each[-1])
                rows.append(["unseen class", name, STEPS, *each, *found])
        return rows

    for name in ("labels", "teacher", "permuted"):
        settings = [(1, 0)] if name == "labels" else [(1, 1), (3, 1)]
        rows = run(name, [
            (*s, rate, seed, hidden) for s in settings for rate in RATES[1:]
            for seed, hidden in zip(TUNING, (2, 5, 8), strict=True)
        ])  # fmt: skip
        yield from rows
        count = 2 if name == "labels" else 5
        kinds = range(10)
        yield from run(name, [(*best(rows), s, kind) for kind in kinds for s in range(count)])


def corrected(known: Tensor, new: Tensor, hidden: int) -> list[object]:
    """Accuracies, also with a number added for which a tenth of the known get the hidden name."""
    others = known.clone()
    others[:, hidden] = -torch.inf
    bias = (others.amax(1) - known[:, hidden]).quantile(0.1)
    plus = bias * F.one_hot(torch.tensor(hidden), 10)
    own = hidden == UNSEEN_NAMES
    right = [(known + plus).argmax(1) == NAMES[8000:], new.argmax(1) == UNSEEN_NAMES]
    right.append((new + plus).argmax(1) == UNSEEN_NAMES)
    choosing, before, after, found, again = (
        round(100 * each.float().mean().item(), 2)
        for each in (*right, right[1][own], right[2][own])
    )
    return [choosing, before, "", found, round(bias.item(), 2), again, after]


def deep(seed: int) -> nn.Sequential:
    """Build eight convolutions of 8 channels, in two halves: 5,026 parameters."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Sequential(*layers(1, 8, 8), nn.MaxPool2d(2), *layers(8, 8, 8, 8)),
        nn.Sequential(*layers(8, 8, 8, 8), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 10)),
    )


def wide(seed: int) -> nn.Sequential:
    """Build two convolutions, of 16 and 20 channels: 4,942 parameters."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Sequential(*layers(1, 16), nn.MaxPool2d(2), *layers(16, 20)),
        nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(180, 10)),
    )


def hints(scores: Tensor, middle: Tensor) -> Iterator[list]:
    """Narrow and deep or wide and shallow, with labels, a teacher, or its middle layer first.

    Called again, it goes on from the highest rate, where that was the best.
    """

    def run(make: Callable[[int], nn.Sequential], name: str, tried: list[tuple]) -> list[list]:
        T, weight, rates = tried[0][0], tried[0][1], [t[2] for t in tried]
        seeds = [t[3] for t in tried]
        lessons, students, first = [], [make(seed) for seed in seeds], 0
        for seed in seeds:
            chosen = draw(seed, 2000)
            soft = (scores[chosen] / T).softmax(1)
            lessons.append((chosen, target(NAMES[chosen], soft, T, weight)))
        if name == "hints":
            first = 100
            channels = 20 if make is wide else 8
            fronts = [nn.Sequential(s[0], nn.Conv2d(channels, 32, 1)) for s in students]
            guided, rows = SideBySide(fronts), torch.arange(len(seeds))[:, None]
            chosen = torch.stack([c for c, _ in lessons])
            batches = (
                (PICTURES[chosen[rows, i]], middle[chosen[rows, i]])
                for i in orders(2000, 50, first, seeds)
            )
            fit_all(
                guided, batches, loss=hint_loss, lr=rates, schedule=triangular(first), **DESCENT
            )
            for r, each in enumerate(students):
                each[0].load_state_dict(guided[r][0].state_dict())
        networks = SideBySide(students)
        learn(networks, lessons, rates, 400 - first, seeds)
        found = measured(networks, tuning=seeds[0] in TUNING)
        return [
            row(f"hints, {make.__name__}", name, 400, *t, "", *f)
            for t, f in zip(tried, found, strict=True)
        ]

    for make in (deep, wide):
        for name in ("labels", "teacher", "hints"):
            setting = (3, 0) if name == "labels" else (3, 0.5)
            tried = TRIED[f"hints, {make.__name__}", name, 400]
            before = best(tried) if tried else None
            if before:
                rows = run(make, name, [(*setting, 0.9, TUNING[0])]) if before[2] == 0.3 else []
            else:
                rows = run(make, name, [(*setting, rate, TUNING[0]) for rate in RATES[1:]])
                if best(rows)[2] == RATES[1]:  # is a lower one better still?
                    rows += run(make, name, [(*setting, RATES[0], TUNING[0])])
            tried += rows
            yield from rows
            if best(tried) != before:
                yield from run(make, name, [(*best(tried), seed) for seed in range(5)])


def hint_loss(maps: Tensor, wanted: Tensor) -> Tensor:
    """Half of the squared difference, summed over channels, as a mean over places."""
    return 0.5 * (maps - wanted).square().sum(1).flatten(1).mean(1)


if __name__ == "__main__":
    scores, networks, taught = teach(teacher, range(3), [ALL] * 3, 1000)
    front = networks[0].eval()[:7]
    with torch.no_grad():
        middle = torch.cat([front(part) for part in PICTURES[:8000].split(500)])
    experiments = dark_knowledge(scores), unseen_class(scores), hints(scores[0], middle)
    later = all_labels(scores), at_the_edge(scores), hints(scores[0], middle), beyond_labels(scores)
    write_table(__file__, HEAD, chain(taught, *experiments, *later))
