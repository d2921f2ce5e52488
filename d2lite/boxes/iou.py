"""Boxes: four numbers, the area that two of them share, and how that makes a loss.

A box is four numbers in pixels, (x1, y1, x2, y2): its left, top, right and bottom edge, with x to
the right and y downwards. Edges lie between pixels: a box around one pixel is 1 wide. A pair of
boxes without area has no ratio of areas; wherever this file would divide 0 by 0, the result is 0.

Names and settings are torchvision's.
"""

import math
from typing import Any

import torch
from torch import Tensor

from d2lite.boxes.rules import edges, quadruples
from d2lite.checks import check, checked, given, one_of, tensor

_PAIR = {"boxes1": edges, "boxes2": edges}

# ---- Four numbers --------------------------------------------------------------------------------


def _sizes_are_positive(boxes: Tensor, in_fmt: str) -> None:
    if in_fmt == "xyxy":
        check("boxes", boxes, edges)
    elif (boxes[:, 2:] < 0).any():
        raise ValueError(f"boxes{given(boxes)}: must have w ≥ 0 and h ≥ 0")


_FORMAT = one_of("xyxy", "xywh", "cxcywh")


@checked(_sizes_are_positive, boxes=quadruples, in_fmt=_FORMAT, out_fmt=_FORMAT)
def box_convert(boxes: Tensor, in_fmt: str, out_fmt: str) -> Tensor:
    """Write boxes in other numbers.

    Args:
        boxes: (N, 4), in pixels.
        in_fmt: What the four are: "xyxy", the edges; "xywh", the upper left corner, width and
            height, as in COCO's files; "cxcywh", the center, width and height.
        out_fmt: What they shall be.

    Returns:
        (N, 4), a new tensor.

    Raises:
        TypeError: If the boxes are not float32 or float64.
        ValueError: If they are not (N, 4) or not finite, or one has a negative size.

    >>> box_convert(torch.tensor([[10.0, 20.0, 40.0, 30.0]]), "xyxy", "cxcywh")
    tensor([[25., 25., 30., 10.]])
    """
    if in_fmt == out_fmt:
        return boxes.clone()
    x1, y1, x2, y2 = boxes.unbind(1)
    if in_fmt == "xywh":
        x2, y2 = x1 + x2, y1 + y2
    elif in_fmt == "cxcywh":
        x1, y1, x2, y2 = x1 - x2 / 2, y1 - y2 / 2, x1 + x2 / 2, y1 + y2 / 2
    if out_fmt == "xywh":
        x2, y2 = x2 - x1, y2 - y1
    elif out_fmt == "cxcywh":
        x1, y1, x2, y2 = (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
    return torch.stack([x1, y1, x2, y2], 1)


@checked(boxes=edges)
def box_area(boxes: Tensor) -> Tensor:
    """Compute the area of each box, in square pixels: (N, 4) gives (N,).

    Raises:
        TypeError: If the boxes are not float32 or float64.
        ValueError: If they are not (N, 4) with finite x1 ≤ x2 and y1 ≤ y2.

    >>> box_area(torch.tensor([[0.0, 0.0, 4.0, 2.0], [1.0, 1.0, 1.0, 5.0]]))
    tensor([8., 0.])
    """
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _masks(value: Any) -> None:
    tensor("(…, H, W)", floating=False, empty=True)(value)
    if value.dtype != torch.bool:
        raise TypeError("must be bool")
    if 0 in value.shape[-2:]:
        raise ValueError("must have pixels")


@checked(masks=_masks)
def masks_to_boxes(masks: Tensor) -> Tensor:
    """Find the tight box around the pixels of each mask.

    The box of one pixel is 1 × 1: ``torchvision.ops.masks_to_boxes`` gives the last column and row
    instead of the edge behind them, and so a box without area.

    Args:
        masks: (…, H, W), bool.

    Returns:
        (…, 4), float32, in pixels. A mask without pixels has the box (0, 0, 0, 0).

    Raises:
        TypeError: If the masks are not bool.
        ValueError: If they have not two axes at least, of one pixel at least.

    >>> masks_to_boxes(torch.tensor([[[False, True, True], [False, True, False]]]))
    tensor([[1., 0., 3., 2.]])
    """
    columns, rows = masks.any(-2).int(), masks.any(-1).int()
    W, H = columns.shape[-1], rows.shape[-1]
    x1, y1 = columns.argmax(-1), rows.argmax(-1)  # the first pixel
    x2, y2 = W - columns.flip(-1).argmax(-1), H - rows.flip(-1).argmax(-1)  # behind the last
    return torch.stack([x1, y1, x2, y2], -1).float() * masks.any(-1).any(-1)[..., None]


# ---- How well do two overlap? --------------------------------------------------------------------


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """Divide; 0 / 0 is 0, and its gradient is finite."""
    return part / whole.where(whole > 0, torch.ones_like(whole))


def _shared(boxes1: Tensor, boxes2: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the areas, (N, M), of each box's intersection and union with each."""
    start = torch.maximum(boxes1[:, None, :2], boxes2[:, :2])
    end = torch.minimum(boxes1[:, None, 2:], boxes2[:, 2:])
    intersection = (end - start).clamp(min=0).prod(2)
    return intersection, box_area(boxes1)[:, None] + box_area(boxes2) - intersection


def _hull(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Compute the width and height, (N, M, 2), of the least box around each pair."""
    start = torch.minimum(boxes1[:, None, :2], boxes2[:, :2])
    end = torch.maximum(boxes1[:, None, 2:], boxes2[:, 2:])
    return end - start


@checked(**_PAIR)
def box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Compute the intersection over union (IoU) of each box with each: 1 if equal, 0 if apart.

    Equal to ``torchvision.ops.box_iou``, but for two boxes without area: 0, there NaN.

    Args:
        boxes1: (N, 4).
        boxes2: (M, 4).

    Returns:
        (N, M), from 0 to 1.

    Raises:
        TypeError: If boxes are not float32 or float64.
        ValueError: If they are not (N, 4) with finite x1 ≤ x2 and y1 ≤ y2.

    From Jaccard, "The distribution of the flora in the alpine zone", 1912, for sets.

    >>> box_iou(torch.tensor([[0.0, 0.0, 4.0, 2.0]]), torch.tensor([[2.0, 0.0, 6.0, 2.0]]))
    tensor([[0.3333]])
    """
    return _ratio(*_shared(boxes1, boxes2))


@checked(**_PAIR)
def generalized_box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Compute IoU less the share of the least box around both that neither covers (GIoU).

    Boxes apart have an IoU of 0 however far; this goes on to fall, so that it can be learned from.

    Args:
        boxes1: (N, 4).
        boxes2: (M, 4).

    Returns:
        (N, M), from −1, and at most the IoU.

    Raises:
        TypeError: If boxes are not float32 or float64.
        ValueError: If they are not (N, 4) with finite x1 ≤ x2 and y1 ≤ y2.

    From Rezatofighi et al., "Generalized intersection over union: a metric and a loss for bounding
    box regression", 2019.

    >>> one, other = torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([[3.0, 0.0, 4.0, 1.0]])
    >>> generalized_box_iou(one, other)
    tensor([[-0.5000]])
    """
    intersection, union = _shared(boxes1, boxes2)
    hull = _hull(boxes1, boxes2).prod(2)
    return _ratio(intersection, union) - _ratio(hull - union, hull)


@checked(**_PAIR)
def distance_box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Compute IoU less (distance of the centers / diagonal of the least box around both)² (DIoU).

    Args:
        boxes1: (N, 4).
        boxes2: (M, 4).

    Returns:
        (N, M), from −1, and at most the IoU. torchvision adds 1e-7 to the diagonal's square.

    Raises:
        TypeError: If boxes are not float32 or float64.
        ValueError: If they are not (N, 4) with finite x1 ≤ x2 and y1 ≤ y2.

    From Zheng et al., "Distance-IoU loss: faster and better learning for bounding box regression",
    2020.

    >>> one, other = torch.tensor([[0.0, 0.0, 3.0, 4.0]]), torch.tensor([[3.0, 4.0, 6.0, 8.0]])
    >>> distance_box_iou(one, other)
    tensor([[-0.2500]])
    """
    centers1, centers2 = ((boxes[:, :2] + boxes[:, 2:]) / 2 for boxes in (boxes1, boxes2))
    distance = (centers1[:, None] - centers2).square().sum(2)
    diagonal = _hull(boxes1, boxes2).square().sum(2)
    return box_iou(boxes1, boxes2) - _ratio(distance, diagonal)


@checked(**_PAIR)
def complete_box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Compute DIoU less a term for shapes that differ (CIoU).

    The term is αv, with v = (difference of the shapes' angles / 90°)² and α = v / (1 − IoU + v). A
    shape's angle is atan(width / height); that of a point, atan(0 / 0), is 0. No gradient flows
    through the weight α, as in torchvision.

    Args:
        boxes1: (N, 4).
        boxes2: (M, 4).

    Returns:
        (N, M), from −1.5, and at most the DIoU.

    Raises:
        TypeError: If boxes are not float32 or float64.
        ValueError: If they are not (N, 4) with finite x1 ≤ x2 and y1 ≤ y2.

    From Zheng et al., "Distance-IoU loss: faster and better learning for bounding box regression",
    2020.

    >>> one, other = torch.tensor([[0.0, 0.0, 4.0, 2.0]]), torch.tensor([[1.0, -1.0, 3.0, 3.0]])
    >>> distance_box_iou(one, other), complete_box_iou(one, other)
    (tensor([[0.3333]]), tensor([[0.2996]]))
    """
    angle1, angle2 = (
        torch.atan2(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
        for boxes in (boxes1, boxes2)
    )
    v = ((angle1[:, None] - angle2) / (math.pi / 2)).square()
    alpha = _ratio(v, 1 - box_iou(boxes1, boxes2) + v).detach()
    return distance_box_iou(boxes1, boxes2) - alpha * v
