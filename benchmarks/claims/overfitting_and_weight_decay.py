"""When does a network memorize, and what helps? The long runs behind the chapter on overfitting.

    python benchmarks/claims/overfitting_and_weight_decay.py    # writes the .csv beside it

About 7 CPU-minutes. Garments of 14 × 14 pixels, batches of 100, AdamW without decay of the biases.
Each network has its own garments, of the first 8,000, and its own die. One row is a network at a
moment: at its last step, where its loss or accuracy on 1,000 validation garments was best, where
all of its labels were learned, where its training loss was first below 0.1, or at a given step.
Validation labels are as wrong as those that it learns from; the test is of 2,000 garments with
true names.

- *stop or decay*: rates × strengths of decay, with true labels and with 40 % thrown by a die;
- *nonsense*: how long true labels take, labels from a die, and true labels under other names;
- *width*: hidden layers of 2 to 256 units, 2,000 steps.
"""

from collections.abc import Iterator
from itertools import product

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor, nn

from d2lite.data import fashion_mnist
from d2lite.optim import AdamW
from d2lite.side_by_side import SideBySide, cross_entropies, fit_all, orders

HEAD = ["Experiment", "Images", "Labels", "Hidden", "Rate", "Decay", "Seed", "When", "Step"]
HEAD += ["Training loss", "Training, %", "Length", "Validation, %", "Test, %"]
LEAST, BEST = "validation loss least", "validation accuracy best"
LEARNED, LOW = "all learned", "training loss 0.1"

train, test = fashion_mnist()
pictures, unseen = (F.avg_pool2d(data.images, 2) for data in (train, test[:2000]))


def network(hidden: tuple[int, ...], seed: int) -> nn.Sequential:
    """Build a network with PyTorch's own initial weights."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in zip((196, *hidden), hidden, strict=False):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(hidden[-1], 10))


def names(kind: str, labels: Tensor, source: torch.Generator) -> Tensor:
    """Make the labels that a network gets."""
    if kind == "renamed":
        return (labels + 1) % 10
    share = {"true": 0, "40 % die": 0.4, "die": 1}[kind]
    thrown = torch.rand(labels.shape, generator=source) < share
    return labels.where(~thrown, torch.randint(10, labels.shape, generator=source))


def measure(networks: SideBySide, places: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Losses and accuracies, (R,), on the pictures at (R, N)."""
    losses, right = [], []
    for where, truth in zip(places.split(500, 1), labels.split(500, 1), strict=True):
        scores = networks(pictures[where])
        each = cross_entropies(scores.flatten(0, 1), truth.flatten())
        losses.append(each.view(truth.shape).sum(1))
        right.append((scores.argmax(2) == truth).sum(1))
    count = labels.shape[1]
    return torch.stack(losses).sum(0) / count, torch.stack(right).sum(0) / count


def run(
    experiment: str,
    images: int,
    hidden: tuple[int, ...],
    steps: int,
    settings: list[tuple[str, float, float, int]],
    moments: list[str],
    every: int,
    at: tuple[int, ...] = (),
) -> Iterator[list]:
    """Train networks side by side; a row for each and for each of its moments."""
    kinds, rates, decays, seeds = zip(*settings, strict=True)
    networks = SideBySide([network(hidden, seed) for seed in seeds])
    own, checks, truths, check_truths = [], [], [], []
    for kind, seed in zip(kinds, seeds, strict=True):
        source = torch.Generator().manual_seed(seed)
        own.append(torch.randperm(8000, generator=source)[:images])
        checks.append(torch.arange(8000, 9000))
        truths.append(names(kind, train.labels[own[-1]], source))
        check_truths.append(names(kind, train.labels[8000:9000], source))
    where, labels = torch.stack(own), torch.stack(truths)
    check, check_labels = torch.stack(checks), torch.stack(check_truths)
    rows = torch.arange(len(seeds))[:, None]
    validated = LEAST in moments or BEST in moments
    moments = [*moments, *(f"step {step}" for step in at), "last"]
    kept = {
        moment: [parameter.detach().clone() for parameter in networks.parameters()]
        for moment in moments
    }
    reached = {moment: torch.zeros(len(seeds), dtype=torch.long) for moment in moments}
    best = {LEAST: torch.full((len(seeds),), 1e9), BEST: torch.zeros(len(seeds))}

    def watch(step: int) -> None:
        if step % every:
            return
        now: dict[str, Tensor] = {}
        if LEARNED in moments:
            loss, right = measure(networks, where, labels)
            now[LEARNED] = (reached[LEARNED] == 0) & (right == 1)
            now[LOW] = (reached[LOW] == 0) & (loss < 0.1)
        if validated:
            loss, right = measure(networks, check, check_labels)
            now[LEAST], now[BEST] = loss < best[LEAST], right > best[BEST]
            best[LEAST], best[BEST] = loss.minimum(best[LEAST]), right.maximum(best[BEST])
        now["last"] = torch.full((len(seeds),), step == steps)
        now |= {f"step {wanted}": torch.full((len(seeds),), step == wanted) for wanted in at}
        for moment in moments:
            reached[moment][now[moment]] = step
            for old, new in zip(kept[moment], networks.parameters(), strict=True):
                old[now[moment]] = new.detach()[now[moment]]

    batches = (
        (pictures[where[rows, i]], labels[rows, i]) for i in orders(images, 100, steps, seeds)
    )
    fit_all(networks, batches, AdamW, lr=list(rates), weight_decay=list(decays), watch=watch)
    for moment in moments:
        for parameter, old in zip(networks.parameters(), kept[moment], strict=True):
            parameter.data = old
        with torch.no_grad():
            loss, right = measure(networks, where, labels)
            _, valid = measure(networks, check, check_labels)
            answers = torch.cat([networks(part[None]).argmax(2) for part in unseen.split(500)], 1)
            tested = (answers == test.labels[:2000]).float().mean(1)
        squares = [p.square().flatten(1).sum(1) for p in networks.parameters() if p.ndim > 2]
        length = torch.stack(squares).sum(0).sqrt()
        for r, (kind, rate, decay, seed) in enumerate(settings):
            if reached[moment][r]:
                result = [round(loss[r].item(), 4), round(100 * right[r].item(), 2)]
                result += [round(length[r].item(), 2), round(100 * valid[r].item(), 2)]
                result += [round(100 * tested[r].item(), 2)]
                units = " ".join(map(str, hidden))
                start = [experiment, images, kind, units, rate, decay, seed]
                yield [*start, moment, reached[moment][r].item(), *result]


def experiments() -> Iterator[Iterator[list]]:
    """All of them, one after another."""
    seeds = range(5)
    for kind, rate in product(("true", "40 % die"), (0.0001, 0.0003, 0.001, 0.003)):
        settings = list(product((kind,), (rate,), (0, 0.3, 1, 3, 10, 30), seeds))
        yield run("stop or decay", 1000, (128, 128), 800, settings, [LEAST, BEST], 20)
    for (images, steps), rate in product(((200, 600), (1000, 1500)), (0.001, 0.003, 0.01)):
        settings = list(product(("true", "renamed", "die"), (rate,), (0,), seeds))
        yield run(
            "nonsense", images, (128, 128), steps, settings, [LEARNED, LOW], images // 20, (50,)
        )
    for width in (2, 4, 8, 16, 32, 64, 128, 256):
        settings = list(product(("true", "40 % die"), (0.003,), (0,), seeds))
        yield run("width", 200, (width,), 2000, settings, [BEST], 20, (200,))


if __name__ == "__main__":
    write_table(__file__, HEAD, (row for rows in experiments() for row in rows))
