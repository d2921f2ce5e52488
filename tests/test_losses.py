"""d2lite.losses equals PyTorch, forwards and backwards, and says what is wrong with bad input."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from d2lite.losses import (
    accuracy,
    classification,
    cross_entropy,
    cross_entropy_grad,
    log_softmax,
    mse,
    softmax,
)

Z = torch.zeros


@st.composite
def batches(draw):
    """Draw logits (N, C), small or huge, and labels (N,)."""
    N, C = draw(st.integers(1, 6)), draw(st.integers(1, 7))
    torch.manual_seed(draw(st.integers(0, 2**31)))
    scale = draw(st.sampled_from([0.0, 1.0, 30.0, 1e4]))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    return scale * torch.randn(N, C, dtype=dtype), torch.randint(C, (N,))


def value_and_grad(f, *tensors):
    tensors = [t.clone().requires_grad_(t.is_floating_point()) for t in tensors]
    value = f(*tensors)
    leaves = [t for t in tensors if t.requires_grad]
    upstream = torch.arange(1, value.numel() + 1).to(value).view_as(value)
    return value, torch.autograd.grad(value, leaves, upstream)


@settings(max_examples=100, deadline=None)
@given(batches(), st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_cross_entropy_and_its_gradient_equal_torchs(batch, label_smoothing):
    expected = value_and_grad(
        lambda z, y: F.cross_entropy(z, y, label_smoothing=label_smoothing), *batch
    )
    actual = value_and_grad(lambda z, y: cross_entropy(z, y, label_smoothing), *batch)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(cross_entropy_grad(*batch, label_smoothing), expected[1][0])


@settings(max_examples=100, deadline=None)
@given(batches(), st.sampled_from([0, 1, -1, -2]))
def test_softmax_and_log_softmax_equal_torchs(batch, dim):
    logits, _ = batch
    for ours, theirs in [(softmax, torch.softmax), (log_softmax, torch.log_softmax)]:
        actual = value_and_grad(lambda z, f=ours: f(z, dim), logits)
        torch.testing.assert_close(actual, value_and_grad(lambda z, f=theirs: f(z, dim), logits))


def test_softmax_does_not_overflow_where_the_definition_does():
    z = torch.tensor([[1000.0, 0.0], [-1000.0, -1000.0]])
    assert (torch.exp(z) / torch.exp(z).sum(1, keepdim=True)).isnan().any()
    assert softmax(z).tolist() == [[1, 0], [0.5, 0.5]]
    assert log_softmax(z)[0].tolist() == [0, -1000]
    assert softmax(z)[0].log().tolist() == [0, -torch.inf]


def test_a_class_ruled_out_by_minus_infinity():
    z, y = torch.tensor([[1.0, -torch.inf, 2.0]]), torch.tensor([2])
    torch.testing.assert_close(
        value_and_grad(cross_entropy, z, y), value_and_grad(F.cross_entropy, z, y)
    )
    torch.testing.assert_close(
        cross_entropy_grad(z, y), value_and_grad(F.cross_entropy, z, y)[1][0]
    )


def test_softmax_of_images_sums_to_one_at_each_pixel():
    z = torch.randn(2, 5, 3, 4)
    torch.testing.assert_close(softmax(z, dim=1), F.softmax(z, dim=1))
    torch.testing.assert_close(softmax(z, dim=1).sum(1), torch.ones(2, 3, 4))


def test_knowing_nothing_costs_log_c():
    assert cross_entropy(Z(4, 10), torch.arange(4)).item() == pytest.approx(math.log(10))


def test_gradcheck():
    torch.manual_seed(0)
    z = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    y = torch.tensor([0, 3, 1])
    for f in (softmax, log_softmax, lambda z: cross_entropy(z, y, 0.1)):
        assert torch.autograd.gradcheck(f, z)
        assert torch.autograd.gradgradcheck(f, z)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 4), max_size=3), st.integers(0, 2**31))
def test_mse_and_its_gradients_equal_torchs(shape, seed):
    torch.manual_seed(seed)
    tensors = torch.randn(shape, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)
    torch.testing.assert_close(
        value_and_grad(mse, *tensors), value_and_grad(F.mse_loss, *tensors), equal_nan=True
    )


def test_accuracy_counts_the_right_ones():
    logits = torch.tensor([[1.0, 2.0, 0.0], [3.0, 2.0, 1.0], [0.0, 0.0, 1.0]])
    assert accuracy(logits, torch.tensor([1, 0, 1])) == 2 / 3
    assert accuracy(logits, torch.tensor([1, 0, 2])) == 1
    assert accuracy(logits, torch.tensor([0, 1, 0])) == 0


def test_accuracy_of_nan_is_refused():
    with pytest.raises(ValueError, match="logits: NaN is among them"):
        accuracy(torch.tensor([[0.0, math.nan]]), torch.tensor([1]))


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_classification_is_the_cross_entropy_of_a_models_scores(label_smoothing):
    model, images, labels = torch.nn.Flatten(), torch.randn(5, 1, 2, 2), torch.arange(5) % 4
    loss, scores = classification(model, images, labels, label_smoothing)
    assert torch.equal(scores, images.flatten(1))
    torch.testing.assert_close(loss, cross_entropy(scores, labels, label_smoothing))


@pytest.mark.parametrize("function", [cross_entropy, cross_entropy_grad, accuracy])
@pytest.mark.parametrize(
    "logits, labels, error, message",
    [
        ([[1.0]], Z(1).long(), TypeError, r"logits=\[\[1.0\]\]: must be a tensor"),
        (Z(2, 3), [0, 1], TypeError, r"labels=\[0, 1\]: must be a tensor"),
        (Z(2, 3).long(), Z(2).long(), TypeError, r"logits=int64 \(2, 3\): must be floating-point"),
        (Z(2, 3), Z(2), TypeError, r"labels=float32 \(2,\): must be int64"),
        (Z(2, 3), Z(2).int(), TypeError, r"labels=int32 \(2,\): must be int64"),
        (Z(3), Z(1).long(), ValueError, r"logits=float32 \(3,\): must be \(N, C\)"),
        (Z(0, 3), Z(0).long(), ValueError, r"logits=float32 \(0, 3\): must not be empty"),
        (Z(2, 0), Z(2).long(), ValueError, r"logits=float32 \(2, 0\): must not be empty"),
        (Z(2, 3), Z(3).long(), ValueError, r"labels=int64 \(3,\): must be \(2,\)"),
        (Z(2, 3), Z(2, 1).long(), ValueError, r"labels=int64 \(2, 1\): must be \(N,\)"),
        (Z(2, 3), torch.tensor([0, 3]), ValueError, "labels: 3 is among them, must be ≥ 0 and ≤ 2"),
        (Z(2, 3), torch.tensor([-1, 0]), ValueError, "labels: -1 is among them, must be ≥ 0"),
    ],
)
def test_what_does_not_fit_is_refused(function, logits, labels, error, message):
    with pytest.raises(error, match=message):
        function(logits, labels)


@pytest.mark.parametrize("label_smoothing", [-0.1, 1.1, math.nan])
@pytest.mark.parametrize("function", [cross_entropy, cross_entropy_grad])
def test_label_smoothing_out_of_range(function, label_smoothing):
    with pytest.raises(ValueError, match=f"label_smoothing={label_smoothing}: must be ≥ 0 and ≤ 1"):
        function(Z(1, 2), Z(1).long(), label_smoothing)


@pytest.mark.parametrize(
    "prediction, target, error, message",
    [
        (1.0, Z(1), TypeError, "prediction=1.0: must be a tensor"),
        (Z(1), [1.0], TypeError, r"target=\[1.0\]: must be a tensor"),
        (Z(1).long(), Z(1), TypeError, r"prediction=int64 \(1,\): must be floating-point"),
        (Z(4, 1), Z(4), ValueError, r"target=float32 \(4,\): must be \(4, 1\) as the"),
    ],
)
def test_mse_refuses(prediction, target, error, message):
    with pytest.raises(error, match=message):
        mse(prediction, target)
