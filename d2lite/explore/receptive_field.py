"""The receptive-field explorer: what one unit at the end of a stack of layers sees of the input."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
import traitlets
from torch import nn

from d2lite.checks import check, integer, one_of
from d2lite.explore.explorer import Checked, Explorer, Read
from d2lite.receptive_field import Field, receptive_field

LARGEST = 512  # input pixels
MOST = 40  # layers

Layer = dict[str, int | str]

_RULES = {
    "kernel_size": integer(at_least=1, at_most=64),
    "stride": integer(at_least=1, at_most=16),
    "padding": integer(at_least=0, at_most=64),
    "dilation": integer(at_least=1, at_most=32),
}


def _layer(value: Any) -> Layer:
    """Read one layer, given by keywords or as a list [kernel_size, stride, padding, dilation]."""
    if isinstance(value, Mapping):
        given = dict(value)
    elif isinstance(value, Iterable) and not isinstance(value, str):
        given = dict(zip(_RULES, numbers := list(value), strict=False))
        if not 1 <= len(numbers) <= len(_RULES):
            raise ValueError(f"must be 1 to 4 numbers, {', '.join(_RULES)}")
    else:
        raise TypeError("must be a dict or a list, such as [3, 1, 1]")
    if unknown := given.keys() - {"operation", *_RULES}:
        raise TypeError(f"{', '.join(sorted(map(str, unknown)))}: no setting of a layer")
    if "kernel_size" not in given:
        raise TypeError("must have a kernel_size")
    operation = given.setdefault("operation", "convolution")
    check("operation", operation, one_of("convolution", "pooling"))
    stride = given["kernel_size"] if operation == "pooling" else 1
    full = {"stride": stride, "padding": 0, "dilation": 1, **given}
    for setting, rule in _RULES.items():
        check(setting, full[setting], rule)
    settings = {setting: int(full[setting]) for setting in _RULES}
    if operation == "pooling" and settings["padding"] > settings["kernel_size"] // 2:
        raise ValueError(f"padding={settings['padding']}: must be ≤ half the kernel_size")
    return {"operation": operation, **settings}


def _layers(value: Any) -> list[Layer]:
    """Read a list of layers, and fill in what is not given."""
    if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
        raise TypeError("must be a list of layers, such as [[3], [3]]")
    layers = list(value)
    for i, layer in enumerate(layers):
        check(f"[{i}]", layer, _layer)
    if not 1 <= len(layers) <= MOST:
        raise ValueError(f"{len(layers)} of them, must be between 1 and {MOST}")
    return [_layer(layer) for layer in layers]


class ReceptiveFieldExplorer(Explorer):
    """Build a stack of layers and see the cone that one unit at its end looks through.

    What the reader sets in the figure can be read here, and set from here. A stack whose kernels do
    not fit into what the layers before them leave is drawn as far as it goes, with the reason.

    Args:
        layers: 1 to 40 layers, first the one next to the input. Each is a dict with PyTorch's
            keywords ``kernel_size``, ``stride``, ``padding`` and ``dilation``, and ``operation``,
            which is ``"convolution"`` or ``"pooling"``; or a list of the four numbers. All but the
            first have defaults: those of PyTorch, for pooling a stride of ``kernel_size``.
        size: The input size n, in pixels, from 1 to 512.
        unit: The chosen unit of the last layer, from 0.
        label: The figure's accessible name.

    Raises:
        ValueError: If a value is out of range.
        TypeError: If a value is of another type, or there is no such argument.

    >>> explorer = ReceptiveFieldExplorer(layers=[[3], [3], [3]], size=12)
    >>> explorer.fields[-1]
    Field(size=7, jump=1, start=3.0)
    """

    layers = Read(_layers([[3], [3], [3]]), _layers)
    size = Checked(12, integer(at_least=1, at_most=LARGEST))
    unit = Checked(0, integer(at_least=0, at_most=10**6))
    label = traitlets.Unicode("Receptive-field explorer").tag(sync=True)

    @property
    def model(self) -> nn.Sequential:
        """The stack along one row, as PyTorch has it: input (1, 1, n), one channel throughout."""
        return nn.Sequential(*map(_module, self.layers))

    @property
    def fields(self) -> list[Field]:
        """The receptive field of each layer, by ``d2lite.receptive_field``.

        Raises:
            ValueError: If a kernel does not fit; the message names the layer.
        """
        return list(receptive_field(self.model, (1, 1, self.size)).values())

    @property
    def units(self) -> int:
        """The number of units of the last layer; 0 if a kernel does not fit."""
        return dict(enumerate(_sizes(self.size, self.layers))).get(len(self.layers), 0)

    @traitlets.validate("unit")
    def _check_unit(self, proposal: Any) -> int:
        unit, units = proposal["value"], self.units
        if units and unit >= units:
            raise ValueError(f"unit={unit}: must be < {units}, the units of the last layer")
        return unit

    @traitlets.observe("layers", "size")
    def _keep_unit_inside(self, change: Any) -> None:
        if self.units:
            self.unit = min(self.unit, self.units - 1)

    def picture(self) -> str:
        """Draw each layer's row of units, to scale, and the cone of the chosen unit, as SVG."""
        sizes = _sizes(self.size, self.layers)
        depth = len(sizes) - 1  # layers that fit
        fields = [Field(1, 1, 0.0)]
        if depth:
            stack = nn.Sequential(*map(_module, self.layers[:depth]))
            fields += receptive_field(stack, (1, 1, self.size)).values()
        ends = [(self.unit, self.unit)]  # the first and last unit of the cone, from the last layer
        for layer in reversed(self.layers[:depth]):
            k, s, p, d = (int(layer[name]) for name in _RULES)
            first, last = ends[0]
            ends.insert(0, (first * s - p, last * s - p + d * (k - 1)))
        spans = []  # of each row and of the cone in it, in pixels
        for size, field, (first, last) in zip(sizes, fields, ends, strict=True):
            edge = field.start - field.jump / 2
            spans.append([edge + field.jump * unit for unit in (0, size, first, last + 1)])
        low, high = min(map(min, spans)), max(map(max, spans))
        scale, step = 700 / (high - low), 34 if depth < 8 else 14
        shapes = ""
        for row, span in enumerate(spans):
            tone = "input" if row == 0 else "output" if row == depth else "kernel"
            for (left, right), fill in ((span[:2], 0.16), (span[2:], 1)):
                x0, x1 = (round((x - low) * scale, 1) for x in (left, right))
                shapes += (
                    f'<path d="M{x0} {row * step}H{x1}v{step * 0.6:.1f}H{x0}z" '
                    f'fill="var(--d2-{tone})" fill-opacity="{fill}"/>'
                )
        return f'<svg viewBox="0 0 700 {step * (depth + 1)}" width="700">{shapes}</svg>'


def _module(layer: Layer) -> nn.Module:
    k, s, p, d = (int(layer[name]) for name in _RULES)
    if layer["operation"] == "pooling":
        return nn.MaxPool2d((1, k), (1, s), (0, p), (1, d))
    with torch.random.fork_rng([]):
        return nn.Conv2d(1, 1, (1, k), (1, s), (0, p), (1, d))


def _sizes(size: int, layers: list[Layer]) -> list[int]:
    """List the sizes of the input and of each layer, as far as the kernels fit.

    >>> _sizes(5, _layers([[3, 2], [2], [2]]))
    [5, 2, 1]
    """
    sizes = [size]
    for layer in layers:
        k, s, p, d = (int(layer[name]) for name in _RULES)
        room = sizes[-1] + 2 * p - d * (k - 1) - 1
        if room < 0:
            break
        sizes.append(room // s + 1)
    return sizes
