"""U-Net: down to see the whole, up to say it of each pixel, and across to know where.

From Ronneberger, Fischer and Brox, "U-Net: convolutional networks for biomedical image
segmentation", MICCAI 2015.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from d2lite.checks import boolean, check, checked, given, integer
from d2lite.initializers import he_start_

#: Channels of each level of the published network, from the top down.
PUBLISHED = 64, 128, 256, 512, 1024


def double_conv(
    in_channels: int, out_channels: int, padding: int = 1, batch_norm: bool = True
) -> nn.Sequential:
    """Two convolutions of 3 × 3, each with ReLU; between them, if asked for, batch normalization.

    >>> double_conv(1, 8)(torch.zeros(2, 1, 16, 16)).shape
    torch.Size([2, 8, 16, 16])
    """
    block = nn.Sequential()
    for channels in (in_channels, out_channels):
        block.append(nn.Conv2d(channels, out_channels, 3, padding=padding, bias=not batch_norm))
        if batch_norm:
            block.append(nn.BatchNorm2d(out_channels))
        block.append(nn.ReLU())
    return block


def _levels(value: Any) -> None:
    if not isinstance(value, (list, tuple)) or len(value) < 2:
        raise ValueError("must be a list of two numbers of channels at least")
    for channels in value:
        check("one of them", channels, integer(at_least=1))


class UNet(nn.Module):
    """From images (N, C, H, W) to scores of each class at each pixel, (N, num_classes, H, W).

    Each level but the first begins with max pooling, which halves the size; on the way up a
    transposed convolution of 2 × 2 doubles it, and the map of the same level on the way down is
    put beside. As published it has no padding, so that scores come out for the middle of the image
    only (388 × 388 of 572 × 572), and no batch normalization. The paper also drops hidden units at
    the end of the way down, which is left out here. Kernels start as in He et al. (2015).

    Args:
        in_channels: C.
        num_classes: Scores of a pixel, background included.
        channels: Of each level, from the top down.
        padding: Of each 3 × 3 convolution: 1 keeps the size, 0 is as published.
        batch_norm: Whether hidden layers are normalized over the batch.
        skips: Whether maps are put beside. If not, each transposed convolution makes twice as many
            channels instead, so that no layer has fewer weights than with them.

    Raises:
        TypeError: If a setting is of the wrong type.
        ValueError: If a setting is out of range, or a map to be halved has an odd size.

    >>> UNet(1, 11, channels=(8, 16, 32))(torch.zeros(2, 1, 64, 64)).shape
    torch.Size([2, 11, 64, 64])
    >>> with torch.device("meta"):  # nothing is computed
    ...     UNet(1, 2, padding=0, batch_norm=False)(torch.zeros(1, 1, 572, 572)).shape
    torch.Size([1, 2, 388, 388])
    """

    @checked(
        in_channels=integer(at_least=1),
        num_classes=integer(at_least=1),
        channels=_levels,
        padding=integer(at_least=0, at_most=1),
        batch_norm=boolean,
        skips=boolean,
    )
    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        channels: Sequence[int] = PUBLISHED,
        padding: int = 1,
        batch_norm: bool = True,
        skips: bool = True,
    ):
        super().__init__()
        self.skips = skips
        self.down, self.up, self.merge = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for before, after in pairwise([in_channels, *channels]):
            self.down.append(double_conv(before, after, padding, batch_norm))
        for below, here in pairwise(reversed(channels)):
            self.up.append(nn.ConvTranspose2d(below, here * (1 if skips else 2), 2, stride=2))
            self.merge.append(double_conv(2 * here, here, padding, batch_norm))
        self.head = nn.Conv2d(channels[0], num_classes, 1)
        he_start_(self)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, C, H, W) to scores (N, num_classes, H, W), or less without padding."""
        x, maps = images, list[Tensor]()
        for down in self.down:
            if maps:
                if x.shape[-1] % 2 or x.shape[-2] % 2:
                    size = f"{x.shape[-2]} × {x.shape[-1]}"
                    raise ValueError(f"images{given(images)}: a map of {size} cannot be halved")
                x = F.max_pool2d(x, 2)
            x = down(x)
            maps.append(x)
        for up, merge, kept in zip(self.up, self.merge, maps[-2::-1], strict=True):
            x = up(x)
            x = merge(torch.cat([_middle(kept, x), x], 1) if self.skips else x)
        return self.head(x)


def _middle(maps: Tensor, like: Tensor) -> Tensor:
    """Cut out the middle, as high and as wide as ``like``."""
    H, W = like.shape[-2:]
    top, left = (maps.shape[-2] - H) // 2, (maps.shape[-1] - W) // 2
    return maps[..., top : top + H, left : left + W]
