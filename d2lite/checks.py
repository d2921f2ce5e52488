"""Checks: a function refuses a bad argument by its name, and its body stays what a chapter teaches.

``@checked`` stands above a function and names a rule for each argument that it checks::

    @checked(p=number(at_least=0, at_most=1))
    def dropout(x, p): ...

A rule says what would be right; the argument's name and what was given are put in front of it once,
here: ``p=2: must be ≥ 0 and ≤ 1``.
"""

import functools
import inspect
import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ParamSpec, TypeVar

import numpy as np
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")
Rule = Callable[[Any], object]  # raises a TypeError or ValueError that says what would be right


def checked(
    *together: Callable[..., None], **rules: Rule
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Check a function's arguments before each call; those of NumPy's numbers become Python's.

    Args:
        together: Functions of some of the arguments, by their names, that raise if these do not fit
            each other. They come after the rules.
        rules: For an argument, the rule that it must obey, also where it is left at its default.

    >>> @checked(times=integer(at_least=1))
    ... def repeat(text, times):
    ...     return text * times
    >>> repeat("ab", times=0)
    Traceback (most recent call last):
    ValueError: times=0: must be ≥ 1
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        needed = [(check, list(inspect.signature(check).parameters)) for check in together]

        @functools.wraps(function)
        def checking(*args: P.args, **kwargs: P.kwargs) -> R:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            for name, rule in rules.items():
                bound.arguments[name] = plain(bound.arguments[name])
                check(name, bound.arguments[name], rule)
            for fits, names in needed:
                fits(*(bound.arguments[name] for name in names))
            return function(*bound.args, **bound.kwargs)

        return checking

    return decorate


def check(name: str, value: object, rule: Rule) -> None:
    """Apply a rule; its error says the name and the value.

    >>> check("stride", 0, integer(at_least=1))
    Traceback (most recent call last):
    ValueError: stride=0: must be ≥ 1
    """
    try:
        rule(value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}{given(value)}: {error}") from None


def plain(value: Any) -> Any:
    """Turn NumPy's numbers into Python's, alone or in a tuple or list: theirs may overflow.

    >>> plain(np.uint8(200)) + 100, plain((np.int64(1), 2))
    (300, (1, 2))
    """
    if isinstance(value, np.generic):
        return value.item()
    if type(value) in (tuple, list) and any(isinstance(item, np.generic) for item in value):
        return type(value)(map(plain, value))
    return value


def given(value: object) -> str:
    """Say what an argument is: a tensor by its type and shape, all else as it is written.

    >>> given(-1), given(Tensor(2, 3))
    ('=-1', '=float32 (2, 3)')
    """
    if isinstance(value, Tensor):
        return f"={str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    text = repr(value)
    return f"={text}" if len(text) <= 60 else f"=a {type(value).__name__}"


def integer(at_least: int, at_most: float = math.inf) -> Rule:
    """Make the rule of a whole number; a bool is none, NumPy's integers are.

    >>> check("groups", 2, integer(at_least=1))
    """
    text = f"must be ≥ {at_least}" + (f" and ≤ {at_most}" if math.isfinite(at_most) else "")

    def rule(value: Any) -> None:
        if not _is_integer(value):
            raise TypeError("must be an int")
        if not at_least <= value <= at_most:
            raise ValueError(text)

    return rule


SEED = integer(at_least=-(2**63), at_most=2**64 - 1)  # what torch.manual_seed takes


def integers(at_least: int) -> Rule:
    """Make the rule of an int, for both axes, or a pair (height, width).

    >>> check("padding", (0, -1), integers(at_least=0))
    Traceback (most recent call last):
    ValueError: padding=(0, -1): must be ≥ 0
    """

    def rule(value: Any) -> None:
        both = value if isinstance(value, (tuple, list)) else (value, value)
        if len(both) != 2 or not all(map(_is_integer, both)):
            raise TypeError("must be an int or a pair of ints")
        if min(both) < at_least:
            raise ValueError(f"must be ≥ {at_least}")

    return rule


def number(
    at_least: float = -math.inf,
    at_most: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
) -> Rule:
    """Make the rule of a finite number in a range.

    >>> check("momentum", 1.0, number(at_least=0, below=1))
    Traceback (most recent call last):
    ValueError: momentum=1.0: must be ≥ 0 and < 1
    """
    bounds = {"≥": at_least, ">": above, "≤": at_most, "<": below}
    text = " and ".join(f"{sign} {bound}" for sign, bound in bounds.items() if math.isfinite(bound))

    def rule(value: Any) -> None:
        if not isinstance(value, Real) or isinstance(value, bool):
            raise TypeError("must be a number")
        size = float(value)
        if not math.isfinite(size):
            raise ValueError(f"must be {text} and finite" if text else "must be finite")
        if not (at_least <= size <= at_most and above < size < below):
            raise ValueError(f"must be {text}")

    return rule


def boolean(value: object) -> None:
    """Obey as a rule: ``True`` or ``False``.

    >>> check("ceil_mode", 1, boolean)
    Traceback (most recent call last):
    TypeError: ceil_mode=1: must be True or False
    """
    if not isinstance(value, bool):
        raise TypeError("must be True or False")


def function(value: object) -> None:
    """Obey as a rule: a function, or another object that can be called.

    >>> check("schedule", 0.1, function)
    Traceback (most recent call last):
    TypeError: schedule=0.1: must be a function
    """
    if not callable(value):
        raise TypeError("must be a function")


def one_of(*choices: object) -> Rule:
    """Make the rule of a choice.

    >>> check("mode", "fan", one_of("fan_in", "fan_out"))
    Traceback (most recent call last):
    ValueError: mode='fan': must be one of 'fan_in', 'fan_out'
    """

    def rule(value: object) -> None:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(map(repr, choices))}")

    return rule


def instance(*types: type) -> Rule:
    """Make the rule of an object's type.

    >>> check("model", 3, instance(Tensor))
    Traceback (most recent call last):
    TypeError: model=3: must be a Tensor
    """

    def rule(value: object) -> None:
        if not isinstance(value, types):
            raise TypeError(f"must be a {' or '.join(kind.__name__ for kind in types)}")

    return rule


def optional(rule: Rule) -> Rule:
    """Make the rule that also allows None.

    >>> check("stride", None, optional(integer(at_least=1)))
    """
    return lambda value: None if value is None else rule(value)


def named(*names: str, otherwise: Rule) -> Rule:
    """Make the rule of a setting that has a name or obeys another rule.

    >>> check("padding", "full", named("same", "valid", otherwise=integers(at_least=0)))
    Traceback (most recent call last):
    ValueError: padding='full': must be one of 'same', 'valid'
    """
    choice = one_of(*names)
    return lambda value: choice(value) if isinstance(value, str) else otherwise(value)


def tensor(*shapes: str, floating: bool = True, empty: bool = False) -> Rule:
    """Make the rule of a tensor, by the shapes that it may have; of any shape if there are none.

    Args:
        shapes: In the field's letters, such as ``"(N, C, H, W)"``; the number of axes is checked.
            One that begins with … may have more of them.
        floating: Whether it must be of a floating-point type.
        empty: Whether it may have no elements.

    >>> import torch
    >>> check("kernel", torch.zeros(3), tensor("(…, kH, kW)"))
    Traceback (most recent call last):
    ValueError: kernel=float32 (3,): must be (…, kH, kW)
    """

    def rule(value: object) -> None:
        if not isinstance(value, Tensor):
            raise TypeError("must be a tensor")
        if floating and not value.is_floating_point():
            raise TypeError("must be floating-point")
        if shapes and not any(_has_axes(value, shape) for shape in shapes):
            raise ValueError(f"must be {' or '.join(shapes)}")
        if not empty and value.numel() == 0:
            raise ValueError("must not be empty")

    return rule


def _has_axes(value: Tensor, shape: str) -> bool:
    axes = [axis.strip() for axis in shape.strip("()").split(",") if axis.strip()]
    return value.ndim >= len(axes) - 1 if "…" in axes else value.ndim == len(axes)


def _is_integer(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
