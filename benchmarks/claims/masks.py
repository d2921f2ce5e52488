"""Masks: are skips needed, and must classes compete? The long runs behind the chapter on masks.

    python benchmarks/claims/masks.py    # writes masks.csv beside it; 17 CPU-minutes

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
  enlarged eight times (8s), or scores of one, two, or all three earlier maps added to them on the
  way (4s, 2s, 1s). 8s and 1s also for three times as long. Narrow: 116,000 weights, 5 million
  multiply-adds. Seeds 0 to 2 (of the short 8s, 0 to 4).
- ``heads``: scenes of all ten kinds at full size, the chapter's mask head, trained in true boxes,
  300 steps of 10 scenes: a sigmoid in a mask for each class, of which the true one learns; one mask
  for all classes; or a softmax over ten classes and the background, which is each pixel of the box
  that is not the garment's. Chosen by mask IoU in true boxes. Seeds 0 to 2. Sigmoid and softmax
  of each class also for 900 steps, at the rate of the short run, in true boxes only.

Measures, in %: accuracy; mean IoU of 5 classes, everywhere and within a pixel of an edge (two at
full size); IoU of garment or not, everywhere and at edges; named: of garment pixels called some
garment, those called the right one; small: pixels right of garments that show less than 65 pixels.
For ``fcn`` the IoU of each class, too. For ``heads`` the mean IoU of masks, a pixel being the
garment's where its class has more than one half: in true boxes and of true classes; in the boxes
of one Faster R-CNN that overlap a garment by half or more, of the classes it said; AP of masks in
its boxes. Softmax is read in two more ways: given the class, which has to beat the background
alone; and any class, when all but the background have one half. One row a network.
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

from d2lite.boxes import average_precision, box_iou, precision_recall
from d2lite.data import fashion_mnist, scenes
from d2lite.initializers import he_start_
from d2lite.masks import class_iou, confusion_matrix, near_edge
from d2lite.nets.faster_rcnn import FasterRCNN
from d2lite.nets.faster_rcnn import loss as faster_rcnn_loss
from d2lite.nets.unet import UNet, double_conv
from d2lite.roi import roi_align
from d2lite.train import fit, predict

HEAD = ["Experiment", "Arm", "Smallest map", "Epochs", "Rate", "Seed"]
HEAD += ["Choosing", "Accuracy", "Mean IoU", "Mean IoU at edges", "Garment IoU"]
HEAD += ["Garment IoU at edges", "Named", "Small"]
HEAD += [f"{name} IoU" for name in ("Background", "Trousers", "Coat", "Sneaker", "Bag")]
HEAD += ["Mask IoU", "Mask IoU, found boxes", "AP50", "AP75"]
HEAD += ["Mask IoU, class given", "Mask IoU, any class", "Mask IoU, found boxes, class given"]
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


# ---- A mask for each box -------------------------------------------------------------------------


class MaskHead(nn.Module):
    """The chapter's: a small backbone of stride 2, and what makes 28 × 28 scores of each box."""

    def __init__(self, outputs: int):
        super().__init__()
        self.backbone = nn.Sequential(conv(1, 16, stride=2), conv(16, 16))
        self.head = nn.Sequential(
            conv(16, 16), conv(16, 16),
            nn.ConvTranspose2d(16, 16, 2, 2), nn.ReLU(), nn.Conv2d(16, outputs, 1),
        )  # fmt: skip

    def forward(self, images: Tensor, boxes: list[Tensor]) -> Tensor:
        """Map images (N, 1, H, W) and boxes of each to scores (K, outputs, 28, 28)."""
        return self.head(roi_align(self.backbone(images), boxes, 14, 1 / 2, 2, aligned=True))


def conv(i: int, o: int, stride: int = 1) -> nn.Sequential:
    """Three by three, normalized."""
    layer = nn.Conv2d(i, o, 3, stride, padding=1, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(o), nn.ReLU())


def cut(masks: Tensor, boxes: Tensor) -> Tensor:
    """Masks (K, 64, 64) inside of a box each, (K, 28, 28)."""
    return roi_align(masks[:, None].float(), list(boxes[:, None]), 28, aligned=True)[:, 0]


def paste(shares: Tensor, boxes: Tensor) -> Tensor:
    """Ask shares (K, 28, 28) at the center of each pixel, (K, 64, 64)."""
    x1, y1, x2, y2 = boxes.T[..., None]
    middle = torch.arange(64) + 0.5
    u, v = 2 * (middle - x1) / (x2 - x1) - 1, 2 * (middle - y1) / (y2 - y1) - 1
    grid = torch.stack([u[:, None].expand(-1, 64, 64), v[..., None].expand(-1, 64, 64)], 3)
    return F.grid_sample(shares[:, None], grid, align_corners=False)[:, 0]


def mask_iou(masks: Tensor, truth: Tensor) -> Tensor:
    """IoU of each mask with the one beside it."""
    return (masks & truth).sum((1, 2)) / (masks | truth).sum((1, 2)).clamp(min=1)


def shares_of(name: str, scores: Tensor, classes: Tensor, reading: str) -> Tensor:
    """Probabilities (K, 28, 28) that a pixel is the garment's.

    Of a softmax, by its class against all others, against the background ("given" the class), or by
    "any" class.
    """
    own = scores[torch.arange(len(scores)), classes if scores.shape[1] > 1 else 0]
    if name != "softmax":
        return own.sigmoid()
    if reading == "given":
        return (own - scores[:, -1]).sigmoid()
    shares = scores.softmax(1)
    return 1 - shares[:, -1] if reading == "any" else (own - scores.logsumexp(1)).exp()


def head_loss(name: str, scores: Tensor, classes: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy at each pixel, of a sigmoid, or of a softmax whose last class is background."""
    if name != "softmax":
        own = scores[torch.arange(len(scores)), classes if scores.shape[1] > 1 else 0]
        return F.binary_cross_entropy_with_logits(own, target)
    each = scores.log_softmax(1)
    own = each[torch.arange(len(scores)), classes]
    return -(target * own + (1 - target) * each[:, -1]).mean()


@functools.cache
def ten(part: str) -> dict:
    """Scenes of all kinds: images with noise, and of each garment its box, class and mask."""
    seed, count, garments = {
        "learn": (0, 1000, GARMENTS[:8000]), "choose": (1, 200, GARMENTS[8000:]),
        "test": (2, 300, OTHERS),
    }[part]  # fmt: skip
    data = scenes(count, garments=garments)
    there, boxes = data.labels >= 0, data.visible_boxes
    masks = data.visible_masks[there]
    return {
        "images": noisy(data.images, seed), "boxes": boxes, "labels": data.labels,
        "each": [b[t] for b, t in zip(boxes, there, strict=True)], "classes": data.labels[there],
        "masks": masks, "targets": cut(masks, boxes[there]), "scene": there.nonzero()[:, 0],
    }  # fmt: skip


@functools.cache
def found_in_test() -> list[dict[str, Tensor]]:
    """What one Faster R-CNN finds in the scenes of the test."""
    torch.manual_seed(0)
    detector, data = FasterRCNN(), ten("learn")
    learn = data["images"], data["boxes"], data["labels"]
    fit(detector, learn, loss=faster_rcnn_loss, epochs=11, batch_size=16, lr=0.03)
    with torch.no_grad():
        return [one for images in ten("test")["images"].split(50) for one in detector(images)]


def in_boxes(
    model: MaskHead, name: str, images: Tensor, boxes: list[Tensor], classes: Tensor, reading: str
) -> Tensor:
    """Masks (K, 64, 64) of boxes of each image and a class of each box."""
    scores = torch.cat([
        model(images[i : i + 50], boxes[i : i + 50]) for i in range(0, len(images), 50)
    ])  # fmt: skip
    return paste(shares_of(name, scores, classes, reading), torch.cat(boxes)) > 0.5


def mask_ap(found: list, masks: Tensor, data: dict, *levels: float) -> list[float]:
    """AP of masks in percent, as COCO counts it, the mean over the classes."""
    parts = masks.split([len(one["scores"]) for one in found])
    hits: dict = {(k, t): ([], []) for k in range(10) for t in levels}
    for i, (one, mine) in enumerate(zip(found, parts, strict=True)):
        here = data["scene"] == i
        truth, classes = data["masks"][here], data["classes"][here]
        both = (mine[:, None] & truth).sum((2, 3))
        iou = both / (mine[:, None] | truth).sum((2, 3)).clamp(min=1)
        iou = iou * (one["labels"][:, None] == classes)
        for t in levels:
            left = iou.clone()
            for j in one["scores"].argsort(descending=True).tolist():
                best = left[j].argmax()
                scores, right = hits[one["labels"][j].item(), t]
                scores.append(one["scores"][j].item())
                right.append(bool(left[j, best] >= t))
                if right[-1]:
                    left[:, best] = 0
    aps = []
    for t in levels:
        of_class = []
        for k in range(10):
            scores, right = (torch.tensor(x) for x in hits[k, t])
            count = int((data["classes"] == k).sum())
            precision, recall, _ = precision_recall(scores.double(), right.bool(), count)
            of_class.append(average_precision(precision, recall))
        aps.append(round(100 * sum(of_class) / 10, 2))
    return aps


OUTPUTS = {"sigmoid, a class": 10, "sigmoid, one": 1, "softmax": 11}


def trained_head(name: str, steps: int, rate: float, seed: int) -> MaskHead:
    """Train a mask head in true boxes."""
    torch.manual_seed(seed)
    model, data = MaskHead(OUTPUTS[name]), ten("learn")
    descent = torch.optim.SGD(model.parameters(), rate, momentum=0.9, nesterov=True)
    fall = torch.optim.lr_scheduler.LinearLR(descent, 1.0, 0.01, steps)
    for _ in range(steps):
        chosen = torch.randperm(len(data["images"]))[:10].sort().values
        mine = torch.isin(data["scene"], chosen)
        scores = model(data["images"][chosen], [data["each"][i] for i in chosen.tolist()])
        loss = head_loss(name, scores, data["classes"][mine], data["targets"][mine])
        descent.zero_grad()
        loss.backward()
        descent.step()
        fall.step()
    return model.eval()


def in_true_boxes(model: MaskHead, name: str, part: str = "test", reading: str = "own") -> float:
    """Mean IoU of the masks in true boxes, of true classes, in percent."""
    there = ten(part)
    read = in_boxes(model, name, there["images"], there["each"], there["classes"], reading)
    return round(100 * mask_iou(read, there["masks"]).mean().item(), 2)


def head_row(name: str, steps: int, rate: float, seed: int) -> list:
    """Train a mask head and judge it; the last columns of its row."""
    model = trained_head(name, steps, rate, seed)

    def found_boxes(reading: str = "own") -> float:
        best, classes, which = [], [], []
        for i, one in enumerate(found):
            if len(one["boxes"]) == 0:
                best.append(torch.zeros(0, 4))
                continue
            iou, nearest = box_iou(there["each"][i], one["boxes"]).max(1)
            best.append(one["boxes"][nearest[iou >= 0.5]])
            classes.append(one["labels"][nearest[iou >= 0.5]])
            which.append((there["scene"] == i).nonzero()[:, 0][iou >= 0.5])
        read = in_boxes(model, name, there["images"], best, torch.cat(classes), reading)
        return round(100 * mask_iou(read, there["masks"][torch.cat(which)]).mean().item(), 2)

    with torch.no_grad():
        row: list = [in_true_boxes(model, name, "choose")]
        if seed == 100:
            return row
        row += [""] * 12 + [in_true_boxes(model, name)]
        others = ("given", "any") if name == "softmax" else ()
        last = [in_true_boxes(model, name, reading=reading) for reading in others]
        if steps > 300:  # in true boxes only
            return [*row, "", "", "", *last]
        there, found = ten("test"), found_in_test()
        boxes, classes = [one["boxes"] for one in found], torch.cat([o["labels"] for o in found])
        read = in_boxes(model, name, there["images"], boxes, classes, "own")
        row += [found_boxes(), *mask_ap(found, read, there, 0.5, 0.75), *last]
        return row + [found_boxes("given")] * (name == "softmax")


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
    arms = {"8s": (WIDE, 1), "4s": (WIDE, 2), "2s": (WIDE, 3), "1s": (WIDE, 4)}
    arms["1s, narrow"] = NARROW, 4
    for name, (channels, levels) in arms.items():
        make, row = functools.partial(FCN, channels, levels), []
        for row in arm(["fcn", name, "4 × 4", EPOCHS], semantic(make, by_class=True), seeds=3):
            yield row
        if name in ("8s", "1s"):  # does it only take longer?
            long = semantic(make, 3 * EPOCHS, by_class=True)
            for seed in range(3):
                yield once(["fcn", name, "4 × 4", 3 * EPOCHS], long, float(row[4]), seed)


def heads() -> Iterator[list]:
    """Do masks of classes compete?"""
    for name in OUTPUTS:
        run, row = functools.partial(head_row, name, 300), []
        for row in arm(["heads", name, "", 3], run, seeds=3):
            yield row
        if name != "sigmoid, one":  # does it only take longer?
            for seed in range(3):
                run = functools.partial(head_row, name, 900)
                yield once(["heads", name, "", 9], run, float(row[4]), seed)


if __name__ == "__main__":
    with suppress(FileNotFoundError):
        text = Path(__file__).with_suffix(".csv").read_text(encoding="utf-8")
        rows = list(csv.reader(text.splitlines()))[1:]
        TABLE = [row + [""] * (len(HEAD) - len(row)) for row in rows]
    ours = chain(skips(), fcn(), heads())
    # TABLE goes first, so that a run that is interrupted loses nothing
    write_table(__file__, HEAD, chain(TABLE, (row for row in ours if row not in TABLE)))
