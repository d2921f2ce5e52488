"""A generative adversarial network: one network makes images, another tells them from real ones.

The game from Goodfellow et al., "Generative adversarial nets", 2014; the two networks from Radford,
Metz and Chintala, "Unsupervised representation learning with deep convolutional generative
adversarial networks" (DCGAN), 2016, with fewer channels and for gray images of 28 × 28.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from d2lite.checks import boolean, checked, integer, one_of, tensor


@checked(z_dim=integer(at_least=1), channels=integer(at_least=1), size=one_of(14, 28))
def generator(z_dim: int = 64, channels: int = 16, size: int = 28) -> nn.Sequential:
    """Make the network that turns noise (N, z_dim) into images (N, 1, size, size) from −1 to 1.

    A transposed convolution spreads the noise over 7 × 7 places, and each further one doubles the
    size; batch normalization and ReLU follow each but the last, which tanh follows.

    >>> import torch
    >>> generator()(torch.randn(2, 64)).shape
    torch.Size([2, 1, 28, 28])
    """
    network = nn.Sequential(nn.Unflatten(1, (z_dim, 1, 1)))
    widths = {14: [2 * channels], 28: [2 * channels, channels]}[size]
    before, shape = z_dim, (7, 1, 0)  # kernel, stride, padding
    for width in widths:
        network.append(nn.ConvTranspose2d(before, width, *shape, bias=False))
        network.append(nn.BatchNorm2d(width)).append(nn.ReLU())
        before, shape = width, (4, 2, 1)
    network.append(nn.ConvTranspose2d(before, 1, *shape)).append(nn.Tanh())
    return start(network)


@checked(channels=integer(at_least=1), size=one_of(14, 28))
def discriminator(channels: int = 16, size: int = 28) -> nn.Sequential:
    """Make the network that scores images (N, 1, size, size): (N,), the logit of "real".

    Two convolutions of stride 2 halve the size; LeakyReLU follows each, and batch normalization the
    second. A last one sees all places.

    >>> import torch
    >>> discriminator()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2])
    """
    wide = 2 * channels
    network = nn.Sequential(
        nn.Conv2d(1, channels, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(channels, wide, 4, 2, 1, bias=False),
        nn.BatchNorm2d(wide), nn.LeakyReLU(0.2),
        nn.Conv2d(wide, 1, size // 4), nn.Flatten(0),
    )  # fmt: skip
    return start(network)


def start(network: nn.Sequential) -> nn.Sequential:
    """Draw the kernels with a standard deviation of 0.02, as the paper does; biases are 0.

    >>> start(nn.Sequential(nn.Conv2d(1, 2, 3)))[0].bias.tolist()
    [0.0, 0.0]
    """
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network


@checked(real=tensor(), made=tensor())
def discriminator_loss(real: Tensor, made: Tensor) -> Tensor:
    """Average −ln D(x) over real images and −ln(1 − D(x)) over made ones; add both.

    Args:
        real: Logits of real images, any shape; D is their sigmoid.
        made: Logits of made images.

    >>> import torch
    >>> discriminator_loss(torch.tensor([2.2]), torch.tensor([-1.39]))
    tensor(0.3275)
    """
    return F.softplus(-real).mean() + F.softplus(made).mean()


@checked(made=tensor(), saturating=boolean)
def generator_loss(made: Tensor, saturating: bool = False) -> Tensor:
    """Average −ln D(x) over made images; or, saturating, ln(1 − D(x)), the game as it is written.

    Args:
        made: Logits of made images, any shape; D is their sigmoid.
        saturating: Whether to take the second, whose gradient vanishes where D is near 0.

    >>> import torch
    >>> generator_loss(torch.tensor([-1.39])), generator_loss(torch.tensor([-1.39]), True)
    (tensor(1.6124), tensor(-0.2224))
    """
    return -F.softplus(made).mean() if saturating else F.softplus(-made).mean()
