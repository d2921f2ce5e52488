"""d2lite.norm equals PyTorch: outputs, gradients and running statistics, over several steps."""

import pickle
from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

import d2lite.norm
from d2lite.norm import BatchNorm, GroupNorm, InstanceNorm, LayerNorm, fold, normalize

seeds = st.integers(0, 2**31)
epsilons = st.sampled_from([1e-5, 1e-3, 0.5])
TORCH_BATCH_NORM = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
TORCH_INSTANCE_NORM = {3: nn.InstanceNorm1d, 4: nn.InstanceNorm2d, 5: nn.InstanceNorm3d}


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-10)


def spatial(minimum=0):
    return st.lists(st.integers(1, 4), min_size=minimum, max_size=3).map(tuple)


def randomise(module):
    for parameter in module.parameters():
        nn.init.normal_(parameter, mean=1)


def run(module, x):
    """Return the output and its gradients in x and the parameters, for the loss Σ y³."""
    x = x.clone().requires_grad_()
    y = module(x)
    return y.detach(), torch.autograd.grad((y**3).sum(), [x, *module.parameters()])


def compare(ours, theirs, inputs):
    """Same state, then the same outputs, gradients and state over several steps."""
    ours, theirs = ours.double(), theirs.double()
    randomise(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    for x in inputs:
        close(run(ours, x), run(theirs, x))
        close(ours.state_dict(), theirs.state_dict())
    randomise(ours)
    theirs.load_state_dict(ours.state_dict())
    ours.eval(), theirs.eval()
    close(run(ours, inputs[0]), run(theirs, inputs[0]))
    close(ours.state_dict(), theirs.state_dict())


@settings(max_examples=40, deadline=None)
@given(
    seeds,
    st.integers(1, 4),
    st.integers(1, 3),
    spatial(),
    epsilons,
    st.booleans(),
    st.booleans(),
    st.sampled_from([0.1, 0.0, 1.0, 0.7, None]),
)
def test_batch_norm_equals_torch(seed, N, C, size, eps, affine, track, momentum):
    torch.manual_seed(seed)
    inputs = 1 + 2 * torch.randn(4, N, C, *size, dtype=torch.float64)
    options = {"eps": eps, "momentum": momentum, "affine": affine, "track_running_stats": track}
    ours, theirs = BatchNorm(C, **options), TORCH_BATCH_NORM[2 + len(size)](C, **options)
    if inputs[0].numel() == C:
        for module in ours, theirs:
            with pytest.raises(ValueError, match="more than 1 value"):
                module.double()(inputs[0])
    else:
        compare(ours, theirs, inputs)


@settings(max_examples=40, deadline=None)
@given(seeds, spatial(), st.integers(1, 3), spatial(1), epsilons, st.booleans())
def test_layer_norm_equals_torch(seed, batch, last, shape, eps, affine):
    shape = (*shape[:-1], shape[-1] + last)  # more than one value
    torch.manual_seed(seed)
    inputs = 1 + 2 * torch.randn(2, *batch, *shape, dtype=torch.float64)
    normalized_shape = shape[0] if len(shape) == 1 else list(shape)
    options = {"eps": eps, "elementwise_affine": affine}
    compare(LayerNorm(normalized_shape, **options), nn.LayerNorm(shape, **options), inputs)


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 3), st.integers(1, 3), spatial(1), epsilons, st.booleans())
def test_instance_norm_equals_torch(seed, N, C, size, eps, affine):
    torch.manual_seed(seed)
    inputs = 1 + 2 * torch.randn(2, N, C, *size, dtype=torch.float64)
    ours = InstanceNorm(C, eps, affine=affine)
    theirs = TORCH_INSTANCE_NORM[2 + len(size)](C, eps=eps, affine=affine)
    if inputs[0].numel() == N * C:
        for module in ours, theirs:
            with pytest.raises(ValueError, match="more than 1"):
                module.double()(inputs[0])
    else:
        compare(ours, theirs, inputs)


@settings(max_examples=40, deadline=None)
@given(
    seeds,
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 3),
    spatial(),
    epsilons,
    st.booleans(),
)
def test_group_norm_equals_torch(seed, N, G, channels_a_group, size, eps, affine):
    torch.manual_seed(seed)
    C = G * channels_a_group
    inputs = 1 + 2 * torch.randn(2, N, C, *size, dtype=torch.float64)
    ours, theirs = GroupNorm(G, C, eps, affine), nn.GroupNorm(G, C, eps, affine)
    if inputs[0].numel() == N * G:  # PyTorch refuses it for one example, and gives β for more
        with pytest.raises(ValueError, match="more than 1 value"):
            ours.double()(inputs[0])
    else:
        compare(ours, theirs, inputs)


@settings(max_examples=40, deadline=None)
@given(seeds, st.lists(st.integers(2, 4), min_size=1, max_size=5), st.data())
def test_normalize_gives_mean_0_and_variance_1_over_any_axes(seed, shape, data):
    axes = tuple(data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1)))
    torch.manual_seed(seed)
    x = 5 + 3 * torch.randn(shape, dtype=torch.float64)
    y, mean, variance = normalize(x, axes, eps=0)
    close(mean, x.mean(axes, keepdim=True))
    close(variance, x.var(axes, correction=0, keepdim=True))
    close(y.mean(axes), torch.zeros_like(mean.squeeze(axes)))
    close(y.var(axes, correction=0), torch.ones_like(mean.squeeze(axes)))
    close(normalize(x, tuple(axis - len(shape) for axis in axes), eps=0), (y, mean, variance))


@pytest.mark.parametrize("axes", [(0,), (0, 2), (1, 2)])
def test_normalize_has_the_right_gradient(axes):
    torch.manual_seed(0)
    x = torch.randn(3, 4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(normalize, (x, axes))
    assert torch.autograd.gradgradcheck(lambda x: normalize(x, axes)[0], (x,))


@pytest.mark.parametrize(
    "layer, means",
    [
        (BatchNorm(10), 10),
        (LayerNorm((10, 6, 7)), 5),
        (InstanceNorm(10), 50),
        (GroupNorm(2, 10), 10),
    ],
)
def test_how_many_means_each_computes_for_5_images_of_10_channels(layer, means, monkeypatch):
    computed = []

    def count(*arguments):
        y, mean, variance = normalize(*arguments)
        computed.append(mean.numel())
        return y, mean, variance

    monkeypatch.setattr(d2lite.norm, "normalize", count)
    layer(torch.randn(5, 10, 6, 7))
    assert computed == [means]


def test_float32_survives_a_mean_far_from_0():
    torch.manual_seed(0)
    x = 1000 + torch.randn(64, 3, 8, 8)
    expected = normalize(x.double(), (0, 2, 3))[0].float()
    torch.testing.assert_close(BatchNorm(3)(x), expected, rtol=0, atol=1e-3)


def test_cumulative_average_is_the_average_of_the_batches():
    torch.manual_seed(0)
    batches = torch.randn(7, 16, 3, dtype=torch.float64)
    norm = BatchNorm(3, momentum=None).double()
    for x in batches:
        norm(x)
    close(norm.running_mean, batches.mean(1).mean(0))
    close(norm.running_var, batches.var(1).mean(0))
    assert norm.num_batches_tracked == 7


def test_evaluation_changes_nothing_and_takes_one_value():
    norm = BatchNorm(4)
    norm(torch.randn(8, 4))
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    norm.eval()(torch.randn(1, 4))
    assert all(torch.equal(before[name], value) for name, value in norm.state_dict().items())


def test_statistics_do_not_hold_on_to_the_graph_and_pickle():
    norm = BatchNorm(4)
    norm(torch.randn(8, 4, requires_grad=True))
    assert not norm.running_mean.requires_grad and not norm.running_var.requires_grad
    copied = pickle.loads(pickle.dumps(norm))
    assert torch.equal(copied.running_var, norm.running_var)


def test_repr_shows_the_settings():
    assert repr(BatchNorm(4)) == "BatchNorm(eps=1e-05, num_features=4, momentum=0.1)"
    assert repr(GroupNorm(2, 4, 0.1, False)) == "GroupNorm(eps=0.1, num_groups=2, num_channels=4)"


@settings(max_examples=40, deadline=None)
@given(
    seeds,
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 2),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["linear", "conv"]),
    st.booleans(),
)
def test_fold_equals_the_two_layers(seed, c_in, c_out, groups, bias, affine, kind, torchs):
    torch.manual_seed(seed)
    c_in, c_out = c_in * groups, c_out * groups
    if kind == "linear":
        layer, x = nn.Linear(c_in, c_out, bias=bias), torch.randn(8, c_in)
        norm, fuse = (
            (nn.BatchNorm1d if torchs else BatchNorm)(c_out, affine=affine),
            fuse_linear_bn_eval,
        )
    else:
        options = {"stride": 2, "padding": 1, "padding_mode": "reflect", "groups": groups}
        layer, x = nn.Conv2d(c_in, c_out, 3, bias=bias, **options), torch.randn(8, c_in, 7, 6)
        norm, fuse = (
            (nn.BatchNorm2d if torchs else BatchNorm)(c_out, affine=affine),
            fuse_conv_bn_eval,
        )
    layer, norm, x = layer.double(), norm.double(), x.double()
    randomise(norm)
    for _ in range(3):
        norm(layer(x))
    before = [value.clone() for value in (*layer.parameters(), *norm.parameters())]
    folded = fold(layer, norm.eval())
    close(folded(x), norm(layer(x)))
    assert type(folded) is type(layer)
    assert all(parameter.requires_grad for parameter in folded.parameters())
    close(before, [value.detach() for value in (*layer.parameters(), *norm.parameters())])
    if affine:  # PyTorch's own stumbles without
        close(folded.state_dict(), fuse(layer.eval(), norm).state_dict())


Z = torch.zeros


@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda: normalize(Z(1, 3), (0,)),
            ValueError,
            r"x=float32 \(1, 3\): must have more",
        ),
        (lambda: normalize(Z(3), ()), ValueError, r"more than 1 value over axes \(\)"),
        (lambda: BatchNorm(0), ValueError, "num_features=0: must be ≥ 1"),
        (lambda: BatchNorm(3.0), TypeError, "num_features=3.0: must be an int"),
        (lambda: BatchNorm(True), TypeError, "num_features=True: must be an int"),
        (lambda: BatchNorm(3, eps=-1), ValueError, "eps=-1: must be ≥ 0"),
        (lambda: BatchNorm(3, eps=float("nan")), ValueError, "eps=nan: must be ≥ 0"),
        (lambda: BatchNorm(3, momentum=1.5), ValueError, "momentum=1.5: must be ≥ 0 and ≤ 1"),
        (
            lambda: BatchNorm(3)(Z(2, 4, 5)),
            ValueError,
            r"x=float32 \(2, 4, 5\): must be \(N, 3, …\)",
        ),
        (lambda: BatchNorm(3)(Z(3)), ValueError, r"x=float32 \(3,\): must be \(N, C, …\)"),
        (lambda: BatchNorm(3)(Z(0, 3)), ValueError, "must have more than 1 value"),
        (lambda: BatchNorm(3)(Z(1, 3, 1, 1)), ValueError, "must have more than 1 value"),
        (lambda: LayerNorm(0), ValueError, r"normalized_shape=0: must be ≥ 1"),
        (lambda: LayerNorm((3, 2.0)), TypeError, r"normalized_shape=\(3, 2.0\): must be an int"),
        (lambda: LayerNorm((3, 4))(Z(2, 4, 3)), ValueError, r"must end in \(3, 4\)"),
        (lambda: LayerNorm(1)(Z(2, 1)), ValueError, "must have more than 1 value"),
        (lambda: InstanceNorm(3)(Z(2, 3)), ValueError, "must have more than 1 value"),
        (lambda: InstanceNorm(3)(Z(3, 5, 5)), ValueError, r"must be \(N, 3, …\)"),
        (lambda: GroupNorm(2, 5), ValueError, "num_groups=2: must divide num_channels=5"),
        (lambda: GroupNorm(0, 4), ValueError, "num_groups=0: must be ≥ 1"),
        (lambda: GroupNorm(2, 4)(Z(2, 6, 3)), ValueError, r"must be \(N, 4, …\)"),
        (
            lambda: fold(nn.Flatten(), BatchNorm(3)),
            TypeError,
            "layer=Flatten.*: must be an nn",
        ),
        (
            lambda: fold(nn.ConvTranspose2d(3, 3, 3), BatchNorm(3)),
            TypeError,
            "ConvTranspose2d.*: must be an nn",
        ),
        (
            lambda: fold(nn.Linear(3, 3), GroupNorm(1, 3)),
            TypeError,
            "norm=GroupNorm.*: must be a Bat",
        ),
        (lambda: fold(nn.Linear(3, 3), BatchNorm(3)), ValueError, "must be in evaluation mode"),
        (
            lambda: fold(nn.Linear(3, 3), BatchNorm(3, track_running_stats=False).eval()),
            ValueError,
            "with running statistics",
        ),
        (
            lambda: fold(nn.Linear(3, 4), BatchNorm(3).eval()),
            ValueError,
            "norm: 3 channels, must be 4",
        ),
    ],
)
def test_refuses(call, error, message):
    with pytest.raises(error, match=message):
        call()


def pruned():
    layer = nn.Conv2d(2, 3, 1)
    return prune.l1_unstructured(layer, "weight", 0.5)


@pytest.mark.parametrize(
    "layer, message",
    [
        (pruned(), "layer=.*must have its weight as a parameter"),
        (nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 3, 1)), "must be an nn.Conv2d or"),
    ],
)
def test_a_weight_that_is_computed_cannot_be_folded(layer, message):
    with pytest.raises(TypeError, match=message):
        fold(layer, BatchNorm(3).eval())


# ---- Half precision ------------------------------------------------------------------------------

LOW = st.sampled_from([torch.float16, torch.bfloat16])
LAYERS = st.sampled_from(
    [
        (lambda: BatchNorm(4), lambda: nn.BatchNorm2d(4)),
        (lambda: BatchNorm(4, momentum=None), lambda: nn.BatchNorm2d(4, momentum=None)),
        (lambda: LayerNorm((4, 5, 3)), lambda: nn.LayerNorm((4, 5, 3))),
        (lambda: GroupNorm(2, 4), lambda: nn.GroupNorm(2, 4)),
        (lambda: InstanceNorm(4, affine=True), lambda: nn.InstanceNorm2d(4, affine=True)),
    ]
)

# PyTorch 2.4's batch norm, all in float16, adds squares in float16: of large numbers it makes 0.
FAR = 1000 * torch.tensor([0.0, 1.0]).half().view(2, 1, 1, 1)
OVERFLOWS = not nn.BatchNorm2d(1).half()(FAR).any()


@settings(max_examples=60, deadline=None)
@given(seeds, LAYERS, LOW, st.booleans(), st.booleans(), st.sampled_from([1, 100, 600]))
def test_low_precision_equals_torch(seed, makes, dtype, low_layer, autocast, scale):
    """Types, outputs and running statistics; squares of numbers above 255 overflow float16."""
    if OVERFLOWS and dtype == torch.float16:
        low_layer = False  # the next test has the other
    torch.manual_seed(seed)
    ours, theirs = (make() for make in makes)
    randomise(theirs)
    ours.load_state_dict(theirs.state_dict())
    if low_layer:
        ours, theirs = ours.to(dtype), theirs.to(dtype)
    with torch.autocast("cpu", dtype=dtype, enabled=autocast):
        for x in scale * (1 + torch.randn(3, 6, 4, 5, 3)):
            x = x.to(dtype)
            equal_but_for_rounding(ours(x), theirs(x), like_float32(theirs, x))
            for our, their in zip(ours.buffers(), theirs.buffers(), strict=True):
                equal_but_for_rounding(our, their)
        ours.load_state_dict(theirs.state_dict())  # else the statistics' own rounding adds up
        equal_but_for_rounding(ours.eval()(x), theirs.eval()(x), like_float32(theirs, x))


def like_float32(layer, x):
    """What the layer makes of x where nothing is rounded on the way to the output."""
    with torch.autocast("cpu", enabled=False):
        return deepcopy(layer).float()(x.float())


@pytest.mark.parametrize("scale", [100, 600])
@pytest.mark.parametrize("make", [lambda: BatchNorm(4), lambda: InstanceNorm(4, affine=True)])
def test_large_float16_is_as_float32_rounded(make, scale):
    torch.manual_seed(0)
    x = (scale * (1 + torch.randn(6, 4, 5, 3))).half()
    equal_but_for_rounding(make().half()(x), make()(x.float()).half())


def equal_but_for_rounding(actual, expected, unrounded=None):
    """The type is the expected one's; so are the numbers, or they are the unrounded ones rounded.

    Where scale and shift cancel, PyTorch's own roundings on the way show in its output.
    """
    assert actual.dtype == expected.dtype
    eps = torch.finfo(actual.dtype).eps if actual.is_floating_point() else 0
    eps = max(eps, 1e-5)
    if unrounded is not None:
        expected = unrounded.to(actual.dtype)
    torch.testing.assert_close(actual, expected, rtol=2 * eps, atol=2 * eps)


def test_float32_stays_float32_under_autocast_and_no_images_give_none():
    x = torch.randn(2, 4, 5, 3)
    for layer in BatchNorm(4), LayerNorm((4, 5, 3)), GroupNorm(2, 4), InstanceNorm(4):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert layer(x).dtype == torch.float32
        assert layer.eval()(x[:0]).shape == (0, 4, 5, 3)
        with pytest.raises(TypeError, match=r"x=int64 .*: must be floating-point"):
            layer(x.long())


@pytest.mark.parametrize("low_norm", [False, True])
def test_fold_keeps_the_layers_type(low_norm):
    layer, norm = nn.Conv2d(2, 3, 3).half(), BatchNorm(3).eval()
    folded = fold(layer, norm.half() if low_norm else norm)
    assert {value.dtype for value in folded.state_dict().values()} == {torch.float16}
    torch.testing.assert_close(folded.weight, layer.weight, rtol=2e-3, atol=0)
