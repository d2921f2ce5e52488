"""Activations: the functions between the layers, and their derivatives.

Each takes a tensor of any shape and works element by element. ``f_grad(x)`` is f′(x), what
backpropagation multiplies the gradient with. All stay finite for |x| however large: ``exp`` only
ever sees numbers ≤ 0, so it may vanish but cannot overflow.
"""

import torch
from torch import Tensor


def sigmoid(x: Tensor) -> Tensor:
    """Squash to (0, 1): σ(x) = 1 / (1 + e⁻ˣ), equal to ``torch.sigmoid``.

    For x < 0 it is written eˣ / (1 + eˣ), the same number without a large exponential.

    From Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors",
    1986.

    >>> sigmoid(torch.tensor([-1000.0, 0.0, 1000.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    e = torch.exp(torch.where(x >= 0, -x, x))
    return torch.where(x >= 0, 1, e) / (1 + e)


def sigmoid_grad(x: Tensor) -> Tensor:
    """Differentiate the sigmoid: σ′(x) = σ(x)(1 − σ(x)), at most ¼.

    Since 1 − σ(x) = σ(−x), there is no need to subtract two numbers that are almost equal.

    >>> sigmoid_grad(torch.tensor([-1000.0, 0.0, 1000.0]))
    tensor([0.0000, 0.2500, 0.0000])
    """
    return sigmoid(x) * sigmoid(-x)


def tanh(x: Tensor) -> Tensor:
    """Squash to (−1, 1): tanh x = (e²ˣ − 1) / (e²ˣ + 1) = 2σ(2x) − 1, equal to ``torch.tanh``.

    ``expm1`` is eˣ − 1, exact even where x is close to 0. For x > 0, tanh x = −tanh(−x).

    From LeCun et al., "Efficient BackProp", 1998: being symmetric, it often trains faster than σ.

    >>> tanh(torch.tensor([-1000.0, 0.0, 1000.0]))
    tensor([-1.,  0.,  1.])
    """
    e = torch.expm1(torch.where(x >= 0, -2 * x, 2 * x))
    return torch.where(x >= 0, -e, e) / (e + 2)


def tanh_grad(x: Tensor) -> Tensor:
    """Differentiate tanh: tanh′ x = 1 − tanh² x = 4σ′(2x), at most 1.

    >>> tanh_grad(torch.tensor([-1000.0, 0.0, 1000.0]))
    tensor([0., 1., 0.])
    """
    return 4 * sigmoid_grad(2 * x)


def relu(x: Tensor) -> Tensor:
    """Keep what is positive: max(0, x), equal to ``torch.relu``.

    From Nair and Hinton, "Rectified linear units improve restricted Boltzmann machines", 2010.

    >>> relu(torch.tensor([-2.0, 0.0, 3.0]))
    tensor([0., 0., 3.])
    """
    return torch.where(x <= 0, 0, x)


def relu_grad(x: Tensor) -> Tensor:
    """Differentiate ReLU: 1 where x > 0, else 0; at the corner, x = 0, it is 0 by convention.

    >>> relu_grad(torch.tensor([-2.0, 0.0, 3.0]))
    tensor([0., 0., 1.])
    """
    return torch.where(x <= 0, 0, torch.ones_like(x))


def leaky_relu(x: Tensor, negative_slope: float = 0.01) -> Tensor:
    """Keep what is positive and a little of the rest, equal to ``torch.nn.functional.leaky_relu``.

    From Maas, Hannun and Ng, "Rectifier nonlinearities improve neural network acoustic models",
    2013.

    >>> leaky_relu(torch.tensor([-2.0, 0.0, 3.0]))
    tensor([-0.0200,  0.0000,  3.0000])
    """
    return torch.where(x > 0, x, negative_slope * x)


def leaky_relu_grad(x: Tensor, negative_slope: float = 0.01) -> Tensor:
    """Differentiate leaky ReLU: 1 where x > 0, else ``negative_slope``.

    >>> leaky_relu_grad(torch.tensor([-2.0, 0.0, 3.0]))
    tensor([0.0100, 0.0100, 1.0000])
    """
    return torch.where(x > 0, torch.ones_like(x), negative_slope)
