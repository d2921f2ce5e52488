"""The rules of ``receptive_field``: which pixels the result of each function of PyTorch sees.

A function that is not here is refused. Nothing is assumed of it: many that keep the size of their
input, such as ``roll`` or ``softmax``, look far away.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from math import inf
from typing import Any, NamedTuple

import torch
from torch import Tensor

from d2lite.trace import tensors


class Seen(NamedTuple):
    """What a tensor's numbers see.

    Attributes:
        ends: Of the field of each number: −first column, last column, −first row, last row, as
            tensors of the tensor's shape, or of size 1 along an axis where all see the same. (−∞
            where a number sees nothing; with these signs, two fields unite by their maximum.)
            Empty if none of them sees anything.
        jump: Columns from one unit to the next, also where there is but one.
    """

    ends: tuple[Tensor, ...]
    jump: int


NOTHING = Seen((), 0)


class See:
    """For one end of the fields, tell a rule what a tensor's numbers see."""

    def __init__(self, looks: dict[int, Seen], results: list[Tensor]) -> None:
        self.looks, self.results, self.end = looks, results, 0
        self.unread = {key for key, look in looks.items() if look.ends}
        self.jump = self.after = max(look.jump for look in looks.values())

    def __call__(self, tensor: Tensor) -> Tensor:
        """Give, for each number of the tensor, one end of its field."""
        ends = self.looks[id(tensor)].ends
        self.unread.discard(id(tensor))
        return ends[self.end] if ends else torch.full([1] * tensor.ndim, -inf)

    def next_jump(self, result: Tensor, last: Tensor) -> int:
        """Find the jump of a result: measured if it is wide, else the one that the rule found."""
        if result.ndim > 2 and last.shape[-1] > 1:
            steps = last.diff(dim=-1).unique().tolist()
            return int(steps[0]) if len(steps) == 1 and 0 < steps[0] < inf else self.after
        collapsed = result.ndim > 2 and result.shape[-1] > 1
        wide = any(look.ends and look.ends[1].numel() > 1 for look in self.looks.values())
        return 0 if collapsed and wide else self.after


def name_of(func: Any) -> str:
    """Name a function without what says how it is called: ``add`` for ``add_`` or ``__radd__``.

    An operator of a library, ``torch.ops.library.add``, may do anything: it keeps its full name.
    """
    of_library = str(getattr(func, "__module__", "")).startswith("torch._ops")
    name = str(func) if of_library else getattr(func, "__name__", str(func))
    name = (func.__self__.__name__ if name == "__get__" else name).strip("_")
    return {"rsub": "sub", "rdiv": "div", "rpow": "pow"}.get(name, name)


def _pointwise(see: See, func: Any, *args: Any, **kwargs: Any) -> Tensor:
    return _united(*(see(tensor) for tensor in tensors((args, kwargs))))


def _united(*ends: Tensor) -> Tensor:
    most = max(end.ndim for end in ends)
    return reduce(torch.maximum, [end[(None,) * (most - end.ndim)] for end in ends])


def moves(see: See, func: Any, *args: Any, **kwargs: Any) -> Any:
    """Do to the pixels what the function does to the numbers."""

    def moved(value: Any, first: bool = False) -> Any:
        if isinstance(value, dict):
            return {key: moved(item) for key, item in value.items()}
        if isinstance(value, (tuple, list)):
            return type(value)(moved(item, first) for item in value)
        if isinstance(value, Tensor) and (first or value.is_floating_point()):
            return see(value).expand(value.shape)
        if isinstance(value, Tensor) and see.looks[id(value)].ends:
            raise ValueError("an index comes from the image")
        return value

    if func.__name__.endswith("_") and not func.__name__.endswith("__"):
        raise ValueError("it works in place")
    function = Tensor.reshape if name_of(func) == "view" else func
    return function(moved(args[0], first=True), *moved(args[1:]), **moved(kwargs))


def _joins(see: See, func: Any, parts: Sequence[Tensor], dim: int = 0, **kwargs: Any) -> Tensor:
    """Concatenate, with one number along each other axis where all see the same."""
    ends, dim = [see(part) for part in parts], kwargs.get("axis", dim)
    sizes = [max(sizes) for sizes in zip(*(end.shape for end in ends), strict=True)]
    for i, (end, part) in enumerate(zip(ends, parts, strict=True)):
        sizes[dim] = part.shape[dim]
        ends[i] = end.expand(sizes)
    return torch.cat(ends, dim)


def _fills(see: See, func: Any, target: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    result = see.results[0]
    nothing = torch.full([1] * result.ndim, -inf)
    return _united(nothing, *(see(value) for value in tensors((args, kwargs))))


def _sets(see: See, func: Any, target: Tensor, index: Any, value: Any) -> Tensor:
    if any(see.looks[id(tensor)].ends for tensor in tensors(index)):
        raise ValueError("an index comes from the image")
    end = see(target).expand(target.shape).clone()
    end[index] = see(value).expand(value.shape) if isinstance(value, Tensor) else -inf
    return end


def _reduces(
    see: See, func: Any, x: Tensor, dim: Any = None, keepdim: bool = False, **kwargs: Any
) -> Tensor:
    if isinstance(dim, Tensor):  # the larger of two tensors
        return _pointwise(see, func, x, dim)
    dim = kwargs.get("axis", dim)
    dims = tuple(range(x.ndim)) if dim is None or dim in ((), []) else dim
    return see(x).amax(dims, keepdim=keepdim and (dim is not None))


def _deviates(
    see: See, func: Any, x: Tensor, dim: Any = None, unbiased: Any = 1, keepdim: bool = False,
    **kwargs: Any,
) -> Tensor:  # fmt: skip
    if isinstance(dim, bool):
        raise ValueError("name its arguments")
    return _reduces(see, func, x, dim, keepdim)


def _norms(
    see: See, func: Any, x: Tensor, p: Any = 2, dim: Any = None, keepdim: bool = False, **kw: Any
) -> Tensor:
    return _reduces(see, func, x, dim, keepdim)


def _spreads(see: See, func: Any, x: Tensor, dim: int, *args: Any, **kwargs: Any) -> Tensor:
    """Along an axis, each sees all."""
    return see(x).amax(dim, keepdim=True)


def _unit_length(see: See, func: Any, x: Tensor, p: float = 2, dim: int = 1, **kw: Any) -> Tensor:
    return see(x).amax(dim, keepdim=True)


def _multiplies(see: See, func: Any, a: Tensor, b: Tensor) -> Tensor:
    if min(a.ndim, b.ndim) < 2:
        raise ValueError("it takes a vector")
    return _united(see(a).amax(-1, keepdim=True), see(b).amax(-2, keepdim=True))


def _sums_products(see: See, func: Any, equation: str, *operands: Any) -> Tensor:
    """Let each number of an ``einsum`` see what all those see that it is summed from."""
    operands = tuple(tensors(operands))
    given, _, kept = equation.replace(" ", "").partition("->")
    letters = given.split(",")
    if "." in equation or not kept or any(len(set(word)) < len(word) for word in letters):
        raise ValueError(f"{equation!r} is not spelt out")
    ends = []
    for word, operand in zip(letters, operands, strict=True):
        summed = [i for i, letter in enumerate(word) if letter not in kept]
        end = see(operand).amax(summed, keepdim=True) if summed else see(operand)
        end = end.permute(*(word.index(x) for x in kept if x in word), *summed)
        end = end.squeeze(tuple(range(len(word) - len(summed), len(word))))
        ends.append(end[tuple(slice(None) if x in word else None for x in kept)])
    return reduce(torch.maximum, ends)


def _projects(see: See, func: Any, x: Tensor, weight: Tensor, bias: Any = None) -> Tensor:
    return see(x).amax(-1, keepdim=True)


def _attends(
    see: See, func: Any, q: Tensor, k: Tensor, v: Tensor, attn_mask: Any = None,
    dropout_p: float = 0.0, is_causal: bool = False, **kwargs: Any,
) -> Tensor:  # fmt: skip
    if attn_mask is not None or is_causal:
        raise ValueError("it has a mask")
    ends = see(q).amax(-1, keepdim=True), see(k).amax((-2, -1), keepdim=True)
    return reduce(torch.maximum, [*ends, see(v).amax(-2, keepdim=True)])


def _attends_with_heads(
    see: See, func: Any, q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any
) -> Any:
    """Attention on (L, N, E); the second result, if there is one, is of (N, L, S)."""
    if kwargs.get("key_padding_mask") is not None or kwargs.get("attn_mask") is not None:
        raise ValueError("it has a mask")
    if q.ndim != 3 or len(see.results) > 2:
        raise ValueError("it has no batch")
    asks, keys, values = see(q).amax(-1, keepdim=True), see(k), see(v)
    keys, values = keys.amax((0, 2), keepdim=True), values.amax((0, 2), keepdim=True)
    weights = torch.maximum(asks, keys)
    return [torch.maximum(weights, values), weights.transpose(0, 1)][: len(see.results)]


def _normalizes_batch(
    see: See, func: Any, x: Tensor, mean: Any, variance: Any, weight: Any = None,
    bias: Any = None, training: bool = False, *args: Any, **kwargs: Any,
) -> Tensor:  # fmt: skip
    others = [axis for axis in range(x.ndim) if axis != 1]
    return see(x).amax(others, keepdim=True) if training else see(x)


def _normalizes_instances(
    see: See, func: Any, x: Tensor, running_mean: Any = None, running_var: Any = None,
    weight: Any = None, bias: Any = None, use_input_stats: bool = True, *args: Any, **kwargs: Any,
) -> Tensor:  # fmt: skip
    return see(x).amax(tuple(range(2, x.ndim)), keepdim=True) if use_input_stats else see(x)


def _normalizes_layer(
    see: See, func: Any, x: Tensor, shape: Sequence[int], *args: Any, **kwargs: Any
) -> Tensor:
    return see(x).amax(tuple(range(-len(shape), 0)), keepdim=True)


def _normalizes_groups(
    see: See, func: Any, x: Tensor, groups: int, *args: Any, **kwargs: Any
) -> Tensor:
    end = see(x).amax(tuple(range(2, x.ndim)), keepdim=True)
    if end.shape[1] == 1:
        return end
    end = end.unflatten(1, (groups, -1))
    return end.amax(2, keepdim=True).expand(end.shape).flatten(1, 2)


_POINTWISE = """
    abs absolute acos add addcdiv addcmul alpha_dropout and arctan asin atan atan2 bfloat16
    bitwise_and bitwise_not bitwise_or ceil celu clamp clamp_max clamp_min clip clone contiguous
    copysign cos cosh detach deg2rad div divide double dropout dropout1d dropout2d dropout3d elu eq
    erf erfc exp exp2 expm1 feature_alpha_dropout float floor floor_divide floordiv fmod ge gelu gt
    half hardshrink hardsigmoid hardswish hardtanh heaviside hypot invert isfinite isinf isnan le
    leaky_relu lerp lgamma log log10 log1p log2 logaddexp logical_and logical_not logical_or logit
    logsigmoid lt masked_fill maximum minimum mish mul multiply nan_to_num ne neg negative or
    positive pow prelu reciprocal relu relu6 remainder round rrelu rsqrt selu sigmoid sign silu sin
    sinc sinh softplus softshrink softsign sqrt square sub subtract tan tanh tanhshrink threshold to
    true_divide trunc type_as where xlogy
"""
_MOVES = """
    H T adjoint broadcast_to channel_shuffle chunk expand expand_as flatten flip getitem hsplit
    hstack mH mT movedim moveaxis narrow native_channel_shuffle permute pixel_shuffle
    pixel_unshuffle repeat repeat_interleave reshape roll select split squeeze stack swapaxes
    swapdims t tensor_split tile transpose unbind unflatten unfold unsqueeze view view_as vsplit
"""
_REDUCES = "all amax amin any argmax argmin logsumexp max mean median min nanmean nansum prod sum"

_FILLS = "copy fill full_like new_full"

_METADATA = """
    device dim dtype element_size get_device is_complex is_contiguous is_cuda is_floating_point
    is_leaf is_meta is_nested is_quantized is_sparse itemsize layout len nbytes ndim ndimension
    nelement numel requires_grad shape size storage_offset stride version
"""
_VALUELESS = """
    empty_like new_empty new_ones new_zeros ones_like rand_like randint_like randn_like zero
    zeros_like
"""

#: What is read from a tensor that is none of its numbers.
METADATA = set(_METADATA.split())

#: Functions whose result depends on none of a tensor's numbers.
VALUELESS = set(_VALUELESS.split())

#: Functions whose result depends on none of their first tensor's numbers.
FILLS = set(_FILLS.split())

#: The rule of each function.
RULES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(_POINTWISE.split(), _pointwise),
    **dict.fromkeys(_MOVES.split(), moves),
    **dict.fromkeys(_REDUCES.split(), _reduces),
    **dict.fromkeys(["std", "var", "std_mean", "var_mean"], _deviates),
    **dict.fromkeys(["norm", "linalg_vector_norm"], _norms),
    **dict.fromkeys(["log_softmax", "softmax", "softmin"], _spreads),
    **dict.fromkeys(["bmm", "matmul", "mm"], _multiplies),
    "batch_norm": _normalizes_batch,
    **dict.fromkeys(["cat", "concat", "concatenate"], _joins),
    "einsum": _sums_products,
    **dict.fromkeys(FILLS, _fills),
    "group_norm": _normalizes_groups,
    "instance_norm": _normalizes_instances,
    "layer_norm": _normalizes_layer,
    "linear": _projects,
    "multi_head_attention_forward": _attends_with_heads,
    "normalize": _unit_length,
    "rms_norm": _normalizes_layer,
    "scaled_dot_product_attention": _attends,
    "setitem": _sets,
}
