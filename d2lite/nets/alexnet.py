"""AlexNet: the network of 2012, the one-tower variant of 2014, and a small one for 28 × 28 images.

From Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural
networks", NeurIPS 2012; and Krizhevsky, "One weird trick for parallelizing convolutional neural
networks", 2014.
"""

import torch
from torch import nn

from d2lite.initializers import he_start_
from d2lite.nets.lenet import choose

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


class AlexNetBlock(nn.Sequential):
    """A convolution and its activation; response normalization and pooling follow, if wanted.

    Args:
        in_channels: Maps that come in.
        out_channels: Maps that go out.
        kernel_size: Of the convolution, as are ``stride``, ``padding`` and ``groups``.
        stride: See ``kernel_size``.
        padding: See ``kernel_size``.
        groups: 2 where the two halves of the maps, one on each GPU, do not see each other.
        activation: ``"relu"`` or ``"tanh"``.
        batch_norm: Whether to normalize over the batch, before the activation; not in the paper.
        lrn: Whether to normalize the responses: see ``local_response_norm``.
        pool: What comes last.

    Raises:
        ValueError: If ``activation`` is none of these.

    >>> AlexNetBlock(3, 96, 11, stride=4)(torch.zeros(2, 3, 227, 227)).shape
    torch.Size([2, 96, 55, 55])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        activation: str = "relu",
        batch_norm: bool = False,
        lrn: bool = False,
        pool: nn.Module | None = None,
    ):
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, groups=groups)
        )
        if batch_norm:
            self.append(nn.BatchNorm2d(out_channels))
        self.append(choose("activation", activation, ACTIVATIONS)())
        if lrn:
            self.append(local_response_norm())
        if pool is not None:
            self.append(pool)


def local_response_norm() -> nn.LocalResponseNorm:
    """Make the layer of section 3.3: a / (k + α Σ a²)^β, the sum over n = 5 neighbouring maps.

    k = 2, α = 0.0001, β = 0.75. PyTorch takes the mean of the a², not the sum, so its α is n times
    the paper's.

    >>> local_response_norm()(torch.zeros(2, 96, 55, 55)).shape
    torch.Size([2, 96, 55, 55])
    """
    n = 5
    return nn.LocalResponseNorm(n, alpha=n * 1e-4, beta=0.75, k=2.0)


class AlexNet(nn.Module):
    """Convolutions, then two hidden layers of one width, each with dropout, then the scores.

    Args:
        features: Maps images to maps of ``in_features`` numbers in all.
        in_features: See ``features``.
        width: Of the hidden layers.
        num_classes: The number of scores that come out.
        activation: ``"relu"`` or ``"tanh"``, of the hidden layers.
        dropout: The probability that a hidden unit is dropped.
        batch_norm: Whether hidden layers are normalized over the batch; not so in the paper.

    Raises:
        ValueError: If ``activation`` or ``dropout`` is out of range.

    >>> AlexNet(nn.MaxPool2d(2), 12, width=4, num_classes=10)(torch.zeros(2, 3, 4, 4)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        features: nn.Module,
        in_features: int,
        width: int,
        num_classes: int,
        activation: str = "relu",
        dropout: float = 0.5,
        batch_norm: bool = False,
    ):
        super().__init__()
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout={dropout}: must be ≥ 0 and < 1")
        act = choose("activation", activation, ACTIVATIONS)
        self.features = features
        self.classifier = nn.Sequential()
        for _ in range(2):
            self.classifier.append(nn.Linear(in_features, width))
            if batch_norm:
                self.classifier.append(nn.BatchNorm1d(width))
            self.classifier.extend([act(), nn.Dropout(dropout)])
            in_features = width
        self.classifier.append(nn.Linear(width, num_classes))

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
        AlexNetBlock(3, 96, 11, stride=4, lrn=True, pool=nn.MaxPool2d(3, stride=2)),
        AlexNetBlock(96, 256, 5, padding=2, groups=2, lrn=True, pool=nn.MaxPool2d(3, stride=2)),
        AlexNetBlock(256, 384, 3, padding=1),
        AlexNetBlock(384, 384, 3, padding=1, groups=2),
        AlexNetBlock(384, 256, 3, padding=1, groups=2, pool=nn.MaxPool2d(3, stride=2)),
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
        AlexNetBlock(3, 64, 11, stride=4, padding=2, pool=nn.MaxPool2d(3, stride=2)),
        AlexNetBlock(64, 192, 5, padding=2, pool=nn.MaxPool2d(3, stride=2)),
        AlexNetBlock(192, 384, 3, padding=1),
        AlexNetBlock(384, 256, 3, padding=1),
        AlexNetBlock(256, 256, 3, padding=1, pool=nn.MaxPool2d(3, stride=2)),
    )
    return AlexNet(features, 256 * 6 * 6, 4096, num_classes)


def small_alexnet(
    activation: str = "relu",
    overlapping: bool = True,
    lrn: bool = False,
    dropout: float = 0.0,
    batch_norm: bool = True,
    num_classes: int = 10,
) -> AlexNet:
    """Make a small AlexNet for grey images (N, 1, 28, 28): five convolutions, three linear layers.

    Besides its size it differs from the paper's in that it has no groups and no stride, has batch
    instead of response normalization, drops none of its few hidden units, and starts as He et al.
    (2015) do. So it trains at a high learning rate.

    Args:
        activation: ``"relu"`` or ``"tanh"``.
        overlapping: Whether windows of 3 × 3 are pooled, or else of 2 × 2; the stride is 2, and
            maps have the same sizes.
        lrn: Whether to normalize responses after the first two convolutions, as in the paper.
        dropout: The probability that a hidden unit is dropped.
        batch_norm: Whether to normalize over the batch after all layers but the last.
        num_classes: The number of scores that come out.

    Raises:
        ValueError: If ``activation`` or ``dropout`` is out of range.

    >>> small_alexnet()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    c1, c2, c3, c4, c5, width = 16, 32, 48, 48, 32, 128

    def block(in_channels: int, out_channels: int, kernel_size: int, pool: bool, lrn: bool = False):
        # 28 → 14 → 7 → 3, with windows of 3 rounded up, with windows of 2 rounded down
        pooling = nn.MaxPool2d(3 if overlapping else 2, stride=2, ceil_mode=overlapping)
        return AlexNetBlock(
            in_channels, out_channels, kernel_size, padding=kernel_size // 2,
            activation=activation, batch_norm=batch_norm, lrn=lrn, pool=pooling if pool else None,
        )  # fmt: skip

    features = nn.Sequential(
        block(1, c1, 5, pool=True, lrn=lrn),
        block(c1, c2, 5, pool=True, lrn=lrn),
        block(c2, c3, 3, pool=False),
        block(c3, c4, 3, pool=False),
        block(c4, c5, 3, pool=True),
    )
    model = AlexNet(features, c5 * 3 * 3, width, num_classes, activation, dropout, batch_norm)
    he_start_(model, activation)
    return model
