"""d2lite.data.augment moves, mirrors and mixes images, each by chance, and keeps the rest."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import one_hot
from torchvision.transforms import v2

from d2lite.data.augment import cutmix, flip, mixup, shift


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


@pytest.mark.parametrize("function", [mixup, cutmix])
def test_targets_are_shares(function):
    images = torch.zeros(2, 1, 3, 3)
    with pytest.raises(TypeError, match=r"targets=int64 \(2,\): must be floating-point"):
        function(images, torch.arange(2))
    with pytest.raises(ValueError, match=r"targets=float32 \(2,\): must be \(N, K\)"):
        function(images, torch.zeros(2))
    with pytest.raises(ValueError, match="alpha=0: must be > 0"):
        function(images, torch.zeros(2, 10), alpha=0)
    with pytest.raises(ValueError, match="targets: 3 of them, must be 2, one an image"):
        function(images, torch.zeros(3, 10))


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 6), st.integers(1, 9), st.integers(1, 9), st.floats(0.1, 5), st.integers(0, 999)
)
def test_mixed_as_in_torchvision_from_the_same_seed(N, H, W, alpha, seed):
    torch.manual_seed(seed)
    images, labels = torch.rand(N, 2, H, W), torch.randint(10, (N,))
    targets = one_hot(labels, 10).float()
    for ours, theirs in ((mixup, v2.MixUp), (cutmix, v2.CutMix)):
        torch.manual_seed(seed)
        expected = theirs(alpha=alpha, num_classes=10)(images, labels)
        torch.manual_seed(seed)
        torch.testing.assert_close(ours(images, targets, alpha), expected)


def test_a_target_has_the_share_of_its_image():
    torch.manual_seed(0)
    images = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 12, 8)
    seen = set()
    for _ in range(20):
        for function in (mixup, cutmix):
            mixed, targets = function(images, torch.eye(2))
            torch.testing.assert_close(mixed.mean((1, 2, 3)), targets[:, 1])
            assert torch.allclose(targets.sum(1), torch.ones(2))
            seen.add((function, round(targets[0, 0].item(), 3)))
    assert len(seen) > 20
    assert not images[0].any() and images[1].all()  # in their place nothing is changed
