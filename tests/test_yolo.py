"""The one-stage detector: shapes, assignment by hand, a loss that perfect outputs bring to 0."""

import pytest
import torch
from torch import nn
from torchvision import ops

from d2lite.boxes import box_iou, evaluate_detections
from d2lite.data import scenes
from d2lite.nets.yolo import (
    STRIDE,
    YOLO,
    assign,
    cell_centers,
    decode,
    detect,
    iou_of_distances,
    yolo_loss,
)  # fmt: skip
from d2lite.train import fit


class Answer(nn.Module):
    """Whatever it is shown, it gives these outputs."""

    def __init__(self, logits, distances):
        super().__init__()
        self.outputs = nn.Parameter(logits), nn.Parameter(distances)

    def forward(self, images):
        return self.outputs


def perfect(data, radius=1, sure=20.0):
    """Outputs that are right in every cell that answers for a box, and say nothing elsewhere."""
    _, boxes, labels = data.tensors
    which = assign(boxes, labels, 16, 16, radius)
    N = len(labels)
    logits, distances = torch.full((N, 10, 16, 16), -sure), torch.ones(N, 4, 16, 16)
    for n, y, x in (which >= 0).nonzero().tolist():
        x1, y1, x2, y2 = boxes[n, which[n, y, x]].tolist()
        cx, cy = 4 * x + 2, 4 * y + 2
        logits[n, labels[n, which[n, y, x]], y, x] = sure
        distances[n, :, y, x] = torch.tensor([cx - x1, cy - y1, x2 - cx, y2 - cy]) / 4
    return logits, distances


def test_shapes_and_start():
    torch.manual_seed(0)
    model = YOLO(classes=3).eval()
    logits, distances = model(torch.rand(2, 1, 32, 64))
    assert logits.shape == (2, 3, 8, 16) and distances.shape == (2, 4, 8, 16)
    assert (distances > 0).all() and 0.001 < logits.sigmoid().mean() < 0.1
    with torch.autocast("cpu", torch.bfloat16):
        assert {part.dtype for part in model(torch.rand(1, 1, 16, 16))} == {torch.float32}


def test_only_layers_that_run_in_a_browser():
    kinds = {type(module) for module in YOLO().modules() if not list(module.children())}
    assert kinds == {nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d}


def test_assignment_by_hand():
    # 24 × 24 around (22, 32): column 5, row 8, whose center is (22, 34)
    large = [10.0, 20, 34, 44]
    small = [22.0, 30, 30, 38]  # around (26, 34), two cells wide: column 5 and 6, row 7 and 8
    boxes, labels = torch.tensor([[large, small, [0, 0, 64, 64]]]), torch.tensor([[4, 1, -1]])
    which = assign(boxes, labels, 16, 16)
    assert cell_centers(16, 16)[8, 5].tolist() == [22, 34]
    wanted = torch.full((16, 16), -1)
    wanted[7:10, 4:7] = 0
    wanted[7:10, 5:8] = torch.where(
        torch.tensor([[False, True, True], [False, True, True], [False, False, False]]),
        1, wanted[7:10, 5:8],
    )  # fmt: skip
    # centers of small's cells: x 22 (on the edge: not inside), 26, 30 (on the edge); y 30 is not
    wanted[7:10, 4:7], wanted[7:10, 7] = 0, -1
    wanted[8, 6] = 1
    assert torch.equal(which[0], wanted)
    one = assign(boxes, labels, 16, 16, radius=0)[0]
    assert (one == 0).nonzero().tolist() == [[8, 5]] and (one == 1).nonzero().tolist() == [[8, 6]]


def test_every_garment_has_a_cell():
    data = scenes(300, seed=3)
    which = assign(data.boxes, data.labels, 16, 16)
    for n, labels in enumerate(data.labels):
        found = set(which[n].flatten().tolist()) - {-1}
        assert len(found) >= (labels >= 0).sum() - 1  # one may lie in the cells of smaller ones
        assert all(labels[g] >= 0 for g in found)


def test_iou_of_distances_is_that_of_the_boxes():
    torch.manual_seed(0)
    one, other = 5 * torch.rand(2, 500, 4, dtype=torch.float64)
    corners = (torch.cat([-d[:, :2], d[:, 2:]], 1) for d in (one, other))
    torch.testing.assert_close(iou_of_distances(one, other), box_iou(*corners).diagonal())


@pytest.mark.parametrize("radius", [0, 1])
def test_perfect_outputs_have_almost_no_loss_and_all_ap(radius):
    data = scenes(20, seed=2)
    outputs = perfect(data, radius)
    loss = yolo_loss(Answer(*outputs), *data.tensors, radius=radius)
    assert 0 <= loss < 1e-3
    found = detect(*decode(*outputs))
    targets = [data[i][1] for i in range(len(data))]
    hidden = sum(len(t["labels"]) for t in targets) - sum(len(f["labels"]) for f in found)
    assert 0 <= hidden <= 1
    ap = evaluate_detections(found, targets, classes=10).nanmean()
    assert ap > 0.95
    for worse in ((0 * outputs[0], outputs[1]), (outputs[0], 1.3 * outputs[1])):
        assert yolo_loss(Answer(*worse), *data.tensors, radius=radius) > 0.1


def test_loss_by_hand():
    boxes, labels = torch.tensor([[[2.0, 2, 6, 6]]]), torch.tensor([[1]])
    # the center (4, 4) is in cell (1, 1), whose center (6, 6) lies on the edge: no cell answers
    outputs = torch.zeros(1, 2, 2, 2), torch.ones(1, 4, 2, 2)
    none = yolo_loss(Answer(*outputs), torch.zeros(1, 1, 8, 8), boxes, labels)
    torch.testing.assert_close(none, torch.tensor(8 * 2.0).log() * 0 + 8 * torch.tensor(2.0).log())
    boxes = torch.tensor([[[0.0, 0, 4, 4]]])  # cell (0, 0), all distances 0.5: an IoU of 1/4
    one = yolo_loss(Answer(*outputs), torch.zeros(1, 1, 8, 8), boxes, labels, radius=0)
    torch.testing.assert_close(one, 8 * torch.tensor(2.0).log() + 5 * 0.75)


def test_scenes_without_objects_have_a_loss():
    data = scenes(2)
    empty = torch.zeros(2, 4, 4), torch.full((2, 4), -1)
    loss = yolo_loss(YOLO(), data.images, *empty)
    loss.backward()
    assert loss.isfinite()


def test_boxes_are_in_pixels_and_clipped():
    distances = torch.tensor([3.0, 3.5, 3, 2.5]).view(1, 4, 1, 1).repeat(1, 1, 16, 16)
    scores, boxes = decode(torch.zeros(1, 2, 16, 16), distances)
    assert scores.shape == (1, 256, 2) and (scores == 0.5).all()
    assert boxes[0, 8 * 16 + 5].tolist() == [10, 20, 34, 44]
    assert boxes[0, 0].tolist() == [0, 0, 14, 12] and boxes.min() == 0 and boxes.max() == 64
    _, wide = decode(torch.zeros(1, 2, 2, 4), torch.full((1, 4, 2, 4), 99.0))
    assert wide.unique(dim=1).tolist() == [[[0, 0, 4 * STRIDE, 2 * STRIDE]]]


def test_detect_is_batched_nms():
    torch.manual_seed(0)
    for case in range(200):
        cells, classes = int(torch.randint(1, 30, ())), int(torch.randint(1, 4, ()))
        start = 40 * torch.rand(1, cells, 2)
        boxes = torch.cat([start, start + 4 + 20 * torch.rand(1, cells, 2)], 2)
        scores = torch.rand(1, cells, classes)
        threshold, iou_threshold = 0.3 * torch.rand(2).double() + torch.tensor([0.0, 0.3])
        ours = detect(scores, boxes, threshold.item(), iou_threshold.item())[0]
        cell, label = (scores[0] > threshold.item()).nonzero(as_tuple=True)
        score = scores[0, cell, label]
        kept = ops.batched_nms(boxes[0, cell], score, label, iou_threshold.item())
        assert torch.equal(ours["scores"], score[kept]), case
        assert torch.equal(ours["labels"], label[kept]), case
        assert torch.equal(ours["boxes"], boxes[0, cell][kept]), case


def test_nothing_above_the_threshold_is_an_empty_answer():
    found = detect(torch.zeros(2, 5, 10), torch.zeros(2, 5, 4))
    assert [part["boxes"].shape for part in found] == [(0, 4), (0, 4)]
    assert found[0]["labels"].dtype == torch.int64 and found[0]["scores"].shape == (0,)


def test_fit_takes_it():
    torch.manual_seed(0)
    data = scenes(16, seed=4)
    history = fit(YOLO(), data.tensors, epochs=3, batch_size=8, lr=0.05, loss=yolo_loss)
    assert history.loss[-1] < history.loss[0] and history.train_accuracy == []


BAD = [
    (lambda: YOLO(classes=0), ValueError, "classes=0: must be ≥ 1"),
    (lambda: assign(torch.zeros(1, 4), torch.zeros(1, 1), 4, 4), ValueError, "boxes="),
    (lambda: assign(torch.zeros(1, 1, 4), torch.zeros(1), 4, 4), ValueError, "labels="),
    (lambda: assign(torch.zeros(1, 1, 4), torch.zeros(1, 1), 0, 4), ValueError, "H=0"),
    (lambda: assign(torch.zeros(1, 0, 4), torch.zeros(1, 0), 4, 4), ValueError, "−1 is no box"),
    (lambda: assign(torch.zeros(1, 2, 4), torch.zeros(1, 1), 4, 4), ValueError, "as boxes="),
    (lambda: YOLO()(torch.zeros(1, 1, 16, 18)), ValueError, "must be multiples of 4"),
    (lambda: detect(torch.zeros(5, 2), torch.zeros(1, 5, 4)), ValueError, "scores="),
    (lambda: detect(torch.zeros(1, 5, 2), torch.zeros(5, 4)), ValueError, "boxes="),
    (lambda: detect(torch.zeros(1, 5, 2), torch.zeros(1, 5, 4), 2), ValueError, "threshold=2"),
    (
        lambda: detect(torch.zeros(1, 5, 2), torch.zeros(1, 5, 4), iou_threshold=-1),
        ValueError,
        "iou_threshold=-1",
    ),
]


@pytest.mark.parametrize(("call", "error", "text"), BAD)
def test_bad_input_is_named(call, error, text):
    with pytest.raises(error, match=text):
        call()
