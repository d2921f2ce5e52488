"""ConvNeXt: a residual network with the parts of a transformer, except for attention.

From Liu, Mao, Wu, Feichtenhofer, Darrell and Xie, "A ConvNet for the 2020s", CVPR 2022. Stochastic
depth, which the paper trains with, is left out: it belongs to the recipe.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from d2lite.checks import checked, integer


class LayerNorm2d(nn.LayerNorm):
    """Layer normalization of maps (N, C, H, W), over the channels of each place by itself.

    >>> LayerNorm2d(8)(torch.rand(2, 8, 4, 4)).shape
    torch.Size([2, 8, 4, 4])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    """Look at each channel by itself, 7 × 7; then mix the channels, place by place; add the input.

    Depthwise convolution, layer normalization, C → 4C, GELU, 4C → C, a learned scale for each
    channel (Figure 4 of the paper). (N, C, H, W) → (N, C, H, W).

    Args:
        channels: C.
        scale: Where the scales start: near zero, the block starts near the identity.

    >>> ConvNeXtBlock(16)(torch.zeros(2, 16, 8, 8)).shape
    torch.Size([2, 16, 8, 8])
    """

    @checked(channels=integer(at_least=1))
    def __init__(self, channels: int, scale: float = 1e-6):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.mix = nn.Sequential(
            nn.LayerNorm(channels, eps=1e-6),
            nn.Linear(channels, 4 * channels), nn.GELU(),
            nn.Linear(4 * channels, channels),
        )  # fmt: skip
        self.scale = nn.Parameter(torch.full((channels,), scale))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        y = self.depthwise(x).permute(0, 2, 3, 1)  # (N, H, W, C)
        return x + (self.scale * self.mix(y)).permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """A stem that cuts patches, stages of equal blocks, the mean, and a linear layer.

    Between two stages stand a layer normalization and a convolution 2 × 2 of stride 2.

    Args:
        in_channels: Channels of the images.
        patch_size: Pixels along each side of the stem's patches.
        channels: Of each stage.
        blocks: Number of blocks, stage by stage.
        num_classes: Scores that come out.

    >>> model = ConvNeXt(1, 2, [8, 16], [1, 2], num_classes=10)
    >>> model(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """

    @checked(in_channels=integer(at_least=1), patch_size=integer(at_least=1))
    def __init__(
        self,
        in_channels: int,
        patch_size: int,
        channels: Sequence[int],
        blocks: Sequence[int],
        num_classes: int,
    ):
        super().__init__()
        stem = nn.Conv2d(in_channels, channels[0], patch_size, stride=patch_size)
        between = [nn.Sequential(stem, LayerNorm2d(channels[0], eps=1e-6))]
        for before, behind in pairwise(channels):
            halve = nn.Conv2d(before, behind, 2, stride=2)
            between.append(nn.Sequential(LayerNorm2d(before, eps=1e-6), halve))
        self.stages = nn.Sequential()
        for down, width, count in zip(between, channels, blocks, strict=True):
            stage = [ConvNeXtBlock(width) for _ in range(count)]
            self.stages.append(nn.Sequential(down, *stage))
        self.norm = nn.LayerNorm(channels[-1], eps=1e-6)
        self.fc = nn.Linear(channels[-1], num_classes)
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, C, H, W) to scores (N, num_classes)."""
        means = self.stages(images).mean(dim=(2, 3))
        return self.fc(self.norm(means))


def convnext_tiny(num_classes: int = 1000) -> ConvNeXt:
    """Make ConvNeXt-T, for images (N, 3, 224, 224): 28,589,128 parameters for 1,000 classes.

    >>> with torch.device("meta"):  # nothing is computed
    ...     print(sum(p.numel() for p in convnext_tiny().parameters()))
    28589128
    """
    return ConvNeXt(3, 4, [96, 192, 384, 768], [3, 3, 9, 3], num_classes)
