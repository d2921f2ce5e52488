"""Non-maximum suppression: which of many boxes to keep."""

from typing import Any

import torch
from torch import Tensor

from d2lite.boxes.iou import box_iou
from d2lite.boxes.rules import class_indices, edges, finite
from d2lite.checks import checked, given, number, one_of, optional


def _one_a_box(boxes: Tensor, scores: Tensor, labels: Tensor | None) -> None:
    for name, values in {"scores": scores, "labels": labels}.items():
        if values is not None and len(values) != len(boxes):
            raise ValueError(f"{name}{given(values)}: must be ({len(boxes)},), one a box")


@checked(
    _one_a_box,
    boxes=edges,
    scores=finite,
    iou_threshold=number(at_least=0, at_most=1),
    labels=optional(class_indices),
)
def nms(
    boxes: Tensor, scores: Tensor, iou_threshold: float, labels: Tensor | None = None
) -> Tensor:
    """Keep the best box, drop all that overlap it by more than the threshold, and so on.

    That is non-maximum suppression (NMS). Equal to ``torchvision.ops.nms``, unless an IoU of
    float32 boxes is the threshold itself: on a processor torchvision drops a box for 4/10 at 0.4,
    keeps it for 7/10 at 0.7. With labels it is what ``batched_nms`` is for, which moves classes
    apart by the largest coordinate, so that with negative coordinates some still suppress others.
    Takes the memory of N² numbers.

    Args:
        boxes: (N, 4).
        scores: (N,), the higher the better. Of equal ones the box given first is better.
        iou_threshold: IoU above which the worse box is dropped, from 0 to 1.
        labels: (N,), integers; boxes of different ones do not compete. All do unless given.

    Returns:
        (K,), int64, positions of the boxes kept, the best first.

    Raises:
        TypeError: If boxes or scores are not floating-point, or labels not integers.
        ValueError: If a shape does not fit, a number is not finite, a box has x1 > x2 or y1 > y2,
            or the threshold is out of range.

    The greedy choice, by another measure of overlap, is in Felzenszwalb, Girshick, McAllester and
    Ramanan, "Object detection with discriminatively trained part-based models", 2010.

    >>> boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10]])
    >>> nms(boxes, torch.tensor([0.8, 0.9, 0.3]), iou_threshold=0.5)
    tensor([1, 2])
    """
    overlaps = box_iou(boxes, boxes) > iou_threshold
    if labels is not None:
        overlaps &= labels[:, None] == labels
    keep, dropped = [], torch.zeros_like(scores, dtype=torch.bool)
    for i in scores.argsort(descending=True, stable=True).tolist():
        if not dropped[i]:
            keep.append(i)
            dropped |= overlaps[i]
    return torch.tensor(keep, dtype=torch.int64, device=boxes.device)


def _from_0(value: Any) -> None:
    finite(value)
    if (value < 0).any():
        raise ValueError("must be ≥ 0")


@checked(
    _one_a_box,
    boxes=edges,
    scores=_from_0,
    method=one_of("gaussian", "linear"),
    sigma=number(above=0),
    iou_threshold=number(at_least=0, at_most=1),
    score_threshold=number(at_least=0),
    labels=optional(class_indices),
)
def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    method: str = "gaussian",
    sigma: float = 0.5,
    iou_threshold: float = 0.3,
    score_threshold: float = 0.001,
    labels: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Take the best box, lower the scores of those that overlap it, and so on.

    Args:
        boxes: (N, 4).
        scores: (N,), ≥ 0. Of equal ones the box given first is better.
        method: By what a score is multiplied: "gaussian", exp(−IoU² / sigma); or "linear", 1 − IoU
            where the IoU is above the threshold.
        sigma: Of the Gaussian.
        iou_threshold: Of the linear method, from 0 to 1.
        score_threshold: Boxes are dropped once their scores are lower.
        labels: (N,), integers; boxes of different ones do not compete. All do unless given.

    Returns:
        Positions of the boxes kept, (K,), int64, and their new scores, (K,), the highest first.

    Raises:
        TypeError: If boxes or scores are not floating-point, or labels not integers.
        ValueError: If a shape does not fit, a number is not finite or out of range, or a box has
            x1 > x2 or y1 > y2.

    From Bodla, Singh, Chellappa and Davis, "Soft-NMS: improving object detection with one line of
    code", 2017.

    >>> boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10]])
    >>> soft_nms(boxes, torch.tensor([0.8, 0.9, 0.3]))
    (tensor([1, 2, 0]), tensor([0.9000, 0.3000, 0.2097]))
    """
    iou = box_iou(boxes, boxes)
    if labels is not None:
        iou = iou * (labels[:, None] == labels)
    linear = torch.where(iou > iou_threshold, 1 - iou, 1.0)
    weights = linear if method == "linear" else torch.exp(-iou.square() / sigma)
    keep: list[int] = []
    left, lowered = scores, torch.zeros_like(scores)
    while len(keep) < len(boxes) and left.max() >= score_threshold:
        best = int(left.argmax())
        keep.append(best)
        lowered[best] = left[best]
        left = left * weights[best]
        left[keep] = -torch.inf
    positions = torch.tensor(keep, dtype=torch.int64, device=boxes.device)
    return positions, lowered[positions]
