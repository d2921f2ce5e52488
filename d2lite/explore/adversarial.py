"""The adversarial explorer: change a garment a little, step by step, until a network errs."""

from collections.abc import Mapping
from copy import deepcopy
from html import escape
from typing import Any

import numpy as np
import torch
import traitlets
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from d2lite.adversarial import gradient_of
from d2lite.checks import boolean, check, instance, integer, number, one_of
from d2lite.data.labelled_images import LabelledImages
from d2lite.explore.explorer import Checked, Explorer, Place, normals
from d2lite.explore.network import draw_pixels

LEVELS = 255  # gray levels of a pixel, above black
STEPS = 20  # at most


def _single(value: Any) -> int | None:
    """Return what both axes have, or None."""
    sizes = set(value) if isinstance(value, tuple) else {value}
    size = sizes.pop()
    return size if not sizes and isinstance(size, int) else None


def told(layer: nn.Module) -> dict[str, Any] | None:
    """Say what a layer is, as the figure's engine takes it; None if that has none like it."""
    match layer:
        case nn.Conv2d(groups=1, dilation=(1, 1), padding_mode="zeros"):
            sizes = layer.kernel_size, layer.stride, layer.padding
            kernel, stride, padding = map(_single, sizes)
            if not kernel or not stride or padding is None or padding >= kernel:
                return None
            settings = {"kernel": kernel, "stride": stride, "padding": padding}
            return {"kind": "conv", "channels": layer.out_channels} | settings
        case nn.MaxPool2d(dilation=1) | nn.AvgPool2d(divisor_override=None):
            size = _single(layer.kernel_size)
            if not size or size != _single(layer.stride) or layer.padding or layer.ceil_mode:
                return None
            return {"kind": type(layer).__name__.lower().removesuffix("2d"), "size": size}
        case nn.Linear():
            return {"kind": "dense", "units": layer.out_features}
        case nn.Flatten(start_dim=1, end_dim=-1):
            return {"kind": "flatten"}
        case nn.ReLU() | nn.Tanh() | nn.Sigmoid():
            return {"kind": type(layer).__name__.lower()}
        case nn.LeakyReLU(negative_slope=0.01) | nn.GELU(approximate="none"):
            return {"kind": type(layer).__name__.lower()}
    return None


def shipped(model: nn.Sequential) -> nn.Sequential:
    """Return a network as the figure runs it: evaluating, with its weights in 8 bits.

    Batch normalization is folded into the layer before it, and dropout left out.

    >>> shipped(nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU()))
    Sequential(
      (0): Conv2d(1, 4, kernel_size=(3, 3), stride=(1, 1))
      (1): ReLU()
    )
    """
    layers: list[nn.Module] = []
    for layer in deepcopy(model).cpu().float().eval():
        last = layers[-1] if layers else None
        if isinstance(layer, nn.BatchNorm2d) and isinstance(last, nn.Conv2d):
            layers[-1] = fuse_conv_bn_eval(last, layer)
        elif isinstance(layer, nn.BatchNorm1d) and isinstance(last, nn.Linear):
            layers[-1] = fuse_linear_bn_eval(last, layer)
        elif not isinstance(layer, nn.Dropout):
            layers.append(layer)
    made = nn.Sequential(*layers).requires_grad_(False)
    for layer in _weighted(made):
        if layer.bias is None:
            layer.bias = nn.Parameter(torch.zeros(len(layer.weight)), requires_grad=False)
        worth = _worth(layer.weight)
        layer.weight.copy_((layer.weight / worth).round() * worth)
    return made


def pack(model: nn.Sequential) -> bytes:
    """Write a network's weights in 8 bits each.

    Layer by layer: the biases; for each unit what one step of its weights is worth (both 32-bit
    floats, the low byte first); then all weights.

    >>> len(pack(nn.Sequential(nn.Linear(20, 3))))
    84
    """
    packed = b""
    for layer in _weighted(model):
        weight, bias = layer.weight.detach(), layer.bias.detach()
        worth = _worth(weight)
        for numbers in (bias, worth):
            packed += numbers.numpy().astype("<f4").tobytes()
        packed += (weight / worth).round().to(torch.int8).numpy().tobytes()
    return packed


def _weighted(model: nn.Sequential) -> list[Any]:
    return [layer for layer in model if isinstance(layer, (nn.Conv2d, nn.Linear))]


def _worth(weight: Tensor) -> Tensor:
    """What one of 127 steps is worth, for each unit."""
    return weight.abs().amax(tuple(range(1, weight.ndim)), keepdim=True).clamp_min(1e-30) / 127


class AdversarialExplorer(Explorer):
    """Pick a garment and change it within a budget, step by step: when does a network err?

    The networks run where the figure is shown, forward and backward, on weights in 8 bits.

    Args:
        models: One trained network, or two by their names: ``{"plain": …, "robust": …}``. Each an
            ``nn.Sequential`` of square convolutions, dense layers, batch normalization after these,
            activations, pooling of windows side by side, ``Flatten`` and ``Dropout``.
        garments: What to pick from, 1 to 40 images (1, S, S) from 0 to 1, S ≤ 28, of 10 classes;
            ``test[:24]``, say.
        garment: Which one, from 0.
        epsilon: The budget ε: by how many of 255 gray levels a pixel may change, from 0 to 48.
        method: ``"noise"``: each pixel by ε up or down, at random; ``"fgsm"``: by ε along the
            gradient's sign; ``"pgd"``: several smaller steps, each put back into the budget.
        steps: Of PGD, from 1 to 20.
        step_size: Of PGD, as a share of ε, from 0.05 to 1.25.
        random_start: Whether PGD starts somewhere in the budget, not at the garment.
        target: The class toward which to change it; −1: away from its own.
        seed: Of the noise and the start.
        step: How many steps are shown; all, if it is more than there are.
        label: The figure's accessible name.

    ``networks`` has them as the figure runs them, by name, and ``changed`` what each of them gets.

    Raises:
        ValueError: If a value is out of range.
        TypeError: If a value is of another type, a network has a layer that the figure does not
            know, or there is no such argument.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    >>> garments = LabelledImages(torch.rand(3, 1, 28, 28), torch.arange(3), tuple("abcdefghij"))
    >>> explorer = AdversarialExplorer(model, garments, epsilon=4)
    >>> change = explorer.changed["the network"] - explorer.original
    >>> round(255 * change.abs().max().item())
    4
    """

    parts = ("chart", "network", "training_engine", "training_kernels")
    names = traitlets.List(traitlets.Unicode(), read_only=True).tag(sync=True)
    layers: traitlets.List = traitlets.List(read_only=True).tag(sync=True)
    weights = traitlets.Bytes(b"", read_only=True).tag(sync=True)
    side = traitlets.Int(28, read_only=True).tag(sync=True)
    gallery = traitlets.Bytes(b"", read_only=True).tag(sync=True)
    labels = traitlets.List(traitlets.Int(), read_only=True).tag(sync=True)
    classes = traitlets.List(traitlets.Unicode(), read_only=True).tag(sync=True)
    garment = Place("labels", at_most=39)
    epsilon = Checked(8, integer(at_least=0, at_most=48))
    method = Checked("pgd", one_of("noise", "fgsm", "pgd"))
    steps = Checked(10, integer(at_least=1, at_most=STEPS))
    step_size = Checked(0.25, number(at_least=0.05, at_most=1.25))
    random_start = Checked(False, boolean)
    target = Checked(-1, integer(at_least=-1, at_most=9))
    seed = Checked(0, integer(at_least=0, at_most=9999))
    step = Checked(STEPS, integer(at_least=0, at_most=STEPS))
    label = traitlets.Unicode("Adversarial explorer").tag(sync=True)

    def __init__(
        self,
        models: nn.Sequential | Mapping[str, nn.Sequential],
        garments: LabelledImages,
        **traits: Any,
    ) -> None:
        named = models if isinstance(models, Mapping) else {"the network": models}
        check("garments", garments, instance(LabelledImages))
        images, classes = garments.images.detach().cpu().float(), garments.classes
        side = images.shape[-1]
        if images.shape[1:] != (1, side, side) or not (1 <= len(images) <= 40 and side <= 28):
            raise ValueError(
                f"garments: images {tuple(images.shape)}, must be (1 to 40, 1, S, S), S ≤ 28"
            )
        if not (images.min() >= 0 and images.max() <= 1):
            raise ValueError("garments: images must be from 0 to 1")
        if len(classes) != 10:
            raise ValueError(f"garments: {len(classes)} classes, must be 10")
        if not 1 <= len(named) <= 2:
            raise ValueError(f"models: {len(named)} networks, must be 1 or 2")
        self.networks = {}
        for name, model in named.items():
            check(f"models[{name!r}]", model, instance(nn.Sequential))
            self.networks[name] = shipped(model)
            for layer in self.networks[name]:
                if told(layer) is None:
                    raise TypeError(f"models[{name!r}]: {layer}: the figure has no such layer")
            if (shape := self.networks[name](images[:1]).shape) != (1, 10):
                raise ValueError(f"models[{name!r}]: gives {tuple(shape)}, must be (1, 10) scores")
        fixed = {
            "names": list(self.networks),
            "layers": [list(map(told, model)) for model in self.networks.values()],
            "weights": b"".join(map(pack, self.networks.values())),
            "side": side,
            "gallery": (images * LEVELS).round().byte().numpy().tobytes(),
            "labels": garments.labels.tolist(),
            "classes": list(classes),
        }
        for name, value in fixed.items():
            self.set_trait(name, value)
        super().__init__(**traits)

    @property
    def original(self) -> Tensor:
        """The garment as it was, (1, 1, S, S), from 0 to 1."""
        images = torch.from_numpy(np.frombuffer(self.gallery, np.uint8) / np.float32(LEVELS))
        return images.view(-1, 1, 1, self.side, self.side)[self.garment]

    @property
    def changed(self) -> dict[str, Tensor]:
        """The garment as each network gets it, changed by the steps that are shown."""
        return {name: self._attacked(model) for name, model in self.networks.items()}

    def _even(self) -> Tensor:
        """Draw a number from 0 to 1 for each pixel, evenly: Box and Muller, backwards."""
        count = 2 * self.original.numel()
        pairs = normals(self.seed, self.garment * count, count).reshape(-1, 2)
        even = np.exp(-(pairs**2).sum(1) / 2).astype(np.float32)
        return torch.from_numpy(even).view_as(self.original)

    def _attacked(self, model: nn.Module) -> Tensor:
        x, budget = self.original, self.epsilon / LEVELS
        low, high = (x - budget).clamp(min=0), (x + budget).clamp(max=1)
        if self.method == "noise":
            change = budget * (self._even() - 0.5).sign()
            return (x + change).clamp(low, high) if self.step else x
        if self.method == "pgd" and self.random_start:
            x = low + (high - low) * self._even()
        total, share = (1, 1.0) if self.method == "fgsm" else (self.steps, self.step_size)
        away = self.target < 0
        aim = torch.tensor([self.labels[self.garment] if away else self.target])
        for _ in range(min(self.step, total)):
            change = share * budget * gradient_of(model, x, aim).sign()
            x = (x + (change if away else -change)).clamp(low, high)
        return x

    def picture(self) -> str:
        """Draw the garment, and bars of each class before and after, as an SVG element."""
        shades = (self.original.flatten() * 16).round().int().tolist()
        shapes = '<path d="M0 0h196v196h-196z" fill="none" stroke="var(--d2-line)"/>'
        shapes += draw_pixels(shades, self.side, 196 / self.side, "input")
        for row, name in enumerate(self.classes):
            y = 26 + 18 * row
            shapes += (
                f'<text x="300" y="{y + 12}" text-anchor="end" font-size="13" '
                f'fill="var(--d2-ink)">{escape(name)}</text>'
            )
        changed, width = self.changed, 380 / len(self.networks)
        for column, (name, model) in enumerate(self.networks.items()):
            left = 310 + column * width
            shapes += (
                f'<text x="{left:.0f}" y="14" font-size="13" '
                f'fill="var(--d2-muted)">{escape(name)}</text>'
            )
            with torch.no_grad():
                both = model(torch.cat([self.original, changed[name]])).softmax(1)
            for tone, y, shares in zip(("muted", "output"), (28, 34), both.tolist(), strict=True):
                path = "".join(
                    f"M{left:.0f} {y + 18 * row}h{share * (width - 20):.1f}v6H{left:.0f}z"
                    for row, share in enumerate(shares)
                )
                shapes += f'<path d="{path}" fill="var(--d2-{tone})"/>'
        return f'<svg viewBox="0 0 700 212" width="700">{shapes}</svg>'
