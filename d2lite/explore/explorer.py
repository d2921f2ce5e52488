"""What all explorers share: one Python class, one ES module, one style sheet, one still picture."""

import reprlib
from html import escape
from inspect import getfile
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

from d2lite.checks import Rule, check, integer

HERE = Path(__file__).parent


class Checked(traitlets.TraitType):
    """A synchronized trait that obeys a rule of ``d2lite.checks`` and keeps its default's type.

    >>> from d2lite.checks import integer
    >>> class Layer(traitlets.HasTraits):
    ...     stride = Checked(1, integer(at_least=1, at_most=8))
    >>> layer = Layer(stride=9)
    Traceback (most recent call last):
    ValueError: stride=9: must be ≥ 1 and ≤ 8
    """

    def __init__(self, default: object, rule: Rule) -> None:
        super().__init__(default)
        self.rule = rule
        self.tag(sync=True)

    def validate(self, obj: Any, value: Any) -> Any:
        """Check a new value, as traitlets asks."""
        check(self.name or "", value, self.rule)
        return type(self.default_value)(value)


class Read(Checked):
    """A trait whose rule also makes what is kept of what is given: lists of a tensor, say."""

    def validate(self, obj: Any, value: Any) -> Any:
        """Check a new value and read it."""
        kept: list[Any] = []
        check(self.name or "", value, lambda given: kept.append(self.rule(given)))
        return kept[0]


class Place(Checked):
    """A trait that chooses from another one, a list that is set before: a place in it, from 0.

    >>> class Shelf(traitlets.HasTraits):
    ...     names = traitlets.List(["a", "b"])
    ...     chosen = Place("names", at_most=9)
    >>> Shelf().chosen = 2
    Traceback (most recent call last):
    ValueError: chosen=2: must be ≤ 1
    """

    def __init__(self, of: str, at_most: int) -> None:
        super().__init__(0, integer(at_least=0, at_most=at_most))
        self.of = of

    def validate(self, obj: Any, value: Any) -> int:
        """Check a new place, also against the list."""
        place = super().validate(obj, value)
        if place >= (count := len(getattr(obj, self.of))):
            raise ValueError(f"{self.name}={place}: must be ≤ {count - 1}")
        return place


def mix(z: Any) -> Any:
    """Hash whole numbers below 2³², the same as in the figures (MurmurHash3's last steps)."""
    z = (z ^ (z >> 16)) * 0x85EBCA6B & 0xFFFFFFFF
    z = (z ^ (z >> 13)) * 0xC2B2AE35 & 0xFFFFFFFF
    return z ^ (z >> 16)


def normals(seed: int, start: int, count: int) -> np.ndarray:
    """Draw standard normal numbers, the same as in the figures: those from ``start`` on, both even.

    Uniform ones by a hash of the place (Steele, Lea and Flood, "Fast splittable pseudorandom number
    generators", 2014), from two of them two normal ones (Box and Muller, 1958).

    >>> normals(seed=0, start=0, count=2).round(4)
    array([0.0817, 1.0515])
    """
    places = np.arange(start + 1, start + count + 1, dtype=np.uint64)
    bits = mix((places * 0x9E3779B9 + mix(seed)) & 0xFFFFFFFF)
    first, second = ((bits + 0.5) / 2**32).reshape(-1, 2).T
    radius, angle = np.sqrt(-2 * np.log(first)), 2 * np.pi * second
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)


def _joined(*files: Path) -> str:
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


class Explorer(anywidget.AnyWidget):
    """An interactive figure: Python holds and checks the state, JavaScript draws and computes.

    A subclass in ``name.py`` finds its front end in ``name.js`` and ``name.css`` beside it. The
    script exports ``render`` by default, as anywidget asks (https://anywidget.dev). ``explorer.js``
    and ``explorer.css`` are put before them, those of its ``parts``, and those of the classes in
    between: the script may use everything that is there. The style sheet reaches its own
    explorer only. Every trait tagged ``sync=True`` can be set from Python and observed: after the
    reader has moved a control, the next cell reads the new value.

    A subclass overrides :meth:`picture`.
    """

    _esm: str
    _css: str
    _ipython_display_ = None  # ipywidgets 7 would show the widget by it, without the picture
    parts: tuple[str, ...] = ()
    label = traitlets.Unicode("Explorer", help="The figure's accessible name.").tag(sync=True)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if "_esm" not in vars(cls):  # anywidget subclasses a second time, with its own, at __init__
            classes = cls.__mro__[: cls.__mro__.index(Explorer)]
            own = [Path(getfile(each)) for each in reversed(classes)]
            files = [HERE / "explorer", *(HERE / part for part in cls.parts), *own]
            scripts, styles = ([f.with_suffix(kind) for f in files] for kind in (".js", ".css"))
            cls._esm = _joined(*scripts)
            css = _joined(*(style for style in styles if style.exists()))
            scope = f":where(.d2-{own[-1].stem.replace('_', '-')})"
            cls._css = css.replace(":where(.d2)", scope)
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
