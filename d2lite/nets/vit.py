"""Vision transformer: a picture is cut into patches, and each patch looks at all others.

From Dosovitskiy et al., "An image is worth 16x16 words: transformers for image recognition at
scale", ICLR 2021.
"""

import math

import torch
from torch import Tensor, nn

from d2lite.checks import checked, given, integer, tensor


def _fits(width: int, heads: int) -> None:
    if width % heads:
        raise ValueError(f"heads={heads}: must divide width={width}")


def _cuts(image_size: int, patch_size: int) -> None:
    if image_size % patch_size:
        raise ValueError(f"patch_size={patch_size}: must divide image_size={image_size}")


def _size(self: "ViT", images: Tensor) -> None:
    if not isinstance(self.patches, nn.Conv2d):
        return  # replaced, as by several convolutions
    side = math.isqrt(self.positions.shape[1] - 1) * self.patches.kernel_size[0]
    if images.shape[2:] != (side, side):
        raise ValueError(f"images{given(images)}: must be {side} × {side} pixels")


def encoder_layer(width: int, heads: int) -> nn.TransformerEncoderLayer:
    """Make attention over the tokens, then two layers on each token: (N, T, width) → the same.

    Each normalizes its input first, and adds what it computes to it; dropout is left out.

    >>> encoder_layer(16, heads=2)(torch.zeros(2, 5, 16)).shape
    torch.Size([2, 5, 16])
    """
    return nn.TransformerEncoderLayer(
        width, heads, 4 * width, dropout=0.0, activation="gelu",
        layer_norm_eps=1e-6, batch_first=True, norm_first=True,
    )  # fmt: skip


class ViT(nn.Module):
    """Patches become tokens, a token for the class comes first, and attention mixes them all.

    Args:
        in_channels: Channels of the images.
        image_size: Pixels along each side of an image.
        patch_size: Pixels along each side of a patch; must divide ``image_size``.
        width: Numbers in a token.
        depth: Layers of the encoder.
        heads: Of the attention; must divide ``width``.
        num_classes: Scores that come out.

    Raises:
        ValueError: If patches do not fit the image, heads the width, or images ``image_size``.

    >>> ViT(1, 28, 7, width=16, depth=2, heads=2, num_classes=10)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

    @checked(_cuts, _fits, patch_size=integer(at_least=1), depth=integer(at_least=0))
    def __init__(
        self,
        in_channels: int,
        image_size: int,
        patch_size: int,
        width: int,
        depth: int,
        heads: int,
        num_classes: int,
    ):
        super().__init__()
        tokens = (image_size // patch_size) ** 2
        self.patches = nn.Conv2d(in_channels, width, patch_size, stride=patch_size)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, tokens + 1, width))
        self.encoder = nn.Sequential(*[encoder_layer(width, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.fc = nn.Linear(width, num_classes)

    @checked(_size, images=tensor("(N, C, H, W)"))
    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, C, H, W) to scores (N, num_classes)."""
        x = self.patches(images).flatten(2).transpose(1, 2)  # (N, tokens, width)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], dim=1)
        x = self.encoder(x + self.positions)
        return self.fc(self.norm(x[:, 0]))


def vit_b_16(num_classes: int = 1000) -> ViT:
    """Make ViT-B/16, for images (N, 3, 224, 224): 86,567,656 parameters for 1,000 classes.

    >>> with torch.device("meta"):  # nothing is computed
    ...     print(sum(p.numel() for p in vit_b_16().parameters()))
    86567656
    """
    return ViT(3, 224, 16, width=768, depth=12, heads=12, num_classes=num_classes)


def small_vit(width: int = 48, depth: int = 2, patch_size: int = 7, num_classes: int = 10) -> ViT:
    """Make a small vision transformer for gray images (N, 1, 28, 28): 16 patches, 4 heads.

    >>> small_vit()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    return ViT(1, 28, patch_size, width, depth, heads=4, num_classes=num_classes)
