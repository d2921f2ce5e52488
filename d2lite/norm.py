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
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


def normalize(x: Tensor, axes: tuple[int, ...], eps: float = 1e-5) -> tuple[Tensor, ...]:
    """Normalise over some axes: (x − mean) / √(variance + eps).

    Returns:
        The normalised x, the mean, and the variance (biased: the mean squared deviation). In the
        last two the averaged axes have size 1, so that ``mean.numel()`` counts the means.

    Raises:
        ValueError: If each mean is of fewer than two values: a single one always becomes 0.

    >>> y, mean, variance = normalize(torch.rand(5, 10, 28, 28), axes=(0, 2, 3))
    >>> mean.shape
    torch.Size([1, 10, 1, 1])
    """
    if math.prod(x.shape[axis] for axis in axes) < 2:
        raise ValueError(f"x: shape {tuple(x.shape)}, must have more than 1 value over axes {axes}")
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
        if not eps >= 0:
            raise ValueError(f"eps={eps}: must be ≥ 0")
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

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        _check_sizes(num_features=num_features)
        if momentum is not None and not 0 <= momentum <= 1:
            raise ValueError(f"momentum={momentum}: must be from 0 to 1, or None")
        super().__init__((num_features,), eps, affine)
        self.num_features, self.momentum = num_features, momentum
        track = track_running_stats
        self.register_buffer("running_mean", torch.zeros(num_features) if track else None)
        self.register_buffer("running_var", torch.ones(num_features) if track else None)
        self.register_buffer("num_batches_tracked", torch.tensor(0) if track else None)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, *); in training, update the running statistics."""
        _check_input(x, self.num_features)
        if self.training or self.running_mean is None:
            y, mean, variance = normalize(x, (0, *range(2, x.ndim)), self.eps)
            if self.running_mean is not None:
                self._update(mean.flatten(), variance.flatten(), x.numel() // mean.numel())
        else:
            mean, variance = _per_channel(self.running_mean, x), _per_channel(self.running_var, x)
            y = (x - mean) / torch.sqrt(variance + self.eps)
        return self._scale_and_shift(y)

    @torch.no_grad()
    def _update(self, mean: Tensor, variance: Tensor, count: int) -> None:
        self.num_batches_tracked += 1
        momentum = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean += momentum * (mean - self.running_mean)
        self.running_var += momentum * (variance * count / (count - 1) - self.running_var)


class LayerNorm(_Norm):
    """Normalise each example over its last axes: (N, *, *normalized_shape), as ``nn.LayerNorm``.

    γ and β have that shape too: one for every position, not for every channel.

    From Ba, Kiros and Hinton, "Layer normalization", 2016.

    >>> LayerNorm((8, 28, 28))(torch.rand(16, 8, 28, 28)).shape
    torch.Size([16, 8, 28, 28])
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
    ) -> None:
        shape = (
            (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        )
        _check_sizes(**{f"normalized_shape[{i}]": size for i, size in enumerate(shape)})
        super().__init__(shape, eps, elementwise_affine)
        self.normalized_shape = shape

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, *, *normalized_shape)."""
        D = len(self.normalized_shape)
        if x.shape[-D:] != self.normalized_shape:
            raise ValueError(f"x: shape {tuple(x.shape)}, must end in {self.normalized_shape}")
        y, _, _ = normalize(x, tuple(range(-D, 0)), self.eps)
        return y if self.weight is None else y * self.weight + self.bias


class GroupNorm(_Norm):
    """Normalise groups of channels of each example: (N, C, *), as ``nn.GroupNorm``.

    From Wu and He, "Group normalization", 2018.

    >>> GroupNorm(2, 8)(torch.rand(16, 8, 28, 28)).shape
    torch.Size([16, 8, 28, 28])
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True
    ) -> None:
        _check_sizes(num_groups=num_groups, num_channels=num_channels)
        if num_channels % num_groups:
            raise ValueError(f"num_groups={num_groups}: must divide num_channels={num_channels}")
        super().__init__((num_channels,), eps, affine)
        self.num_groups, self.num_channels = num_groups, num_channels

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, *)."""
        _check_input(x, self.num_channels)
        groups = x.unflatten(1, (self.num_groups, -1))  # (N, G, C/G, *)
        y, _, _ = normalize(groups, tuple(range(2, groups.ndim)), self.eps)
        return self._scale_and_shift(y.flatten(1, 2))


class InstanceNorm(_Norm):
    """Normalise each channel of each example: (N, C, *), as ``nn.InstanceNorm1d``, ``2d``, ``3d``.

    Training and evaluation are the same: PyTorch's optional running statistics are left out.

    From Ulyanov, Vedaldi and Lempitsky, "Instance normalization: the missing ingredient for fast
    stylization", 2016.

    >>> InstanceNorm(8)(torch.rand(16, 8, 28, 28)).shape
    torch.Size([16, 8, 28, 28])
    """

    def __init__(self, num_features: int, eps: float = 1e-5, *, affine: bool = False) -> None:
        _check_sizes(num_features=num_features)
        super().__init__((num_features,), eps, affine)
        self.num_features = num_features

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, *)."""
        _check_input(x, self.num_features)
        y, _, _ = normalize(x, tuple(range(2, x.ndim)), self.eps)
        return self._scale_and_shift(y)


def fold(layer: Layer, norm: BatchNorm | _BatchNorm) -> Layer:
    """Fold a batch normalisation into the layer before it: one layer that infers as the two.

    In evaluation the normalisation is affine, s·y + t per channel, with s = γ / √(running_var +
    eps) and t = β − s·running_mean. For y = W∗x + b this is (s·W)∗x + (s·b + t).

    Returns:
        A new layer of the same kind; the two given ones stay as they are.

    Raises:
        TypeError: If ``layer`` or ``norm`` is of another kind.
        ValueError: If ``norm`` is training, or has no running statistics, or other channels.

    >>> fold(nn.Conv2d(3, 8, kernel_size=3, bias=False), BatchNorm(8).eval())
    Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))
    """
    if not isinstance(layer, nn.Conv2d | nn.Linear):
        raise TypeError(f"layer: a {type(layer).__name__}, must be an nn.Conv2d or nn.Linear")
    if not isinstance(norm, BatchNorm | _BatchNorm):
        raise TypeError(f"norm: a {type(norm).__name__}, must be a BatchNorm")
    mean, variance = norm.running_mean, norm.running_var
    if norm.training or mean is None or variance is None:
        raise ValueError("norm: must be in evaluation mode, with running statistics")
    if norm.num_features != len(layer.weight):
        raise ValueError(f"norm: {norm.num_features} channels, must be {len(layer.weight)}")
    folded = copy.deepcopy(layer)
    with torch.no_grad():
        scale = 1 / torch.sqrt(variance + norm.eps)
        shift = -scale * mean
        if norm.weight is not None:
            scale, shift = scale * norm.weight, shift * norm.weight + norm.bias
        if layer.bias is not None:
            shift = shift + scale * layer.bias
        folded.weight = nn.Parameter(torch.einsum("c,c...->c...", scale, layer.weight))
        folded.bias = nn.Parameter(shift)
    return folded


def _per_channel(vector: Tensor, x: Tensor) -> Tensor:
    """Reshape (C,) to (C, 1, …, 1), to broadcast against (N, C, *)."""
    return vector.view(-1, *[1] * (x.ndim - 2))


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int):
            raise TypeError(f"{name}={size!r}: must be an int")
        if size < 1:
            raise ValueError(f"{name}={size}: must be ≥ 1")


def _check_input(x: Tensor, channels: int) -> None:
    if x.ndim < 2 or x.shape[1] != channels:
        raise ValueError(f"x: shape {tuple(x.shape)}, must be (N, {channels}, …)")
