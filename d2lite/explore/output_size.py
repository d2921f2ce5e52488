"""The output-size explorer: which windows fit along one dimension, and what is left over."""

from collections.abc import Sequence
from typing import Any

import traitlets

from d2lite.checks import boolean, integer, one_of
from d2lite.explore.explorer import Checked, Explorer, Read
from d2lite.shapes import conv_output_size, conv_transpose_output_size, pool_output_size

LARGEST = 512  # cells; the sliders stop earlier, unless a larger number is given


def _padding(value: Any) -> int | str:
    """Read a padding: "same" or an integer."""
    if value == "same":
        return value
    integer(at_least=0, at_most=LARGEST)(value)
    return int(value)


class OutputSizeExplorer(Explorer):
    """See which windows fit along one dimension, where they start, and what is left over.

    What the reader sets in the figure can be read here, and set from here. Settings that PyTorch
    refuses together, such as a kernel larger than the padded input, are drawn all the same, with
    the reason in words. Numbers go up to 512.

    Args:
        size: The input size n, in cells.
        kernel_size: The taps k of the kernel, or of the pooling window.
        stride: Cells s from one window to the next; transposed, from one input to the next.
        padding: Cells p added on *each* side; for convolution also ``"same"``.
        dilation: Cells d from one tap to the next.
        output_padding: Cells added at the end of a transposed convolution's output.
        ceil_mode: Whether the last window of a pooling may hang over the edge.
        operation: ``"convolution"``, ``"pooling"`` or ``"transposed convolution"``.
        position: The chosen output, from 0.
        label: The figure's accessible name.

    Raises:
        ValueError: If a value is out of range.
        TypeError: If an integer is none, or there is no such argument.

    >>> explorer = OutputSizeExplorer(size=224, kernel_size=11, stride=4)
    >>> explorer.output_size  # AlexNet's first layer, where the paper says 55
    54
    """

    size = Checked(10, integer(at_least=1, at_most=LARGEST))
    kernel_size = Checked(3, integer(at_least=1, at_most=LARGEST))
    stride = Checked(1, integer(at_least=1, at_most=LARGEST))
    padding = Read(0, _padding)
    dilation = Checked(1, integer(at_least=1, at_most=LARGEST))
    output_padding = Checked(0, integer(at_least=0, at_most=LARGEST))
    ceil_mode = Checked(False, boolean)
    operation = Checked("convolution", one_of("convolution", "pooling", "transposed convolution"))
    position = Checked(0, integer(at_least=0, at_most=10**6))
    label = traitlets.Unicode("Output-size explorer").tag(sync=True)

    @property
    def output_size(self) -> int:
        """The number of outputs, by ``d2lite.shapes``.

        Raises:
            TypeError: If the padding is ``"same"`` and the operation is no convolution.
            ValueError: If PyTorch refuses the settings; the message says why.
        """
        k, s, p, d = self.kernel_size, self.stride, self.padding, self.dilation
        if self.operation == "convolution":
            return conv_output_size(self.size, k, s, p, d)
        if self.operation == "pooling":
            return pool_output_size(self.size, k, s, p, d, self.ceil_mode)
        return conv_transpose_output_size(self.size, k, s, p, self.output_padding, d)

    @property
    def _outputs(self) -> int:
        try:
            return self.output_size
        except (TypeError, ValueError):
            return 0

    @traitlets.validate("position")
    def _check_position(self, proposal: Any) -> int:
        position, outputs = proposal["value"], self._outputs
        if outputs and position >= outputs:
            raise ValueError(f"position={position}: must be < {outputs}, the number of outputs")
        return position

    @traitlets.observe(
        "size", "kernel_size", "stride", "padding", "dilation", "output_padding", "ceil_mode",
        "operation",
    )  # fmt: skip
    def _keep_position_inside(self, change: Any) -> None:
        if self._outputs:
            self.position = min(self.position, self._outputs - 1)

    def picture(self) -> str:
        """Draw the input, the chosen output's window and the outputs as an SVG element."""
        transposed = self.operation == "transposed convolution"
        reach = self.dilation * (self.kernel_size - 1)
        left, right = 2 * [self.padding] if self.padding != "same" else [reach // 2, -(-reach // 2)]
        spread, jump = (self.stride, 1) if transposed else (1, self.stride)
        first = left - reach if transposed else -left  # where the first window starts
        starts = [first + jump * output for output in range(self._outputs)]
        start = starts[self.position] if starts else first
        last = (self.size - 1) * spread + (0 if transposed else right)
        end = max(last, max(starts, default=first) + reach)
        low, width = min(0, first), end - min(0, first) + 1
        cell, gap = min(700 / width, 40), int(width < 88)  # pixels

        def x(position: float) -> float:
            return round((position - low) * cell, 2)

        def boxes(cells: Sequence[float], y: int, colour: str, fill: float, dash: str = "0") -> str:
            some = cells[:: len(cells) // 700 + 1]  # at most one box a pixel
            path = "".join(f"M{x(p) + gap} {y}h{cell - 2 * gap:.2f}v30H{x(p) + gap}z" for p in some)
            return (
                f'<path d="{path}" fill="var(--d2-{colour})" stroke="var(--d2-{colour})" '
                f'fill-opacity="{fill}" stroke-width="{gap or 0.5}" stroke-dasharray="{dash}"/>'
            )

        taps = range(start, start + reach + 1, self.dilation)
        inputs = range(0, self.size * spread, spread)
        zeros = [p for p in range(low, (end if transposed else last) + 1) if p not in inputs]
        centre = start + reach / 2
        lines = "".join(f"M{x(p + 0.5)} 66L{x(centre + 0.5)} 104" for p in taps if starts)
        return (
            f'<svg viewBox="-1 -1 {width * cell + 2:.1f} 136" width="{width * cell + 2:.1f}">'
            + boxes(zeros, 0, "muted", 0, "2 3")
            + boxes(inputs, 0, "input", 0.16)
            + boxes(taps, 36, "kernel", 1)
            + f'<path d="{lines}" stroke="var(--d2-kernel)"/>'
            + boxes([s + reach / 2 for s in starts], 104, "output", 0.16)
            + boxes([centre] if starts else [], 104, "output", 1)
            + "</svg>"
        )
