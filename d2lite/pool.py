"""Pooling: shrink an image by making each window one number; and upsampling, the way back up.

All take (N, C, H, W), or (C, H, W) without a batch, treat each channel by itself and have nothing
to learn. A setting is an int, for both axes, or a pair (height, width), in pixels. They raise a
TypeError if the input is not a floating-point tensor or a setting not an int, and a ValueError if a
shape or a setting does not fit; the message says which. In half precision sums are in float32.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

from d2lite.checks import checked, integers, tensor
from d2lite.conv import conv2d
from d2lite.shapes import IntOrPair, pair, pool_output_size


def _image(value: Tensor) -> None:
    tensor("(N, C, H, W)", "(C, H, W)", empty=True)(value)
    if 0 in value.shape[-3:]:
        raise ValueError("must not be empty")


@checked(input=_image)
def max_pool2d(
    input: Tensor,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """Take the largest pixel of each window, the first if several tie; it gets all the gradient.

    Equal to ``torch.nn.functional.max_pool2d``.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size: The size of the window.
        stride: From one window to the next; the kernel size unless given.
        padding: −∞ added on *each* side, at most half the kernel size.
        dilation: From one pixel of the window to the next.
        ceil_mode: Round the output size up: a last window may reach beyond the end.

    Returns:
        (N, C, oH, oW) or (C, oH, oW); see ``shapes.pool_output_size``.

    Compared with averaging by Scherer, Müller and Behnke, "Evaluation of pooling operations in
    convolutional architectures for object recognition", 2010.

    >>> max_pool2d(torch.arange(16.0).reshape(1, 4, 4), kernel_size=2)
    tensor([[[ 5.,  7.],
             [13., 15.]]])
    """
    H, W = input.shape[-2:]
    size = pool_output_size((H, W), kernel_size, stride, padding, dilation, ceil_mode)
    pH, pW = pair(padding)
    X = pad(input, (pW, pW, pH, pH), value=-math.inf)
    return _taps(X, size, kernel_size, stride, dilation, beyond=-math.inf).max(dim=0).values


@checked(input=_image)
def avg_pool2d(
    input: Tensor,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Average the pixels of each window, equal to ``torch.nn.functional.avg_pool2d``.

    Arguments and result are those of ``max_pool2d``, but the padding is 0. With
    ``count_include_pad`` these zeros count as pixels, which darkens the border; what ``ceil_mode``
    adds beyond the padding never counts.

    From LeCun et al., "Gradient-based learning applied to document recognition", 1998; there with
    a weight and a bias to learn for each channel.

    >>> avg_pool2d(torch.arange(16.0).reshape(1, 4, 4), kernel_size=2)
    tensor([[[ 2.5000,  4.5000],
             [10.5000, 12.5000]]])
    """
    H, W = input.shape[-2:]
    size = pool_output_size((H, W), kernel_size, stride, padding, ceil_mode=ceil_mode)
    pH, pW = pair(padding)
    X = input.to(torch.promote_types(input.dtype, torch.float32))
    images = pad(X, (pW, pW, pH, pH))
    counted = pad(X.new_ones(H, W), (pW, pW, pH, pH), value=float(count_include_pad))
    total, count = (_taps(X, size, kernel_size, stride).sum(dim=0) for X in (images, counted))
    return (total / count).to(input.dtype)


@checked(input=_image, output_size=integers(at_least=1))
def adaptive_avg_pool2d(input: Tensor, output_size: IntOrPair) -> Tensor:
    """Average over as many windows as the output has pixels: (N, C, H, W) → (N, C, oH, oW).

    Window i of n reaches from ⌊iH / n⌋ to ⌈(i + 1)H / n⌉: together they cover the input, and they
    overlap where H / n is not whole. Equal to ``torch.nn.functional.adaptive_avg_pool2d``.

    >>> adaptive_avg_pool2d(torch.arange(16.0).reshape(1, 4, 4), output_size=(1, 2))
    tensor([[[6.5000, 8.5000]]])
    """
    return _adaptive(input, output_size, lambda pixels: pixels.mean(dim=-1))


@checked(input=_image, output_size=integers(at_least=1))
def adaptive_max_pool2d(input: Tensor, output_size: IntOrPair) -> Tensor:
    """Take the largest pixel of each window of ``adaptive_avg_pool2d``, equal to PyTorch's.

    >>> adaptive_max_pool2d(torch.arange(16.0).reshape(1, 4, 4), output_size=(1, 2))
    tensor([[[13., 15.]]])
    """
    return _adaptive(input, output_size, lambda pixels: pixels.max(dim=-1).values)


@checked(input=_image)
def global_avg_pool2d(input: Tensor) -> Tensor:
    """Average each channel over the whole image: (N, C, H, W) → (N, C).

    From Lin, Chen and Yan, "Network in network", 2014.

    >>> global_avg_pool2d(torch.arange(16.0).reshape(1, 1, 4, 4))
    tensor([[7.5000]])
    """
    return input.mean(dim=(-2, -1))


def _half_fits(input: Tensor, kernel_size: IntOrPair) -> None:
    (H, W), (kH, kW) = input.shape[-2:], pair(kernel_size)
    if kH // 2 >= H or kW // 2 >= W:
        raise ValueError(f"kernel_size={kernel_size}: half of it must be < the input's {H} × {W}")


@checked(_half_fits, input=_image, kernel_size=integers(at_least=1))
def blur_pool2d(input: Tensor, kernel_size: IntOrPair = 3, stride: IntOrPair = 2) -> Tensor:
    """Blur, then keep every ``stride``-th pixel: (N, C, H, W) → (N, C, ⌈H / s⌉, ⌈W / s⌉).

    The kernel is binomial: of size 3, (1, 2, 1) / 4 along each axis. The border is mirrored, by one
    pixel more at the bottom and right if the size is even. Anti-aliased max-pooling is
    ``max_pool2d`` with stride 1, then this.

    From Zhang, "Making convolutional networks shift-invariant again", 2019.

    >>> blur_pool2d(torch.tensor([[[0.0, 4.0, 0.0, 4.0]] * 2]))
    tensor([[[2., 2.]]])
    """
    (C, H, W), (kH, kW) = input.shape[-3:], pair(kernel_size)
    X = input[..., _mirrored(H, kH), :][..., _mirrored(W, kW)]
    weights = ([math.comb(k - 1, i) for i in range(k)] for k in (kH, kW))
    column, row = (torch.tensor(w, dtype=input.dtype, device=input.device) for w in weights)
    K = torch.outer(column / column.sum(), row / row.sum())
    return conv2d(X, K.expand(C, 1, kH, kW), stride=stride, groups=C)  # each channel by itself


@checked(input=_image, size=integers(at_least=1))
def upsample_nearest(input: Tensor, size: IntOrPair) -> Tensor:
    """Repeat pixels: (N, C, H, W) → (N, C, oH, oW), where output i is input ⌊iH / oH⌋.

    Equal to ``torch.nn.functional.interpolate(mode="nearest")``, except at a few sizes, such as
    26 → 22, where that rounds in single precision and is a pixel off.

    >>> upsample_nearest(torch.tensor([[[1.0, 2.0]]]), size=(1, 4))
    tensor([[[1., 1., 2., 2.]]])
    """
    (H, W), (oH, oW) = input.shape[-2:], pair(size)
    rows, columns = torch.arange(oH) * H // oH, torch.arange(oW) * W // oW
    return input[..., rows, :][..., columns]


@checked(input=_image, size=integers(at_least=1))
def upsample_bilinear(input: Tensor, size: IntOrPair, align_corners: bool = False) -> Tensor:
    """Fill in between pixels along straight lines: (N, C, H, W) → (N, C, oH, oW).

    Pixels are small squares, and the two images' edges meet; with ``align_corners`` they are points
    and the corner points meet. Equal to ``torch.nn.functional.interpolate(mode="bilinear")``.

    >>> upsample_bilinear(torch.tensor([[[0.0, 4.0]]]), size=(1, 4))
    tensor([[[0., 1., 3., 4.]]])
    >>> upsample_bilinear(torch.tensor([[[0.0, 3.0]]]), size=(1, 4), align_corners=True)
    tensor([[[0., 1., 2., 3.]]])
    """
    (H, W), (oH, oW) = input.shape[-2:], pair(size)
    top, bottom, down = _between(H, oH, align_corners)
    left, right, along = _between(W, oW, align_corners)
    X = torch.lerp(input[..., top, :], input[..., bottom, :], down.to(input)[:, None])
    return torch.lerp(X[..., left], X[..., right], along.to(input))


def _taps(
    X: Tensor,
    size: tuple[int, int],
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    dilation: IntOrPair = 1,
    beyond: float = 0.0,
) -> Tensor:
    """Stack, for each place in the window, what all windows see there: (kH·kW, …, oH, oW)."""
    (oH, oW), (kH, kW) = size, pair(kernel_size)
    (sH, sW), (dH, dW) = pair(stride or kernel_size), pair(dilation)
    rH, rW = sH * (oH - 1) + 1, sW * (oW - 1) + 1  # from the first to the last window's first pixel
    H, W = rH + dH * (kH - 1), rW + dW * (kW - 1)  # up to the last window's end
    X = pad(X, (0, W - X.shape[-1], 0, H - X.shape[-2]), value=beyond)  # adds, or cuts off
    places = [(i, j) for i in range(0, dH * kH, dH) for j in range(0, dW * kW, dW)]
    return torch.stack([X[..., i : i + rH : sH, j : j + rW : sW] for i, j in places])


def _adaptive(input: Tensor, output_size: IntOrPair, pool: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply ``pool``, (…, pixels) → (…), to each adaptive window."""
    (H, W), (oH, oW) = input.shape[-2:], pair(output_size)
    rows = [slice(i * H // oH, math.ceil((i + 1) * H / oH)) for i in range(oH)]
    columns = [slice(j * W // oW, math.ceil((j + 1) * W / oW)) for j in range(oW)]
    pixels = [pool(input[..., row, column].flatten(-2)) for row in rows for column in columns]
    return torch.stack(pixels, dim=-1).unflatten(-1, (oH, oW))


def _mirrored(size: int, kernel_size: int) -> Tensor:
    """Number the pixels of a row that is mirrored at its ends, as far as a kernel reaches."""
    i = torch.arange(-((kernel_size - 1) // 2), size + kernel_size // 2).abs()
    return size - 1 - (size - 1 - i).abs()


def _between(size: int, new_size: int, align_corners: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Find, for each new pixel, the two old ones that it lies between, and how far along."""
    i = torch.arange(new_size, dtype=torch.float64)
    if align_corners:
        position = i * (size - 1) / max(new_size - 1, 1)
    else:
        position = ((i + 0.5) * size / new_size - 0.5).clamp(min=0)
    before = position.long()
    return before, (before + 1).clamp(max=size - 1), position - before
