"""The ViT explorer: where a trained vision transformer looks, patch by patch."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import traitlets
from torch import Tensor, nn

from d2lite.checks import boolean, check, integer
from d2lite.explore.explorer import Checked, Read
from d2lite.explore.network import NetworkExplorer
from d2lite.nets.vit import ViT

NO_FIT = "model: must be a ViT for one channel of 28 × 28 and 10 classes, of depth ≥ 1"


def pack(model: nn.Module) -> bytes:
    """Write all parameters one after the other, in 16-bit floats, the low byte first.

    >>> len(pack(nn.Linear(4, 2)))
    20
    """
    values = [p.detach().cpu().flatten() for p in model.parameters()]
    return torch.cat(values).numpy().astype("<f2").tobytes()


def unpack(packed: bytes, model: ViT) -> ViT:
    """Read parameters that ``pack`` has written into a model of the same form, and return it."""
    values = torch.tensor(np.frombuffer(packed, "<f2").astype(np.float32))
    ends = np.cumsum([0, *(p.numel() for p in model.parameters())])
    with torch.no_grad():
        for p, (start, end) in zip(model.parameters(), pairwise(ends), strict=True):
            p.copy_(values[start:end].view_as(p))
    return model


def _patches(value: Any) -> list[int]:
    """Read numbers of patches, each at most once."""
    if not isinstance(value, (list, tuple)):
        raise TypeError("must be a list of patches")
    for i, patch in enumerate(value):
        check(f"[{i}]", patch, integer(at_least=0))
    if len(set(value)) < len(value):
        raise ValueError("must have each patch at most once")
    return [int(patch) for patch in value]


class ViTExplorer(NetworkExplorer):
    """Pick a garment and a patch of it, and see to which patches each head of each layer attends.

    The network runs where the figure is shown, on its weights in 16 bits.

    Args:
        model: A trained ``ViT``, or one of the same form, for images of 28 × 28 and 10 classes.
        gallery: Images to pick from, (N, 1, 28, 28), from 0 to 1; at most 40.
        classes: The names of the 10 classes.
        image: The garment, (28, 28) from 0 to 1. The gallery's first image, unless given.
        token: Whose attention is shown: 0 is the class token, i + 1 the patch i, row by row.
        layer: Of which layer, from 0.
        head: Of which head, from 0.
        covered: Patches that are painted over with the background.
        order: Which patch of the garment stands at each place; all at their own, if empty.
        positions: Whether the position embeddings are added.
        label: The figure's accessible name.

    Raises:
        ValueError: If a value is out of range.
        TypeError: If the model is of another kind, or there is no such argument.

    >>> from d2lite.nets.vit import small_vit
    >>> explorer = ViTExplorer(small_vit(), torch.rand(2, 1, 28, 28), list("abcdefghij"))
    >>> explorer.attention.shape  # layers, heads, from each token, to each
    torch.Size([2, 4, 17, 17])
    """

    patch_size = traitlets.Int(read_only=True).tag(sync=True)
    width = traitlets.Int(read_only=True).tag(sync=True)
    depth = traitlets.Int(read_only=True).tag(sync=True)
    heads = traitlets.Int(read_only=True).tag(sync=True)
    token = Checked(0, integer(at_least=0, at_most=784))
    layer = Checked(0, integer(at_least=0))
    head = Checked(0, integer(at_least=0))
    covered = Read([], _patches)
    order = Read([], _patches)
    positions = Checked(True, boolean)
    label = traitlets.Unicode("ViT explorer").tag(sync=True)

    def __init__(self, model: ViT, gallery: Tensor, classes: Sequence[str], **traits: Any) -> None:
        try:
            first: Any = model.encoder[0]
            sizes = {
                "patch_size": model.patches.kernel_size[0],
                "width": model.patches.out_channels,
                "depth": len(model.encoder),
                "heads": first.self_attn.num_heads,
            }
        except (AttributeError, IndexError):
            raise TypeError(NO_FIT) from None
        for name, size in sizes.items():
            self.set_trait(name, size)
        with torch.device("meta"):
            shapes = {name: p.shape for name, p in self._blank().named_parameters()}
        if {name: p.shape for name, p in model.named_parameters()} != shapes:
            raise TypeError(NO_FIT)
        self.set_trait("weights", pack(model))
        super().__init__(gallery, classes, **traits)

    def _blank(self) -> ViT:
        sizes = {"width": self.width, "depth": self.depth, "heads": self.heads}
        return ViT(1, 28, self.patch_size, **sizes, num_classes=10)

    @property
    def model(self) -> ViT:
        """The network as the figure runs it: with its weights in 16 bits."""
        with torch.random.fork_rng([]):
            model = unpack(self.weights, self._blank()).eval()
        if not self.positions:
            nn.init.zeros_(model.positions)
        return model

    @property
    def patches(self) -> int:
        """How many patches there are."""
        return (28 // self.patch_size) ** 2

    @property
    def shown(self) -> Tensor:
        """The image that the network gets, (1, 1, 28, 28): patches in order, some covered."""
        side = self.patch_size
        cut = nn.functional.unfold(super().shown, side, stride=side)
        cut = cut[..., self.order or list(range(self.patches))]
        cut[..., self.covered] = 0
        return nn.functional.fold(cut, 28, side, stride=side)

    @property
    def attention(self) -> Tensor:
        """To which token each token attends: (depth, heads, tokens, tokens), rows add up to 1."""
        model, weights = self.model, []

        def keep(layer: Any, given: tuple[Tensor, ...]) -> None:
            x = layer.norm1(given[0])
            weights.append(layer.self_attn(x, x, x, average_attn_weights=False)[1][0])

        for layer in model.encoder:
            layer.register_forward_pre_hook(keep)
        with torch.no_grad():
            model(self.shown)
        return torch.stack(weights)

    @traitlets.validate("token", "layer", "head")
    def _check_choice(self, proposal: Any) -> int:
        name, value = proposal["trait"].name, proposal["value"]
        most = {"token": self.patches, "layer": self.depth - 1, "head": self.heads - 1}[name]
        if value > most:
            raise ValueError(f"{name}={value}: must be ≤ {most}")
        return value

    @traitlets.validate("covered", "order")
    def _check_patches(self, proposal: Any) -> list[int]:
        name, value = proposal["trait"].name, proposal["value"]
        if any(patch >= self.patches for patch in value):
            raise ValueError(f"{name}={value}: patches are 0 to {self.patches - 1}")
        if name == "order" and value and len(value) != self.patches:
            raise ValueError(f"order={value}: {len(value)} patches, must be {self.patches} or none")
        return value
