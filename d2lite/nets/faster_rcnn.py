"""Faster R-CNN: one network that proposes regions, and another, on the same maps, that names them.

From Ren, He, Girshick and Sun, "Faster R-CNN: towards real-time object detection with region
proposal networks", 2015. Here it is small, for the scenes of ``d2lite.data``: 64 × 64 pixels, gray.
N images, A anchors or proposals of each, G garments of each; labels −1 are padding.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from d2lite.boxes import nms
from d2lite.checks import checked, given, integer, one_of, tensor
from d2lite.data.scenes import CANVAS
from d2lite.nets.resnet import basic_block, conv_bn
from d2lite.roi import roi_align

#: Heights and widths of the anchors at each position of the map, in pixels.
SHAPES = (14, 14), (22, 22), (12, 24), (24, 12), (28, 14), (30, 26)

#: Factors of the head's four numbers, so that what it learns is about as large as its scores.
WEIGHTS = 10.0, 10.0, 5.0, 5.0

#: Bins along each side of the grid that the head sees of a region.
BINS = 6

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


def backbone(channels: int = 64, stride: int = 4) -> nn.Sequential:
    """Make a small network without an end: gray images (N, 1, H, W) to maps, H / stride high.

    >>> backbone(stride=8)(torch.zeros(1, 1, 64, 64)).shape
    torch.Size([1, 64, 8, 8])
    """
    return nn.Sequential(
        *conv_bn(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2),
        *conv_bn(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        *conv_bn(32, channels, 3, stride=2 if stride == 16 else 1), nn.ReLU(),
        basic_block(channels, channels, stride=2 if stride >= 8 else 1),
    )  # fmt: skip


def box_head(channels: int = 64, units: int = 128, num_classes: int = 10) -> nn.Module:
    """Make what names a region: maps (K, C, 6, 6) to scores and four differences, (K, classes + 5).

    >>> box_head()(torch.zeros(3, 64, 6, 6)).shape
    torch.Size([3, 15])
    """
    return nn.Sequential(
        nn.Flatten(), nn.Linear(channels * BINS**2, units), nn.ReLU(),
        nn.Linear(units, num_classes + 1 + 4),
    )  # fmt: skip


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


def _scenes(images: Tensor) -> None:
    if images.shape[2:] != (CANVAS, CANVAS):
        raise ValueError(f"images{given(images)}: must be (N, 1, {CANVAS}, {CANVAS})")


class FasterRCNN(nn.Module):
    """Find garments in scenes of 64 × 64: maps, proposals on them, and a head for each proposal.

    Args:
        channels: Of the maps.
        stride: Pixels between two positions of the maps.
        proposals: How many the head looks at in an image.
        num_classes: The classes; the background is one more, the last.

    Raises:
        ValueError: If the stride is none of 4, 8 and 16, or a number is < 1.

    Trained by ``fit(model, scenes(4000).tensors, loss=loss, …)``.

    >>> model = FasterRCNN().eval()
    >>> found = model(torch.zeros(2, 1, 64, 64))
    >>> len(found), sorted(found[0])
    (2, ['boxes', 'labels', 'scores'])
    """

    anchors: Tensor

    @checked(
        channels=integer(at_least=1),
        stride=one_of(4, 8, 16),
        proposals=integer(at_least=1),
        num_classes=integer(at_least=1),
    )
    def __init__(
        self, channels: int = 64, stride: int = 4, proposals: int = 32, num_classes: int = 10
    ):
        super().__init__()
        self.stride, self.proposals, self.num_classes = stride, proposals, num_classes
        self.backbone = backbone(channels, stride)
        self.rpn = RPN(channels, len(SHAPES))
        self.head = box_head(channels, num_classes=num_classes)
        self.register_buffer("anchors", make_anchors(SHAPES, stride))

    def name(self, maps: Tensor, rois: Tensor) -> tuple[Tensor, Tensor]:
        """Score regions (K, 5) for each class and the background, and say how to move them."""
        regions = roi_align(maps, rois, BINS, 1 / self.stride, sampling_ratio=2, aligned=True)
        return self.head(regions).split([self.num_classes + 1, 4], 1)

    @checked(_scenes, images=tensor("(N, 1, 64, 64)"))
    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:
        """Find what is in images (N, 1, 64, 64): boxes, labels and scores of each."""
        maps = self.backbone(images)
        scores, deltas = self.rpn(maps)
        proposals = propose(scores, deltas, self.anchors, self.proposals)
        return detections(*self.name(maps, as_rois(proposals)), proposals)


def as_rois(proposals: Tensor, chosen: Tensor | None = None) -> Tensor:
    """Put the number of its image before each box, (N, P, 4) to (K, 5), or before those chosen.

    >>> as_rois(torch.ones(2, 1, 4))
    tensor([[0., 1., 1., 1., 1.],
            [1., 1., 1., 1., 1.]])
    """
    images = torch.arange(len(proposals), device=proposals.device, dtype=proposals.dtype)
    rows = torch.cat([images[:, None, None].expand_as(proposals[..., :1]), proposals], 2)
    return rows.flatten(0, 1) if chosen is None else rows[chosen]


@torch.no_grad()
def detections(
    scores: Tensor, deltas: Tensor, proposals: Tensor, threshold: float = 0.05, iou: float = 0.5
) -> list[dict[str, Tensor]]:
    """Make of scores (N · P, classes + 1) what torchvision's detectors give: a dictionary an image.

    Every class that scores above the threshold makes a detection of a proposal; then NMS, class by
    class. Proposals without area are padding, of which nothing is made.
    """
    found = []
    shares = scores.softmax(1)[:, :-1].unflatten(0, proposals.shape[:2])
    shares = shares * (proposals[..., 2:] > proposals[..., :2]).all(2, keepdim=True)
    moved = decode(deltas.unflatten(0, proposals.shape[:2]), proposals, WEIGHTS).clamp(0, CANVAS)
    for share, boxes in zip(shares, moved, strict=True):
        which, labels = (share > threshold).nonzero().T
        kept = nms(boxes[which], share[which, labels], iou, labels)
        which, labels = which[kept], labels[kept]
        found.append({"boxes": boxes[which], "labels": labels, "scores": share[which, labels]})
    return found


# ---- What it learns from -------------------------------------------------------------------------


def match_regions(proposals: Tensor, boxes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Give each proposal the class of the garment that it overlaps best, and that one's position.

    Returns:
        Classes + 1, (N, P): 0 is background, with an IoU below 0.5; −1 has no area. And positions,
        (N, P).
    """
    iou, best = (overlaps(proposals, boxes) * (labels >= 0)[:, None]).max(2)
    kinds = (labels.gather(1, best) + 1).where(iou >= 0.5, 0)
    return kinds.where((proposals[..., 2:] - proposals[..., :2]).amin(2) > 0, -1), best


def fast_rcnn_loss(
    scores: Tensor, deltas: Tensor, rois: Tensor, kinds: Tensor, targets: Tensor
) -> Tensor:
    """Compute the head's loss: of the classes, and of the boxes of those regions that have one.

    Args:
        scores: (K, classes + 1), the background last.
        deltas: (K, 4).
        rois: (K, 5), or (K, 4) without the number of the image.
        kinds: (K,), class + 1, or 0 for background.
        targets: (K, 4), the garments' boxes.
    """
    right = (kinds - 1).where(kinds > 0, scores.shape[1] - 1)
    there = kinds > 0
    wanted = encode(targets[there], rois[there, -4:], WEIGHTS)
    moves = F.smooth_l1_loss(deltas[there], wanted, reduction="sum")
    return F.cross_entropy(scores, right) + moves / there.sum().clamp(min=1)


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


def head_loss(
    name: Callable[[Tensor], tuple[Tensor, Tensor]],
    proposals: Tensor,
    boxes: Tensor,
    labels: Tensor,
    count: int = 32,
) -> Tensor:
    """Compute the loss of what names regions, on up to ``count`` proposals of each image.

    The garments' own boxes are proposals, too.

    Args:
        name: Gives regions (K, 5) scores (K, classes + 1) and differences (K, 4).
        proposals: (N, P, 4); those without area are padding.
        boxes: (N, G, 4).
        labels: (N, G).
        count: Of each image, half of them garments at most.
    """
    proposals = torch.cat([proposals, boxes], 1)
    kinds, best = match_regions(proposals, boxes, labels)
    chosen = sample(kinds, count)
    images, _ = chosen.nonzero().T
    rois = as_rois(proposals, chosen)
    return fast_rcnn_loss(*name(rois), rois, kinds[chosen], boxes[images, best[chosen]])


def _places(boxes: Tensor, labels: Tensor) -> None:
    if labels.shape != boxes.shape[:2] or labels.shape[1] == 0:
        raise ValueError(
            f"labels{given(labels)}: must be (N, G) as boxes{given(boxes)}, G ≥ 1; −1 is no box"
        )


@checked(_scenes, _places, images=tensor("(N, 1, 64, 64)"))
def loss(model: FasterRCNN, images: Tensor, boxes: Tensor, labels: Tensor) -> Tensor:
    """Compute the sum of both stages' losses.

    Args:
        model: A ``FasterRCNN``.
        images: (N, 1, 64, 64).
        boxes: (N, G, 4).
        labels: (N, G); −1 is padding.

    >>> from d2lite.data import scenes
    >>> loss(FasterRCNN(), *scenes(2).tensors).shape
    torch.Size([])
    """
    maps = model.backbone(images)
    scores, deltas = model.rpn(maps)
    proposals = propose(scores, deltas, model.anchors, model.proposals)
    return rpn_loss(scores, deltas, model.anchors, boxes, labels) + head_loss(
        lambda rois: model.name(maps, rois), proposals, boxes, labels
    )
