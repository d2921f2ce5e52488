"""VGG: blocks of small convolutions, and depth.

From Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition",
ICLR 2015.
"""

from collections.abc import Sequence

from torch import nn

from d2lite.initializers import he_start_
from d2lite.nets.alexnet import AlexNet

#: Table 1 of the paper: the channels of each block, and its number of 3 × 3 convolutions.
TABLE_1 = {
    "A": ((64, 1), (128, 1), (256, 2), (512, 2), (512, 2)),
    "B": ((64, 2), (128, 2), (256, 2), (512, 2), (512, 2)),
    "D": ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)),
    "E": ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)),
}


class VGGBlock(nn.Sequential):
    """Convolutions that keep the size, each with ReLU; then max pooling, which halves it.

    Args:
        in_channels: Maps that come in.
        out_channels: Maps of each convolution.
        num_convs: How many convolutions.
        kernel_size: Of each; odd.
        batch_norm: Whether each is followed by batch normalization, which came after the paper.

    Raises:
        ValueError: If ``num_convs`` is < 1 or ``kernel_size`` is not odd.

    >>> import torch
    >>> VGGBlock(64, 128, num_convs=2)(torch.zeros(2, 64, 8, 8)).shape
    torch.Size([2, 128, 4, 4])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_convs: int,
        kernel_size: int = 3,
        batch_norm: bool = False,
    ):
        if num_convs < 1:
            raise ValueError(f"num_convs={num_convs}: must be ≥ 1")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(
                f"kernel_size={kernel_size}: must be odd, so that maps keep their size"
            )
        super().__init__()
        for _ in range(num_convs):
            self.append(nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2))
            if batch_norm:
                self.append(nn.BatchNorm2d(out_channels))
            self.append(nn.ReLU())
            in_channels = out_channels
        self.append(nn.MaxPool2d(2))


class VGG(AlexNet):
    """Blocks, then AlexNet's classifier: two hidden layers of one width, each with dropout.

    Weights start as He et al. (2015) do, biases at 0. The paper, a few months older, trained A
    first and started the deeper networks from its layers.

    Args:
        features: The blocks.
        in_features: How many numbers come out of them for an image.
        width: Of the hidden layers.
        num_classes: The number of scores that come out.
        dropout: The probability that a hidden unit is dropped.
        batch_norm: Whether hidden layers are normalized over the batch; not so in the paper.

    >>> import torch
    >>> VGG(VGGBlock(1, 8, 1), 8 * 2 * 2, width=16, num_classes=10)(torch.zeros(2, 1, 4, 4)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        features: nn.Module,
        in_features: int,
        width: int,
        num_classes: int,
        dropout: float = 0.5,
        batch_norm: bool = False,
    ):
        super().__init__(
            features, in_features, width, num_classes, dropout=dropout, batch_norm=batch_norm
        )
        he_start_(self)


def imagenet_vgg(
    blocks: Sequence[tuple[int, int]], num_classes: int = 1000, batch_norm: bool = False
) -> VGG:
    """Make a column of Table 1, for images (N, 3, 224, 224).

    >>> import torch
    >>> with torch.device("meta"):  # nothing is computed
    ...     print(len(imagenet_vgg(TABLE_1["B"]).features))
    5
    """
    features = nn.Sequential()
    channels = 3
    for out_channels, num_convs in blocks:
        features.append(VGGBlock(channels, out_channels, num_convs, batch_norm=batch_norm))
        channels = out_channels
    return VGG(features, channels * 7 * 7, 4096, num_classes)


def vgg11(num_classes: int = 1000, batch_norm: bool = False) -> VGG:
    """Make configuration A: 132,863,336 parameters for 1,000 classes.

    >>> import torch
    >>> with torch.device("meta"):  # nothing is computed
    ...     print(sum(p.numel() for p in vgg11().parameters()))
    132863336
    """
    return imagenet_vgg(TABLE_1["A"], num_classes, batch_norm)


def vgg13(num_classes: int = 1000, batch_norm: bool = False) -> VGG:
    """Make configuration B: 133,047,848 parameters for 1,000 classes; see ``vgg11``."""
    return imagenet_vgg(TABLE_1["B"], num_classes, batch_norm)


def vgg16(num_classes: int = 1000, batch_norm: bool = False) -> VGG:
    """Make configuration D: 138,357,544 parameters for 1,000 classes; see ``vgg11``."""
    return imagenet_vgg(TABLE_1["D"], num_classes, batch_norm)


def vgg19(num_classes: int = 1000, batch_norm: bool = False) -> VGG:
    """Make configuration E: 143,667,240 parameters for 1,000 classes; see ``vgg11``."""
    return imagenet_vgg(TABLE_1["E"], num_classes, batch_norm)


def small_vgg(stacked: bool = True, batch_norm: bool = True, num_classes: int = 10) -> VGG:
    """Make a small VGG for grey images (N, 1, 28, 28): three blocks, three linear layers.

    Besides its size it differs from the paper's in that every layer but the last is followed by
    batch normalization, so that it trains at a high learning rate, and that it drops fewer of its
    few hidden units.

    Args:
        stacked: Whether a block stacks its convolutions of 3 × 3. Otherwise it has one, with the
            receptive field of the stack: 5 × 5 for two, 7 × 7 for three. The paper's section 4.1
            compares B to its like in this way.
        batch_norm: Whether to normalize over the batch after all layers but the last.
        num_classes: The number of scores that come out.

    >>> import torch
    >>> small_vgg()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    blocks, width, dropout = ((16, 1), (32, 2), (64, 3)), 64, 0.0
    features = nn.Sequential()
    channels = 1
    for out_channels, stack in blocks:
        num_convs, kernel_size = (stack, 3) if stacked else (1, 2 * stack + 1)
        features.append(VGGBlock(channels, out_channels, num_convs, kernel_size, batch_norm))
        channels = out_channels
    return VGG(features, channels * 3 * 3, width, num_classes, dropout, batch_norm)
