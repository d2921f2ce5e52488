"""Masks: are skips needed? The long run behind the chapter on masks.

    python benchmarks/claims/masks.py    # writes masks.csv beside it; 11 CPU-minutes

What stands in the table already is not run again: delete it to begin anew.

Scenes of trousers, coats, sneakers and bags, with Gaussian noise of 0.2 on each pixel. Learned from
1,000 scenes, chosen on 200 of other garments, tested on 300 of test garments. SGD as in ``fit``,
batches of 5. Each arm is tuned with seed 100 over rates half a decade apart, until the best is no
longer at an edge; then seeds 0 to 4 are trained at the best, and tested. The rows of the tuning
have no test.

- ``skips``: U-Nets on scenes halved to 32 × 32, with and without skips (then each transposed
  convolution has twice the channels), whose smallest map is 4 × 4 or 16 × 16; cross-entropy.
  Both arms of 4 × 4 also for three times as long, at the rate of the short run.
- ``fcn``: the way down of that U-Net, made wider until there are as many multiply-adds as in the
  U-Net, 9 million (and more weights: 195,000 against 121,000); then scores of the smallest map,
  enlarged eight times (8s, also for three times as long), or scores of all earlier maps added to
  them on the way (1s). Narrow: 116,000 weights, 5 million multiply-adds. Seeds 0 to 2 (of the short
  8s, 0 to 4).

Measures, in %: accuracy; mean IoU of 5 classes, everywhere and within a pixel of an edge (two at
full size); IoU of garment or not, everywhere and at edges; named: of garment pixels called some
garment, those called the right one; small: pixels right of garments that show less than 65 pixels.
For ``fcn`` the IoU of each class, too. One row a network.
"""

import csv
import functools
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain, pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor, nn

from d2lite.data import fashion_mnist, scenes
from d2lite.initializers import he_start_
from d2lite.masks import class_iou, confusion_matrix, near_edge
from d2lite.nets.unet import UNet, double_conv
from d2lite.train import fit, predict

HEAD = ["Experiment", "Arm", "Smallest map", "Epochs", "Rate", "Seed"]
HEAD += ["Choosing", "Accuracy", "Mean IoU", "Mean IoU at edges", "Garment IoU"]
HEAD += ["Garment IoU at edges", "Named", "Small"]
HEAD += [f"{name} IoU" for name in ("Background", "Trousers", "Coat", "Sneaker", "Bag")]
RATES = [0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]
EPOCHS, DEEP, FLAT = 2, (8, 16, 32, 64), (16, 32)
WIDE, NARROW = (13, 26, 52, 104), (10, 20, 40, 80)  # of the FCNs

TABLE: list[list[str]] = []

KINDS = torch.tensor([1, 4, 7, 8])  # trousers, coats, sneakers, bags

GARMENTS, OTHERS = fashion_mnist()
SETS = {
    name: scenes(count, garments=part[torch.isin(part.labels, KINDS)])
    for name, count, part in (
        ("learn", 1000, GARMENTS[:8000]), ("choose", 200, GARMENTS[8000:]), ("test", 300, OTHERS),
    )
}  # fmt: skip
for data in SETS.values():  # 0 to 3, and -1 for none
    data.labels.copy_((data.labels[..., None] > KINDS).sum(-1) - (data.labels < 0).long())


def noisy(images: Tensor, seed: int) -> Tensor:
    """Add noise to each pixel."""
    return images + 0.2 * torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))


NOISY = {name: noisy(data.images, seed) for seed, (name, data) in enumerate(SETS.items())}
SEEN = {name: data.visible_masks for name, data in SETS.items()}
SMALL = {name: F.avg_pool2d(images, 2) for name, images in NOISY.items()}
LABELS = {
    name: ((data.labels + 1)[..., None, None] * SEEN[name]).sum(1)[:, ::2, ::2].contiguous()
    for name, data in SETS.items()
}

# ---- A class for each pixel ----------------------------------------------------------------------


def iou(predicted: Tensor, labels: Tensor, classes: int = 5) -> float:
    """Mean IoU of the classes that there are."""
    return class_iou(confusion_matrix(predicted, labels, classes)).nanmean().item()


def small_garments(part: str) -> tuple[Tensor, Tensor]:
    """Of garments that show few pixels: the scene of each, and its pixels."""
    seen = SEEN[part][..., ::2, ::2]
    few = (seen.sum((2, 3)) < 65) & (SETS[part].labels >= 0)
    return few.nonzero()[:, 0], seen[few]


def measure(predicted: Tensor, part: str) -> list[float]:
    """All measures of label maps, in %."""
    labels = LABELS[part]
    edge, where = near_edge(labels, 1), (labels > 0).long()
    said, both = (predicted > 0).long(), (labels > 0) & (predicted > 0)
    right = predicted == labels
    scene, pixels = small_garments(part)
    found = [
        right.float().mean().item(), iou(predicted, labels), iou(predicted[edge], labels[edge]),
        class_iou(confusion_matrix(said, where, 2))[1].item(),
        class_iou(confusion_matrix(said[edge], where[edge], 2))[1].item(),
        right[both].float().mean().item(), right[scene][pixels].float().mean().item(),
    ]  # fmt: skip
    return [round(100 * each, 2) for each in found]


class FCN(nn.Module):
    """U-Net's way down, then scores of the last ``levels`` maps, enlarged and added up."""

    def __init__(self, channels: tuple[int, ...], levels: int):
        super().__init__()
        self.down = nn.ModuleList(double_conv(i, o) for i, o in pairwise([1, *channels]))
        self.scores = nn.ModuleList(nn.Conv2d(c, 5, 1) for c in channels[::-1][:levels])
        he_start_(self)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, 1, H, W) to scores (N, 5, H, W)."""
        x, maps = images, list[Tensor]()
        for down in self.down:
            x = down(F.max_pool2d(x, 2) if maps else x)
            maps.insert(0, x)
        scores = self.scores[0](maps[0])
        for score, earlier in zip(self.scores[1:], maps[1:], strict=False):
            scores = F.interpolate(scores, scale_factor=2, mode="bilinear") + score(earlier)
        return F.interpolate(scores, size=images.shape[2:], mode="bilinear")


def semantic(
    make: Callable[[], nn.Module], epochs: int = EPOCHS, by_class: bool = False
) -> Callable[[float, int], list]:
    """Make a function that trains a network and returns the last columns of its row."""

    def run(rate: float, seed: int) -> list:
        torch.manual_seed(seed)
        model = make()
        data = SMALL["learn"], LABELS["learn"]
        try:
            fit(model, data, epochs=epochs, lr=rate, batch_size=5, seed=seed)
        except FloatingPointError:
            return [0.0]
        chosen = predict(model, SMALL["choose"])
        row: list = [round(100 * iou(chosen, LABELS["choose"]), 2)]
        if seed == 100:
            return row
        said = predict(model, SMALL["test"])
        ious = class_iou(confusion_matrix(said, LABELS["test"], 5)).tolist() if by_class else []
        return row + measure(said, "test") + [round(100 * iou, 2) for iou in ious]

    return run


# ---- Tune, then train ----------------------------------------------------------------------------


def once(known: list, run: Callable[[float, int], list], rate: float, seed: int) -> list:
    """Make the row of a network, unless it stands in the table."""
    key = [*known, rate, seed]
    done = [row for row in TABLE if row[: len(key)] == [str(x) for x in key]]
    row = done[0] if done else [*key, *run(rate, seed)]
    return row + [""] * (len(HEAD) - len(row))


def arm(known: list, run: Callable[[float, int], list], seeds: int = 5) -> Iterator[list]:
    """Try three rates, then further ones while the best is at an edge; then other seeds at it."""
    found: dict[int, float] = {}
    low, high = 3, 5
    while True:
        for place in range(low, high + 1):
            if place not in found:
                row = once(known, run, RATES[place], 100)
                found[place] = float(row[len(known) + 2])
                yield row
        best = max(found, key=lambda place: found[place])
        if low < best < high:
            break
        low, high = min(low, best - 1), max(high, best + 1)
    for seed in range(seeds):
        yield once(known, run, RATES[best], seed)


def skips() -> Iterator[list]:
    """With and without them, where the smallest map is 4 × 4 and where it is 16 × 16."""
    for size, channels in {"4 × 4": DEEP, "16 × 16": FLAT}.items():
        for name, with_skips in {"skips": True, "none": False}.items():
            make = functools.partial(UNet, 1, 5, channels, skips=with_skips)
            row = []
            for row in arm(["skips", name, size, EPOCHS], semantic(make)):
                yield row
            for seed in range(3) if size == "4 × 4" else ():  # does it only take longer?
                long = semantic(make, 3 * EPOCHS)
                yield once(["skips", name, size, 3 * EPOCHS], long, float(row[4]), seed)


def fcn() -> Iterator[list]:
    """Scores of one map or several, against maps put beside."""
    arms = {"8s": (WIDE, 1), "1s": (WIDE, 4), "1s, narrow": (NARROW, 4)}
    for name, (channels, levels) in arms.items():
        make, row = functools.partial(FCN, channels, levels), []
        for row in arm(["fcn", name, "4 × 4", EPOCHS], semantic(make, by_class=True), seeds=3):
            yield row
        if name == "8s":  # does it only take longer?
            long = semantic(make, 3 * EPOCHS, by_class=True)
            for seed in range(3):
                yield once(["fcn", name, "4 × 4", 3 * EPOCHS], long, float(row[4]), seed)


if __name__ == "__main__":
    with suppress(FileNotFoundError):
        text = Path(__file__).with_suffix(".csv").read_text(encoding="utf-8")
        rows = list(csv.reader(text.splitlines()))[1:]
        TABLE = [row + [""] * (len(HEAD) - len(row)) for row in rows]
    ours = chain(skips(), fcn())
    # TABLE goes first, so that a run that is interrupted loses nothing
    write_table(__file__, HEAD, chain(TABLE, (row for row in ours if row not in TABLE)))
