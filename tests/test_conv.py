"""d2lite.conv equals PyTorch, forwards and backwards, and says what is wrong with bad input."""

import ast
import inspect
import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from d2lite.conv import conv2d, corr2d, rot180

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")

Z = torch.zeros


def int_or_pair(*choices):
    ints = st.sampled_from(choices)
    return ints | st.tuples(ints, ints)


@st.composite
def convolutions(draw):
    """Draw input, weight and bias in float64, and settings."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    c_in, c_out = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    kernel = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    size = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    batch = draw(st.sampled_from([(), (1,), (3,)]))
    torch.manual_seed(draw(st.integers(0, 2**31)))
    x = torch.randn(*batch, c_in, *size, dtype=torch.float64)
    w = torch.randn(c_out, c_in // groups, *kernel, dtype=torch.float64)
    b = torch.randn(c_out, dtype=torch.float64) if draw(st.booleans()) else None
    return (x, w, b), {
        "stride": draw(int_or_pair(1, 2, 3)),
        "padding": draw(int_or_pair(0, 1, 2) | st.sampled_from(["same", "valid"])),
        "dilation": draw(int_or_pair(1, 2, 3)),
        "groups": groups,
    }


def both(tensors, options):
    """Return PyTorch's output and ours, or None where PyTorch refuses the settings."""
    try:
        expected = F.conv2d(*tensors, **options)
    except RuntimeError:
        with pytest.raises(ValueError):
            conv2d(*tensors, **options)
        return None
    return expected, conv2d(*tensors, **options)


@settings(max_examples=1000, deadline=None)
@given(convolutions())
def test_conv2d_equals_torch_and_refuses_what_torch_refuses(case):
    outputs = both(*case)
    if outputs:
        expected, actual = outputs
        assert actual.is_contiguous() and actual.dtype == expected.dtype
        torch.testing.assert_close(actual, expected)


@settings(max_examples=300, deadline=None)
@given(convolutions())
def test_gradients_equal_torchs(case):
    tensors, options = case
    leaves = [t.requires_grad_() for t in tensors if t is not None]
    outputs = both(tensors, options)
    if outputs:
        expected, actual = outputs
        upstream = torch.randn_like(expected)
        theirs = torch.autograd.grad(expected, leaves, upstream)
        ours = torch.autograd.grad(actual, leaves, upstream)
        for our, their in zip(ours, theirs, strict=True):
            torch.testing.assert_close(our, their)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": (2, 1), "padding": (0, 2), "dilation": (1, 2)},
        {"padding": "same"},
        {"groups": 2, "stride": 2, "padding": 1},
    ],
)
def test_gradcheck(options):
    torch.manual_seed(0)
    channels = 4 // options.get("groups", 1)
    shapes = (2, 4, 5, 6), (2, channels, 2, 3), (2,)
    tensors = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]
    assert torch.autograd.gradcheck(lambda *t: conv2d(*t, **options), tensors)
    assert torch.autograd.gradgradcheck(lambda *t: conv2d(*t, **options), tensors)


def layer_of(dtype):
    torch.manual_seed(0)
    return [torch.randn(shape).to(dtype) for shape in [(2, 3, 9, 8), (4, 3, 3, 2), (4,)]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_single_and_double_precision(dtype):
    actual = conv2d(*layer_of(dtype), padding=1)
    torch.testing.assert_close(actual, F.conv2d(*layer_of(dtype), padding=1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_rounds_the_sum_and_again_after_the_bias(dtype):
    """PyTorch rounds once. Each rounding is off by at most eps / 2, relative to the terms' size."""
    tensors = layer_of(dtype)
    actual = conv2d(*tensors, padding=1)
    assert actual.dtype == dtype
    exact = F.conv2d(*(t.double() for t in tensors), padding=1)
    size = F.conv2d(*(t.double().abs() for t in tensors), padding=1)
    assert ((actual.double() - exact).abs() <= torch.finfo(dtype).eps * size).all()


def test_an_empty_batch():
    assert conv2d(Z(0, 2, 5, 5), Z(4, 1, 3, 3), Z(4), stride=2, groups=2).shape == (0, 4, 2, 2)


def test_positional_arguments_are_in_torchs_order():
    names = ["input", "weight", "bias", "stride", "padding", "dilation", "groups"]
    assert list(inspect.signature(conv2d).parameters) == names


def test_lists_are_pairs():
    x, w = torch.randn(1, 1, 6, 7), torch.randn(1, 1, 2, 3)
    actual = conv2d(x, w, stride=[1, 2], padding=[0, 1])
    torch.testing.assert_close(actual, F.conv2d(x, w, stride=[1, 2], padding=[0, 1]))


def test_the_odd_zero_of_same_goes_to_the_end():
    x, w = torch.arange(3.0).reshape(1, 1, 1, 3), torch.tensor([[[[1.0, 10.0]]]])
    assert conv2d(x, w, padding="same").flatten().tolist() == [10, 21, 2]


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (([[1.0]], Z(1, 1, 1, 1)), TypeError, "input: a list, must be a tensor"),
        ((Z(1, 1, 5, 5), None), TypeError, "weight: a NoneType, must be a tensor"),
        ((Z(1, 1, 5, 5), Z(1, 1, 3, 3), 1.0), TypeError, "bias: a float, must be a tensor"),
        (
            (Z(1, 1, 5, 5), Z(1, 1, 3, 3).double()),
            TypeError,
            "weight: torch.float64, must be torch.float32",
        ),
        (
            (Z(1, 1, 5, 5), Z(1, 1, 3, 3), Z(1).half()),
            TypeError,
            "bias: torch.float16, must be torch.float32",
        ),
        ((Z(5, 5), Z(1, 1, 3, 3)), ValueError, r"input: shape \(5, 5\), must be \(N, C, H, W\)"),
        ((Z(1, 1, 1, 5, 5), Z(1, 1, 3, 3)), ValueError, "input: shape"),
        ((Z(1, 1, 5, 5), Z(3, 3)), ValueError, r"weight: shape \(3, 3\), must be \(C_out"),
        ((Z(1, 2, 5, 5), Z(1, 3, 3, 3)), ValueError, "input: 2 channels, but weight takes 3"),
        ((Z(1, 1, 5, 5), Z(2, 1, 3, 3), Z(3)), ValueError, r"bias: shape \(3,\), must be \(2,\)"),
        ((Z(1, 1, 5, 5), Z(2, 1, 3, 3), Z(1)), ValueError, r"bias: shape \(1,\), must be \(2,\)"),
        ((Z(1, 1, 5, 5), Z(0, 1, 3, 3)), ValueError, "divide the 0 output channels"),
        ((Z(1, 1, 5, 5), Z(1, 1, 0, 3)), ValueError, r"kernel_size=\(0, 3\): must be ≥ 1"),
        ((Z(1, 1, 0, 5), Z(1, 1, 3, 3)), ValueError, r"size=\(0, 5\): must be ≥ 1"),
        ((Z(1, 1, 2, 5), Z(1, 1, 3, 3)), ValueError, "size=2: smaller than the dilated kernel, 3"),
    ],
)
def test_tensors_that_do_not_fit(arguments, error, message):
    with pytest.raises(error, match=message):
        conv2d(*arguments)


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"stride": 0}, ValueError, "stride=0: must be ≥ 1"),
        ({"stride": 1.0}, TypeError, "stride=1.0: must be an int or a pair of ints"),
        ({"stride": True}, TypeError, "stride=True: must be"),
        ({"stride": (1, 1, 1)}, TypeError, r"stride=\(1, 1, 1\): must be"),
        ({"padding": -1}, ValueError, "padding=-1: must be ≥ 0"),
        ({"padding": "full"}, ValueError, "padding='full': must be"),
        ({"padding": "same", "stride": 2}, ValueError, 'stride=2: must be 1 with padding="same"'),
        ({"padding": None}, TypeError, "padding=None: must be"),
        ({"dilation": 0}, ValueError, "dilation=0: must be ≥ 1"),
        ({"dilation": 4}, ValueError, "size=5: smaller than the dilated kernel, 9"),
        ({"groups": 0}, ValueError, "groups=0: must be ≥ 1"),
        ({"groups": -2}, ValueError, "groups=-2: must be ≥ 1"),
        ({"groups": 3}, ValueError, "groups=3: .* divide the 4 output channels"),
        ({"groups": 2}, ValueError, "input: 2 channels, but weight takes 2 in each of 2 groups"),
        ({"groups": 1.0}, TypeError, "groups=1.0: must be an int"),
        ({"groups": True}, TypeError, "groups=True: must be an int"),
    ],
)
def test_settings_that_do_not_fit(options, error, message):
    with pytest.raises(error, match=message):
        conv2d(Z(1, 2, 5, 5), Z(4, 2, 3, 3), **options)


@settings(max_examples=100, deadline=None)
@given(
    *itertools.repeat(st.integers(1, 6), 4),
    st.sampled_from([torch.float32, torch.float64, torch.int64]),
)
def test_corr2d_equals_torch(h, w, kh, kw, dtype):
    X, K = (torch.randint(-9, 9, s).to(dtype) for s in [(h, w), (kh, kw)])
    if kh > h or kw > w:
        with pytest.raises(ValueError, match="must fit in X"):
            corr2d(X, K)
    else:
        actual = corr2d(X, K)
        assert torch.equal(actual, F.conv2d(X[None, None], K[None, None])[0, 0])
        assert actual.dtype == dtype


def test_corr2d_promotes_dtypes_as_torch_does():
    half = corr2d(torch.tensor([[1, 3]]), torch.tensor([[0.5]]))
    assert half.tolist() == [[0.5, 1.5]]


def test_corr2d_is_differentiable():
    X, K = (torch.randn(s, dtype=torch.float64, requires_grad=True) for s in [(4, 5), (2, 3)])
    assert torch.autograd.gradcheck(corr2d, (X, K))


@pytest.mark.parametrize(
    "X, K, message",
    [
        (Z(1, 3, 3), Z(2, 2), r"X \(1, 3, 3\), K \(2, 2\): must both be 2-D"),
        (Z(3, 3), Z(2), "must both be 2-D"),
        (Z(3, 3), Z(4, 1), r"K \(4, 1\): must fit in X \(3, 3\)"),
        (Z(3, 3), Z(1, 4), "must fit in X"),
        (Z(3, 3), Z(0, 2), "must fit in X"),
    ],
)
def test_corr2d_refuses(X, K, message):
    with pytest.raises(ValueError, match=message):
        corr2d(X, K)


def test_corr2d_stays_short_enough_to_be_built_in_class():
    (function,) = ast.parse(inspect.getsource(corr2d)).body
    _docstring, first, *_, last = function.body
    assert last.end_lineno - first.lineno + 1 <= 10


def test_rotating_the_kernel_turns_cross_correlation_into_convolution():
    """By the convolution theorem: padded by k − 1, it is the product of the Fourier transforms."""
    torch.manual_seed(0)
    X, K = torch.randn(5, 6, dtype=torch.float64), torch.randn(3, 2, dtype=torch.float64)
    full = corr2d(F.pad(X, (1, 1, 2, 2)), rot180(K))
    size = (7, 7)
    product = torch.fft.fft2(X, s=size) * torch.fft.fft2(K, s=size)
    torch.testing.assert_close(full, torch.fft.ifft2(product).real)


def test_rot180_rotates_each_kernel_of_a_layer():
    weight = torch.randn(4, 3, 2, 5)
    rotated = rot180(weight)
    assert torch.equal(rotated[1, 2], torch.rot90(weight[1, 2], 2))
    assert torch.equal(rot180(rotated), weight)
    with pytest.raises(ValueError, match=r"kernel: shape \(3,\), must be"):
        rot180(Z(3))
