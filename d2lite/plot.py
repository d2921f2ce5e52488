"""Figures and tables: one palette, the same colour for the same thing everywhere."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from cycler import cycler
from IPython.display import Markdown
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from d2lite.checks import checked, one_of, tensor

# To be told apart with any common colour blindness (after Okabe and Ito, 2008); ≥ 4.5 : 1 on white.
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

STYLE: dict[str, Any] = {
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
    plt.style.use(STYLE)


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

    Pixels are filled squares, padding is dotted, and a pixel that no window reads is hatched. Dots
    mark the cells that a window reads.

    Args:
        axes: Where to draw; its frame and ticks are removed.
        size: Pixels in the row.
        kernel_size: Cells that a window reads.
        stride: Cells between the starts of neighbouring windows.
        padding: Cells on each side, or a pair (before, after).
        dilation: Cells between neighbouring dots.
        count: Number of windows; as many as fit, unless given.

    Returns:
        The pixels, counted from 0, that no window reads.

    >>> figure, axes = plt.subplots()
    >>> draw_windows(axes, size=10, kernel_size=3, stride=2)
    [9]
    """
    before, after = (padding, padding) if isinstance(padding, int) else padding
    reach = dilation * (kernel_size - 1)
    if count is None:
        count = (before + size + after - reach - 1) // stride + 1
    starts = [stride * window - before for window in range(count)]
    read = {start + dilation * tap for start in starts for tap in range(kernel_size)}
    unseen = [pixel for pixel in range(size) if pixel not in read]
    last = max(size + after, starts[-1] + reach + 1)

    for cell in range(-before, size + after):
        real, is_read = 0 <= cell < size, cell not in unseen
        axes.add_patch(
            Rectangle(
                (cell - 0.44, -0.44), 0.88, 0.88, linewidth=1.2,
                facecolor=(INPUT, 0.2) if real and is_read else "none",
                edgecolor=INPUT if real else MUTED, linestyle="-" if real else ":",
                hatch=None if is_read else "////",
            )
        )  # fmt: skip
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


@checked(image=tensor("(H, W)", floating=False))
def show_image(axes: Axes, image: torch.Tensor) -> None:
    """Draw one image: grey from 0 to 1 or its largest value, in colour if any value is negative.

    In colour, zero is white; ``SIGNED`` runs equally far to both sides of it.

    Args:
        axes: Where to draw; its frame and ticks are removed.
        image: (H, W).

    Raises:
        ValueError: If the image is not 2-D.

    >>> figure, axes = plt.subplots()
    >>> show_image(axes, torch.tensor([[0.0, -2.0], [0.5, 1.0]]))
    >>> axes.images[0].get_clim()
    (-2.0, 2.0)
    """
    values = image.detach().cpu().numpy()
    if values.min() < 0:
        limit = np.abs(values).max()
        axes.imshow(values, cmap=SIGNED, vmin=-limit, vmax=limit)
    else:
        axes.imshow(values, cmap="gray", vmin=0, vmax=max(1.0, values.max()))
    axes.set_axis_off()


def _one_for_each(images: Sequence[torch.Tensor], titles: Sequence[str]) -> None:
    if not images or len(images) != len(titles):
        raise ValueError(f"titles: {len(titles)} for {len(images)} images, must be one for each")


@checked(_one_for_each)
def show_images(
    images: Sequence[torch.Tensor], titles: Sequence[str], columns: int | None = None
) -> Figure:
    """Draw images side by side, each as ``show_image`` does.

    Args:
        images: Each (H, W), of any sizes.
        titles: One above each image.
        columns: Images in a row; all in one row, unless given.

    Returns:
        The figure, 5 inches wide so that its titles can be read on a phone.

    Raises:
        ValueError: If there are not as many titles as images, or there is no image.

    >>> len(show_images([torch.eye(3), -torch.eye(3)], ["identity", "negative"]).axes)
    2
    """
    columns = columns or len(images)
    rows = -(-len(images) // columns)
    figure, grid = plt.subplots(
        rows, columns, squeeze=False, figsize=(5, rows * (5 / columns + 0.3))
    )
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, image, title in zip(grid.flat, images, titles, strict=False):
        show_image(axes, image)
        axes.set_title(title)
    return figure


@checked(matrix=tensor("(H, W)", floating=False))
def show_matrix(axes: Axes, matrix: torch.Tensor, colour: str = KERNEL) -> None:
    """Draw a small matrix as a grid with its numbers, to two decimals.

    Args:
        axes: Where to draw; its frame and ticks are removed.
        matrix: (H, W).
        colour: Of the frame and the numbers: ``INPUT``, ``KERNEL``, ``OUTPUT`` or ``GRADIENT``.

    Raises:
        ValueError: If the matrix is not 2-D.

    >>> figure, axes = plt.subplots()
    >>> show_matrix(axes, torch.tensor([[1.0, -0.25]]))
    >>> [text.get_text() for text in axes.texts]
    ['1', '−0.25']
    """
    height, width = matrix.shape
    for (i, j), value in np.ndenumerate(matrix.detach().cpu().numpy()):
        text = f"{value + 0.0:.2f}".rstrip("0").rstrip(".")
        text = "0" if text == "-0" else text.replace("-", "−")
        axes.add_patch(Rectangle((j, i), 1, 1, facecolor="none", edgecolor=colour, linewidth=1.2))
        axes.text(j + 0.5, i + 0.5, text, color=colour, ha="center", va="center")
    axes.set(xlim=(-0.05, width + 0.05), ylim=(height + 0.05, -0.05), aspect="equal")
    axes.set_axis_off()


@checked(joined=one_of("+", "×", "concatenate"))
def show_block(
    branches: Sequence[Sequence[str]], joined: str = "+", after: Sequence[str] = ()
) -> Figure:
    """Draw a block of a network: its branches side by side, and how they are joined.

    Args:
        branches: What each branch does to the input, in order. A branch that does nothing is a
            shortcut.
        joined: Are the branches added, ``"+"``, or multiplied, ``"×"``, or is each one's output
            kept, ``"concatenate"``?
        after: What happens to the result.

    >>> figure = show_block([["3 × 3", "ReLU", "3 × 3"], []], after=["ReLU"])
    >>> [text.get_text() for text in figure.axes[0].texts if text.get_text()]
    ['input', '3 × 3', 'ReLU', '3 × 3', '+', 'ReLU', 'output']
    """
    longest = max(map(len, branches))
    end = 1.4 * (longest + 1)  # a step of 1.4 from box to box, of 1 from branch to branch
    places = [(len(branches) - 1) / 2 - i for i in range(len(branches))]
    figure, axes = plt.subplots(
        figsize=(min(7, 1.2 * (longest + len(after) + 3)), 0.4 + 0.6 * len(branches))
    )
    box = {"boxstyle": "round,pad=0.35", "facecolor": "white", "linewidth": 1.4}

    def put(text: str, x: float, y: float, colour: str) -> None:
        axes.text(x, y, text, color=colour, ha="center", va="center", zorder=2, size=9,
                  bbox=box | {"edgecolor": colour})  # fmt: skip

    def line(*points: tuple[float, float]) -> None:
        axes.plot(*zip(*points, strict=True), color=MUTED, linewidth=1.4, linestyle="-", zorder=1)

    put("input", 0, 0, INPUT)
    for names, y in zip(branches, places, strict=True):
        line((0, 0), (0.7, 0), (0.7, y), (end - 0.4, y), (end, 0))
        for i, name in enumerate(names):
            put(name, 1.4 * (i + 1 + (longest - len(names)) / 2), y, KERNEL)
    line((end, 0), (end + 1.4 * (len(after) + 1), 0))
    put(joined, end, 0, INK)
    for i, name in enumerate([*after, "output"]):
        put(name, end + 1.4 * (i + 1), 0, OUTPUT if i == len(after) else KERNEL)
    axes.set(
        xlim=(-0.5, end + 1.4 * (len(after) + 1) + 0.5), ylim=(places[-1] - 0.5, places[0] + 0.5)
    )
    axes.set_axis_off()
    return figure


def _a_row_each(x: Sequence[float], runs: Any) -> None:
    shape = tuple(np.shape(runs))
    if len(shape) != 2 or shape[1] != len(x):
        raise ValueError(f"runs: shape {shape}, must be (R, {len(x)})")


@checked(_a_row_each)
def spread(axes: Axes, x: Sequence[float], runs: Any, **line: Any) -> None:
    """Draw several runs as one line, their median, in a band from the least to the greatest.

    Args:
        axes: Where to draw.
        x: Places, length P.
        runs: (R, P): one row for each run, as from each seed.
        line: Passed on to ``axes.plot``, as ``label`` and ``color``.

    Raises:
        ValueError: If ``runs`` is not (R, P) with P places.

    >>> figure, axes = plt.subplots()
    >>> spread(axes, [1, 2], [[0.1, 0.4], [0.3, 0.2], [0.2, 0.3]])
    >>> axes.lines[0].get_ydata().round(1).tolist()
    [0.2, 0.3]
    """
    values = np.asarray(runs, dtype=float)
    (drawn,) = axes.plot(x, np.median(values, axis=0), **line)
    axes.fill_between(x, values.min(0), values.max(0), color=drawn.get_color(), alpha=0.2, lw=0)


def median_and_range(values: Any, digits: int = 0) -> str:
    """Say the median of several results, and in brackets the least and the greatest.

    >>> median_and_range([90.2, 91.4, 90.6], digits=1)
    '90.6 (90.2–91.4)'
    >>> median_and_range([-0.4, 0.2, 1.3], digits=1), median_and_range([90.2])
    ('0.2 (−0.4 to 1.3)', '90')
    """
    values = np.asarray(values, dtype=float)
    middle, low, high = (
        f"{round(float(value), digits) + 0:.{digits}f}".replace("-", "−")  # + 0: no −0
        for value in (np.median(values), values.min(), values.max())
    )
    to = " to " if "−" in low else "–"
    return f"{middle} ({low}{to}{high})" if values.size > 1 else middle


def _as_many_as_the_head(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    for row in rows:
        if len(row) != len(head):
            raise ValueError(f"rows: {list(row)}, must have {len(head)} columns as the head")


@checked(_as_many_as_the_head)
def table(head: Sequence[str], *rows: Sequence[str]) -> Markdown:
    """Set a table from texts, the first column to the left, the others to the right.

    Args:
        head: The names of the columns.
        rows: The rows, each with a text for each column.

    Raises:
        ValueError: If a row has more or fewer texts than the head.

    >>> print(table(["layer", "width"], ["C1", "28"]).data)
    layer | width
    :-- | --:
    C1 | 28
    """
    rule = [":--"] + ["--:"] * (len(head) - 1)
    return Markdown("\n".join(" | ".join(row) for row in (head, rule, *rows)))
