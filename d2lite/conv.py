"""Convolution: what a convolution layer computes, and its kernels.

``corr2d`` is the definition, for one channel. ``conv2d`` is the same sum for a whole layer: with
batches, channels, stride, padding, dilation and groups, as ``torch.nn.functional.conv2d``.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from d2lite.shapes import IntOrPair, conv_output_size, pair


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
    _, C_in, H, W = input.shape
    C_out, _, kH, kW = weight.shape
    conv_output_size((H, W), (kH, kW), stride, padding, dilation)  # checks the settings
    (sH, sW), (dH, dW) = pair("stride", stride), pair("dilation", dilation)

    if padding == "same":  # as many zeros as the kernel would take away, the odd one at the end
        tH, tW = dH * (kH - 1), dW * (kW - 1)
        left, right, top, bottom = tW // 2, tW - tW // 2, tH // 2, tH - tH // 2
    else:
        top, left = bottom, right = (0, 0) if isinstance(padding, str) else pair("padding", padding)
    X = pad(input, (left, right, top, bottom)).unflatten(1, (groups, C_in // groups))
    K = weight.unflatten(0, (groups, C_out // groups))

    windows = X.unfold(-2, dH * (kH - 1) + 1, sH).unfold(-2, dW * (kW - 1) + 1, sW)
    windows = windows[..., ::dH, ::dW]  # (N, groups, C, oH, oW, kH, kW): a view of X
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
