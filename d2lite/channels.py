"""Channels: convolutions in which not every output channel sees every input channel.

A full convolution has a kernel for each pair of an output and an input channel. ``MaskedConv2d``
keeps those that a connection table names. ``DepthwiseSeparableConv2d`` splits the work in two: look
around within each channel, then mix the channels at each pixel.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from d2lite.checks import checked, integer, integers, named
from d2lite.shapes import IntOrPair, pair

_SETTINGS = {
    "kernel_size": integers(at_least=1),
    "stride": integers(at_least=1),
    "padding": named("same", "valid", otherwise=integers(at_least=0)),
}


def _table(value: object) -> None:
    table = torch.as_tensor(value)
    if table.ndim != 2 or not table.numel():
        raise ValueError(f"must be (C_out, C_in), not {tuple(table.shape)}")
    if ((table != 0) & (table != 1)).any():
        raise ValueError(f"must hold 0 and 1 only, not {table.unique().tolist()}")


class MaskedConv2d(nn.Module):
    """A convolution in which each output channel sees only the input channels that a table names.

    >>> MaskedConv2d([[1, 0, 0], [1, 1, 0]], kernel_size=5).weight.shape
    torch.Size([3, 5, 5])

    There is a kernel for each connection and none elsewhere, so that its parameters are those that
    it learns. A table with blocks of ones on its diagonal makes it a grouped convolution.

    It is no ``nn.Conv2d``, and its ``weight`` is read-only: the outputs have fan-ins of their own,
    so what draws, scales or replaces a weight (C_out, C_in, kH, kW) must not take it for one.
    ``initializers.he_start_`` knows it.

    From LeCun et al., "Gradient-based learning applied to document recognition", 1998, Table I.

    Args:
        table: (C_out, C_in), 0 or 1: whether the output channel sees the input channel.
        kernel_size: Of all kernels.
        stride: Pixels from one window to the next.
        padding: Zeros added on each side, or ``"same"`` or ``"valid"``.
        bias: Whether each output channel has a number added to it.

    Attributes:
        table: (C_out, C_in), bool.
        connections: The kernels, (number of connections, kH, kW), in the order of the table's rows.

    Raises:
        ValueError: If the table is not 2-D, is empty, or holds anything but 0 and 1; or if a
            setting is out of range.
        TypeError: If a setting is neither an int nor a pair.
    """

    table: Tensor

    @checked(table=_table, **_SETTINGS)
    def __init__(
        self,
        table: Tensor | Sequence[Sequence[int]],
        kernel_size: IntOrPair,
        stride: IntOrPair = 1,
        padding: IntOrPair | str = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.register_buffer("table", torch.as_tensor(table).bool())
        self.out_channels, self.in_channels = self.table.shape
        self.kernel_size, self.stride = pair(kernel_size), pair(stride)
        self.padding = padding if isinstance(padding, str) else pair(padding)
        self.connections = nn.Parameter(torch.empty(int(self.table.sum()), *self.kernel_size))
        self.bias = nn.Parameter(torch.empty(self.out_channels)) if bias else None
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw each output's weights and bias evenly from ±1 / √fan_in, as ``nn.Conv2d`` does."""
        has_bias = self.bias is not None
        full = nn.Conv2d(self.in_channels, self.out_channels, self.kernel_size, bias=has_bias)
        table = self.table.cpu()
        scale = (self.in_channels / table.sum(1).clamp(min=1)).sqrt()  # from the full fan-in
        self.connections.copy_((full.weight * scale[:, None, None, None])[table])
        if self.bias is not None and full.bias is not None:
            self.bias.copy_(full.bias * scale)

    def fan_in(self) -> Tensor:
        """Count the numbers that each output adds up, (C_out,)."""
        return self.table.sum(1) * self.connections[0].numel()

    @property
    def weight(self) -> nn.Parameter:
        """The connections, (number of connections, kH, kW), to be changed in place only."""
        return self.connections

    def kernels(self) -> Tensor:
        """Compute the weight of the full convolution that does the same, (C_out, C_in, kH, kW)."""
        number = self.table.flatten().cumsum(0).view_as(self.table) * self.table  # 0: none
        none = self.connections.new_zeros(1, *self.kernel_size)
        return torch.cat([none, self.connections])[number]

    def forward(self, input: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, oH, oW)."""
        return conv2d(input, self.kernels(), self.bias, self.stride, self.padding)

    def extra_repr(self) -> str:
        """Show the settings."""
        shown = f"{self.in_channels}, {self.out_channels}, connections={len(self.connections)}"
        shown += f", kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return shown + f", bias={self.bias is not None}"


class DepthwiseSeparableConv2d(nn.Module):
    """Convolve each channel by itself (depthwise), then mix channels pixel by pixel (pointwise).

    >>> layer = DepthwiseSeparableConv2d(32, 64, kernel_size=3, bias=False)
    >>> [parameter.numel() for parameter in layer.parameters()]
    [288, 2048]

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
    """

    @checked(in_channels=integer(at_least=1), out_channels=integer(at_least=1), **_SETTINGS)
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
        self.depthwise = nn.Conv2d(
            in_channels, in_channels, kernel_size, stride, padding, groups=in_channels, bias=False
        )
        self.pointwise = nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, oH, oW)."""
        return self.pointwise(self.depthwise(input))
