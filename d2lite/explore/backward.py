"""The backward explorer: an output's gradient, on its way to the inputs and the weights."""

import numpy as np
import torch
import traitlets
from torch import Tensor

from d2lite.checks import integer, one_of
from d2lite.conv import conv2d_input_grad, conv2d_weight_grad
from d2lite.explore.convolution import CELL, draw_frame, draw_numbers, matrix
from d2lite.explore.explorer import Checked, Explorer, Read
from d2lite.plot import GRADIENT, INK, INPUT, KERNEL
from d2lite.shapes import conv_output_size


class BackwardExplorer(Explorer):
    """Send gradients back through a convolution, and see which input and which weight gets what.

    The reader types gradients of the outputs, chooses one of them, or one of the inputs or weights
    that receive, and moves the sliders; all of it can be read and set from Python too.

    Args:
        input: (H, W), from 3 to 6 cells a side: a tensor, an array or a list of lists.
        kernel: (kH, kW), likewise, from 1 to 3 cells a side.
        gradient: ∂L/∂Y, likewise; cropped, or filled up with zeros, to the size of the output.
        stride: Cells from one window to the next.
        padding: Zeros added on *each* side.
        view: ``"all outputs"`` adds up what they send back, ``"this output only"`` does not.
        row: The chosen output's row, from 0; beyond the output, its last one.
        column: Its column, likewise.
        label: The figure's accessible name.

    Raises:
        ValueError: If a value is out of range, or a matrix is ragged, too large or not 2-D.
        TypeError: If an integer is none.

    >>> explorer = BackwardExplorer(kernel=[[1, 2], [3, 4]], gradient=[[1, 0], [0, 0]])
    >>> explorer.grad_input[:2, :2]
    tensor([[1., 2.],
            [3., 4.]])
    """

    input = Read([[(2 * i + j * (i + j)) % 4 for j in range(6)] for i in range(6)], matrix(3, 6))
    kernel = Read([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], matrix(1, 3))
    gradient = Read([[0, 0, 0, 0], [0, 1, 2, 0], [0, 0, 0, 0], [0, 0, 0, -1]], matrix(1, 10))
    stride = Checked(1, integer(at_least=1, at_most=3))
    padding = Checked(0, integer(at_least=0, at_most=2))
    view = Checked("all outputs", one_of("all outputs", "this output only"))
    row = Checked(1, integer(at_least=0, at_most=9))
    column = Checked(1, integer(at_least=0, at_most=9))
    label = traitlets.Unicode("Backward explorer").tag(sync=True)

    @property
    def grad_output(self) -> Tensor:
        """∂L/∂Y, as large as the output: what is sent back, of one output or of all."""
        sizes = np.shape(self.input), np.shape(self.kernel)
        shape = conv_output_size(*sizes, self.stride, self.padding)
        sent, given = torch.zeros(shape), torch.tensor(self.gradient)[: shape[0], : shape[1]]
        sent[: len(given), : given.shape[1]] = given
        if self.view == "this output only":
            row, column = self.chosen
            only = torch.zeros(shape)
            only[row, column] = sent[row, column]
            return only
        return sent

    @property
    def chosen(self) -> tuple[int, int]:
        """The chosen output's row and column."""
        sizes = np.shape(self.input), np.shape(self.kernel)
        rows, columns = conv_output_size(*sizes, self.stride, self.padding)
        return min(self.row, rows - 1), min(self.column, columns - 1)

    @property
    def grad_input(self) -> Tensor:
        """∂L/∂X, (H, W), by ``d2lite.conv``."""
        (H, W), kernel = np.shape(self.input), torch.tensor(self.kernel)[None, None]
        sent = self.grad_output[None, None]
        return conv2d_input_grad((H, W), kernel, sent, self.stride, self.padding)[0, 0]

    @property
    def grad_weight(self) -> Tensor:
        """∂L/∂W, (kH, kW), by ``d2lite.conv``."""
        (kH, kW), input = np.shape(self.kernel), torch.tensor(self.input)[None, None]
        sent = self.grad_output[None, None]
        return conv2d_weight_grad(input, (kH, kW), sent, self.stride, self.padding)[0, 0]

    def picture(self) -> str:
        """Draw ∂L/∂Y, then X above ∂L/∂X, then W above ∂L/∂W, as an SVG element."""
        sent = self.grad_output.numpy()
        columns = [
            [("∂L/∂Y", "gradient", GRADIENT, sent)],
            [
                ("X", "input", INPUT, np.array(self.input)),
                ("∂L/∂X", "gradient", GRADIENT, self.grad_input.numpy()),
            ],
            [
                ("W", "kernel", KERNEL, np.array(self.kernel)),
                ("∂L/∂W", "gradient", GRADIENT, self.grad_weight.numpy()),
            ],
        ]
        drawn, x, height = "", 0, 0
        for column in columns:
            y = 0
            for title, name, colour, values in column:
                drawn += (
                    f'<g transform="translate({x} {y})"><text x="2" y="16" text-anchor="start" '
                    f'fill="var(--d2-{name}, {colour})">{title}</text>'
                    f'<g transform="translate(0 24)">{draw_numbers(values)}'
                    f"{draw_frame(name, colour, (0, 0), values.shape, CELL)}</g></g>"
                )
                y += CELL * len(values) + 40
            x += CELL * column[0][3].shape[1] + 40
            height = max(height, y)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-2 -2 {x - 36} {height - 12}" '
            f'width="{x - 36}" text-anchor="middle" font-size="14" fill="var(--d2-ink, {INK})">'
            "<title>Gradients of the output, of the input and of the kernel</title>"
            f"{drawn}</svg>"
        )
