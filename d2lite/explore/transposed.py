"""The up-sampling explorer: stamps that overlap, and the checkerboards that they leave."""

from typing import Any

import torch
import traitlets
from torch import Tensor

from d2lite.checks import integer, one_of
from d2lite.conv import conv2d, conv_transpose2d
from d2lite.explore.explorer import Checked, Explorer

NEAREST = "nearest, then convolution"


class TransposedExplorer(Explorer):
    """See each pixel of a white image stamp its kernel on the output of an up-sampling layer.

    What the reader sets in the figure can be read here, and set from here. Settings that PyTorch
    refuses together are shown with the reason in words.

    Args:
        size: Height and width n of the input, 1 to 8.
        kernel_size: Height and width k of the kernel, 1 to 7.
        stride: Outputs s from one stamp to the next, 1 to 4; for ``nearest``, the enlargement.
        padding: Outputs p taken off each side, 0 to 4; for ``nearest``, zeros added before the
            convolution.
        method: ``"transposed convolution"`` or ``"nearest, then convolution"``.
        weights: ``"ones"``, ``"random"`` (always the same) or ``"tent"``, which interpolates
            bilinearly.
        row: Row of the chosen input pixel, from 0.
        column: Column of the chosen input pixel, from 0.
        label: The figure's accessible name.

    Raises:
        ValueError: If a value is out of range.
        TypeError: If an integer is none, or there is no such argument.

    >>> TransposedExplorer(size=3, kernel_size=3, stride=2).output[:4, :4]
    tensor([[1., 1., 2., 1.],
            [1., 1., 2., 1.],
            [2., 2., 4., 2.],
            [1., 1., 2., 1.]])
    """

    size = Checked(5, integer(at_least=1, at_most=8))
    kernel_size = Checked(3, integer(at_least=1, at_most=7))
    stride = Checked(2, integer(at_least=1, at_most=4))
    padding = Checked(0, integer(at_least=0, at_most=4))
    method = Checked("transposed convolution", one_of("transposed convolution", NEAREST))
    weights = Checked("ones", one_of("ones", "random", "tent"))
    row = Checked(1, integer(at_least=0, at_most=7))
    column = Checked(1, integer(at_least=0, at_most=7))
    label = traitlets.Unicode("Up-sampling explorer").tag(sync=True)

    @traitlets.validate("row", "column")
    def _check_place(self, proposal: Any) -> int:
        name, place = proposal["trait"].name, proposal["value"]
        if place >= self.size:
            raise ValueError(f"{name}={place}: must be < {self.size}, the size of the input")
        return place

    @traitlets.observe("size")
    def _keep_place_inside(self, change: Any) -> None:
        self.row, self.column = min(self.row, self.size - 1), min(self.column, self.size - 1)

    @property
    def kernel(self) -> Tensor:
        """The kernel, (k, k)."""
        k = self.kernel_size
        i = torch.arange(k)
        if self.weights == "tent":
            tent = 1 - (i - (k - 1) / 2).abs() / ((k + 1) // 2)
            return torch.outer(tent, tent)
        if self.weights == "random":
            return ((37 * i[:, None] + 61 * i + 17 * torch.outer(i, i) + 11) % 19 - 9) / 10
        return torch.ones(k, k)

    @property
    def output(self) -> Tensor:
        """What the layer makes of a white image, all ones: (oH, oW).

        Raises:
            ValueError: If PyTorch refuses the settings; the message says why.
        """
        white, kernel = torch.ones(1, 1, self.size, self.size), self.kernel[None, None]
        if self.method == NEAREST:
            enlarged = white.repeat_interleave(self.stride, 2).repeat_interleave(self.stride, 3)
            return conv2d(enlarged, kernel, padding=self.padding)[0, 0]
        return conv_transpose2d(white, kernel, None, self.stride, self.padding)[0, 0]

    def picture(self) -> str:
        """Draw the output as an SVG element: the deeper the colour, the larger the value."""
        try:
            values = self.output
        except ValueError:
            values = torch.zeros(0, 0)
        cell, largest = 16, values.abs().max() if values.numel() else 1
        boxes = "".join(
            f'<path d="M{j * cell} {i * cell}h{cell}v{cell}h-{cell}z" stroke="var(--d2-line)" '
            f'fill="var(--d2-{"kernel" if value < 0 else "output"})" '
            f'fill-opacity="{0.9 * abs(value) / largest:.2f}"/>'
            for i, row in enumerate(values)
            for j, value in enumerate(row)
        )
        side = max(len(values), 1) * cell
        return f'<svg viewBox="-1 -1 {side + 2} {side + 2}" width="{side + 2}">{boxes}</svg>'
