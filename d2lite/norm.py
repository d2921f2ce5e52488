"""Normalisation: give activations mean 0 and variance 1, over some of their axes.

One function, ``normalize``, does the arithmetic. The four layers differ in the axes over which they
average, and so in the number of means that they compute. For x of shape (N, C, H, W):

    ================  ====================  =====  ================
    Layer             averages over         means  5 × 10 × 28 × 28
    ================  ====================  =====  ================
    ``BatchNorm``     N, H, W               C      10
    ``LayerNorm``     C, H, W               N      5
    ``InstanceNorm``  H, W                  N·C    50
    ``GroupNorm``     C/G channels, H, W    N·G    10, with G = 2
    ================  ====================  =====  ================

Each may then learn a scale γ, called ``weight`` as in PyTorch, and a shift β, called ``bias``.
"""

import copy
import math
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from d2lite.checks import checked, given, instance, integer, number, optional, tensor

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)

_SIZE = integer(at_least=1)
_EPS = number(at_least=0)


def _more_than_one(x: Tensor, axes: tuple[int, ...]) -> None:
    if math.prod(x.shape[axis] for axis in axes) < 2:
        raise ValueError(f"x{given(x)}: must have more than 1 value over axes {axes}")


@checked(_more_than_one, x=tensor(empty=True))
def normalize(x: Tensor, axes: tuple[int, ...], eps: float = 1e-5) -> tuple[Tensor, ...]:
    """Normalise over some axes: (x − mean) / √(variance + eps).

    >>> y, mean, variance = normalize(torch.rand(5, 10, 28, 28), axes=(0, 2, 3))
    >>> mean.shape
    torch.Size([1, 10, 1, 1])

    It works in the precision of x. The layers give it float32 at least, as PyTorch's do: the
    squares of half-precision numbers overflow from 256 on.

    Returns:
        The normalised x, the mean, and the variance (biased: the mean squared deviation). In the
        last two the averaged axes have size 1, so that ``mean.numel()`` counts the means.

    Raises:
        TypeError: If x is no floating-point tensor.
        ValueError: If each mean is of fewer than two values: a single one always becomes 0.
    """
    mean = x.mean(axes, keepdim=True)
    deviation = x - mean
    variance = (deviation**2).mean(axes, keepdim=True)
    return deviation / torch.sqrt(variance + eps), mean, variance


class _Norm(nn.Module):
    """What the four layers share: eps, and γ and β of some shape, or neither."""

    weight: nn.Parameter  # both are None without affine
    bias: nn.Parameter

    def __init__(self, shape: tuple[int, ...], eps: float, affine: bool) -> None:
        super().__init__()
        self.eps = eps
        self.register_parameter("weight", nn.Parameter(torch.ones(shape)) if affine else None)
        self.register_parameter("bias", nn.Parameter(torch.zeros(shape)) if affine else None)

    def extra_repr(self) -> str:
        """Show the settings."""
        shown = {k: v for k, v in vars(self).items() if k[0] != "_" and k != "training"}
        return ", ".join(f"{name}={value}" for name, value in shown.items())

    def _scale_and_shift(self, y: Tensor) -> Tensor:
        if self.weight is None:
            return y
        return y * _per_channel(self.weight, y) + _per_channel(self.bias, y)


def _per_channel(vector: Tensor, x: Tensor) -> Tensor:
    """Reshape (C,) to (C, 1, …, 1), to broadcast against (N, C, *)."""
    return vector.view(-1, *[1] * (x.ndim - 2))


def _wide(x: Tensor) -> Tensor:
    """Convert to float32 what is of lower precision."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


_CHANNELS = tensor("(N, C, …)", empty=True)


def _has_channels(x: Tensor, channels: int) -> None:
    if x.shape[1] != channels:
        raise ValueError(f"x{given(x)}: must be (N, {channels}, …)")


class BatchNorm(_Norm):
    """Normalise each channel over the batch: (N, C, *), as ``nn.BatchNorm1d``, ``2d`` and ``3d``.

    In training it normalises by the mean and the biased variance of the mini-batch; the running
    mean and (unbiased) variance move towards them by ``momentum``, or with ``momentum=None`` are
    their averages so far. In evaluation it normalises by the running statistics, if tracked.

    From Ioffe and Szegedy, "Batch normalization: accelerating deep network training by reducing
    internal covariate shift", 2015.

    >>> BatchNorm(8)(torch.rand(16, 8, 28, 28)).shape
    torch.Size([16, 8, 28, 28])
    """

    running_mean: Tensor  # all three are None without track_running_stats
    running_var: Tensor
    num_batches_tracked: Tensor

    @checked(num_features=_SIZE, eps=_EPS, momentum=optional(number(at_least=0, at_most=1)))
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__((num_features,), eps, affine)
        self.num_features, self.momentum = num_features, momentum
        track = track_running_stats
        self.register_buffer("running_mean", torch.zeros(num_features) if track else None)
        self.register_buffer("running_var", torch.ones(num_features) if track else None)
        self.register_buffer("num_batches_tracked", torch.tensor(0) if track else None)

    @checked(lambda self, x: _has_channels(x, self.num_features), x=_CHANNELS)
    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, *); in training, update the running statistics."""
        wide = _wide(x)
        if self.training or self.running_mean is None:
            y, mean, variance = normalize(wide, (0, *range(2, x.ndim)), self.eps)
            if self.running_mean is not None:
                self._update(mean.flatten(), variance.flatten(), x.numel() // mean.numel())
        else:
            mean = _per_channel(self.running_mean, x)
            variance = _per_channel(_wide(self.running_var), x)
            y = (wide - mean) / torch.sqrt(variance + self.eps)
        return self._scale_and_shift(y).to(x.dtype)

    @torch.no_grad()
    def _update(self, mean: Tensor, variance: Tensor, count: int) -> None:
        self.num_batches_tracked += 1
        momentum = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        unbiased = variance * count / (count - 1)
        for running, new in (self.running_mean, mean), (self.running_var, unbiased):
            running.copy_((1 - momentum) * _wide(running) + momentum * new)


def _sizes(value: object) -> None:
    for size in value if isinstance(value, Sequence) else (value,):
        _SIZE(size)


def _ends_in(x: Tensor, shape: tuple[int, ...]) -> None:
    if x.shape[x.ndim - len(shape) :] != shape:
        raise ValueError(f"x{given(x)}: must end in {shape}")


class LayerNorm(_Norm):
    """Normalise each example over its last axes: (N, *, *normalized_shape), as ``nn.LayerNorm``.

    γ and β have that shape too: one for every position, not for every channel.

    From Ba, Kiros and Hinton, "Layer normalization", 2016.

    >>> LayerNorm((8, 28, 28))(torch.rand(16, 8, 28, 28)).shape
    torch.Size([16, 8, 28, 28])
    """

    @checked(normalized_shape=_sizes, eps=_EPS)
    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
    ) -> None:
        sizes = normalized_shape if isinstance(normalized_shape, Sequence) else (normalized_shape,)
        shape = tuple(sizes)
        super().__init__(shape, eps, elementwise_affine)
        self.normalized_shape = shape

    @checked(lambda self, x: _ends_in(x, self.normalized_shape), x=tensor(empty=True))
    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, *, *normalized_shape)."""
        axes = tuple(range(-len(self.normalized_shape), 0))
        y, _, _ = normalize(_wide(x), axes, self.eps)
        return (y if self.weight is None else y * self.weight + self.bias).to(x.dtype)


def _divides(num_groups: int, num_channels: int) -> None:
    if num_channels % num_groups:
        raise ValueError(f"num_groups={num_groups}: must divide num_channels={num_channels}")


class GroupNorm(_Norm):
    """Normalise groups of channels of each example: (N, C, *), as ``nn.GroupNorm``.

    From Wu and He, "Group normalization", 2018.

    >>> GroupNorm(2, 8)(torch.rand(16, 8, 28, 28)).shape
    torch.Size([16, 8, 28, 28])
    """

    @checked(_divides, num_groups=_SIZE, num_channels=_SIZE, eps=_EPS)
    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True
    ) -> None:
        super().__init__((num_channels,), eps, affine)
        self.num_groups, self.num_channels = num_groups, num_channels

    @checked(lambda self, x: _has_channels(x, self.num_channels), x=_CHANNELS)
    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, *)."""
        G, C = self.num_groups, self.num_channels
        groups = _wide(x).unflatten(1, (G, C // G))  # (N, G, C/G, *)
        y, _, _ = normalize(groups, tuple(range(2, groups.ndim)), self.eps)
        return self._scale_and_shift(y.flatten(1, 2)).to(x.dtype)


class InstanceNorm(_Norm):
    """Normalise each channel of each example: (N, C, *), as ``nn.InstanceNorm1d``, ``2d``, ``3d``.

    Training and evaluation are the same: PyTorch's optional running statistics are left out.

    From Ulyanov, Vedaldi and Lempitsky, "Instance normalization: the missing ingredient for fast
    stylization", 2016.

    >>> InstanceNorm(8)(torch.rand(16, 8, 28, 28)).shape
    torch.Size([16, 8, 28, 28])
    """

    @checked(num_features=_SIZE, eps=_EPS)
    def __init__(self, num_features: int, eps: float = 1e-5, *, affine: bool = False) -> None:
        super().__init__((num_features,), eps, affine)
        self.num_features = num_features

    @checked(lambda self, x: _has_channels(x, self.num_features), x=_CHANNELS)
    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, *)."""
        y, _, _ = normalize(_wide(x), tuple(range(2, x.ndim)), self.eps)
        return self._scale_and_shift(y).to(x.dtype)


def _plain(layer: Any) -> None:
    if type(layer) not in (nn.Conv2d, nn.Linear):
        raise TypeError("must be an nn.Conv2d or nn.Linear: another class may compute otherwise")
    if not isinstance(layer.weight, nn.Parameter):
        raise TypeError("must have its weight as a parameter, not compute it as pruning does")


def _affine(layer: Layer, norm: BatchNorm | _BatchNorm) -> None:
    if norm.training or norm.running_mean is None or norm.running_var is None:
        raise ValueError("norm: must be in evaluation mode, with running statistics")
    if norm.num_features != len(layer.weight):
        raise ValueError(f"norm: {norm.num_features} channels, must be {len(layer.weight)}")


@checked(_affine, layer=_plain, norm=instance(BatchNorm, _BatchNorm))
def fold(layer: Layer, norm: BatchNorm | Any) -> Layer:
    """Fold a batch normalisation into the layer before it: one layer that infers as the two.

    >>> fold(nn.Conv2d(3, 8, kernel_size=3, bias=False), BatchNorm(8).eval())
    Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))

    In evaluation the normalisation is affine, s·y + t per channel, with s = γ / √(running_var +
    eps) and t = β − s·running_mean. For y = W∗x + b this is (s·W)∗x + (s·b + t).

    Returns:
        A new layer of the same kind; the two given ones stay as they are.

    Raises:
        TypeError: If ``layer`` or ``norm`` is of another kind, or the layer's weight is computed.
        ValueError: If ``norm`` is training, or has no running statistics, or other channels.
    """
    scale = 1 / torch.sqrt(norm.running_var + norm.eps)
    shift = -scale * norm.running_mean
    if norm.weight is not None:
        scale, shift = scale * norm.weight, shift * norm.weight + norm.bias
    if layer.bias is not None:
        shift = shift + scale * layer.bias
    weight = torch.einsum("c,c...->c...", scale, layer.weight.to(scale))
    folded = copy.deepcopy(layer)
    folded.weight, folded.bias = nn.Parameter(weight), nn.Parameter(shift)
    return folded.to(layer.weight.dtype)
