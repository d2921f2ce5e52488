"""Masks: counted as by hand, and as scikit-learn and plain loops would."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from d2lite.masks import class_iou, confusion_matrix, near_edge


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), classes=st.integers(1, 5), ignored=st.booleans())
def test_every_pixel_is_counted_once(seed, classes, ignored):
    source = torch.Generator().manual_seed(seed)
    said, there = torch.randint(classes, (2, 3, 4, 5), generator=source)
    if ignored:
        there[torch.rand(there.shape, generator=source) < 0.3] = 255
    plain = torch.zeros(classes, classes, dtype=torch.int64)
    for p, t in zip(said.flatten().tolist(), there.flatten().tolist(), strict=True):
        if t != 255:
            plain[t, p] += 1
    found = confusion_matrix(said, there, classes, 255 if ignored else None)
    assert torch.equal(found, plain)
    for k, iou in enumerate(class_iou(found).tolist()):
        counted = there != 255
        both = int(((said == k) & (there == k) & counted).sum())
        either = int((((said == k) | (there == k)) & counted).sum())
        assert (iou == pytest.approx(both / either)) if either else iou != iou


def test_what_is_ignored_may_have_been_called_anything():
    said, there = torch.tensor([0, 200, -7]), torch.tensor([0, 255, 255])
    assert confusion_matrix(said, there, 2, ignore_index=255).tolist() == [[1, 0], [0, 0]]
    there = torch.tensor([0, -100, -100])
    assert confusion_matrix(said, there, 2, ignore_index=-100).sum() == 1


def test_an_absent_class_has_no_iou_and_a_missed_one_has_0():
    said, there = torch.tensor([[0, 0, 0]]), torch.tensor([[0, 0, 1]])
    iou = class_iou(confusion_matrix(said, there, 3))
    torch.testing.assert_close(
        iou, torch.tensor([2 / 3, 0, torch.nan], dtype=torch.float64), equal_nan=True
    )
    assert iou.nanmean().item() == pytest.approx(1 / 3)
    nothing = torch.zeros(0, dtype=torch.int64)
    assert class_iou(confusion_matrix(nothing, nothing, 2)).isnan().all()


@pytest.mark.parametrize("distance", [1, 2, 3])
def test_near_edge_looks_that_far(distance):
    target = torch.zeros(1, 12, 12, dtype=torch.int64)
    target[0, 3:9, 3:9] = 4
    target[0, 6:9, 3:9] = 7
    found = near_edge(target, distance)
    for y in range(12):
        for x in range(12):
            top, left = max(y - distance, 0), max(x - distance, 0)
            around = target[0, top : y + distance + 1, left : x + distance + 1]
            assert found[0, y, x] == (around != target[0, y, x]).any()
    assert not near_edge(torch.full((1, 4, 4), 3), 1).any()  # the image's border is no edge


def test_near_edge_counts_pixels_between_two_others():
    found = near_edge(torch.tensor([[[0, 1, 2]]]), 1)
    assert found.all()


ZEROS = torch.zeros(1, 2, 2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: confusion_matrix(ZEROS.float(), ZEROS, 2), r"predicted=.*: must be int64"),
        (lambda: confusion_matrix(ZEROS, ZEROS[:, 0], 2), r"predicted=.*: must be \(1, 2\), as"),
        (lambda: confusion_matrix(ZEROS + 2, ZEROS, 2), "predicted: 2 is among them, .* ≤ 1"),
        (lambda: confusion_matrix(ZEROS, ZEROS - 1, 2), "target: -1 is among them, must be ≥ 0"),
        (lambda: confusion_matrix(ZEROS, ZEROS + 255, 2), "target: 255 is among them"),
        (lambda: confusion_matrix(ZEROS, ZEROS, 0), "num_classes=0: must be ≥ 1"),
        (lambda: class_iou(torch.zeros(2, 3)), r"confusion=.*: must be \(K, K\)"),
        (lambda: near_edge(ZEROS, 0), "distance=0: must be ≥ 1"),
        (lambda: near_edge(ZEROS[0], 1), r"target=.*: must be \(N, H, W\)"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
