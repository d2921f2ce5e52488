"""ResNet: blocks that learn what to add to their input.

From He, Zhang, Ren and Sun, "Deep residual learning for image recognition", CVPR 2016. The
published networks are those of Table 1; the small one has the form of section 4.2, 6n + 2 layers.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from d2lite.checks import checked, integer

#: Makes a block from its input's channels, its output's, and its stride, 1 unless given.
Block = Callable[..., nn.Module]


class Residual(nn.Module):
    """Add what a path computes to what a shortcut hands on, then apply ReLU: relu(F(x) + x).

    Args:
        path: F, which maps (N, C_in, H, W) to (N, C_out, H / stride, W / stride), rounded up.
        shortcut: Hands x on unchanged, or in the shape of F(x).

    >>> Residual(nn.Conv2d(3, 3, 1), nn.Identity())(torch.zeros(2, 3, 8, 8)).shape
    torch.Size([2, 3, 8, 8])
    """

    def __init__(self, path: nn.Module, shortcut: nn.Module):
        super().__init__()
        self.path = path
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Map x to relu(F(x) + x)."""
        return torch.relu(self.path(x) + self.shortcut(x))


def conv_bn(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1
) -> nn.Sequential:
    """Make a convolution that keeps the size at stride 1, followed by batch normalization.

    >>> conv_bn(3, 8, kernel_size=3, stride=2)(torch.zeros(2, 3, 8, 8)).shape
    torch.Size([2, 8, 4, 4])
    """
    padding = kernel_size // 2
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False),
        nn.BatchNorm2d(out_channels),
    )


def basic_path(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """Make the path of two 3 × 3 convolutions (Figure 5, left); the first has the stride.

    >>> basic_path(16, 32, stride=2)(torch.zeros(2, 16, 8, 8)).shape
    torch.Size([2, 32, 4, 4])
    """
    return nn.Sequential(
        *conv_bn(in_channels, out_channels, 3, stride), nn.ReLU(),
        *conv_bn(out_channels, out_channels, 3),
    )  # fmt: skip


def bottleneck_path(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """Make the path that narrows to a quarter, convolves, and widens again (Figure 5, right).

    The stride is on the 3 × 3 convolution, as in torchvision and most programs since. The paper has
    it on the first 1 × 1, which then skips three quarters of its input.

    >>> bottleneck_path(64, 128, stride=2)(torch.zeros(2, 64, 8, 8)).shape
    torch.Size([2, 128, 4, 4])
    """
    width = out_channels // 4
    return nn.Sequential(
        *conv_bn(in_channels, width, 1), nn.ReLU(),
        *conv_bn(width, width, 3, stride), nn.ReLU(),
        *conv_bn(width, out_channels, 1),
    )  # fmt: skip


def shortcut(in_channels: int, out_channels: int, stride: int = 1) -> nn.Module:
    """Make the way past a path: x itself, or a 1 × 1 convolution of x where the path changes shape.

    >>> shortcut(16, 16)
    Identity()
    """
    if in_channels == out_channels and stride == 1:
        return nn.Identity()
    return conv_bn(in_channels, out_channels, 1, stride)


def basic_block(in_channels: int, out_channels: int, stride: int = 1) -> Residual:
    """Make the block of ResNet-18 and 34: two convolutions, and a shortcut past them.

    >>> basic_block(16, 32, stride=2)(torch.zeros(2, 16, 8, 8)).shape
    torch.Size([2, 32, 4, 4])
    """
    path = basic_path(in_channels, out_channels, stride)
    return Residual(path, shortcut(in_channels, out_channels, stride))


def bottleneck_block(in_channels: int, out_channels: int, stride: int = 1) -> Residual:
    """Make the block of ResNet-50, 101 and 152: three convolutions, and a shortcut past them.

    >>> bottleneck_block(64, 128, stride=2)(torch.zeros(2, 64, 8, 8)).shape
    torch.Size([2, 128, 4, 4])
    """
    path = bottleneck_path(in_channels, out_channels, stride)
    return Residual(path, shortcut(in_channels, out_channels, stride))


def _one_more(channels: Sequence[int], blocks: Sequence[int]) -> None:
    if len(channels) != len(blocks) + 1:
        raise ValueError(f"channels={list(channels)}: must be one more than the stages")


class ResNet(nn.Module):
    """A stem, stages of equal blocks, the mean of each map, and a linear layer.

    Every stage but the first begins with a block of stride 2. Weights start as He et al. (2015) do.

    Args:
        stem: Maps images to ``channels[0]`` maps.
        block: Makes a block, as ``basic_block`` does.
        channels: Maps behind the stem, and behind each stage.
        blocks: Number of blocks, stage by stage.
        num_classes: Scores that come out.

    Raises:
        ValueError: If there is not one number of channels more than of stages.

    >>> model = ResNet(conv_bn(1, 8, 3), basic_block, [8, 8, 16], [1, 2], num_classes=10)
    >>> model(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """

    @checked(_one_more)
    def __init__(
        self,
        stem: nn.Module,
        block: Block,
        channels: Sequence[int],
        blocks: Sequence[int],
        num_classes: int,
    ):
        super().__init__()
        self.stem, self.stages = stem, nn.Sequential()
        for i, count in enumerate(blocks):
            before, behind = channels[i], channels[i + 1]
            stage = [block(before, behind, stride=1 if i == 0 else 2)]
            stage += [block(behind, behind) for _ in range(count - 1)]
            self.stages.append(nn.Sequential(*stage))
        self.fc = nn.Linear(channels[-1], num_classes)
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(layer.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, C, H, W) to scores (N, num_classes)."""
        maps = self.stages(self.stem(images))
        return self.fc(maps.mean(dim=(2, 3)))


def imagenet_resnet(block: Block, channels: int, blocks: Sequence[int], num_classes: int) -> ResNet:
    """Make a column of Table 1, for color images of about 224 × 224.

    The first stage has ``channels``, and they double from stage to stage.

    >>> imagenet_resnet(basic_block, 64, [1, 1, 1, 1], 5)(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2, 5])
    """
    stem = nn.Sequential(*conv_bn(3, 64, 7, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1))
    widths = [64, channels, 2 * channels, 4 * channels, 8 * channels]
    return ResNet(stem, block, widths, blocks, num_classes)


def resnet18(num_classes: int = 1000) -> ResNet:
    """Make ResNet-18: 11,689,512 parameters for 1,000 classes.

    >>> with torch.device("meta"):  # nothing is computed
    ...     print(sum(p.numel() for p in resnet18().parameters()))
    11689512
    """
    return imagenet_resnet(basic_block, 64, [2, 2, 2, 2], num_classes)


def resnet34(num_classes: int = 1000) -> ResNet:
    """Make ResNet-34: 21,797,672 parameters for 1,000 classes; see ``resnet18``."""
    return imagenet_resnet(basic_block, 64, [3, 4, 6, 3], num_classes)


def resnet50(num_classes: int = 1000) -> ResNet:
    """Make ResNet-50: 25,557,032 parameters for 1,000 classes; see ``resnet18``."""
    return imagenet_resnet(bottleneck_block, 256, [3, 4, 6, 3], num_classes)


def resnet101(num_classes: int = 1000) -> ResNet:
    """Make ResNet-101: 44,549,160 parameters for 1,000 classes; see ``resnet18``."""
    return imagenet_resnet(bottleneck_block, 256, [3, 4, 23, 3], num_classes)


def resnet152(num_classes: int = 1000) -> ResNet:
    """Make ResNet-152: 60,192,808 parameters for 1,000 classes; see ``resnet18``."""
    return imagenet_resnet(bottleneck_block, 256, [3, 8, 36, 3], num_classes)


def _depth(depth: int) -> None:
    if depth < 8 or depth % 6 != 2:
        raise ValueError("must be 6n + 2, such as 8, 14")


@checked(depth=_depth, width=integer(at_least=1))
def small_resnet(
    depth: int = 14, width: int = 16, block: Block = basic_block, num_classes: int = 10
) -> ResNet:
    """Make the ResNet of the paper's section 4.2 for gray images of 28 × 28.

    A convolution, three stages of n blocks each, a linear layer: 6n + 2 layers. Unlike the paper's,
    it pools after the first convolution, as the networks for ImageNet do, which divides the work by
    four (maps of 14 × 14, 7 × 7 and 4 × 4), and its shortcuts between stages are convolutions.

    Args:
        depth: Layers with weights: 8, 14, 20, 26, 32, …
        width: Channels of the first stage; they double from stage to stage.
        block: Makes a block of two convolutions, as ``basic_block`` does.
        num_classes: Scores that come out.

    Raises:
        ValueError: If no number of blocks gives this depth, or ``width`` is < 1.

    >>> small_resnet(depth=8)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    stem = nn.Sequential(*conv_bn(1, width, 3), nn.ReLU(), nn.MaxPool2d(2))
    channels = [width, width, 2 * width, 4 * width]
    return ResNet(stem, block, channels, [(depth - 2) // 6] * 3, num_classes)
