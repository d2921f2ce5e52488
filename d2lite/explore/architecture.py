"""The architecture explorer: the published networks drawn to scale, layer by layer."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import traitlets
from torch import nn

from d2lite.channels import MaskedConv2d
from d2lite.checks import boolean, integer, one_of
from d2lite.explore.explorer import Checked, Explorer
from d2lite.nets.alexnet import alexnet
from d2lite.nets.densenet import densenet121
from d2lite.nets.googlenet import googlenet
from d2lite.nets.lenet import EuclideanRBF, LeNet5, Subsampling
from d2lite.nets.nin import nin
from d2lite.nets.resnet import resnet50
from d2lite.nets.vgg import vgg16
from d2lite.receptive_field import receptive_field
from d2lite.trace import trace

#: Each network, and how many parts of a layer's name say which block it belongs to.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "LeNet-5": (LeNet5, 1),
    "AlexNet": (alexnet, 2),
    "VGG-16": (vgg16, 2),
    "NiN": (nin, 2),
    "GoogLeNet": (googlenet, 2),
    "ResNet-50": (resnet50, 3),
    "DenseNet-121": (densenet121, 2),
}

KINDS: dict[str, tuple[type[nn.Module], ...]] = {
    "convolution": (nn.Conv2d, MaskedConv2d),
    "pooling": (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, Subsampling),
    "dense": (nn.Linear, EuclideanRBF),
}


@cache
def _layers(name: str) -> dict[str, Any]:
    """List a network's convolutions, poolings and dense layers as ``trace`` sees them.

    The parameters of a normalization count with the convolution before it.
    """
    make, depth = NETWORKS[name]
    shape = (1, 32, 32) if name == "LeNet-5" else (3, 224, 224)
    with torch.device("cpu" if name == "LeNet-5" else "meta"):  # shapes, without computing
        model = make()
    fields = receptive_field(model, shape)
    modules = dict(model.named_modules())
    layers: list[dict[str, Any]] = []
    unused = 0
    for row in trace(model, shape):
        module = modules[row.name]
        kind = next((kind for kind, types in KINDS.items() if isinstance(module, types)), None)
        if row.output_shape is None:
            unused += row.parameters
        elif kind is None:
            if row.parameters:
                before = next(layer for layer in reversed(layers) if layer["kind"] != "pooling")
                before["parameters"] += row.parameters
        else:
            layers.append(
                {
                    "name": row.name,
                    "block": ".".join(row.name.split(".")[:depth]),
                    "kind": kind,
                    "text": row.description,
                    "shape": row.output_shape,
                    "parameters": row.parameters,
                    "multiply_adds": row.multiply_adds,
                    "field": fields[row.name].size,
                }
            )
    return {"input": shape, "layers": layers, "unused": unused}


class ArchitectureExplorer(Explorer):
    """See a published network drawn to scale, or two of them: shapes, parameters, multiply-adds.

    A map's height is that of the picture in pixels; its width, and that of the bars below it, grows
    with the square root of its channels.

    Args:
        network: ``"LeNet-5"``, ``"AlexNet"``, ``"VGG-16"``, ``"NiN"``, ``"GoogLeNet"``,
            ``"ResNet-50"`` or ``"DenseNet-121"``.
        other: A second one, drawn below the first, or ``""`` for none.
        layer: The chosen layer of the first, from 0: convolutions, poolings and dense layers count.
        other_layer: The chosen layer of the second.
        same_scale: Whether two networks share their scales, or each fills its own.
        label: The figure's accessible name.

    Raises:
        ValueError: If a value is out of range.
        TypeError: If a value is of another type, or there is no such argument.

    >>> explorer = ArchitectureExplorer(network="VGG-16", layer=18)
    >>> explorer.networks["VGG-16"]["layers"][explorer.layer]["parameters"]
    102764544
    """

    networks = traitlets.Dict(
        read_only=True, help="For each network its input shape, its layers, and unused parameters."
    ).tag(sync=True)
    network = Checked("VGG-16", one_of(*NETWORKS))
    other = Checked("", one_of("", *NETWORKS))
    layer = Checked(0, integer(at_least=0, at_most=10**6))
    other_layer = Checked(0, integer(at_least=0, at_most=10**6))
    same_scale = Checked(True, boolean)
    label = traitlets.Unicode("Architecture explorer").tag(sync=True)

    @traitlets.default("networks")
    def _trace_them(self) -> dict[str, Any]:
        return {name: _layers(name) for name in NETWORKS}

    @traitlets.validate("layer", "other_layer")
    def _check_layer(self, proposal: Any) -> int:
        layer, trait = proposal["value"], proposal["trait"].name
        name = self.network if trait == "layer" else self.other
        if name and layer >= len(_layers(name)["layers"]):
            count = len(_layers(name)["layers"])
            raise ValueError(f"{trait}={layer}: must be < {count}, the layers of {name}")
        return layer

    @traitlets.observe("network", "other")
    def _keep_layers_inside(self, change: Any) -> None:
        for trait, name in (("layer", self.network), ("other_layer", self.other)):
            last = len(_layers(name)["layers"]) - 1 if name else 0
            setattr(self, trait, min(getattr(self, trait), last))

    def picture(self) -> str:
        """Draw the first network's maps, to scale, and a bar for each layer's parameters."""
        network = _layers(self.network)
        maps = [("input", network["input"], 0)]
        maps += [(each["kind"], each["shape"], each["parameters"]) for each in network["layers"]]
        widths = [shape[0] ** 0.5 for _, shape, _ in maps]
        largest = max(parameters for *_, parameters in maps)
        tones = {"input": "input", "convolution": "output", "pooling": "muted", "dense": "kernel"}
        shapes, x = "", 0.0
        for (kind, shape, parameters), width in zip(maps, widths, strict=True):
            w = 700 * width / sum(widths)
            tall = max(2.0, 110 * shape[1] / network["input"][1]) if shape[1:] else 2.0
            bar = 70 * parameters / largest
            fill = f'fill="var(--d2-{tones[kind]})"'
            shapes += (
                f'<path d="M{x:.1f} {57 - tall / 2:.1f}h{w * 0.85:.1f}v{tall:.1f}h{-w * 0.85:.1f}z"'
                f' {fill}/><path d="M{x:.1f} {195 - bar:.1f}h{w * 0.85:.1f}v{bar:.1f}'
                f'h{-w * 0.85:.1f}z" fill="var(--d2-kernel)"/>'
            )
            x += w
        return f'<svg viewBox="0 0 700 200" width="700">{shapes}</svg>'
