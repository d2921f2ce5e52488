"""d2lite.pool equals PyTorch, forwards and backwards, and says what is wrong with bad input."""

import inspect
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from d2lite import pool

Z = torch.zeros


def int_or_pair(low, high):
    ints = st.integers(low, high)
    return ints | st.tuples(ints, ints)


@st.composite
def images(draw, batches=((), (1,), (2,))):
    """Draw (N, C, H, W) or (C, H, W) of few values, so that maxima tie, in float64."""
    shape = *draw(st.sampled_from(batches)), *(draw(st.integers(1, n)) for n in (3, 9, 9))
    torch.manual_seed(draw(st.integers(0, 2**31)))
    return torch.randint(-3, 4, shape).double().requires_grad_()


def assert_equal_with_gradient(actual, expected, x):
    assert actual.dtype == expected.dtype and actual.is_contiguous()
    torch.testing.assert_close(actual, expected)
    upstream = torch.randn_like(expected)
    ours, theirs = (torch.autograd.grad(y, x, upstream)[0] for y in (actual, expected))
    torch.testing.assert_close(ours, theirs)


def refuses(function, *arguments, **options):
    """Tell whether PyTorch refuses the settings; then so must we."""
    try:
        getattr(F, function)(*arguments, **options)
    except RuntimeError:
        with pytest.raises(ValueError):
            getattr(pool, function)(*arguments, **options)
        return True
    return False


windows = {
    "kernel_size": int_or_pair(1, 5),
    "stride": st.none() | int_or_pair(1, 4),
    "padding": int_or_pair(0, 2),
    "ceil_mode": st.booleans(),
}


@settings(max_examples=150, deadline=None)
@given(images(), st.fixed_dictionaries(windows | {"dilation": int_or_pair(1, 3)}))
def test_max_pool2d_equals_torch_and_refuses_what_torch_refuses(x, options):
    if not refuses("max_pool2d", x, **options):
        expected, actual = F.max_pool2d(x, **options), pool.max_pool2d(x, **options)
        if expected.isfinite().all():
            assert_equal_with_gradient(actual, expected, x)
        else:  # a dilated window saw nothing but padding, and PyTorch's gradient is undefined
            assert torch.equal(actual, expected)


@settings(max_examples=150, deadline=None)
@given(images(), st.fixed_dictionaries(windows | {"count_include_pad": st.booleans()}))
def test_avg_pool2d_equals_torch_and_refuses_what_torch_refuses(x, options):
    if not refuses("avg_pool2d", x, **options):
        expected, actual = F.avg_pool2d(x, **options), pool.avg_pool2d(x, **options)
        assert_equal_with_gradient(actual, expected, x)


@settings(max_examples=100, deadline=None)
@given(images(), int_or_pair(1, 12))
def test_adaptive_pooling_equals_torch(x, output_size):
    for name in ("adaptive_avg_pool2d", "adaptive_max_pool2d"):
        expected = getattr(F, name)(x, output_size)
        assert_equal_with_gradient(getattr(pool, name)(x, output_size), expected, x)


@settings(max_examples=30, deadline=None)
@given(images())
def test_global_avg_pool2d_equals_torch(x):
    expected = F.adaptive_avg_pool2d(x, 1).flatten(-3)
    assert_equal_with_gradient(pool.global_avg_pool2d(x), expected, x)


@settings(max_examples=100, deadline=None)
@given(images(), int_or_pair(1, 5), int_or_pair(1, 4))
def test_blur_pool2d_equals_a_depthwise_convolution(x, kernel_size, stride):
    """With the rows of Pascal's triangle as kernels, and the border mirrored as Zhang pads it."""
    triangle = [[1], [1, 1], [1, 2, 1], [1, 3, 3, 1], [1, 4, 6, 4, 1]]
    kH, kW = kernel_size if isinstance(kernel_size, tuple) else (kernel_size, kernel_size)
    C, H, W = x.shape[-3:]
    assume(kH // 2 < H and kW // 2 < W)
    column, row = (torch.tensor(triangle[k - 1], dtype=x.dtype) for k in (kH, kW))
    K = (column[:, None] * row / (column.sum() * row.sum())).expand(C, 1, kH, kW)
    before = (kW - 1) // 2, (kH - 1) // 2
    after = math.ceil((kW - 1) / 2), math.ceil((kH - 1) / 2)
    X = F.pad(x, (before[0], after[0], before[1], after[1]), mode="reflect")
    actual = pool.blur_pool2d(x, kernel_size, stride)
    assert_equal_with_gradient(actual, F.conv2d(X, K, stride=stride, groups=C), x)
    sH, sW = stride if isinstance(stride, tuple) else (stride, stride)
    assert actual.shape[-2:] == (math.ceil(H / sH), math.ceil(W / sW))


def test_blur_pool2d_keeps_a_flat_image_and_removes_a_checkerboard():
    torch.testing.assert_close(pool.blur_pool2d(torch.ones(1, 2, 7, 8)), torch.ones(1, 2, 4, 4))
    checkerboard = (torch.arange(8)[:, None] + torch.arange(8)) % 2
    blurred = pool.blur_pool2d(checkerboard[None].float(), stride=1)
    torch.testing.assert_close(blurred, torch.full((1, 8, 8), 0.5))


@settings(max_examples=100, deadline=None)
@given(images(batches=[(1,), (2,)]), int_or_pair(1, 20), st.booleans())
def test_upsampling_equals_torch(x, size, align_corners):
    assert_equal_with_gradient(pool.upsample_nearest(x, size), F.interpolate(x, size), x)
    expected = F.interpolate(x, size, mode="bilinear", align_corners=align_corners)
    assert_equal_with_gradient(pool.upsample_bilinear(x, size, align_corners), expected, x)
    without_batch = pool.upsample_bilinear(x[0], size, align_corners)
    torch.testing.assert_close(without_batch, expected[0])


def test_upsample_nearest_takes_exactly_the_pixel_that_it_says():
    for size, new in [(2, 82), (26, 22), (14, 46), (18, 66), (49, 7)]:
        x = torch.arange(float(size)).expand(1, size, size)
        expected = [math.floor(i * Fraction(size, new)) for i in range(new)]
        assert pool.upsample_nearest(x, new)[0, 0].tolist() == expected
        assert pool.upsample_nearest(x.mT, new)[0, :, 0].tolist() == expected


def test_repeating_pixels_by_two_then_averaging_by_two_gives_them_back():
    x = torch.randn(2, 3, 5, 4)
    torch.testing.assert_close(pool.avg_pool2d(pool.upsample_nearest(x, (10, 8)), 2), x)


def test_gradcheck():
    x = torch.randn(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    for f in (
        lambda x: pool.max_pool2d(x, 3, 2, 1),
        lambda x: pool.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
        lambda x: pool.adaptive_avg_pool2d(x, 3),
        pool.blur_pool2d,
        lambda x: pool.upsample_bilinear(x, 7),
    ):
        assert torch.autograd.gradcheck(f, x)
        assert torch.autograd.gradgradcheck(f, x)


def test_nan_is_not_lost():
    x = Z(1, 4, 4)
    x[0, 1, 2] = torch.nan
    assert pool.max_pool2d(x, 2).isnan().tolist() == [[[False, True], [False, False]]]


def test_an_empty_batch():
    assert pool.max_pool2d(Z(0, 2, 5, 5), 2).shape == (0, 2, 2, 2)
    assert pool.avg_pool2d(Z(0, 2, 5, 5), 2).shape == (0, 2, 2, 2)
    assert pool.adaptive_max_pool2d(Z(0, 2, 5, 5), 3).shape == (0, 2, 3, 3)
    assert pool.blur_pool2d(Z(0, 2, 5, 5)).shape == (0, 2, 3, 3)


def test_positional_arguments_are_in_torchs_order():
    names = ["input", "kernel_size", "stride", "padding", "dilation", "ceil_mode"]
    assert list(inspect.signature(pool.max_pool2d).parameters) == names
    names = ["input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad"]
    assert list(inspect.signature(pool.avg_pool2d).parameters) == names


EVERY = {
    "max": lambda x: pool.max_pool2d(x, 2),
    "avg": lambda x: pool.avg_pool2d(x, 2),
    "adaptive max": lambda x: pool.adaptive_max_pool2d(x, 2),
    "adaptive avg": lambda x: pool.adaptive_avg_pool2d(x, 2),
    "global avg": pool.global_avg_pool2d,
    "blur": pool.blur_pool2d,
    "nearest": lambda x: pool.upsample_nearest(x, 11),
    "bilinear": lambda x: pool.upsample_bilinear(x, 11),
}


@pytest.mark.parametrize("function", EVERY.values(), ids=EVERY)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_lower_precision_rounds_a_few_times(function, dtype):
    """Twice at most, and bilinear also its weights: six errors of eps / 2 of the largest pixel."""
    torch.manual_seed(0)
    x = torch.randn(2, 3, 8, 7, dtype=dtype)
    actual = function(x)
    assert actual.dtype == dtype
    error = (actual.double() - function(x.double())).abs().max()
    assert error <= 3 * torch.finfo(dtype).eps * x.abs().max()


@pytest.mark.parametrize("function", EVERY.values(), ids=EVERY)
@pytest.mark.parametrize(
    "x, error, message",
    [
        ([[1.0]], TypeError, r"input=\[\[1\.0\]\]: must be a tensor"),
        (Z(1, 4, 4).long(), TypeError, r"input=int64 \(1, 4, 4\): must be floating-point"),
        (Z(4, 4), ValueError, r"input=float32 \(4, 4\): must be \(N, C, H, W\) or"),
        (Z(1, 1, 1, 4, 4), ValueError, r"input=float32 \(1, 1, 1, 4, 4\): must be"),
        (Z(1, 0, 4), ValueError, r"input=float32 \(1, 0, 4\): must not be empty"),
    ],
)
def test_what_is_no_image_is_refused(function, x, error, message):
    with pytest.raises(error, match=message):
        function(x)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda x: pool.max_pool2d(x, 0), ValueError, "kernel_size=0: must be ≥ 1"),
        (lambda x: pool.max_pool2d(x, 2, stride=0), ValueError, "stride=0: must be ≥ 1"),
        (lambda x: pool.max_pool2d(x, 2, padding=-1), ValueError, "padding=-1: must be ≥ 0"),
        (lambda x: pool.avg_pool2d(x, 2, padding=2), ValueError, "padding=2: must be ≤ half of"),
        (lambda x: pool.max_pool2d(x, 2, dilation=0), ValueError, "dilation=0: must be ≥ 1"),
        (lambda x: pool.max_pool2d(x, 6), ValueError, "size=5: smaller than the dilated kernel, 6"),
        (lambda x: pool.avg_pool2d(x, 2.0), TypeError, "kernel_size=2.0: must be an int or a pair"),
        (lambda x: pool.avg_pool2d(x, 2, ceil_mode=1), TypeError, "ceil_mode=1: must be True or"),
        (lambda x: pool.adaptive_avg_pool2d(x, 0), ValueError, "output_size=0: must be ≥ 1"),
        (
            lambda x: pool.adaptive_max_pool2d(x, None),
            TypeError,
            "output_size=None: must be an int",
        ),
        (
            lambda x: pool.blur_pool2d(x, 10),
            ValueError,
            "kernel_size=10: half of it must be < .*5 × 6",
        ),
        (lambda x: pool.blur_pool2d(x, (1, 12)), ValueError, r"kernel_size=\(1, 12\): half of it"),
        (lambda x: pool.blur_pool2d(x, stride=0), ValueError, "stride=0: must be ≥ 1"),
        (lambda x: pool.upsample_nearest(x, 0), ValueError, "size=0: must be ≥ 1"),
        (lambda x: pool.upsample_bilinear(x, 1.5), TypeError, "size=1.5: must be an int or a pair"),
    ],
)
def test_settings_that_do_not_fit_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(Z(1, 5, 6))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_averages_of_large_windows_neither_overflow_nor_miscount(dtype):
    x = torch.full((1, 1, 40, 40), 5000.0, dtype=dtype)
    for padding in (0, 20):
        actual = pool.avg_pool2d(x, 40, padding=padding, count_include_pad=False)
        assert actual.dtype == dtype and (actual == x[0, 0, 0, 0]).all()


@pytest.mark.parametrize("function", EVERY.values(), ids=EVERY)
def test_it_can_be_mapped_over_and_moved(function):
    torch.manual_seed(0)
    x = torch.randn(3, 2, 4, 8, 7, dtype=torch.float64)
    expected = torch.stack(list(map(function, x)))
    torch.testing.assert_close(torch.func.vmap(function)(x), expected)

    def gradient(x):
        return torch.func.grad(lambda x: function(x).square().sum())(x)

    gradients = torch.stack(list(map(gradient, x)))
    torch.testing.assert_close(torch.func.vmap(gradient)(x), gradients)
    turned = x[0].mT.contiguous().mT
    torch.testing.assert_close(function(turned), expected[0])
    assert function(x[0].to("meta")).shape == expected[0].shape


def test_two_blurs_in_half_precision_mirror_the_border():
    x = torch.arange(12.0).view(1, 3, 4)
    half = pool.blur_pool2d(x.half(), 3, 1)
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), pool.blur_pool2d(x, 3, 1), rtol=1e-3, atol=1e-2)


def test_settings_may_be_numpys():
    x = torch.rand(1, 1, 1, 400)
    settings = {"kernel_size": (1, np.uint8(3)), "stride": (1, np.uint8(3))}
    ours = pool.max_pool2d(x, **settings), pool.avg_pool2d(x, **settings)
    theirs = F.max_pool2d(x, (1, 3), (1, 3)), F.avg_pool2d(x, (1, 3), (1, 3))
    torch.testing.assert_close(ours, theirs)
