"""Trace: the layers of a model, with their output shapes, parameters and multiply-adds."""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from html import escape
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from d2lite.channels import MaskedConv2d
from d2lite.checks import checked, instance, optional

Shape = tuple[int, ...]


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
        return f"{self.model}, input {times(self.input_shape)}"

    def _rows(self) -> list[tuple[str, ...]]:
        """List the cells of each row; the last is the total."""
        rows = [
            (
                layer.name,
                layer.description,
                "not called" if layer.output_shape is None else times(layer.output_shape),
                f"{layer.parameters:,}",
                f"{layer.multiply_adds:,}",
            )
            for layer in self.layers
        ]
        total = f"{self.total_parameters:,}", f"{self.total_multiply_adds:,}"
        return [*rows, ("", "Total", "", *total)]


_HEADINGS = ("Layer", "Output shape", "Parameters", "Multiply-adds")


def input_sizes(value: Any) -> None:
    """Obey as a rule: the shape of one example, 1 to 4 sizes such as (C, H, W)."""
    if not isinstance(value, (tuple, list)) or not all(
        isinstance(size, Integral) and not isinstance(size, bool) for size in value
    ):
        raise TypeError("must be ints, such as (3, 224, 224)")
    if not 1 <= len(value) <= 4 or min(value) < 1:
        raise ValueError(
            "must be 1 to 4 sizes ≥ 1, such as (3, 224, 224); it has no batch dimension"
        )


@checked(model=instance(nn.Module), input_shape=input_sizes, dtype=optional(instance(torch.dtype)))
def trace(model: nn.Module, input_shape: Shape, dtype: torch.dtype | None = None) -> Trace:
    """Run a model once on zeros and list its layers: output shape, parameters, multiply-adds.

    A row is one call of a module that has no children, or that owns parameters or multiplies
    itself, in the order in which the calls end. A layer called twice has two rows; its parameters
    count in the first. A layer that another one uses without calling it, as attention does with its
    ``out_proj``, counts there. Layers with parameters that nothing uses come last, so that the
    total is the model's.

    A *multiply-add* is one use of one weight (also where it meets padding), or of one number of a
    product of two activations, as in attention; biases do not count. Convolutions, transposed
    convolutions and products of matrices are counted, also as functions inside a module and in
    recurrent layers; all else shows 0. The total is half of the operations that PyTorch's
    ``FlopCounterMode`` counts with ``sdpa_kernel(SDPBackend.MATH)`` and gradients on. (Without
    gradients it misses fused attention: ViT-B/16 has 17.56 G, not 11.27 G.) ``LSTM`` is counted,
    which it misses on a CPU; a ``MaskedConv2d`` counts the kernels that it has.

    The model runs in evaluation mode, without gradients, and is left as it was.

    Args:
        model: Any module that takes one tensor.
        input_shape: Of one example, such as (C, H, W); a batch of one is made of it.
        dtype: Of the example; that of the model's parameters, unless given. A model that looks
            tokens up takes ``torch.int64``.

    Raises:
        TypeError: If ``model`` is not a module, ``input_shape`` not a tuple of ints, or ``dtype``
            none of PyTorch's.
        ValueError: If ``input_shape`` is not 1 to 4 sizes ≥ 1, or the model fails on it: the
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
    calls = run(model, one_example(model, input_shape, dtype))
    rows: list[tuple[str, nn.Module, Shape | None, set[nn.Parameter], int]] = [
        (call.name, call.module, call.output_shape, call.parameters, call.multiply_adds)
        for call in calls
    ]
    unused = set(model.parameters()).difference(*(call.parameters for call in calls))
    for name, module in model.named_modules():
        if own := unused.intersection(module.parameters(recurse=False)):
            unused -= own
            rows.append((name, module, None, own, 0))
    layers = [
        Layer(name, describe(module), shape, sum(each.numel() for each in parameters), work)
        for name, module, shape, parameters, work in rows
    ]
    return Trace(type(model).__name__, tuple(input_shape), tuple(layers))


def count_parameters(model: nn.Module) -> int:
    """Count the numbers that training may change: parameters that require a gradient, each once.

    >>> count_parameters(nn.Conv2d(3, 64, kernel_size=7))
    9472
    """
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


@dataclass
class Call:
    """A call of a module, while ``run`` watches and after; shapes are without the batch."""

    name: str
    module: nn.Module
    received: Shape
    before: int  # the operations counted when it begins
    inside: int = 0  # those counted in the modules that it calls
    parameters: set[nn.Parameter] = field(default_factory=set)  # that no earlier call has used
    output_shape: Shape = ()
    multiply_adds: int = 0  # without those of the modules that it calls


def one_example(model: nn.Module, input_shape: Shape, dtype: torch.dtype | None = None) -> Tensor:
    """Make a batch of one, of zeros, of the model's type unless given, and on its device."""
    like = next(model.parameters(), torch.zeros(0))
    return torch.zeros(1, *input_shape, dtype=dtype or like.dtype, device=like.device)


class Uses(TorchFunctionMode):
    """While active, note the parameters that the innermost running module computes with.

    Attention's fast path, which is not counted, is off while there is such a mode.
    """

    def __init__(self) -> None:
        super().__init__()
        self.running: list[Call] = []  # the calls that have begun and not ended

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if self.running and next(tensors(output), None) is not None:
            used = (t for t in tensors((args, kwargs)) if isinstance(t, nn.Parameter))
            self.running[-1].parameters.update(used)
        return output

    def row(self, call: Call, output: object) -> None:
        """Take the output of a call that becomes a row."""


def run(model: nn.Module, x: Tensor, uses: Uses | None = None) -> list[Call]:
    """Run a model once and list the calls that are rows of a trace, as they end.

    Raises:
        ValueError: If the model fails; the message names the layer and the shape that it received.
    """
    # A parametrized layer, such as one with weight_norm, is a layer, and so are not its parts.
    named = model.named_modules()
    names = {module: name for name, module in named if "parametrizations" not in name.split(".")}
    for module, name in names.items():
        if isinstance(module, torch.jit.ScriptModule):
            raise ValueError(
                f"model: {name or 'it'} is a ScriptModule: its layers cannot be watched"
            )
    uses = uses or Uses()
    running = uses.running
    ended: list[Call] = []
    counted: set[nn.Parameter] = set()
    flops = FlopCounterMode(display=False, custom_mapping={torch.ops.aten.mkldnn_rnn_layer: _rnn})

    def enter(module: nn.Module, args: tuple, kwargs: dict) -> None:
        received = _shape((args, kwargs))
        running.append(Call(names[module], module, received, flops.get_total_flops()))

    def leave(module: nn.Module, args: tuple, output: object) -> None:
        call = running.pop()
        total = flops.get_total_flops() - call.before
        if running:
            running[-1].inside += total
        call.multiply_adds = (total - call.inside) // 2
        if isinstance(module, MaskedConv2d):  # it fills in a zero for each kernel that it lacks
            call.multiply_adds = call.multiply_adds * len(module.weight) // module.table.numel()
        own = set(module.parameters(recurse=False))
        if own or call.multiply_adds or not list(module.children()):
            call.parameters = (call.parameters | own) - counted
            counted.update(call.parameters)
            call.output_shape = _shape(output)
            ended.append(call)
            uses.row(call, output)

    with ExitStack() as undo, torch.no_grad():
        undo.enter_context(torch.random.fork_rng(devices=[x.device] if x.is_cuda else []))
        for module in model.modules():
            undo.callback(setattr, module, "training", module.training)
            module.training = False
        for module in names:
            undo.enter_context(module.register_forward_pre_hook(enter, with_kwargs=True))
            undo.enter_context(module.register_forward_hook(leave))
        try:
            with sdpa_kernel(SDPBackend.MATH), flops, uses:
                model(x)
        except Exception as error:
            last = running[-1] if running else Call("", model, _shape(x), 0)
            raise ValueError(
                f"input_shape={tuple(x.shape[1:])}: {place(last)} received "
                f"{times(last.received)} and failed: {error}"
            ) from error
    return ended


def _rnn(input: Shape, w_in: Shape, w_hidden: Shape, *args: Any, **kwargs: Any) -> int:
    """Count a recurrent layer of oneDNN, (T, N, C): both matrices at each step, as others have."""
    return 2 * math.prod(input[:-1]) * (math.prod(w_in) + math.prod(w_hidden))


def tensors(value: object) -> Iterator[Any]:
    """Find the tensors in nested tuples, lists and dicts."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors(item)
    elif isinstance(value, Tensor):
        yield value


_DEFAULTS = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1}


def describe(module: nn.Module) -> str:
    """Put a layer into words, such as ``Conv2d 1→6, 5×5, padding 2``."""
    name = type(module).__name__
    words = [name]
    for kind in ("channels", "features"):
        if hasattr(module, f"in_{kind}") and hasattr(module, f"out_{kind}"):
            words = [f"{name} {getattr(module, f'in_{kind}')}→{getattr(module, f'out_{kind}')}"]
    if isinstance(module, nn.Embedding):
        words = [f"{name} {module.num_embeddings}→{module.embedding_dim}"]
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


def place(call: Call) -> str:
    """Name the module of a call, and what it is."""
    return f"{call.name or 'the model'} ({describe(call.module)})"


def _shape(value: object) -> Shape:
    """Find the first tensor that a layer takes or gives: its shape, without the batch."""
    return next((tuple(tensor.shape[1:]) for tensor in tensors(value)), ())


def times(shape: Shape) -> str:
    """Write a shape as the tables do, such as ``3 × 224 × 224``."""
    return " × ".join(map(str, shape))
