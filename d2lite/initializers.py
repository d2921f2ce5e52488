"""Initializers: random weights of the right size to start from.

A layer adds up ``fan_in`` products on the way forwards and ``fan_out`` on the way back: for a
signal to come out as large as it went in, its weights need a standard deviation near 1 / √fan. Each
function fills a tensor in place, hence the trailing underscore, and returns it: the same numbers as
``torch.nn.init`` from the same seed.
"""

import math

import torch
from torch import Generator, Tensor, nn

from d2lite.channels import MaskedConv2d
from d2lite.checks import checked, instance, number, one_of, tensor

_GAIN = number(at_least=0)
_MODE = one_of("fan_in", "fan_out")
_NONLINEARITY = one_of("linear", "sigmoid", "tanh", "relu", "leaky_relu")


@checked(tensor=tensor("(out, in, …)"))
def fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """Count the inputs that an output adds up, and the outputs that an input adds to at stride 1.

    The tensor is the weight of a linear layer, (out, in), or a convolution, (C_out, C_in, kH, kW).

    Raises:
        TypeError: If it is not a floating-point tensor.
        ValueError: If it is empty or, like a bias, has fewer than two dimensions.

    >>> fan_in_and_fan_out(torch.empty(16, 6, 5, 5))
    (150, 400)
    """
    receptive_field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * receptive_field, tensor.shape[0] * receptive_field


@checked(nonlinearity=_NONLINEARITY)
def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Look up how much larger weights must be to make up for what an activation takes away.

    ReLU halves the mean square, hence √2; the 5/3 of tanh is a rule of thumb. ``param`` is the
    slope of leaky ReLU for x < 0, 0.01 unless given. Equal to ``torch.nn.init.calculate_gain``.

    Raises:
        ValueError: If it is not "linear", "sigmoid", "tanh", "relu" or "leaky_relu".

    >>> round(calculate_gain("relu"), 3)
    1.414
    """
    gains = {
        "linear": 1.0,
        "sigmoid": 1.0,
        "tanh": 5 / 3,
        "relu": math.sqrt(2),
        "leaky_relu": math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2)),
    }
    return gains[nonlinearity]


@checked(gain=_GAIN)
@torch.no_grad()
def xavier_uniform_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill a weight evenly from ±gain·√(6 / (fan_in + fan_out)).

    A compromise: 1 / fan_in keeps the variance of the signal on the way forwards, 1 / fan_out that
    of the gradient on the way back; 2 / (fan_in + fan_out) lies between. ``generator`` is where the
    randomness comes from, PyTorch's global one unless given.

    Raises the errors of ``fan_in_and_fan_out``, and a ValueError if the gain is negative.

    From Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", 2010.

    >>> bool(xavier_uniform_(torch.empty(30, 20)).abs().max() <= (6 / 50) ** 0.5)
    True
    """
    bound = math.sqrt(3) * _xavier_std(tensor, gain)  # ±b, evenly: standard deviation b / √3
    return tensor.uniform_(-bound, bound, generator=generator)


@checked(gain=_GAIN)
@torch.no_grad()
def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill a weight from a normal distribution of variance gain² · 2 / (fan_in + fan_out).

    The arguments, errors and paper are those of ``xavier_uniform_``.

    >>> xavier_normal_(torch.empty(400, 600)).std().round(decimals=3)  # √(2 / 1000)
    tensor(0.0450)
    """
    std = _xavier_std(tensor, gain)
    return tensor.normal_(0, std, generator=generator)


@checked(a=number(), mode=_MODE)
@torch.no_grad()
def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill a weight evenly from ±gain·√(3 / fan), the gain being that of the nonlinearity.

    ``mode="fan_in"`` keeps the size of the signal on the way forwards, ``"fan_out"`` that of the
    gradient on the way back. ``a`` is the slope of leaky ReLU for x < 0; 0 makes it ReLU.

    Raises the errors of ``fan_in_and_fan_out``, and a ValueError for another mode or nonlinearity.

    From He et al., "Delving deep into rectifiers: surpassing human-level performance on ImageNet
    classification", 2015.

    >>> bool(kaiming_uniform_(torch.empty(30, 20)).abs().max() <= (6 / 20) ** 0.5)
    True
    """
    bound = math.sqrt(3) * _kaiming_std(tensor, a, mode, nonlinearity)
    return tensor.uniform_(-bound, bound, generator=generator)


@checked(a=number(), mode=_MODE)
@torch.no_grad()
def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill a weight from a normal distribution of variance gain² / fan.

    The arguments, errors and paper are those of ``kaiming_uniform_``.

    >>> kaiming_normal_(torch.empty(400, 600)).std().round(decimals=3)  # √(2 / 600)
    tensor(0.0580)
    """
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    return tensor.normal_(0, std, generator=generator)


@checked(model=instance(nn.Module), activation=_NONLINEARITY)
@torch.no_grad()
def he_start_(model: nn.Module, activation: str = "relu") -> None:
    """Draw a model's linear and convolution layers by ``kaiming_normal_``; set all biases to 0.

    >>> model = nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2))
    >>> he_start_(model)
    >>> model[0].bias.tolist(), model[1].weight.tolist()
    ([0.0, 0.0], [1.0, 1.0])

    All other weights, such as the scales of normalization layers, stay as they are.

    Raises:
        TypeError: If the weight of such a layer is computed anew in each call, as weight
            normalization and pruning do: drawing it has no effect.
    """
    for name, layer in model.named_modules():
        if isinstance(layer, MaskedConv2d):
            std = calculate_gain(activation) / layer.fan_in().sqrt()  # of each output
            layer.weight.normal_().mul_(std[layer.table.nonzero()[:, 0], None, None])
        elif isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            if not isinstance(layer.weight, nn.Parameter):
                raise TypeError(f"model: the weight of {name or 'it'} is computed, not a parameter")
            kaiming_normal_(layer.weight, nonlinearity=activation)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)


def _xavier_std(tensor: Tensor, gain: float) -> float:
    return gain * math.sqrt(2 / sum(fan_in_and_fan_out(tensor)))


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    fans = dict(zip(("fan_in", "fan_out"), fan_in_and_fan_out(tensor), strict=True))
    return calculate_gain(nonlinearity, a) / math.sqrt(fans[mode])
