"""The training explorer: build a small convolutional network and train it where the figure is."""

import zlib
from collections.abc import Iterable, Mapping
from copy import deepcopy
from functools import cache
from html import escape
from typing import Any

import numpy as np
import torch
import traitlets
from torch import Tensor, nn

from d2lite.checks import boolean, check, instance, integer, number, one_of
from d2lite.data.fashion_mnist import CLASSES, fashion_mnist
from d2lite.explore.explorer import Checked, Explorer, Read

COUNT, HELD_OUT = 3000, 1000  # garments to learn from, and to be tested on
MOST = 3  # runs
LARGEST = 300_000  # parameters

Settings = dict[str, Any]

#: Each kind of layer: its settings, of each the default and the rule. Padding None keeps the size.
_KINDS: dict[str, dict[str, tuple[Any, Any]]] = {
    "conv": {
        "channels": (8, integer(1, 64)),
        "kernel": (3, integer(1, 9)),
        "stride": (1, integer(1, 4)),
        "padding": (None, integer(0, 8)),
    },
    "batchnorm": {},
    "relu": {},
    "tanh": {},
    "sigmoid": {},
    "leakyrelu": {},
    "gelu": {},
    "maxpool": {"size": (2, integer(2, 4))},
    "avgpool": {"size": (2, integer(2, 4))},
    "dropout": {"p": (0.5, number(at_least=0, at_most=0.95))},
    "flatten": {},
    "dense": {"units": (64, integer(1, 512))},
}


def _network(text: str) -> list[Settings]:
    """Write layers in short: "conv 8 5" has 8 channels and a kernel of 5."""
    layers = []
    for word in text.split(", "):
        kind, *given = word.split()
        numbers = map(float if kind == "dropout" else int, given)
        layers.append({"kind": kind} | dict(zip(_KINDS[kind], numbers, strict=False)))
    return layers


_CLASSIC = "conv 8, relu, maxpool, conv 16, relu, maxpool, flatten, dense 10"
_DEFAULTS: Settings = {
    "layers": _network(_CLASSIC),
    "initialization": "he",
    "optimizer": "adam",
    "lr": 0.003,
    "momentum": 0.9,
    "schedule": "constant",
    "batch_size": 32,
    "weight_decay": 0.0,
    "flip": False,
    "shift": 0,
    "garments": COUNT,
    "label_noise": 0.0,
    "seed": 0,
}
_RULES = {
    "initialization": one_of("he", "xavier", "torch", "small"),
    "optimizer": one_of("sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop"),
    "lr": number(at_least=1e-5, at_most=10),
    "momentum": number(above=0, at_most=0.999),
    "schedule": one_of("constant", "cosine", "step", "warm-up"),
    "batch_size": integer(2, 256),
    "weight_decay": number(at_least=0, at_most=1),
    "flip": boolean,
    "shift": integer(0, 4),
    "garments": integer(10, COUNT),
    "label_noise": number(at_least=0, at_most=0.9),
    "seed": integer(0, 2**31 - 1),
}
#: What each preset compares, and for how many steps.
_TEN_DEEP = (
    "conv 8, relu, maxpool, conv 8, relu, conv 8, relu, conv 8, relu, maxpool, conv 8, relu, "
    "conv 8, relu, conv 8, relu, conv 8, relu, conv 8, relu, flatten, dense 10"
)
_PLAIN = (
    "conv 8, relu, maxpool, conv 16, relu, maxpool, conv 16, relu, conv 16, relu, conv 16, relu, "
    "flatten, dense 10"
)
_WIDE = "conv 8, relu, maxpool, conv 16, relu, maxpool, flatten, dense 128, relu, dense 10"
PRESETS: dict[str, Settings] = {
    "first network": {},
    "initialization": {
        "layers": _network(_TEN_DEEP),
        "lr": 0.002,
        "steps": 200,
        "view": "layers",
        "runs": [{"initialization": "small"}, {"initialization": "he"}],
    },
    "optimizers": {
        "runs": [
            {"optimizer": "sgd", "lr": 0.1},
            {"optimizer": "momentum", "lr": 0.03},
            {"optimizer": "adam", "lr": 0.003},
        ],
    },
    "batch norm": {
        "optimizer": "momentum",
        "steps": 150,
        "runs": [
            {"layers": _network(_PLAIN), "lr": 0.01},
            {"layers": _network(_PLAIN), "lr": 0.1},
            {"layers": _network(_PLAIN.replace(", relu", ", batchnorm, relu")), "lr": 0.1},
        ],
    },
    "dropout": {
        "garments": 1000,
        "label_noise": 0.4,
        "steps": 400,
        "runs": [
            {"layers": _network(_WIDE)},
            {"layers": _network(_WIDE.replace(", dense", ", dropout 0.5, dense"))},
            {"layers": _network(_WIDE), "optimizer": "adamw", "weight_decay": 1.0},
        ],
    },
}


def _layers(value: Any) -> list[Settings]:
    """Read layers: dicts, or the kind alone for the defaults; they must fit each other."""
    if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
        raise TypeError('must be a list of layers, such as [{"kind": "conv", "channels": 8}]')
    layers = []
    for i, given in enumerate(value):
        place, layer = f"[{i}]", {"kind": given} if isinstance(given, str) else given
        check(place, layer, instance(Mapping))
        check(f"{place}.kind", layer.get("kind"), one_of(*_KINDS))
        known = _KINDS[layer["kind"]]
        if unknown := layer.keys() - {"kind", *known}:
            raise TypeError(
                f"{place}: {', '.join(sorted(map(str, unknown)))}: no such setting of "
                f"{layer['kind']}; it has {', '.join(known) or 'none'}"
            )
        full: Settings = {"kind": layer["kind"]}
        for name, (default, rule) in known.items():
            if (found := layer.get(name, default)) is None:
                found = full["kernel"] // 2
            check(f"{place}.{name}", found, rule)
            full[name] = type(found)(found)
        if full.get("padding", 0) >= full.get("kernel", 1):
            raise ValueError(f"{place}.padding={full['padding']}: must be < kernel")
        layers.append(full)
    if not layers or layers[-1] != {"kind": "dense", "units": 10}:
        raise ValueError('must end in {"kind": "dense", "units": 10}, the scores of 10 classes')
    with torch.device("meta"):
        size = sum(p.numel() for p in _build(layers).parameters())
    if size > LARGEST:
        raise ValueError(f"{size:,} parameters, must be ≤ {LARGEST:,}")
    return layers


def _module(kind: str, inputs: int, flat: bool, **settings: Any) -> nn.Module:
    """Make one layer for so many channels, or numbers."""
    if kind == "conv":
        kernel = (settings[name] for name in ("kernel", "stride", "padding"))
        return nn.Conv2d(inputs, settings["channels"], *kernel)
    if kind == "dense":
        return nn.Linear(inputs, settings["units"])
    if kind == "batchnorm":
        return nn.BatchNorm1d(inputs) if flat else nn.BatchNorm2d(inputs)
    kinds = {
        "relu": nn.ReLU,
        "tanh": nn.Tanh,
        "sigmoid": nn.Sigmoid,
        "leakyrelu": nn.LeakyReLU,
        "gelu": nn.GELU,
        "maxpool": nn.MaxPool2d,
        "avgpool": nn.AvgPool2d,
        "dropout": nn.Dropout,
        "flatten": nn.Flatten,
    }
    return kinds[kind](*settings.values())


def _build(layers: list[Settings]) -> nn.Sequential:
    """Make the layers, each for what the one before it gives."""
    made: list[nn.Module] = []
    x = torch.empty(2, 1, 28, 28, device="meta")
    for i, layer in enumerate(layers):
        kind, flat = layer["kind"], x.ndim == 2
        if kind == "dense" and not flat:
            raise ValueError(f"[{i}]: dense takes a row of numbers: put flatten before it")
        if kind in ("conv", "maxpool", "avgpool") and flat:
            raise ValueError(f"[{i}]: {kind} takes maps, not a row of numbers")
        made.append(_module(inputs=x.shape[1], flat=flat, **layer))
        try:
            x = deepcopy(made[-1]).to("meta")(x)
        except RuntimeError:
            shape = " × ".join(map(str, x.shape[1:]))
            raise ValueError(f"[{i}]: {kind} does not fit into {shape}") from None
    return nn.Sequential(*made)


def _run(value: Any) -> Settings:
    """Read the settings of a run; those that are not given get their defaults."""
    check("run", value, instance(Mapping))
    if unknown := value.keys() - _DEFAULTS.keys():
        raise TypeError(
            f"{', '.join(sorted(map(str, unknown)))}: no such setting; "
            f"there are {', '.join(_DEFAULTS)}"
        )
    full = _DEFAULTS | dict(value)
    for name, rule in _RULES.items():
        check(name, full[name], rule)
        full[name] = type(_DEFAULTS[name])(full[name])
    check("layers", full["layers"], lambda given: full.update(layers=_layers(given)))
    return full


def _runs(value: Any) -> list[Settings]:
    """Read the runs, 1 to 3 of them."""
    if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
        raise TypeError("must be a list of dicts of settings")
    runs = []
    for i, given in enumerate(value):
        check(f"[{i}]", given, lambda given: runs.append(_run(given)))
    if not 1 <= len(runs) <= MOST:
        raise ValueError(f"{len(runs)} runs, must be 1 to {MOST}")
    return runs


_CURVES = "loss", "step", "train_loss", "train_accuracy", "held_out_loss", "held_out_accuracy"


def _history(value: Any) -> list[dict[str, list[float]]]:
    """Read what the figure has noted, a dict of lists for each run."""
    if not isinstance(value, (list, tuple)):
        raise TypeError("must be a list of dicts")
    for i, noted in enumerate(value):
        check(f"[{i}]", noted, instance(Mapping))
        if noted.keys() != set(_CURVES):
            raise ValueError(f"[{i}]: must have {', '.join(_CURVES)}")
    return [dict(noted) for noted in value]


def _packed(value: Any) -> bytes:
    """Read weights: floats of 32 bits, one after the other."""
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError("must be bytes")
    if len(found := bytes(value)) % 4:
        raise ValueError("must be floats of 32 bits")
    return found


@cache
def garments() -> tuple[str, bytes]:
    """Pack the garments of the figures: labels as digits, and the images.

    The first 3,000 garments to learn from, then the first 1,000 of the test set; a pixel has 16
    shades, two pixels make a byte, and zlib has packed the bytes.

    >>> labels, images = garments()
    >>> len(labels), labels[:4]
    (4000, '9003')
    """
    train, test = fashion_mnist()
    images = torch.cat([train.images[:COUNT], test.images[:HELD_OUT]])
    labels = torch.cat([train.labels[:COUNT], test.labels[:HELD_OUT]])
    shades = (images.flatten(1) * 15).round().byte().numpy()
    packed = zlib.compress((shades[:, ::2] << 4 | shades[:, 1::2]).tobytes(), 9)
    return "".join(map(str, labels.tolist())), packed


class TrainingExplorer(Explorer):
    """Build a small convolutional network and train it on garments, in the figure.

    It trains where the figure is shown, in the page itself: on 3,000 garments, and 1,000 others are
    held out. Up to three runs are trained side by side and drawn into the same charts.

    Args:
        preset: What to begin with: ``"first network"``, ``"initialization"``, ``"optimizers"``,
            ``"batch norm"`` or ``"dropout"``.
        runs: The settings of 1 to 3 runs, dicts. What a run does not say is as ``settings`` say, or
            as the preset does, or a default.
        steps: The length of the training, from 1 to 5000 steps.
        selected: The run that the controls change and the views show.
        view: ``"maps"``, ``"layers"`` or ``"mistakes"``.
        garment: The held-out garment whose maps are shown, from 0 to 999.
        label: The figure's accessible name.
        settings: Of all runs: ``layers``, a list of dicts such as ``{"kind": "conv", "channels": 8,
            "kernel": 3}``, or of kinds alone; ``initialization`` (he, xavier, torch, small);
            ``optimizer`` (sgd, momentum, nesterov, adam, adamw, rmsprop); ``lr``; ``momentum``;
            ``schedule`` (constant, cosine, step, warm-up); ``batch_size``; ``weight_decay``;
            ``flip`` and ``shift`` (pixels), the augmentation; ``garments``, of how many it learns;
            ``label_noise``, the share of them with a wrong label; ``seed``.

    Raises:
        ValueError: If a value is out of range, or the layers do not fit each other.
        TypeError: If a value is of another type, or there is no such argument.

    After the reader has trained, ``history`` has the losses and accuracies of each run, and
    ``weights`` the selected run's parameters, for ``explorer.model()``.

    >>> explorer = TrainingExplorer(layers=["flatten", {"kind": "dense", "units": 10}], lr=0.01)
    >>> explorer.model()
    Sequential(
      (0): Flatten(start_dim=1, end_dim=-1)
      (1): Linear(in_features=784, out_features=10, bias=True)
    )
    """

    parts = ("chart", "network", "training_engine", "training_kernels", "training_session")
    runs = Read([_DEFAULTS], _runs)
    steps = Checked(300, integer(1, 5000))
    selected = Checked(0, integer(0, MOST - 1))
    view = Checked("maps", one_of("maps", "layers", "mistakes"))
    garment = Checked(0, integer(0, HELD_OUT - 1))
    history = traitlets.Any([]).tag(sync=True)
    packed = traitlets.Any(b"").tag(sync=True)  # the selected run's weights
    label = traitlets.Unicode("Training explorer").tag(sync=True)
    _kinds = traitlets.Dict(
        {kind: {name: default for name, (default, _) in all_.items()} for kind, all_ in
         _KINDS.items()}, read_only=True).tag(sync=True)  # fmt: skip
    _classes = traitlets.List(list(CLASSES), read_only=True).tag(sync=True)

    def __init__(self, preset: str | None = None, **arguments: Any) -> None:
        if preset is not None:
            check("preset", preset, one_of(*PRESETS))
            arguments = deepcopy(PRESETS[preset]) | arguments
        settings = {name: arguments.pop(name) for name in _DEFAULTS if name in arguments}
        if settings or "runs" not in arguments:
            _run(settings)  # names the setting that is wrong
        if isinstance(runs := arguments.get("runs", [{}]), (list, tuple)) and settings:
            arguments["runs"] = [
                settings | dict(run) if isinstance(run, Mapping) else run for run in runs
            ]
        super().__init__(**arguments)
        self.on_msg(self._answer)

    def _answer(self, _widget: Any, content: Any, _buffers: Any) -> None:
        """Send the garments to a figure that asks for them."""
        if content == {"type": "garments"}:
            labels, images = garments()
            self.send({"type": "garments", "labels": labels}, [images])

    @traitlets.validate("history", "packed")
    def _check_what_the_figure_sends(self, proposal: Any) -> Any:
        name, kept = proposal["trait"].name, []
        read = {"history": _history, "packed": _packed}[name]
        check(name, proposal["value"], lambda given: kept.append(read(given)))
        return kept[0]

    @traitlets.validate("selected")
    def _check_selected(self, proposal: Any) -> int:
        if proposal["value"] >= len(self.runs):
            raise ValueError(f"selected={proposal['value']}: must be ≤ {len(self.runs) - 1}")
        return proposal["value"]

    def model(self) -> nn.Sequential:
        """Build the selected run's network, with PyTorch's own new parameters."""
        return _build(self.runs[self.selected]["layers"])

    def _state(self) -> dict[str, Tensor]:
        """Name and shape of what the figure sends: all but the counts of batches."""
        with torch.device("meta"):
            state = self.model().state_dict()
        return {name: x for name, x in state.items() if not name.endswith("batches_tracked")}

    @property
    def weights(self) -> dict[str, Tensor] | None:
        """The selected run's state, as ``load_state_dict`` takes it; None before it has trained.

        Set it to a state, ``explorer.weights = model.state_dict()``, to go on from there.
        """
        state, values = self._state(), np.frombuffer(self.packed, "<f4").astype(np.float32)
        if len(values) != sum(x.numel() for x in state.values()):
            return None
        parts = iter(torch.from_numpy(values).split([x.numel() for x in state.values()]))
        found = {name: next(parts).view(x.shape) for name, x in state.items()}
        with torch.device("meta"):
            counts = self.model().state_dict().keys() - found.keys()
        return found | {name: torch.tensor(0) for name in counts}

    @weights.setter
    def weights(self, value: Mapping[str, Tensor]) -> None:
        if not isinstance(value, Mapping):
            raise TypeError(f"weights=a {type(value).__name__}: must be a state, a dict of tensors")
        state = self._state()
        given = {name: x for name, x in value.items() if not name.endswith("batches_tracked")}
        if given.keys() != state.keys():
            raise ValueError(f"weights: {', '.join(given)}: must be {', '.join(state)}")
        for name, x in state.items():
            if not isinstance(given[name], Tensor):
                raise TypeError(f"weights[{name!r}]: must be a tensor")
            if given[name].shape != x.shape:
                shapes = tuple(given[name].shape), tuple(x.shape)
                raise ValueError(f"weights[{name!r}]: shape {shapes[0]}, must be {shapes[1]}")
            if not given[name].isfinite().all():
                raise ValueError(f"weights[{name!r}]: must be finite")
        parts = [given[name].detach().cpu().float().flatten() for name in state]
        self.packed = torch.cat(parts).numpy().astype("<f4").tobytes()

    def picture(self) -> str:
        """Draw the selected run's layers and its settings as SVG, before any training."""
        run, x, shapes = self.runs[self.selected], 0.0, ""
        for layer in run["layers"]:
            text = " ".join(map(str, [layer["kind"], *list(layer.values())[1:2]]))
            width = 16 + 7.2 * len(text)
            if x % 700 + width > 700:
                x = (x // 700 + 1) * 700
            left, top = x % 700, 40 * int(x // 700)
            shapes += (
                f'<path d="M{left:.0f} {top}h{width:.0f}v28h{-width:.0f}z" '
                f'fill="var(--d2-panel)" stroke="var(--d2-line)"/>'
                f'<text x="{left + width / 2:.0f}" y="{top + 19}" font-size="14" '
                f'text-anchor="middle" fill="var(--d2-ink)">{text}</text>'
            )
            x += width + 8
        y = 40 * (int(x) // 700) + 52
        told = (
            f"{run['optimizer']}, lr {run['lr']:g}, {self.steps} steps of {run['batch_size']} of "
            f"{run['garments']} garments, initialization {run['initialization']}"
        )
        shapes += (
            f'<text y="{y}" font-size="14" fill="var(--d2-muted)">{escape(told)}</text>'
            f'<path d="M40 {y + 16}v150h300M380 {y + 16}v150h300" fill="none" '
            f'stroke="var(--d2-muted)"/>'
            f'<text x="46" y="{y + 28}" font-size="14" fill="var(--d2-muted)">loss</text>'
            f'<text x="386" y="{y + 28}" font-size="14" fill="var(--d2-muted)">accuracy</text>'
            f'<text x="340" y="{y + 184}" font-size="14" text-anchor="end" '
            f'fill="var(--d2-muted)">step</text>'
        )
        return f'<svg viewBox="0 0 704 {y + 190}" width="704">{shapes}</svg>'
