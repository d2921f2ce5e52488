"""Faster R-CNN: one network that proposes regions, and another, on the same maps, that names them.

From Ren, He, Girshick and Sun, "Faster R-CNN: towards real-time object detection with region
proposal networks", 2015. Here it is small, for the scenes of ``d2lite.data``: 64 × 64 pixels, gray.
N images, A anchors or proposals of each, G garments of each; labels −1 are padding.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from d2lite.boxes import nms
from d2lite.checks import checked, given, integer, one_of, tensor
from d2lite.data.scenes import CANVAS
from d2lite.nets.resnet import basic_block, conv_bn
from d2lite.nets.rpn import (
    RPN,
    SHAPES,
    decode,
    encode,
    make_anchors,
    overlaps,
    propose,
    rpn_loss,
    sample,
)
from d2lite.roi import roi_align

#: Factors of the head's four numbers, so that what it learns is about as large as its scores.
WEIGHTS = 10.0, 10.0, 5.0, 5.0

#: Bins along each side of the grid that the head sees of a region.
BINS = 6

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
