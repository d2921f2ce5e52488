"""d2lite.selective_search: boxes of segments, and of what they are joined to."""

import pytest
import torch

from d2lite.boxes import box_iou
from d2lite.data import scenes
from d2lite.selective_search import selective_search


def test_a_larger_scale_makes_fewer_boxes():
    image = scenes(1).images[0, 0]
    counts = [len(selective_search(image, scale)) for scale in (10, 128, 2000)]
    assert counts == sorted(counts, reverse=True) and counts[0] > counts[-1]


def test_boxes_of_two_rectangles():
    image = torch.zeros(20, 30)
    image[2:10, 3:9], image[2:10, 20:28] = 0.5, 0.9
    boxes = selective_search(image)
    wanted = torch.tensor([[0.0, 0, 30, 20], [3, 2, 9, 10], [20, 2, 28, 10]])
    assert torch.equal(box_iou(wanted, boxes).max(1).values, torch.ones(3))
    assert torch.equal(boxes[0], wanted[0])  # all of it comes first


def test_one_gray_is_one_box():
    assert selective_search(torch.zeros(5, 7)).tolist() == [[0, 0, 7, 5]]


def test_scenes_have_a_box_around_most_garments_and_each_once():
    found = []
    for image, target in map(scenes(10, garments="test").__getitem__, range(10)):
        boxes = selective_search(image[0])
        assert len(boxes.unique(dim=0)) == len(boxes)
        assert (boxes >= 0).all() and (boxes <= 64).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert torch.equal(boxes, selective_search(image[0]))
        found.append(box_iou(target["boxes"], boxes).max(1).values >= 0.5)
    assert torch.cat(found).float().mean() > 0.85


def test_bad_input():
    with pytest.raises(ValueError, match=r"image=float32 \(1, 4, 4\)"):
        selective_search(torch.zeros(1, 4, 4))
    for gray in (2.0, torch.nan):
        with pytest.raises(ValueError, match="from 0 to 1"):
            selective_search(torch.full((4, 4), gray))
    with pytest.raises(ValueError, match="min_size=0"):
        selective_search(torch.zeros(4, 4), min_size=0)
    with pytest.raises(ValueError, match="scale=-1"):
        selective_search(torch.zeros(4, 4), scale=-1)
