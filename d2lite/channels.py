"""Channels: convolutions in which not every output channel sees every input channel.

A full convolution has a kernel for each pair of an output and an input channel. ``MaskedConv2d``
keeps those that a connection table names. ``DepthwiseSeparableConv2d`` splits the work in two: look
around within each channel, then mix the channels at each pixel.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from d2lite.shapes import IntOrPair, pair


class MaskedConv2d(nn.Conv2d):
    """A convolution in which each output channel sees only the input channels that a table names.

    There is a kernel for each connection and none elsewhere, so that its parameters are those that
    it learns. A table with blocks of ones on its diagonal makes it a grouped convolution. Weights
    and biases start uniform, as ``nn.Conv2d`` draws them, with the fan-in that each output has.

    From LeCun et al., "Gradient-based learning applied to document recognition", 1998, Table I.

    Args:
        table: (C_out, C_in), 0 or 1: whether the output channel sees the input channel.
        kernel_size: Of all kernels.
        stride: Pixels from one window to the next.
        padding: Zeros added on each side, or ``"same"`` or ``"valid"``.
        bias: Whether each output channel has a number added to it.

    Attributes:
        table: (C_out, C_in), bool.
        weight: (number of connections, kH, kW), in the order of the table's rows.

    Raises:
        ValueError: If the table is not 2-D, is empty, or holds anything but 0 and 1; or if a
            setting is out of range.
        TypeError: If a setting is neither an int nor a pair.

    >>> MaskedConv2d([[1, 0, 0], [1, 1, 0]], kernel_size=5).weight.shape
    torch.Size([3, 5, 5])
    """

    table: Tensor

    def __init__(
        self,
        table: Tensor | Sequence[Sequence[int]],
        kernel_size: IntOrPair,
        stride: IntOrPair = 1,
        padding: IntOrPair | str = 0,
        bias: bool = True,
    ) -> None:
        table = torch.as_tensor(table)
        if table.ndim != 2 or not table.numel():
            raise ValueError(f"table: shape {tuple(table.shape)}, must be (C_out, C_in)")
        if ((table != 0) & (table != 1)).any():
            raise ValueError(f"table: holds {table.unique().tolist()}, must hold 0 and 1 only")
        (C_out, C_in), table = table.shape, table.bool()
        _check_settings(kernel_size, stride, padding)
        super().__init__(C_in, C_out, kernel_size, stride, padding, bias=bias)
        self.register_buffer("table", table)
        scale = (C_in / table.sum(1).clamp(min=1)).sqrt()  # from the fan-in of a full convolution
        full = self.weight.detach() * scale[:, None, None, None]
        self.weight = nn.Parameter(full[table])
        if self.bias is not None:
            self.bias = nn.Parameter(self.bias.detach() * scale)

    def kernels(self) -> Tensor:
        """Compute the weight of the full convolution that does the same, (C_out, C_in, kH, kW)."""
        full = self.weight.new_zeros(self.table.shape + self.weight.shape[1:])
        full[self.table] = self.weight
        return full

    def forward(self, input: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, oH, oW)."""
        return conv2d(input, self.kernels(), self.bias, self.stride, self.padding)


class DepthwiseSeparableConv2d(nn.Module):
    """Convolve each channel by itself (depthwise), then mix channels pixel by pixel (pointwise).

    With k × k kernels it needs k²·C_in + C_in·C_out weights where a full convolution needs
    k²·C_in·C_out. Nothing stands between the two steps, so one bias, in the second, is enough.

    From Sifre, "Rigid-motion scattering for image classification", 2014; Chollet, "Xception: deep
    learning with depthwise separable convolutions", 2017; Howard et al., "MobileNets", 2017, which
    puts batch normalisation and a ReLU between the steps.

    Args:
        in_channels: C_in.
        out_channels: C_out.
        kernel_size: Of the depthwise step.
        stride: Of the depthwise step: pixels from one window to the next.
        padding: Of the depthwise step: zeros added on each side, or ``"same"`` or ``"valid"``.
        bias: Whether each output channel has a number added to it.

    Raises:
        ValueError: If an argument is out of range.
        TypeError: If one is no int, or (but for the channels) no pair of ints.

    >>> layer = DepthwiseSeparableConv2d(32, 64, kernel_size=3, bias=False)
    >>> [parameter.numel() for parameter in layer.parameters()]
    [288, 2048]
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrPair,
        stride: IntOrPair = 1,
        padding: IntOrPair | str = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        for name, count in {"in_channels": in_channels, "out_channels": out_channels}.items():
            if isinstance(count, bool) or not isinstance(count, int):
                raise TypeError(f"{name}={count!r}: must be an int")
            if count < 1:
                raise ValueError(f"{name}={count}: must be ≥ 1")
        _check_settings(kernel_size, stride, padding)
        self.depthwise = nn.Conv2d(
            in_channels, in_channels, kernel_size, stride, padding, groups=in_channels, bias=False
        )
        self.pointwise = nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, oH, oW)."""
        return self.pointwise(self.depthwise(input))


def _check_settings(kernel_size: IntOrPair, stride: IntOrPair, padding: IntOrPair | str) -> None:
    """Let no setting out of range reach PyTorch."""
    pair("kernel_size", kernel_size), pair("stride", stride)
    if not isinstance(padding, str):
        pair("padding", padding)
