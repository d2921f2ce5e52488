"""NiN: convolutions whose kernels are small networks, and no large linear layer at the end.

From Lin, Chen and Yan, "Network in network", ICLR 2014. What the paper leaves open (the numbers of
maps, the sizes of kernels) is taken from the authors' published definitions.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from d2lite.checks import checked
from d2lite.initializers import he_start_


def _some(widths: Sequence[int]) -> None:
    if len(widths) == 0:
        raise ValueError("must have one number at least")


class NiNBlock(nn.Sequential):
    """The paper's mlpconv layer: a convolution, then 1 × 1 convolutions, each with ReLU.

    Seen from one pixel it is a multilayer perceptron, slid over the maps. Its convolutions give
    ``widths`` maps. With ``batch_norm``, which came after the paper, batch normalization precedes
    each ReLU.

    Raises:
        ValueError: If ``widths`` is empty.

    >>> NiNBlock(3, (192, 160, 96), 5, padding=2)(torch.zeros(2, 3, 8, 8)).shape
    torch.Size([2, 96, 8, 8])
    """

    @checked(widths=_some)
    def __init__(
        self,
        in_channels: int,
        widths: Sequence[int],
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        batch_norm: bool = False,
    ):
        super().__init__()
        for width in widths:
            self.append(nn.Conv2d(in_channels, width, kernel_size, stride, padding))
            if batch_norm:
                self.append(nn.BatchNorm2d(width))
            self.append(nn.ReLU())
            in_channels, kernel_size, stride, padding = width, 1, 1, 0


class NiN(nn.Module):
    """Mlpconv layers, the last with a map for each class; the mean of a map is its class's score.

    >>> NiN(NiNBlock(3, (16, 10), 3))(torch.zeros(2, 3, 8, 8)).shape
    torch.Size([2, 10])
    """

    def __init__(self, features: nn.Module):
        super().__init__()
        self.features = features
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (N, C, H, W) to scores (N, num_classes)."""
        return self.head(self.features(images))


def max_pool() -> nn.MaxPool2d:
    """Make the pooling of all the authors' networks: 3 × 3, stride 2, sizes rounded up.

    >>> max_pool()(torch.zeros(1, 96, 32, 32)).shape
    torch.Size([1, 96, 16, 16])
    """
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def nin_cifar10(num_classes: int = 10) -> NiN:
    """Make the network for CIFAR-10, for images (N, 3, 32, 32): 966,986 parameters.

    As the authors' file NIN/cifar-10_def in github.com/mavenlin/cuda-convnet, which has the paper's
    max pooling. (Programs that follow their later file for Caffe average in the second pooling.)

    >>> nin_cifar10()(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    features = nn.Sequential(
        NiNBlock(3, (192, 160, 96), 5, padding=2), max_pool(), nn.Dropout(0.5),
        NiNBlock(96, (192, 192, 192), 5, padding=2), max_pool(), nn.Dropout(0.5),
        NiNBlock(192, (192, 192, num_classes), 3, padding=1),
    )  # fmt: skip
    return NiN(features)


def nin(num_classes: int = 1000) -> NiN:
    """Make the network for ImageNet, for images (N, 3, 224, 224): 7,595,176 parameters.

    The paper has none. This is the one that its first author published for Caffe, as
    gist.github.com/mavenlin/d802a5849de39225bcc6.

    >>> with torch.device("meta"):  # nothing is computed
    ...     print(sum(p.numel() for p in nin().parameters()))
    7595176
    """
    features = nn.Sequential(
        NiNBlock(3, (96, 96, 96), 11, stride=4), max_pool(),
        NiNBlock(96, (256, 256, 256), 5, padding=2), max_pool(),
        NiNBlock(256, (384, 384, 384), 3, padding=1), max_pool(), nn.Dropout(0.5),
        NiNBlock(384, (1024, 1024, num_classes), 3, padding=1),
    )  # fmt: skip
    return NiN(features)


def small_nin(batch_norm: bool = True, num_classes: int = 10) -> NiN:
    """Make a small NiN for gray images (N, 1, 28, 28): three mlpconv layers, as for CIFAR-10.

    Besides its size it differs from the paper's in that each convolution is followed by batch
    normalization, so that it trains at a high learning rate, and that it drops none of its few
    numbers. Its first convolution has stride 2, as that for ImageNet has stride 4: it saves time.

    Args:
        batch_norm: Whether each convolution is followed by batch normalization.
        num_classes: Scores that come out.

    >>> small_nin()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    block = partial(NiNBlock, batch_norm=batch_norm)
    features = nn.Sequential(
        block(1, (32, 32, 32), 5, stride=2, padding=2), max_pool(),
        block(32, (96, 96, 96), 3, padding=1), max_pool(),
        block(96, (128, 128, num_classes), 3, padding=1),
    )  # fmt: skip
    model = NiN(features)
    he_start_(model)
    return model
