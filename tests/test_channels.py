"""Masked and depthwise-separable convolutions equal PyTorch's, gradients included."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from d2lite.channels import DepthwiseSeparableConv2d, MaskedConv2d
from d2lite.initializers import calculate_gain, he_start_
from d2lite.nets.lenet import C3_TABLE
from d2lite.norm import fold
from d2lite.trace import trace

seeds = st.integers(0, 2**31)
tables = st.integers(1, 5).flatmap(
    lambda C_in: st.lists(
        st.lists(st.integers(0, 1), min_size=C_in, max_size=C_in), min_size=1, max_size=5
    )
)
options = st.fixed_dictionaries(
    {
        "kernel_size": st.integers(1, 3) | st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "stride": st.integers(1, 2) | st.tuples(st.integers(1, 2), st.integers(1, 2)),
        "padding": st.integers(0, 2) | st.tuples(st.integers(0, 2), st.integers(0, 2)),
        "bias": st.booleans(),
    }
)


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-10)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def gradients(output, *inputs):
    """The gradients of a loss that weighs every output differently."""
    weights = torch.linspace(-1, 2, output.numel(), dtype=output.dtype).view_as(output)
    return torch.autograd.grad((weights * output**2).sum(), inputs)


def block_diagonal(C_out, C_in, groups):
    block = torch.ones(C_out // groups, C_in // groups)
    return torch.block_diag(*[block] * groups)


# ---- Masked --------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(tables, options, seeds)
def test_masked_is_a_full_convolution_times_the_table(table, options, seed):
    torch.manual_seed(seed)
    layer = MaskedConv2d(table, **options).double()
    mask = torch.tensor(table)[:, :, None, None]
    images = torch.randn(2, mask.shape[1], 5, 4, dtype=torch.double, requires_grad=True)
    full = torch.randn_like(layer.kernels()).requires_grad_()
    with torch.no_grad():
        layer.weight.copy_(full[layer.table])
    bias = None if layer.bias is None else layer.bias.detach().clone().requires_grad_()

    stride, padding = options["stride"], options["padding"]
    expected = F.conv2d(images, full * mask, bias, stride, padding)
    actual = layer(images)
    close(actual, expected)
    others = () if bias is None else (bias,)
    dx, dfull, *dbias = gradients(expected, images, full, *others)
    assert not dfull[layer.table.logical_not()].any()  # no connection, no gradient
    own = gradients(actual, images, *layer.parameters())
    close(own, (dx, dfull[layer.table], *dbias))


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), options, seeds)
def test_blocks_on_the_diagonal_are_groups(per_out, per_in, groups, options, seed):
    torch.manual_seed(seed)
    C_out, C_in = per_out * groups, per_in * groups
    layer = MaskedConv2d(block_diagonal(C_out, C_in, groups), **options).double()
    grouped = nn.Conv2d(C_in, C_out, groups=groups, **options).double()
    assert count(layer) == count(grouped)
    with torch.no_grad():
        grouped.weight.copy_(layer.weight.view_as(grouped.weight))
        if layer.bias is not None:
            grouped.bias.copy_(layer.bias)
    images = torch.randn(2, C_in, 4, 5, dtype=torch.double, requires_grad=True)
    close(layer(images), grouped(images))
    dx, dweight, *dbias = gradients(layer(images), images, *layer.parameters())
    expected = gradients(grouped(images), images, *grouped.parameters())
    close((dx, dweight.view_as(grouped.weight), *dbias), expected)


@pytest.mark.parametrize("groups", [1, 2, 5])
def test_it_starts_as_pytorch_does(groups):
    torch.manual_seed(0)
    C_out, C_in, k = 100, 40, 3
    layer = MaskedConv2d(block_diagonal(C_out, C_in, groups), k)
    grouped = nn.Conv2d(C_in, C_out, k, groups=groups)
    for own, theirs in zip(layer.parameters(), grouped.parameters(), strict=True):
        bound = (k * k * C_in / groups) ** -0.5
        assert 0.95 * bound < own.abs().max() <= bound * (1 + 1e-6)
        assert 0.95 * bound < theirs.abs().max() <= bound * (1 + 1e-6)
        tolerance = 5 / own.numel() ** 0.5
        assert own.std().item() == pytest.approx(bound / 3**0.5, rel=tolerance)


def test_each_output_starts_with_its_own_fan_in():
    torch.manual_seed(0)
    sees_one = [1] + 99 * [0]
    layer = MaskedConv2d([sees_one, 100 * [1]], kernel_size=5, padding="same")
    one, all_of_them = layer.weight[0], layer.weight[1:]
    assert 0.15 < one.abs().max() <= 0.2 + 1e-6
    assert 0.019 < all_of_them.abs().max() <= 0.02 + 1e-6


def test_resetting_draws_the_same_numbers_again_and_leaves_the_table():
    torch.manual_seed(0)
    layer = MaskedConv2d(C3_TABLE, 5)
    other = copy.deepcopy(layer).double()
    torch.manual_seed(0)
    other.reset_parameters()
    for own, again in zip(layer.parameters(), other.parameters(), strict=True):
        assert torch.equal(own.double(), again)
    assert torch.equal(other.table, C3_TABLE)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("seen", [[6] * 200, [1] * 500 + [6] * 100])
def test_he_start_draws_each_output_for_its_own_fan_in(seen, activation):
    """5 × 5 taps of six channels for ReLU: √(2 / 150) = 0.115."""
    torch.manual_seed(0)
    layer = MaskedConv2d([[1] * n + [0] * (6 - n) for n in seen], kernel_size=5)
    he_start_(nn.Sequential(layer), activation)
    fan_in = 25 * layer.table.sum(1)[layer.table.nonzero()[:, 0]]
    for n in set(seen):
        std = calculate_gain(activation) / (25 * n) ** 0.5
        assert layer.weight[fan_in == 25 * n].std().item() == pytest.approx(std, rel=0.02)
    assert not layer.bias.any()


def test_what_takes_a_convolutions_weight_refuses_it_or_passes_it_by():
    torch.manual_seed(0)
    layer, norm = MaskedConv2d([[1, 1], [0, 0]], 3).eval(), nn.BatchNorm2d(2).eval()
    before = [parameter.clone() for parameter in layer.parameters()]
    with pytest.raises(TypeError, match=r"layer=.*: must be an nn.Conv2d or nn.Linear"):
        fold(layer, norm)
    with pytest.raises(KeyError, match="weight"):
        fuse_conv_bn_eval(layer, norm)
    with pytest.raises(ValueError, match="weight"):
        nn.utils.parametrizations.weight_norm(layer)
    with pytest.raises(KeyError, match="weight"):
        layer.weight = nn.Parameter(torch.zeros(2, 2, 3, 3))

    def usual(module):
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight)

    nn.Sequential(layer).apply(usual)
    assert all(map(torch.equal, before, layer.parameters()))


def test_many_masked_layers_can_be_mapped_over():
    layers, images = [MaskedConv2d(C3_TABLE, 3) for _ in range(3)], torch.randn(2, 6, 5, 5)
    states = torch.func.stack_module_state(layers)

    def call(*state):
        return torch.func.functional_call(layers[0], state, (images,))

    expected = torch.stack([layer(images) for layer in layers])
    torch.testing.assert_close(torch.func.vmap(call)(*states), expected)
    assert copy.deepcopy(layers[0]).to("meta")(images.to("meta")).shape == expected[0].shape


def test_repr_shows_the_settings():
    text = "MaskedConv2d(2, 2, connections=3, kernel_size=(3, 3), stride=(1, 1), padding=same, bias"
    assert repr(MaskedConv2d([[1, 0], [1, 1]], 3, padding="same")).startswith(text)


def test_an_output_that_sees_nothing_is_its_bias():
    layer = MaskedConv2d([[0, 0], [1, 0]], kernel_size=3)
    first, second = layer(torch.randn(1, 2, 5, 5))[0]
    assert (first == layer.bias[0]).all() and second.std() > 0
    assert layer.weight.isfinite().all() and layer.bias.isfinite().all()


def test_lenets_table_gives_the_papers_counts():
    layers = trace(MaskedConv2d(C3_TABLE, kernel_size=5), (6, 14, 14))
    assert layers.total_parameters == 1_516
    assert layers.total_multiply_adds + 1_600 == 151_600  # connections count the biases


@pytest.mark.parametrize("layer", [MaskedConv2d([[1, 0], [1, 1]], 3, padding=(1, 0)),
                                   DepthwiseSeparableConv2d(2, 3, 2, stride=2)])  # fmt: skip
def test_gradcheck(layer):
    layer = layer.double()
    names = [name for name, _ in layer.named_parameters()]

    def forward(images, *parameters):
        values = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(layer, values, (images,))

    images = torch.randn(2, 2, 4, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(forward, (images, *layer.parameters()))


# ---- Depthwise separable -------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), options, seeds)
def test_separable_is_one_full_convolution_of_products(C_in, C_out, options, seed):
    torch.manual_seed(seed)
    layer = DepthwiseSeparableConv2d(C_in, C_out, **options).double()
    images = torch.randn(2, C_in, 5, 4, dtype=torch.double, requires_grad=True)
    stride, padding = options["stride"], options["padding"]

    own = F.conv2d(images, layer.depthwise.weight, None, stride, padding, groups=C_in)
    two_steps = F.conv2d(own, layer.pointwise.weight, layer.pointwise.bias)
    close(layer(images), two_steps)
    close(gradients(layer(images), images), gradients(two_steps, images))

    products = layer.pointwise.weight * layer.depthwise.weight[:, 0]  # (C_out, C_in, kH, kW)
    close(layer(images), F.conv2d(images, products, layer.pointwise.bias, stride, padding))

    kH, kW = layer.depthwise.kernel_size
    assert count(layer) == kH * kW * C_in + C_in * C_out + options["bias"] * C_out


def test_it_costs_what_mobilenets_says():
    """Howard et al., equation 5: 1/N + 1/D_K² of the full convolution's multiply-adds."""
    M, N, D_K = 32, 64, 3
    separable = trace(DepthwiseSeparableConv2d(M, N, D_K, padding=1), (M, 14, 14))
    full = trace(nn.Conv2d(M, N, D_K, padding=1), (M, 14, 14))
    share = separable.total_multiply_adds / full.total_multiply_adds
    assert share == pytest.approx(1 / N + 1 / D_K**2)


# ---- Both ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [MaskedConv2d(C3_TABLE, 3), DepthwiseSeparableConv2d(6, 4, 3)])
def test_copies_and_state_go_round(layer):
    images = torch.randn(1, 6, 5, 5)
    assert torch.equal(copy.deepcopy(layer)(images), layer(images))
    other = copy.deepcopy(layer)
    nn.init.zeros_(next(other.parameters()))
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(images), layer(images))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"table": [1, 0]}, ValueError, r"table=\[1, 0\]: must be \(C_out, C_in\), not \(2,\)"),
        ({"table": [[], []]}, ValueError, r"must be \(C_out, C_in\), not \(2, 0\)"),
        (
            {"table": [[2, 0]]},
            ValueError,
            r"must hold 0 and 1 only, not \[0, 2\]",
        ),
        ({"table": [[float("nan")]]}, ValueError, "must hold 0 and 1 only, not"),
        ({"kernel_size": 0}, ValueError, "kernel_size=0: must be ≥ 1"),
        ({"stride": 0}, ValueError, "stride=0: must be ≥ 1"),
        ({"padding": -1}, ValueError, "padding=-1: must be ≥ 0"),
        ({"stride": 1.5}, TypeError, "stride=1.5: must be an int or a pair"),
    ],
)
def test_masked_says_what_is_wrong(arguments, error, message):
    with pytest.raises(error, match=message):
        MaskedConv2d(**{"table": [[1]], "kernel_size": 3} | arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"in_channels": 0}, ValueError, "in_channels=0: must be ≥ 1"),
        ({"out_channels": -2}, ValueError, "out_channels=-2: must be ≥ 1"),
        ({"in_channels": 2.0}, TypeError, "in_channels=2.0: must be an int"),
        ({"kernel_size": 0}, ValueError, "kernel_size=0: must be ≥ 1"),
    ],
)
def test_separable_says_what_is_wrong(arguments, error, message):
    base = {"in_channels": 2, "out_channels": 2, "kernel_size": 3}
    with pytest.raises(error, match=message):
        DepthwiseSeparableConv2d(**base | arguments)
