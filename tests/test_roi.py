"""d2lite.roi: equal to torchvision's roi_pool and roi_align, their gradients too."""

import pytest
import torch
from torch import Tensor
from torchvision import ops

from d2lite.roi import roi_align, roi_pool

F64 = torch.float64


def cases(count: int, seed: int):
    """Draw maps and boxes: of many sizes, outside the map, empty, on whole positions and halves."""
    draw = torch.Generator().manual_seed(seed)

    def integer(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=draw))

    for i in range(count):
        N, C, H, W = integer(1, 3), integer(1, 3), integer(1, 9), integer(1, 9)
        maps = torch.randn(N, C, H, W, generator=draw, dtype=F64)
        if i % 3 == 0:
            maps = maps.relu()  # many equal values
        K = integer(0, 6)
        scale = (1.0, 0.5, 0.25, 0.3)[i % 4]
        corner = (torch.rand(K, 2, generator=draw, dtype=F64) * 1.6 - 0.3) * max(H, W) / scale
        size = torch.rand(K, 2, generator=draw, dtype=F64).square() * 1.5 * max(H, W) / scale
        boxes = torch.cat([corner, corner + size], 1)
        if i % 5 == 0:
            boxes = (2 * boxes).round() / 2  # halves, and empty boxes
        images = torch.randint(N, (K, 1), generator=draw)
        yield maps, torch.cat([images.double(), boxes], 1), (integer(1, 7), integer(1, 7)), scale


def equal(ours: Tensor, theirs: Tensor, maps: Tensor) -> None:
    """Compare the results, and the gradients of a random direction in the maps."""
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)
    if len(ours):
        direction = torch.randn(ours.shape, dtype=F64, generator=torch.Generator().manual_seed(1))
        mine, its = (torch.autograd.grad((x * direction).sum(), maps)[0] for x in (ours, theirs))
        torch.testing.assert_close(mine, its, rtol=1e-9, atol=1e-11)


def test_roi_pool_equals_torchvision():
    for maps, boxes, grid, scale in cases(500, seed=0):
        maps.requires_grad_()
        ours, theirs = (f(maps, boxes, grid, scale) for f in (roi_pool, ops.roi_pool))
        equal(ours, theirs, maps)


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("sampling_ratio", [-1, 0, 1, 2, 3])
def test_roi_align_equals_torchvision(aligned, sampling_ratio):
    for maps, boxes, grid, scale in cases(100, seed=sampling_ratio + 10):
        maps.requires_grad_()
        ours, theirs = (
            f(maps, boxes, grid, scale, sampling_ratio, aligned) for f in (roi_align, ops.roi_align)
        )
        equal(ours, theirs, maps)


def test_boxes_as_a_list_for_each_image_and_none():
    maps = torch.randn(3, 2, 6, 6)
    boxes = [torch.tensor([[0.0, 0, 4, 5], [1, 2, 3, 3]]), torch.zeros(0, 4), torch.rand(1, 4) * 2]
    boxes[2][:, 2:] += 2
    for ours, theirs in ((roi_pool, ops.roi_pool), (roi_align, ops.roi_align)):
        torch.testing.assert_close(ours(maps, boxes, 3), theirs(maps, boxes, 3))
        none = [torch.zeros(0, 4)] * 3
        assert ours(maps, none, 3).shape == theirs(maps, none, 3).shape == (0, 2, 3, 3)


def test_float32_and_channels_last():
    maps = torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last)
    boxes = torch.tensor([[1.0, 3.2, 0.1, 20.7, 30], [0, 4, 4, 12, 12]])
    for aligned in (False, True):
        ours, theirs = (f(maps, boxes, 5, 0.25, 2, aligned) for f in (roi_align, ops.roi_align))
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(roi_pool(maps, boxes, 5, 0.25), ops.roi_pool(maps, boxes, 5, 0.25))


def test_no_gradient_flows_to_the_boxes_as_in_torchvision():
    maps = torch.randn(1, 1, 5, 5, requires_grad=True)
    for function in (roi_pool, roi_align, ops.roi_align):
        boxes = torch.tensor([[0.0, 1, 1, 4, 4]], requires_grad=True)
        function(maps, boxes, 2).sum().backward()
        assert boxes.grad is None or not boxes.grad.any()


MAPS, BOX = torch.zeros(2, 1, 4, 4), torch.tensor([[0.0, 0, 0, 2, 2]])


@pytest.mark.parametrize("function", [roi_pool, roi_align])
@pytest.mark.parametrize(
    ("error", "message", "change"),
    [
        (ValueError, r"input=float32 \(4, 4\)", {"input": torch.zeros(4, 4)}),
        (ValueError, "K, 5", {"boxes": BOX[:, 1:]}),
        (ValueError, "as many as maps", {"boxes": [BOX[:, 1:]]}),
        (TypeError, "must be float32", {"boxes": BOX.double()}),
        (ValueError, "x1 ≤ x2", {"boxes": BOX.flip(1)}),
        (ValueError, "from 0 to 1", {"boxes": BOX + 2}),
        (ValueError, "whole numbers", {"boxes": BOX + 0.5}),
        (ValueError, "output_size=0", {"output_size": 0}),
        (TypeError, "pair", {"output_size": (1, 2, 3)}),
        (ValueError, "spatial_scale", {"spatial_scale": 0}),
    ],
)
def test_bad_input(function, error, message, change):
    with pytest.raises(error, match=message):
        function(**{"input": MAPS, "boxes": BOX, "output_size": 2} | change)


def test_bad_sampling():
    with pytest.raises(ValueError, match="sampling_ratio=-2"):
        roi_align(MAPS, BOX, 2, sampling_ratio=-2)
