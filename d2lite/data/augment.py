"""Augmentation: change examples at random whenever they are drawn, so that no two epochs are alike.

Each function takes a batch, images first, and gives it back with other images: as ``augment`` of
``train.fit`` takes it, and as torchvision's ``transforms.v2`` do. One after the other is
``lambda *batch: shift(*flip(*batch))``.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from d2lite.checks import checked, integer, tensor


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
