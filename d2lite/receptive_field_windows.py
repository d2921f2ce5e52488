"""The rules of ``receptive_field`` for what slides a window, pads or enlarges."""

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from d2lite.receptive_field_rules import See, moves, name_of


def _convolves(
    see: See, func: Any, x: Tensor, weight: Tensor, bias: Any = None, stride: Any = 1,
    padding: Any = 0, dilation: Any = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    end, kernel = _mixes(see, x, weight, groups), weight.shape[2:]
    if isinstance(padding, str):
        same = [_at(dilation, i) * (k - 1) // 2 for i, k in enumerate(kernel)]
        padding = same if padding == "same" else 0
    return _slides(see, end, x, kernel, stride, padding, dilation)


def _convolves_back(
    see: See, func: Any, x: Tensor, weight: Tensor, bias: Any = None, stride: Any = 1,
    padding: Any = 0, output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
) -> Tensor:  # fmt: skip
    """Put the numbers ``stride`` apart, with nothing between them, and slide with stride 1."""
    end, kernel = _mixes(see, x, weight, groups), weight.shape[2:]
    for axis in range(-len(kernel), 0):
        if end.shape[axis] == 1 < x.shape[axis]:
            continue  # all see the same
        s, p, d = _at(stride, axis), _at(padding, axis), _at(dilation, axis)
        reach = d * (kernel[axis] - 1)
        room = reach + _at(output_padding, axis)
        end = _extended(see, end, axis, room, room)
        shape = list(end.shape)
        shape[axis] = s * (shape[axis] - 1) + 1
        apart = end.new_full(shape, -inf)
        apart.transpose(0, axis)[::s] = end.transpose(0, axis)
        size = see.results[0].shape[axis]
        used = apart.narrow(axis, s * room + p - reach, size + reach)
        end = used.unfold(axis, reach + 1, 1)[..., ::d].amax(-1)
    return end


def _pools(
    see: See, func: Any, x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0,
    *rest: Any, **kwargs: Any,
) -> Tensor:  # fmt: skip
    dilation = 1
    if "max" in name_of(func):
        dilation = rest[0] if rest else kwargs.get("dilation", 1)
    n = int(name_of(func).split("pool")[1][0])
    kernel = [_at(kernel_size, i) for i in range(n)]
    return _slides(see, see(x), x, kernel, stride or kernel, padding, dilation)


def _pools_powers(
    see: See, func: Any, x: Tensor, p: Any, kernel_size: Any, stride: Any = None, *args: Any,
    **kwargs: Any,
) -> Tensor:  # fmt: skip
    return _pools(see, func, x, kernel_size, stride)


def _pools_adaptively(see: See, func: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    n, end = int(name_of(func).split("pool")[1][0]), see(x)
    size = [
        1 if end.shape[axis] == 1 else see.results[0].shape[axis] for axis in range(-n, 0)
    ]  # fmt: skip
    return getattr(F, f"adaptive_max_pool{n}d")(end, size)


def _pads(
    see: See, func: Any, x: Tensor, pad: Sequence[int], mode: str = "constant", value: Any = None
) -> Tensor:
    if mode != "constant":
        return moves(see, func, x, pad, mode)
    end = see(x)
    for i in range(len(pad) // 2):
        axis = -1 - i
        if any(pad[2 * i : 2 * i + 2]) and not end.shape[axis] == 1 < x.shape[axis]:
            end = _extended(see, end, axis, *pad[2 * i : 2 * i + 2])
    return end


def _normalizes_neighbours(
    see: See, func: Any, x: Tensor, size: int, *args: Any, **kwargs: Any
) -> Tensor:
    end = see(x)
    if end.shape[1] == 1:
        return end
    sides = [
        end.new_full((1, n, *[1] * (end.ndim - 2)), -inf) for n in (size // 2, (size - 1) // 2)
    ]
    sides = [side.expand(-1, -1, *end.shape[2:]) for side in sides]
    return torch.cat([sides[0], end, sides[1]], 1).unfold(1, size, 1).amax(-1)


def _enlarges(
    see: See, func: Any, x: Tensor, size: Any = None, scale_factor: Any = None,
    mode: str = "nearest", *args: Any, **kwargs: Any,
) -> Tensor:  # fmt: skip
    if not mode.startswith("nearest"):
        raise ValueError(f"its mode is {mode}")
    return func(see(x).expand(x.shape), size, scale_factor, mode, *args, **kwargs)


def _at(setting: Any, axis: int) -> int:
    if not isinstance(setting, (tuple, list)):
        return setting
    return setting[axis] if len(setting) > 1 else setting[0]


def _mixes(see: See, x: Tensor, weight: Tensor, groups: int) -> Tensor:
    """Let all channels of a group see what each of its input channels sees."""
    end, channels = see(x), 1 - weight.ndim
    if end.shape[channels] == 1:
        return end
    end = end.unflatten(channels, (groups, -1)).amax(channels, keepdim=True)
    size = list(end.shape)
    size[channels] = see.results[0].shape[channels] // groups
    return end.expand(size).flatten(channels - 1, channels)


def _slides(
    see: See, end: Tensor, x: Tensor, kernel: Sequence[int], stride: Any, padding: Any,
    dilation: Any,
) -> Tensor:  # fmt: skip
    """Unite what the windows hold; what would lie beyond an edge goes on as the numbers before."""
    for axis in range(-len(kernel), 0):
        s, p, d = _at(stride, axis), _at(padding, axis), _at(dilation, axis)
        if axis == -1 and see.end == 1:
            see.after = see.jump * s
        if end.shape[axis] == 1 < x.shape[axis]:
            continue  # all see the same
        reach = d * (kernel[axis] - 1)
        after = (see.results[0].shape[axis] - 1) * s + reach + 1 - p - x.shape[axis]
        end = _extended(see, end, axis, p, after)
        end = end.unfold(axis, reach + 1, s)[..., ::d].amax(-1)
    return end


def _extended(see: See, end: Tensor, axis: int, before: int, after: int) -> Tensor:
    """Add numbers at both ends of an axis, which go on evenly, or see nothing; or cut some off."""
    size, here = end.shape[axis], end.transpose(0, axis)
    if size == 1:
        jump = (-see.jump, see.jump, 0, 0)[see.end] if axis == -1 else 0
        step = torch.full_like(here[:1], jump)
    else:
        steps = here.diff(dim=0)
        step = steps[:1] if bool((steps == steps[:1]).all()) else torch.full_like(here[:1], -inf)
    sides = []
    for edge, count, sign in ((here[:1], before, -1), (here[-1:], after, 1)):
        far = torch.arange(1, max(count, 0) + 1).view(-1, *[1] * (end.ndim - 1)) * sign
        even = edge + far * step
        sides.append(torch.where(step > -inf, even, -inf) if count > 0 else here[:0])
    left, right = sides
    here = here[max(0, -before) : size - max(0, -after)]
    return torch.cat([left.flip(0), here, right]).transpose(0, axis)


#: The rule of each function.
WINDOWS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(["conv1d", "conv2d", "conv3d"], _convolves),
    **dict.fromkeys([f"conv_transpose{n}d" for n in (1, 2, 3)], _convolves_back),
    **dict.fromkeys([f"max_pool{n}d{i}" for n in (1, 2, 3) for i in ("", "_with_indices")], _pools),
    **dict.fromkeys([f"avg_pool{n}d" for n in (1, 2, 3)], _pools),
    **dict.fromkeys([f"lp_pool{n}d" for n in (1, 2, 3)], _pools_powers),
    **dict.fromkeys(
        [
            f"adaptive_{kind}_pool{n}d{i}"
            for kind in ("avg", "max")
            for n in (1, 2, 3)
            for i in ("", "_with_indices")
        ],
        _pools_adaptively,
    ),
    "interpolate": _enlarges,
    "local_response_norm": _normalizes_neighbours,
    "pad": _pads,
}
