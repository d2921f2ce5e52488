"""The channels explorer: which input channels each output channel sees, and what that costs."""

from collections.abc import Iterable
from math import gcd
from typing import Any

import traitlets

from d2lite.checks import integer, one_of
from d2lite.explore.explorer import Checked, Explorer, Read

MOST = 16  # channels on either side

Table = list[list[int]]


def _table(value: Any) -> Table:
    """Read rows of 0 and 1, (C_out, C_in); a tensor will do."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(value, Iterable) or not all(isinstance(row, Iterable) for row in value):
        raise TypeError("must be rows of 0 and 1, one for each output channel")
    table = [list(row) for row in value]
    widths = {len(row) for row in table}
    if len(widths) != 1 or not 1 <= len(table) <= MOST or not 1 <= min(widths) <= MOST:
        raise ValueError(f"must be 1 to {MOST} rows of 1 to {MOST} cells, equal")
    if wrong := {cell for row in table for cell in row} - {0, 1}:
        raise ValueError(f"holds {wrong}, must hold 0 and 1 only")
    return [[int(cell) for cell in row] for row in table]


def blocks(out_channels: int, in_channels: int, groups: int) -> Table:
    """Make the table of a grouped convolution: blocks of ones on its diagonal.

    >>> blocks(2, 4, groups=2)
    [[1, 1, 0, 0], [0, 0, 1, 1]]
    """
    group_of_output = [o * groups // out_channels for o in range(out_channels)]
    group_of_input = [i * groups // in_channels for i in range(in_channels)]
    return [[int(a == b) for b in group_of_input] for a in group_of_output]


def common_divisors(a: int, b: int) -> list[int]:
    """List the numbers of groups that a and b channels can be split into.

    >>> common_divisors(6, 16)
    [1, 2]
    """
    return [d for d in range(1, gcd(a, b) + 1) if gcd(a, b) % d == 0]


def groups_of(table: Table) -> int:
    """Find the number of groups that a table describes; 0 if it is no grouped convolution.

    >>> groups_of([[1, 0], [0, 1]]), groups_of([[0, 1], [1, 0]])
    (2, 0)
    """
    size = len(table), len(table[0])
    return next((g for g in common_divisors(*size) if blocks(*size, g) == table), 0)


class ChannelsExplorer(Explorer):
    """See which input channels each output channel sees, and count parameters and multiply-adds.

    What the reader sets in the figure can be read here, and set from here. The numbers of channels,
    the groups and the table always agree: a new number of channels takes as many of the groups as
    divide both numbers; a new table sets them all.

    Args:
        in_channels: C_in, from 1 to 16.
        out_channels: C_out, from 1 to 16.
        kernel_size: The kernels are this many pixels high and wide.
        groups: A common divisor of both numbers of channels; 0 for a table that is no grouping.
        table: (C_out, C_in), 0 or 1: whether the output channel sees the input channel.
        layer: ``"convolution"``, with the kernels of the table, or ``"depthwise separable"``, which
            pays no heed to the table.
        size: The output is this many pixels high and wide.
        output: The chosen output channel, from 0.
        label: The figure's accessible name.

    Raises:
        ValueError: If a value is out of range, or groups do not divide the channels.
        TypeError: If a value is of another type, or there is no such argument.

    >>> explorer = ChannelsExplorer(in_channels=8, out_channels=16, kernel_size=3, groups=8)
    >>> explorer.parameters  # 16 kernels of 9 weights, 16 biases
    160
    """

    in_channels = Checked(8, integer(at_least=1, at_most=MOST))
    out_channels = Checked(8, integer(at_least=1, at_most=MOST))
    kernel_size = Checked(3, integer(at_least=1, at_most=11))
    groups = Checked(1, integer(at_least=0, at_most=MOST))
    table = Read(blocks(8, 8, 1), _table)
    layer = Checked("convolution", one_of("convolution", "depthwise separable"))
    size = Checked(14, integer(at_least=1, at_most=512))
    output = Checked(0, integer(at_least=0, at_most=MOST - 1))
    label = traitlets.Unicode("Channels explorer").tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        for name in {"in_channels", "out_channels", "groups", "table", "output"} & traits.keys():
            given = _table(traits[name]) if name == "table" else traits[name]
            if given != getattr(self, name):
                raise ValueError(f"{name}={given}: does not agree with the other arguments")

    @property
    def weights(self) -> int:
        """The number of weights."""
        k, C_in, C_out = self.kernel_size, self.in_channels, self.out_channels
        if self.layer == "depthwise separable":
            return k * k * C_in + C_in * C_out
        return k * k * sum(map(sum, self.table))

    @property
    def parameters(self) -> int:
        """The weights, and a bias for each output channel."""
        return self.weights + self.out_channels

    @property
    def multiply_adds(self) -> int:
        """The uses of a weight for one image: each weight once at each output position."""
        return self.weights * self.size**2

    @traitlets.validate("groups")
    def _check_groups(self, proposal: Any) -> int:
        groups, C_in, C_out = proposal["value"], self.in_channels, self.out_channels
        if groups and (C_in % groups or C_out % groups):
            raise ValueError(
                f"groups={groups}: must divide in_channels={C_in} and out_channels={C_out}: "
                f"{', '.join(map(str, common_divisors(C_in, C_out)))}"
            )
        return groups

    @traitlets.validate("output")
    def _check_output(self, proposal: Any) -> int:
        output = proposal["value"]
        if output >= max(self.out_channels, len(self.table)):
            raise ValueError(f"output={output}: must be < out_channels={self.out_channels}")
        return output

    @traitlets.observe("in_channels", "out_channels", "groups", "table")
    def _agree(self, change: Any) -> None:
        size, table = (self.out_channels, self.in_channels), self.table
        if change["name"] == "groups" and self.groups:
            table = blocks(*size, self.groups)
        elif change["name"] in ("in_channels", "out_channels"):
            rows_or_cells = table if change["name"] == "out_channels" else table[0]
            if len(rows_or_cells) == change["new"]:
                return  # the table has led, or has followed already
            table = resize(table, *size, self.groups)
        with self.hold_trait_notifications():
            self.out_channels, self.in_channels = len(table), len(table[0])
            self.groups, self.table = groups_of(table), table
            self.output = min(self.output, len(table) - 1)

    def picture(self) -> str:
        """Draw the kernels as an SVG element: rows are output channels, columns input channels."""
        separable, k = self.layer == "depthwise separable", self.kernel_size
        cell, rows = 30, self.out_channels + 1.5 * separable

        def kernel(row: float, column: int, k: int) -> str:
            width = 4 + 2 * k
            x, y = (cell * (at + 0.5) - width / 2 for at in (column, row))
            return f"M{x} {y}h{width}v{width}h-{width}z"

        columns = range(self.in_channels)
        kernels = "".join(kernel(0, i, k) for i in columns if separable)
        for output, row in enumerate(self.table):
            for i in columns:
                if separable:
                    kernels += kernel(output + 1.5, i, 1)
                elif row[i]:
                    kernels += kernel(output, i, k)
        width, height = cell * self.in_channels, cell * rows
        lines = [f"M{cell * i} 0v{height}" for i in range(self.in_channels + 1)]
        lines += [f"M0 {height - cell * o}h{width}" for o in range(self.out_channels + 1)]
        return (
            f'<svg viewBox="-1 -1 {width + 2} {height + 2}" width="{width + 2}">'
            f'<path d="{"".join(lines)}" stroke="var(--d2-line)"/>'
            f'<path d="{kernels}" fill="var(--d2-kernel)"/></svg>'
        )


def resize(table: Table, out_channels: int, in_channels: int, groups: int) -> Table:
    """Give a table another size: still in groups, if it was; else cropped, or with ones added.

    >>> resize([[1, 0], [0, 1]], 3, 2, groups=2), resize([[0, 1]], 2, 2, groups=0)
    ([[1, 1], [1, 1], [1, 1]], [[0, 1], [1, 1]])
    """
    if groups:
        possible = common_divisors(out_channels, in_channels)
        return blocks(out_channels, in_channels, max(g for g in possible if g <= groups))
    wide = [(row + [1] * in_channels)[:in_channels] for row in table]
    return (wide + [[1] * in_channels for _ in range(out_channels)])[:out_channels]
