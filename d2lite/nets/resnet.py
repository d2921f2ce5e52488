"""ResNet: blocks that learn what to add to their input.

From He, Zhang, Ren and Sun, "Deep residual learning for image recognition", CVPR 2016. The
published networks are those of Table 1; the small one has the form of section 4.2, 6n + 2 layers.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """Add what a body computes to the body's input, then apply ReLU: relu(F(x) + x).

    Where the body changes the shape, the shortcut is a 1 × 1 convolution (option B of the paper).

    Args:
        body: F, which maps ``in_channels`` to ``out_channels`` with the stride.
        in_channels: Channels of x.
        out_channels: Channels of F(x).
        stride: Of the body, which divides height and width by it.
        residual: Without it there is no shortcut: the block is relu(F(x)), *plain* in the paper.

    >>> Residual(nn.Conv2d(3, 3, 1), 3, 3, stride=1)(torch.zeros(2, 3, 8, 8)).shape
    torch.Size([2, 3, 8, 8])
    """

    def __init__(
        self,
        body: nn.Module,
        in_channels: int,
        out_channels: int,
        stride: int,
        residual: bool = True,
    ):
        super().__init__()
        self.body = body
        self.shortcut: nn.Module | None = None
        if residual and stride == 1 and in_channels == out_channels:
            self.shortcut = nn.Identity()
        elif residual:
            self.shortcut = conv_bn(in_channels, out_channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H / stride, W / stride), rounded up."""
        y = self.body(x)
        return torch.relu(y if self.shortcut is None else y + self.shortcut(x))


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


class BasicBlock(Residual):
    """The block of two 3 × 3 convolutions (Figure 5, left); the first has the stride.

    >>> BasicBlock(16, 32, stride=2)(torch.zeros(2, 16, 8, 8)).shape
    torch.Size([2, 32, 4, 4])
    """

    convolutions = 2
    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int = 1, residual: bool = True):
        body = nn.Sequential(
            *conv_bn(in_channels, width, 3, stride), nn.ReLU(),
            *conv_bn(width, width, 3),
        )  # fmt: skip
        super().__init__(body, in_channels, width, stride, residual)


class Bottleneck(Residual):
    """The block that narrows, convolves, and widens to four times the width (Figure 5, right).

    The stride is on the 3 × 3 convolution, as in torchvision and most programs since. The paper has
    it on the first 1 × 1, which then skips three quarters of its input.

    >>> Bottleneck(64, 32, stride=2)(torch.zeros(2, 64, 8, 8)).shape
    torch.Size([2, 128, 4, 4])
    """

    convolutions = 3
    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int = 1, residual: bool = True):
        out_channels = self.expansion * width
        body = nn.Sequential(
            *conv_bn(in_channels, width, 1), nn.ReLU(),
            *conv_bn(width, width, 3, stride), nn.ReLU(),
            *conv_bn(width, out_channels, 1),
        )  # fmt: skip
        super().__init__(body, in_channels, out_channels, stride, residual)


Block = type[BasicBlock] | type[Bottleneck]


class ResNet(nn.Module):
    """A stem, stages of equal blocks, the mean of each map, and a linear layer.

    Every stage but the first begins with a block of stride 2. Weights start as He et al. (2015) do.

    Args:
        stem: Maps images to ``widths[0]`` channels.
        block: ``BasicBlock`` or ``Bottleneck``.
        widths: Channels of the 3 × 3 convolutions, stage by stage.
        blocks: Number of blocks, stage by stage.
        num_classes: The number of scores that come out.
        residual: Whether blocks have shortcuts.

    >>> ResNet(conv_bn(1, 8, 3), BasicBlock, [8, 16], [1, 2], 10)(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        stem: nn.Module,
        block: Block,
        widths: Sequence[int],
        blocks: Sequence[int],
        num_classes: int,
        residual: bool = True,
    ):
        super().__init__()
        self.stem = stem
        self.stages = nn.Sequential()
        channels = widths[0]
        for width, count in zip(widths, blocks, strict=True):
            stage = nn.Sequential()
            for i in range(count):
                stride = 2 if len(self.stages) > 0 and i == 0 else 1
                stage.append(block(channels, width, stride, residual))
                channels = block.expansion * width
            self.stages.append(stage)
        self.fc = nn.Linear(channels, num_classes)
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(layer.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, C, H, W) to scores (N, num_classes)."""
        maps = self.stages(self.stem(images))
        return self.fc(maps.mean(dim=(2, 3)))


def imagenet_resnet(block: Block, blocks: Sequence[int], num_classes: int) -> ResNet:
    """Make a column of the paper's Table 1, for colour images of about 224 × 224.

    >>> imagenet_resnet(BasicBlock, [1, 1, 1, 1], 5)(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2, 5])
    """
    stem = nn.Sequential(*conv_bn(3, 64, 7, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1))
    return ResNet(stem, block, [64, 128, 256, 512], blocks, num_classes)


def resnet18(num_classes: int = 1000) -> ResNet:
    """Make ResNet-18: 11,689,512 parameters for 1,000 classes.

    >>> with torch.device("meta"):  # nothing is computed
    ...     print(sum(p.numel() for p in resnet18().parameters()))
    11689512
    """
    return imagenet_resnet(BasicBlock, [2, 2, 2, 2], num_classes)


def resnet34(num_classes: int = 1000) -> ResNet:
    """Make ResNet-34: 21,797,672 parameters for 1,000 classes; see ``resnet18``."""
    return imagenet_resnet(BasicBlock, [3, 4, 6, 3], num_classes)


def resnet50(num_classes: int = 1000) -> ResNet:
    """Make ResNet-50: 25,557,032 parameters for 1,000 classes; see ``resnet18``."""
    return imagenet_resnet(Bottleneck, [3, 4, 6, 3], num_classes)


def resnet101(num_classes: int = 1000) -> ResNet:
    """Make ResNet-101: 44,549,160 parameters for 1,000 classes; see ``resnet18``."""
    return imagenet_resnet(Bottleneck, [3, 4, 23, 3], num_classes)


def resnet152(num_classes: int = 1000) -> ResNet:
    """Make ResNet-152: 60,192,808 parameters for 1,000 classes; see ``resnet18``."""
    return imagenet_resnet(Bottleneck, [3, 8, 36, 3], num_classes)


def small_resnet(
    depth: int = 14,
    width: int = 16,
    residual: bool = True,
    block: Block = BasicBlock,
    num_classes: int = 10,
) -> ResNet:
    """Make the ResNet of the paper's section 4.2 for grey images of 28 × 28.

    A convolution, three stages of n blocks each, a linear layer: 6n + 2 layers, or 9n + 2 with
    bottlenecks. Unlike the paper's, it pools after the first convolution, as the networks for
    ImageNet do, which divides the work by four (maps of 14 × 14, 7 × 7 and 4 × 4), and its
    shortcuts between stages are convolutions.

    Args:
        depth: Layers with weights: 8, 14, 20, 26, 32, …
        width: Channels of the first stage; they double from stage to stage.
        residual: False gives the plain network, the same without shortcuts.
        block: ``BasicBlock`` or ``Bottleneck``.
        num_classes: The number of scores that come out.

    Raises:
        ValueError: If no number of blocks gives this depth, or ``width`` is < 1.

    >>> small_resnet(depth=8)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    blocks, left_over = divmod(depth - 2, 3 * block.convolutions)
    if blocks < 1 or left_over:
        step = 3 * block.convolutions
        raise ValueError(f"depth={depth}: must be {step}n + 2, such as {step + 2}, {2 * step + 2}")
    if width < 1:
        raise ValueError(f"width={width}: must be ≥ 1")
    stem = nn.Sequential(*conv_bn(1, width, 3), nn.ReLU(), nn.MaxPool2d(2))
    widths = [width, 2 * width, 4 * width]
    return ResNet(stem, block, widths, [blocks] * 3, num_classes, residual)
