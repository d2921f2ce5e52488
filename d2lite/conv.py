"""Convolution: what a convolution layer computes, how, and how gradients flow back through it.

``corr2d`` is the definition, for one channel. ``conv2d`` is the same sum for a whole layer, as one
product of matrices: kernels as rows, and ``im2col``'s windows as columns.

The layer is linear, so it is a matrix itself: ``conv_matrix`` writes it out. The transpose of the
matrix is ``conv_transpose2d``. It also carries gradients from the output to the input: both
gradients of the layer are convolutions again.

The settings are the same everywhere, each an int for both axes or a pair (height, width):

- ``stride``: pixels from one window to the next;
- ``padding``: zeros added on *each* side;
- ``dilation``: pixels from one tap of the kernel to the next;
- ``groups``, an int: the channels are split into so many groups that do not see each other.

What does not fit raises a ValueError, what is of a wrong type a TypeError; the message names it.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from d2lite.checks import checked, given, integer, integers, optional, tensor
from d2lite.shapes import IntOrPair, conv_output_size, conv_transpose_output_size, pair

_IMAGES = tensor("(N, C_in, H, W)", floating=False, empty=True)
_KERNELS = tensor("(C_out, C_in / groups, kH, kW)", floating=False, empty=True)


def _fits_in(X: Tensor, K: Tensor) -> None:
    if K.shape[0] > X.shape[0] or K.shape[1] > X.shape[1]:
        raise ValueError(f"K{given(K)}: must fit in X{given(X)}")


@checked(_fits_in, X=tensor("(H, W)", floating=False), K=tensor("(kH, kW)", floating=False))
def corr2d(X: Tensor, K: Tensor) -> Tensor:
    """Cross-correlate one image with one kernel: slide, multiply element by element, sum.

    >>> corr2d(torch.arange(9.0).reshape(3, 3), torch.tensor([[0.0, 1.0], [2.0, 3.0]]))
    tensor([[19., 25.],
            [37., 43.]])

    X (H, W), K (kH, kW) → Y (H − kH + 1, W − kW + 1): a sum for each place where K fits in X.
    """
    (H, W), (kH, kW) = X.shape, K.shape
    Y = X.new_zeros(H - kH + 1, W - kW + 1, dtype=torch.result_type(X, K))
    for i in range(H - kH + 1):
        for j in range(W - kW + 1):
            Y[i, j] = (X[i : i + kH, j : j + kW] * K).sum()
    return Y


def _divides(groups: int, *channels: int) -> None:
    if any(number < 1 or number % groups for number in channels):
        raise ValueError(f"groups={groups}: must divide the {channels[-1]} channels")


def _channels_fit(input: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> None:
    (C_out, C), C_in, device = weight.shape[:2], input.shape[-3], input.device.type
    _divides(groups, C_out)
    if C_in != groups * C:
        raise ValueError(f"input: {C_in} channels, but weight takes {C} in each of {groups} groups")
    if bias is not None and bias.shape != (C_out,):
        raise ValueError(f"bias{given(bias)}: must be ({C_out},)")
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return  # it will give all of them the same type
    for name, value in {"weight": weight, "bias": bias}.items():
        if value is not None and value.dtype != input.dtype:
            raise TypeError(f"{name}{given(value)}: must be {input.dtype}, as the input")


@checked(
    _channels_fit,
    input=tensor("(N, C_in, H, W)", "(C_in, H, W)", floating=False, empty=True),
    weight=_KERNELS,
    bias=optional(tensor(floating=False, empty=True)),
    groups=integer(at_least=1),
)
def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntOrPair = 1,
    padding: IntOrPair | str = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> Tensor:
    """Compute a convolution layer: equal to ``torch.nn.functional.conv2d``, gradients included.

    >>> conv2d(torch.zeros(2, 3, 28, 28), torch.zeros(8, 3, 5, 5), stride=2, padding=2).shape
    torch.Size([2, 8, 14, 14])

    input (N, C_in, H, W) or (C_in, H, W), weight (C_out, C_in / groups, kH, kW), bias (C_out,) →
    (N, C_out, oH, oW) or (C_out, oH, oW), by ``shapes.conv_output_size``. Each output is the sum,
    over the channels and the taps, of a window times the kernel. The kernel is not rotated: what
    the field calls convolution is a cross-correlation.

    Padding may be ``"valid"``, which is 0, or ``"same"``, which keeps the size, at stride 1; the
    odd zero, if there is one, goes to the bottom or right. Under autocast the tensors' types may
    differ, as PyTorch has it.

    From LeCun et al., "Backpropagation applied to handwritten zip code recognition", 1989.
    """
    if input.ndim == 3:
        return conv2d(input[None], weight, bias, stride, padding, dilation, groups)[0]
    (N, _, H, W), (C_out, C, kH, kW) = input.shape, weight.shape
    oH, oW = conv_output_size((H, W), (kH, kW), stride, padding, dilation)
    columns = im2col(input, (kH, kW), stride, padding, dilation)
    columns = columns.reshape(N, groups, C * kH * kW, oH * oW)
    Y = weight.reshape(groups, C_out // groups, C * kH * kW) @ columns
    Y = Y.reshape(N, C_out, oH, oW)
    return Y if bias is None else Y + bias[:, None, None].to(Y)


@checked(kernel=tensor("(…, kH, kW)", floating=False, empty=True))
def rot180(kernel: Tensor) -> Tensor:
    """Rotate a kernel by 180°: cross-correlation with it is the convolution of mathematics.

    >>> rot180(torch.tensor([[1, 2], [3, 4]]))
    tensor([[4, 3],
            [2, 1]])

    (…, kH, kW) → (…, kH, kW), a copy; each of the kernels is rotated by itself.
    """
    return kernel.flip(-2, -1)


@checked(input=_IMAGES, kernel_size=integers(at_least=1))
def im2col(
    input: Tensor,
    kernel_size: IntOrPair,
    stride: IntOrPair = 1,
    padding: IntOrPair | str = 0,
    dilation: IntOrPair = 1,
) -> Tensor:
    """Copy every window of the input into a column: equal to ``torch.nn.functional.unfold``.

    >>> im2col(torch.arange(9.0).reshape(1, 1, 3, 3), kernel_size=2)[0, :, 0]
    tensor([0., 1., 3., 4.])

    (N, C, H, W) → (N, C·kH·kW, oH·oW): a row for each tap, a column for each output position.

    From Chellapilla, Puri and Simard, "High performance convolutional neural networks for document
    processing", 2006.
    """
    N, C, H, W = input.shape
    (kH, kW), (sH, sW), (dH, dW) = pair(kernel_size), pair(stride), pair(dilation)
    oH, oW = conv_output_size((H, W), (kH, kW), stride, padding, dilation)
    if padding == "same":  # as many zeros as the kernel would take away, the odd one at the end
        top, left = dH * (kH - 1) // 2, dW * (kW - 1) // 2
        bottom, right = dH * (kH - 1) - top, dW * (kW - 1) - left
    else:
        top, left = bottom, right = (0, 0) if isinstance(padding, str) else pair(padding)
    X = pad(input, (left, right, top, bottom))
    taps = [  # what all windows have at (i, j)
        X[..., i * dH :: sH, j * dW :: sW][..., :oH, :oW] for i in range(kH) for j in range(kW)
    ]
    return torch.stack(taps, dim=2).reshape(N, C * kH * kW, oH * oW)


def _columns_fit(columns: Tensor, taps: int, windows: int) -> None:
    if columns.shape[1] % taps or columns.shape[2] != windows:
        raise ValueError(f"columns{given(columns)}: must be (N, C·{taps}, {windows})")


@checked(
    lambda columns, output_size, kernel_size, stride, padding, dilation: _columns_fit(
        columns,
        math.prod(pair(kernel_size)),
        math.prod(conv_output_size(pair(output_size), kernel_size, stride, padding, dilation)),
    ),
    columns=tensor("(N, C·kH·kW, oH·oW)", floating=False, empty=True),
    kernel_size=integers(at_least=1),
    padding=integers(at_least=0),
)
def col2im(
    columns: Tensor,
    output_size: tuple[int, int],
    kernel_size: IntOrPair,
    stride: IntOrPair = 1,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
) -> Tensor:
    """Add every column back to where ``im2col`` found it: equal to ``torch.nn.functional.fold``.

    >>> col2im(torch.ones(1, 4, 4), output_size=(3, 3), kernel_size=2)[0, 0]
    tensor([[1., 2., 1.],
            [2., 4., 2.],
            [1., 2., 1.]])

    (N, C·kH·kW, oH·oW) → (N, C, H, W), of which ``output_size`` is (H, W); the settings are those
    given to ``im2col``. It is the transpose of ``im2col``, not its inverse: where windows overlap,
    values add up.
    """
    (H, W), (kH, kW), (sH, sW) = pair(output_size), pair(kernel_size), pair(stride)
    (pH, pW), (dH, dW) = pair(padding), pair(dilation)
    oH, oW = conv_output_size((H, W), kernel_size, stride, padding, dilation)
    taps = columns.reshape(len(columns), columns.shape[1] // (kH * kW), kH, kW, oH, oW)
    image = taps.new_zeros(*taps.shape[:2], H + 2 * pH, W + 2 * pW)
    for i in range(kH):
        for j in range(kW):
            tap = image[..., i * dH :: sH, j * dW :: sW][..., :oH, :oW]
            tap += taps[:, :, i, j]
    return image[..., pH : pH + H, pW : pW + W]


@checked(weight=_KERNELS)
def conv_matrix(
    weight: Tensor,
    input_size: tuple[int, int],
    stride: IntOrPair = 1,
    padding: IntOrPair | str = 0,
    dilation: IntOrPair = 1,
) -> Tensor:
    """Write a convolution out as the matrix that maps the flat input to the flat output.

    >>> conv_matrix(torch.tensor([[[[1.0, 2.0]]]]), input_size=(1, 4))
    tensor([[1., 2., 0., 0.],
            [0., 1., 2., 0.],
            [0., 0., 1., 2.]])

    weight (C_out, C_in, kH, kW) → (C_out·oH·oW, C_in·H·W), of which ``input_size`` is (H, W). Each
    column is what the layer makes of one pixel; each row holds one window's weights. With one
    channel and stride 1 it is doubly blocked Toeplitz: the same numbers along each diagonal.
    """
    H, W = pair(input_size)
    pixels = torch.eye(H * W).to(weight).view(H * W, 1, H, W)  # each alone in an image
    maps = conv2d(pixels, weight.flatten(0, 1)[:, None], None, stride, padding, dilation)
    return maps.unflatten(1, weight.shape[:2]).permute(1, 3, 4, 2, 0).flatten(3).flatten(0, 2)


@checked(
    lambda weight, groups: _divides(groups, len(weight)),
    lambda input, weight, stride, padding, output_padding, dilation: conv_transpose_output_size(
        input.shape[2:], weight.shape[2:], stride, padding, output_padding, dilation
    ),
    input=_IMAGES,
    weight=tensor("(C_in, C_out / groups, kH, kW)", floating=False, empty=True),
    groups=integer(at_least=1),
)
def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntOrPair = 1,
    padding: IntOrPair = 0,
    output_padding: IntOrPair = 0,
    groups: int = 1,
    dilation: IntOrPair = 1,
) -> Tensor:
    """Compute a transposed convolution: equal to ``torch.nn.functional.conv_transpose2d``.

    >>> kernels = torch.zeros(8, 3, 4, 4)
    >>> conv_transpose2d(torch.zeros(2, 8, 7, 7), kernels, stride=2, padding=1).shape
    torch.Size([2, 3, 14, 14])

    input (N, C_in, H, W), weight (C_in, C_out / groups, kH, kW), bias (C_out,) →
    (N, C_out, oH, oW), by ``shapes.conv_transpose_output_size``. Weight, stride, padding and
    dilation are those of the convolution that it is the transpose of. So stride s puts s − 1 zeros
    between the pixels of the input, and padding takes pixels off each side of the output;
    ``output_padding`` adds some at the bottom and the right.

    From Zeiler, Krishnan, Taylor and Fergus, "Deconvolutional networks", 2010, and Dumoulin and
    Visin, "A guide to convolution arithmetic for deep learning", 2016.
    """
    (N, C_in, H, W), (kH, kW) = input.shape, weight.shape[2:]
    (sH, sW), (pH, pW), (dH, dW) = pair(stride), pair(padding), pair(dilation)
    eH, eW = pair(output_padding)
    spread = input.new_zeros(N, C_in, (H - 1) * sH + 1, (W - 1) * sW + 1)
    spread[..., ::sH, ::sW] = input
    top, left = dH * (kH - 1) - pH, dW * (kW - 1) - pW  # below 0, pad takes off
    spread = pad(spread, (left, left + eW, top, top + eH))
    kernels = rot180(weight).unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    return conv2d(spread, kernels, bias, dilation=dilation, groups=groups)


def _gradient_fits(grad_output: Tensor, size: tuple[int, int]) -> None:
    if grad_output.ndim != 4 or grad_output.shape[2:] != size:
        raise ValueError(f"grad_output{given(grad_output)}: must be (N, C_out, *{size})")


@checked(
    lambda input_size, weight, grad_output, stride, padding, dilation: _gradient_fits(
        grad_output,
        conv_output_size(pair(input_size), weight.shape[2:], stride, padding, dilation),
    ),
    padding=integers(at_least=0),
)
def conv2d_input_grad(
    input_size: tuple[int, int],
    weight: Tensor,
    grad_output: Tensor,
    stride: IntOrPair = 1,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> Tensor:
    """Carry the gradient from the output of ``conv2d`` to its input: ∂L/∂X, given ∂L/∂Y.

    >>> conv2d_input_grad((3, 3), torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2))[0, 0]
    tensor([[1., 2., 1.],
            [2., 4., 2.],
            [1., 2., 1.]])

    weight (C_out, C_in / groups, kH, kW), ∂L/∂Y (N, C_out, oH, oW) → ∂L/∂X (N, C_in, H, W), of
    which ``input_size`` is (H, W). It is the transposed convolution with the same kernels: each
    pixel collects, from every window that read it, the gradient there times the weight that it met.
    """
    (H, W), (kH, kW), (sH, sW) = pair(input_size), weight.shape[2:], pair(stride)
    (pH, pW), (dH, dW) = pair(padding), pair(dilation)
    unread = (H + 2 * pH - dH * (kH - 1) - 1) % sH, (W + 2 * pW - dW * (kW - 1) - 1) % sW
    return conv_transpose2d(grad_output, weight, None, stride, padding, unread, groups, dilation)


@checked(
    lambda input, kernel_size, grad_output, stride, padding, dilation: _gradient_fits(
        grad_output, conv_output_size(input.shape[2:], kernel_size, stride, padding, dilation)
    ),
    lambda input, grad_output, groups: _divides(groups, input.shape[1], grad_output.shape[1]),
    padding=integers(at_least=0),
    groups=integer(at_least=1),
)
def conv2d_weight_grad(
    input: Tensor,
    kernel_size: tuple[int, int],
    grad_output: Tensor,
    stride: IntOrPair = 1,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> Tensor:
    """Carry the gradient from the output of ``conv2d`` to its kernels: ∂L/∂W, given ∂L/∂Y.

    >>> conv2d_weight_grad(torch.arange(4.0).reshape(1, 1, 2, 2), (1, 1), torch.ones(1, 1, 2, 2))
    tensor([[[[6.]]]])

    input (N, C_in, H, W), ∂L/∂Y (N, C_out, oH, oW) → ∂L/∂W (C_out, C_in / groups, kH, kW), of which
    ``kernel_size`` is (kH, kW). It is the input cross-correlated with the gradient, summed over the
    batch. Stride and dilation change places: the gradient's pixels meet inputs a stride apart.
    """
    kH, kW = pair(kernel_size)
    grads = [  # the channels play the batch, and the batch plays the channels
        conv2d(X.transpose(0, 1), G.transpose(0, 1), None, dilation, padding, stride)
        for X, G in zip(input.chunk(groups, 1), grad_output.chunk(groups, 1), strict=True)
    ]
    return torch.cat([grad[..., :kH, :kW].transpose(0, 1) for grad in grads])
