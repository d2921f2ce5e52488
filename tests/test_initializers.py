"""d2lite.initializers draws the numbers of torch.nn.init, and keeps the variance as promised."""

import inspect
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import init

from d2lite import initializers as I

NONLINEARITIES = ["linear", "sigmoid", "tanh", "relu", "leaky_relu"]
XAVIER = ["xavier_uniform_", "xavier_normal_"]
KAIMING = ["kaiming_uniform_", "kaiming_normal_"]

shapes = st.lists(st.integers(1, 6), min_size=2, max_size=5)
dtypes = st.sampled_from([torch.float32, torch.float64])
seeds = st.integers(0, 2**31)


def assert_same_numbers(name, shape, dtype, seed, **options):
    """Compare with torch.nn.init bit by bit, from the global seed and from a generator."""
    ours, theirs = torch.empty(shape, dtype=dtype), torch.empty(shape, dtype=dtype)
    torch.manual_seed(seed)
    getattr(init, name)(theirs, **options)
    torch.manual_seed(seed)
    assert getattr(I, name)(ours, **options) is ours
    assert torch.equal(ours, theirs)
    again = torch.empty(shape, dtype=dtype)
    generator = torch.Generator().manual_seed(seed)
    assert torch.equal(getattr(I, name)(again, **options, generator=generator), theirs)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(XAVIER), shapes, dtypes, seeds, st.floats(0, 10))
def test_xavier_draws_torchs_numbers(name, shape, dtype, seed, gain):
    assert_same_numbers(name, shape, dtype, seed, gain=gain)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(KAIMING),
    shapes,
    dtypes,
    seeds,
    st.floats(-2, 2),
    st.sampled_from(["fan_in", "fan_out"]),
    st.sampled_from(NONLINEARITIES),
)
def test_kaiming_draws_torchs_numbers(name, shape, dtype, seed, a, mode, nonlinearity):
    assert_same_numbers(name, shape, dtype, seed, a=a, mode=mode, nonlinearity=nonlinearity)


@pytest.mark.parametrize("name", [*XAVIER, *KAIMING, "calculate_gain"])
def test_arguments_have_torchs_names_order_and_defaults(name):
    ours, theirs = (
        [(p.name, p.default) for p in inspect.signature(getattr(m, name)).parameters.values()]
        for m in (I, init)
    )
    assert ours == theirs


@settings(max_examples=50, deadline=None)
@given(shapes)
def test_fans_equal_torchs(shape):
    tensor = torch.empty(shape)
    assert I.fan_in_and_fan_out(tensor) == init._calculate_fan_in_and_fan_out(tensor)


@pytest.mark.parametrize("nonlinearity", NONLINEARITIES)
@pytest.mark.parametrize("param", [None, 0, 0.2, -1, 3])
def test_gains_equal_torchs(nonlinearity, param):
    assert I.calculate_gain(nonlinearity, param) == init.calculate_gain(nonlinearity, param)


@pytest.mark.parametrize("slope", [0.0, 0.01, 0.5])
def test_the_gain_of_a_rectifier_makes_up_for_the_mean_square_that_it_takes(slope):
    """∫ f(x)² φ(x) dx = 1 / gain², summed on a grid."""
    x = torch.linspace(-10, 10, 20001, dtype=torch.float64)
    density = torch.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    mean_square = torch.trapezoid(torch.where(x > 0, x, slope * x) ** 2 * density, x).item()
    assert mean_square == pytest.approx(1 / I.calculate_gain("leaky_relu", slope) ** 2)


@pytest.mark.parametrize("name", [*XAVIER, *KAIMING])
@pytest.mark.parametrize("seed", range(3))
def test_the_moments_are_the_papers(name, seed):
    """Over n weights, mean and variance stay within five standard errors of what they should be."""
    torch.manual_seed(seed)
    weight = getattr(I, name)(torch.empty(300, 200, dtype=torch.float64))
    n, variance = weight.numel(), 2 / 500 if name in XAVIER else 2 / 200
    kurtosis = 3 if "normal" in name else 9 / 5
    assert abs(weight.mean().item()) < 5 * math.sqrt(variance / n)
    assert abs(weight.var().item() / variance - 1) < 5 * math.sqrt((kurtosis - 1) / n)


@pytest.mark.parametrize("name", [*XAVIER, *KAIMING])
def test_a_parameter_is_filled_in_place_and_still_learns(name):
    parameter = torch.nn.Parameter(torch.zeros(4, 3))
    filled = getattr(I, name)(parameter)
    assert filled is parameter and parameter.requires_grad and parameter.is_leaf
    assert (parameter != 0).all()


@pytest.mark.parametrize("name", [*XAVIER, *KAIMING, "fan_in_and_fan_out"])
@pytest.mark.parametrize(
    "tensor, error, message",
    [
        ([[1.0]], TypeError, r"tensor=\[\[1\.0\]\]: must be a tensor"),
        (torch.zeros(2, 2).long(), TypeError, r"tensor=int64 \(2, 2\): must be floating-point"),
        (torch.zeros(5), ValueError, r"tensor=float32 \(5,\): must be \(out, in, …\)"),
        (torch.zeros(5, 0), ValueError, r"tensor=float32 \(5, 0\): must not be empty"),
    ],
)
def test_what_is_no_weight_is_refused(name, tensor, error, message):
    with pytest.raises(error, match=message):
        getattr(I, name)(tensor)


@pytest.mark.parametrize("name", XAVIER)
@pytest.mark.parametrize("gain", [-1, math.nan])
def test_a_negative_gain_is_refused(name, gain):
    with pytest.raises(ValueError, match=f"gain={gain}: must be ≥ 0"):
        getattr(I, name)(torch.zeros(2, 2), gain=gain)


@pytest.mark.parametrize("name", KAIMING)
def test_unknown_mode_and_nonlinearity_are_refused(name):
    with pytest.raises(ValueError, match="mode='fan': must be one of 'fan_in', 'fan_out'"):
        getattr(I, name)(torch.zeros(2, 2), mode="fan")
    with pytest.raises(ValueError, match="nonlinearity='gelu': must be one of 'linear', 'sigmoid'"):
        getattr(I, name)(torch.zeros(2, 2), nonlinearity="gelu")


def test_he_start_draws_linear_and_convolution_layers_and_nothing_else():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv1d(8, 100, 5), torch.nn.Conv2d(50, 40, 3, groups=2), torch.nn.Conv3d(4, 50, 3),
        torch.nn.Linear(300, 200), torch.nn.LayerNorm((3, 4, 5)), torch.nn.Embedding(9, 4),
        torch.nn.ConvTranspose2d(3, 4, 5), torch.nn.BatchNorm2d(4),
    )  # fmt: skip
    before = {name: value.clone() for name, value in model.named_parameters()}
    I.he_start_(model)
    for layer, fan_in in zip(model, [40, 225, 108, 300], strict=False):
        assert layer.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.05)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any()
        elif int(name[0]) > 3:
            assert torch.equal(parameter, before[name])


def test_he_start_refuses_what_it_cannot_draw():
    model = torch.nn.Sequential(torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(2, 2)))
    with pytest.raises(TypeError, match="model: the weight of 0 is computed, not a parameter"):
        I.he_start_(model)
    with pytest.raises(ValueError, match="activation='gelu': must be one of"):
        I.he_start_(model, "gelu")


def test_likely_mistakes_are_named():
    with pytest.raises(TypeError, match="a='fan_out': must be a number"):
        I.kaiming_normal_(torch.empty(2, 2), "fan_out")
    with pytest.raises(TypeError, match=r"model=.*: must be a Module"):
        I.he_start_([torch.nn.Linear(2, 2)])
