"""LeNet-5 to the letter of its paper, and the small LeNet."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from d2lite.channels import MaskedConv2d
from d2lite.nets.lenet import (
    C3_TABLE,
    DIGITS,
    EuclideanRBF,
    LeNet,
    LeNet5,
    Subsampling,
    initialize,
    squash,
)
from d2lite.trace import trace

PAPER = {  # layer: (output shape, trainable parameters, connections), section II.B
    "C1": ((6, 28, 28), 156, 122_304),
    "S2": ((6, 14, 14), 12, 5_880),
    "C3": ((16, 10, 10), 1_516, 151_600),
    "S4": ((16, 5, 5), 32, 2_000),
    "C5": ((120, 1, 1), 48_120, 48_120),
    "F6": ((84,), 10_164, 10_164),
    "output": ((10,), 0, 840),
}


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_lenet5_has_the_papers_layers_and_parameters():
    layers = trace(LeNet5(), (1, 32, 32))
    assert {layer.name: (layer.output_shape, layer.parameters) for layer in layers} == {
        name: (shape, parameters) for name, (shape, parameters, _) in PAPER.items()
    }
    assert layers.total_parameters == 60_000
    assert sum(connections for _, _, connections in PAPER.values()) == 340_908
    # A connection is a multiply-add, or a bias that is added.
    for layer in layers:
        if layer.name in ("C1", "C3", "C5", "F6"):
            positions = torch.Size(layer.output_shape).numel()
            assert layer.multiply_adds + positions == PAPER[layer.name][2]


def test_the_connection_table_is_that_of_the_papers_words():
    def cyclic(size: int) -> list[set[int]]:
        return [{(start + k) % 6 for k in range(size)} for start in range(6)]

    seen = [set(row.nonzero()[:, 0].tolist()) for row in C3_TABLE]
    assert seen[:6] == cyclic(3)
    assert seen[6:12] == cyclic(4)
    assert all(len(maps) == 4 and maps not in cyclic(4) for maps in seen[12:15])
    assert seen[15] == set(range(6))
    assert len({frozenset(maps) for maps in seen}) == 16  # no two see the same
    assert sum(map(len, seen)) == 60
    assert torch.equal(LeNet5().C3.table, C3_TABLE)
    # Each map of S2 is used equally often: ten crosses in each of the table's rows as printed.
    assert C3_TABLE.sum(0).tolist() == [10] * 6


def test_subsampling_is_a_sum_a_coefficient_and_a_bias():
    layer = Subsampling(3)
    maps = torch.rand(2, 3, 6, 8)
    sums = maps.unfold(2, 2, 2).unfold(3, 2, 2).sum(dim=(4, 5))
    expected = torch.stack([sums[:, c] * layer.weight[c] + layer.bias[c] for c in range(3)], dim=1)
    torch.testing.assert_close(layer(maps), expected)


def test_squash():
    x = torch.linspace(-4, 4, 801, dtype=torch.double, requires_grad=True)
    y = squash(x)
    torch.testing.assert_close(y, -y.flip(0))
    assert y.max() < 1.7159
    torch.testing.assert_close(squash(torch.tensor(1.0)), torch.tensor(1.0), rtol=0, atol=1e-5)
    (first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert abs(abs(x[second.abs().argmax()]) - 1) < 0.02  # the paper: greatest at ±1
    assert 1.1 < first.max() < 1.15


@settings(max_examples=25, deadline=None)
@given(classes=st.integers(1, 6), size=st.integers(1, 9), seed=st.integers(0, 99))
def test_the_output_is_minus_the_squared_distance(classes, size, seed):
    torch.manual_seed(seed)
    codes, features = torch.randn(classes, size).double(), torch.randn(3, size).double()
    scores = EuclideanRBF(codes)(features)
    torch.testing.assert_close(scores, -(torch.cdist(features, codes) ** 2))

    # Cross-entropy of the scores is the paper's equation 9, without the constant e^−j.
    labels = torch.randint(classes, (3,))
    penalties = -scores
    paper = penalties[range(3), labels] + torch.log(torch.exp(-penalties).sum(1))
    torch.testing.assert_close(F.cross_entropy(scores, labels), paper.mean())


def test_the_codes_are_ten_different_digits_and_are_not_trained():
    assert DIGITS.shape == (10, 12, 7)
    assert DIGITS.unique().tolist() == [-1, 1]
    assert len(DIGITS.flatten(1).unique(dim=0)) == 10
    model = LeNet5()
    assert torch.equal(model.output.codes, DIGITS.flatten(1))
    assert "output.codes" in model.state_dict()
    assert "output.codes" not in dict(model.named_parameters())


def test_lenet5_starts_within_the_papers_bounds():
    torch.manual_seed(0)
    model = LeNet5()
    fan_in_c3 = 25 * model.C3.table.sum(1)
    of_kernel = fan_in_c3[model.C3.table.nonzero()[:, 0]]
    for parameter, fan_in in [
        (model.C1.weight, 25), (model.C1.bias, 25), (model.S2.weight, 4), (model.S2.bias, 4),
        (model.C3.weight, of_kernel[:, None, None]), (model.C3.bias, fan_in_c3),
        (model.S4.weight, 4), (model.S4.bias, 4), (model.C5.weight, 400), (model.C5.bias, 400),
        (model.F6.weight, 120), (model.F6.bias, 120),
    ]:  # fmt: skip
        share = (parameter.detach() * fan_in / 2.4).abs()
        assert share.max() <= 1 + 1e-6
        assert share.max() > 0.6  # and it fills them
        if parameter.numel() > 100:
            assert abs(share.mean() - 0.5) < 0.1


def test_lenet5_forward_is_the_papers():
    model = LeNet5()
    x = torch.rand(2, 1, 32, 32)

    def f(a):
        return 1.7159 * torch.tanh(2 * a / 3)

    def subsample(maps, layer):
        return 4 * F.avg_pool2d(maps, 2) * layer.weight.view(-1, 1, 1) + layer.bias.view(-1, 1, 1)

    full = torch.zeros(16, 6, 5, 5)
    full[model.C3.table] = model.C3.weight.detach()
    state = f(F.conv2d(x, model.C1.weight, model.C1.bias))
    state = f(
        4 * F.avg_pool2d(state, 2) * model.S2.weight.view(6, 1, 1) + model.S2.bias.view(6, 1, 1)
    )
    state = f(F.conv2d(state, full, model.C3.bias))
    state = f(
        4 * F.avg_pool2d(state, 2) * model.S4.weight.view(16, 1, 1) + model.S4.bias.view(16, 1, 1)
    )
    state = f(state.flatten(1) @ model.C5.weight.flatten(1).T + model.C5.bias)
    state = f(state @ model.F6.weight.T + model.F6.bias)
    torch.testing.assert_close(model(x), -(torch.cdist(state, DIGITS.flatten(1)) ** 2))


ACTIVATIONS = {torch.relu: nn.ReLU, torch.sigmoid: nn.Sigmoid, torch.tanh: nn.Tanh}
BY_NAME = pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda f: f.__name__)


@pytest.mark.parametrize("pool", [nn.MaxPool2d, nn.AvgPool2d])
@BY_NAME
def test_lenet_is_what_courses_build(activation, pool):
    model, act = LeNet(activation, pool), ACTIVATIONS[activation]
    expected = nn.Sequential(
        nn.Conv2d(1, 6, kernel_size=5, padding=2), act(), pool(kernel_size=2, stride=2),
        nn.Conv2d(6, 16, kernel_size=5), act(), pool(kernel_size=2, stride=2),
        nn.Flatten(), nn.Linear(400, 120), act(), nn.Linear(120, 84), act(), nn.Linear(84, 10),
    )  # fmt: skip
    for own, theirs in zip(model.parameters(), expected.parameters(), strict=True):
        theirs.data = own.data
    images = torch.rand(3, 1, 28, 28)
    torch.testing.assert_close(model(images), expected(images))
    assert count(model) == 61_706


def test_lenet_traced():
    layers = trace(LeNet(), (1, 28, 28))
    assert [(layer.name, layer.output_shape, layer.parameters) for layer in layers] == [
        ("C1", (6, 28, 28), 156),
        ("S2", (6, 14, 14), 0),
        ("C3", (16, 10, 10), 2_416),
        ("S4", (16, 5, 5), 0),
        ("C5", (120,), 48_120),
        ("F6", (84,), 10_164),
        ("output", (10,), 850),
    ]


@BY_NAME
def test_lenet_starts_as_its_activation_needs(activation):
    torch.manual_seed(0)
    model = LeNet(activation)
    for layer in (model.C1, model.C3, model.C5, model.F6, model.output):
        fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(layer.weight)
        std = (2 / fan_in) ** 0.5 if activation is torch.relu else (2 / (fan_in + fan_out)) ** 0.5
        tolerance = 5 / (2 * layer.weight.numel()) ** 0.5
        assert layer.weight.std().item() == pytest.approx(std, rel=tolerance)
        assert not layer.bias.any()


@pytest.mark.parametrize("argument", ["activation", "pool"])
def test_what_cannot_be_called_is_refused(argument):
    with pytest.raises(TypeError, match=f"{argument}='max': must be a function"):
        LeNet(**{argument: "max"})


@pytest.mark.parametrize("model", [LeNet(), LeNet5()])
def test_copies_and_state_go_round(model, tmp_path):
    size = 32 if isinstance(model, LeNet5) else 28
    images = torch.rand(2, 1, size, size)
    assert torch.equal(copy.deepcopy(model)(images), model(images))
    torch.save(model.state_dict(), tmp_path / "model.pt")
    other = type(model)()
    other.load_state_dict(torch.load(tmp_path / "model.pt"))
    assert torch.equal(other(images), model(images))


@pytest.mark.parametrize("activation", [torch.relu, torch.tanh])
def test_initialize_draws_linear_layers_and_convolutions_alone(activation) -> None:
    """A normalization's scale is no bias, and connections are no matrix: they stay as they are."""
    model = nn.Sequential(MaskedConv2d([[1, 1], [1, 0]], 3), nn.BatchNorm2d(2), nn.Linear(64, 64))
    before = [parameter.clone() for parameter in model.parameters()]
    initialize(model, activation)
    kept = [torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)]
    assert kept == [True] * 4 + [False] * 2
    std = (2 / 64) ** 0.5 if activation is torch.relu else (2 / 128) ** 0.5
    initialize(nn.Conv2d(1, 2, 3, bias=False), activation)  # as before a norm
    assert model[2].weight.std().item() == pytest.approx(std, rel=0.05)
    assert not model[2].bias.any()
