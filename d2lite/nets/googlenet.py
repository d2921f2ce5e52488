"""GoogLeNet: modules that look at several scales at once.

From Szegedy et al., "Going deeper with convolutions", CVPR 2015. Layers have the names of Table 1.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from d2lite.initializers import he_start_

Plan = Mapping[str, Sequence[int]]
Modules = Mapping[str, nn.Module]
Unit = Callable[..., nn.Module]

#: Channels of each module, in the order of Table 1's columns: 1×1, 3×3 reduce, 3×3, 5×5 reduce,
#: 5×5, pool proj. Of a max pooling, which has stride 2, the kernel size alone.
TABLE_1: Plan = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "pool3": (3,),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "pool4": (3,),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def conv(in_channels: int, channels: int, kernel_size: int, stride: int = 1) -> nn.Sequential:
    """Make a convolution that keeps the size at stride 1, followed by ReLU.

    >>> conv(3, 8, kernel_size=5, stride=2)(torch.zeros(2, 3, 8, 8)).shape
    torch.Size([2, 8, 4, 4])
    """
    padding = kernel_size // 2
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, kernel_size, stride, padding),
        nn.ReLU(),
    )


def conv_norm(in_channels: int, channels: int, kernel_size: int, stride: int = 1) -> nn.Sequential:
    """Make the same with batch normalization between the two, which needs no bias before it.

    >>> conv_norm(3, 8, kernel_size=5, stride=2)(torch.zeros(2, 3, 8, 8)).shape
    torch.Size([2, 8, 4, 4])
    """
    padding = kernel_size // 2
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, kernel_size, stride, padding, bias=False),
        nn.BatchNorm2d(channels, eps=0.001),
        nn.ReLU(),
    )


class Inception(nn.Module):
    """Four branches side by side, whose maps are concatenated (Figure 2b).

    1 × 1; 1 × 1 then 3 × 3; 1 × 1 then 5 × 5; max pooling then 1 × 1. Every convolution is followed
    by ReLU.

    Args:
        in_channels: Maps that come in.
        channels: The six numbers of a row of Table 1: see ``TABLE_1``.
        unit: Makes a convolution with all that follows it: ``conv`` or ``conv_norm``.

    >>> Inception(192, TABLE_1["3a"])(torch.zeros(2, 192, 28, 28)).shape
    torch.Size([2, 256, 28, 28])
    """

    def __init__(self, in_channels: int, channels: Sequence[int], unit: Unit = conv):
        super().__init__()
        n1, r3, n3, r5, n5, project = channels
        self.branch1 = unit(in_channels, n1, 1)
        self.branch2 = nn.Sequential(unit(in_channels, r3, 1), unit(r3, n3, 3))
        self.branch3 = nn.Sequential(unit(in_channels, r5, 1), unit(r5, n5, 5))
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1), unit(in_channels, project, 1)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H, W); ``out_channels`` computes C_out."""
        branches = self.branch1, self.branch2, self.branch3, self.branch4
        return torch.cat([branch(maps) for branch in branches], dim=1)


def out_channels(channels: Sequence[int]) -> int:
    """Add up the channels that an Inception module's four branches give.

    >>> out_channels(TABLE_1["3a"])
    256
    """
    return sum(channels) - channels[1] - channels[3]


def inceptions(in_channels: int, plan: Plan, unit: Unit = conv) -> Modules:
    """Make the layers of a plan such as ``TABLE_1``.

    >>> list(inceptions(192, {"3a": TABLE_1["3a"], "pool3": (3,)}))
    ['3a', 'pool3']
    """
    layers: dict[str, nn.Module] = {}
    for name, channels in plan.items():
        if len(channels) == 1:
            layers[name] = nn.MaxPool2d(channels[0], stride=2, ceil_mode=True)
        else:
            layers[name] = Inception(in_channels, channels, unit)
            in_channels = out_channels(channels)
    return layers


class AuxiliaryHead(nn.Sequential):
    """Scores from the middle of the network: pooling, a 1 × 1 convolution, two linear layers.

    Args:
        in_channels: Maps that come in.
        num_classes: Scores that come out.
        pool: Gives maps of 4 × 4; the paper's makes them of 14 × 14.
        channels: Of the convolution.
        features: Of the hidden linear layer.
        unit: See ``Inception``.

    >>> AuxiliaryHead(512, 10, nn.AvgPool2d(5, stride=3))(torch.zeros(2, 512, 14, 14)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        pool: nn.Module,
        channels: int = 128,
        features: int = 1024,
        unit: Unit = conv,
    ):
        super().__init__(
            pool,
            unit(in_channels, channels, 1),
            nn.Flatten(),
            nn.Linear(channels * 4 * 4, features),
            nn.ReLU(),
            nn.Dropout(0.7),
            nn.Linear(features, num_classes),
        )


class GoogLeNet(nn.Module):
    """A stem, Inception modules with poolings between them, and a head; on the way, more heads.

    Auxiliary heads bring the loss's gradient into the middle of the network. In training, the model
    returns all scores, the main ones first: see ``auxiliary_loss``. In evaluation, the
    main scores are all it returns and the auxiliary heads are not run.

    Weights start as in He et al. (2015), biases at 0.

    Args:
        stem: Maps images to the maps that the first layer takes.
        layers: Inception modules and poolings, by name, in order.
        auxiliary: Heads, by the name of the layer whose maps they take.
        head: Maps the last maps to scores.

    >>> model = GoogLeNet(nn.Identity(), {"a": nn.ReLU()}, {"a": nn.Flatten()}, nn.Flatten())
    >>> [scores.shape for scores in model(torch.zeros(2, 1, 1, 5))]
    [torch.Size([2, 5]), torch.Size([2, 5])]
    >>> model.eval()(torch.zeros(2, 1, 1, 5)).shape
    torch.Size([2, 5])
    """

    def __init__(self, stem: nn.Module, layers: Modules, auxiliary: Modules, head: nn.Module):
        super().__init__()
        self.stem = stem
        self.layers = nn.ModuleDict(layers)
        self.auxiliary = nn.ModuleDict(auxiliary)
        self.head = head
        he_start_(self)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Map images (N, C, H, W) to scores (N, num_classes); in training, one for each head."""
        maps = self.stem(images)
        auxiliary_scores = []
        for name, layer in self.layers.items():
            maps = layer(maps)
            if self.training and name in self.auxiliary:
                auxiliary_scores.append(self.auxiliary[name](maps))
        scores = self.head(maps)
        return (scores, *auxiliary_scores) if auxiliary_scores else scores


def auxiliary_loss(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the paper's loss (section 5): cross-entropy, and that of auxiliary heads times 0.3.

    Images are (N, C, H, W), labels (N,). Returned are the loss, a scalar, and the main scores,
    (N, num_classes). Without auxiliary heads, as in evaluation, the loss is the main one.

    >>> model = GoogLeNet(nn.Identity(), {"a": nn.ReLU()}, {"a": nn.Flatten()}, nn.Flatten())
    >>> loss, scores = auxiliary_loss(model, torch.rand(4, 1, 1, 5), torch.arange(4))
    >>> loss.shape, scores.shape
    (torch.Size([]), torch.Size([4, 5]))
    """
    output = model(images)
    scores, *auxiliary = output if isinstance(output, tuple) else (output,)
    loss = cross_entropy(scores, labels)
    for other in auxiliary:
        loss = loss + 0.3 * cross_entropy(other, labels)
    return loss, scores


def googlenet(num_classes: int = 1000, torchvision: bool = False) -> GoogLeNet:
    """Make the GoogLeNet of the paper, for color images of 224 × 224.

    13,378,280 parameters for 1,000 classes, 6,998,552 of them outside the auxiliary heads. The
    paper does not give the settings of its local response normalization: they are AlexNet's here.

    Args:
        num_classes: Scores that come out.
        torchvision: Make torchvision's instead. It has batch normalization in place of local
            response normalization, 3 × 3 for every 5 × 5, other poolings in the auxiliary heads and
            before 5a, and drops 20 % of the last features instead of 40 %.

    >>> with torch.device("meta"):  # nothing is computed
    ...     print(sum(p.numel() for p in googlenet().parameters()))
    13378280
    """

    def theirs(in_channels: int, channels: int, kernel_size: int, stride: int = 1) -> nn.Module:
        return conv_norm(in_channels, channels, 3 if kernel_size == 5 else kernel_size, stride)

    def normalization() -> nn.Module:
        return nn.Identity() if torchvision else nn.LocalResponseNorm(5, alpha=5e-4, k=2)

    def auxiliary_head(in_channels: int) -> nn.Module:
        pool = nn.AdaptiveAvgPool2d(4) if torchvision else nn.AvgPool2d(5, stride=3)
        return AuxiliaryHead(in_channels, num_classes, pool, unit=unit)

    unit: Unit = theirs if torchvision else conv
    stem = nn.Sequential(
        unit(3, 64, 7, 2), nn.MaxPool2d(3, 2, ceil_mode=True), normalization(),
        unit(64, 64, 1), unit(64, 192, 3), normalization(), nn.MaxPool2d(3, 2, ceil_mode=True),
    )  # fmt: skip
    plan = {**TABLE_1, "pool4": (2,)} if torchvision else TABLE_1
    auxiliary = {"4a": auxiliary_head(512), "4d": auxiliary_head(528)}
    dropout = nn.Dropout(0.2 if torchvision else 0.4)
    head = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), dropout, nn.Linear(1024, num_classes)
    )
    return GoogLeNet(stem, inceptions(192, plan, unit), auxiliary, head)


def small_googlenet(num_classes: int = 10) -> nn.Sequential:
    """Make a narrow GoogLeNet of two Inception modules, for gray images of 28 × 28.

    Its stem divides height and width by four with two poolings, the paper's by eight. Unlike the
    paper's it has batch normalization, which was published later, so that it trains from a high
    learning rate; there is no dropout before the last layer, and no auxiliary head.

    >>> small_googlenet()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    model = nn.Sequential(
        conv_norm(1, 16, 3), nn.MaxPool2d(3, 2, ceil_mode=True),
        conv_norm(16, 32, 3), nn.MaxPool2d(3, 2, ceil_mode=True),
        Inception(32, (32, 32, 48, 8, 16, 16), conv_norm),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        Inception(112, (64, 48, 96, 16, 32, 32), conv_norm),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(224, num_classes),
    )  # fmt: skip
    he_start_(model)
    return model
