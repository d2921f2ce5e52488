"""Sizes: what shape comes out of a layer, and what a layer sees of the image.

The three formulas are those of PyTorch, for one axis or for (height, width). With n the input size,
k the kernel size, s the stride, p the padding *on each side* and d the dilation, the dilated kernel
spans e = d(k − 1) + 1 pixels, and the output size is

- convolution: ⌊(n + 2p − e) / s⌋ + 1;
- pooling: the same, or rounded up with ``ceil_mode``;
- transposed convolution: (n − 1)s − 2p + e + output padding.

From Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from html import escape
from numbers import Integral
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from d2lite.checks import boolean, checked, integers, named, optional

IntOrPair = int | tuple[int, int]
Size = TypeVar("Size", int, tuple[int, int])
Shape = tuple[int, ...]

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
    if isinstance(value, (tuple, list)):
        height, width = value
        return height, width
    return value, value


def _is_int(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


@dataclass(frozen=True)
class Layer:
    """One call of one layer: a row of a ``Trace``.

    Attributes:
        name: Where the model keeps the layer, such as ``features.0``; empty for the model itself.
        description: What it is, such as ``Conv2d 1→6, 5×5, padding 2``.
        output_shape: Of one example, (C, H, W) after a convolution; None if it was not called.
        parameters: How many it owns that no row above has counted.
        multiply_adds: For one example.
    """

    name: str
    description: str
    output_shape: Shape | None
    parameters: int
    multiply_adds: int


@dataclass(frozen=True, repr=False)
class Trace(Sequence[Layer]):
    """One example's way through a model: a sequence of ``Layer``, shown as a table."""

    model: str
    input_shape: Shape
    layers: tuple[Layer, ...]

    @property
    def total_parameters(self) -> int:
        """All of the model's parameters, each counted once."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def total_multiply_adds(self) -> int:
        """Multiply-adds for one example."""
        return sum(layer.multiply_adds for layer in self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: Any) -> Any:
        return self.layers[index]

    def __repr__(self) -> str:
        table = [("Name", *_HEADINGS), *self._rows()]
        w = [max(map(len, column)) for column in zip(*table, strict=True)]
        head, *body, total = (
            f"{a:<{w[0]}}  {b:<{w[1]}}  {c:>{w[2]}}  {d:>{w[3]}}  {e:>{w[4]}}"
            for a, b, c, d, e in table
        )
        rule = "─" * len(head)
        return "\n".join([self._caption(), rule, head, rule, *body, rule, total])

    def _repr_html_(self) -> str:
        left, right = "text-align: left; overflow-wrap: anywhere", "text-align: right"
        first, *headings = _HEADINGS
        head = f'<th scope="col" style="{left}">{first}</th>'
        head += "".join(f'<th scope="col" style="{right}">{heading}</th>' for heading in headings)
        rows = []
        for name, layer, *numbers in self._rows():
            code = f"<code>{escape(name).replace('.', '.<wbr>')}</code> " if name else ""
            cells = "".join(f'<td style="{right}">{number}</td>' for number in numbers)
            rows.append(f'<th scope="row" style="{left}">{code}{escape(layer)}</th>{cells}')
        *body, total = (f"<tr>{row}</tr>" for row in rows)
        return (
            f'<table class="trace"><caption>{escape(self._caption())}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody>"
            f"<tfoot>{total}</tfoot></table>"
        )

    def _caption(self) -> str:
        return f"{self.model}, input {_times(self.input_shape)}"

    def _rows(self) -> list[tuple[str, ...]]:
        """List the cells of each row; the last is the total."""
        rows = [
            (
                layer.name,
                layer.description,
                "not called" if layer.output_shape is None else _times(layer.output_shape),
                f"{layer.parameters:,}",
                f"{layer.multiply_adds:,}",
            )
            for layer in self.layers
        ]
        total = f"{self.total_parameters:,}", f"{self.total_multiply_adds:,}"
        return [*rows, ("", "Total", "", *total)]


_HEADINGS = ("Layer", "Output shape", "Parameters", "Multiply-adds")


def trace(model: nn.Module, input_shape: Shape) -> Trace:
    """Run a model once on zeros and list its layers: output shape, parameters, multiply-adds.

    A row is one call of a module that has no children, or that owns parameters itself, in the order
    in which the calls end. A layer called twice has two rows; its parameters count in the first.
    Layers with parameters that are never called come last, so that the total is the model's.

    A *multiply-add* is one use of one weight (also where it meets padding); biases do not count.
    Convolutions, transposed convolutions and linear layers are counted; all others show 0.

    The model runs in evaluation mode, without gradients, and is left as it was.

    Args:
        model: Any module that takes one tensor.
        input_shape: Of one example, such as (C, H, W); a batch of one is made of it.

    Raises:
        TypeError: If ``model`` is not a module, or ``input_shape`` not a tuple of ints.
        ValueError: If ``input_shape`` is not 1 to 3 sizes ≥ 1, or the model fails on it: the
            message names the layer and the shape that it received.

    >>> trace(nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.MaxPool2d(2)), (1, 28, 28))
    Sequential, input 1 × 28 × 28
    ─────────────────────────────────────────────────────────────────────────
    Name  Layer                       Output shape  Parameters  Multiply-adds
    ─────────────────────────────────────────────────────────────────────────
    0     Conv2d 1→6, 5×5, padding 2   6 × 28 × 28         156        117,600
    1     MaxPool2d, 2×2, stride 2     6 × 14 × 14           0              0
    ─────────────────────────────────────────────────────────────────────────
          Total                                            156        117,600
    """
    counted: set[nn.Parameter] = set()

    def new_parameters(module: nn.Module) -> int:
        new = set(module.parameters(recurse=False)) - counted
        counted.update(new)
        return sum(parameter.numel() for parameter in new)

    layers = []
    for name, module, received, output, _ in _run(model, input_shape):
        work = _multiply_adds(module, received, output)
        layers.append(Layer(name, _describe(module), output, new_parameters(module), work))
    for name, module in model.named_modules():
        if parameters := new_parameters(module):
            layers.append(Layer(name, _describe(module), None, parameters, 0))
    return Trace(type(model).__name__, tuple(input_shape), tuple(layers))


def count_parameters(model: nn.Module) -> int:
    """Count the numbers that training may change: parameters that require a gradient, each once.

    ``trace`` counts all parameters, layer by layer.

    >>> count_parameters(nn.Conv2d(3, 64, kernel_size=7))
    9472
    """
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


class Field(NamedTuple):
    """What the units of a layer see of the image, along one axis, in pixels.

    Attributes:
        size: Pixels that a unit can depend on, by the longest way through the network. It may be
            more than the image has: padding counts.
        jump: Pixels from the field of one unit to that of the next.
        start: Middle of the first unit's field; pixel 0 has its middle at 0.
    """

    size: int
    jump: int
    start: float


def receptive_field(model: nn.Module, input_shape: Shape) -> dict[str, Field]:
    """Find the receptive field of each layer: of one unit of its output, along the width.

    Through a convolution or pooling with kernel size k, stride s, padding p and dilation d::

        size  → size + d(k − 1) · jump
        start → start + (d(k − 1) / 2 − p) · jump
        jump  → jump · s

    Where branches meet, as in a sum or a concatenation, the field reaches from the leftmost end to
    the rightmost. Layers that look at the whole of their input, such as a linear layer after
    flattening or global pooling, are windows as large as it is.

    Args:
        model: Any module that takes one tensor (C, H, W); see ``trace``.
        input_shape: Of one example.

    Returns:
        The field of each layer, by the layer's name, in the order of ``trace``; the last call
        counts where a layer is called twice. Layers without pixels before them are left out.

    Raises:
        TypeError: If ``model`` is not a module, or ``input_shape`` not a tuple of ints.
        ValueError: If the model fails, or a layer moves pixels in another way, as up-sampling does:
            then its units' fields differ. The message names the layer.

    From Araujo, Norris and Sim, "Computing receptive fields of convolutional neural networks",
    Distill, 2019.

    >>> model = nn.Sequential(nn.Conv2d(1, 6, 5), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5))
    >>> receptive_field(model, (1, 28, 28))["2"]
    Field(size=14, jump=2, start=6.5)
    """
    fields = {}
    for call in _run(model, input_shape):
        if call.field is None:
            raise ValueError(
                f"model: the units of {call.name or 'the model'} ({_describe(call.module)}) have "
                "no common receptive field, because of this layer or one before it"
            )
        fields[call.name] = call.field
    return fields


#: The arguments of PyTorch's functions that slide a window, in their order.
_WINDOWS = {
    "conv2d": ("input", "weight", "bias", "stride", "padding", "dilation"),
    "max_pool2d": ("input", "kernel_size", "stride", "padding", "dilation"),
    "avg_pool2d": ("input", "kernel_size", "stride", "padding"),
}


class _Fields(TorchFunctionMode):
    """While active, what is computed from tensors that have a ``field`` gets one too."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        inputs = [tensor for tensor in _tensors((args, kwargs)) if hasattr(tensor, "field")]
        for result in _tensors(output) if inputs else ():
            result.field = _field(func.__name__, args, kwargs or {}, inputs, result)
        return output


def _tensors(value: object) -> list[Any]:
    """List the tensors in nested tuples, lists and dicts."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, (tuple, list)):
        return [tensor for item in value for tensor in _tensors(item)]
    return [value] if isinstance(value, Tensor) else []


def _field(name: str, args: Any, kwargs: Any, inputs: list[Any], output: Tensor) -> Field | None:
    """Find the field of what a function gives; None where its units have different ones."""
    if any(tensor.field is None for tensor in inputs):
        return None

    def width(tensor: Tensor) -> int:
        return tensor.shape[-1] if tensor.ndim == 4 else 1

    widest = max(inputs, key=width)
    if name in _WINDOWS and output.ndim == 4:
        given = dict(zip(_WINDOWS[name], args, strict=False)) | kwargs
        kernel_size = given["weight"].shape[2:] if name == "conv2d" else given["kernel_size"]
        stride = given.get("stride") or (1 if name == "conv2d" else kernel_size)
        reach = _last(given.get("dilation", 1)) * (_last(kernel_size) - 1)
        named = {"same": reach // 2, "valid": 0}
        padding = given.get("padding", 0)
        padding = named[padding] if isinstance(padding, str) else _last(padding)
        return _slide(widest.field, reach, _last(stride), padding)
    if name == "pad":
        given = dict(zip(("input", "pad", "mode"), args, strict=False)) | kwargs
        zeros = given.get("mode", "constant") == "constant"
        return _slide(widest.field, 0, stride=1, padding=given["pad"][0]) if zeros else None
    if width(output) == 1 < width(widest):
        return _slide(widest.field, width(widest) - 1, stride=1, padding=0)
    if width(output) != width(widest):
        return None
    first = min(tensor.field.start - (tensor.field.size - 1) / 2 for tensor in inputs)
    last = max(tensor.field.start + (tensor.field.size - 1) / 2 for tensor in inputs)
    return Field(round(last - first) + 1, widest.field.jump, (first + last) / 2)


def _slide(field: Field, reach: int, stride: int, padding: int) -> Field:
    size, jump, start = field
    return Field(size + reach * jump, jump * stride, start + (reach / 2 - padding) * jump)


def _last(value: Any) -> int:
    return value[-1] if isinstance(value, (tuple, list, torch.Size)) else value


class _Call(NamedTuple):
    name: str
    module: nn.Module
    input_shape: Shape
    output_shape: Shape
    field: Field | None


def _run(model: nn.Module, input_shape: Shape) -> list[_Call]:
    """Run a model once on zeros; list the calls of its layers in the order in which they end."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: a {type(model).__name__}, must be a torch.nn.Module")
    if not isinstance(input_shape, (tuple, list)) or not all(map(_is_int, input_shape)):
        raise TypeError(f"input_shape={input_shape!r}: must be ints, such as (3, 224, 224)")
    if not 1 <= len(input_shape) <= 3 or min(input_shape) < 1:
        raise ValueError(
            f"input_shape={input_shape}: must be 1 to 3 sizes ≥ 1, such as (3, 224, 224); "
            "it has no batch dimension"
        )
    names = {module: name for name, module in model.named_modules()}
    running: list[tuple[nn.Module, Shape]] = []  # the calls that have begun and not ended
    calls: list[_Call] = []

    def enter(module: nn.Module, args: tuple, kwargs: dict) -> None:
        running.append((module, _shape((args, kwargs))))

    def leave(module: nn.Module, args: tuple, output: object) -> None:
        _, received = running.pop()
        if not list(module.children()) or list(module.parameters(recurse=False)):
            field = next((getattr(t, "field", None) for t in _tensors(output)), None)
            calls.append(_Call(names[module], module, received, _shape(output), field))

    like = next(model.parameters(), torch.zeros(0))
    zeros: Any = torch.zeros(1, *input_shape, dtype=like.dtype, device=like.device)
    zeros.field = Field(size=1, jump=1, start=0.0)
    with ExitStack() as undo, torch.no_grad():
        undo.enter_context(torch.random.fork_rng(devices=[like.device] if like.is_cuda else []))
        for module in names:
            undo.callback(setattr, module, "training", module.training)
            module.training = False
            undo.enter_context(module.register_forward_pre_hook(enter, with_kwargs=True))
            undo.enter_context(module.register_forward_hook(leave))
        try:
            with _Fields():
                model(zeros)
        except Exception as error:
            module, received = running[-1] if running else (model, tuple(input_shape))
            raise ValueError(
                f"input_shape={tuple(input_shape)}: {names[module] or 'the model'} "
                f"({_describe(module)}) received {_times(received)} and failed: {error}"
            ) from error
    return calls


def _multiply_adds(module: nn.Module, received: Shape, output: Shape) -> int:
    """Count the uses of a layer's weights: each once per output (transposed: input) position."""
    match module:
        case nn.Conv1d() | nn.Conv2d() | nn.Conv3d():
            positions = output[1:]
        case nn.ConvTranspose1d() | nn.ConvTranspose2d() | nn.ConvTranspose3d():
            positions = received[1:]
        case nn.Linear():
            positions = output[:-1]
        case _:
            return 0
    return module.weight.numel() * math.prod(positions)


_DEFAULTS = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1}


def _describe(module: nn.Module) -> str:
    """Put a layer into words, such as ``Conv2d 1→6, 5×5, padding 2``."""
    name = type(module).__name__
    words = [name]
    for kind in ("channels", "features"):
        if hasattr(module, f"in_{kind}") and hasattr(module, f"out_{kind}"):
            words = [f"{name} {getattr(module, f'in_{kind}')}→{getattr(module, f'out_{kind}')}"]
    kernel_size = getattr(module, "kernel_size", None)
    if isinstance(kernel_size, int):
        kernel_size = (kernel_size,) * {"1d": 1, "3d": 3}.get(name[-2:], 2)
    if isinstance(kernel_size, tuple):
        words.append("×".join(map(str, kernel_size)))
    for setting, default in _DEFAULTS.items():
        value = getattr(module, setting, default)
        if isinstance(value, tuple):
            value = value[0] if len(set(value)) == 1 else "×".join(map(str, value))
        if isinstance(value, (int, str)) and value != default:
            words.append(f"{setting} {value}")
    return ", ".join(words)


def _shape(value: object) -> Shape:
    """Find the first tensor that a layer takes or gives: its shape, without the batch."""
    return next((tuple(tensor.shape[1:]) for tensor in _tensors(value)), ())


def _times(shape: Shape) -> str:
    return " × ".join(map(str, shape))
