"""VGG: blocks of small convolutions, and depth.

From Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition",
ICLR 2015.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from d2lite.checks import checked, integer
from d2lite.initializers import he_start_


class VGGBlock(nn.Sequential):
    """Convolutions of 3 × 3 that keep the size, each with ReLU; then max pooling, which halves it.

    With ``batch_norm``, which came after the paper, batch normalization precedes each ReLU.

    Raises:
        ValueError: If ``num_convs`` is < 1.

    >>> import torch
    >>> VGGBlock(64, 128, num_convs=2)(torch.zeros(2, 64, 8, 8)).shape
    torch.Size([2, 128, 4, 4])
    """

    @checked(num_convs=integer(at_least=1))
    def __init__(
        self, in_channels: int, out_channels: int, num_convs: int, batch_norm: bool = False
    ):
        super().__init__()
        for _ in range(num_convs):
            self.append(nn.Conv2d(in_channels, out_channels, 3, padding=1))
            if batch_norm:
                self.append(nn.BatchNorm2d(out_channels))
            self.append(nn.ReLU())
            in_channels = out_channels
        self.append(nn.MaxPool2d(2))


class VGG(nn.Module):
    """Blocks, then two hidden layers of one width, each with dropout, then the scores.

    Weights start as He et al. (2015) do, biases at 0. The paper, a few months older, trained A
    first and started the deeper networks from its layers.

    Args:
        features: The blocks, which map images to ``in_features`` numbers in all.
        in_features: See ``features``.
        width: Units of each hidden layer.
        num_classes: Scores that come out.
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
        super().__init__()
        self.features = features
        self.classifier = nn.Sequential()
        for _ in range(2):
            self.classifier.append(nn.Linear(in_features, width))
            if batch_norm:
                self.classifier.append(nn.BatchNorm1d(width))
            self.classifier.extend([nn.ReLU(), nn.Dropout(dropout)])
            in_features = width
        self.classifier.append(nn.Linear(width, num_classes))
        he_start_(self)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, C, H, W) to scores (N, num_classes)."""
        return self.classifier(self.features(images).flatten(1))


#: Table 1 of the paper: the channels of each block, and its number of 3 × 3 convolutions.
TABLE_1 = {
    "A": ((64, 1), (128, 1), (256, 2), (512, 2), (512, 2)),
    "B": ((64, 2), (128, 2), (256, 2), (512, 2), (512, 2)),
    "D": ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)),
    "E": ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)),
}


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
        features.append(VGGBlock(channels, out_channels, num_convs, batch_norm))
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


def small_vgg(batch_norm: bool = True, num_classes: int = 10) -> VGG:
    """Make a small VGG for gray images (N, 1, 28, 28): three blocks, three linear layers.

    Besides its size it differs from the paper's in that every layer but the last is followed by
    batch normalization, so that it trains at a high learning rate, and that it drops none of its
    few hidden units.

    Args:
        batch_norm: Whether to normalize over the batch after all layers but the last.
        num_classes: Scores that come out.

    >>> import torch
    >>> small_vgg()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    features = nn.Sequential()
    channels = 1
    for out_channels, num_convs in (16, 1), (32, 2), (64, 3):
        features.append(VGGBlock(channels, out_channels, num_convs, batch_norm))
        channels = out_channels
    return VGG(features, channels * 3 * 3, 64, num_classes, dropout=0.0, batch_norm=batch_norm)
