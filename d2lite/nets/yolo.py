"""YOLO, small and without anchors: one pass gives each cell of a grid scores and a box.

From Redmon, Divvala, Girshick and Farhadi, "You only look once: unified, real-time object
detection", 2016, the grid; from Tian, Shen, Chen and He, "FCOS: fully convolutional one-stage
object detection", 2019, four distances in place of anchors; from Ge, Liu, Wang, Li and Sun, "YOLOX:
exceeding YOLO series in 2021", the neighbors of the center's cell.

Boxes are in pixels, (x1, y1, x2, y2); distances are in strides, (left, top, right, bottom).
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from d2lite.boxes import nms
from d2lite.checks import checked, given, integer, number, tensor

#: Height and width of a cell, in pixels.
STRIDE = 4

#: How much heavier a box is than a score in the loss, as in the first YOLO.
BOX_WEIGHT = 5.0


def _whole_cells(images: Tensor) -> None:
    if images.shape[2] % STRIDE or images.shape[3] % STRIDE:
        raise ValueError(f"images{given(images)}: height and width must be multiples of {STRIDE}")


class YOLO(nn.Module):
    """Map gray images (N, 1, 4H, 4W) to logits (N, C, H, W) and distances (N, 4, H, W).

    >>> sum(parameter.numel() for parameter in YOLO(classes=10).parameters())
    102782
    """

    @checked(classes=integer(at_least=1), width=integer(at_least=3))
    def __init__(self, classes: int = 10, width: int = 48):
        super().__init__()
        channels = [1, width // 3, 2 * width // 3] + 5 * [width]
        self.body = nn.Sequential()
        for i, (before, after) in enumerate(pairwise(channels)):
            self.body.append(nn.Conv2d(before, after, 3, padding=1, bias=False))
            self.body.extend([nn.BatchNorm2d(after), nn.ReLU()])
            if i < 2:
                self.body.append(nn.MaxPool2d(2))
        self.logits = nn.Conv2d(width, classes, 1)
        self.log_distances = nn.Conv2d(width, 4, 1)
        nn.init.constant_(self.logits.bias, -4.6)  # type: ignore  # all scores begin at 0.01,
        nn.init.constant_(self.log_distances.bias, 1.0)  # type: ignore  # distances at 2.7

    @checked(_whole_cells, images=tensor("(N, C, H, W)"))
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of C classes and four distances, of each cell."""
        x = self.body(images)
        return self.logits(x).float(), self.log_distances(x).float().exp()


def cell_centers(H: int, W: int) -> Tensor:
    """Compute the center (x, y) of each cell in pixels, (H, W, 2)."""
    x, y = torch.meshgrid(torch.arange(W), torch.arange(H), indexing="xy")
    return STRIDE * (torch.stack([x, y], 2) + 0.5)


def _places(boxes: Tensor, labels: Tensor) -> None:
    if labels.shape != boxes.shape[:2] or labels.shape[1] == 0:
        raise ValueError(
            f"labels{given(labels)}: must be (N, G) as boxes{given(boxes)}, G ≥ 1; −1 is no box"
        )


@checked(
    _places,
    boxes=tensor("(N, G, 4)", empty=True), labels=tensor("(N, G)", floating=False, empty=True),
    H=integer(at_least=1), W=integer(at_least=1), radius=integer(at_least=0),
)  # fmt: skip
def assign(boxes: Tensor, labels: Tensor, H: int, W: int, radius: int = 1) -> Tensor:
    """Choose for each cell the box for which it answers, (N, H, W); −1 for none.

    A box, if its label is ≥ 0, has the cell of its center and those up to ``radius`` cells away,
    as far as their centers are inside the box. Of several boxes, the smallest has the cell.

    >>> assign(torch.tensor([[[4.0, 0.0, 12.0, 8.0]]]), torch.tensor([[7]]), 2, 4)
    tensor([[[-1,  0,  0, -1],
             [-1,  0,  0, -1]]])
    """
    centers = cell_centers(H, W).to(boxes)
    start, end = boxes[:, :, None, None].split(2, 4)
    middle = STRIDE * (((start + end) / 2 / STRIDE).floor() + 0.5)
    near = (centers - middle).abs() <= radius * STRIDE
    has = (near & (start < centers) & (centers < end)).all(4)
    has &= (labels >= 0)[:, :, None, None]
    area = (end - start).prod(4).where(has, torch.inf)  # (N, G, H, W)
    smallest, which = area.min(1)
    return which.where(smallest < torch.inf, -1)


def iou_of_distances(distances: Tensor, wanted: Tensor) -> Tensor:
    """Compute the IoU of boxes around the same points, (P,), from their distances, (P, 4) each."""
    both, one, other = (
        (d[:, 0] + d[:, 2]) * (d[:, 1] + d[:, 3])
        for d in (torch.minimum(distances, wanted), distances, wanted)
    )
    return both / (one + other - both)


def yolo_loss(
    model: nn.Module, images: Tensor, boxes: Tensor, labels: Tensor, radius: int = 1
) -> Tensor:
    """Sum the losses of all scores, and of the boxes of positives; a positive's share of that.

    As ``train.fit`` takes it: ``fit(YOLO(), scenes(64), epochs=10, loss=yolo_loss)``.
    """
    logits, distances = model(images)
    H, W = logits.shape[2:]
    which = assign(boxes, labels, H, W, radius)
    n, y, x = (which >= 0).nonzero(as_tuple=True)  # the positives
    g = which[n, y, x]
    targets = torch.zeros_like(logits)
    targets[n, labels[n, g], y, x] = 1
    start, end = boxes[n, g].split(2, 1)
    center = cell_centers(H, W).to(boxes)[y, x]
    wanted = torch.cat([center - start, end - center], 1) / STRIDE
    of_boxes = 1 - iou_of_distances(distances[n, :, y, x], wanted)
    of_scores = F.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
    return (of_scores + BOX_WEIGHT * of_boxes.sum()) / max(len(n), 1)


def decode(logits: Tensor, distances: Tensor) -> tuple[Tensor, Tensor]:
    """Turn outputs into scores (N, HW, C) and boxes (N, HW, 4), clipped to the image."""
    H, W = logits.shape[2:]
    start, end = distances.permute(0, 2, 3, 1).split(2, 3)
    center = cell_centers(H, W).to(distances)
    boxes = torch.cat([center - STRIDE * start, center + STRIDE * end], 3).clamp(min=0)
    boxes = boxes.minimum(STRIDE * torch.tensor([W, H, W, H]).to(boxes))
    return logits.sigmoid().flatten(2).mT, boxes.flatten(1, 2)


@checked(
    scores=tensor("(N, K, C)", empty=True), boxes=tensor("(N, K, 4)", empty=True),
    threshold=number(at_least=0, at_most=1), iou_threshold=number(at_least=0, at_most=1),
)  # fmt: skip
def detect(
    scores: Tensor, boxes: Tensor, threshold: float = 0.05, iou_threshold: float = 0.6
) -> list[dict[str, Tensor]]:
    """Keep every class of every cell above the threshold; of them, what NMS leaves of each class.

    Returns dictionaries as torchvision's: "boxes", "labels" (from 0), "scores", the best first.
    """
    found = []
    for image_scores, image_boxes in zip(scores, boxes, strict=True):
        cell, label = (image_scores > threshold).nonzero(as_tuple=True)
        chosen, score = image_boxes[cell], image_scores[cell, label]
        kept = nms(chosen, score, iou_threshold, label)
        found.append({"boxes": chosen[kept], "labels": label[kept], "scores": score[kept]})
    return found
