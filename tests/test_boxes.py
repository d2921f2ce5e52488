"""d2lite.boxes equals torchvision and pycocotools, and is right where those surprise."""

import contextlib
import io
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import ops

from d2lite import boxes as d2
from d2lite.boxes import (
    average_precision,
    box_area,
    box_convert,
    box_iou,
    complete_box_iou,
    distance_box_iou,
    evaluate_detections,
    generalized_box_iou,
    masks_to_boxes,
    match,
    nms,
    precision_recall,
    soft_nms,
)

CASES = 500
IOUS = (box_iou, generalized_box_iou, distance_box_iou, complete_box_iou)
THEIRS = (ops.box_iou, ops.generalized_box_iou, ops.distance_box_iou, ops.complete_box_iou)


def some(N, whole=False, dtype=torch.float64, low=-30.0):
    """Draw boxes with an area: at any place or, so that IoUs tie, at whole pixels."""
    if whole:
        start, size = torch.randint(-4, 5, (N, 2)), torch.randint(1, 7, (N, 2))
    else:
        start, size = torch.rand(N, 2) * 60 + low, torch.rand(N, 2) * 30 + 1
    return torch.cat([start, start + size], 1).to(dtype)


def cases(count=CASES):
    """Draw two numbers of boxes, case after case; every other one is at whole pixels."""
    torch.manual_seed(0)
    for case in range(count):
        N, M = torch.randint(0, 9, (2,)).tolist()
        yield N, M, case % 2 == 1


# ---- Four numbers --------------------------------------------------------------------------------

FORMATS = ("xyxy", "xywh", "cxcywh")


def test_conversions_and_areas_are_torchvisions():
    for N, _, whole in cases():
        boxes = some(N, whole, torch.float32)
        assert torch.equal(box_area(boxes), ops.box_area(boxes))
        for out_fmt in FORMATS:
            there = box_convert(boxes, "xyxy", out_fmt)
            assert torch.equal(there, ops.box_convert(boxes, "xyxy", out_fmt))
            for back in FORMATS:
                again = box_convert(there, out_fmt, back)
                assert torch.equal(again, ops.box_convert(there, out_fmt, back))
            torch.testing.assert_close(box_convert(there, out_fmt, "xyxy"), boxes)


def test_a_conversion_is_a_copy_with_a_gradient():
    boxes = torch.tensor([[1.0, 2.0, 3.0, 4.0]], requires_grad=True)
    for in_fmt, out_fmt in itertools.product(FORMATS, FORMATS):
        out = box_convert(boxes, in_fmt, out_fmt)
        assert out.data_ptr() != boxes.data_ptr() and out.requires_grad


def test_boxes_around_masks():
    """Theirs end with the last pixel, ours behind it."""
    torch.manual_seed(0)
    for _ in range(CASES):
        masks = torch.rand(3, 2, *torch.randint(1, 9, (2,)).tolist()) < 0.2
        ours = masks_to_boxes(masks)
        assert ours.shape == (3, 2, 4) and ours.dtype == torch.float32
        for box, mask in zip(ours.flatten(0, 1), masks.flatten(0, 1), strict=True):
            if mask.any():
                theirs = ops.masks_to_boxes(mask[None])[0]
                assert torch.equal(box, theirs + torch.tensor([0, 0, 1, 1]))
                x1, y1, x2, y2 = box.int().tolist()
                assert mask[y1:y2, x1:x2].sum() == mask.sum()
            else:
                assert not box.any()


# ---- How well do two overlap? --------------------------------------------------------------------


@pytest.mark.parametrize(
    "ours, theirs", list(zip(IOUS, THEIRS, strict=True)), ids=lambda f: f.__name__
)
def test_overlaps_and_their_gradients_are_torchvisions(ours, theirs):
    for case, (N, M, whole) in enumerate(cases()):
        pair = some(N, whole).requires_grad_(), some(M, whole).requires_grad_()
        expected, actual = theirs(*pair), ours(*pair)
        torch.testing.assert_close(actual, expected, atol=1e-6, rtol=1e-6)
        assert actual.shape == (N, M)
        if case % 3:
            continue
        upstream = torch.randn_like(expected)
        for a, b in zip(
            torch.autograd.grad(actual, pair, upstream, allow_unused=True),
            torch.autograd.grad(expected, pair, upstream, allow_unused=True),
            strict=True,
        ):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@settings(max_examples=40)
@given(st.integers(1, 6), st.integers(1, 6), st.booleans(), st.integers(0, 2**31))
def test_what_overlaps_cannot_exceed(N, M, whole, seed):
    torch.manual_seed(seed)
    a, b = some(N, whole), some(M, whole)
    iou, giou, diou, ciou = (function(a, b) for function in IOUS)
    assert (iou >= 0).all() and (iou <= 1).all()
    assert (giou >= -1).all() and (giou <= iou + 1e-12).all()
    assert (diou >= -1).all() and (diou <= iou + 1e-12).all()
    assert (ciou >= -1.5).all() and (ciou <= diou + 1e-12).all()
    for function in IOUS:
        torch.testing.assert_close(function(a, b), function(b, a).T)
        torch.testing.assert_close(function(3 * a + 7, 3 * b + 7), function(a, b))  # no unit
        torch.testing.assert_close(function(a, a).diagonal(), torch.ones(N).double())


@pytest.mark.parametrize("function", IOUS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_boxes_without_area_have_an_overlap_of_0_and_a_gradient(function, dtype):
    """Points, lines, equal ones and other ones, and a box around them: never NaN."""
    flat = [[2, 2, 2, 2], [2, 2, 2, 5], [2, 2, 6, 2], [3, 2, 3, 2], [0, 0, 8, 8]]
    boxes = torch.tensor(flat, dtype=dtype, requires_grad=True)
    overlaps = function(boxes, boxes)
    assert overlaps.isfinite().all()
    assert not box_iou(boxes, boxes)[:4].any()
    assert overlaps[0, 0] == 0 and overlaps[4, 4] == 1
    overlaps.sum().backward()
    assert boxes.grad.isfinite().all()


def test_far_boxes_still_have_a_slope_where_iou_has_none():
    near, far = torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[9.0, 0, 11, 2]], requires_grad=True)
    for function in IOUS:
        (slope,) = torch.autograd.grad(function(near, far).sum(), far)
        assert slope.any() == (function is not box_iou)


# ---- Which of many to keep? ----------------------------------------------------------------------


def test_nms_is_torchvisions():
    for case, (N, M, whole) in enumerate(cases()):
        boxes, scores = some(3 * N + M, whole, torch.float32), torch.rand(3 * N + M)
        if case % 3 == 0:
            scores = (scores * 4).round() / 4  # ties: the first comes first
        for threshold in ((0.0, 1.0)[case % 2], (0.25, 0.5)[case % 2], torch.rand(()).item()):
            keep = nms(boxes, scores, threshold)
            assert torch.equal(keep, ops.nms(boxes, scores, threshold))


def test_an_overlap_of_just_the_threshold_does_not_suppress():
    """torchvision on a CPU compares float32 with the double: there, 3/10 is more than 0.3."""
    for tenths in range(1, 10):
        for dtype in (torch.float32, torch.float64):
            boxes = torch.tensor([[0, 0, 10, 1], [0, 0, tenths, 1]], dtype=dtype)
            assert len(nms(boxes, torch.tensor([0.9, 0.8]), tenths / 10)) == 2


def test_nms_by_class_is_nms_of_each_class():
    for N, M, whole in cases():
        low = 0.0 if M % 2 else -30.0
        boxes, scores = some(3 * N + M, whole, low=low), torch.rand(3 * N + M).double()
        labels = torch.randint(-1, 3, (len(boxes),))
        keep = nms(boxes, scores, 0.5, labels)
        each = [(labels == k).nonzero()[:, 0] for k in range(-1, 3)]
        alone = torch.cat([own[nms(boxes[own], scores[own], 0.5)] for own in each])
        assert torch.equal(keep, alone[scores[alone].argsort(descending=True)])
        if len(boxes) and boxes.min() >= 0 and not whole:
            assert torch.equal(keep, ops.batched_nms(boxes, scores, labels, 0.5))


def test_classes_apart_stay_apart_left_of_0():
    boxes = torch.tensor([[-10.0, -10, -5, -5], [-10, -10, -5, -5]])
    labels = torch.tensor([0, 1])
    assert nms(boxes, torch.tensor([0.9, 0.8]), 0.5, labels).tolist() == [0, 1]


def bodla(boxes, scores, weight, least):
    """The paper's algorithm, a box at a time."""
    left, kept = list(range(len(boxes))), []
    scores = scores.tolist()
    while left:
        best = max(left, key=lambda i: (scores[i], -i))
        if scores[best] < least:
            break
        left.remove(best)
        kept.append((best, scores[best]))
        for i in left:
            scores[i] *= weight(box_iou(boxes[best, None], boxes[i, None]).item())
    return kept


def test_soft_nms_is_the_papers():
    for case, (N, _, whole) in enumerate(cases(60)):
        boxes, scores = some(N, whole), torch.rand(N).double()
        sigma, threshold, least = (torch.rand(3) * 0.5 + 0.01).tolist()
        least *= case % 3 / 2
        for method, weight in {
            "gaussian": lambda iou: math.exp(-(iou**2) / sigma),  # noqa: B023
            "linear": lambda iou: 1 - iou if iou > threshold else 1.0,  # noqa: B023
        }.items():
            keep, lowered = soft_nms(boxes, scores, method, sigma, threshold, least)
            expected = bodla(boxes, scores, weight, least)
            assert keep.tolist() == [i for i, _ in expected]
            torch.testing.assert_close(lowered.tolist(), [score for _, score in expected])


def test_soft_nms_at_its_ends_and_by_class():
    for N, _, _ in cases(100):
        boxes, scores, labels = some(N), torch.rand(N).double() + 0.01, torch.randint(3, (N,))
        hard, _ = soft_nms(boxes, scores, sigma=1e-12)
        assert torch.equal(hard, nms(boxes, scores, 0.0))  # whatever overlaps has lost all
        every, same = soft_nms(boxes, scores, "linear", iou_threshold=1, score_threshold=0)
        assert torch.equal(every, scores.argsort(descending=True))
        assert torch.equal(same, scores[every])
        keep, lowered = soft_nms(boxes, scores, labels=labels, score_threshold=0)
        assert sorted(keep.tolist()) == list(range(N))
        for k in range(3):
            own = (labels == k).nonzero()[:, 0]
            alone, alone_lowered = soft_nms(boxes[own], scores[own], score_threshold=0)
            mine = labels[keep] == k
            assert torch.equal(keep[mine], own[alone])
            torch.testing.assert_close(lowered[mine], alone_lowered)


# ---- How good are a detector's boxes? ------------------------------------------------------------


def detections(whole, ties=False, images=3, classes=2):
    """Draw targets, and predictions near some of them; no two scores are equal unless asked for."""
    targets, predictions = [], []
    for _ in range(images):
        M, N = torch.randint(0, 6, (2,)).tolist()
        boxes, labels = some(M, whole), torch.randint(classes, (M,))
        targets.append({"boxes": boxes, "labels": labels})
        extra, near = some(N, whole), boxes.repeat(2, 1)
        if whole:
            near = near + torch.randint(-1, 2, near.shape)
        else:
            near = near + torch.randn(near.shape) * 2
        near[:, 2:] = torch.maximum(near[:, 2:], near[:, :2])
        labels = torch.cat([labels.repeat(2), torch.randint(classes, (N,))])
        predictions.append({"boxes": torch.cat([near, extra]), "labels": labels})
    scores = torch.randperm(sum(len(p["labels"]) for p in predictions)).double() / 1000
    scores = (scores * 100).round() if ties else scores
    parts = scores.split([len(p["labels"]) for p in predictions])
    return [p | {"scores": s} for p, s in zip(predictions, parts, strict=True)], targets


def shuffled(images):
    """The same boxes in another order, and where each image's went."""
    mixed = []
    for image in images:
        order = torch.randperm(len(image["labels"]))
        mixed.append({name: values[order] for name, values in image.items()})
    return mixed


def by_place(targets):
    """Targets in the order in which d2lite takes them, so that ties of IoU go alike."""
    ordered = []
    for target in targets:
        order = sorted(range(len(target["labels"])), key=lambda i: target["boxes"][i].tolist())
        ordered.append({name: values[order] for name, values in target.items()})
    return ordered


def pycocotools_ap(predictions, targets, classes, most=100, first_id=1):
    """AP, (10, classes), as pycocotools counts it."""
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")

    def annotations(images):
        for image, parts in enumerate(images):
            xywh = box_convert(parts["boxes"], "xyxy", "xywh").tolist()
            scores = parts.get("scores", parts["labels"]).tolist()
            for box, label, score in zip(xywh, parts["labels"].tolist(), scores, strict=True):
                place = {"image_id": image, "category_id": label, "bbox": box}
                yield place | {"area": box[2] * box[3], "iscrowd": 0, "score": score}

    with contextlib.redirect_stdout(io.StringIO()):
        there = coco.COCO()
        there.dataset = {
            "images": [{"id": image} for image in range(len(targets))],
            "categories": [{"id": label} for label in range(classes)],
            "annotations": [a | {"id": i} for i, a in enumerate(annotations(targets), first_id)],
        }
        there.createIndex()
        found = coco.COCO()
        found.dataset = there.dataset | {
            "annotations": [a | {"id": i} for i, a in enumerate(annotations(predictions), 1)]
        }
        found.createIndex()
        evaluation = cocoeval.COCOeval(there, found, "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [most]
        evaluation.evaluate()
        evaluation.accumulate()
    ap = torch.from_numpy(evaluation.eval["precision"][:, :, :, 0, 0]).mean(1)
    return ap.where(ap >= 0, torch.nan)


def test_average_precision_is_pycocotools():
    torch.manual_seed(0)
    seen = set()
    for case in range(CASES // 2):  # of two classes each, at ten IoUs
        predictions, targets = detections(whole=case % 2 == 1)
        targets = by_place(targets)
        most = 100 if case % 5 else 2
        expected = pycocotools_ap(predictions, targets, 3, most)
        ap = evaluate_detections(predictions, targets, 3, max_detections=most)
        torch.testing.assert_close(ap, expected, equal_nan=True, rtol=0, atol=1e-9)
        assert ap[:, 2].isnan().all()  # of this class there is none
        seen |= {round(value, 3) for value in ap.flatten().tolist()}
    assert len(seen) > 500  # not only 0 and 1


def test_no_detections_is_0_and_no_targets_is_nan():
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long()}
    one = {"boxes": torch.tensor([[0.0, 0, 4, 4]]), "labels": torch.tensor([1])}
    scored = nothing | {"scores": torch.zeros(0)}
    for predictions in ([scored], [one | {"scores": torch.ones(1), "labels": torch.tensor([0])}]):
        ap = evaluate_detections(predictions, [one], classes=2)
        torch.testing.assert_close(ap, pycocotools_ap(predictions, [one], 2), equal_nan=True)
        assert ap[:, 0].isnan().all() and not ap[:, 1].any()
        assert ap.nanmean() == 0
    assert evaluate_detections([scored], [nothing], classes=2).isnan().all()
    assert evaluate_detections([], [], classes=2).isnan().all()


def test_a_target_counts_whatever_its_number():
    """pycocotools 2.0.11 takes the id of a target for whether it is hit; 0 is an id."""
    target = {"boxes": torch.tensor([[0.0, 0, 4, 4]]), "labels": torch.tensor([0])}
    predictions = [target | {"scores": torch.tensor([0.5])}]
    assert evaluate_detections(predictions, [target], classes=1).eq(1).all()
    assert pycocotools_ap(predictions, [target], 1, first_id=1).min() > 0.999


def test_equal_scores_count_together_in_whatever_order_they_come():
    hit, there = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([0])
    target = {"boxes": hit, "labels": there}
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long()}
    right, wrong = (
        target | {"scores": torch.tensor([0.9])},
        target | {"scores": torch.tensor([0.9])},
    )
    one_way = evaluate_detections([right, wrong], [target, empty], 1)
    other_way = evaluate_detections([wrong, right], [empty, target], 1)
    assert torch.equal(one_way, other_way)
    assert one_way.eq(0.5).all()  # at every threshold the miss stands beside the hit
    torch.manual_seed(0)
    for _ in range(60):
        predictions, targets = detections(whole=True, ties=True)
        ap = evaluate_detections(predictions, targets, 2)
        order = torch.randperm(len(targets)).tolist()
        mixed = [shuffled([images[i] for i in order]) for images in (predictions, targets)]
        torch.testing.assert_close(
            evaluate_detections(*mixed, 2), ap, equal_nan=True, rtol=0, atol=0
        )


def test_ties_give_the_least_of_the_orders():
    scores = torch.tensor([0.9, 0.5, 0.5, 0.5, 0.5, 0.1])
    for flags in itertools.product([False, True], repeat=6):
        hits = torch.tensor(flags)
        curve = precision_recall(scores, hits, 7)[:2]
        for points in (101, 11, "all"):
            orders = [
                average_precision(
                    *precision_recall(torch.arange(6.0).flip(0), torch.tensor(order), 7)[:2], points
                )
                for middle in set(itertools.permutations(flags[1:5]))
                for order in [[flags[0], *middle, flags[5]]]
            ]
            assert average_precision(*curve, points) == pytest.approx(min(orders))


def voc(rows, positives, points):
    """AP of (score, is hit), by the definitions."""
    rows = sorted(rows, reverse=True)
    hits = list(itertools.accumulate(hit for _, hit in rows))
    curve = [(hit / positives, hit / n) for n, hit in enumerate(hits, 1)]
    if points == 11:
        best = [
            max((p for r, p in curve if round(r * 10, 9) >= tenth), default=0)
            for tenth in range(11)
        ]
        return sum(best) / 11
    areas, before = 0.0, 0.0
    for i, (recall, _) in enumerate(curve):
        areas += (recall - before) * max(p for _, p in curve[i:])
        before = recall
    return areas


def test_average_precision_is_vocs():
    torch.manual_seed(0)
    for case in range(CASES):
        predictions, targets = detections(whole=case % 2 == 1, images=2, classes=1)
        positives, rows = sum(len(t["labels"]) for t in targets), []
        for prediction, target in zip(predictions, targets, strict=True):
            iou = box_iou(prediction["boxes"], target["boxes"]).tolist()
            places, taken = target["boxes"].tolist(), set()
            for i in prediction["scores"].argsort(descending=True).tolist():
                overlap, _, best = max(
                    zip(iou[i], places, range(len(places)), strict=True), default=(0, 0, 0)
                )
                hit = overlap >= 0.5 and best not in taken
                taken |= {best} if hit else set()
                rows.append((prediction["scores"][i].item(), hit))
        for points in (11, "all") if positives else ():
            ap = evaluate_detections(predictions, targets, 1, [0.5], points, "voc", 10**6)
            assert ap.item() == pytest.approx(voc(rows, positives, points), abs=1e-12)


def test_the_points_of_coco_are_rounded_as_in_pycocotools():
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    theirs = cocoeval.Params("bbox")
    assert torch.equal(d2.RECALLS[101], torch.from_numpy(theirs.recThrs))
    assert theirs.iouThrs == pytest.approx(list(d2.COCO_THRESHOLDS), abs=1e-15)
    found = torch.ones(7).double(), torch.arange(1, 8) / torch.tensor(10.0).double()
    assert average_precision(*found) == pytest.approx(70 / 101)  # one might expect 71
    assert average_precision(*found, 11) == pytest.approx(8 / 11)
    assert average_precision(*found, "all") == pytest.approx(0.7)


def test_a_match_by_each_rule():
    iou = torch.tensor([[0.7, 0.6, 0.0], [0.9, 0.55, 0.0], [0.3, 0.2, 0.5]])
    scores = torch.tensor([0.8, 0.9, 0.1])
    assert match(iou, scores).tolist() == [1, 0, 2]
    assert match(iou, scores, rule="voc").tolist() == [-1, 0, 2]
    assert match(iou, scores, 0.65).tolist() == [-1, 0, -1]
    assert match(torch.ones(2, 2), torch.ones(2)).tolist() == [1, 0]  # the first takes the last
    for shape in ((0, 3), (3, 0), (0, 0)):
        assert match(torch.zeros(shape), torch.zeros(shape[0])).tolist() == [-1] * shape[0]
    for tenths in range(1, 11):
        for dtype in (torch.float32, torch.float64):
            iou = torch.tensor([[tenths]], dtype=dtype) / 10
            assert match(iou, torch.ones(1), tenths / 10).tolist() == [0]
    torch.manual_seed(0)
    for _ in range(100):
        iou, scores = torch.rand(6, 4), torch.rand(6)
        for rule in ("coco", "voc"):
            hits = match(iou, scores, 0.3, rule)
            used = hits[hits >= 0]
            assert len(used.unique()) == len(used)
            assert (iou[hits >= 0, used] >= 0.3).all()
        assert (match(iou, scores, 0.3) >= 0).sum() >= (hits >= 0).sum()


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=20), st.integers(0, 5))
def test_precision_and_recall_at_every_threshold(rows, missed):
    scores = torch.tensor([score for score, _ in rows], dtype=torch.float32)
    hits = torch.tensor([hit for _, hit in rows], dtype=torch.bool)
    positives = max(1, int(hits.sum()) + missed)
    precision, recall, thresholds = precision_recall(scores, hits, positives)
    assert thresholds.tolist() == sorted(set(scores.tolist()), reverse=True)
    for p, r, threshold in zip(precision, recall, thresholds, strict=True):
        above = scores >= threshold
        assert p == pytest.approx((hits & above).sum().item() / above.sum().item())
        assert r == pytest.approx((hits & above).sum().item() / positives)


# ---- What is refused -----------------------------------------------------------------------------

BOXES, SCORES = torch.tensor([[0.0, 0, 4, 4], [1, 1, 5, 5]]), torch.tensor([0.9, 0.8])
LABELS = torch.tensor([0, 1])
FOUND = {"boxes": BOXES, "labels": LABELS, "scores": SCORES}
INVERTED = torch.tensor([[0.0, 0, 4, 4], [5, 1, 1, 5]])


@pytest.mark.parametrize("function", IOUS)
def test_what_are_no_boxes_is_refused(function):
    for bad, error, message in (
        (torch.zeros(4), ValueError, r"boxes2=float32 \(4,\): must be \(N, 4\)"),
        (torch.zeros(2, 5), ValueError, r"boxes2=float32 \(2, 5\): must be \(N, 4\)"),
        (BOXES.long(), TypeError, "boxes2=int64 .*: must be floating-point"),
        (BOXES.half(), TypeError, "boxes2=float16 .*: must be float32 or float64"),
        (BOXES.tolist(), TypeError, "boxes2=.*: must be a tensor"),
        (BOXES * torch.nan, ValueError, "boxes2=.*: must be finite"),
        (INVERTED, ValueError, "boxes2=.*: must have x1 ≤ x2 and y1 ≤ y2, but box 1 has not"),
    ):
        with pytest.raises(error, match=message):
            function(BOXES, bad)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: box_area(INVERTED), ValueError, "boxes=.*: must have x1"),
        (lambda: box_convert(BOXES, "xyxy", "yxyx"), ValueError, "out_fmt='yxyx': must be one of"),
        (lambda: box_convert(INVERTED, "xyxy", "xywh"), ValueError, "boxes=.*: must have x1 ≤ x2"),
        (lambda: box_convert(-BOXES, "cxcywh", "xyxy"), ValueError, "boxes=.*: must have w ≥ 0"),
        (lambda: masks_to_boxes(torch.ones(3, 3)), TypeError, "masks=.*: must be bool"),
        (lambda: masks_to_boxes(torch.ones(3).bool()), ValueError, "masks=.*: must be"),
        (lambda: masks_to_boxes(torch.ones(3, 0).bool()), ValueError, "masks=.*: must have pixels"),
        (lambda: nms(BOXES, SCORES[:1], 0.5), ValueError, r"scores=.*: must be \(2,\), one a box"),
        (lambda: nms(BOXES, SCORES, 1.5), ValueError, "iou_threshold=1.5: must be ≥ 0 and ≤ 1"),
        (lambda: nms(BOXES, SCORES * torch.nan, 0.5), ValueError, "scores=.*: must be finite"),
        (lambda: nms(BOXES, SCORES, 0.5, SCORES), TypeError, "labels=.*: must be integers"),
        (
            lambda: nms(BOXES, SCORES, 0.5, LABELS[:1]),
            ValueError,
            "labels=.*: must be .* one a box",
        ),
        (lambda: soft_nms(BOXES, -SCORES), ValueError, "scores=.*: must be ≥ 0"),
        (lambda: soft_nms(BOXES, SCORES, "hard"), ValueError, "method='hard': must be one of"),
        (lambda: soft_nms(BOXES, SCORES, sigma=0), ValueError, "sigma=0: must be > 0"),
        (lambda: match(SCORES, SCORES), ValueError, r"iou=float32 \(2,\): must be \(N, M\)"),
        (lambda: match(BOXES, SCORES[:1]), ValueError, "scores=.*: must be .* one a row of iou"),
        (lambda: match(BOXES, SCORES, 0), ValueError, "iou_threshold=0: must be > 0 and ≤ 1|must"),
        (lambda: match(BOXES, SCORES, rule="kitti"), ValueError, "rule='kitti': must be one of"),
        (lambda: precision_recall(SCORES, SCORES, 2), TypeError, "hits=.*: must be bool"),
        (
            lambda: precision_recall(SCORES, SCORES > 0, 1),
            ValueError,
            "positives=1: must be ≥ .* 2",
        ),
        (lambda: precision_recall(SCORES, SCORES > 0, 0), ValueError, "positives=0: must be ≥ 1"),
        (lambda: precision_recall(SCORES, SCORES[:1] > 0, 2), ValueError, "hits=.*: must be"),
        (lambda: average_precision(SCORES, SCORES), ValueError, "recall=.*: must not fall"),
        (lambda: average_precision(SCORES, SCORES[:1]), ValueError, "recall=.*: must be"),
        (lambda: average_precision(SCORES, SCORES, 40), ValueError, "points=40: must be one of"),
        (lambda: average_precision(100 * SCORES, SCORES), ValueError, "precision=.*: .* 0 to 1"),
        (lambda: average_precision(SCORES, SCORES + 1), ValueError, "recall=.*: .* from 0 to 1"),
    ],
)
def test_what_does_not_fit_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("prediction", "target", "error", "message"),
    [
        (FOUND, [FOUND], TypeError, "predictions=.*: must be a list or tuple"),
        ([FOUND], [], ValueError, "predictions: of 1 images, must be 0, as many as targets"),
        ([{"boxes": BOXES}], [FOUND], ValueError, r"predictions\[0\]: must have 'labels'"),
        ([FOUND], [BOXES], TypeError, r"targets\[0\]=float32 \(2, 4\): must be a dict"),
        ([FOUND], [FOUND | {"boxes": INVERTED}], ValueError, r"targets\[0\]\['boxes'\]=.*: must"),
        (
            [FOUND | {"scores": SCORES[:1]}],
            [FOUND],
            ValueError,
            r"\['scores'\].*: must be one a box",
        ),
        ([FOUND | {"labels": LABELS + 1}], [FOUND], ValueError, "must be ≥ 0 and < classes=2"),
        ([FOUND], [FOUND | {"iscrowd": LABELS}], ValueError, r"targets\[0\]\['iscrowd'\]: crowd"),
    ],
)
def test_detections_that_do_not_fit_are_refused(prediction, target, error, message):
    with pytest.raises(error, match=message):
        evaluate_detections(prediction, target, classes=2)


@pytest.mark.parametrize("thresholds", [0.5, [0.0], [1.5], ["high"]])
def test_thresholds_that_are_none(thresholds):
    with pytest.raises((TypeError, ValueError), match="iou_thresholds="):
        evaluate_detections([FOUND], [FOUND], classes=2, iou_thresholds=thresholds)


def test_a_crowd_marked_as_none_is_allowed():
    target = FOUND | {"iscrowd": torch.zeros(2).long(), "masks": torch.zeros(2, 4, 4)}
    assert evaluate_detections([FOUND], [target], classes=2).eq(1).all()
