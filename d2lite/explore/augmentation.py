"""The augmentation explorer: a chain of random changes, drawn twelve times; and the label."""

import base64
import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import traitlets
from PIL import Image
from torch import Tensor, nn

from d2lite.checks import check, instance, integer, number, one_of
from d2lite.data.fashion_mnist import CLASSES, fashion_mnist
from d2lite.explore.explorer import Checked, Explorer, Place, Read, mix, normals
from d2lite.explore.network import STEPS, read_gallery

if TYPE_CHECKING:  # it takes a second to import, which is spent where it is needed
    from torchvision.transforms import v2

SIDE, DRAWS = 28, 12
MEAN, DEVIATION = 0.286, 0.353  # of the garments to learn from

Settings = dict[str, Any]
_share = number(at_least=0, at_most=1)
_alpha = number(at_least=0.05, at_most=2)

#: Each kind of change: its settings, of each the default and the rule.
_KINDS: dict[str, dict[str, tuple[Any, Any]]] = {
    "flip": {"p": (0.5, _share)},
    "crop": {"padding": (4, integer(0, 14))},
    "resized_crop": {"scale": (0.7, number(at_least=0.05, at_most=1))},
    "affine": {
        "degrees": (15.0, number(at_least=0, at_most=180)),
        "shear": (0.0, number(at_least=0, at_most=45)),
    },
    "jitter": {"brightness": (0.2, _share), "contrast": (0.2, _share)},
    "noise": {"sigma": (0.1, number(at_least=0, at_most=0.5))},
    "erase": {"p": (0.25, _share), "scale": (0.33, number(at_least=0.02, at_most=0.8))},
    "mixup": {"alpha": (1.0, _alpha)},
    "cutmix": {"alpha": (1.0, _alpha)},
    "smoothing": {"label_smoothing": (0.1, number(at_least=0, at_most=0.5))},
}
_STAGES = {"mixup": 1, "cutmix": 1, "smoothing": 2}  # of a batch, of the loss; others: of a picture


def _chain(value: Any) -> list[Settings]:
    """Read changes: dicts, or the kind alone for the defaults; each kind once."""
    if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
        raise TypeError('must be a list of changes, such as ["flip", {"kind": "crop"}]')
    chain: list[Settings] = []
    for i, given in enumerate(value):
        change: Settings = {"kind": given} if isinstance(given, str) else given
        check(place := f"[{i}]", change, instance(Mapping))
        kind = str(change.get("kind"))
        check(f"{place}.kind", kind, one_of(*_KINDS))
        if unknown := change.keys() - {"kind", *_KINDS[kind]}:
            raise TypeError(
                f"{place}: {', '.join(sorted(map(str, unknown)))}: no such setting of {kind}; "
                f"it has {', '.join(_KINDS[kind])}"
            )
        full: Settings = {"kind": kind}
        for name, (default, rule) in _KINDS[kind].items():
            check(f"{place}.{name}", found := change.get(name, default), rule)
            full[name] = type(default)(found)
        if kind in {each["kind"] for each in chain}:
            raise ValueError(f"{place}: {kind} is there already, must be there once")
        if chain and _STAGES.get(chain[-1]["kind"], 0) > _STAGES.get(kind, 0):
            raise ValueError(
                f"{place}: {kind} after {chain[-1]['kind']}: first must come what changes one "
                "picture, then mixup and cutmix, which change a batch, then smoothing"
            )
        chain.append(full)
    return chain


# ---- What is drawn: as in the figure -------------------------------------------------------------


def _seed(*names: int) -> int:
    seed = 0
    for name in names:
        seed = mix((mix(seed) + name) & 0xFFFFFFFF)
    return seed


class _Stream:
    """Uniform random numbers, the same as in the figure."""

    def __init__(self, seed: int) -> None:
        self.seed, self.place = seed, 0

    def between(self, low: float = 0, high: float = 1) -> float:
        self.place += 1
        bits = mix((self.place * 0x9E3779B9 + self.seed) & 0xFFFFFFFF)
        return low + (high - low) * (bits + 0.5) / 2**32

    def below(self, count: int) -> int:
        return math.floor(self.between() * count)

    def box(self, areas: tuple[float, float], ratios: tuple[float, float], most: int) -> Settings:
        """Draw a box of a random area and ratio of width to height; empty if none of ten fits."""
        for _ in range(10):
            area = SIDE**2 * self.between(*areas)
            ratio = math.exp(self.between(*map(math.log, ratios)))
            height, width = (math.floor(math.sqrt(x) + 0.5) for x in (area / ratio, area * ratio))
            if height <= most and width <= most:
                top, left = self.below(SIDE - height + 1), self.below(SIDE - width + 1)
                return {"top": top, "left": left, "height": height, "width": width}
        return {}

    def beta(self, alpha: float) -> float:
        """Draw from the Beta distribution whose parameters are both α (Jöhnk, 1964)."""
        while True:
            x, y = (self.between() ** (1 / alpha) for _ in range(2))
            if x + y <= 1:
                return x / (x + y)


def _drawn(kind: str, seed: int, **settings: Any) -> Settings:
    """What a change draws, by the names of torchvision's functions."""
    random, values = _Stream(seed), list(settings.values())
    if kind == "flip":
        return {"mirrored": random.between() < values[0]}
    if kind == "crop":
        top, left = (random.below(2 * values[0] + 1) for _ in range(2))
        return {"padding": values[0], "top": top, "left": left}
    if kind == "resized_crop":
        whole = {"top": 0, "left": 0, "height": SIDE, "width": SIDE}
        return random.box((values[0], 1), (3 / 4, 4 / 3), SIDE) or whole
    if kind == "affine":
        angle, shear = (random.between(-most, most) for most in values)
        return {"angle": angle, "shear": shear}
    if kind == "jitter":
        found: Settings = {"swapped": random.between() < 0.5}
        for name, most in settings.items():
            found[name] = random.between(max(1 - most, 0), 1 + most) if most else None
        return found
    if kind == "noise":
        return {"sigma": values[0], "seed": random.below(2**31)}
    if kind == "erase":
        found = {"top": 0, "left": 0, "height": 0, "width": 0}
        erased = random.between() < values[0]
        return (erased and random.box((0.02, values[1]), (1 / 3.3, 1 / 0.3), SIDE - 1)) or found
    if kind == "smoothing":
        return {"share": values[0]}
    share = random.beta(values[0])
    if kind == "mixup":
        return {"share": share}
    half = math.floor(0.5 * math.sqrt(1 - share) * SIDE)
    x, y = random.below(SIDE), random.below(SIDE)
    left, right, top, bottom = (
        min(max(at, 0), SIDE) for at in (x - half, x + half, y - half, y + half)
    )
    height, width = bottom - top, right - left
    share = 1 - height * width / SIDE**2
    return {"top": top, "left": left, "height": height, "width": width, "share": share}


def _changed(kind: str, found: Settings, image: Tensor) -> Tensor:
    """Change one picture (1, 28, 28) by torchvision, as was drawn."""
    from torchvision.transforms import v2

    F, bilinear = v2.functional, v2.InterpolationMode.BILINEAR
    if kind == "flip":
        return F.horizontal_flip(image) if found["mirrored"] else image
    if kind == "crop":
        padded = F.pad(image, [found["padding"]] * 4)
        return F.crop(padded, found["top"], found["left"], SIDE, SIDE)
    if kind == "resized_crop":
        return F.resized_crop(image, **found, size=[SIDE, SIDE], interpolation=bilinear)
    if kind == "affine":
        still: Settings = {"translate": [0, 0], "scale": 1.0, "interpolation": bilinear, "fill": 0}
        return F.affine(image, found["angle"], shear=[found["shear"], 0.0], **still)
    if kind == "noise":
        noise = torch.from_numpy(normals(found["seed"], 0, image.numel())).float()
        return (image + found["sigma"] * noise.view_as(image)).clamp(0, 1)
    if kind == "erase":
        place = found["top"], found["left"], found["height"], found["width"]
        return F.erase(image, *place, torch.zeros(1, 1, 1))
    for name in ("contrast", "brightness") if found["swapped"] else ("brightness", "contrast"):
        if found[name] is not None:
            image = getattr(F, f"adjust_{name}")(image, found[name])
    return image


def _transform(kind: str, settings: Settings) -> "v2.Transform":
    """Make torchvision's transform of one picture."""
    from torchvision.transforms import v2

    values = list(settings.values())
    bilinear = v2.InterpolationMode.BILINEAR
    kinds: dict[str, Callable[[], v2.Transform]] = {
        "flip": lambda: v2.RandomHorizontalFlip(values[0]),
        "crop": lambda: v2.RandomCrop(SIDE, padding=values[0]),
        "resized_crop": lambda: v2.RandomResizedCrop(SIDE, scale=(values[0], 1.0)),
        "affine": lambda: v2.RandomAffine(values[0], shear=values[1], interpolation=bilinear),
        "jitter": lambda: v2.ColorJitter(*values),
        "noise": lambda: v2.GaussianNoise(sigma=values[0]),
        "erase": lambda: v2.RandomErasing(values[0], scale=(0.02, values[1])),
    }
    return kinds[kind]()


@cache
def _garments() -> tuple[Tensor, Tensor]:
    """The first garment of each class to learn from, in their order."""
    train, _ = fashion_mnist()
    labels = train.labels.tolist()
    places = sorted(labels.index(k) for k in range(len(CLASSES)))
    return train.images[places], train.labels[places]


class AugmentationExplorer(Explorer):
    """Compose a chain of random changes, and see twelve draws of it and what the label becomes.

    What the reader composes runs in PyTorch: ``explorer.transforms`` for one picture,
    ``explorer.batch_transforms`` for a batch, ``explorer.loss``.

    Args:
        gallery: Images to pick from, (N, 1, 28, 28), from 0 to 1; at most 40. One garment of each
            class, unless given.
        labels: The class of each, (N,).
        classes: The names of the classes.
        chain: The changes, one after the other, each a dict such as ``{"kind": "crop", "padding":
            2}``, or the kind alone: ``flip`` (``p``); ``crop`` (``padding``); ``resized_crop``
            (``scale``, the least share of the area); ``affine`` (``degrees``, ``shear``);
            ``jitter`` (``brightness``, ``contrast``); ``noise`` (``sigma``); ``erase`` (``p``,
            ``scale``, the largest share of the area); then ``mixup`` and ``cutmix`` (``alpha``);
            then ``smoothing`` (``label_smoothing``). Each kind once.
        seed: Of all that is drawn, below a billion.
        garment: Which image of the gallery, from 0.
        normalize: ``"not"``, ``"first"`` or ``"last"``: before or after what changes one picture.
        draw: The draw that is looked into, from 0 to 11.
        label: The figure's accessible name.

    Raises:
        ValueError: If a value is out of range, or the changes stand in no possible order.
        TypeError: If a value is of another type, or there is no such argument.

    >>> explorer = AugmentationExplorer(chain=["flip", "mixup"], normalize="last")
    >>> explorer.transforms(torch.rand(1, 28, 28)).shape
    torch.Size([1, 28, 28])
    >>> explorer.pictures.shape, explorer.targets.shape  # the twelve draws of the figure
    (torch.Size([12, 1, 28, 28]), torch.Size([12, 10]))
    """

    parts = ("chart", "network")
    gallery = traitlets.Bytes(b"", read_only=True).tag(sync=True)
    labels = traitlets.List(traitlets.Int(), read_only=True).tag(sync=True)
    classes = traitlets.List(traitlets.Unicode(), read_only=True).tag(sync=True)
    chain = Read(_chain(["resized_crop", "flip", "jitter", "erase"]), _chain)
    seed = Checked(0, integer(at_least=0, at_most=10**9 - 1))
    garment = Place("labels", at_most=39)
    normalize = Checked("last", one_of("not", "first", "last"))
    draw = Checked(0, integer(at_least=0, at_most=DRAWS - 1))
    label = traitlets.Unicode("Augmentation explorer").tag(sync=True)

    def __init__(
        self,
        gallery: Tensor | None = None,
        labels: Sequence[int] | Tensor | None = None,
        classes: Sequence[str] = CLASSES,
        **traits: Any,
    ) -> None:
        if gallery is None:
            gallery, labels = _garments()
        self.set_trait("gallery", b"".join(read_gallery(gallery)))
        if labels is None or len(labels) != len(gallery):
            raise ValueError(f"labels: must be {len(gallery)}, one an image")
        for i, label in enumerate(labels):
            check(f"labels[{i}]", int(label), integer(0, len(classes) - 1))
        self.set_trait("labels", [int(each) for each in labels])
        self.set_trait("classes", list(classes))
        super().__init__(**traits)

    def _settings(self, stage: int) -> Iterator[tuple[str, Settings]]:
        """Go through the changes of one picture (0), of a batch (1) or of the loss (2)."""
        for change in self.chain:
            if _STAGES.get(kind := change["kind"], 0) == stage:
                yield kind, {name: value for name, value in change.items() if name != "kind"}

    @property
    def transforms(self) -> "v2.Compose":
        """What changes one picture, a tensor (1, 28, 28) or a gray PIL image: torchvision's."""
        from torchvision.transforms import v2

        normal = [v2.Normalize([MEAN], [DEVIATION])]
        return v2.Compose(
            [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
            + normal * (self.normalize == "first")
            + [_transform(*each) for each in self._settings(0)]
            + normal * (self.normalize == "last")
        )

    @property
    def batch_transforms(self) -> "v2.Transform":
        """What changes a batch (N, 1, 28, 28) and its labels (N,): torchvision's; or nothing."""
        from torchvision.transforms import v2

        kinds, K = {"mixup": v2.MixUp, "cutmix": v2.CutMix}, len(self.classes)
        made = [kinds[kind](num_classes=K, **settings) for kind, settings in self._settings(1)]
        return v2.Compose(made) if made else v2.Identity()

    @property
    def loss(self) -> nn.CrossEntropyLoss:
        """The loss, which smooths the labels if the chain does."""
        return nn.CrossEntropyLoss(**dict(self._settings(2)).get("smoothing", {}))

    def _augment(self, draw: int) -> tuple[Tensor, Tensor]:
        """Make a draw of the figure, by torchvision: a picture (1, 28, 28) and its target (K,)."""
        count, kinds = len(self.labels), list(_KINDS)
        images = torch.frombuffer(bytearray(self.gallery), dtype=torch.uint8) / STEPS
        whose = [self.garment]
        for place in range(1, 1 + len(list(self._settings(1)))):
            other = _Stream(_seed(self.seed, draw, place, len(kinds))).below(count - 1)
            whose.append((self.garment + 1 + other) % count)
        batch = images.view(-1, 1, SIDE, SIDE)[whose]
        targets = nn.functional.one_hot(torch.tensor(self.labels)[whose], len(self.classes)).float()

        def found(kind: str, settings: Settings, place: int = 0) -> Settings:
            return _drawn(kind, _seed(self.seed, draw, place, kinds.index(kind)), **settings)

        if self.normalize == "first":
            batch = (batch - MEAN) / DEVIATION
        for kind, settings in self._settings(0):
            batch = torch.stack(
                [_changed(kind, found(kind, settings, i), x) for i, x in enumerate(batch)]
            )
        if self.normalize == "last":
            batch = (batch - MEAN) / DEVIATION
        for kind, settings in self._settings(1):
            mixing = found(kind, settings)
            share = mask = mixing["share"]
            if kind == "cutmix":
                mask = _changed("erase", mixing, torch.ones(1, SIDE, SIDE))
            batch = mask * batch[:-1] + (1 - mask) * batch[1:]
            targets = share * targets[:-1] + (1 - share) * targets[1:]
        for _, settings in self._settings(2):
            share = settings["label_smoothing"]
            targets = (1 - share) * targets + share / len(self.classes)
        return batch[0], targets[0]

    @property
    def pictures(self) -> Tensor:
        """The twelve draws of the figure as the network gets them, (12, 1, 28, 28)."""
        return torch.stack([self._augment(draw)[0] for draw in range(DRAWS)])

    @property
    def targets(self) -> Tensor:
        """What becomes of the label in each of the twelve draws, (12, K)."""
        return torch.stack([self._augment(draw)[1] for draw in range(DRAWS)])

    def picture(self) -> str:
        """Draw the twelve draws as an SVG element, and the share of the garment's class in each."""
        shades, own = self.pictures, self.targets[:, self.labels[self.garment]].tolist()
        if self.normalize != "not":
            shades = shades * DEVIATION + MEAN
        shapes = ""
        for draw, tile in enumerate((shades.clamp(0, 1) * STEPS).round().byte()[:, 0].numpy()):
            ink = np.full((SIDE, SIDE, 3), (0, 114, 178), np.uint8)
            file = io.BytesIO()
            Image.fromarray(np.dstack([ink, tile])).save(file, "PNG", optimize=True)
            x, y = draw % 6 * 116, draw // 6 * 140
            shapes += (
                f'<image x="{x}" y="{y}" width="112" height="112" image-rendering="pixelated" '
                f'href="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"/>'
                f'<text x="{x + 56}" y="{y + 128}" font-size="14" text-anchor="middle" '
                f'fill="var(--d2-ink)">{own[draw]:.2f}</text>'
            )
        return f'<svg viewBox="0 0 696 274" width="696">{shapes}</svg>'
