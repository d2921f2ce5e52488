"""AlexNet: the network of 2012, the one-tower variant of 2014, and a small one for 28 × 28 images.

From Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural
networks", NeurIPS 2012; and Krizhevsky, "One weird trick for parallelizing convolutional neural
networks", 2014.
"""

from functools import partial

import torch
from torch import nn

from d2lite.initializers import he_start_


class AlexNetBlock(nn.Sequential):
    """A convolution and its ReLU, then what else is given: normalization, pooling.

    With ``batch_norm``, which the paper does not have, batch normalization precedes the ReLU.

    >>> AlexNetBlock(nn.Conv2d(3, 96, 11, stride=4), max_pool())(torch.zeros(2, 3, 227, 227)).shape
    torch.Size([2, 96, 27, 27])
    """

    def __init__(self, convolution: nn.Conv2d, *then: nn.Module, batch_norm: bool = False):
        norm = [nn.BatchNorm2d(convolution.out_channels)] if batch_norm else []
        super().__init__(convolution, *norm, nn.ReLU(), *then)


def local_response_norm() -> nn.LocalResponseNorm:
    """Make the layer of section 3.3: a / (k + α Σ a²)^β, the sum over n = 5 neighboring maps.

    k = 2, α = 0.0001, β = 0.75. PyTorch takes the mean of the a², not the sum, so its α is n times
    the paper's.

    >>> local_response_norm()(torch.zeros(2, 96, 55, 55)).shape
    torch.Size([2, 96, 55, 55])
    """
    n = 5
    return nn.LocalResponseNorm(n, alpha=n * 1e-4, beta=0.75, k=2.0)


def max_pool() -> nn.MaxPool2d:
    """Make the overlapping pooling of section 3.4: 3 × 3, stride 2.

    >>> max_pool()(torch.zeros(2, 96, 55, 55)).shape
    torch.Size([2, 96, 27, 27])
    """
    return nn.MaxPool2d(3, stride=2)


class AlexNet(nn.Module):
    """Convolutions, then two hidden layers of one width, each with dropout, then the scores.

    Args:
        features: Maps images to maps of ``in_features`` numbers in all.
        in_features: See ``features``.
        width: Units of each hidden layer.
        num_classes: Scores that come out.
        dropout: The probability that a hidden unit is dropped.
        batch_norm: Whether hidden layers are normalized over the batch; not so in the paper.

    >>> AlexNet(nn.MaxPool2d(2), 12, width=4, num_classes=10)(torch.zeros(2, 3, 4, 4)).shape
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

        def hidden(units: int) -> list[nn.Module]:
            norm = [nn.BatchNorm1d(width)] if batch_norm else []
            return [nn.Linear(units, width), *norm, nn.ReLU(), nn.Dropout(dropout)]

        self.features = features
        self.classifier = nn.Sequential(
            *hidden(in_features), *hidden(width), nn.Linear(width, num_classes)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (N, C, H, W) to scores (N, num_classes)."""
        return self.classifier(self.features(images).flatten(1))


def alexnet(num_classes: int = 1000) -> AlexNet:
    """Make AlexNet as published (section 3.5), for images (N, 3, 224, 224): 60,965,224 parameters.

    Convolutions 2, 4 and 5 have two groups, one for each GPU of 2012. The first map is 55 × 55, as
    in the paper, if the last window hangs 3 pixels over the edge: here the image is padded by that.
    Weights and biases start as in section 5.

    >>> with torch.device("meta"):  # nothing is computed
    ...     print(sum(p.numel() for p in alexnet().parameters()))
    60965224
    """
    features = nn.Sequential(
        nn.ZeroPad2d((0, 3, 0, 3)),
        AlexNetBlock(nn.Conv2d(3, 96, 11, stride=4), local_response_norm(), max_pool()),
        AlexNetBlock(nn.Conv2d(96, 256, 5, padding=2, groups=2), local_response_norm(), max_pool()),
        AlexNetBlock(nn.Conv2d(256, 384, 3, padding=1)),
        AlexNetBlock(nn.Conv2d(384, 384, 3, padding=1, groups=2)),
        AlexNetBlock(nn.Conv2d(384, 256, 3, padding=1, groups=2), max_pool()),
    )
    model = AlexNet(features, 256 * 6 * 6, 4096, num_classes)
    parameters = list(model.parameters())
    for layer, (weight, bias) in enumerate(zip(parameters[::2], parameters[1::2], strict=True), 1):
        nn.init.normal_(weight, std=0.01)
        nn.init.constant_(bias, 1.0 if layer in (2, 4, 5, 6, 7) else 0.0)
    return model


def alexnet_one_tower(num_classes: int = 1000) -> AlexNet:
    """Make the variant for one GPU of 2014, which is torchvision's: 61,100,840 parameters.

    Fewer maps, no groups, no response normalization; for images (N, 3, 224, 224). Dropout is where
    the paper of 2012 has it, behind the hidden layers; torchvision has it before them. Weights
    start as PyTorch's layers do.

    >>> with torch.device("meta"):  # nothing is computed
    ...     print(sum(p.numel() for p in alexnet_one_tower().parameters()))
    61100840
    """
    features = nn.Sequential(
        AlexNetBlock(nn.Conv2d(3, 64, 11, stride=4, padding=2), max_pool()),
        AlexNetBlock(nn.Conv2d(64, 192, 5, padding=2), max_pool()),
        AlexNetBlock(nn.Conv2d(192, 384, 3, padding=1)),
        AlexNetBlock(nn.Conv2d(384, 256, 3, padding=1)),
        AlexNetBlock(nn.Conv2d(256, 256, 3, padding=1), max_pool()),
    )
    return AlexNet(features, 256 * 6 * 6, 4096, num_classes)


def small_alexnet(dropout: float = 0.0, batch_norm: bool = True, num_classes: int = 10) -> AlexNet:
    """Make a small AlexNet for gray images (N, 1, 28, 28): five convolutions, three linear layers.

    Besides its size it differs from the paper's in that it has no groups and no stride, has batch
    instead of response normalization, drops none of its few hidden units, and starts as He et al.
    (2015) do. So it trains at a high learning rate.

    Args:
        dropout: The probability that a hidden unit is dropped.
        batch_norm: Whether to normalize over the batch after all layers but the last.
        num_classes: Scores that come out.

    >>> small_alexnet()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    block = partial(AlexNetBlock, batch_norm=batch_norm)
    pool = partial(nn.MaxPool2d, 3, stride=2, ceil_mode=True)  # 28 → 14 → 7 → 3
    features = nn.Sequential(
        block(nn.Conv2d(1, 16, 5, padding=2), pool()),
        block(nn.Conv2d(16, 32, 5, padding=2), pool()),
        block(nn.Conv2d(32, 48, 3, padding=1)),
        block(nn.Conv2d(48, 48, 3, padding=1)),
        block(nn.Conv2d(48, 32, 3, padding=1), pool()),
    )
    model = AlexNet(features, 32 * 3 * 3, 128, num_classes, dropout, batch_norm)
    he_start_(model)
    return model
