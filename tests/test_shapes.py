"""d2lite.shapes: the formulas equal PyTorch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st

from d2lite.shapes import (
    conv_output_size,
    conv_transpose_output_size,
    pair,
    pool_output_size,
)

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")

FORMULAS = [conv_output_size, pool_output_size, conv_transpose_output_size]


def pairs(*choices):
    return st.tuples(*[st.sampled_from(choices)] * 2)


sizes, kernels, steps, paddings = (
    pairs(*range(1, 15)),
    pairs(2, 3, 1, 4, 5),
    pairs(1, 2, 3),
    pairs(0, 1, 2),
)


def agree(formula, layer, size, **options):
    """Compare the formula with PyTorch, on both axes and on each alone; both refuse, or neither."""
    try:
        height, width = layer(torch.zeros(1, 1, *size, dtype=torch.float64)).shape[-2:]
    except RuntimeError:
        with pytest.raises(ValueError):
            formula(size, **options)
        return
    assert formula(size, **options) == (height, width)
    for axis, expected in enumerate((height, width)):
        one = {k: v[axis] if isinstance(v, tuple) else v for k, v in options.items()}
        assert formula(size[axis], **one) == expected


@settings(max_examples=2000, deadline=None)
@given(sizes, kernels, steps, paddings | st.sampled_from(["same", "valid"]), steps)
def test_conv_output_size_equals_torch(size, kernel_size, stride, padding, dilation):
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    weight = torch.zeros(1, 1, *kernel_size, dtype=torch.float64)
    agree(
        conv_output_size,
        lambda x: F.conv2d(x, weight, **options),
        size,
        kernel_size=kernel_size,
        **options,
    )


@settings(max_examples=2000, deadline=None)
@given(sizes, kernels, st.none() | steps, paddings, steps, st.booleans())
@example((5, 5), (2, 2), (3, 3), (1, 1), (1, 1), True)  # the last window would start in the padding
@example((1, 1), (5, 5), (7, 7), (0, 0), (1, 1), True)  # the kernel is larger than the input
def test_pool_output_size_equals_torch(size, kernel_size, stride, padding, dilation, ceil_mode):
    options = {
        "kernel_size": kernel_size,
        "stride": stride,
        "padding": padding,
        "ceil_mode": ceil_mode,
    }
    agree(pool_output_size, lambda x: F.avg_pool2d(x, **options), size, **options)
    options["dilation"] = dilation
    agree(pool_output_size, lambda x: F.max_pool2d(x, **options), size, **options)


@settings(max_examples=2000, deadline=None)
@given(sizes, kernels, steps, paddings, pairs(0, 1, 2), steps)
def test_conv_transpose_output_size_equals_torch(
    size, kernel_size, stride, padding, output_padding, dilation
):
    """In float64, as oneDNN sometimes returns an empty tensor where PyTorch itself refuses size 0.

    See pytorch/pytorch, issue 88647 and pull request 186050.
    """
    options = {
        "stride": stride,
        "padding": padding,
        "output_padding": output_padding,
        "dilation": dilation,
    }
    weight = torch.zeros(1, 1, *kernel_size, dtype=torch.float64)
    agree(
        conv_transpose_output_size,
        lambda x: F.conv_transpose2d(x, weight, **options),
        size,
        kernel_size=kernel_size,
        **options,
    )


@pytest.mark.parametrize("formula", FORMULAS)
def test_int_gives_int_and_pair_gives_pair(formula):
    one, two = formula(np.int64(8), kernel_size=2), formula([8, 9], kernel_size=(2, 3))
    assert type(one) is int
    assert type(two) is tuple and [type(number) for number in two] == [int, int]
    assert formula(torch.Size([8, 9]), kernel_size=[2, 3]) == two
    assert formula((8, 8), 2) == (one, one)


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("name", ["size", "kernel_size", "stride", "padding", "dilation"])
@pytest.mark.parametrize("bad", [True, 2.0, (2, 1.0), (1, True), (1, 1, 1), (1,), [[1, 1], 1], {}])
def test_wrong_types_are_named(formula, name, bad):
    arguments = {"size": (9, 9), "kernel_size": 3, name: bad}
    with pytest.raises(TypeError) as caught:
        formula(**arguments)
    assert str(caught.value) == f"{name}={bad!r}: must be an int or a pair of ints"


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize(
    "name, bad, minimum",
    [
        ("size", 0, 1),
        ("size", (9, -1), 1),
        ("kernel_size", 0, 1),
        ("kernel_size", (3, 0), 1),
        ("stride", 0, 1),
        ("stride", (-2, 1), 1),
        ("dilation", 0, 1),
        ("padding", -1, 0),
        ("padding", (0, -3), 0),
    ],
)
def test_numbers_out_of_range_are_named(formula, name, bad, minimum):
    arguments = {"size": (9, 9), "kernel_size": 3, name: bad}
    with pytest.raises(ValueError) as caught:
        formula(**arguments)
    assert str(caught.value) == f"{name}={bad}: must be ≥ {minimum}"


@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda: conv_output_size(2, 3),
            ValueError,
            "size=2: smaller than the dilated kernel, 3; pad it or take a smaller kernel",
        ),
        (
            lambda: conv_output_size((9, 3), 3, padding=1, dilation=4),
            ValueError,
            "size=3: padded to 5, smaller than the dilated kernel, 9; "
            "pad it or take a smaller kernel",
        ),
        (
            lambda: pool_output_size(1, 5, 4, ceil_mode=True),
            ValueError,
            "size=1: smaller than the dilated kernel, 5; pad it or take a smaller kernel",
        ),
        (
            lambda: conv_output_size(9, (3, 5)),
            TypeError,
            "size=9: must be a pair (height, width), as (3, 5) is",
        ),
        (
            lambda: conv_output_size(9, 3, padding="full"),
            ValueError,
            "padding='full': must be one of 'same', 'valid'",
        ),
        (
            lambda: conv_output_size(9, 3, stride=2, padding="same"),
            ValueError,
            'stride=2: must be 1 with padding="same"',
        ),
        (
            lambda: pool_output_size(9, 3, padding="same"),
            TypeError,
            "padding='same': must be an int or a pair of ints",
        ),
        (
            lambda: pool_output_size(9, 3, padding=2),
            ValueError,
            "padding=2: must be ≤ half of kernel_size=3",
        ),
        (
            lambda: pool_output_size(9, 3, ceil_mode="up"),
            TypeError,
            "ceil_mode='up': must be True or False",
        ),
        (
            lambda: conv_transpose_output_size(9, 3, stride=2, output_padding=2),
            ValueError,
            "output_padding=2: must be smaller than stride=2 or dilation=1",
        ),
        (
            lambda: conv_transpose_output_size(9, 3, output_padding=-1),
            ValueError,
            "output_padding=-1: must be ≥ 0",
        ),
        (
            lambda: conv_transpose_output_size(2, 3, padding=2),
            ValueError,
            "padding=2: leaves nothing of an output of 4",
        ),
    ],
)
def test_errors_say_what_is_wrong(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


def test_a_pair_is_given_as_it_is():
    assert pair(2) == (2, 2) and pair((1, 2)) == pair([1, 2]) == (1, 2)


def test_numpys_small_integers_give_the_size():
    u = np.uint8
    assert conv_output_size(u(200), u(3), u(1), u(100)) == 398
    assert pool_output_size((u(200), u(200)), u(3), u(1), ceil_mode=np.True_) == (198, 198)
    assert conv_transpose_output_size(u(200), u(4), (u(2)), u(1)) == 400
