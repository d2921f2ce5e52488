"""YOLO: what of a one-stage detector matters? The long run behind the chapter on YOLO.

    python benchmarks/claims/yolo.py              # writes yolo.csv beside it; 20 CPU-minutes
    python benchmarks/claims/yolo.py usual        # only these arms; the rows of others stay

Networks of ``d2lite.nets.yolo`` with half the channels, 26,054 parameters; AdamW, whose rate rises
and falls; 200 batches of 16 scenes, each seen once. They learn from scenes of 8,000 garments. Each
arm's rate is chosen by AP50 + AP75 on 200 scenes of the other 2,000, with seed 100; at it, seeds 0
to 4 are trained (of most arms 0 to 2, or none), and tested on 500 scenes of test
garments. The rows of the tuning have no test. A seed has its weights and its order.

- ``usual``: four distances; the cell of the center and its neighbors answer; binary cross-entropy,
  and scores that start at 0.01.
- ``anchors``: the same cells answer, with offsets from an anchor of 22 × 22 pixels.
- ``focal``: the focal loss of scores, with 2 and 0.25; ``even start``: scores that start at 0.5.
  ``boxes 1``, ``focal, boxes 0.25`` and their like: as heavy is a box, five times as a score else.
  ``even, …``: the same from scores that start at 0.5.
- ``empty, …``: one garment on 128 × 128 pixels, so that one score in 1,100 should be high, and not
  one in 120.
- ``nine``, ``center``, ``matched``: three times the steps. The nine cells answer; the cell of the
  center alone; of the nine, the one that fits best now, by p^0.2 · IoU^0.8.

Of ``usual``, AP50 is also measured without NMS, and with what each cell likes best
instead of every class above 0.05, with NMS by class and for all classes at once; each with the IoU
threshold of NMS that was best on the choosing scenes. Of the last three arms it is measured without
NMS and with it, by class. One row for each network.
"""

import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from d2lite.boxes import evaluate_detections, nms
from d2lite.data import fashion_mnist, scenes
from d2lite.nets.yolo import BOX_WEIGHT, STRIDE, YOLO, assign, cell_centers
from d2lite.schedules import triangular
from d2lite.train import _keep_buffers

BATCH, WIDTH, ANCHOR = 16, 24, 22.0
RATES = (0.0006, 0.002, 0.006, 0.018, 0.054, 0.15)
OVERLAPS = [0.3, 0.45, 0.6, 0.75]
HEAD = ["Arm", "Rate", "Seed", "Choosing AP50", "Choosing AP75", "AP50", "AP75"]
READINGS = {
    "without NMS": (True, True, False),
    "every class, NMS by class": (True, True, True),
    "every class, one NMS": (True, False, True),
    "best class, NMS by class": (False, True, True),
    "best class, one NMS": (False, False, True),
}  # every class above the threshold? by class? NMS at all?
Found = list[dict[str, Tensor]]


@dataclass
class Arm:
    """What an arm does otherwise.

    Attributes:
        start: What all scores are at first.
        empty: Whether a scene is one garment on four times the canvas.
        radius: How far from the cell of the center cells answer.
        matched: Whether only the best of these answers.
        seeds: How many are tested; none, if the arm is only for choosing.
    """

    anchors: bool = False
    focal: bool = False
    start: float = 0.01
    empty: bool = False
    box_weight: float = BOX_WEIGHT
    radius: int = 1
    matched: bool = False
    steps: int = 200
    rates: tuple[float, ...] = RATES[2:5]
    seeds: int = 3
    readings: tuple[str, ...] = ()


BOTH = tuple(READINGS)[:2]
ARMS = {
    "usual": Arm(rates=RATES, seeds=5, readings=tuple(READINGS)),
    "anchors": Arm(anchors=True, rates=RATES, seeds=5),
    "focal": Arm(focal=True, seeds=1),
    "even start": Arm(start=0.5, rates=RATES[2:]),
    "boxes 1": Arm(box_weight=1, rates=RATES[1:5]),
    "boxes 0.25": Arm(box_weight=0.25, rates=(0.018,), seeds=0),
    "focal, boxes 1": Arm(focal=True, box_weight=1, rates=(0.018,), seeds=0),
    "focal, boxes 0.25": Arm(focal=True, box_weight=0.25),
    "focal, boxes 0.05": Arm(focal=True, box_weight=0.05, rates=(0.018,), seeds=0),
    "even, boxes 1": Arm(start=0.5, box_weight=1, rates=RATES[2:]),
    "even, focal, boxes 0.25": Arm(start=0.5, focal=True, box_weight=0.25),
    "empty, boxes 1": Arm(empty=True, box_weight=1),
    "empty, boxes 2.5": Arm(empty=True, box_weight=2.5, seeds=5),
    "empty, boxes 5": Arm(empty=True, rates=(0.018,), seeds=0),
    "empty, focal, boxes 0.05": Arm(
        empty=True, focal=True, box_weight=0.05, rates=(0.018,), seeds=0
    ),
    "empty, focal, boxes 0.25": Arm(empty=True, focal=True, box_weight=0.25, seeds=5),
    "empty, focal, boxes 1": Arm(empty=True, focal=True, box_weight=1, rates=(0.018,), seeds=0),
    "nine": Arm(steps=600, readings=BOTH),
    "center": Arm(radius=0, steps=600, rates=RATES[2:], readings=BOTH),
    "matched": Arm(matched=True, steps=600, rates=RATES[1:5], readings=BOTH),
}


def network(seed: int, arm: Arm) -> YOLO:
    """Build a network whose boxes begin at 22 × 22 pixels."""
    torch.manual_seed(seed)
    model = YOLO(width=WIDTH).to(memory_format=torch.channels_last)
    torch.nn.init.constant_(model.logits.bias, torch.tensor(arm.start).logit().item())
    size = 0.0 if arm.anchors else torch.tensor(ANCHOR / 2 / STRIDE).log().item()
    torch.nn.init.constant_(model.log_distances.bias, size)
    return model


def boxes_of(distances: Tensor, anchors: bool) -> Tensor:
    """Turn outputs (N, 4, H, W) into boxes (N, H, W, 4): by distances, or by offsets of anchors."""
    center = cell_centers(*distances.shape[2:])
    out = distances.permute(0, 2, 3, 1)
    if anchors:
        shift, size = ANCHOR * out[..., :2].log(), ANCHOR * out[..., 2:]
        return torch.cat([center + shift - size / 2, center + shift + size / 2], 3)
    return torch.cat([center - STRIDE * out[..., :2], center + STRIDE * out[..., 2:]], 3)


def iou(one: Tensor, other: Tensor) -> Tensor:
    """Compute the IoU of each box with the one beside it, (P, 4) twice to (P,)."""
    start, end = torch.maximum(one[:, :2], other[:, :2]), torch.minimum(one[:, 2:], other[:, 2:])
    both = (end - start).clamp(min=0).prod(1)
    area, wanted = ((part[:, 2:] - part[:, :2]).prod(1) for part in (one, other))
    return both / (area + wanted - both)


@torch.no_grad()
def best_cells(
    which: Tensor, logits: Tensor, made: Tensor, boxes: Tensor, labels: Tensor
) -> Tensor:
    """Leave to each box, of the cells that answer for it, the one that fits best now."""
    n, y, x = (which >= 0).nonzero(as_tuple=True)
    g = which[n, y, x]
    score = logits.sigmoid()[n, labels[n, g], y, x]
    fit = score**0.2 * iou(made[n, y, x], boxes[n, g]) ** 0.8
    owner = n * boxes.shape[1] + g
    best = torch.zeros(boxes.shape[0] * boxes.shape[1]).scatter_reduce(0, owner, fit, "amax")
    left = fit == best[owner]
    chosen = torch.full_like(which, -1)
    chosen[n[left], y[left], x[left]] = g[left]
    return chosen


def loss_of(model: YOLO, images: Tensor, boxes: Tensor, labels: Tensor, arm: Arm) -> Tensor:
    """Compute the chapter's loss, or what the arm has in its place."""
    logits, distances = model(images)
    made = boxes_of(distances, arm.anchors)
    which = assign(boxes, labels, *logits.shape[2:], radius=arm.radius)
    if arm.matched:
        which = best_cells(which, logits, made, boxes, labels)
    n, y, x = (which >= 0).nonzero(as_tuple=True)
    g = which[n, y, x]
    targets = torch.zeros_like(logits)
    targets[n, labels[n, g], y, x] = 1
    fits = iou(made[n, y, x], boxes[n, g])
    if arm.focal:
        scores = sigmoid_focal_loss(logits, targets, alpha=0.25, gamma=2, reduction="sum")
    else:
        scores = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum()
    return (scores + arm.box_weight * (1 - fits).sum()) / max(len(n), 1)


def learn(arm: Arm, rate: float, seed: int, data: tuple[Tensor, ...]) -> YOLO:
    """Train a network of an arm."""
    model = network(seed, arm)
    optimizer = torch.optim.AdamW(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, triangular(arm.steps))
    for chosen in torch.randperm(len(data[0])).split(BATCH):
        images, boxes, labels = (part[chosen] for part in data)
        images = images.contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad()
        loss_of(model, images, boxes, labels, arm).backward()
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def answers(model: YOLO, images: Tensor, anchors: bool) -> tuple[Tensor, Tensor]:
    """Scores (N, 256, 10) and boxes (N, 256, 4)."""
    parts = [model(part) for part in images.split(100)]
    scores = torch.cat([logits.sigmoid().flatten(2).mT for logits, _ in parts])
    boxes = torch.cat([boxes_of(distances, anchors).flatten(1, 2) for _, distances in parts])
    return scores, boxes.clamp(0, images.shape[-1])


def found(
    scores: Tensor, boxes: Tensor, overlap: float,
    every: bool = True, by_class: bool = True, suppress: bool = True,
) -> Found:  # fmt: skip
    """What is found: every class of a cell or its best, and what NMS leaves of it."""
    if not every:
        scores = scores.where(scores == scores.amax(2, keepdim=True), 0)
    result = []
    for image_scores, image_boxes in zip(scores, boxes, strict=True):
        cell, label = (image_scores > 0.05).nonzero(as_tuple=True)
        chosen, score = image_boxes[cell], image_scores[cell, label]
        if suppress:
            kept = nms(chosen, score, overlap, label if by_class else None)
            chosen, label, score = chosen[kept], label[kept], score[kept]
        result.append({"boxes": chosen, "labels": label, "scores": score})
    return result


def ap(predictions: Found, targets: Found, *levels: float) -> list[float]:
    """AP at each IoU in percent, the mean over the classes."""
    values = evaluate_detections(predictions, targets, 10, iou_thresholds=list(levels)).nanmean(1)
    return [round(100 * value, 2) for value in values.tolist()]


Data = tuple[Tensor, Tensor, Tensor]  # images, boxes, labels


@cache
def data_of(steps: int, empty: bool) -> tuple[Data, Data, Data]:
    """Make the scenes for learning, for choosing and for the test."""
    garments, most = fashion_mnist()[0], 1 if empty else 4
    learning, choosing, fresh = (
        scenes(steps * BATCH, 20, garments[:8000], most).tensors,
        scenes(200, 21, garments[8000:], most).tensors,
        scenes(500, 22, "test", most).tensors,
    )
    if empty:
        return widened(learning), widened(choosing), widened(fresh)
    return learning, choosing, fresh


def widened(data: Data) -> Data:
    """Put each scene somewhere on a canvas of 128 × 128 pixels."""
    images, boxes, labels = data
    places = torch.randint(65, (len(images), 2), generator=torch.Generator().manual_seed(23))
    wide = torch.zeros(len(images), 1, 128, 128)
    for canvas, image, (x, y) in zip(wide, images, places.tolist(), strict=True):
        canvas[:, y : y + 64, x : x + 64] = image
    return wide, boxes + places.repeat(1, 2)[:, None], labels


def as_targets(data: Data) -> Found:
    """What is there, as ``evaluate_detections`` takes it."""
    there = ((boxes, labels, labels >= 0) for _, boxes, labels in zip(*data, strict=True))
    return [{"boxes": boxes[real], "labels": labels[real]} for boxes, labels, real in there]


def rows(names: list[str]) -> Iterator[list]:
    """Tune and test each arm."""
    for name in names:
        arm = ARMS[name]
        data, choosing, fresh = data_of(arm.steps, arm.empty)
        there, wanted = map(as_targets, (choosing, fresh))
        outputs, marks = {}, {}
        for rate in arm.rates:
            outputs[rate] = answers(learn(arm, rate, 100, data), choosing[0], arm.anchors)
            choice = ap(found(*outputs[rate], 0.6), there, 0.5, 0.75)
            marks[rate] = sum(choice)
            yield [name, rate, 100, *choice] + [""] * (2 + 2 * len(READINGS))
        rate = max(arm.rates, key=marks.__getitem__)
        best = {
            one: max(
                OVERLAPS,
                key=lambda o: ap(found(*outputs[rate], o, *READINGS[one]), there, 0.5)[0],
            )
            for one in arm.readings
        }
        for seed in range(arm.seeds):
            model = learn(arm, rate, seed, data)
            answer = answers(model, fresh[0], arm.anchors)
            test = ap(found(*answer, 0.6), wanted, 0.5, 0.75)
            row = [name, rate, seed, "", "", *test]
            for one, how in READINGS.items():
                if one in best:
                    row += [best[one], *ap(found(*answer, best[one], *how), wanted, 0.5)]
                else:
                    row += ["", ""]
            yield row


def kept(arms: list[str]) -> list[list]:
    """Read the rows of the other arms from the table."""
    table = Path(__file__).with_suffix(".csv")
    lines = table.read_text(encoding="utf-8").splitlines()[1:] if table.exists() else []
    return [row for row in csv.reader(lines) if row[0] not in arms]


if __name__ == "__main__":
    HEAD += [column for name in READINGS for column in (f"IoU, {name}", name)]
    arms = sys.argv[1:] or list(ARMS)
    _keep_buffers()
    write_table(__file__, HEAD, chain(kept(arms), rows(arms)))
