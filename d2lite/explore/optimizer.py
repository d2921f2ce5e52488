"""The optimizer explorer: seven optimizers race on a landscape of two weights."""

import math
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

import torch
import traitlets
from contourpy import contour_generator
from torch import Tensor

from d2lite import optim
from d2lite.checks import check, instance, integer, number, one_of, optional
from d2lite.explore.explorer import Checked, Explorer, Read, normals

STEPS = 200
LIMIT = 1e3  # a weight beyond it, or one that is no number, has diverged

Settings = dict[str, float]

#: The settings of each optimizer but ``lr``, which all have, by PyTorch's defaults.
_DEFAULTS: dict[str, Settings] = {
    "SGD": {},
    "momentum": {"momentum": 0.9},
    "Nesterov": {"momentum": 0.9},
    "AdaGrad": {},
    "RMSProp": {"alpha": 0.99},
    "Adam": {"beta1": 0.9, "beta2": 0.999, "weight_decay": 0.0},
    "AdamW": {"beta1": 0.9, "beta2": 0.999, "weight_decay": 0.01},
}
_RULES = {
    "lr": number(at_least=1e-6, at_most=1e3),
    "weight_decay": number(at_least=0, at_most=10),
} | dict.fromkeys(["momentum", "alpha", "beta1", "beta2"], number(at_least=0, at_most=0.9999))
#: What each landscape shows of the two weights, where a race starts, and rates that work there.
_LANDSCAPES: dict[str, dict[str, Any]] = {
    name: {
        "x": x, "y": y, "start": start, "noise": noise,
        "lr": dict(zip(_DEFAULTS, rates, strict=True)),
    }
    for name, x, y, start, noise, rates in [
        ("ravine", (-5, 5), (-4, 4), (-4.5, 2), 0, (0.018, 0.02, 0.01, 0.8, 0.1, 0.3, 0.3)),
        ("saddle", (-2, 2), (-1.6, 1.6), (-1.7, 0.01), 0, (0.1, 0.03, 0.03, 0.2, 0.02, 0.1, 0.1)),
        ("Rosenbrock", (-2, 2), (-1, 3), (-1.5, 2.5), 0,
         (4e-4, 1e-3, 5e-4, 0.5, 0.05, 0.2, 0.2)),
        ("Beale", (-4.5, 4.5), (-4.5, 4.5), (1, 1.5), 0, (0.01, 3e-3, 3e-3, 0.5, 0.03, 0.2, 0.2)),
        ("noisy bowl", (-5, 5), (-4, 4), (-4, 3), 2, (0.1, 0.02, 0.02, 1, 0.05, 0.2, 0.2)),
    ]
}  # fmt: skip
_TONES = dict(
    zip(
        _DEFAULTS,
        [
            "var(--d2-ink)",
            "var(--d2-kernel)",
            "color-mix(in srgb, var(--d2-kernel), var(--d2-output))",
            "var(--d2-output)",
            "var(--d2-gradient)",
            "var(--d2-input)",
            "color-mix(in srgb, var(--d2-input), var(--d2-gradient))",
        ],
        strict=True,
    )
)


def _noise(value: Any) -> float | None:
    """Read the deviation of the noise; None stands for the landscape's own."""
    optional(number(at_least=0, at_most=100))(value)
    return None if value is None else float(value)


def _place(value: Any) -> list[float] | None:
    """Read a place, two weights; None stands for the landscape's own start."""
    if value is None:
        return None
    if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
        raise TypeError("must be two numbers, such as (-4, 2)")
    numbers = list(value)
    for i, given in enumerate(numbers):
        check(f"[{i}]", given, number(at_least=-100, at_most=100))
    if len(numbers) != 2:
        raise ValueError(f"{len(numbers)} numbers, must be two")
    return [float(given) for given in numbers]


def _optimizers(value: Any) -> dict[str, Settings]:
    """Read names, or names with settings; a setting that is not given gets its default."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError("must be names, or a dict from names to settings")
    raced = dict(value) if isinstance(value, Mapping) else {each: {} for each in value}
    chosen = {}
    for each, settings in raced.items():
        check("name", each, one_of(*_DEFAULTS))
        check(each, settings, instance(Mapping))
        known = {"lr", *_DEFAULTS[each]}
        if unknown := settings.keys() - known:
            raise TypeError(
                f"{each}: {', '.join(sorted(map(str, unknown)))}: "
                f"must be of {', '.join(sorted(known))}"
            )
        full = {**_DEFAULTS[each], **settings}
        for setting, given in full.items():
            check(f"{each}.{setting}", given, _RULES[setting])
        chosen[each] = {setting: float(given) for setting, given in full.items()}
        if each == "Nesterov" and not chosen[each]["momentum"] > 0:
            raise ValueError("Nesterov.momentum=0: must be > 0")
    if not chosen:
        raise ValueError("must name one optimizer at least")
    return {each: chosen[each] for each in _DEFAULTS if each in chosen}


class OptimizerExplorer(Explorer):
    """Race optimizers on a landscape of two weights, from a start that you choose.

    What the reader sets in the figure can be read here, and set from here.

    Args:
        landscape: ``"ravine"``, ``"saddle"``, ``"Rosenbrock"``, ``"Beale"`` or ``"noisy bowl"``.
        condition: The ravine's condition number, from 1 to 1000: the curvature across it, where
            along it the curvature is 1.
        angle: By how many degrees the ravine is turned, from 0 to 90.
        noise: Standard deviation of the noise in each component of the gradient; that of the
            landscape, unless given: 2 in the bowl, 0 elsewhere.
        seed: Of the noise, which is the same for all optimizers.
        start: The two weights before the first step; a good place, unless given.
        optimizers: The names of those that race, of ``"SGD"``, ``"momentum"``, ``"Nesterov"``,
            ``"AdaGrad"``, ``"RMSProp"``, ``"Adam"`` and ``"AdamW"``; or a dict from these names to
            settings, by PyTorch's keywords (``beta1`` and ``beta2`` one by one). A rate that is not
            given is one that works on the landscape.
        step: After how many steps the race is shown, from 0 to 200.
        selected: Whose steps are drawn, coordinate by coordinate.
        measure: As what: ``"step"``, the change of each weight, or ``"rate"``, that change divided
            by the gradient.
        label: The figure's accessible name.

    Raises:
        ValueError: If a value is out of range.
        TypeError: If a value is of another type, or there is no such argument.

    >>> explorer = OptimizerExplorer(optimizers={"SGD": {"lr": 0.1}}, condition=20, start=(1, 1))
    >>> explorer.paths["SGD"][1].tolist()  # w − lr·(w₁, 20 w₂)
    [0.9, -1.0]
    """

    parts = ("chart",)
    landscape = Checked("ravine", one_of(*_LANDSCAPES))
    condition = Checked(100.0, number(at_least=1, at_most=1000))
    angle = Checked(0.0, number(at_least=0, at_most=90))
    noise = Read(None, _noise)
    seed = Checked(0, integer(at_least=0, at_most=2**31 - 1))
    start = Read(None, _place)
    optimizers = Read(None, _optimizers)
    step = Checked(40, integer(at_least=0, at_most=STEPS))
    selected = Checked("SGD", one_of(*_DEFAULTS))
    measure = Checked("step", one_of("step", "rate"))
    label = traitlets.Unicode("Optimizer explorer").tag(sync=True)
    _landscapes = traitlets.Dict(_LANDSCAPES, read_only=True).tag(sync=True)
    _defaults = traitlets.Dict(_DEFAULTS, read_only=True).tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        race = ["SGD", "momentum", "Adam"]
        super().__init__(**{"noise": None, "start": None, "optimizers": race} | traits)

    @traitlets.validate("noise", "start")
    def _fill_in(self, proposal: Any) -> Any:
        own, value = _LANDSCAPES[self.landscape][proposal["trait"].name], proposal["value"]
        if value is None:
            return list(own) if isinstance(own, tuple) else float(own)
        return value

    @traitlets.validate("optimizers")
    def _fill_in_rates(self, proposal: Any) -> dict[str, Settings]:
        rates = _LANDSCAPES[self.landscape]["lr"]
        return {
            name: {"lr": float(rates[name])} | settings
            for name, settings in proposal["value"].items()
        }

    def loss(self, w: Tensor) -> Tensor:
        """The height of the landscape: weights (…, 2) to (…); 0 at its lowest places."""
        x, y = w.unbind(-1)
        if self.landscape == "ravine":
            c, s = math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))
            return ((c * x + s * y) ** 2 + self.condition * (c * y - s * x) ** 2) / 2
        if self.landscape == "saddle":
            return x**2 / 2 + (y**2 - 1) ** 2 / 4
        if self.landscape == "Rosenbrock":
            return (1 - x) ** 2 + 100 * (y - x**2) ** 2
        if self.landscape == "Beale":
            powers, constants = torch.tensor([1, 2, 3]), torch.tensor([1.5, 2.25, 2.625])
            errors = constants - x[..., None] * (1 - y[..., None] ** powers)
            return (errors**2).sum(-1)
        return (x**2 + y**2) / 2

    @property
    def paths(self) -> dict[str, Tensor]:
        """The places of each optimizer, by ``d2lite.optim``: (201, 2), fewer if it diverges."""
        noise = self.noise * torch.from_numpy(normals(self.seed, 0, 2 * STEPS).reshape(STEPS, 2))
        return {name: self._path(name, settings, noise) for name, settings in
                self.optimizers.items()}  # fmt: skip

    def _path(self, name: str, settings: Settings, noise: Tensor) -> Tensor:
        w = torch.tensor(self.start, dtype=torch.float64, requires_grad=True)
        options: dict[str, Any] = dict(settings)
        if "beta1" in options:
            options["betas"] = (options.pop("beta1"), options.pop("beta2"))
        if name == "Nesterov":
            options["nesterov"] = True
        renamed = {"momentum": "SGD", "Nesterov": "SGD", "AdaGrad": "Adagrad", "RMSProp": "RMSprop"}
        optimizer = getattr(optim, renamed.get(name, name))([w], **options)
        places = [w.detach().clone()]
        for disturbance in noise:
            (gradient,) = torch.autograd.grad(self.loss(w), w)
            w.grad = gradient + disturbance
            optimizer.step()
            if not w.abs().max() <= LIMIT:
                break
            places.append(w.detach().clone())
        return torch.stack(places)

    def picture(self) -> str:
        """Draw the lines of equal loss, and the paths up to the present step, as SVG."""
        (left, right), (low, high) = (_LANDSCAPES[self.landscape][axis] for axis in "xy")
        width, height = 400, 400 * (high - low) / (right - left)
        x = torch.linspace(left, right, 81, dtype=torch.float64)
        y = torch.linspace(low, high, 81, dtype=torch.float64)
        z = self.loss(torch.stack(torch.meshgrid(x, y, indexing="xy"), -1))

        def line(places: Any, look: str) -> str:
            marks = [
                f"{(a - left) / (right - left) * width:.1f} "
                f"{(high - b) / (high - low) * height:.1f}"
                for a, b in places.tolist()
            ]
            return f'<path d="M{"L".join(marks)}" fill="none" {look}/>'

        generator = contour_generator(x.numpy(), y.numpy(), z.numpy())
        shapes = [
            line(piece, 'stroke="var(--d2-muted)" stroke-opacity="0.5"')
            for share in range(1, 10)
            for piece in generator.lines(float(z.max()) * (share / 10) ** 3)
        ]
        for name, places in self.paths.items():
            look = f'stroke="{_TONES[name]}" stroke-width="2"'
            seen = places[: self.step + 1]
            shapes.append(line(seen, look).replace("/>", f"><title>{escape(name)}</title></path>"))
        return f'<svg viewBox="0 0 {width} {height:g}" width="{width}">{"".join(shapes)}</svg>'
