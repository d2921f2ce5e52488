"""d2lite.nets.faster_rcnn: its boxes, labels and proposals as torchvision has them; it learns."""

import pytest
import torch
from torchvision import ops
from torchvision.models.detection._utils import BoxCoder, Matcher

from d2lite.boxes import box_iou
from d2lite.data import scenes
from d2lite.nets.faster_rcnn import (
    WEIGHTS,
    FasterRCNN,
    as_rois,
    detections,
    fast_rcnn_loss,
    loss,
    match_regions,
)
from d2lite.nets.rpn import (
    SHAPES,
    decode,
    encode,
    label_anchors,
    make_anchors,
    overlaps,
    propose,
    rpn_loss,
    sample,
)
from d2lite.train import fit


def some_boxes(*shape: int, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    corner = 40 * torch.rand(*shape, 2, generator=draw)
    return torch.cat([corner, corner + 2 + 22 * torch.rand(*shape, 2, generator=draw)], -1)


@pytest.mark.parametrize("weights", [(1, 1, 1, 1), WEIGHTS])
def test_boxes_are_coded_as_in_torchvision(weights):
    boxes, references = some_boxes(50), some_boxes(50, seed=1)
    coder = BoxCoder(weights)
    deltas = encode(boxes, references, weights)
    torch.testing.assert_close(deltas, coder.encode_single(boxes, references))
    torch.testing.assert_close(decode(deltas, references, weights), boxes)
    wild = 20 * torch.randn(50, 4)
    theirs = coder.decode_single(wild, references)
    torch.testing.assert_close(decode(wild, references, weights), theirs)


def test_overlaps_are_those_of_the_chapter_on_boxes():
    one, other = some_boxes(3, 5), some_boxes(3, 4, seed=1)
    for i, iou in enumerate(overlaps(one, other)):
        torch.testing.assert_close(iou, box_iou(one[i], other[i]))
    assert overlaps(torch.zeros(2, 4), torch.zeros(1, 4)).tolist() == [[0], [0]]
    torch.testing.assert_close(overlaps(one[0], other)[2], box_iou(one[0], other[2]))


def test_anchors_are_labeled_as_in_torchvision():
    anchors, boxes = make_anchors(), some_boxes(3, 4)
    theirs = Matcher(0.7, 0.3, allow_low_quality_matches=True)
    for iou in overlaps(anchors, boxes):
        matched = theirs(iou.T)
        wanted = torch.where(matched >= 0, 1, torch.where(matched == -1, 0, -1))
        assert torch.equal(label_anchors(iou), wanted)
    padded = torch.cat([iou, torch.zeros(len(iou), 2)], 1)
    assert torch.equal(label_anchors(padded), wanted)
    assert label_anchors(torch.zeros(5, 2)).tolist() == [0] * 5  # nothing there


def test_anchors_stand_around_the_middle_of_each_position():
    anchors = make_anchors([(10, 20), (8, 8)], stride=16)
    assert anchors.shape == (4 * 4 * 2, 4)
    assert anchors[0].tolist() == [-2, 3, 18, 13]
    assert anchors[3].tolist() == [20, 4, 28, 12]  # x goes first


def test_sample_keeps_to_count_and_share():
    labels = torch.tensor([[1] * 3 + [0] * 40 + [-1] * 9, [1] * 30 + [0] * 5 + [-1] * 17])
    chosen = sample(labels, 16)
    assert chosen.sum(1).tolist() == [16, 8 + 5]
    assert (chosen & (labels == 1)).sum(1).tolist() == [3, 8]
    assert not chosen[labels < 0].any()
    many = torch.stack([sample(labels, 16) for _ in range(200)]).float().mean(0)
    assert (many[1, :30] - 8 / 30).abs().max() < 0.15  # each as often


def test_proposals_are_the_best_anchors_after_nms():
    torch.manual_seed(0)
    anchors = make_anchors()
    scores, deltas = torch.randn(2, len(anchors)), 0.1 * torch.randn(2, len(anchors), 4)
    for i, boxes in enumerate(propose(scores, deltas, anchors, 20)):
        best = scores[i].topk(60).indices
        moved = decode(deltas[i, best], anchors[best]).clamp(0, 64)
        wanted = moved[ops.nms(moved, scores[i, best], 0.7)][:20]
        torch.testing.assert_close(boxes[: len(wanted)], wanted)
    assert boxes.shape == (20, 4)


def test_regions_get_the_class_of_what_they_overlap_by_half():
    boxes = torch.tensor([[[0.0, 0, 10, 10], [20, 20, 40, 40], [0, 0, 0, 0]]])
    labels = torch.tensor([[3, 0, -1]])
    proposals = torch.tensor(
        [[[0.0, 0, 10, 12], [0, 0, 10, 21], [20, 20, 40, 41], [50, 50, 60, 60], [0, 0, 0, 0]]]
    )
    kinds, best = match_regions(proposals, boxes, labels)
    assert kinds.tolist() == [[4, 0, 1, 0, -1]]
    assert best[0, [0, 2]].tolist() == [0, 1]


def test_as_rois():
    boxes = some_boxes(2, 3)
    rois = as_rois(boxes)
    assert rois.shape == (6, 5) and rois[:, 0].tolist() == [0, 0, 0, 1, 1, 1]
    assert torch.equal(rois[:, 1:], boxes.flatten(0, 1))
    assert torch.equal(as_rois(boxes, torch.eye(2, 3).bool()), rois[[0, 4]])


def test_region_loss_is_0_where_all_is_right():
    boxes, rois = some_boxes(3), some_boxes(3, seed=1)
    kinds = torch.tensor([2, 0, 10])
    scores = torch.zeros(3, 11)
    scores[torch.arange(3), torch.tensor([1, 10, 9])] = 50.0  # the background is the last
    deltas = encode(boxes, rois, WEIGHTS)
    deltas[1] = 7  # of background, nothing is asked
    assert fast_rcnn_loss(scores, deltas, rois, kinds, boxes) < 1e-5
    assert fast_rcnn_loss(scores, deltas + 1, rois, kinds, boxes) > 0.5
    assert fast_rcnn_loss(scores.roll(1, 1), deltas, rois, kinds, boxes) > 10
    assert fast_rcnn_loss(scores, deltas, rois, 0 * kinds, boxes).isfinite()


def test_detections_are_moved_and_suppressed_class_by_class():
    proposals = torch.tensor([[[0.0, 0, 10, 10], [1, 0, 11, 10], [30, 30, 40, 40]]])
    scores = torch.full((3, 11), -9.0)
    scores[0, 2], scores[0, 5], scores[1, 2], scores[2, 10] = 4, 3, 3, 9
    deltas = torch.zeros(3, 4)
    deltas[0, 0] = 5.0  # half a width, by the factor of 10
    (found,) = detections(scores, deltas, proposals)
    assert found["labels"].tolist() == [2, 2, 5]
    assert found["boxes"][1].tolist() == [5, 0, 15, 10]
    assert (found["scores"].diff() <= 0).all()
    (found,) = detections(scores, 0 * deltas, proposals)
    assert found["labels"].tolist() == [2, 5]
    (found,) = detections(scores.roll(1, 0) - 99, deltas, proposals, threshold=0.99)
    assert found["boxes"].shape == (0, 4) or found["scores"].min() > 0.99


def test_padding_changes_nothing_and_a_scene_may_be_empty():
    model, data = FasterRCNN(channels=8), scenes(3)
    images, boxes, labels = data.tensors

    def value(boxes, labels):
        torch.manual_seed(0)
        return loss(model.eval(), images, boxes, labels)

    padded = (
        torch.cat([boxes, torch.zeros(3, 2, 4)], 1),
        torch.cat([labels, 0 * labels[:, :2] - 1], 1),
    )
    assert value(boxes, labels).isfinite()
    # the order of the sample differs with the number of regions, the rest does not
    assert abs(value(*padded) - value(boxes, labels)) < 0.5
    assert value(0 * boxes, 0 * labels - 1).isfinite()


@pytest.mark.parametrize("stride", [4, 8, 16])
def test_every_stride_gives_detections_and_a_gradient_everywhere(stride):
    model, data = FasterRCNN(channels=8, stride=stride), scenes(4)
    loss(model, *data.tensors).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    assert model.anchors.shape == ((64 // stride) ** 2 * len(SHAPES), 4)
    for found in model.eval()(data.images):
        assert found["boxes"].shape == (len(found["labels"]), 4)


def test_it_learns():
    data = scenes(8)
    torch.manual_seed(0)
    model = FasterRCNN(channels=16)
    history = fit(model, data.tensors, loss=loss, epochs=20, batch_size=8, lr=0.03)
    assert history.loss[-1] < 0.5 * history.loss[0]


def test_bad_input():
    with pytest.raises(ValueError, match="stride=3"):
        FasterRCNN(stride=3)
    with pytest.raises(ValueError, match="proposals=0"):
        FasterRCNN(proposals=0)
    for size in (32, 128):  # of 32 × 32 pixels it would find garments outside
        with pytest.raises(ValueError, match=r"images=.*: must be \(N, 1, 64, 64\)"):
            FasterRCNN().eval()(torch.zeros(1, 1, size, size))
    _, boxes, labels = scenes(2).tensors
    with pytest.raises(ValueError, match=r"must be \(N, 1, 64, 64\)"):
        loss(FasterRCNN(), torch.zeros(2, 1, 32, 32), boxes, labels)
    with pytest.raises(ValueError, match="−1 is no box"):
        loss(FasterRCNN(), torch.zeros(2, 1, 64, 64), boxes[:, :0], labels[:, :0])


def test_another_rule_may_label_the_anchors():
    _, boxes, labels = scenes(2).tensors
    anchors = make_anchors()
    silent = torch.zeros(2, len(anchors)), torch.zeros(2, len(anchors), 4)
    nothing = rpn_loss(*silent, anchors, boxes, labels, rule=lambda iou: 0 * iou[..., 0].long())
    torch.testing.assert_close(nothing, torch.tensor(2.0).log())  # all background, no box is moved
    assert rpn_loss(*silent, anchors, boxes, labels) > nothing
