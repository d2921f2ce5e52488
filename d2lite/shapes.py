"""Sizes: what shape comes out of a layer.

The three formulas are those of PyTorch, for one axis or for (height, width). With n the input size,
k the kernel size, s the stride, p the padding *on each side* and d the dilation, the dilated kernel
spans e = d(k − 1) + 1 pixels, and the output size is

- convolution: ⌊(n + 2p − e) / s⌋ + 1;
- pooling: the same, or rounded up with ``ceil_mode``;
- transposed convolution: (n − 1)s − 2p + e + output padding.

From Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from d2lite.checks import boolean, checked, integers, named, optional, plain

IntOrPair = int | tuple[int, int]
Size = TypeVar("Size", int, tuple[int, int])

_RULES = dict.fromkeys(("size", "kernel_size", "stride", "dilation"), integers(at_least=1))


def _same_needs_stride_1(stride: IntOrPair, padding: IntOrPair | str) -> None:
    if padding == "same" and pair(stride) != (1, 1):
        raise ValueError(f'stride={stride}: must be 1 with padding="same"')


@checked(
    _same_needs_stride_1,
    **_RULES,
    padding=named("same", "valid", otherwise=integers(at_least=0)),
)
def conv_output_size(
    size: Size,
    kernel_size: IntOrPair,
    stride: IntOrPair = 1,
    padding: IntOrPair | str = 0,
    dilation: IntOrPair = 1,
) -> Size:
    """Compute the size that a convolution gives, in pixels: ⌊(n + 2p − d(k − 1) − 1) / s⌋ + 1.

    >>> conv_output_size(224, kernel_size=7, stride=2, padding=3)
    112
    >>> conv_output_size((28, 20), kernel_size=(5, 3))
    (24, 18)

    An int gives an int; a pair (height, width) gives a pair, and then a setting may be a pair too.
    ``padding="valid"`` is 0; ``"same"`` pads so that the size stays, and needs stride 1.

    Raises:
        TypeError: If an argument is not an int (or a pair of ints).
        ValueError: If one is out of range, or the dilated kernel is larger than the padded input.
    """
    return _on_each_axis(_conv_size, size, kernel_size, stride, padding, dilation)


def _conv_size(n: int, k: int, s: int, p: int | str, d: int) -> int:
    if p == "same":
        return n
    p, extent = 0 if p == "valid" else int(p), d * (k - 1) + 1
    return _not_empty((n + 2 * p - extent) // s + 1, n, p, extent)


def _at_most_half(kernel_size: IntOrPair, padding: IntOrPair) -> None:
    if any(p > k // 2 for p, k in zip(pair(padding), pair(kernel_size), strict=True)):
        raise ValueError(f"padding={padding}: must be ≤ half of kernel_size={kernel_size}")


@checked(
    _at_most_half,
    **_RULES | {"stride": optional(integers(at_least=1))},
    padding=integers(at_least=0),
    ceil_mode=boolean,
)
def pool_output_size(
    size: Size,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
    ceil_mode: bool = False,
) -> Size:
    """Compute the size that max or average pooling gives, in pixels.

    >>> pool_output_size(112, kernel_size=3, stride=2, padding=1)
    56
    >>> pool_output_size(7, kernel_size=2), pool_output_size(7, kernel_size=2, ceil_mode=True)
    (3, 4)

    The stride is the kernel size unless given. With ``ceil_mode`` the division rounds up, so that a
    last window may reach beyond the end; it must still start in the input or in the left padding.

    Raises:
        TypeError: If an argument is not an int (or a pair of ints), or ``ceil_mode`` not a bool.
        ValueError: If one is out of range, the padding is more than half the kernel size, or the
            dilated kernel is larger than the padded input.
    """
    stride = kernel_size if stride is None else stride
    return _on_each_axis(_pool_size, size, kernel_size, stride, padding, dilation, ceil_mode)


def _pool_size(n: int, k: int, s: int, p: int, d: int, ceil_mode: bool) -> int:
    extent = d * (k - 1) + 1
    steps, left_over = divmod(n + 2 * p - extent, s)
    if ceil_mode and left_over and (steps + 1) * s < n + p:
        steps += 1
    return _not_empty(steps + 1, n, p, extent)


@checked(**_RULES, padding=integers(at_least=0), output_padding=integers(at_least=0))
def conv_transpose_output_size(
    size: Size,
    kernel_size: IntOrPair,
    stride: IntOrPair = 1,
    padding: IntOrPair = 0,
    output_padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
) -> Size:
    """Compute the size that a transposed convolution gives: (n − 1)s − 2p + d(k − 1) + 1 + extra.

    >>> conv_transpose_output_size(7, kernel_size=4, stride=2, padding=1)
    14

    Stride s sends s different input sizes of a convolution to one output size; ``output_padding``
    says which of them to go back to.

    Raises:
        TypeError: If an argument is not an int (or a pair of ints).
        ValueError: If one is out of range, ``output_padding`` is not smaller than the stride or the
            dilation, or nothing is left of the output.
    """
    settings = kernel_size, stride, padding, output_padding, dilation
    return _on_each_axis(_transpose_size, size, *settings)


def _transpose_size(n: int, k: int, s: int, p: int, extra: int, d: int) -> int:
    if extra >= max(s, d):
        raise ValueError(f"output_padding={extra}: must be smaller than stride={s} or dilation={d}")
    full = (n - 1) * s + d * (k - 1) + 1 + extra
    if full <= 2 * p:
        raise ValueError(f"padding={p}: leaves nothing of an output of {full}")
    return full - 2 * p


def _on_each_axis(formula: Callable[..., int], size: Size, *settings: Any) -> Size:
    """Apply a formula for one axis to an int, or to the height and the width of a pair."""
    if isinstance(size, (tuple, list)):
        heights, widths = zip(*map(pair, (size, *settings)), strict=True)
        return int(formula(*heights)), int(formula(*widths))
    for setting in settings:
        if isinstance(setting, (tuple, list)):
            raise TypeError(f"size={size}: must be a pair (height, width), as {setting} is")
    return int(formula(size, *settings))


def _not_empty(output_size: int, n: int, p: int, extent: int) -> int:
    if output_size < 1:
        padded = f"padded to {n + 2 * p}, " if p else ""
        raise ValueError(
            f"size={n}: {padded}smaller than the dilated kernel, {extent}; "
            "pad it or take a smaller kernel"
        )
    return output_size


def pair(value: IntOrPair) -> tuple[int, int]:
    """Read a setting as (height, width): an int is meant for both axes.

    >>> pair(2), pair((1, 2))
    ((2, 2), (1, 2))
    """
    value = plain(value)
    if isinstance(value, (tuple, list)):
        height, width = value
        return height, width
    return value, value
