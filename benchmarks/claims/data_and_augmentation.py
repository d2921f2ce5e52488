"""Augmentation: which one pays, when, and do the gains add? The long run behind that chapter.

    python benchmarks/claims/data_and_augmentation.py    # writes the .csv beside it; CPU-minutes: 8

Pictures halved to 14 × 14, 1,000 garments, a network of two convolutions with stride 2 (9,930
parameters), batches of 50, AdamW at 0.01 falling along a cosine to 0, for 1,200 steps (60 epochs).
Each augmentation at two or three strengths; the rivals are none, more weight decay, smoothed labels
and twice the garments. None also at two other rates. Then two pairs, each at the best strengths of
its parts and at weaker ones, and seven changes for 300 steps.

Five seeds each; a seed has its garments out of the first 8,000, its weights, its order and its
draws. One row a network: accuracies in percent on its own garments (as they are), on 2,000 held
out for choosing and on 5,000 of the test, with loss (nats) and expected calibration error (15 bins,
in percent), also after dividing the scores by the temperature that is best on the garments held
out, and with the probabilities of each test garment and its mirror image averaged.
"""

import math
from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor, nn

from d2lite.data import fashion_mnist
from d2lite.data.augment import shift
from d2lite.side_by_side import SideBySide, fit_all, orders

SEEDS, BATCH = range(5), 50
HEAD = ["Change", "Strength", "Images", "Steps", "Rate", "Decay", "Seed"]
HEAD += ["Own", "Choosing", "Choosing loss", "Test", "Loss", "ECE"]
HEAD += ["Temperature", "Loss at T", "ECE at T", "Test averaged", "Loss averaged"]
Batch = tuple[Tensor, Tensor]  # images (R, B, 1, H, W), targets (R, B, 10)


def network(seed: int) -> nn.Sequential:
    """Build the network of all runs."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10),
    )  # fmt: skip


def alone(change: Tensor, images: Tensor, chance: float) -> Tensor:
    """Take the changed image with this chance, for each image by itself."""
    return torch.where(torch.rand(len(images), 1, 1, 1) < chance, change, images)


def crop(images: Tensor, smallest: float) -> Tensor:
    """Cut a part of an area from ``smallest`` to 1, of a shape from ¾ to 4/3, and resize it."""
    n = len(images)
    area = smallest + (1 - smallest) * torch.rand(n)
    ratio = torch.exp((2 * torch.rand(n) - 1) * math.log(4 / 3))
    wide, high = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = wide, high
    theta[:, 0, 2] = (2 * torch.rand(n) - 1) * (1 - wide)
    theta[:, 1, 2] = (2 * torch.rand(n) - 1) * (1 - high)
    places = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, places, padding_mode="border", align_corners=False)


def boxes(height: Tensor, width: Tensor, top: Tensor, left: Tensor, side: int) -> Tensor:
    """Mark the pixels of boxes: (…) each → (…, 1, side, side), true inside."""
    i = torch.arange(side)
    rows = (i >= top[..., None]) & (i < (top + height)[..., None])
    columns = (i >= left[..., None]) & (i < (left + width)[..., None])
    return (rows[..., :, None] & columns[..., None, :]).unsqueeze(-3)


def erase(images: Tensor, chance: float) -> Tensor:
    """Set a box to zero, of an area from 2 to 33 % and a shape from 0.3 to 3.3."""
    n, side = len(images), images.shape[-1]
    area = (0.02 + 0.31 * torch.rand(n)) * side**2
    ratio = torch.exp((2 * torch.rand(n) - 1) * math.log(3.3))
    height = (area * ratio).sqrt().round().clamp(1, side - 1)
    width = (area / ratio).sqrt().round().clamp(1, side - 1)
    top = (torch.rand(n) * (side - height + 1)).floor()
    left = (torch.rand(n) * (side - width + 1)).floor()
    erased = images.masked_fill(boxes(height, width, top, left, side), 0.0)
    return alone(erased, images, chance)


def mixup(images: Tensor, targets: Tensor, alpha: float) -> Batch:
    """Mix each image with the one before it in its batch; one share λ a network."""
    share = torch.distributions.Beta(alpha, alpha).sample((len(images),)).view(-1, 1, 1)
    pictures = share[..., None, None]
    return (
        pictures * images + (1 - pictures) * images.roll(1, 1),
        share * targets + (1 - share) * targets.roll(1, 1),
    )


def cutmix(images: Tensor, targets: Tensor, chance: float) -> Batch:
    """Paste a box of the image before it into each image; one box a network."""
    n, side = len(images), images.shape[-1]
    share, hit = torch.rand(n), torch.rand(n) < chance
    half = 0.5 * side * (1 - share).sqrt()
    y, x = torch.rand(2, n) * side
    top, bottom = (y - half).round().clamp(min=0), (y + half).round().clamp(max=side)
    left, right = (x - half).round().clamp(min=0), (x + half).round().clamp(max=side)
    inside = boxes(bottom - top, right - left, top, left, side) & hit.view(-1, 1, 1, 1)
    kept = 1 - inside.float().mean((1, 2, 3)).view(-1, 1, 1)
    return (
        torch.where(inside[:, None], images.roll(1, 1), images),
        kept * targets + (1 - kept) * targets.roll(1, 1),
    )


ON_IMAGES = {
    "flip": lambda images, p: alone(images.flip(3), images, p),
    "shift": lambda images, pixels: shift(images, pixels=int(pixels)),
    "crop": crop,
    "noise": lambda images, sigma: (images + sigma * torch.randn_like(images)).clamp(0, 1),
    "erase": erase,
}
ON_BATCHES = {
    "mixup": mixup,
    "cutmix": cutmix,
    "smoothing": lambda images, targets, share: (images, (1 - share) * targets + share / 10),
}


def changed(images: Tensor, targets: Tensor, changes: str, strengths: str) -> Batch:
    """Apply changes, "+" between them, first those of each image by itself."""
    for name, text in zip(changes.split("+"), strengths.split("+"), strict=True):
        if name in ON_IMAGES:
            one = ON_IMAGES[name](images.flatten(0, 1), float(text))
            images = one.unflatten(0, images.shape[:2])
        elif name in ON_BATCHES:
            images, targets = ON_BATCHES[name](images, targets, float(text))
    return images, targets


Setting = tuple[str, str, int, int, float, float]


def settings() -> Iterator[Setting]:
    """How five networks are made: change, strength, images, steps, rate, decay."""
    grid = {
        "flip": "0.25 0.5", "shift": "1 2 3", "crop": "0.8 0.6 0.4", "noise": "0.05 0.15",
        "erase": "0.25 0.5 1", "mixup": "0.1 0.3 1", "cutmix": "0.25 0.5 1",
        "smoothing": "0.03 0.1",
    }  # fmt: skip
    for rate in (0.003, 0.01, 0.03):
        yield "none", "0", 1000, 1200, rate, 0.01
    yield "none", "0", 2000, 1200, 0.01, 0.01
    for decay in (0.1, 0.3, 1.0):
        yield "decay", "0", 1000, 1200, 0.01, decay
    for name, strengths in grid.items():
        for strength in strengths.split():
            yield name, strength, 1000, 1200, 0.01, 0.01
    for strengths in ("1+0.5", "0.3+0.25"):  # the best two, and both weaker
        yield "mixup+cutmix", strengths, 1000, 1200, 0.01, 0.01
    for strengths in ("1+0.5", "0.5+0.25"):  # the best two of different sorts
        yield "erase+cutmix", strengths, 1000, 1200, 0.01, 0.01
    for count in (1000, 2000):
        yield "none", "0", count, 300, 0.01, 0.01
    short = {"flip": "0.25", "shift": "1", "crop": "0.6", "noise": "0.15", "erase": "1"}
    for name, strength in (short | {"mixup": "1", "cutmix": "0.5"}).items():
        yield name, strength, 1000, 300, 0.01, 0.01


def accuracies(scores: Tensor, labels: Tensor) -> Tensor:
    """From scores (R, N, 10): the share of right answers, (R,), in percent."""
    return 100 * (scores.argmax(-1) == labels).float().mean(-1)


def losses(scores: Tensor, labels: Tensor) -> Tensor:
    """From scores (R, N, 10): the mean cross-entropy, (R,), in nats."""
    rights = labels.expand(len(scores), -1)[..., None]
    return -scores.log_softmax(-1).gather(-1, rights).mean((1, 2))


def calibration_error(scores: Tensor, labels: Tensor) -> list[float]:
    """Sum over 15 bins of sureness: |share of right answers − mean sureness|, weighted, in %."""
    sure, named = scores.softmax(-1).max(-1)
    gap = (named == labels).float() - sure
    found = []
    for own, s in zip(gap, sure, strict=True):
        bins = (s * 15).long().clamp(max=14)
        found.append(100 * torch.zeros(15).index_add(0, bins, own).abs().sum().item() / len(s))
    return found


@torch.no_grad()
def scores_of(networks: SideBySide, images: Tensor) -> Tensor:
    """Scores (R, N, 10), in parts, to save memory."""
    return torch.cat([networks(part) for part in images.split(500, 1)], 1)


def measured(networks: SideBySide, chosen: Tensor) -> list[list[float]]:
    """What stands in a row, for each network."""
    own = accuracies(scores_of(networks, IMAGES[chosen]), TRAIN.labels[chosen])
    held, seen = scores_of(networks, IMAGES[None, 8000:]), scores_of(networks, TEST_IMAGES[None])
    mirrored = scores_of(networks, TEST_IMAGES[None].flip(4))
    grid = torch.logspace(-0.5, 1, 61, base=10)
    best = torch.stack([losses(held / t, TRAIN.labels[8000:]) for t in grid]).argmin(0)
    cooled = seen / grid[best][:, None, None]
    both = ((seen.softmax(-1) + mirrored.softmax(-1)) / 2).log()
    ece, cooled_ece = (torch.tensor(calibration_error(part, LABELS)) for part in (seen, cooled))
    columns = [
        own, accuracies(held, TRAIN.labels[8000:]), losses(held, TRAIN.labels[8000:]),
        accuracies(seen, LABELS), losses(seen, LABELS), ece,
        grid[best], losses(cooled, LABELS), cooled_ece, accuracies(both, LABELS),
        losses(both, LABELS),
    ]  # fmt: skip
    return [[round(x, 3) for x in row] for row in torch.stack(columns, 1).tolist()]


def run(
    changes: str, strengths: str, count: int, steps: int, rate: float, decay: float
) -> list[list[float]]:
    """Train five networks side by side: a row of results for each."""
    sources = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    chosen = torch.stack([torch.randperm(8000, generator=source)[:count] for source in sources])
    networks, rows = (
        SideBySide([network(seed) for seed in SEEDS]),
        torch.arange(len(SEEDS))[:, None],
    )
    batches = (
        changed(IMAGES[i], F.one_hot(TRAIN.labels[i], 10).float(), changes, strengths)
        for i in (chosen[rows, order] for order in orders(count, BATCH, steps, list(SEEDS)))
    )
    adam = partial(torch.optim.AdamW, fused=True)
    half_wave = lambda step: (1 + math.cos(math.pi * step / steps)) / 2  # noqa: E731
    fit_all(networks, batches, adam, schedule=half_wave, lr=rate, weight_decay=decay)
    return measured(networks, chosen)


TRAIN, TEST = fashion_mnist()
IMAGES, TEST_IMAGES = (F.avg_pool2d(part, 2) for part in (TRAIN.images, TEST.images[:5000]))
LABELS = TEST.labels[:5000]

if __name__ == "__main__":
    write_table(
        __file__,
        HEAD,
        (
            [*setting, seed, *results]
            for setting in settings()
            for seed, results in zip(SEEDS, run(*setting), strict=True)
        ),
    )
