"""The normalization explorer: which numbers share a mean, and what that makes of them."""

from collections.abc import Iterable
from typing import Any

import torch
import traitlets
from torch import Tensor

from d2lite.checks import Rule, check, integer, number, one_of
from d2lite.explore.explorer import Checked, Explorer, Read
from d2lite.norm import BatchNorm, GroupNorm, InstanceNorm, LayerNorm

MOST = {"images": 4, "channels": 6, "places": 4}  # N, C and H·W

Values = list[list[list[float]]]
Norm = BatchNorm | LayerNorm | InstanceNorm | GroupNorm


def _parts(value: Any, unit: str) -> list:
    """Read 1 or more of a unit, not too many; a tensor will do."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"must be a list of {unit}")
    parts = list(value)
    if not 1 <= len(parts) <= MOST[unit]:
        raise ValueError(f"{len(parts)} {unit}, must be between 1 and {MOST[unit]}")
    return parts


def _numbers(parts: list, rule: Rule) -> list[float]:
    for i, x in enumerate(parts):
        check(f"[{i}]", x, rule)
    return [float(x) for x in parts]


def _values(value: Any) -> Values:
    """Read numbers (N, C, H·W)."""
    images = [_parts(image, "channels") for image in _parts(value, "images")]
    table = [[_parts(channel, "places") for channel in image] for image in images]
    if len({len(image) for image in table}) > 1 or len({len(c) for i in table for c in i}) > 1:
        raise ValueError("must have as many channels and places in every image")
    return [[_numbers(channel, number()) for channel in image] for image in table]


def _vector(value: Any) -> list[float]:
    """Read a number for each channel."""
    return _numbers(_parts(value, "channels"), number())


def _variances(value: Any) -> list[float]:
    return _numbers(_parts(value, "channels"), number(at_least=0))


def _place(value: Any) -> list[int]:
    value = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(value, Iterable) or len(place := list(value)) != 3:
        raise TypeError("must be [image, channel, place]")
    for (unit, most), i in zip(MOST.items(), place, strict=True):
        check(unit, i, integer(at_least=0, at_most=most - 1))
    return [int(i) for i in place]


def _column(numbers: list[float]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)[:, None]


def divisors(channels: int) -> list[int]:
    """List the numbers of groups that channels can be split into.

    >>> divisors(6)
    [1, 2, 3, 6]
    """
    return [g for g in range(1, channels + 1) if channels % g == 0]


class NormalizationExplorer(Explorer):
    """See which numbers share a mean under each normalization, and what becomes of each number.

    What the reader types and sets in the figure can be read here, and set from here. New values of
    another shape take the other traits with them: γ, β and the running statistics get as many
    channels, the groups become the most that divide them, the chosen number stays inside.

    Args:
        values: x of shape (N, C, H·W): up to 4 images, 6 channels and 4 places; a tensor will do.
        method: ``"batch"``, ``"layer"``, ``"instance"`` or ``"group"``.
        groups: Of group normalization; a divisor of C.
        weight: γ for each channel, for layer normalization too.
        bias: β for each channel.
        running_mean: For each channel; used by batch normalization in evaluation.
        running_var: For each channel.
        momentum: The share of the new in the running statistics, from 0 to 1, as in PyTorch.
        mode: ``"train"`` or ``"eval"``; makes a difference to batch normalization only.
        selected: The chosen number: [image, channel, place], each from 0.
        label: The figure's accessible name.

    Raises:
        ValueError: If a value is out of range, or does not agree with the shape of ``values``.
        TypeError: If a value is of another type, or there is no such argument.

    >>> NormalizationExplorer(values=[[[1, 3], [0, 8]]], method="instance").output
    tensor([[[-1.0000,  1.0000],
             [-1.0000,  1.0000]]], dtype=torch.float64)
    """

    values = Read(
        [
            [[1.0, 3.0], [6.0, 4.0], [0.0, 1.0], [2.0, 4.0]],
            [[4.0, 0.0], [9.0, 5.0], [2.0, 0.0], [3.0, 7.0]],
            [[2.0, 2.0], [8.0, 4.0], [1.0, 2.0], [6.0, 8.0]],
        ],
        _values,
    )
    method = Checked("batch", one_of("batch", "layer", "instance", "group"))
    groups = Checked(2, integer(at_least=1, at_most=MOST["channels"]))
    weight = Read([1.0] * 4, _vector)
    bias = Read([0.0] * 4, _vector)
    running_mean = Read([0.0] * 4, _vector)
    running_var = Read([1.0] * 4, _variances)
    momentum = Checked(0.1, number(at_least=0, at_most=1))
    mode = Checked("train", one_of("train", "eval"))
    selected = Read([0, 0, 0], _place)
    label = traitlets.Unicode("Normalization explorer").tag(sync=True)

    @property
    def shape(self) -> tuple[int, int, int]:
        """N, C and H·W."""
        return len(self.values), len(self.values[0]), len(self.values[0][0])

    @property
    def layer(self) -> Norm:
        """The layer of ``d2lite.norm`` with these settings, in float64."""
        _, C, places = self.shape
        layer: Norm
        if self.method == "batch":
            layer = BatchNorm(C, momentum=self.momentum).double()
            layer.running_mean.copy_(_column(self.running_mean).flatten())
            layer.running_var.copy_(_column(self.running_var).flatten())
        elif self.method == "layer":
            layer = LayerNorm((C, places)).double()
        elif self.method == "instance":
            layer = InstanceNorm(C, affine=True).double()
        else:
            layer = GroupNorm(self.groups, C).double()
        for parameter, numbers in ((layer.weight, self.weight), (layer.bias, self.bias)):
            parameter.data = (
                _column(numbers).expand(C, parameter.numel() // C).reshape_as(parameter)
            )
        return layer.train(self.mode == "train")

    @property
    def output(self) -> Tensor:
        """What the layer makes of the values: (N, C, H·W), float64.

        Raises:
            ValueError: If each mean is of a single number.
        """
        with torch.no_grad():
            return self.layer(torch.tensor(self.values, dtype=torch.float64))

    def set_of(self, image: int, channel: int) -> int:
        """Say which mean a channel of an image shares, counted from 0.

        >>> explorer = NormalizationExplorer(method="group", groups=2)  # of 4 channels
        >>> [explorer.set_of(1, channel) for channel in range(4)]
        [2, 2, 3, 3]
        """
        C = self.shape[1]
        return {
            "batch": channel,
            "layer": image,
            "instance": image * C + channel,
            "group": image * self.groups + channel * self.groups // C,
        }[self.method]

    @traitlets.validate("weight", "bias", "running_mean", "running_var")
    def _check_channels(self, proposal: Any) -> list[float]:
        name, vector, C = proposal["trait"].name, proposal["value"], self.shape[1]
        if len(vector) != C:
            raise ValueError(f"{name}: {len(vector)} numbers, must be {C}, one for each channel")
        return vector

    @traitlets.validate("groups")
    def _check_groups(self, proposal: Any) -> int:
        groups, C = proposal["value"], self.shape[1]
        if C % groups:
            possible = ", ".join(map(str, divisors(C)))
            raise ValueError(f"groups={groups}: must divide {C} channels: {possible}")
        return groups

    @traitlets.validate("selected")
    def _check_selected(self, proposal: Any) -> list[int]:
        place = proposal["value"]
        if any(i >= size for i, size in zip(place, self.shape, strict=True)):
            raise ValueError(f"selected={place}: must be inside the values, {self.shape}")
        return place

    @traitlets.observe("values")
    def _agree(self, change: Any) -> None:
        C = self.shape[1]
        fillings = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
        with self.hold_trait_notifications():
            for name, filling in fillings.items():
                setattr(self, name, (getattr(self, name) + [filling] * C)[:C])
            self.groups = max(g for g in divisors(C) if g <= self.groups)
            self.selected = [
                min(i, size - 1) for i, size in zip(self.selected, self.shape, strict=True)
            ]

    def picture(self) -> str:
        """Draw the N × C channels as an SVG element: one mean, one colour and number."""
        N, C, _ = self.shape
        tones, wide, high = ("input", "kernel", "output", "gradient"), 56, 40
        boxes = ""
        for n in range(N):
            for c in range(C):
                k = self.set_of(n, c)
                tone, depth = f"var(--d2-{tones[k % 4]})", 0.12 + 0.1 * (k // 4 % 6)
                boxes += (
                    f'<path d="M{c * wide + 1} {n * high + 1}h{wide - 2}v{high - 2}h{2 - wide}z" '
                    f'fill="{tone}" fill-opacity="{depth:.2f}" stroke="{tone}"/>'
                    f'<text x="{(c + 0.5) * wide}" y="{(n + 0.62) * high}" text-anchor="middle" '
                    f'fill="var(--d2-ink)">mean {k}</text>'
                )
        return (
            f'<svg viewBox="0 0 {C * wide} {N * high}" width="{C * wide}" '
            f'font-size="13">{boxes}</svg>'
        )
