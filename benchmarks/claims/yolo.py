"""YOLO: what of a one-stage detector matters? The long run behind the chapter on YOLO.

    python benchmarks/claims/yolo.py    # writes yolo.csv beside it; 8 CPU-minutes

Networks of ``d2lite.nets.yolo`` with half the channels, 24,974 parameters; AdamW, whose rate rises
and falls; batches of 32 scenes. They learn from scenes of 8,000 garments. Each arm's rate is chosen
by AP50 + AP75 on 250 scenes of the other 2,000, with seed 100; at it, seeds 0 to 4 are trained and
tested on 500 scenes of test garments. The rows of the tuning have no test. A seed has its weights
and its order.

- ``usual``: four distances; the cell of the center and its neighbors answer; binary cross-entropy,
  and scores that start at 0.01.
- ``anchors``: the same cells answer, with offsets from an anchor of 22 × 22 pixels.
- ``one cell``: only the cell of the center answers; ``one for scores``: it alone for the scores,
  its neighbors also for boxes.
- ``start at 0.5``, ``weights``, ``focal``, ``focal, start at 0.5``: other losses of the scores.

AP50 is also measured without NMS, and with what each cell likes best instead of every class above
0.05, with NMS by class and for all classes at once; each with the IoU threshold of NMS that was
best on the choosing scenes. One row for each network.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor

from d2lite.boxes import evaluate_detections, nms
from d2lite.data import fashion_mnist, scenes
from d2lite.nets.yolo import STRIDE, YOLO, assign, cell_centers
from d2lite.schedules import triangular

STEPS, BATCH, WIDTH, SEEDS, ANCHOR = 150, 32, 32, range(5), 22.0
RATES = [0.001, 0.003, 0.01, 0.03]
OVERLAPS = [0.3, 0.45, 0.6, 0.75]
HEAD = ["Arm", "Rate", "Seed", "Steps", "Choosing AP50", "Choosing AP75", "AP50", "AP75"]
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
    "one cell": {"score_radius": 0, "box_radius": 0},
    "one for scores": {"score_radius": 0},
    "start at 0.5": {"start": 0.5},
    "weights": {"score_loss": "weights"},
    "focal": {"score_loss": "focal"},
    "focal, start at 0.5": {"score_loss": "focal", "start": 0.5},
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
    model: YOLO, images: Tensor, boxes: Tensor, labels: Tensor, anchors: bool = False,
    score_radius: int = 1, box_radius: int = 1, score_loss: str = "cross-entropy",
) -> Tensor:  # fmt: skip
    """The chapter's loss, with each part to be chosen."""
    logits, distances = model(images)
    H, W = logits.shape[2:]
    which = assign(boxes, labels, H, W, score_radius)
    n, y, x = (which >= 0).nonzero(as_tuple=True)
    targets = torch.zeros_like(logits)
    targets[n, labels[n, which[n, y, x]], y, x] = 1
    scores = of_scores(logits, targets, score_loss) / max(len(n), 1)
    which = assign(boxes, labels, H, W, box_radius)
    n, y, x = (which >= 0).nonzero(as_tuple=True)
    fits = iou(boxes_of(distances, anchors)[n, y, x], boxes[n, which[n, y, x]])
    return scores + (1 - fits).sum() / max(len(n), 1)


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


def rows() -> Iterator[list]:
    """Tune and test each arm."""
    garments = fashion_mnist()[0]
    data = scenes(STEPS * BATCH, seed=20, garments=garments[:8000]).tensors
    choosing = scenes(250, seed=21, garments=garments[8000:])
    fresh = scenes(500, seed=22, garments="test")
    there, wanted = ([part[i][1] for i in range(len(part))] for part in (choosing, fresh))
    overlaps: dict[str, float] = {}
    for arm, setting in ARMS.items():
        anchors = setting.get("anchors", False)
        marks = {}
        for rate in RATES:
            outputs = answers(learn(arm, rate, 100, data), choosing.images, anchors)
            choice = ap(found(*outputs, 0.6), there, 0.5, 0.75)
            marks[rate] = sum(choice), outputs
            yield [arm, rate, 100, STEPS, *choice] + [""] * (2 + 2 * len(READINGS))
        rate = max(marks, key=lambda rate: marks[rate][0])
        for name, how in READINGS.items():
            tried = {one: ap(found(*marks[rate][1], one, *how), there, 0.5)[0] for one in OVERLAPS}
            overlaps[name] = max(OVERLAPS, key=lambda one: tried[one])
        for seed in SEEDS:
            model = learn(arm, rate, seed, data)
            choice = ap(found(*answers(model, choosing.images, anchors), 0.6), there, 0.5, 0.75)
            outputs = answers(model, fresh.images, anchors)
            test = ap(found(*outputs, 0.6), wanted, 0.5, 0.75)
            read = [
                value
                for name, how in READINGS.items()
                for value in (
                    overlaps[name], ap(found(*outputs, overlaps[name], *how), wanted, 0.5)[0]
                )
            ]  # fmt: skip
            yield [arm, rate, seed, STEPS, *choice, *test, *read]


if __name__ == "__main__":
    for name in READINGS:
        HEAD += [f"IoU {name}", name]
    write_table(__file__, HEAD, rows())
