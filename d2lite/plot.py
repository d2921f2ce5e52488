"""Figures: one restrained palette, one size, the same colour for the same thing everywhere."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

# Distinguishable with any common colour blindness (after Okabe & Ito, 2008), and ≥ 4.5 : 1 on white.
# The explorers use the same colours: keep equal to explore/explorer.css.
INPUT = "#0072b2"
KERNEL = "#b64b00"
OUTPUT = "#00735a"
GRADIENT = "#a03c78"
INK = "#1f2430"
MUTED = "#5b6270"
LINE = "#c9ced8"

#: Negative values in the kernel's colour, zero white, positive values in the input's.
SIGNED = LinearSegmentedColormap.from_list("signed", [KERNEL, "#ffffff", INPUT])

STYLE = {
    "figure.figsize": (7.0, 3.2),
    "figure.dpi": 144,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "savefig.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "lines.linewidth": 2,
    "legend.frameon": False,
    "image.cmap": "gray",
    "axes.prop_cycle": cycler(color=[INPUT, KERNEL, OUTPUT, GRADIENT, MUTED])
    + cycler(linestyle=["-", "--", "-.", ":", (0, (5, 1, 1, 1))]),
}


def use_style() -> None:
    """Draw all further figures in the book's style.

    >>> use_style()
    >>> plt.rcParams["figure.dpi"]
    144.0
    """
    plt.rcParams.update(STYLE)


def draw_windows(
    axes: Axes,
    size: int,
    kernel_size: int,
    stride: int = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int = 1,
    count: int | None = None,
) -> list[int]:
    """Draw one row of pixels and, below it, each place where a kernel rests.

    Pixels are filled squares, padding is dashed, and a pixel that no window touches is crossed out.
    Dots mark the cells that a window reads.

    Args:
        axes: Where to draw; its frame and ticks are removed.
        size: Pixels in the row.
        kernel_size: Cells that a window reads.
        stride: Cells between the starts of neighbouring windows.
        padding: Cells on each side, or a pair (before, after).
        dilation: Cells between neighbouring dots.
        count: Number of windows; as many as fit, unless given.

    Returns:
        The pixels, counted from 0, that no window touches.

    >>> figure, axes = plt.subplots()
    >>> draw_windows(axes, size=10, kernel_size=3, stride=2)
    [9]
    """
    before, after = (padding, padding) if isinstance(padding, int) else padding
    reach = dilation * (kernel_size - 1)
    if count is None:
        count = (before + size + after - reach - 1) // stride + 1
    starts = [stride * window - before for window in range(count)]
    touched = {start + dilation * tap for start in starts for tap in range(kernel_size)}
    unseen = [pixel for pixel in range(size) if pixel not in touched]
    last = max(size + after, starts[-1] + reach + 1)

    for cell in range(-before, size + after):
        real = 0 <= cell < size
        axes.add_patch(
            Rectangle(
                (cell - 0.44, -0.44), 0.88, 0.88, linewidth=1.2,
                facecolor=INPUT if real and cell not in unseen else "none",
                edgecolor=INPUT if real else MUTED, linestyle="-" if real else ":",
            )
        )  # fmt: skip
    axes.plot(unseen, [0] * len(unseen), "x", color=INK, markersize=8, markeredgewidth=2)
    for row, start in enumerate(starts, start=1):
        taps = [start + dilation * tap for tap in range(kernel_size)]
        axes.plot(taps, [-row * 0.6 - 0.25] * kernel_size, "o-", color=KERNEL, markersize=5)
    axes.set(
        xlim=(-before - 0.7, last - 0.3), ylim=(-0.6 * count - 0.7, 0.6), aspect="equal",
        xticks=[], yticks=[],
    )  # fmt: skip
    axes.grid(False)
    axes.spines[:].set_visible(False)
    return unseen
