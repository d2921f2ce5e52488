"""Boxes: how well two overlap, which of many to keep, and how good a detector's are.

A box is four numbers in pixels, (x1, y1, x2, y2): its left, top, right and bottom edge, with x to
the right and y downwards. Edges lie between pixels: a box around one pixel is 1 wide. A pair of
boxes without area has no ratio of areas; wherever this file would divide 0 by 0, the result is 0.

Names and settings are torchvision's. The counts of a detector's hits are COCO's and PASCAL VOC's.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from d2lite.checks import check, checked, given, instance, integer, number, one_of, optional, tensor

#: IoUs from which on COCO counts a detection as a hit; its AP is the mean over them.
COCO_THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))

#: Recalls at which precision is read: of VOC 2007, and of COCO with the rounding of pycocotools.
RECALLS = {11: torch.arange(11).double() / 10, 101: torch.arange(101).double() * 0.01}


def _numbers(value: Any) -> None:
    tensor("(N, 4)", empty=True)(value)
    if value.dtype not in (torch.float32, torch.float64):
        raise TypeError("must be float32 or float64")
    if value.shape[1] != 4:
        raise ValueError("must be (N, 4)")
    if not value.isfinite().all():
        raise ValueError("must be finite")


def _boxes(value: Any) -> None:
    _numbers(value)
    if (inverted := (value[:, :2] > value[:, 2:]).any(1)).any():
        which = int(inverted.nonzero()[0])
        raise ValueError(f"must have x1 ≤ x2 and y1 ≤ y2, but box {which} has not")


def _finite(value: Any) -> None:
    tensor("(N,)", empty=True)(value)
    if not value.isfinite().all():
        raise ValueError("must be finite")


def _labels(value: Any) -> None:
    tensor("(N,)", floating=False, empty=True)(value)
    if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
        raise TypeError("must be integers")


def _one_a_box(boxes: Tensor, scores: Tensor, labels: Tensor | None) -> None:
    for name, values in {"scores": scores, "labels": labels}.items():
        if values is not None and len(values) != len(boxes):
            raise ValueError(f"{name}{given(values)}: must be ({len(boxes)},), one a box")


_PAIR = {"boxes1": _boxes, "boxes2": _boxes}

# ---- Four numbers --------------------------------------------------------------------------------


def _sizes_are_positive(boxes: Tensor, in_fmt: str) -> None:
    if in_fmt == "xyxy":
        check("boxes", boxes, _boxes)
    elif (boxes[:, 2:] < 0).any():
        raise ValueError(f"boxes{given(boxes)}: must have w ≥ 0 and h ≥ 0")


_FORMAT = one_of("xyxy", "xywh", "cxcywh")


@checked(_sizes_are_positive, boxes=_numbers, in_fmt=_FORMAT, out_fmt=_FORMAT)
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


@checked(boxes=_boxes)
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


# ---- Which of many to keep? ----------------------------------------------------------------------


@checked(
    _one_a_box,
    boxes=_boxes,
    scores=_finite,
    iou_threshold=number(at_least=0, at_most=1),
    labels=optional(_labels),
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
    _finite(value)
    if (value < 0).any():
        raise ValueError("must be ≥ 0")


@checked(
    _one_a_box,
    boxes=_boxes,
    scores=_from_0,
    method=one_of("gaussian", "linear"),
    sigma=number(above=0),
    iou_threshold=number(at_least=0, at_most=1),
    score_threshold=number(at_least=0),
    labels=optional(_labels),
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


# ---- How good are a detector's boxes? ------------------------------------------------------------


def _overlaps(value: Any) -> None:
    tensor("(N, M)", empty=True)(value)
    if not value.isfinite().all():
        raise ValueError("must be finite")


def _one_a_row(iou: Tensor, scores: Tensor) -> None:
    if len(scores) != len(iou):
        raise ValueError(f"scores{given(scores)}: must be ({len(iou)},), one a row of iou")


_RULE = one_of("coco", "voc")


@checked(
    _one_a_row,
    iou=_overlaps,
    scores=_finite,
    iou_threshold=number(above=0, at_most=1),
    rule=_RULE,
)
def match(iou: Tensor, scores: Tensor, iou_threshold: float = 0.5, rule: str = "coco") -> Tensor:
    """Give each target of an image to one prediction at most, those of the highest score first.

    Args:
        iou: (N, M), overlap of each of N predictions with each of M targets of the same class, such
            as ``box_iou`` gives it. Of a prediction's equal overlaps the last target's counts.
        scores: (N,). Of equal ones the prediction given first comes first.
        iou_threshold: The least IoU of a hit, above 0 and at most 1.
        rule: Among which targets a prediction takes the one that it overlaps best: "coco", those
            that no other has; "voc", all, and if another has it, the prediction is a miss.

    Returns:
        (N,), int64, the target that each prediction hits, −1 for a miss.

    Raises:
        TypeError: If overlaps or scores are not floating-point.
        ValueError: If a shape does not fit, a number is not finite, or the threshold out of range.

    From Everingham et al., "The PASCAL visual object classes (VOC) challenge", 2010, and Lin et
    al., "Microsoft COCO: common objects in context", 2014, as pycocotools has it.

    >>> iou = torch.tensor([[0.9, 0.6], [0.8, 0.6]])
    >>> match(iou, torch.tensor([0.9, 0.7])), match(iou, torch.tensor([0.9, 0.7]), rule="voc")
    (tensor([0, 1]), tensor([ 0, -1]))
    """
    order = scores.argsort(descending=True, stable=True)
    hits = torch.empty_like(order)
    threshold = iou.new_tensor(iou_threshold).item()  # rounded as the IoUs are
    matched = _match(iou[order].tolist(), iou.shape[1], threshold, rule)
    hits[order] = torch.tensor(matched, dtype=torch.int64, device=iou.device)
    return hits


def _match(rows: list[list[float]], targets: int, iou_threshold: float, rule: str) -> list[int]:
    """Match predictions, the best first, as rows of IoUs."""
    hits, free = [], set(range(targets))
    for row in rows:
        among = free if rule == "coco" else range(targets)
        overlap, best = max(((row[j], j) for j in among), default=(0.0, -1))
        is_hit = overlap >= iou_threshold and best in free
        hits.append(best if is_hit else -1)
        free.discard(hits[-1])
    return hits


def _bools(value: Any) -> None:
    tensor("(N,)", floating=False, empty=True)(value)
    if value.dtype != torch.bool:
        raise TypeError("must be bool")


def _hits_are_positives(scores: Tensor, hits: Tensor, positives: int) -> None:
    if len(hits) != len(scores):
        raise ValueError(f"hits{given(hits)}: must be ({len(scores)},), one a score")
    if hits.sum() > positives:
        raise ValueError(f"positives={positives}: must be ≥ the number of hits, {hits.sum()}")


@checked(_hits_are_positives, scores=_finite, hits=_bools, positives=integer(at_least=1))
def precision_recall(scores: Tensor, hits: Tensor, positives: int) -> tuple[Tensor, Tensor, Tensor]:
    """Compute precision and recall of the predictions above each threshold that their scores allow.

    Predictions of equal score stand above a threshold or below it together, so they make one
    point, whatever their order. (pycocotools makes one point a prediction: if a hit and a miss have
    the same score, its AP depends on which image comes first.)

    Args:
        scores: (N,), of the predictions in all images, of one class.
        hits: (N,), bool, which of them hit a target.
        positives: The number of targets, ≥ 1.

    Returns:
        Precision, the share of predictions that are hits, (P,), float64; recall, the share of
        targets that are hit, (P,), float64; and the scores themselves, (P,), each once, the highest
        first. P is 0 if N is.

    Raises:
        TypeError: If scores are not floating-point, hits not bool, or positives not an int.
        ValueError: If a shape does not fit, a score is not finite, or there are more hits than
            positives.

    >>> scores, hits = torch.tensor([0.9, 0.8, 0.8]), torch.tensor([True, False, True])
    >>> precision, recall, _ = precision_recall(scores, hits, positives=4)
    >>> precision, recall
    (tensor([1.0000, 0.6667], dtype=torch.float64), tensor([0.2500, 0.5000], dtype=torch.float64))
    """
    order = scores.argsort(descending=True)
    scores, hits = scores[order], hits[order]
    lasts = scores.diff(append=scores.new_tensor([-torch.inf])) < 0  # of those with one score
    found, predicted = hits.cumsum(0)[lasts].double(), lasts.nonzero()[:, 0] + 1
    return found / predicted, found / positives, scores[lasts]


def _shares(value: Any) -> None:
    _finite(value)
    if not ((value >= 0) & (value <= 1)).all():
        raise ValueError("must be from 0 to 1")


def _curve(precision: Tensor, recall: Tensor) -> None:
    if len(recall) != len(precision):
        raise ValueError(f"recall{given(recall)}: must be ({len(precision)},), one a precision")
    if (recall.diff() < 0).any():
        raise ValueError(f"recall{given(recall)}: must not fall")


@checked(_curve, precision=_shares, recall=_shares, points=one_of(101, 11, "all"))
def average_precision(precision: Tensor, recall: Tensor, points: int | str = 101) -> float:
    """Average, over the recalls from 0 to 1, the best precision at that recall or a higher one.

    Args:
        precision: (P,), as ``precision_recall`` gives it.
        recall: (P,), rising.
        points: Over which recalls: 101, COCO's 0, 0.01, …, 1; 11, VOC 2007's 0, 0.1, …, 1; "all",
            VOC's since 2010: the area under the curve. COCO's are those of pycocotools, rounded as
            there: the 70th is 0.7000000000000001, which 7 hits of 10 targets do not reach.

    Returns:
        From 0 to 1; 0 if P is 0.

    Raises:
        TypeError: If precision or recall is not floating-point.
        ValueError: If their lengths differ, a number is not from 0 to 1, or the recall falls.

    From Everingham et al., "The PASCAL visual object classes (VOC) challenge", 2010, and Lin et
    al., "Microsoft COCO: common objects in context", 2014.

    >>> precision, recall = torch.tensor([1.0, 0.5]), torch.tensor([0.5, 1.0])
    >>> [round(average_precision(precision, recall, points), 3) for points in (101, 11, "all")]
    [0.752, 0.773, 0.75]
    """
    precision, recall = precision.double(), recall.double()
    best = precision.flip(0).cummax(0).values.flip(0)  # here or at a higher recall
    if points == "all":
        return (best * recall.diff(prepend=recall.new_zeros(1))).sum().item()
    first = torch.searchsorted(recall, RECALLS[int(points)].to(recall.device))
    return torch.cat([best, best.new_zeros(1)])[first].mean().item()  # 0 where it never comes


#: Of each image a dictionary.
Detections = Sequence[dict[str, Tensor]]


def _detections(predictions: Detections, targets: Detections, classes: int) -> None:
    if len(predictions) != len(targets):
        raise ValueError(
            f"predictions: of {len(predictions)} images, must be {len(targets)}, as many as targets"
        )
    rules = {"boxes": _boxes, "labels": _labels, "scores": _finite}
    for name, images, keys in (
        ("predictions", predictions, ("boxes", "labels", "scores")),
        ("targets", targets, ("boxes", "labels")),
    ):
        for i, image in enumerate(images):
            check(f"{name}[{i}]", image, instance(dict))
            if missing := [key for key in keys if key not in image]:
                raise ValueError(f"{name}[{i}]: must have {missing[0]!r}")
            for key in keys:
                check(f"{name}[{i}][{key!r}]", image[key], rules[key])
                if len(image[key]) != len(image["boxes"]):
                    raise ValueError(f"{name}[{i}][{key!r}]: must be one a box")
            if ((image["labels"] < 0) | (image["labels"] >= classes)).any():
                raise ValueError(f"{name}[{i}]['labels']: must be ≥ 0 and < classes={classes}")
            if torch.as_tensor(image.get("iscrowd", False)).any():
                raise ValueError(f"{name}[{i}]['iscrowd']: crowd regions cannot be counted")


def _thresholds(value: Any) -> None:
    if not isinstance(value, (tuple, list)):
        raise TypeError("must be a list of numbers")
    for threshold in value:
        number(above=0, at_most=1)(threshold)


@checked(
    _detections,
    predictions=instance(list, tuple),
    targets=instance(list, tuple),
    classes=integer(at_least=1),
    iou_thresholds=_thresholds,
    points=one_of(101, 11, "all"),
    rule=_RULE,
    max_detections=integer(at_least=1),
)
def evaluate_detections(
    predictions: Detections,
    targets: Detections,
    classes: int,
    iou_thresholds: Sequence[float] = COCO_THRESHOLDS,
    points: int | str = 101,
    rule: str = "coco",
    max_detections: int = 100,
) -> Tensor:
    """Compute a detector's average precision, of each class and at each IoU.

    By default COCO's, of objects of all sizes. What papers call AP or mAP is ``ap.nanmean()``, and
    AP50 is ``ap[0].nanmean()``. It equals pycocotools' if no scores tie; where they do, that
    depends on the order of images, this on no order. (And pycocotools 2.0.11 takes a hit of the
    target whose id is 0 for a miss.)

    VOC's is ``iou_thresholds=[0.5], rule="voc"`` with ``points=11`` or ``"all"``. Not here: objects
    marked as difficult, which VOC leaves out of the count, and the pixel that its own code adds to
    widths and heights.

    Args:
        predictions: For each image a dictionary, as torchvision's detectors give it: "boxes",
            (N, 4); "labels", (N,), integers from 0; "scores", (N,).
        targets: For each image a dictionary: "boxes", (M, 4); "labels", (M,). Other entries do not
            matter. COCO's crowd regions, marked in "iscrowd", are refused.
        classes: The number of classes.
        iou_thresholds: T of them, above 0 and at most 1.
        points: As in ``average_precision``.
        rule: As in ``match``.
        max_detections: How many predictions of a class count in an image, those of highest score.

    Returns:
        (T, classes), float64. NaN for a class of which there is no target in any image, whatever
        was predicted; 0 for one of which none was hit.

    Raises:
        TypeError: If something is not of the type that it must be.
        ValueError: If a shape does not fit, a number is out of range, or a target is a crowd.

    >>> found = {"boxes": torch.tensor([[0.0, 0.0, 10.0, 9.0]])} | {"labels": torch.tensor([1])}
    >>> there = {"boxes": torch.tensor([[0.0, 0.0, 10.0, 10.0]]), "labels": torch.tensor([1])}
    >>> ap = evaluate_detections([found | {"scores": torch.tensor([0.8])}], [there], classes=2)
    >>> ap.nanmean(0)
    tensor([   nan, 0.9000], dtype=torch.float64)
    """
    ap = torch.full((len(iou_thresholds), classes), torch.nan, dtype=torch.float64)
    for label in range(classes):
        images = [
            _of_class(label, prediction, target, max_detections)
            for prediction, target in zip(predictions, targets, strict=True)
        ]
        numbers = [score for _, row, _ in images for score in row]
        scores = torch.tensor(numbers, dtype=torch.float64)
        positives = sum(count for _, _, count in images)
        for t, threshold in enumerate(iou_thresholds if positives else ()):
            found = [_match(rows, count, threshold, rule) for rows, _, count in images]
            hits = torch.tensor([j >= 0 for image in found for j in image], dtype=torch.bool)
            precision, recall, _ = precision_recall(scores, hits, positives)
            ap[t, label] = average_precision(precision, recall, points)
    return ap


def _of_class(
    label: int, prediction: dict[str, Tensor], target: dict[str, Tensor], most: int
) -> tuple[list[list[float]], list[float], int]:
    """Take what an image has of one class: rows of IoUs, their scores, the number of targets.

    The best come first; equal scores, and targets, go by coordinates, so that no order matters.
    """
    mine, there = prediction["labels"] == label, target["labels"] == label
    found = prediction["boxes"][mine].tolist(), prediction["scores"][mine].tolist()
    best = sorted((-score, box) for box, score in zip(*found, strict=True))[:most]
    targets = sorted(target["boxes"][there].tolist())
    if not (best and targets):
        return [[]] * len(best), [-score for score, _ in best], len(targets)
    boxes = torch.tensor([box for _, box in best], dtype=torch.float64)
    rows = box_iou(boxes, torch.tensor(targets, dtype=torch.float64)).tolist()
    return rows, [-score for score, _ in best], len(targets)
