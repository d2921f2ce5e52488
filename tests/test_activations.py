"""d2lite.activations equals PyTorch in value and in derivative, and stays finite."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from d2lite import activations as A

FUNCTIONS = {
    "sigmoid": (A.sigmoid, A.sigmoid_grad, torch.sigmoid),
    "tanh": (A.tanh, A.tanh_grad, torch.tanh),
    "relu": (A.relu, A.relu_grad, torch.relu),
    "leaky_relu": (A.leaky_relu, A.leaky_relu_grad, F.leaky_relu),
    "leaky_relu, slope −0.3": (
        lambda x: A.leaky_relu(x, -0.3),
        lambda x: A.leaky_relu_grad(x, negative_slope=-0.3),
        lambda x: F.leaky_relu(x, -0.3),
    ),
}
each_function = pytest.mark.parametrize("f, f_grad, theirs", FUNCTIONS.values(), ids=FUNCTIONS)
numbers = st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20)


def derivative(f, x):
    """Differentiate f at each element of x, by autograd."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(f(x).sum(), x)[0]


@each_function
@settings(max_examples=50, deadline=None)
@given(numbers=numbers, dtype=st.sampled_from([torch.float32, torch.float64]))
def test_value_and_both_derivatives_equal_torchs(f, f_grad, theirs, numbers, dtype):
    x = torch.tensor(numbers, dtype=dtype)
    torch.testing.assert_close(f(x), theirs(x))
    expected = derivative(theirs, x)
    torch.testing.assert_close(f_grad(x), expected)
    torch.testing.assert_close(derivative(f, x), expected)


@each_function
def test_at_the_corner_at_infinity_and_at_nan(f, f_grad, theirs):
    x = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, 1e38, -1e38, 100, -100, 1e-30, -1e-30])
    torch.testing.assert_close(f(x), theirs(x))
    finite = x[x.isfinite()]
    torch.testing.assert_close(f_grad(x), derivative(theirs, x))
    torch.testing.assert_close(derivative(f, finite), derivative(theirs, finite))
    assert f(torch.tensor(torch.nan)).isnan()


@pytest.mark.parametrize("f", [A.sigmoid, A.tanh, A.sigmoid_grad, A.tanh_grad])
def test_accurate_relative_to_the_result_in_single_precision(f):
    """No cancellation: also far out, where the results are tiny, most digits are right."""
    x = torch.linspace(-40, 40, 4001, dtype=torch.float64)
    x = torch.cat([x, torch.logspace(-30, 0, 100, dtype=torch.float64)]).float()
    exact = {
        A.sigmoid: lambda x: 1 / (1 + torch.exp(-x)),
        A.tanh: torch.tanh,
        A.sigmoid_grad: lambda x: 1 / (2 + torch.exp(x) + torch.exp(-x)),
        A.tanh_grad: lambda x: 1 / torch.cosh(x) ** 2,
    }[f](x.double())
    torch.testing.assert_close(f(x).double(), exact, rtol=1e-6, atol=1e-37)


@each_function
def test_gradcheck_twice_and_at_zero(f, f_grad, theirs):
    smooth = theirs in (torch.sigmoid, torch.tanh)
    x = [-3.0, -0.5, 0.5, 3.0] + [0.0] * smooth
    x = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(f, x)
    assert torch.autograd.gradgradcheck(f, x)
    assert torch.autograd.gradcheck(f_grad, x)


@each_function
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype_and_shape_are_kept(f, f_grad, theirs, dtype):
    x = torch.linspace(-20, 20, 6, dtype=dtype).reshape(1, 2, 3)
    for y in (f(x), f_grad(x)):
        assert y.dtype == dtype and y.shape == x.shape and y.isfinite().all()
    torch.testing.assert_close(f(x), theirs(x))


def test_tanh_is_a_stretched_sigmoid():
    x = torch.linspace(-5, 5, 101, dtype=torch.float64)
    torch.testing.assert_close(A.tanh(x), 2 * A.sigmoid(2 * x) - 1)


@pytest.mark.parametrize("f, f_grad, theirs", FUNCTIONS.values(), ids=FUNCTIONS)
@pytest.mark.parametrize("x", [[1.0], 1.0, None])
def test_what_is_no_tensor_is_refused(f, f_grad, theirs, x):
    for function in (f, f_grad):
        with pytest.raises(TypeError):
            function(x)
