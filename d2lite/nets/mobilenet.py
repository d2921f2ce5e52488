"""MobileNet: look at each channel by itself, mix them place by place; and gates for channels.

From Sandler, Howard, Zhu, Zhmoginov and Chen, "MobileNetV2: inverted residuals and linear
bottlenecks", CVPR 2018; the gates from Hu, Shen and Sun, "Squeeze-and-excitation networks", CVPR
2018.
"""

from torch import Tensor, nn

from d2lite.checks import checked, integer


@checked(
    in_channels=integer(at_least=1), out_channels=integer(at_least=1), groups=integer(at_least=1)
)
def conv_bn_relu6(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Make a convolution that keeps the size at stride 1, batch normalization, and min(relu(x), 6).

    >>> import torch
    >>> conv_bn_relu6(8, 8, 3, stride=2, groups=8)(torch.zeros(2, 8, 6, 6)).shape
    torch.Size([2, 8, 3, 3])
    """
    padding = kernel_size // 2
    return nn.Sequential(
        nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=False
        ),
        nn.BatchNorm2d(out_channels), nn.ReLU6(),
    )  # fmt: skip


class InvertedResidual(nn.Module):
    """Widen, look at each channel by itself, narrow; add the input where the shape stays.

    1 × 1 to ``expansion`` times the channels, depthwise 3 × 3, 1 × 1 down without an activation
    (Figure 4 of the paper). (N, C_in, H, W) → (N, C_out, H / stride, W / stride), rounded up.

    Args:
        in_channels: C_in.
        out_channels: C_out.
        stride: Of the depthwise convolution.
        expansion: How many times wider the middle is; with 1 the first convolution is left out.

    >>> import torch
    >>> InvertedResidual(16, 24, stride=2)(torch.zeros(2, 16, 8, 8)).shape
    torch.Size([2, 24, 4, 4])
    """

    @checked(stride=integer(at_least=1), expansion=integer(at_least=1))
    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, expansion: int = 6):
        super().__init__()
        wide = expansion * in_channels
        widen = conv_bn_relu6(in_channels, wide, 1) if expansion > 1 else []  # type: ignore
        self.path = nn.Sequential(
            *widen,
            *conv_bn_relu6(wide, wide, 3, stride, groups=wide),
            nn.Conv2d(wide, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.same_shape = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map x to F(x) + x, or to F(x) where the shape changes."""
        return self.path(x) + x if self.same_shape else self.path(x)


class SqueezeExcitation(nn.Module):
    """Multiply each channel by a gate between 0 and 1 that depends on all channels' means.

    Args:
        channels: C of the maps (N, C, H, W), whose shape stays.
        squeezed: Units of the hidden layer; the paper has C / 16.

    >>> import torch
    >>> SqueezeExcitation(64, 4)(torch.ones(2, 64, 8, 8)).shape
    torch.Size([2, 64, 8, 8])
    """

    @checked(channels=integer(at_least=1), squeezed=integer(at_least=1))
    def __init__(self, channels: int, squeezed: int):
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1), nn.ReLU(),
            nn.Conv2d(squeezed, channels, 1), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        return x * self.gate(x)


#: Table 2 of the paper: expansion, channels, number of blocks, stride of the first.
TABLE_2 = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
    (6, 320, 1, 1),
)  # fmt: skip


def mobilenet_v2(num_classes: int = 1000) -> nn.Sequential:
    """Make MobileNetV2, for images (N, 3, 224, 224): 3,504,872 parameters for 1,000 classes.

    >>> import torch
    >>> with torch.device("meta"):  # nothing is computed
    ...     print(sum(p.numel() for p in mobilenet_v2().parameters()))
    3504872
    """
    network = nn.Sequential(conv_bn_relu6(3, 32, 3, stride=2))
    channels = 32
    for expansion, width, count, stride in TABLE_2:
        for i in range(count):
            step = stride if i == 0 else 1
            network.append(InvertedResidual(channels, width, step, expansion))
            channels = width
    head = nn.Dropout(0.2), nn.Linear(1280, num_classes)
    return network.extend(
        [conv_bn_relu6(channels, 1280, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), *head]
    )


def small_mobilenet() -> nn.Sequential:
    """Make a small MobileNetV2 for gray images (N, 1, 28, 28): 39,082 parameters.

    >>> import torch
    >>> small_mobilenet()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    return nn.Sequential(
        conv_bn_relu6(1, 16, 3, stride=2),  # 14 × 14
        InvertedResidual(16, 16, expansion=1),
        InvertedResidual(16, 24, stride=2, expansion=4),  # 7 × 7
        InvertedResidual(24, 24, expansion=4),
        InvertedResidual(24, 40, stride=2, expansion=4),  # 4 × 4
        InvertedResidual(40, 40, expansion=4),
        conv_bn_relu6(40, 128, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, 10),
    )
