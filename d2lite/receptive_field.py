"""Receptive field: what the units of each layer see of the image.

Each number in a tensor has a first and a last pixel that it can depend on. A function of PyTorch
has a rule that says how its result's pixels follow from those of its arguments; a function without
a rule is refused. What only moves numbers, such as a permutation, moves their pixels as well, by
the same function.
"""

from collections.abc import Sequence
from functools import cache
from math import inf
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from d2lite.checks import checked, instance
from d2lite.receptive_field_rules import (
    FILLS,
    METADATA,
    NOTHING,
    RULES,
    VALUELESS,
    See,
    Seen,
    name_of,
)
from d2lite.receptive_field_windows import WINDOWS
from d2lite.trace import Call, Shape, Uses, input_sizes, one_example, place, run, tensors


class Field(NamedTuple):
    """What the units of a layer see of the image, along one axis, in pixels.

    Attributes:
        size: Pixels that a unit can depend on, by the longest way through the network. It may be
            more than the image has: padding counts.
        jump: Pixels from the field of one unit to that of the next; 0 where all see the same.
        start: Middle of the first unit's field; pixel 0 has its middle at 0.
    """

    size: int
    jump: int
    start: float


@checked(model=instance(nn.Module), input_shape=input_sizes)
def receptive_field(model: nn.Module, input_shape: Shape) -> dict[str, Field]:
    """Find the receptive field of each layer: of one unit of its output, along the width.

    Through a convolution or pooling with kernel size k, stride s, padding p and dilation d::

        size  → size + d(k − 1) · jump
        start → start + (d(k − 1) / 2 − p) · jump
        jump  → jump · s

    Where branches meet, as in a sum or a concatenation, the field reaches from the leftmost end to
    the rightmost. A normalisation over positions, global pooling or attention sees all that its
    input sees, and so does what follows. So does a vector, such as a flattened map, as a whole.

    All weights count as if they were not zero, and a maximum depends on all that it is taken of.

    Args:
        model: Any module that takes one tensor, (C, W), (C, H, W) or (C, D, H, W); see ``trace``.
        input_shape: Of one example.

    Returns:
        The field of each layer, by the layer's name, in the order of ``trace``; the last call
        counts where a layer is called twice. Layers without pixels before them are left out.

    Raises:
        TypeError: If ``model`` is not a module, or ``input_shape`` not a tuple of ints.
        ValueError: If the model fails; if a layer moves pixels in another way, as up-sampling does:
            then its units' fields differ; or if it calls a function without a known rule. The
            message names the layer, and the function.

    From Araujo, Norris and Sim, "Computing receptive fields of convolutional neural networks",
    Distill, 2019.

    >>> model = nn.Sequential(nn.Conv2d(1, 6, 5), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5))
    >>> receptive_field(model, (1, 28, 28))["2"]
    Field(size=14, jump=2, start=6.5)
    """
    x = one_example(model, input_shape)
    held = [*model.parameters(), *model.buffers(), *map(vars, model.modules())]
    constants = {id(tensor): tensor for tensor in tensors(held)}  # not what the run leaves there
    tape = _Tape()
    calls = run(model, x, tape)
    fields = {}
    for call, (seen, shape) in zip(
        calls, _replay(model, x, tape.steps, set(constants)), strict=True
    ):
        if not seen.ends or bool((seen.ends[1] == -inf).all()):
            continue
        field = _common(seen, shape, width=input_shape[-1] if len(input_shape) > 1 else 1)
        if field is None:
            raise ValueError(
                f"model: the units of {place(call)} have no common receptive field, because of "
                "this layer or one before it"
            )
        fields[call.name] = field
    return fields


class _Step(NamedTuple):
    """A call of a function; or, without a function, what a layer gave."""

    place: str
    func: Any
    args: tuple
    kwargs: dict
    output: Any
    before: dict[int, int]  # the version of each tensor that goes in: it counts changes in place
    after: dict[int, int]  # and of each that comes out


class _Tape(Uses):
    """Record each call of a function of PyTorch, with its arguments and its output."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[_Step] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args, kwargs = _kept(args), _kept(kwargs or {})
        before = _versions((args, kwargs))
        output = super().__torch_function__(func, types, args, kwargs)
        if name_of(func) not in METADATA:
            where = place(self.running[-1]) if self.running else "the model"
            after = _versions((args, output))
            self.steps.append(_Step(where, func, args, kwargs, output, before, after))
        return output

    def row(self, call: Call, output: object) -> None:
        """Record what a layer gave."""
        first = next(tensors(output), None)
        self.steps.append(_Step(place(call), None, (), {}, first, _versions(first), {}))


def _kept(value: Any) -> Any:
    """Copy nested tuples, lists and dicts: a model may change them after the call."""
    if isinstance(value, dict):
        return {key: _kept(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return (list if isinstance(value, list) else tuple)(map(_kept, value))
    return value


def _versions(value: Any) -> dict[int, int]:
    return {id(tensor): tensor._version for tensor in tensors(value)}


def _replay(
    model: nn.Module, x: Tensor, steps: list[_Step], constants: set[int]
) -> list[tuple[Seen, Shape]]:
    """Follow the pixels through the recorded calls: what each layer gave sees, and its shape."""
    known = {id(x): (_image(x), 0)}  # zeros: not changed yet

    @cache
    def lasting() -> set[int]:
        """Find the tensors that a second run takes as well: it cannot have made them."""
        second = _Tape()
        run(model, torch.zeros_like(x), second)
        return {key for step in second.steps for key in step.before}

    def look(key: int, version: int) -> Seen:
        if key not in known and key not in constants and key in lasting():
            constants.add(key)
        if key in constants:
            return NOTHING
        if key not in known:
            raise ValueError("it takes a tensor that no function of PyTorch made")
        if known[key][1] != version:
            raise ValueError("it takes a tensor that was changed in place under another name")
        return known[key][0]

    rows = []
    for step in steps:
        name = name_of(step.func) if step.func else ""
        try:
            looks = {key: look(key, version) for key, version in step.before.items()}
            if name in ("to", "type_as"):  # another tensor gives its type
                looks = {k: seen if k == id(step.args[0]) else NOTHING for k, seen in looks.items()}
            if name in FILLS:
                looks[id(step.args[0])] = NOTHING
            if not step.func:
                seen = next(iter(looks.values()), NOTHING)
                rows.append((seen, step.output.shape if looks else ()))
                continue
            outputs = step.args[:1] if name == "setitem" else (step.output,)
            results = list(tensors(outputs))
            if name in VALUELESS or not any(seen.ends for seen in looks.values()):
                found = [NOTHING] * len(results)
            elif name not in RULES | WINDOWS or not results or step.kwargs.get("out") is not None:
                raise ValueError("no rule says so")
            elif any(id(result) in constants for result in results):
                raise ValueError("it changes a constant")
            else:
                found = _seen_by(step, name, results, looks)
        except Exception as error:
            raise ValueError(
                f"model: {step.place} {f'calls {name}' if name else 'returns'}, and it is not "
                "known which pixels the result "
                f"sees: {error}"
            ) from error
        for result, seen in zip(results, found, strict=True):
            if id(result) not in constants:
                known[id(result)] = seen, step.after[id(result)]
    return rows


def _image(x: Tensor) -> Seen:
    """Let each number of the image see its own pixel."""
    columns = torch.arange(x.shape[-1] if x.ndim > 2 else 1).float()
    rows = torch.arange(x.shape[-2] if x.ndim > 3 else 1).float()
    columns, rows = columns.view([1] * (x.ndim - 1) + [-1]), rows.view([1] * (x.ndim - 2) + [-1, 1])
    return Seen((-columns, columns, -rows, rows), jump=1)


def _seen_by(step: _Step, name: str, results: list[Tensor], looks: dict[int, Seen]) -> list[Seen]:
    """Apply the rule of a function, to each end of the fields."""
    see, rule = See(looks, results), (RULES | WINDOWS)[name]
    ends = []
    for see.end in range(4):
        moved = rule(see, step.func, *step.args, **step.kwargs)
        moved = [moved] * len(results) if isinstance(moved, Tensor) else tensors(moved)
        pairs = zip(moved, results, strict=True)
        ends.append([_shrink(end, result.shape) for end, result in pairs])
    if see.unread:
        raise ValueError("its weights or settings come from the image")
    return [
        Seen(of_result, see.next_jump(result, of_result[1]))
        for result, of_result in zip(results, zip(*ends, strict=True), strict=True)
    ]


def _step(ends: Sequence[Tensor], axis: int) -> int:
    """Find by how much fields go on along an axis; 0 if not evenly."""
    others = [d for d in range(ends[0].ndim) if d != axis]
    first, last = -ends[0].amax(others), ends[1].amax(others)
    steps = torch.cat([first.diff(), last.diff()]).unique().tolist()
    return int(steps[0]) if len(steps) == 1 and 0 < steps[0] < inf else 0


def _shrink(end: Tensor, shape: Sequence[int]) -> Tensor:
    """Keep one number along each axis where all are the same; check that the shape fits."""
    for axis in range(end.ndim):
        one = end.narrow(axis, 0, 1)
        if end.shape[axis] > 1 and bool((end == one).all()):
            end = one
    end.expand(shape)
    if end.ndim != len(shape):
        raise ValueError(f"it gives {tuple(shape)}")
    return end


def _common(seen: Seen, shape: Shape, width: int) -> Field | None:
    """Find the common field of all units of a layer, or None if they differ."""
    first, last, D = -seen.ends[0], seen.ends[1], len(shape)
    a, b = float(first.min()), float(last.max())
    whole = Field(int(b - a) + 1, seen.jump, (a + b) / 2)
    varies = {d for d in range(D) if max(first.shape[d], last.shape[d]) > 1}
    single = shape[-1] == 1
    if D < 3 or (single and (not varies or (D > 3 and varies <= {0, 1}))):
        return whole
    # The width is the last axis, and channels come after the batch; or channels are the last axis.
    for axis, channels in ((D - 1, {0, 1}), (D - 2, {0, D - 1})):
        if single or axis not in varies or not varies - {axis} <= channels:
            continue
        if axis == D - 2 and seen.ends[3].shape[-1] > 1 and not _step(seen.ends[2:], D - 3):
            continue  # height and width have changed place
        if step := _step(seen.ends[:2], axis):
            others = [d for d in range(D) if d != axis]
            x0, x1 = float(first.amin(others)[0]), float(last.amax(others)[0])
            return Field(int(x1 - x0) + 1, step, (x0 + x1) / 2)
    if D > 3:  # one channel may see everything, and another little
        first, last = first.amin((0, 1)), last.amax((0, 1))
    everything = bool((first <= 0).all() and (last >= width - 1).all())
    return whole._replace(jump=0) if everything or not varies else None
