"""A region proposal network: which anchors are objects, and how far off they are.

From Ren, He, Girshick and Sun, "Faster R-CNN: towards real-time object detection with region
proposal networks", 2015. N images, A anchors of each, G garments of each; labels −1 are padding.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from d2lite.data.scenes import CANVAS

#: Heights and widths of the anchors at each position of the map, in pixels.
SHAPES = (14, 14), (22, 22), (12, 24), (24, 12), (28, 14), (30, 26)

# ---- Boxes as differences from other boxes -------------------------------------------------------


def encode(boxes: Tensor, references: Tensor, weights: Sequence[float] = (1, 1, 1, 1)) -> Tensor:
    """Write boxes as differences from others: two moves and two logarithms of ratios, (K, 4).

    Equal to torchvision's ``BoxCoder(weights).encode_single``. Both have an area above 0.

    From Girshick et al., "Rich feature hierarchies for accurate object detection and semantic
    segmentation", 2014.

    >>> encode(torch.tensor([[12.0, 10, 32, 20]]), torch.tensor([[10.0, 10, 30, 30]]))
    tensor([[ 0.1000, -0.2500,  0.0000, -0.6931]])
    """
    size = boxes[:, 2:] - boxes[:, :2]
    of_reference = references[:, 2:] - references[:, :2]
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    start = (references[:, :2] + references[:, 2:]) / 2
    moves = (center - start) / of_reference
    deltas = torch.cat([moves, (size / of_reference).log()], 1)
    return deltas * deltas.new_tensor(weights)


def decode(deltas: Tensor, references: Tensor, weights: Sequence[float] = (1, 1, 1, 1)) -> Tensor:
    """Move and stretch boxes by such differences, (…, 4): what ``encode`` does, undone.

    A box grows by a factor of 62.5 at most, as in torchvision's ``decode_single``.

    >>> decode(torch.tensor([[0.1, -0.25, 0.0, -0.6931]]), torch.tensor([[10.0, 10, 30, 30]]))
    tensor([[12.0000,  9.9998, 32.0000, 20.0002]])
    """
    moves, stretches = (deltas / deltas.new_tensor(weights)).split(2, -1)
    size = references[..., 2:] - references[..., :2]
    center = (references[..., :2] + references[..., 2:]) / 2 + moves * size
    half = stretches.clamp(max=math.log(1000 / 16)).exp() * size / 2
    return torch.cat([center - half, center + half], -1)


def overlaps(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Compute the IoU of boxes (…, A, 4) with boxes (…, G, 4) of the same image, (…, A, G).

    As ``d2lite.boxes.box_iou``, with axes for images before. A box without area has an IoU of 0.

    >>> overlaps(torch.tensor([[0.0, 0, 4, 2]]), torch.tensor([[2.0, 0, 6, 2], [0, 0, 0, 0]]))
    tensor([[0.3333, 0.0000]])
    """
    boxes1, boxes2 = boxes1[..., :, None, :], boxes2[..., None, :, :]
    start = torch.maximum(boxes1[..., :2], boxes2[..., :2])
    end = torch.minimum(boxes1[..., 2:], boxes2[..., 2:])
    both = (end - start).clamp(min=0).prod(-1)
    area1, area2 = ((boxes[..., 2:] - boxes[..., :2]).prod(-1) for boxes in (boxes1, boxes2))
    return both / (area1 + area2 - both).clamp(min=1e-9)


# ---- Which anchor is right, and which are learned from -------------------------------------------


def label_anchors(iou: Tensor, low: float = 0.3, high: float = 0.7) -> Tensor:
    """Say which anchors are an object, 1, which are background, 0, and which count as neither, −1.

    An anchor is an object if it overlaps one by ``high`` or more; or, so that no object is left
    without, if none overlaps that one better. It is background if it overlaps all by less than
    ``low``.

    Args:
        iou: (…, A, G); that with padding is 0.
        low: The IoU below which an anchor is background.
        high: The IoU from which on it is an object.

    Returns:
        (…, A), int64.

    >>> label_anchors(torch.tensor([[0.8, 0.0], [0.5, 0.1], [0.2, 0.4], [0.1, 0.1]]))
    tensor([ 1, -1,  1,  0])
    """
    best = iou.max(-1).values
    labels = torch.where(best < low, 0, -1)
    best_of_object = iou.max(-2, keepdim=True).values.clamp(min=1e-6)
    is_best = (iou >= best_of_object).any(-1)
    return torch.where((best >= high) | is_best, 1, labels)


def sample(labels: Tensor, count: int, share: float = 0.5) -> Tensor:
    """Choose up to ``count`` of each image at random, of them up to a ``share`` of objects.

    Args:
        labels: (N, A): > 0 an object, 0 background, < 0 neither, and never chosen.
        count: How many of each image, if there are so many.
        share: Of objects, at most; the rest is background.

    Returns:
        (N, A), bool.

    >>> chosen = sample(torch.tensor([[1, 1, 1, 0, 0, 0, 0, -1]]), count=4)
    >>> int(chosen[:, :3].sum()), int(chosen[:, 3:7].sum())
    (2, 2)
    """
    order = torch.randperm(labels.shape[1], device=labels.device)
    shuffled = labels[:, order]
    objects = shuffled > 0
    objects &= objects.cumsum(1) <= round(count * share)
    others = shuffled == 0
    others &= others.cumsum(1) <= count - objects.sum(1, keepdim=True)
    return (objects | others)[:, order.argsort()]


# ---- The network ---------------------------------------------------------------------------------


class RPN(nn.Module):
    """Region proposal network: at each position of a map, a score and four numbers an anchor.

    Args:
        channels: Of the maps.
        anchors: At each position.

    >>> scores, deltas = RPN(8, 6)(torch.zeros(2, 8, 16, 16))
    >>> scores.shape, deltas.shape
    (torch.Size([2, 1536]), torch.Size([2, 1536, 4]))
    """

    def __init__(self, channels: int, anchors: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.score = nn.Conv2d(channels, anchors, 1)
        self.deltas = nn.Conv2d(channels, 4 * anchors, 1)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Map (N, C, H, W) to scores (N, H · W · anchors) and differences, with an axis of 4."""
        hidden = self.conv(maps).relu()
        scores = self.score(hidden).permute(0, 2, 3, 1).flatten(1)
        deltas = self.deltas(hidden).permute(0, 2, 3, 1)
        return scores, deltas.reshape(*scores.shape, 4)


def make_anchors(shapes: Sequence[tuple[int, int]] = SHAPES, stride: int = 4) -> Tensor:
    """Place a box of each shape around the middle of each position of the map, (A, 4).

    >>> make_anchors()[:2]
    tensor([[-5., -5.,  9.,  9.],
            [-9., -9., 13., 13.]])
    """
    middle = (torch.arange(CANVAS // stride) + 0.5) * stride
    y, x = torch.meshgrid(middle, middle, indexing="ij")
    center = torch.stack([x, y], -1)[:, :, None]
    half = torch.tensor(shapes, dtype=torch.float32).flip(1) / 2  # of the width, of the height
    return torch.cat([center - half, center + half], -1).flatten(0, 2)


@torch.no_grad()
def propose(scores: Tensor, deltas: Tensor, anchors: Tensor, count: int) -> Tensor:
    """Take the best anchors, move them, and of those that overlap keep the best: (N, count, 4).

    Args:
        scores: (N, A).
        deltas: (N, A, 4).
        anchors: (A, 4).
        count: How many of each image. If NMS leaves fewer, what it dropped fills up.

    >>> propose(torch.zeros(2, 1536), torch.zeros(2, 1536, 4), make_anchors(), 32).shape
    torch.Size([2, 32, 4])
    """
    scores, best = scores.topk(min(3 * count, scores.shape[1]))
    moves = deltas.gather(1, best[..., None].expand(-1, -1, 4))
    boxes = decode(moves, anchors[best]).clamp(0, CANVAS)
    worse, kept = overlaps(boxes, boxes) > 0.7, torch.ones_like(best, dtype=torch.bool)
    for i in range(best.shape[1] - 1):  # NMS, of all images at once
        kept[:, i + 1 :] &= ~(kept[:, i : i + 1] & worse[:, i, i + 1 :])
    first = (~kept).long().sort(dim=1, stable=True).indices[:, :count]
    return boxes.gather(1, first[..., None].expand(-1, -1, 4))


def rpn_loss(
    scores: Tensor,
    deltas: Tensor,
    anchors: Tensor,
    boxes: Tensor,
    labels: Tensor,
    count: int = 64,
    rule: Callable[[Tensor], Tensor] = label_anchors,
) -> Tensor:
    """Compute the loss of a region proposal network, on up to ``count`` anchors of each image.

    Args:
        scores: (N, A).
        deltas: (N, A, 4).
        anchors: (A, 4).
        boxes: (N, G, 4).
        labels: (N, G).
        count: Of each image, half of them objects at most; the paper takes 256 of about 20,000.
        rule: Makes labels of IoUs (N, A, G), as ``label_anchors`` does.
    """
    iou = overlaps(anchors, boxes) * (labels >= 0)[:, None]
    kinds = rule(iou)
    chosen = sample(kinds, count)
    objects = chosen & (kinds == 1)
    images, which = objects.nonzero().T
    wanted = encode(boxes[images, iou.argmax(2)[objects]], anchors[which])
    moves = F.smooth_l1_loss(deltas[objects], wanted, reduction="sum", beta=1 / 9)
    of_scores = F.binary_cross_entropy_with_logits(scores[chosen], kinds[chosen].float())
    return of_scores + moves / objects.sum().clamp(min=1)
