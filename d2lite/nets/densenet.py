"""DenseNet: every layer sees the maps of all layers before it.

From Huang, Liu, van der Maaten and Weinberger, "Densely connected convolutional networks", CVPR
2017. DenseNet-121, 169 and 201 are columns of Table 1; the small network has the form for CIFAR of
section 3. All are DenseNet-BC: with bottlenecks, and with transitions that halve the channels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from d2lite.checks import checked, integer


class DenseLayer(nn.Module):
    """Compute a few new maps and append them to those that came in.

    Batch normalization, ReLU, a 1 × 1 convolution to four times the growth rate; the same again
    with a 3 × 3 convolution to the growth rate, k in the paper.

    >>> DenseLayer(24, growth_rate=12)(torch.zeros(2, 24, 8, 8)).shape
    torch.Size([2, 36, 8, 8])
    """

    def __init__(self, in_channels: int, growth_rate: int):
        super().__init__()
        width = 4 * growth_rate
        self.path = nn.Sequential(
            nn.BatchNorm2d(in_channels), nn.ReLU(),
            nn.Conv2d(in_channels, width, 1, bias=False),
            nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, growth_rate, 3, padding=1, bias=False),
        )  # fmt: skip

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C + growth_rate, H, W); the first C are the input."""
        return torch.cat([maps, self.path(maps)], dim=1)


class DenseBlock(nn.Sequential):
    """Layers, each of which appends its maps: (N, C, H, W) to (N, C + layers · growth_rate, H, W).

    >>> DenseBlock(24, growth_rate=12, layers=4)(torch.zeros(2, 24, 8, 8)).shape
    torch.Size([2, 72, 8, 8])
    """

    def __init__(self, in_channels: int, growth_rate: int, layers: int):
        super().__init__(*(
            DenseLayer(in_channels + i * growth_rate, growth_rate) for i in range(layers)
        ))  # fmt: skip


class Transition(nn.Sequential):
    """Go from block to block: (N, C_in, H, W) to (N, C_out, H / 2, W / 2), rounded down.

    >>> Transition(72, 36)(torch.zeros(2, 72, 8, 8)).shape
    torch.Size([2, 36, 4, 4])
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(
            nn.BatchNorm2d(in_channels), nn.ReLU(),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            nn.AvgPool2d(2),
        )  # fmt: skip


def _layers(blocks: Sequence[int]) -> None:
    if not blocks or min(blocks) < 1:
        raise ValueError("must be a number of layers ≥ 1 for each block")


class DenseNet(nn.Module):
    """A stem, dense blocks with transitions between them, the mean of each map, a linear layer.

    Weights start as in He et al. (2015).

    Args:
        stem: Maps images to ``2 * growth_rate`` channels.
        growth_rate: Maps that each layer adds.
        blocks: Number of layers, block by block.
        num_classes: Scores that come out.

    Raises:
        ValueError: If there are no blocks, or a block has no layers.

    >>> DenseNet(nn.Conv2d(1, 8, 3), 4, [2, 3], num_classes=10)(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """

    @checked(blocks=_layers)
    def __init__(self, stem: nn.Module, growth_rate: int, blocks: Sequence[int], num_classes: int):
        super().__init__()
        self.stem = stem
        self.blocks = nn.Sequential()
        channels = 2 * growth_rate
        for layers in blocks:
            if len(self.blocks) > 0:
                self.blocks.append(Transition(channels, channels // 2))
                channels //= 2
            self.blocks.append(DenseBlock(channels, growth_rate, layers))
            channels += layers * growth_rate
        self.norm = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(channels, num_classes)
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(layer.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, C, H, W) to scores (N, num_classes)."""
        maps = torch.relu(self.norm(self.blocks(self.stem(images))))
        return self.fc(maps.mean(dim=(2, 3)))


def imagenet_densenet(growth_rate: int, blocks: Sequence[int], num_classes: int) -> DenseNet:
    """Make a network of the form of the paper's Table 1, for color images of about 224 × 224.

    >>> imagenet_densenet(4, [1, 1, 1, 1], 5)(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2, 5])
    """
    channels = 2 * growth_rate
    stem = nn.Sequential(
        nn.Conv2d(3, channels, kernel_size=7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
    )
    return DenseNet(stem, growth_rate, blocks, num_classes)


def densenet121(num_classes: int = 1000) -> DenseNet:
    """Make DenseNet-121: 7,978,856 parameters for 1,000 classes.

    >>> with torch.device("meta"):  # nothing is computed
    ...     print(sum(p.numel() for p in densenet121().parameters()))
    7978856
    """
    return imagenet_densenet(32, [6, 12, 24, 16], num_classes)


def densenet169(num_classes: int = 1000) -> DenseNet:
    """Make DenseNet-169: 14,149,480 parameters for 1,000 classes; see ``densenet121``."""
    return imagenet_densenet(32, [6, 12, 32, 32], num_classes)


def densenet201(num_classes: int = 1000) -> DenseNet:
    """Make DenseNet-201: 20,013,928 parameters for 1,000 classes; see ``densenet121``."""
    return imagenet_densenet(32, [6, 12, 48, 32], num_classes)


def densenet161(num_classes: int = 1000) -> DenseNet:
    """Make DenseNet-161, with growth rate 48: 28,681,000 parameters for 1,000 classes."""
    return imagenet_densenet(48, [6, 12, 36, 24], num_classes)


@checked(growth_rate=integer(at_least=1))
def small_densenet(
    growth_rate: int = 16, blocks: Sequence[int] = (1, 3, 4), num_classes: int = 10
) -> DenseNet:
    """Make the DenseNet-BC of the paper's section 3 for gray images of 28 × 28.

    A convolution and three dense blocks. Unlike the paper's for CIFAR, the convolution has stride
    2, which divides the work by four: maps of 14 × 14, 7 × 7 and 3 × 3. A fourth block would have
    maps of 1 × 1. For its arguments see ``DenseNet``.

    Raises:
        ValueError: If ``growth_rate`` is < 1, there are no blocks, or a block has no layers.

    >>> small_densenet(growth_rate=12)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    stem = nn.Conv2d(1, 2 * growth_rate, kernel_size=3, stride=2, padding=1, bias=False)
    return DenseNet(stem, growth_rate, blocks, num_classes)
