"""Augmentation: change examples at random whenever they are drawn, so that no two epochs are alike.

Each function takes a batch, images first, and gives it back with other images: as ``augment`` of
``train.fit`` takes it, and as torchvision's ``transforms.v2`` do. One after the other is
``lambda *batch: shift(*flip(*batch))``. Those that mix images mix their targets as well.
"""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Beta
from torch.nn.functional import pad

from d2lite.checks import checked, integer, number, tensor


def _pairs(images: Tensor, targets: Tensor) -> None:
    if len(targets) != len(images):
        raise ValueError(f"targets: {len(targets)} of them, must be {len(images)}, one an image")


@checked(images=tensor("(N, C, H, W)"))
def flip(images: Tensor, *others: Tensor) -> Any:
    """Mirror each image left to right with probability ½.

    Args:
        images: (N, C, H, W).
        others: What else is in the batch, such as labels; it stays.

    Returns:
        The images; with others, a tuple of all.

    Raises:
        TypeError: If the images are not a floating-point tensor.
        ValueError: If they are not (N, C, H, W).

    From Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural
    networks", 2012.

    >>> flip(torch.tensor([[[[1.0, 1.0, 1.0]]]]), torch.tensor([7]))
    (tensor([[[[1., 1., 1.]]]]), tensor([7]))
    """
    mirror = (torch.rand(len(images), 1, 1, 1) < 0.5).to(images.device)
    flipped = torch.where(mirror, images.flip(3), images)
    return (flipped, *others) if others else flipped


@checked(images=tensor("(N, C, H, W)"), pixels=integer(at_least=0))
def shift(images: Tensor, *others: Tensor, pixels: int = 1) -> Any:
    """Move each image by its own whole number of pixels, along both axes; zeros come in.

    Args:
        images: (N, C, H, W).
        others: What else is in the batch, such as labels; it stays.
        pixels: The most by which an image moves, up or down and left or right. Each way is as
            likely as any other.

    Returns:
        The images; with others, a tuple of all.

    Raises:
        TypeError: If the images are not a floating-point tensor, or ``pixels`` is not an int.
        ValueError: If the images are not (N, C, H, W), or ``pixels`` is not ≥ 0.

    From Simard, Steinkraus and Platt, "Best practices for convolutional neural networks applied to
    visual document analysis", 2003.

    >>> shift(torch.ones(5, 1, 28, 28), pixels=2).shape
    torch.Size([5, 1, 28, 28])
    """
    N, _, H, W = images.shape
    device = images.device
    down, right = torch.randint(0, 2 * int(pixels) + 1, (2, N, 1), device=device)
    rows = (down + torch.arange(H, device=device))[:, :, None]
    columns = (right + torch.arange(W, device=device))[:, None]
    padded = pad(images, [int(pixels)] * 4).permute(0, 2, 3, 1)
    moved = padded[torch.arange(N, device=device)[:, None, None], rows, columns]
    shifted = moved.permute(0, 3, 1, 2)  # channels last in memory
    return (shifted, *others) if others else shifted


@checked(_pairs, images=tensor("(N, C, H, W)"), targets=tensor("(N, K)"), alpha=number(above=0))
def mixup(images: Tensor, targets: Tensor, alpha: float = 1.0) -> tuple[Tensor, Tensor]:
    """Mix each image, and its target, with the one before it in the batch.

    Args:
        images: (N, C, H, W), in random order.
        targets: (N, K), the share of each class: 1 and zeros for a plain label.
        alpha: Of the Beta distribution from which the batch's share is drawn; small: hardly mixed.

    Returns:
        Images and targets.

    Raises:
        TypeError: If images or targets are not floating-point tensors.
        ValueError: If a shape does not fit, or ``alpha`` is not > 0.

    From Zhang, Cisse, Dauphin and Lopez-Paz, "mixup: Beyond empirical risk minimization", 2018.

    >>> images, targets = mixup(torch.rand(4, 1, 28, 28), torch.eye(4))
    >>> images.shape, targets.sum(1)
    (torch.Size([4, 1, 28, 28]), tensor([1., 1., 1., 1.]))
    """
    share = Beta(alpha, alpha).sample().item()
    mixed = share * images + (1 - share) * images.roll(1, 0)
    return mixed, share * targets + (1 - share) * targets.roll(1, 0)


@checked(_pairs, images=tensor("(N, C, H, W)"), targets=tensor("(N, K)"), alpha=number(above=0))
def cutmix(images: Tensor, targets: Tensor, alpha: float = 1.0) -> tuple[Tensor, Tensor]:
    """Paste a box of the image before it into each image, and mix the targets by area.

    Args:
        images: (N, C, H, W), in random order.
        targets: (N, K), the share of each class: 1 and zeros for a plain label.
        alpha: Of the Beta distribution from which the share of the area outside the box is drawn.
            The box's center is anywhere; what lies outside the image is cut off.

    Returns:
        Images and targets.

    Raises:
        TypeError: If images or targets are not floating-point tensors.
        ValueError: If a shape does not fit, or ``alpha`` is not > 0.

    From Yun, Han, Oh, Chun, Choe and Yoo, "CutMix: Regularization strategy to train strong
    classifiers with localizable features", 2019.

    >>> images, targets = cutmix(torch.rand(4, 1, 28, 28), torch.eye(4))
    >>> images.shape, targets.sum(1)
    (torch.Size([4, 1, 28, 28]), tensor([1., 1., 1., 1.]))
    """
    H, W = images.shape[2:]
    half = 0.5 * (1 - Beta(alpha, alpha).sample().item()) ** 0.5
    x, y = torch.randint(W, ()).item(), torch.randint(H, ()).item()
    left, right = max(x - int(half * W), 0), min(x + int(half * W), W)
    top, bottom = max(y - int(half * H), 0), min(y + int(half * H), H)
    mixed = images.clone()
    box = images.roll(1, 0)[..., top:bottom, left:right]
    mixed[..., top:bottom, left:right] = box
    share = 1 - (bottom - top) * (right - left) / (H * W)
    return mixed, share * targets + (1 - share) * targets.roll(1, 0)
