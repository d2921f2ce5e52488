"""Convolution: what a convolution layer computes, how, and how gradients flow back through it.

``corr2d`` is the definition, for one channel. ``conv2d`` is the same sum for a whole layer: with
batches, channels, stride, padding, dilation and groups, as ``torch.nn.functional.conv2d``.

The layer is linear, so it is a matrix: ``conv_matrix`` writes it out, ``im2col`` arranges the input
so that a small dense one does. The transpose of the matrix is ``conv_transpose2d``. It also carries
gradients from the output to the input: both gradients of the layer are convolutions again.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from d2lite.shapes import IntOrPair, conv_output_size, conv_transpose_output_size, pair


def corr2d(X: Tensor, K: Tensor) -> Tensor:
    """Cross-correlate one image with one kernel: slide, multiply element by element, sum.

    Args:
        X: The image, (H, W).
        K: The kernel, (kH, kW), no larger than the image.

    Returns:
        (H − kH + 1, W − kW + 1): one sum for each place where the kernel fits in the image.

    Raises:
        ValueError: If either is not 2-D, or the kernel is empty or larger than the image.

    >>> corr2d(torch.arange(9.0).reshape(3, 3), torch.tensor([[0.0, 1.0], [2.0, 3.0]]))
    tensor([[19., 25.],
            [37., 43.]])
    """
    if X.ndim != 2 or K.ndim != 2:
        raise ValueError(f"X {tuple(X.shape)}, K {tuple(K.shape)}: must both be 2-D")
    (H, W), (kH, kW) = X.shape, K.shape
    if not (1 <= kH <= H and 1 <= kW <= W):
        raise ValueError(f"K {tuple(K.shape)}: must fit in X {tuple(X.shape)}")
    Y = X.new_zeros(H - kH + 1, W - kW + 1, dtype=torch.result_type(X, K))
    for i in range(H - kH + 1):
        for j in range(W - kW + 1):
            Y[i, j] = (X[i : i + kH, j : j + kW] * K).sum()
    return Y


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

    What the field calls convolution is a cross-correlation: the kernel is not rotated. Each output
    is the sum, over the channels and the kernel, of a window times the kernel.

    Args:
        input: (N, C_in, H, W), or (C_in, H, W) without a batch.
        weight: The kernels, (C_out, C_in / groups, kH, kW).
        bias: (C_out,), added to every position of its channel.
        stride: Pixels from one window to the next.
        padding: Zeros added on *each* side; ``"valid"`` is 0; ``"same"`` keeps the size (stride 1
            only) and puts the odd zero, if there is one, at the bottom or right.
        dilation: Pixels from one tap of the kernel to the next.
        groups: Split the channels into this many groups that do not see each other.

    Returns:
        (N, C_out, oH, oW), or (C_out, oH, oW); see ``shapes.conv_output_size``.

    Raises:
        ValueError: If a shape or a setting does not fit; the message says which.
        TypeError: If a setting is not an int (or pair), or the tensors differ in dtype.

    From LeCun et al., "Backpropagation applied to handwritten zip code recognition", 1989.

    >>> conv2d(torch.zeros(2, 3, 28, 28), torch.zeros(8, 3, 5, 5), stride=2, padding=2).shape
    torch.Size([2, 8, 14, 14])
    """
    _check(input, weight, bias, groups)
    if input.ndim == 3:
        return conv2d(input[None], weight, bias, stride, padding, dilation, groups)[0]
    C_in, (C_out, _, kH, kW) = input.shape[1], weight.shape
    windows = _windows(input, (kH, kW), stride, padding, dilation)  # (N, C_in, oH, oW, kH, kW)
    windows = windows.unflatten(1, (groups, C_in // groups))
    K = weight.unflatten(0, (groups, C_out // groups))
    Y = torch.einsum("ngchwij,gocij->ngohw", windows, K).flatten(1, 2).contiguous()
    return Y if bias is None else Y + bias[:, None, None]


def rot180(kernel: Tensor) -> Tensor:
    """Rotate a kernel by 180°: cross-correlation with it is the convolution of mathematics.

    Args:
        kernel: (…, kH, kW); each of the kernels is rotated by itself.

    Returns:
        The rotated copy, (…, kH, kW).

    Raises:
        ValueError: If the kernel has fewer than two dimensions.

    >>> rot180(torch.tensor([[1, 2], [3, 4]]))
    tensor([[4, 3],
            [2, 1]])
    """
    if kernel.ndim < 2:
        raise ValueError(f"kernel: shape {tuple(kernel.shape)}, must be (…, kH, kW)")
    return kernel.flip(-2, -1)


def im2col(
    input: Tensor,
    kernel_size: IntOrPair,
    stride: IntOrPair = 1,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
) -> Tensor:
    """Copy every window of the input into a column: equal to ``torch.nn.functional.unfold``.

    Args:
        input: (N, C, H, W).
        kernel_size: Height and width of the windows.
        stride: Pixels from one window to the next.
        padding: Zeros added on each side.
        dilation: Pixels from one tap of a window to the next.

    Returns:
        (N, C·kH·kW, oH·oW): a row for each tap, a column for each position of the output.

    Raises:
        ValueError: If the input is not 4-D, or a setting does not fit.
        TypeError: If a setting is not an int (or pair).

    From Chellapilla, Puri and Simard, "High performance convolutional neural networks for document
    processing", 2006.

    >>> im2col(torch.arange(9.0).reshape(1, 1, 3, 3), kernel_size=2)[0, :, 0]
    tensor([0., 1., 3., 4.])
    """
    if input.ndim != 4:
        raise ValueError(f"input: shape {tuple(input.shape)}, must be (N, C, H, W)")
    windows = _windows(input, pair("kernel_size", kernel_size), stride, padding, dilation)
    return windows.permute(0, 1, 4, 5, 2, 3).flatten(4).flatten(1, 3)


def col2im(
    columns: Tensor,
    output_size: tuple[int, int],
    kernel_size: IntOrPair,
    stride: IntOrPair = 1,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
) -> Tensor:
    """Add every column back to where ``im2col`` found it: equal to ``torch.nn.functional.fold``.

    It is the transpose of ``im2col``, not its inverse: where windows overlap, values add up.

    Args:
        columns: (N, C·kH·kW, oH·oW).
        output_size: (H, W) of the image to add into.
        kernel_size: As given to ``im2col``.
        stride: As given to ``im2col``.
        padding: As given to ``im2col``.
        dilation: As given to ``im2col``.

    Returns:
        (N, C, H, W).

    Raises:
        ValueError: If the columns are not as many, or as long, as those settings make them.
        TypeError: If a setting is not an int (or pair).

    >>> col2im(torch.ones(1, 4, 4), output_size=(3, 3), kernel_size=2)[0, 0]
    tensor([[1., 2., 1.],
            [2., 4., 2.],
            [1., 2., 1.]])
    """
    kH, kW = pair("kernel_size", kernel_size)
    positions = math.prod(conv_output_size(output_size, (kH, kW), stride, padding, dilation))
    if columns.ndim != 3 or columns.shape[1] % (kH * kW) or columns.shape[2] != positions:
        raise ValueError(
            f"columns: shape {tuple(columns.shape)}, must be (N, C·{kH * kW}, {positions})"
        )
    N, C, (H, W) = columns.shape[0], columns.shape[1] // (kH * kW), output_size
    number = torch.arange(1, 1 + C * H * W, device=columns.device)  # 0 is padding
    pixel = im2col(number.view(1, C, H, W), kernel_size, stride, padding, dilation).flatten()
    image = columns.new_zeros(N, 1 + C * H * W).index_add(1, pixel, columns.flatten(1))
    return image[:, 1:].reshape(N, C, H, W)


def conv2d_im2col(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntOrPair = 1,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
) -> Tensor:
    """Compute a convolution layer as one product of matrices: kernels as rows, windows as columns.

    Arguments, result and errors are those of ``conv2d``, without groups and named paddings.

    >>> conv2d_im2col(torch.zeros(2, 3, 28, 28), torch.zeros(8, 3, 5, 5), padding=2).shape
    torch.Size([2, 8, 28, 28])
    """
    _check(input, weight, bias, groups=1)
    (_, _, H, W), (_, _, kH, kW) = input.shape, weight.shape
    oH, oW = conv_output_size((H, W), (kH, kW), stride, padding, dilation)
    Y = weight.flatten(1) @ im2col(input, (kH, kW), stride, padding, dilation)
    Y = Y.unflatten(2, (oH, oW))
    return Y if bias is None else Y + bias[:, None, None]


def conv_matrix(
    weight: Tensor,
    input_size: tuple[int, int],
    stride: IntOrPair = 1,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
) -> Tensor:
    """Write a convolution out as the matrix that maps the flat input to the flat output.

    A row holds one window's weights, and zeros wherever the window does not reach. With one channel
    and stride 1 it is doubly blocked Toeplitz: the same numbers along each diagonal.

    Args:
        weight: (C_out, C_in, kH, kW).
        input_size: (H, W) of the input.
        stride: As for ``conv2d``.
        padding: As for ``conv2d``, without named paddings.
        dilation: As for ``conv2d``.

    Returns:
        (C_out·oH·oW, C_in·H·W). Memory grows with the square of the number of pixels.

    Raises:
        ValueError: If the weight is not 4-D, or a setting does not fit.
        TypeError: If a setting is not an int (or pair).

    >>> conv_matrix(torch.tensor([[[[1.0, 2.0]]]]), input_size=(1, 4))
    tensor([[1., 2., 0., 0.],
            [0., 1., 2., 0.],
            [0., 0., 1., 2.]])
    """
    if weight.ndim != 4:
        raise ValueError(f"weight: shape {tuple(weight.shape)}, must be (C_out, C_in, kH, kW)")
    (C_out, C_in, kH, kW), (H, W) = weight.shape, input_size
    number = torch.arange(1, 1 + C_in * H * W, device=weight.device)  # 0 is padding
    pixel = im2col(number.view(1, C_in, H, W), (kH, kW), stride, padding, dilation)[0].T
    rows = weight.new_zeros(C_out, len(pixel), 1 + C_in * H * W)
    taps = weight.flatten(1)[:, None].expand(-1, len(pixel), -1)
    return rows.scatter_add(2, pixel.expand(C_out, -1, -1), taps)[..., 1:].flatten(0, 1)


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

    Spread the input out with stride − 1 zeros between its pixels, pad it by the kernel's reach, and
    convolve with stride 1 and the kernels rotated by 180°. What padding adds to the input of a
    convolution, it here takes off the output.

    Args:
        input: (N, C_in, H, W).
        weight: The kernels, (C_in, C_out / groups, kH, kW): those of the convolution that it is the
            transpose of.
        bias: (C_out,).
        stride: Pixels of the output from one pixel of the input to the next.
        padding: Pixels taken off each side of the output.
        output_padding: Pixels added to the output at the bottom and the right.
        groups: Split the channels into this many groups that do not see each other.
        dilation: Pixels from one tap of the kernel to the next.

    Returns:
        (N, C_out, oH, oW); see ``shapes.conv_transpose_output_size``.

    Raises:
        ValueError: If a shape or a setting does not fit.
        TypeError: If a setting is not an int (or pair), or the tensors differ in dtype.

    From Zeiler, Krishnan, Taylor and Fergus, "Deconvolutional networks", 2010, and Dumoulin and
    Visin, "A guide to convolution arithmetic for deep learning", 2016.

    >>> kernels = torch.zeros(8, 3, 4, 4)
    >>> conv_transpose2d(torch.zeros(2, 8, 7, 7), kernels, stride=2, padding=1).shape
    torch.Size([2, 3, 14, 14])
    """
    if input.ndim != 4 or weight.ndim != 4:
        raise ValueError(
            f"input {tuple(input.shape)}, weight {tuple(weight.shape)}: must both be 4-D"
        )
    if input.shape[1] != len(weight):
        raise ValueError(f"input: {input.shape[1]} channels, but weight takes {len(weight)}")
    if isinstance(groups, bool) or not isinstance(groups, int):
        raise TypeError(f"groups={groups!r}: must be an int")
    if groups < 1 or len(weight) % groups:
        raise ValueError(f"groups={groups}: must be ≥ 1 and divide the {len(weight)} channels")
    (N, C_in, H, W), (_, _, kH, kW) = input.shape, weight.shape
    settings = stride, padding, output_padding, dilation
    conv_transpose_output_size((H, W), (kH, kW), *settings)  # checks the settings
    (sH, sW), (dH, dW) = pair("stride", stride), pair("dilation", dilation)
    (pH, pW), (eH, eW) = pair("padding", padding), pair("output_padding", output_padding)

    spread = input.new_zeros(N, C_in, (H - 1) * sH + 1, (W - 1) * sW + 1)
    spread[..., ::sH, ::sW] = input
    top, left = dH * (kH - 1) - pH, dW * (kW - 1) - pW  # below 0, pad takes off
    spread = pad(spread, (left, left + eW, top, top + eH))
    kernels = rot180(weight).unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    return conv2d(spread, kernels, bias, dilation=dilation, groups=groups)


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

    It is the transposed convolution with the same kernels. Each input pixel collects, from every
    window that read it, the gradient there times the weight that it met.

    Args:
        input_size: (H, W) of the input.
        weight: (C_out, C_in / groups, kH, kW).
        grad_output: ∂L/∂Y, (N, C_out, oH, oW).
        stride: As for ``conv2d``.
        padding: As for ``conv2d``, without named paddings.
        dilation: As for ``conv2d``.
        groups: As for ``conv2d``.

    Returns:
        ∂L/∂X, (N, C_in, H, W).

    Raises:
        ValueError: If ``grad_output`` is not of the size that these settings give.
        TypeError: If a setting is not an int (or pair).

    >>> conv2d_input_grad((3, 3), torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2))[0, 0]
    tensor([[1., 2., 1.],
            [2., 4., 2.],
            [1., 2., 1.]])
    """
    (H, W), (_, _, kH, kW) = input_size, weight.shape
    _check_grad(grad_output, conv_output_size((H, W), (kH, kW), stride, padding, dilation))
    (sH, sW), (dH, dW) = pair("stride", stride), pair("dilation", dilation)
    pH, pW = pair("padding", padding)
    unread = (H + 2 * pH - dH * (kH - 1) - 1) % sH, (W + 2 * pW - dW * (kW - 1) - 1) % sW
    return conv_transpose2d(grad_output, weight, None, stride, padding, unread, groups, dilation)


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

    It is the input cross-correlated with the gradient, summed over the batch. Stride and dilation
    change places: the gradient's pixels meet inputs that are a stride apart.

    Args:
        input: (N, C_in, H, W).
        kernel_size: (kH, kW).
        grad_output: ∂L/∂Y, (N, C_out, oH, oW).
        stride: As for ``conv2d``.
        padding: As for ``conv2d``, without named paddings.
        dilation: As for ``conv2d``.
        groups: As for ``conv2d``.

    Returns:
        ∂L/∂W, (C_out, C_in / groups, kH, kW).

    Raises:
        ValueError: If ``grad_output`` is not of the size that these settings give.
        TypeError: If a setting is not an int (or pair).

    >>> conv2d_weight_grad(torch.arange(4.0).reshape(1, 1, 2, 2), (1, 1), torch.ones(1, 1, 2, 2))
    tensor([[[[6.]]]])
    """
    _, _, H, W = input.shape
    _check_grad(grad_output, conv_output_size((H, W), kernel_size, stride, padding, dilation))
    kH, kW = kernel_size
    grads = [  # the channels play the batch, and the batch plays the channels
        conv2d(X.transpose(0, 1), G.transpose(0, 1), None, dilation, padding, stride)
        for X, G in zip(input.chunk(groups, 1), grad_output.chunk(groups, 1), strict=True)
    ]
    return torch.cat([grad[..., :kH, :kW].transpose(0, 1) for grad in grads])


def _windows(
    X: Tensor,
    kernel_size: tuple[int, int],
    stride: IntOrPair,
    padding: IntOrPair | str,
    dilation: IntOrPair,
) -> Tensor:
    """View the padded (N, C, H, W) as its windows, (N, C, oH, oW, kH, kW); check the settings."""
    H, W = X.shape[-2:]
    conv_output_size((H, W), kernel_size, stride, padding, dilation)
    (kH, kW), (sH, sW), (dH, dW) = kernel_size, pair("stride", stride), pair("dilation", dilation)
    if padding == "same":  # as many zeros as the kernel would take away, the odd one at the end
        tH, tW = dH * (kH - 1), dW * (kW - 1)
        left, right, top, bottom = tW // 2, tW - tW // 2, tH // 2, tH - tH // 2
    else:
        top, left = bottom, right = (0, 0) if isinstance(padding, str) else pair("padding", padding)
    X = pad(X, (left, right, top, bottom))
    windows = X.unfold(-2, dH * (kH - 1) + 1, sH).unfold(-2, dW * (kW - 1) + 1, sW)
    return windows[..., ::dH, ::dW]


def _check_grad(grad_output: Tensor, size: tuple[int, int]) -> None:
    if grad_output.ndim != 4 or grad_output.shape[2:] != size:
        shape = tuple(grad_output.shape)
        raise ValueError(f"grad_output: shape {shape}, must be (N, C_out, {size[0]}, {size[1]})")


def _check(input: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> None:
    """Raise an error that says which of ``conv2d``'s tensors does not fit, and why."""
    for name, tensor in {"input": input, "weight": weight, "bias": bias}.items():
        if not isinstance(tensor, Tensor) and not (name == "bias" and tensor is None):
            raise TypeError(f"{name}: a {type(tensor).__name__}, must be a tensor")
        if tensor is not None and tensor.dtype != input.dtype:
            raise TypeError(f"{name}: {tensor.dtype}, must be {input.dtype} as the input")
    if input.ndim not in (3, 4):
        raise ValueError(f"input: shape {tuple(input.shape)}, must be (N, C, H, W) or (C, H, W)")
    if weight.ndim != 4:
        raise ValueError(f"weight: shape {tuple(weight.shape)}, must be (C_out, C_in, kH, kW)")
    (C_out, C), C_in = weight.shape[:2], input.shape[-3]
    if isinstance(groups, bool) or not isinstance(groups, int):
        raise TypeError(f"groups={groups!r}: must be an int")
    if groups < 1 or C_out < 1 or C_out % groups:
        raise ValueError(f"groups={groups}: must be ≥ 1 and divide the {C_out} output channels")
    if C_in != groups * C:
        raise ValueError(f"input: {C_in} channels, but weight takes {C} in each of {groups} groups")
    if bias is not None and bias.shape != (C_out,):
        raise ValueError(f"bias: shape {tuple(bias.shape)}, must be ({C_out},)")
