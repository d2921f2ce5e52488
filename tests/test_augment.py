"""d2lite.data.augment moves and mirrors each image by chance of its own, and keeps the rest."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from d2lite.data.augment import flip, shift


def test_flip_mirrors_half_of_the_images_left_to_right():
    torch.manual_seed(0)
    images = torch.rand(2000, 3, 4, 5)
    flipped, labels = flip(images, torch.arange(2000))
    same = (flipped == images).flatten(1).all(1)
    mirrored = (flipped == images.flip(3)).flatten(1).all(1)
    assert torch.equal(same, ~mirrored)
    assert 850 < same.sum() < 1150  # 6.7 standard deviations
    assert torch.equal(labels, torch.arange(2000))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 6), st.integers(0, 1000))
def test_each_image_moves_by_whole_pixels_and_zeros_come_in(most, H, W, seed):
    torch.manual_seed(seed)
    images = torch.rand(20, 2, H, W) + 0.1
    moved = shift(images, pixels=most)
    padded = torch.nn.functional.pad(images, [most] * 4)
    found = set()
    for before, after in zip(padded, moved, strict=True):
        places = [
            (i, j)
            for i in range(2 * most + 1)
            for j in range(2 * most + 1)
            if torch.equal(before[:, i : i + H, j : j + W], after)
        ]
        assert places
        found |= set(places)
    assert len(found) > 1


def test_every_move_is_as_likely():
    torch.manual_seed(0)
    images = torch.zeros(9000, 1, 5, 5)
    images[:, :, 2, 2] = 1
    counts = shift(images).sum((0, 1))
    assert counts.sum() == 9000
    assert (counts[1:4, 1:4] - 1000).abs().max() < 5 * 1000**0.5


def test_no_pixels_no_move_and_others_stay():
    images, labels, boxes = torch.rand(4, 1, 3, 3), torch.arange(4), torch.rand(4, 2)
    assert torch.equal(shift(images, pixels=0), images)
    moved, *others = shift(images, labels, boxes)
    assert moved.shape == images.shape
    assert others[0] is labels and others[1] is boxes


@pytest.mark.parametrize("function", [flip, shift])
def test_what_are_no_images_is_refused(function):
    with pytest.raises(ValueError, match=r"images=float32 \(3, 3\): must be \(N, C, H, W\)"):
        function(torch.zeros(3, 3))
    with pytest.raises(TypeError, match=r"images=uint8 .*: must be floating-point"):
        function(torch.zeros(1, 1, 3, 3).byte())
    with pytest.raises(ValueError, match="pixels=-1: must be ≥ 0"):
        shift(torch.zeros(1, 1, 3, 3), pixels=-1)
