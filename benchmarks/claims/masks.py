"""Masks: are skips needed? The long run behind the chapter on masks.

    python benchmarks/claims/masks.py    # writes masks.csv beside it; 8 CPU-minutes

Scenes of trousers, coats, sneakers and bags, with Gaussian noise of 0.2 on each pixel. Learned from
1,000 scenes, chosen on 200 of other garments, tested on 300 of test garments. SGD as in ``fit``,
batches of 5. Each arm is tuned with seed 100 over rates half a decade apart, until the best is no
longer at an edge; then seeds 0 to 4 are trained at the best, and tested. The rows of the tuning
have no test.

- ``skips``: U-Nets on scenes halved to 32 × 32, with and without skips (then each transposed
  convolution has twice the channels), whose smallest map is 4 × 4 or 16 × 16; cross-entropy.
  Both arms of 4 × 4 also for three times as long, at the rate of the short run.

Measures, in %: accuracy; mean IoU of 5 classes, everywhere and within a pixel of an edge (two at
full size); IoU of garment or not, everywhere and at edges; named: of garment pixels called some
garment, those called the right one; small: pixels right of garments that show less than 65 pixels.
One row a network.
"""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor

from d2lite.data import fashion_mnist, scenes
from d2lite.masks import class_iou, confusion_matrix, near_edge
from d2lite.nets.unet import UNet
from d2lite.train import fit, predict

HEAD = ["Experiment", "Arm", "Smallest map", "Epochs", "Rate", "Seed"]
HEAD += ["Choosing", "Accuracy", "Mean IoU", "Mean IoU at edges", "Garment IoU"]
HEAD += ["Garment IoU at edges", "Named", "Small"]
RATES = [0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]
EPOCHS, DEEP, FLAT = 2, (8, 16, 32, 64), (16, 32)

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


def semantic(
    channels: tuple[int, ...], skips: bool, epochs: int = EPOCHS
) -> Callable[[float, int], list]:
    """Make a function that trains a U-Net and returns the last columns of its row."""

    def run(rate: float, seed: int) -> list:
        torch.manual_seed(seed)
        model = UNet(1, 5, channels, skips=skips)
        data = SMALL["learn"], LABELS["learn"]
        try:
            fit(model, data, epochs=epochs, lr=rate, batch_size=5, seed=seed)
        except FloatingPointError:
            return [0.0] + [""] * 7
        chosen = predict(model, SMALL["choose"])
        row: list = [round(100 * iou(chosen, LABELS["choose"]), 2)]
        row += measure(predict(model, SMALL["test"]), "test") if seed < 100 else [""] * 7
        return row

    return run


# ---- Tune, then train ----------------------------------------------------------------------------


def arm(known: list, run: Callable[[float, int], list]) -> Iterator[list]:
    """Try three rates, then further ones while the best is at an edge; then other seeds at it."""
    found: dict[int, list] = {}
    low, high = 3, 5
    while True:
        for place in range(low, high + 1):
            if place not in found:
                found[place] = run(RATES[place], 100)
                yield [*known, RATES[place], 100, *found[place]]
        best = max(found, key=lambda place: found[place][0])
        if low < best < high:
            break
        low, high = min(low, best - 1), max(high, best + 1)
    for seed in range(5):
        yield [*known, RATES[best], seed, *run(RATES[best], seed)]


def skips() -> Iterator[list]:
    """With and without them, where the smallest map is 4 × 4 and where it is 16 × 16."""
    for size, channels in {"4 × 4": DEEP, "16 × 16": FLAT}.items():
        for name, with_skips in {"skips": True, "none": False}.items():
            rows = list(arm(["skips", name, size, EPOCHS], semantic(channels, with_skips)))
            yield from rows
            if size == "4 × 4":  # does it only take longer?
                long, rate = semantic(channels, with_skips, epochs=3 * EPOCHS), rows[-1][4]
                for seed in range(3):
                    yield ["skips", name, size, 3 * EPOCHS, rate, seed, *long(rate, seed)]


if __name__ == "__main__":
    write_table(__file__, HEAD, skips())
