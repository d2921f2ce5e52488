"""Average precision: how good a detector's boxes are, as COCO and PASCAL VOC count hits."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from d2lite.boxes.iou import box_iou
from d2lite.boxes.rules import class_indices, edges, finite
from d2lite.checks import check, checked, given, instance, integer, number, one_of, tensor

#: IoUs from which on COCO counts a detection as a hit; its AP is the mean over them.
COCO_THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))

#: Recalls at which precision is read: of VOC 2007, and of COCO with the rounding of pycocotools.
RECALLS = {11: torch.arange(11).double() / 10, 101: torch.arange(101).double() * 0.01}


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
    scores=finite,
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


@checked(_hits_are_positives, scores=finite, hits=_bools, positives=integer(at_least=1))
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
    finite(value)
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
    rules = {"boxes": edges, "labels": class_indices, "scores": finite}
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
