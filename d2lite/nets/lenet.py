"""LeNet: the network as published in 1998, and the small one that most courses call LeNet.

From LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition",
Proceedings of the IEEE, 1998. The layers have the paper's names: C for a convolution, S for
subsampling, F for a fully connected layer.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from d2lite.channels import MaskedConv2d
from d2lite.checks import checked, function

Activation = Callable[[Tensor], Tensor]
Pool = Callable[[int], nn.Module]

#: LeNet-5's weights and biases start uniform within ± this, divided by the fan-in (Appendix A).
REACH = 2.4


def squash(x: Tensor) -> Tensor:
    """Compute the paper's squashing function, 1.7159 tanh(2x / 3): ±1 stay ±1.

    >>> squash(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-1.0000,  0.0000,  1.0000])
    """
    return 1.7159 * torch.tanh(2 / 3 * x)


class Subsampling(nn.Module):
    """Add the four pixels of each 2 × 2 block, times a coefficient, plus a bias: two a map.

    >>> Subsampling(6)(torch.zeros(2, 6, 28, 28)).shape
    torch.Size([2, 6, 14, 14])
    """

    kernel_size = 2

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels).uniform_(-REACH, REACH) / 4)
        self.bias = nn.Parameter(torch.empty(channels).uniform_(-REACH, REACH) / 4)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, H / 2, W / 2)."""
        sums = avg_pool2d(maps, 2, divisor_override=1)
        return sums * self.weight[:, None, None] + self.bias[:, None, None]


class EuclideanRBF(nn.Module):
    """Score each class by how near its code is: minus the squared distance.

    The paper's penalty is the distance itself. With the sign turned the best class has the highest
    score, and cross-entropy of these scores is the paper's equation 9 without its rubbish class.

    >>> EuclideanRBF(torch.tensor([[1.0, 1.0], [1.0, -1.0]]))(torch.tensor([[1.0, 0.5]]))
    tensor([[-0.2500, -2.2500]])
    """

    codes: Tensor

    def __init__(self, codes: Tensor):
        super().__init__()
        self.register_buffer("codes", codes)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, F) to (N, num_classes)."""
        return -(features[:, None] - self.codes).square().sum(dim=2)


_TABLE_I = """
X...XXX..XXXX.XX
XX...XXX..XXXX.X
XXX...XXX..X.XXX
.XXX..XXXX..X.XX
..XXX..XXXX.XX.X
...XXX..XXXX.XXX
"""

#: Which maps of S2 each map of C3 sees, (16, 6): Table I of the paper, its columns as rows.
C3_TABLE = torch.tensor([[mark == "X" for mark in row] for row in _TABLE_I.split()]).T

_DIGITS = """
....... ....... ....... ....... ....... ....... ....... ....... ....... .......
..###.. ...#... ..###.. ..###.. ....#.. .#####. ...##.. .#####. ..###.. ..###..
.#...#. ..##... .#...#. .#...#. ...##.. .#..... ..#.... .....#. .#...#. .#...#.
.#...#. .#.#... .....#. .....#. ...##.. .#..... .#..... .....#. .#...#. .#...#.
.#...#. ...#... .....#. .....#. ..#.#.. .#..... .#..... ....#.. .#...#. .#...#.
.#...#. ...#... ....#.. ..###.. ..#.#.. .####.. .####.. ....#.. ..###.. ..####.
.#...#. ...#... ...#... .....#. .#..#.. .....#. .#...#. ...#... .#...#. .....#.
.#...#. ...#... ..#.... .....#. .#####. .....#. .#...#. ...#... .#...#. .....#.
.#...#. ...#... .#..... .....#. ....#.. .....#. .#...#. ...#... .#...#. .....#.
.#...#. ...#... .#..... .#...#. ....#.. .#...#. .#...#. ..#.... .#...#. ....#..
..###.. .#####. .#####. ..###.. ....#.. ..###.. ..###.. ..#.... ..###.. ..##...
....... ....... ....... ....... ....... ....... ....... ....... ....... .......
"""

#: The ten digits on 12 × 7 dots, ink +1 and paper −1. The paper shows its own only as a picture
#: (Figure 3); these are drawn anew.
DIGITS = torch.tensor(
    [[[1.0 if dot == "#" else -1.0 for dot in digit] for digit in row.split()]
     for row in _DIGITS.split("\n")[1:-1]]
).transpose(0, 1)  # fmt: skip


class LeNet5(nn.Module):
    """LeNet-5 as published: 60,000 trainable parameters, 32 × 32 images, ten classes.

    It expects background at −0.1 and ink at 1.175. Two things the paper leaves open are decided
    here: biases start like weights, and the codes, which it shows as a picture, are drawn anew.

    >>> LeNet5()(torch.zeros(2, 1, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(self) -> None:
        super().__init__()
        self.C1 = nn.Conv2d(1, 6, kernel_size=5)
        self.S2 = Subsampling(6)
        self.C3 = MaskedConv2d(C3_TABLE, kernel_size=5)
        self.S4 = Subsampling(16)
        self.C5 = nn.Conv2d(16, 120, kernel_size=5)
        self.F6 = nn.Linear(120, 84)
        self.output = EuclideanRBF(DIGITS.flatten(1))
        for layer in (self.C1, self.C5, self.F6):
            reach = REACH / layer.weight[0].numel()
            for parameter in layer.parameters():
                nn.init.uniform_(parameter, -reach, reach)
        fan_in = 25 * C3_TABLE.sum(1)  # of each map of C3
        weight, bias = self.C3.parameters()
        with torch.no_grad():
            weight.uniform_(-REACH, REACH).div_(fan_in[C3_TABLE.nonzero()[:, 0], None, None])
            bias.uniform_(-REACH, REACH).div_(fan_in)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, 1, 32, 32) to scores (N, 10): minus the paper's penalties."""
        x = squash(self.S2(squash(self.C1(images))))
        x = squash(self.S4(squash(self.C3(x))))
        x = squash(self.C5(x)).flatten(1)
        x = squash(self.F6(x))
        return self.output(x)


def initialize(model: nn.Module, activation: Activation) -> None:
    """Draw the weights so that signals keep their size: He for ReLU, else Xavier, as for tanh.

    Biases start at 0; layers of other kinds keep their own start. From Glorot and Bengio, 2010,
    and He et al., 2015.

    >>> initialize(nn.Linear(2, 3), torch.relu)
    """
    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            if activation is torch.relu:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            else:
                nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class LeNet(nn.Module):
    """The small LeNet for 28 × 28 images: two convolutions, three fully connected layers.

    The paper's sizes, without its particulars: C3 sees all maps of S2, subsampling has nothing to
    learn, the output is linear. 61,706 parameters; for another number of classes give it another
    ``output``.

    Args:
        activation: A function of one tensor: ``torch.relu``, ``torch.tanh``, ``torch.sigmoid``.
        pool: A pooling's class, called with the size of its window: ``nn.MaxPool2d`` or
            ``nn.AvgPool2d``.

    Raises:
        TypeError: If one of them cannot be called.

    >>> LeNet(torch.tanh, nn.AvgPool2d)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

    @checked(activation=function, pool=function)
    def __init__(self, activation: Activation = torch.relu, pool: Pool = nn.MaxPool2d) -> None:
        super().__init__()
        self.activation = activation
        self.C1, self.S2 = nn.Conv2d(1, 6, kernel_size=5, padding=2), pool(2)
        self.C3, self.S4 = nn.Conv2d(6, 16, kernel_size=5), pool(2)
        self.C5 = nn.Linear(16 * 5 * 5, 120)
        self.F6 = nn.Linear(120, 84)
        self.output = nn.Linear(84, 10)
        initialize(self, activation)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 1, 28, 28) to scores (N, 10)."""
        x = self.S2(self.activation(self.C1(x)))
        x = self.S4(self.activation(self.C3(x)))
        x = self.activation(self.C5(x.flatten(1)))
        return self.output(self.activation(self.F6(x)))
