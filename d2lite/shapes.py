"""Sizes: what shape comes out of a layer.

The three formulas are those of PyTorch, for one axis or for (height, width). With n the input size,
k the kernel size, s the stride, p the padding *on each side* and d the dilation, the dilated kernel
spans e = d(k − 1) + 1 pixels, and the output size is

- convolution: ⌊(n + 2p − e) / s⌋ + 1;
- pooling: the same, or rounded up with ``ceil_mode``;
- transposed convolution: (n − 1)s − 2p + e + output padding.

From Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016.
"""

import inspect
from collections.abc import Callable
from numbers import Integral
from typing import TypeVar

IntOrPair = int | tuple[int, int]
Size = TypeVar("Size", int, tuple[int, int])


def conv_output_size(
    size: Size,
    kernel_size: IntOrPair,
    stride: IntOrPair = 1,
    padding: IntOrPair | str = 0,
    dilation: IntOrPair = 1,
) -> Size:
    """Compute the size that a convolution gives, in pixels: ⌊(n + 2p − d(k − 1) − 1) / s⌋ + 1.

    An int gives an int; a pair (height, width) gives a pair, and then a setting may be a pair too.
    ``padding="valid"`` is 0; ``"same"`` pads so that the size stays, and needs stride 1.

    Raises:
        TypeError: If an argument is not an int (or a pair of ints).
        ValueError: If one is out of range, or the dilated kernel is larger than the padded input.

    >>> conv_output_size(224, kernel_size=7, stride=2, padding=3)
    112
    >>> conv_output_size((28, 20), kernel_size=(5, 3))
    (24, 18)
    """
    same = padding == "same"
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ValueError(f'padding={padding!r}: must be ≥ 0, "same" or "valid"')
        padding = 0

    def one_axis(size: int, kernel_size: int, stride: int, padding: int, dilation: int) -> int:
        if same and stride != 1:
            raise ValueError(f'stride={stride}: must be 1 with padding="same"')
        extent = dilation * (kernel_size - 1) + 1
        total_padding = extent - 1 if same else 2 * padding
        output_size = (size + total_padding - extent) // stride + 1
        return _not_empty(output_size, size, padding, extent)

    return _on_each_axis(one_axis, size, kernel_size, stride, padding, dilation)


def pool_output_size(
    size: Size,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
    ceil_mode: bool = False,
) -> Size:
    """Compute the size that max or average pooling gives, in pixels.

    The stride is the kernel size unless given. With ``ceil_mode`` the division rounds up, so that a
    last window may reach beyond the end; it must still start in the input or in the left padding.

    Raises:
        TypeError: If an argument is not an int (or a pair of ints), or ``ceil_mode`` not a bool.
        ValueError: If one is out of range, the padding is more than half the kernel size, or the
            dilated kernel is larger than the padded input.

    >>> pool_output_size(112, kernel_size=3, stride=2, padding=1)
    56
    >>> pool_output_size(7, kernel_size=2), pool_output_size(7, kernel_size=2, ceil_mode=True)
    (3, 4)
    """
    if not isinstance(ceil_mode, bool):
        raise TypeError(f"ceil_mode={ceil_mode!r}: must be True or False")

    def one_axis(size: int, kernel_size: int, stride: int, padding: int, dilation: int) -> int:
        if padding > kernel_size // 2:
            raise ValueError(f"padding={padding}: must be ≤ half of kernel_size={kernel_size}")
        extent = dilation * (kernel_size - 1) + 1
        steps, left_over = divmod(size + 2 * padding - extent, stride)
        if ceil_mode and left_over and (steps + 1) * stride < size + padding:
            steps += 1
        return _not_empty(steps + 1, size, padding, extent)

    stride = kernel_size if stride is None else stride
    return _on_each_axis(one_axis, size, kernel_size, stride, padding, dilation)


def conv_transpose_output_size(
    size: Size,
    kernel_size: IntOrPair,
    stride: IntOrPair = 1,
    padding: IntOrPair = 0,
    output_padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
) -> Size:
    """Compute the size that a transposed convolution gives: (n − 1)s − 2p + d(k − 1) + 1 + extra.

    Stride s sends s different input sizes of a convolution to one output size; ``output_padding``
    says which of them to go back to.

    Raises:
        TypeError: If an argument is not an int (or a pair of ints).
        ValueError: If one is out of range, ``output_padding`` is not smaller than the stride or the
            dilation, or nothing is left of the output.

    >>> conv_transpose_output_size(7, kernel_size=4, stride=2, padding=1)
    14
    """

    def one_axis(
        size: int, kernel_size: int, stride: int, padding: int, output_padding: int, dilation: int
    ) -> int:
        if output_padding >= max(stride, dilation):
            raise ValueError(
                f"output_padding={output_padding}: must be smaller than stride={stride} "
                f"or dilation={dilation}"
            )
        full = (size - 1) * stride + dilation * (kernel_size - 1) + 1 + output_padding
        if full <= 2 * padding:
            raise ValueError(f"padding={padding}: leaves nothing of an output of {full}")
        return full - 2 * padding

    return _on_each_axis(one_axis, size, kernel_size, stride, padding, output_padding, dilation)


def pair(name: str, value: IntOrPair) -> tuple[int, int]:
    """Read a setting that is an int, for both axes, or a pair (height, width).

    Raises:
        TypeError: If it is neither.
        ValueError: If it is negative, or zero and not a padding.

    >>> pair("stride", 2)
    (2, 2)
    """
    minimum = 0 if "padding" in name else 1
    both = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(both) != 2 or not all(map(_is_int, both)):
        raise TypeError(f"{name}={value!r}: must be an int or a pair of ints")
    if min(both) < minimum:
        raise ValueError(f"{name}={value}: must be ≥ {minimum}")
    return int(both[0]), int(both[1])


def _is_int(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _on_each_axis(formula: Callable[..., int], size: Size, *settings: IntOrPair) -> Size:
    """Apply a formula for one axis to an int, or to the height and the width of a pair.

    The formula's parameters name the arguments in errors.
    """
    arguments = dict(zip(inspect.signature(formula).parameters, (size, *settings), strict=True))
    heights, widths = zip(*(pair(name, value) for name, value in arguments.items()), strict=True)
    if isinstance(size, (tuple, list)):
        return formula(*heights), formula(*widths)
    for name, value in arguments.items():
        if isinstance(value, (tuple, list)):
            raise TypeError(f"{name}={value}: must be an int, as size={size} is; or give both axes")
    return formula(*heights)


def _not_empty(output_size: int, size: int, padding: int, extent: int) -> int:
    if output_size < 1:
        padded = f"padded to {size + 2 * padding}, " if padding else ""
        raise ValueError(
            f"size={size}: {padded}smaller than the dilated kernel, {extent}; "
            "pad it or take a smaller kernel"
        )
    return output_size
