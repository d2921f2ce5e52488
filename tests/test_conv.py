"""d2lite.conv equals PyTorch, forwards and backwards, and says what is wrong with bad input."""

import ast
import inspect
import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from d2lite.conv import (
    col2im,
    conv2d,
    conv2d_input_grad,
    conv2d_weight_grad,
    conv_matrix,
    conv_transpose2d,
    corr2d,
    im2col,
    rot180,
)
from d2lite.shapes import conv_output_size

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
        (([[1.0]], Z(1, 1, 1, 1)), TypeError, r"input=\[\[1\.0\]\]: must be a tensor"),
        ((Z(1, 1, 5, 5), None), TypeError, "weight=None: must be a tensor"),
        ((Z(1, 1, 5, 5), Z(1, 1, 3, 3), 1.0), TypeError, r"bias=1\.0: must be a tensor"),
        (
            (Z(1, 1, 5, 5), Z(1, 1, 3, 3).double()),
            TypeError,
            r"weight=float64 \(1, 1, 3, 3\): must be torch.float32, as the input",
        ),
        (
            (Z(1, 1, 5, 5), Z(1, 1, 3, 3), Z(1).half()),
            TypeError,
            r"bias=float16 \(1,\): must be torch.float32",
        ),
        (
            (Z(5, 5), Z(1, 1, 3, 3)),
            ValueError,
            r"input=float32 \(5, 5\): must be \(N, C_in",
        ),
        ((Z(1, 1, 1, 5, 5), Z(1, 1, 3, 3)), ValueError, r"must be \(N, C_in, H, W\) or \(C_in, H"),
        ((Z(1, 1, 5, 5), Z(3, 3)), ValueError, r"weight=float32 \(3, 3\): must be \(C_out"),
        ((Z(1, 2, 5, 5), Z(1, 3, 3, 3)), ValueError, "input: 2 channels, but weight takes 3"),
        ((Z(1, 1, 5, 5), Z(2, 1, 3, 3), Z(3)), ValueError, r"bias=float32 \(3,\): must be \(2,\)"),
        ((Z(1, 1, 5, 5), Z(2, 1, 3, 3), Z(1)), ValueError, r"bias=float32 \(1,\): must be \(2,\)"),
        ((Z(1, 1, 5, 5), Z(0, 1, 3, 3)), ValueError, "must divide the 0 channels"),
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
        ({"padding": "full"}, ValueError, "padding='full': must be one of 'same', 'valid'"),
        ({"padding": "same", "stride": 2}, ValueError, 'stride=2: must be 1 with padding="same"'),
        ({"padding": None}, TypeError, "padding=None: must be"),
        ({"dilation": 0}, ValueError, "dilation=0: must be ≥ 1"),
        ({"dilation": 4}, ValueError, "size=5: smaller than the dilated kernel, 9"),
        ({"groups": 0}, ValueError, "groups=0: must be ≥ 1"),
        ({"groups": -2}, ValueError, "groups=-2: must be ≥ 1"),
        ({"groups": 3}, ValueError, "groups=3: must divide the 4 channels"),
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
        (Z(1, 3, 3), Z(2, 2), r"X=float32 \(1, 3, 3\): must be \(H, W\)"),
        (Z(3, 3), Z(2), r"K=float32 \(2,\): must be \(kH, kW\)"),
        (Z(3, 3), Z(4, 1), r"K=float32 \(4, 1\): must fit in X=float32 \(3, 3\)"),
        (Z(3, 3), Z(1, 4), "must fit in X"),
        (Z(3, 3), Z(0, 2), "must not be empty"),
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
    with pytest.raises(ValueError, match=r"kernel=float32 \(3,\): must be"):
        rot180(Z(3))


# ---- The same layer as a product of matrices ----------------------------------------------------


def fits(*settings):
    try:
        return bool(conv_output_size(*settings))
    except ValueError:
        return False


@st.composite
def layers(draw, most_groups=1):
    """Draw input and weight in float64, and settings under which at least one window fits."""
    groups = draw(st.integers(1, most_groups))
    c_in, c_out = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    kernel = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    stride, dilation = draw(int_or_pair(1, 2, 3)), draw(int_or_pair(1, 2))
    padding = draw(int_or_pair(0, 1, 2))
    size = draw(st.integers(1, 10)), draw(st.integers(1, 10))
    assume(fits(size, kernel, stride, padding, dilation))
    torch.manual_seed(draw(st.integers(0, 2**31)))
    x = torch.randn(draw(st.integers(1, 3)), c_in, *size, dtype=torch.float64)
    w = torch.randn(c_out, c_in // groups, *kernel, dtype=torch.float64)
    return x, w, {"stride": stride, "padding": padding, "dilation": dilation}, groups


@settings(max_examples=200, deadline=None)
@given(layers())
def test_im2col_and_col2im_equal_unfold_and_fold(case):
    x, w, options, _ = case
    columns = im2col(x, w.shape[2:], **options)
    torch.testing.assert_close(columns, F.unfold(x, w.shape[2:], **options), rtol=0, atol=0)
    columns = torch.randn_like(columns)
    expected = F.fold(columns, x.shape[2:], w.shape[2:], **options)
    torch.testing.assert_close(col2im(columns, x.shape[2:], w.shape[2:], **options), expected)


@settings(max_examples=200, deadline=None)
@given(layers())
def test_the_matrix_and_its_transpose_equal_the_convolution(case):
    x, w, options, _ = case
    expected = F.conv2d(x, w, **options)
    matrix = conv_matrix(w, x.shape[2:], **options)
    torch.testing.assert_close((x.flatten(1) @ matrix.T).view_as(expected), expected)
    upstream = torch.randn_like(expected)
    transposed = torch.nn.grad.conv2d_input(x.shape, w, upstream, **options)
    torch.testing.assert_close((upstream.flatten(1) @ matrix).view_as(x), transposed)


def test_the_matrix_of_one_channel_is_doubly_blocked_toeplitz():
    H, W, k = 6, 5, 3
    blocks = conv_matrix(torch.randn(1, 1, k, k), (H, W)).view(H - k + 1, W - k + 1, H, W)
    for i, j, a, b in itertools.product(range(H - k), range(W - k), range(H - 1), range(W - 1)):
        assert blocks[i, j, a, b] == blocks[i + 1, j, a + 1, b] == blocks[i, j + 1, a, b + 1]


@settings(max_examples=300, deadline=None)
@given(layers(most_groups=3), st.integers(0, 2), st.integers(0, 2), st.booleans())
def test_conv_transpose2d_equals_torch(case, more_h, more_w, with_bias):
    y, w, options, groups = case
    y = y[..., :4, :3]
    w = w.transpose(0, 1).contiguous() if groups == 1 else w
    if groups > 1:  # (C_out, C_in / groups, ...) read as (C_in, C_out / groups, ...)
        y = torch.randn(len(y), len(w), *y.shape[2:], dtype=torch.float64)
    options = options | {"output_padding": (more_h, more_w), "groups": groups}
    bias = torch.randn(groups * w.shape[1], dtype=torch.float64) if with_bias else None
    try:
        expected = F.conv_transpose2d(y, w, bias, **options)
    except RuntimeError:
        with pytest.raises(ValueError):
            conv_transpose2d(y, w, bias, **options)
    else:
        torch.testing.assert_close(conv_transpose2d(y, w, bias, **options), expected)


@settings(max_examples=300, deadline=None)
@given(layers(most_groups=3))
def test_both_gradients_are_convolutions(case):
    x, w, options, groups = case
    x, w = x.requires_grad_(), w.requires_grad_()
    y = F.conv2d(x, w, **options, groups=groups)
    upstream = torch.randn_like(y)
    dx, dw = torch.autograd.grad(y, (x, w), upstream)
    x, w = x.detach(), w.detach()
    ours = conv2d_input_grad(x.shape[2:], w, upstream, **options, groups=groups)
    torch.testing.assert_close(ours, dx)
    ours = conv2d_weight_grad(x, w.shape[2:], upstream, **options, groups=groups)
    torch.testing.assert_close(ours, dw)


def test_gradcheck_of_the_other_forms():
    torch.manual_seed(0)
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    w = torch.randn(4, 4, 3, 2, dtype=torch.float64, requires_grad=True)
    b = torch.randn(4, dtype=torch.float64, requires_grad=True)
    grouped = w[:, :2].detach().requires_grad_()
    check = torch.autograd.gradcheck
    assert check(lambda w: conv_matrix(w, (5, 6), 2, 1), (w,))
    assert check(lambda x, w, b: conv_transpose2d(x, w, b, 2, 1, 1, 2), (x, grouped, b))
    assert check(lambda x: im2col(x, (3, 2), 2, 1), (x,))
    columns = torch.randn(2, 24, 12, dtype=torch.float64, requires_grad=True)
    assert check(lambda c: col2im(c, (5, 6), (3, 2), 2, 1), (columns,))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: im2col(Z(3, 4, 4), 2), "input=float32 (3, 4, 4): must be (N, C_in, H, W)"),
        (lambda: im2col(Z(1, 3, 4, 4), 5), "smaller than the dilated kernel"),
        (lambda: col2im(Z(1, 8, 5), (3, 3), 2), "columns=float32 (1, 8, 5): must be (N, C·4, 4)"),
        (lambda: col2im(Z(1, 7, 4), (3, 3), 2), "columns=float32 (1, 7, 4)"),
        (lambda: conv_matrix(Z(3, 3), (4, 4)), "weight=float32 (3, 3): must be"),
        (lambda: conv_transpose2d(Z(2, 4, 4), Z(2, 1, 3, 3)), "input=float32 (2, 4, 4): must be"),
        (lambda: conv_transpose2d(Z(1, 3, 4, 4), Z(3, 1, 3, 3), groups=2), "groups=2: must divide"),
        (lambda: conv_transpose2d(Z(1, 2, 4, 4), Z(3, 1, 3, 3)), "input: 2 channels"),
        (lambda: conv_transpose2d(Z(1, 2, 4, 4), Z(2, 1, 3, 3), groups=0), "groups=0"),
        (
            lambda: conv_transpose2d(Z(1, 2, 4, 4), Z(2, 1, 3, 3), output_padding=1),
            "output_padding=1: must be smaller",
        ),
        (
            lambda: conv2d_input_grad((4, 4), Z(1, 1, 2, 2), Z(1, 1, 4, 4)),
            "must be (N, C_out, *(3",
        ),
        (
            lambda: conv2d_weight_grad(Z(1, 1, 4, 4), (2, 2), Z(1, 3, 3)),
            "grad_output=float32 (1",
        ),
        (
            lambda: conv2d_weight_grad(Z(1, 4, 4, 4), (2, 2), Z(1, 3, 3, 3), groups=2),
            "groups=2: must divide the 3 channels",
        ),
    ],
)
def test_bad_input_of_the_other_forms_is_named(call, says):
    with pytest.raises(ValueError) as error:
        call()
    assert says in str(error.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda: col2im(Z(1, 4, 4), (2, 2), 2, padding="same"),
        lambda: conv_transpose2d(Z(1, 1, 4, 4), Z(1, 1, 3, 3), padding="same"),
        lambda: conv2d_input_grad((4, 4), Z(1, 1, 3, 3), Z(1, 1, 4, 4), padding="same"),
        lambda: conv2d_weight_grad(Z(1, 1, 4, 4), (3, 3), Z(1, 1, 4, 4), padding="same"),
    ],
)
def test_named_paddings_are_for_the_way_forwards(call):
    with pytest.raises(TypeError, match="padding='same': must be an int or a pair of ints"):
        call()


def test_groups_must_be_an_int():
    with pytest.raises(TypeError, match=r"groups=1\.0: must be an int"):
        conv_transpose2d(Z(1, 2, 4, 4), Z(2, 1, 3, 3), groups=1.0)


# ---- Whatever PyTorch's own layer takes ----------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(layers(), st.booleans())
def test_with_whole_numbers_the_other_forms_are_exact(case, same):
    x, w, options, _ = case
    x, w = (10 * x).round(), (10 * w).round()
    if same:
        options |= {"padding": "same", "stride": 1}
    expected = F.conv2d(x, w, **options)
    matrix = conv_matrix(w, x.shape[2:], **options)
    assert torch.equal((x.flatten(1) @ matrix.T).view_as(expected), expected)
    if not same:
        columns = im2col(x, w.shape[2:], **options)
        expected = F.fold(columns, x.shape[2:], w.shape[2:], **options)
        assert torch.equal(col2im(columns, x.shape[2:], w.shape[2:], **options), expected)


@settings(max_examples=60, deadline=None)
@given(convolutions(), *[st.booleans()] * 3, st.sampled_from([torch.float16, torch.bfloat16]))
def test_autocast_gives_the_low_type_of_any_mixture(case, low_x, low_w, low_b, low):
    """As it does with ``F.conv2d``; without autocast a mixture is refused, there as well.

    Compared in double precision: on a CPU, ``F.conv2d`` itself crashes on some low-precision cases.
    """
    tensors, options = case
    tensors = [
        t if t is None else t.to(low if is_low else torch.float32)
        for t, is_low in zip(tensors, (low_x, low_w, low_b), strict=True)
    ]
    exact = [t if t is None else t.double() for t in tensors]
    outputs = both(exact, options)
    if outputs:
        with torch.autocast("cpu", dtype=low):
            actual = conv2d(*tensors, **options)
        assert actual.dtype == low
        size = F.conv2d(*(t if t is None else t.abs() for t in exact), **options)
        error = (actual.double() - outputs[0]).abs()
        assert (error <= 4 * torch.finfo(low).eps * size).all()
        if len({t.dtype for t in tensors if t is not None}) > 1:
            with pytest.raises(TypeError, match="as the input"):
                conv2d(*tensors, **options)


@settings(max_examples=25, deadline=None)
@given(layers(most_groups=3), st.sampled_from([(0, 0), (0, None), (None, 0)]))
@pytest.mark.filterwarnings("error")
def test_all_of_it_can_be_mapped_over(case, axes):
    x, w, options, groups = case
    upstream = torch.randn_like(F.conv2d(x, w, **options, groups=groups))
    columns, size, kernel = im2col(x, w.shape[2:], **options), x.shape[2:], w.shape[2:]

    def loss(x, w):
        return conv2d(x, w, **options, groups=groups).square().sum()

    for function, one, two in [
        (lambda x, w: conv2d(x, w, **options, groups=groups), x, w),
        (torch.func.grad(loss, argnums=(0, 1)), x, w),
        (lambda c, w: col2im(c, size, kernel, **options) * w, columns, w.new_ones(())),
        (lambda x, w: im2col(x, kernel, **options) * w, x, w.new_ones(())),
        (lambda x, w: conv_matrix(w, size, **options) * x, x.new_ones(()), w),
        (lambda y, w: conv2d_input_grad(size, w, y, **options, groups=groups), upstream, w),
        (lambda x, y: conv2d_weight_grad(x, kernel, y, **options, groups=groups), x, upstream),
    ]:
        stacked = [
            torch.stack([t, -t, 2 * t]) if axis == 0 else t
            for t, axis in zip((one, two), axes, strict=True)
        ]
        mapped = torch.func.vmap(function, axes)(*stacked)
        alone = [
            function(*(t if axis is None else t[i] for t, axis in zip(stacked, axes, strict=True)))
            for i in range(3)
        ]
        if isinstance(mapped, tuple):
            alone = tuple(torch.stack(each) for each in zip(*alone, strict=True))
            torch.testing.assert_close(mapped, alone)
        else:
            torch.testing.assert_close(mapped, torch.stack(alone))


@pytest.mark.parametrize("groups", [1, 2])
def test_no_images_no_layout_and_no_device_are_special(groups):
    x, w = torch.randn(2, 5, 6, 4).permute(0, 3, 2, 1), torch.randn(6, 4 // groups, 3, 2).mT
    y = conv2d(x, w, groups=groups)
    torch.testing.assert_close(y, F.conv2d(x, w, groups=groups))
    up = conv_transpose2d(y, w, groups=groups)
    torch.testing.assert_close(up, F.conv_transpose2d(y, w, groups=groups))
    grad = conv2d_weight_grad(x[:0], (2, 3), y[:0], groups=groups)
    assert torch.equal(grad, torch.zeros_like(w))
    assert conv2d_input_grad((6, 5), w, y[:0], groups=groups).shape == (0, *x.shape[1:])
    assert conv_transpose2d(y[:0], w, groups=groups).shape == (0, *up.shape[1:])
    assert im2col(x[:0], 2).shape == (0, 16, 20)
    assert col2im(Z(0, 16, 20), (6, 5), 2).shape == (0, 4, 6, 5)
    meta = conv2d(x.to("meta"), w.to("meta"), groups=groups)
    assert meta.device.type == "meta" and meta.shape == y.shape


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.complex64])
def test_types_that_torch_takes(dtype):
    x, w = torch.arange(50).view(1, 2, 5, 5).to(dtype), torch.arange(36).view(2, 2, 3, 3).to(dtype)
    assert torch.equal(conv2d(x, w), F.conv2d(x, w))
    assert conv2d(x, w).dtype == F.conv2d(x, w).dtype
