"""What all explorers share: one Python class, one ES module, one style sheet, one still picture."""

import math
import reprlib
from collections.abc import Callable
from html import escape
from inspect import getfile
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

HERE = Path(__file__).parent


class Checked(traitlets.TraitType[Any, Any]):
    """A trait that takes what ``check(name, value)`` returns, or refuses by an error it raises."""

    def __init__(self, default: object, check: Callable[[str, Any], Any]) -> None:
        super().__init__(default)
        self.check = check
        self.tag(sync=True)

    def validate(self, obj: Any, value: Any) -> Any:
        """Check a new value, as traitlets asks."""
        return self.check(self.name or "", value)


def whole(minimum: int, maximum: int) -> Callable[[str, Any], int]:
    """Check that a value is an integer between the two.

    >>> whole(1, 8)("stride", 0)
    Traceback (most recent call last):
    ValueError: stride=0: must be between 1 and 8
    """

    def check(name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise TypeError(f"{name}={value!r}: must be an integer")
        number = int(value)
        if not minimum <= number <= maximum:
            raise ValueError(f"{name}={number}: must be between {minimum} and {maximum}")
        return number

    return check


def number(minimum: float = -math.inf, maximum: float = math.inf) -> Callable[[str, Any], float]:
    """Check that a value is a finite number, not less than the one and not more than the other.

    >>> number(0, 1)("gamma", 2)
    Traceback (most recent call last):
    ValueError: gamma=2: must be between 0 and 1
    """

    def check(name: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{name}={value!r}: must be a number")
        given = float(value)
        if not (math.isfinite(given) and minimum <= given <= maximum):
            limits = f"between {minimum:g} and {maximum:g}"
            if maximum == math.inf:
                limits = "finite" if minimum == -math.inf else f"≥ {minimum:g}"
            raise ValueError(f"{name}={value}: must be {limits}")
        return given

    return check


def flag(name: str, value: Any) -> bool:
    """Check that a value is True or False.

    >>> flag("ceil_mode", 1)
    Traceback (most recent call last):
    TypeError: ceil_mode=1: must be True or False
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name}={value!r}: must be True or False")
    return value


def one_of(*options: str) -> Callable[[str, Any], str]:
    """Check that a value is one of these.

    >>> one_of("convolution", "pooling")("operation", "pool")
    Traceback (most recent call last):
    ValueError: operation='pool': must be 'convolution' or 'pooling'
    """

    def check(name: str, value: Any) -> str:
        if value not in options:
            raise ValueError(f"{name}={value!r}: must be {' or '.join(map(repr, options))}")
        return value

    return check


def normals(seed: int, start: int, count: int) -> np.ndarray:
    """Draw standard normal numbers, the same as in the figures: those from ``start`` on, both even.

    Uniform ones by a hash of the place (Steele, Lea and Flood, "Fast splittable pseudorandom number
    generators", 2014), from two of them two normal ones (Box and Muller, 1958).

    >>> normals(seed=0, start=0, count=2).round(4)
    array([0.0817, 1.0515])
    """

    def mix(z: Any) -> Any:
        z = (z ^ (z >> 16)) * 0x85EBCA6B & 0xFFFFFFFF
        z = (z ^ (z >> 13)) * 0xC2B2AE35 & 0xFFFFFFFF
        return z ^ (z >> 16)

    places = np.arange(start + 1, start + count + 1, dtype=np.uint64)
    bits = mix((places * 0x9E3779B9 + mix(seed)) & 0xFFFFFFFF)
    first, second = ((bits + 0.5) / 2**32).reshape(-1, 2).T
    radius, angle = np.sqrt(-2 * np.log(first)), 2 * np.pi * second
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)


class Explorer(anywidget.AnyWidget):
    """An interactive figure: Python holds and checks the state, JavaScript draws and computes.

    A subclass in ``name.py`` finds its front end in ``name.js`` and ``name.css`` beside it. The
    script exports ``render`` by default, as anywidget asks (https://anywidget.dev). ``explorer.js``
    and ``explorer.css`` are put before them: the script may use everything that is there. Every
    trait tagged ``sync=True`` can be set from Python and observed: after the reader has moved a
    control, the next cell reads the new value.

    A subclass overrides :meth:`picture`.
    """

    label = traitlets.Unicode("Explorer", help="The figure's accessible name.").tag(sync=True)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if "_esm" not in vars(cls):  # anywidget subclasses a second time, with its own, at __init__
            for trait, suffix in {"_esm": ".js", "_css": ".css"}.items():
                files = HERE / f"explorer{suffix}", Path(getfile(cls)).with_suffix(suffix)
                setattr(cls, trait, "\n".join(f.read_text(encoding="utf-8") for f in files))
        super().__init_subclass__(**kwargs)

    def __init__(self, **traits: Any) -> None:
        if unknown := traits.keys() - set(self.trait_names()):
            explorer = type(self).__name__
            raise TypeError(f"{', '.join(sorted(unknown))}: no such argument of {explorer}")
        super().__init__(**traits)

    def picture(self) -> str:
        """Return the present state as an SVG element, for readers without scripts."""
        raise NotImplementedError(f"{type(self).__name__} must draw its own picture()")

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict, dict] | None:
        """Offer the live view, and a still picture for pages that have no widget manager."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle
        data["text/plain"] = repr(self)
        data["text/html"] = (
            f'<div class="d2-still" data-widget-model="{self.model_id}" '
            f'role="img" aria-label="{escape(self.label)}">{self.picture()}</div>'
        )
        return data, metadata

    def __repr__(self) -> str:
        synced = {
            name
            for name, trait in self.traits(sync=True).items()
            if name[0] != "_" and not trait.read_only
        }
        classes = type(self).__mro__[: type(self).__mro__.index(Explorer)]
        own = [name for cls in classes for name in vars(cls) if name in synced - {"label"}]
        state = ", ".join(f"{name}={reprlib.repr(getattr(self, name))}" for name in own)
        return f"{type(self).__name__}({state})"
