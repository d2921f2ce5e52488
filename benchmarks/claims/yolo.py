"""YOLO: what of a one-stage detector matters? The long run behind the chapter on YOLO.

    python benchmarks/claims/yolo.py              # writes yolo.csv beside it; 7 CPU-minutes
    python benchmarks/claims/yolo.py usual focal  # only these arms; the rows of others stay

Networks of ``d2lite.nets.yolo`` with half the channels, 26,054 parameters; AdamW, whose rate rises
and falls; batches of 32 scenes, each seen once. They learn from scenes of 8,000 garments. Each
arm's rate is chosen by AP50 + AP75 on 200 scenes of the other 2,000, with seed 100; at it, seeds 0
to 4 are trained, and tested on 500 scenes of test garments. The rows of the tuning have no test. A
seed has its weights and its order.

- ``usual``: four distances; the cell of the center and its neighbors answer; binary cross-entropy,
  and scores that start at 0.01.
- ``anchors``: the same cells answer, with offsets from an anchor of 22 × 22 pixels.
- ``one``: only the cell of the center answers.
- ``half``: scores that start at 0.5.
- ``weights``: positives 5 times as heavy; ``focal``: the focal loss.

Of ``usual`` and ``one``, AP50 is also measured without NMS, and with what each cell likes best
instead of every class above 0.05, with NMS by class and for all classes at once; each with the IoU
threshold of NMS that was best on the choosing scenes. One row for each network.
"""

import csv
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor

from d2lite.boxes import evaluate_detections, nms
from d2lite.data import fashion_mnist, scenes
from d2lite.nets.yolo import BOX_WEIGHT, STRIDE, YOLO, assign, cell_centers
from d2lite.schedules import triangular

STEPS, BATCH, WIDTH, SEEDS, ANCHOR = 100, 32, 24, range(5), 22.0
RATES = [0.001, 0.003, 0.01, 0.03]
OVERLAPS = [0.3, 0.45, 0.6, 0.75]
HEAD = ["Arm", "Rate", "Seed", "Choosing AP50", "Choosing AP75", "AP50", "AP75"]
READINGS = {
    "without NMS": (True, True, False),
    "every class, NMS by class": (True, True, True),
    "every class, one NMS": (True, False, True),
    "best class, NMS by class": (False, True, True),
    "best class, one NMS": (False, False, True),
}  # every class above the threshold? by class? NMS at all?
ARMS: dict[str, dict] = {
    "usual": {},
    "anchors": {"anchors": True},
    "one": {"radius": 0},
    "half": {"start": 0.5},
    "weights": {"kind": "weights"},
    "focal": {"kind": "focal"},
}
Found = list[dict[str, Tensor]]


def network(seed: int, anchors: bool = False, start: float = 0.01) -> YOLO:
    """Build a network whose scores begin at ``start``, and its boxes at 22 × 22 pixels."""
    torch.manual_seed(seed)
    model = YOLO(width=WIDTH).to(memory_format=torch.channels_last)
    torch.nn.init.constant_(model.logits.bias, torch.tensor(start).logit().item())
    size = 0.0 if anchors else torch.tensor(ANCHOR / 2 / STRIDE).log().item()
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


def of_scores(logits: Tensor, targets: Tensor, kind: str) -> Tensor:
    """Sum the losses of all scores: cross-entropy, positives 5 times as heavy, or focal loss."""
    if kind == "weights":
        weight = torch.tensor(5.0)
        return F.binary_cross_entropy_with_logits(
            logits, targets, reduction="sum", pos_weight=weight
        )
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    if kind == "focal":
        p = logits.sigmoid()
        wrong = p + targets - 2 * p * targets  # 1 − p where the class is there, p elsewhere
        loss = (0.75 - 0.5 * targets) * wrong**2 * loss
    return loss.sum()


def loss_of(
    model: YOLO, images: Tensor, boxes: Tensor, labels: Tensor,
    anchors: bool = False, radius: int = 1, kind: str = "cross-entropy",
) -> Tensor:  # fmt: skip
    """The chapter's loss, with each part to be chosen."""
    logits, distances = model(images)
    which = assign(boxes, labels, *logits.shape[2:], radius)
    n, y, x = (which >= 0).nonzero(as_tuple=True)
    g = which[n, y, x]
    targets = torch.zeros_like(logits)
    targets[n, labels[n, g], y, x] = 1
    fits = iou(boxes_of(distances, anchors)[n, y, x], boxes[n, g])
    return (of_scores(logits, targets, kind) + BOX_WEIGHT * (1 - fits).sum()) / max(len(n), 1)


def learn(arm: str, rate: float, seed: int, data: tuple[Tensor, ...]) -> YOLO:
    """Train a network of an arm."""
    setting = dict(ARMS[arm])
    model = network(seed, setting.get("anchors", False), setting.pop("start", 0.01))
    optimizer = torch.optim.AdamW(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, triangular(STEPS))
    for chosen in torch.randperm(len(data[0]))[: STEPS * BATCH].split(BATCH):
        images, boxes, labels = (part[chosen] for part in data)
        images = images.contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad()
        loss_of(model, images, boxes, labels, **setting).backward()
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def answers(model: YOLO, images: Tensor, anchors: bool) -> tuple[Tensor, Tensor]:
    """Scores (N, 256, 10) and boxes (N, 256, 4)."""
    parts = [model(part) for part in images.split(100)]
    scores = torch.cat([logits.sigmoid().flatten(2).mT for logits, _ in parts])
    boxes = torch.cat([boxes_of(distances, anchors).flatten(1, 2) for _, distances in parts])
    return scores, boxes.clamp(0, 64)


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


def rows(arms: list[str]) -> Iterator[list]:
    """Tune and test each arm."""
    garments = fashion_mnist()[0]
    data = scenes(STEPS * BATCH, seed=20, garments=garments[:8000]).tensors
    choosing = scenes(200, seed=21, garments=garments[8000:])
    fresh = scenes(500, seed=22, garments="test")
    there, wanted = ([part[i][1] for i in range(len(part))] for part in (choosing, fresh))
    for arm in arms:
        anchors = arm == "anchors"
        readings = READINGS if arm in ("usual", "one") else {}
        outputs, marks = {}, {}
        for rate in RATES:
            outputs[rate] = answers(learn(arm, rate, 100, data), choosing.images, anchors)
            choice = ap(found(*outputs[rate], 0.6), there, 0.5, 0.75)
            marks[rate] = sum(choice)
            yield [arm, rate, 100, *choice] + [""] * (2 + 2 * len(READINGS))
        rate = max(RATES, key=marks.__getitem__)
        best = {
            name: max(OVERLAPS, key=lambda one: ap(found(*outputs[rate], one, *how), there, 0.5)[0])
            for name, how in readings.items()
        }
        for seed in SEEDS:
            model = learn(arm, rate, seed, data)
            answer = answers(model, fresh.images, anchors)
            read = [
                value
                for name, how in readings.items()
                for value in (best[name], *ap(found(*answer, best[name], *how), wanted, 0.5))
            ]
            test = ap(found(*answer, 0.6), wanted, 0.5, 0.75)
            yield [arm, rate, seed, "", "", *test, *read] + [""] * 2 * (
                len(READINGS) - len(readings)
            )


def kept(arms: list[str]) -> list[list]:
    """Read the rows of the other arms from the table."""
    table = Path(__file__).with_suffix(".csv")
    lines = table.read_text(encoding="utf-8").splitlines()[1:] if table.exists() else []
    return [row for row in csv.reader(lines) if row[0] not in arms]


if __name__ == "__main__":
    HEAD += [column for name in READINGS for column in (f"IoU, {name}", name)]
    arms = sys.argv[1:] or list(ARMS)
    write_table(__file__, HEAD, chain(kept(arms), rows(arms)))
