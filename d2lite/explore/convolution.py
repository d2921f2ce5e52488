"""The convolution explorer: a kernel that slides over an input, every product in sight."""

from base64 import b64encode
from collections.abc import Callable
from io import BytesIO
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
import traitlets
from matplotlib.colors import to_rgb
from torch import Tensor

from d2lite.checks import integer, one_of
from d2lite.conv import conv2d, rot180
from d2lite.explore.explorer import Checked, Explorer, Read
from d2lite.plot import INK, INPUT, KERNEL, LINE, MUTED, OUTPUT

Matrix = list[list[float]]

MAX_INPUT, MAX_KERNEL, MAX_NUMBERS = 64, 7, 8  # cells a side; larger inputs are drawn as images
CELL = 40  # pixels a side, of a cell with a number in the still picture


def matrix(at_least: int, at_most: int) -> Callable[[Any], Matrix]:
    """Make the rule of a matrix with that many cells a side, and read one as lists.

    >>> matrix(1, 7)(torch.eye(2))
    [[1.0, 0.0], [0.0, 1.0]]
    """

    def read(value: Any) -> Matrix:
        if isinstance(value, Tensor):
            value = value.detach().cpu()
        try:
            found = np.asarray(value, dtype=float)
        except (TypeError, ValueError):
            raise ValueError("must be rows of numbers, all of one length") from None
        if found.ndim != 2:
            raise ValueError(f"shape {found.shape}, must be 2-D, (H, W)")
        if not at_least <= min(found.shape) <= max(found.shape) <= at_most:
            raise ValueError(
                f"shape {found.shape}, must be from {at_least} to {at_most} cells a side"
            )
        if not np.isfinite(found).all():
            raise ValueError("must be finite, not NaN or infinite")
        return found.tolist()

    return read


class ConvolutionExplorer(Explorer):
    """Slide a kernel over an input, and see the products and the sum behind each output.

    Inputs up to 8 × 8 show their numbers; larger ones, up to 64 × 64, show as images. The reader
    drags the kernel, steps, edits any number, and moves the sliders; all of it can be read and set
    from Python too.

    Args:
        input: (H, W), a tensor, an array or a list of lists.
        kernel: (kH, kW), likewise, at most 7 × 7.
        stride: Cells from one window to the next.
        padding: Zeros added on *each* side.
        dilation: Cells from one tap of the kernel to the next.
        operation: ``"cross-correlation"``, as in PyTorch, TensorFlow and JAX, or ``"convolution"``,
            which turns the kernel by 180° first.
        row: The chosen output cell's row, from 0.
        column: Its column, from 0.
        label: The figure's accessible name.

    Raises:
        ValueError: If a value is out of range, or a matrix is ragged, empty, too large or not 2-D.
        TypeError: If an integer is none.

    >>> explorer = ConvolutionExplorer(input=torch.eye(3), kernel=[[1, 2], [3, 4]])
    >>> explorer.output
    tensor([[5., 3.],
            [2., 5.]])
    """

    input = Read([[0, 0, 1, 1, 0, 0] for _ in range(6)], matrix(1, MAX_INPUT))
    kernel = Read([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], matrix(1, MAX_KERNEL))
    stride = Checked(1, integer(at_least=1, at_most=8))
    padding = Checked(0, integer(at_least=0, at_most=8))
    dilation = Checked(1, integer(at_least=1, at_most=8))
    operation = Checked("cross-correlation", one_of("cross-correlation", "convolution"))
    row = Checked(0, integer(at_least=0, at_most=10**4))
    column = Checked(0, integer(at_least=0, at_most=10**4))
    label = traitlets.Unicode("Convolution explorer").tag(sync=True)

    @property
    def output_shape(self) -> tuple[int, int]:
        """(oH, oW) by the formula; below 1 where the kernel does not fit."""
        p, s, d = self.padding, self.stride, self.dilation
        sizes = zip(np.shape(self.input), np.shape(self.kernel), strict=True)
        height, width = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k in sizes)
        return height, width

    @property
    def output(self) -> Tensor:
        """The output, (oH, oW), by ``d2lite.conv``; empty where the kernel does not fit."""
        if min(self.output_shape) < 1:
            return torch.empty(0, 0)
        input, kernel = torch.tensor(self.input), torch.tensor(self.kernel)
        if self.operation == "convolution":
            kernel = rot180(kernel)
        settings = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}
        return conv2d(input[None, None], kernel[None, None], **settings)[0, 0]

    @traitlets.validate("row", "column")
    def _check_chosen(self, proposal: Any) -> int:
        name, value = proposal["trait"].name, proposal["value"]
        size = self.output_shape[name == "column"]
        if value >= max(1, size):
            raise ValueError(f"{name}={value}: must be < {max(1, size)}, the output's size")
        return value

    @traitlets.observe("input", "kernel", "stride", "padding", "dilation")
    def _keep_chosen_inside(self, change: Any) -> None:
        height, width = self.output_shape
        self.row = min(self.row, max(0, height - 1))
        self.column = min(self.column, max(0, width - 1))

    def picture(self) -> str:
        """Draw input ⋆ kernel = output as an SVG element: numbers, or pixels of a large input."""
        side = CELL if max(np.shape(self.input)) <= MAX_NUMBERS else 8
        operator = "∗" if self.operation == "convolution" else "⋆"
        p, s, d = self.padding, self.stride, self.dilation
        padded = np.pad(self.input, p, constant_values=np.nan)
        kernel, output = np.array(self.kernel), self.output.numpy()
        frames = [
            draw_frame("input", INPUT, (p, p), np.shape(self.input), side),
            draw_frame("kernel", KERNEL, (0, 0), kernel.shape, CELL),
            draw_frame("output", OUTPUT, (0, 0), output.shape, side),
        ]
        if output.size:
            reach = d * (kernel.shape[0] - 1) + 1, d * (kernel.shape[1] - 1) + 1
            frames[0] += draw_frame("kernel", KERNEL, (self.row * s, self.column * s), reach, side)
            frames[2] += draw_frame("output", OUTPUT, (self.row, self.column), (1, 1), side)
        panels = [
            (padded, side, operator),
            (kernel, CELL, "="),
            (output, side, "" if output.size else "∅"),
        ]
        height = max(len(matrix) * cell for matrix, cell, _ in panels)
        drawn, x = "", 0
        for (matrix, cell, sign), frame in zip(panels, frames, strict=True):
            cells = (
                draw_numbers(matrix) if cell == CELL else _pixels(matrix, cell, matrix is output)
            )
            y = (height - len(matrix) * cell) // 2
            drawn += f'<g transform="translate({x} {y})">{cells}{frame}</g>'
            x += matrix.shape[1] * cell + 40
            drawn += f'<text x="{x - 20}" y="{height // 2 + 8}" font-size="24">{sign}</text>'
        width = x - 36 if output.size else x
        sizes = ("×".join(map(str, np.shape(m))) for m in (self.input, kernel, output))
        title = "Input {} {} kernel {} = output {}".format(next(sizes), operator, *sizes)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-2 -2 {width} {height + 4}" '
            f'width="{width}" text-anchor="middle" font-size="14" fill="var(--d2-ink, {INK})">'
            f"<title>{title}</title>{drawn}</svg>"
        )


def draw_frame(
    name: str, colour: str, corner: tuple[int, int], shape: tuple[int, ...], side: int
) -> str:
    """Frame some cells in one of the book's colours."""
    y, x, height, width = (side * number for number in (*corner, *shape))
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="none" '
        f'stroke="var(--d2-{name}, {colour})" stroke-width="2.5"/>'
    )


def draw_numbers(matrix: np.ndarray, side: int = CELL) -> str:
    """Draw a matrix as a table of its numbers; NaN is padding."""
    height, width = matrix.shape
    lines = "".join(f"M0 {side * i}h{side * width}" for i in range(height + 1))
    lines += "".join(f"M{side * j} 0v{side * height}" for j in range(width + 1))
    numbers = ""
    for (i, j), value in np.ndenumerate(matrix):
        text = "0" if np.isnan(value) else f"{round(value, 2 if abs(value) < 10 else 1) + 0.0:g}"
        muted = f' fill="var(--d2-muted, {MUTED})"' if np.isnan(value) else ""
        x, y = side * j + side // 2, side * i + side // 2 + 5
        numbers += f'<text x="{x}" y="{y}"{muted}>{text.replace("-", "−")}</text>'
    return f'<path d="{lines}" fill="none" stroke="var(--d2-line, {LINE})"/>{numbers}'


def _pixels(matrix: np.ndarray, side: int, signed: bool) -> str:
    """Draw a matrix as an image: grey, or blue above and vermilion below zero; NaN is clear."""
    height, width = matrix.shape
    values = np.nan_to_num(matrix)
    if signed:
        values = values / (np.abs(values).max(initial=0) or 1)
        values[np.abs(values) < 1 / 510] = 0  # clear, whichever sign a processor's rounding gives
        colour = np.where(values[..., None] > 0, to_rgb(INPUT), to_rgb(KERNEL))
        alpha = np.abs(values)
    else:
        low = min(0, values.min())
        colour = np.repeat((values - low)[..., None] / (values.max() - low or 1), 3, axis=-1)
        alpha = np.isfinite(matrix)
    frame = f'fill="none" stroke="var(--d2-line, {LINE})"'
    drawn = f'<rect width="{side * width}" height="{side * height}" {frame}/>'
    if values.size:
        png = BytesIO()
        plt.imsave(png, np.dstack([colour, alpha]), format="png", metadata={"Software": None})
        drawn += (
            f'<image width="{side * width}" height="{side * height}" '
            'style="image-rendering: pixelated" '
            f'href="data:image/png;base64,{b64encode(png.getvalue()).decode()}"/>'
        )
    return drawn
