"""d2lite.receptive_field: the fields are where gradients arrive, or it says that none is known."""

import random

import pytest
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.models import convnext, mobilenetv2, resnet, shufflenetv2, squeezenet

from d2lite import channels, conv, norm, pool
from d2lite.nets import lenet
from d2lite.receptive_field import receptive_field


class Branches(nn.Module):
    """Two ways through, added or concatenated, over an optional way straight on."""

    def __init__(self, left: nn.Module, right: nn.Module, cat: bool) -> None:
        super().__init__()
        self.left, self.right, self.cat = left, right, cat

    def forward(self, x):
        left, right = self.left(x), self.right(x)
        return torch.cat([left, right], 1) if self.cat else F.relu(left + right)


@st.composite
def windows(draw, stride=None, same=False):
    """Draw a convolution or an average pooling of one channel, if asked one that keeps sizes."""
    k = draw(st.sampled_from([1, 3, 5] if same else [1, 2, 3, 4]))
    s = stride or draw(st.integers(1, 3))
    if draw(st.booleans()):
        d = draw(st.integers(1, 2))
        p = d * (k - 1) // 2 if same else draw(st.integers(0, 2))
        return nn.Conv2d(1, 1, k, s, p, d)
    return nn.AvgPool2d(k, s, k // 2 if same else draw(st.integers(0, k // 2)))


@st.composite
def networks(draw):
    layers = [draw(windows())]
    for _ in range(draw(st.integers(0, 2))):
        if draw(st.booleans()):
            pads = st.tuples(*[st.integers(0, 3)] * 4).map(nn.ZeroPad2d)
            layers.append(draw(windows() | pads))
        else:
            sides = [draw(windows(stride=1, same=True) | st.just(nn.Identity())) for _ in "ab"]
            layers.append(Branches(*sides, cat=False))
    return nn.Sequential(*layers, nn.Identity())


@settings(max_examples=200, deadline=None)
@given(networks())
def test_receptive_fields_are_where_gradients_arrive(model):
    model.double()
    for parameter in model.parameters():
        parameter.data.fill_(0.5)  # positive, so that nothing cancels
    n = 120
    x = torch.ones(1, 1, n, n, dtype=torch.float64, requires_grad=True)
    y = model(x)
    field = list(receptive_field(model, (1, n, n)).values())[-1]
    for unit in (0, y.shape[3] // 2, y.shape[3] - 1):
        (grad,) = torch.autograd.grad(y[0, 0, y.shape[2] // 2, unit], x, retain_graph=True)
        reached = grad[0, 0].sum(0).nonzero()[:, 0]
        first = field.start + unit * field.jump - (field.size - 1) / 2
        assert first == int(first)
        inside = range(max(0, int(first)), min(n, int(first) + field.size))
        # Pixels between the taps of a dilated or strided kernel may be passed over, the ends not,
        # unless the image ends before them.
        assert all(pixel in inside for pixel in reached.tolist())
        if inside and inside[0] == first and inside[-1] == first + field.size - 1:
            assert (reached[0], reached[-1]) == (inside[0], inside[-1])


@pytest.mark.parametrize(
    ("network", "layer", "size", "jump"),
    [  # Araujo, Norris and Sim (2019), the table at the end of the article
        ("alexnet", "features.12", 195, 32),
        ("vgg16", "features.30", 212, 32),
    ],
)
def test_published_receptive_fields(network, layer, size, jump):
    with torch.device("meta"):
        model = getattr(torchvision.models, network)(weights=None)
    field = receptive_field(model.to_empty(device="cpu"), (3, 224, 224))[layer]
    assert (field.size, field.jump) == (size, jump)


def test_a_layer_that_sees_everything():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    fields = receptive_field(model, (1, 8, 8))
    assert fields == {
        "0": (3, 1, 0), "1": (10, 1, 3.5), "2": (10, 1, 3.5), "3": (10, 1, 3.5)
    }  # fmt: skip


class Gated(nn.Module):
    """Scale each map by its own mean: every unit then sees everything."""

    def forward(self, x):
        return x * x.mean((2, 3), keepdim=True)


@pytest.mark.parametrize("call", [Gated(), Branches(nn.Identity(), Gated(), cat=True)])
def test_fields_join_at_their_ends(call):
    fields = receptive_field(nn.Sequential(nn.Conv2d(1, 1, 3), call, nn.ReLU()), (1, 10, 10))
    assert list(fields.values())[-1] == (10, 0, 4.5)  # all see the same


def test_named_paddings():
    fields = receptive_field(
        nn.Sequential(nn.Conv2d(1, 1, 4, padding="same"), nn.Conv2d(1, 1, 3, padding="valid")),
        (1, 9, 9),
    )
    assert fields == {"0": (4, 1, 0.5), "1": (6, 1, 1.5)}


@pytest.mark.parametrize("layer", [nn.Upsample(scale_factor=2), nn.CircularPad2d(1)])
def test_fields_that_differ_are_refused(layer):
    with pytest.raises(ValueError, match=r"the units of 1 \(.*\) have no common receptive field"):
        receptive_field(nn.Sequential(nn.Conv2d(1, 1, 3), layer, nn.ReLU()), (1, 9, 9))


# ---- Every operation is local, or sees what it says it sees, or is refused -----------------------


def double_of(x: torch.Tensor) -> torch.Tensor:
    return 2 * x


def means(x):
    return x.flatten(2).mean((0, 2)) if x.ndim > 3 else x.mean((0, 1))


zero, one = torch.zeros(1), torch.ones(1)


@torch.library.custom_op("by_experiment::normalize", mutates_args=())
def times_mean(x: torch.Tensor) -> torch.Tensor:
    """Look everywhere, under the name of a function that does not."""
    return x * x.mean()


class Call(nn.Module):
    """A function as a layer."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    ("model", "shape", "field"),
    [
        (nn.ConvTranspose2d(1, 1, 3, padding=1), (1, 9, 9), (3, 1, 0)),
        (nn.ConvTranspose2d(1, 1, (4, 3), (2, 1), dilation=(1, 2)), (1, 9, 9), (5, 1, -2)),
        (nn.Conv1d(1, 1, 3), (1, 20), (3, 1, 1)),
        (nn.Conv3d(1, 1, 3, padding=1), (1, 5, 6, 7), (3, 1, 0)),
        (nn.Linear(9, 9), (1, 9, 9), (9, 0, 4)),
        (nn.Sequential(nn.Conv2d(1, 1, 3), nn.InstanceNorm2d(1)), (1, 9, 9), (9, 0, 4)),
        (nn.Sequential(nn.Conv2d(1, 1, 3), norm.InstanceNorm(1)), (1, 9, 9), (9, 0, 4)),
        (nn.Sequential(nn.Conv2d(1, 2, 3), norm.GroupNorm(2, 2)), (1, 9, 9), (9, 0, 4)),
        (nn.Sequential(nn.InstanceNorm2d(1), nn.Conv2d(1, 1, 3)), (1, 9, 9), (9, 0, 4)),
        (
            nn.Sequential(nn.Conv2d(1, 1, 3), norm.InstanceNorm(1), nn.Conv2d(1, 1, 5, padding=2)),
            (1, 9, 9),
            (9, 0, 4),
        ),
        (Call(lambda x: conv.conv2d(x, torch.ones(1, 1, 3, 3), None, 2, 1)), (1, 9, 9), (3, 2, 0)),
        (Call(lambda x: conv.conv_transpose2d(x, torch.ones(1, 1, 3, 3))), (1, 9, 9), (3, 1, -1)),
        (Call(lambda x: pool.max_pool2d(x, 3, 2, 1)), (1, 9, 9), (3, 2, 0)),
        (Call(lambda x: pool.avg_pool2d(x, 2)), (1, 9, 9), (2, 2, 0.5)),
        (nn.AdaptiveAvgPool2d(3), (1, 9, 9), (3, 3, 1)),
        (nn.PixelUnshuffle(3), (1, 9, 9), (3, 3, 1)),
        (nn.Softmax(-1), (1, 9, 9), (9, 0, 4)),
        (Call(lambda x: F.scaled_dot_product_attention(x, x, x)), (9, 4), (4, 0, 1.5)),
        (Call(lambda x: F.scaled_dot_product_attention(*[x.mT] * 3).mT), (4, 9), (9, 0, 4)),
        (Call(lambda x: x[..., 2:]), (1, 9, 9), (1, 1, 2)),
        (Call(lambda x: x[..., ::2]), (1, 9, 9), (1, 2, 0)),
        (Call(lambda x: x.flip(2)), (1, 9, 9), (1, 1, 0)),
        (Call(lambda x: x.permute(0, 2, 3, 1)), (2, 9, 9), (1, 1, 0)),
        (Call(lambda x: x[..., :1].expand(-1, -1, -1, 9)), (1, 9, 9), (1, 0, 0)),
        (Call(lambda x: F.interpolate(F.avg_pool2d(x, 3), x.shape[2:])), (1, 9, 9), None),
        (Call(lambda x: F.avg_pool2d(F.interpolate(x, (18, 18)), 2)), (1, 9, 9), (1, 1, 0)),
        (Call(lambda x: x.new_zeros(1, 2, 9, 9).copy_(x)), (1, 9, 9), (1, 1, 0)),
        (Call(lambda x: torch.zeros_like(x).fill_(x.mean())), (1, 9, 9), (9, 0, 4)),
        (Call(lambda x: torch.full_like(x, x.mean())), (1, 9, 9), (9, 0, 4)),
        (Call(lambda x: F.interpolate(x, scale_factor=0.4)), (1, 7, 7), (1, 2, 0)),
        (
            Call(lambda x: F.interpolate(x, scale_factor=0.4, recompute_scale_factor=True)),
            (1, 7, 7),
            (1, 3, 0),
        ),
        (Call(lambda x: torch.einsum("nchw,c->nhw", x, torch.ones(2))), (2, 9, 9), (1, 1, 0)),
        (Call(lambda x: ((x > 0) & (x // 2 < 1)).float()), (1, 9, 9), (1, 1, 0)),
        (Call(lambda x: x.roll(1, -1)), (1, 9, 9), None),
        (Call(lambda x: x.flip(-1)), (1, 9, 9), None),
        (Call(lambda x: x.transpose(-1, -2)), (1, 9, 9), None),
        (Call(lambda x: torch.fft.fft(x).abs()), (1, 9, 9), None),
        (Call(lambda x: x.cumsum(-1)), (1, 9, 9), None),
        (Call(lambda x: x.sort(-1).values), (1, 9, 9), None),
        (Call(lambda x: torch.from_numpy(x.numpy())), (1, 9, 9), None),
        (Call(lambda x: x * (x[0, 0, 0, 8].item() + 1)), (1, 9, 9), None),
        (Call(lambda x: x[..., x.argmax(-1).flatten()]), (1, 9, 9), None),
        (Call(lambda x: F.conv2d(x, x[:, :, :3, :3])), (1, 9, 9), None),
        (Call(lambda x: F.conv2d(x, torch.ones(1, 1, 3, 3), means(x))), (1, 9, 9), None),
        (Call(lambda x: F.conv_transpose2d(x, torch.ones(1, 1, 3, 3), means(x))), (1, 9, 9), None),
        (Call(lambda x: F.linear(x, torch.ones(1, 1), x.mean((0, 1)))), (9, 1), None),
        (Call(lambda x: F.batch_norm(x, zero, one, means(x))), (1, 9, 9), None),
        (Call(lambda x: F.batch_norm(x, zero, one, None, means(x))), (1, 9, 9), None),
        (Call(lambda x: F.batch_norm(x, means(x), one)), (1, 9, 9), None),
        (Call(lambda x: F.layer_norm(x, (1,), means(x))), (9, 1), None),
        (Call(lambda x: times_mean(x)), (1, 9, 9), None),
        (Call(lambda x: torch.ops.by_experiment.normalize(x)), (1, 9, 9), None),
        (Call(torch.jit.script(double_of)), (1, 9, 9), None),
        (nn.Upsample((7, 7)), (1, 9, 9), None),
        (nn.Upsample(scale_factor=2, mode="bilinear"), (1, 9, 9), None),
        (nn.ConvTranspose2d(1, 1, 4, 2, 1), (1, 9, 9), None),
        (nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), (1, 9, 9), None),
        (nn.AdaptiveAvgPool2d(5), (1, 9, 9), None),
        (nn.LSTM(4, 4), (9, 4), None),
    ],
)
def test_a_layer_sees_what_it_says_or_is_refused(model, shape, field):
    model = nn.Sequential(*model) if isinstance(model, nn.Sequential) else nn.Sequential(model)
    if field is None:
        with pytest.raises(ValueError, match=r"^model: (the units of )?\d"):
            receptive_field(model, shape)
    else:
        assert list(receptive_field(model, shape).values())[-1] == field


class Keeping(nn.Module):
    """Two layers that keep what they take and give, as for a picture of it."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 1, 3, stride=2)

    def forward(self, x):
        self.image, self.maps = x, [self.first(x)]
        return self.second(*self.maps)


def test_what_a_module_keeps_of_the_run_is_no_constant():
    assert receptive_field(Keeping(), (1, 9, 9)) == {"first": (3, 1, 1), "second": (5, 2, 2)}


def test_what_a_layer_returns_is_refused_by_the_name_of_the_layer():
    model = nn.Sequential(Call(lambda x: x.abs().data), nn.ReLU())
    with pytest.raises(ValueError, match=r"model: 0 \(Call\) calls data, and it is not known"):
        receptive_field(model, (1, 9, 9))

    def changed(x):
        y = x.clone()
        y[0].mul_(x.mean())
        return y

    with pytest.raises(ValueError, match=r"model: 0 \(Call\) returns, and it .* in place"):
        receptive_field(nn.Sequential(Call(changed)), (1, 9, 9))


def channels_last(x, layer):
    """Apply a layer to (N, *, C)."""
    return layer(x.movedim(1, -1)).movedim(-1, 1)


class On(nn.Module):
    """A function of the image and of modules: what blocks do between their layers."""

    def __init__(self, function, *parts):
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)

    def forward(self, x):
        return self.function(x, *self.parts)


def kinds(pick, D):
    """List what a stack is made of, for 4 channels and D axes, and what stands for its maxima.

    A value is a layer, or a pair of it and of one that reads the same pixels and is smooth.
    """

    def of(module, *args, **kwargs):
        return getattr(nn, f"{module}{D}d")(*args, **kwargs)

    k, s, d = pick(1, 2, 3, 5), pick(1, 1, 2), pick(1, 1, 2)
    p, q = pick(0, 1, 2), pick(*range(k // 2 + 1))
    average = getattr(F, f"avg_pool{D}d")
    avg = of("AvgPool", k, s, q) if D == 1 else of("AvgPool", k, s, q, False, True)
    taps = of("Conv", 4, 4, k, s, q, d, groups=4, bias=False)
    g = pick(1, 2, 4)
    square = (pick(1, 2, 3), pick(1, 2)) if D == 2 else (1, 1)
    conv1 = of("Conv", 4, 4, 1)
    shared = of("Conv", 4, 4, 3, padding=1)
    kernels = torch.rand(4, 4, 3, 3, dtype=torch.float64) + 0.5
    shuffle = On(lambda x: x.unflatten(1, (2, 2)).transpose(1, 2).reshape(x.shape))
    every = {
        "Conv": of("Conv", 4, 4, k, s, p, d),
        "Conv groups": of("Conv", 4, 4, k, s, p, groups=g),
        "Conv same": of("Conv", 4, 4, k, padding="same", dilation=d),
        "ConvTranspose": of("ConvTranspose", 4, 4, k, 1, min(p, k - 1), groups=g, dilation=d),
        "MaxPool": (of("MaxPool", k, s, q, d), taps),
        "AvgPool": avg,
        "LPPool": of("LPPool", 1, k, s),
        "BatchNorm": of("BatchNorm", 4),
        "InstanceNorm": of("InstanceNorm", 4),
        "GroupNorm": nn.GroupNorm(g, 4),
        "LocalResponseNorm": nn.LocalResponseNorm(2),
        "LayerNorm": On(channels_last, nn.LayerNorm(4)),
        "Linear": On(channels_last, nn.Linear(4, 4)),
        "Softmax": nn.Softmax(1),
        "Softmax over width": nn.Softmax(-1),
        "Dropout": nn.Dropout(),
        "ConstantPad": of("ConstantPad", pick(0, 1, 2), 0.5),
        "PReLU": nn.PReLU(4),
        "ReLU": (nn.ReLU(inplace=pick(False, True)), nn.ReLU()),
        "activation": getattr(
            nn, pick("ELU", "GELU", "LeakyReLU", "Mish", "SELU", "SiLU", "Sigmoid", "Softplus")
        )(),
        "residual": On(lambda x, layer: x + layer(x), shared),
        "residual in place": On(lambda x, layer: layer(x).add_(x), shared),
        "cat": On(lambda x, a, b: b(torch.cat([x, a(x)], 1)), shared, of("Conv", 8, 4, 1)),
        "halves": On(
            lambda x, a: torch.cat([x[:, :2], a(x.chunk(2, 1)[1])], 1), of("Conv", 2, 2, 3, 1, 1)
        ),
        "shuffle": shuffle,
        "ChannelShuffle": (nn.ChannelShuffle(2), shuffle),  # without gradients in torch 2.4
        "gate": On(lambda x, a: x * a(x.mean(tuple(range(2, x.ndim)), keepdim=True)), conv1),
        "crop": On(lambda x: x[..., 1:-1]),
        "steps": On(lambda x: x[..., ::2]),
        "normalize": On(lambda x: F.normalize(x, dim=1)),
        "statistics": On(lambda x: (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True)),
        "largest channel": (On(lambda x: x + x.amax(1, keepdim=True)),
                            On(lambda x: x + x.mean(1, keepdim=True))),
        "set": On(lambda x: with_first(x)),
        "attention": On(lambda x, a: attend(x, a), nn.MultiheadAttention(4, 2, batch_first=True)),
        "up and down": On(lambda x: average(F.interpolate(x, scale_factor=2), 2)),
        # Their units' fields differ, or no rule is known.
        "roll": On(lambda x: x.roll(1, -1)),
        "flip": On(lambda x: x.flip(-1)),
        "Upsample": nn.Upsample(scale_factor=2),
        "ConvTranspose stride 2": of("ConvTranspose", 4, 4, 3, 2, 1),
        "cumsum": On(lambda x: x.cumsum(-1)),
        "ReflectionPad": of("ReflectionPad", 1),
        "fft": On(lambda x: torch.fft.fft(x).abs()),
    }  # fmt: skip
    if D == 2:
        every |= {
            "BasicBlock": resnet.BasicBlock(4, 4),
            "Bottleneck": resnet.Bottleneck(4, 1),
            "InvertedResidual": mobilenetv2.InvertedResidual(4, 4, 1, 2),
            "SqueezeExcitation": torchvision.ops.SqueezeExcitation(4, 2),
            "Conv2dNormActivation": torchvision.ops.Conv2dNormActivation(4, 4, k),
            "CNBlock": convnext.CNBlock(4, 1.0, 0.0),
            "ShuffleNet": shufflenetv2.InvertedResidual(4, 4, 1),
            "Fire": squeezenet.Fire(4, 2, 2, 2),
            "corr": On(lambda x: conv.conv2d(x, kernels.to(x), None, (1, s), p, d)),
            "im2col": On(lambda x: conv.conv_transpose2d(x, kernels.to(x))),
            "d2lite max": (On(lambda x: pool.max_pool2d(x, k, s, q, d)), taps),
            "d2lite avg": (On(lambda x: pool.avg_pool2d(x, k, s, q)), avg),
            "d2lite BatchNorm": norm.BatchNorm(4),
            "d2lite InstanceNorm": norm.InstanceNorm(4),
            "d2lite GroupNorm": norm.GroupNorm(g, 4),
            "d2lite LayerNorm": On(channels_last, norm.LayerNorm(4)),
            "MaskedConv2d": channels.MaskedConv2d(torch.eye(4), square, padding=p),
            "separable": channels.DepthwiseSeparableConv2d(4, 4, k, s, p),
            "Subsampling": lenet.Subsampling(4),
            "unshuffle": On(lambda x, a: a(F.pixel_unshuffle(x, 2)), nn.Conv2d(16, 4, 1)),
        }
    return every


def with_first(x):
    y = torch.zeros_like(x)
    y[:, 1:] = x[:, :-1]
    y[:, 0] = x[:, 3]
    return y


def attend(x, attention):
    tokens = x.flatten(2).mT
    return attention(tokens, tokens, tokens, need_weights=False)[0].mT.reshape(x.shape)


REFUSED = {"roll", "flip", "Upsample", "ConvTranspose stride 2", "cumsum", "ReflectionPad", "fft"}


def pixels_seen(model, shape, units):
    """For each unit in the middle row, find the first and the last column that has a gradient."""
    seen = {unit: set() for unit in units}
    for _ in range(2):
        x = (torch.rand(1, *shape, dtype=torch.float64) + 0.5).requires_grad_()
        y = model(1 * x)
        y = y * (torch.rand_like(y) + 0.5)  # else what adds up to 1 has no gradient
        while y.ndim > 3:
            y = y[:, :, y.shape[2] // 2]
        for unit in units:
            (grad,) = torch.autograd.grad(y[..., unit].sum(), x, retain_graph=True)
            seen[unit] |= set(grad.abs().flatten(0, -2).sum(0).nonzero().flatten().tolist())
    return {unit: (min(columns), max(columns)) for unit, columns in seen.items() if columns}


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(1, 4))
def test_random_stacks_see_what_has_a_gradient_or_are_refused(seed, D, depth):
    numbers = random.Random(seed)
    torch.manual_seed(seed)
    choices = [kinds(lambda *choices: numbers.choice(choices), D) for _ in range(depth)]
    names = [numbers.choice(sorted(layers)) for layers in choices]
    layers = [layers[name] for layers, name in zip(choices, names, strict=True)]
    pairs = [layer if isinstance(layer, tuple) else (layer, layer) for layer in layers]
    model, smooth = (
        nn.Sequential(*side, nn.Identity()).double().eval() for side in zip(*pairs, strict=True)
    )
    for parameter in [*model.parameters(), *smooth.parameters()]:
        fan_in = max(1, parameter[0].numel()) if parameter.ndim > 1 else 1
        nn.init.uniform_(parameter, 0.5 / fan_in, 1.5 / fan_in)
    shape = (4, *{1: [], 2: [8], 3: [5, 5]}[D], 40)
    try:
        y = model(torch.zeros(1, *shape, dtype=torch.float64))
    except (RuntimeError, ValueError):  # a kernel does not fit
        return
    try:
        field = list(receptive_field(model, shape).values())[-1]
    except ValueError as error:
        assert str(error).startswith("model: ")
        assert REFUSED & set(names), names
        return
    W = y.shape[-1]
    for unit, (first, last) in pixels_seen(smooth, shape, {0, W // 2, W - 1}).items():
        middle = field.start + unit * field.jump
        ends = middle - (field.size - 1) / 2, middle + (field.size - 1) / 2
        assert ends[0] <= first and last <= ends[1], (names, field)
        # What a crop takes off lies in the field as padding does.
        inside = "crop" not in names if field.jump == 0 else unit == W // 2
        if inside and ends[0] >= (4 if field.jump else 0):  # away from the border
            assert first == ends[0], (names, field)
        if inside and ends[1] <= (35 if field.jump else 39):
            assert last == ends[1], (names, field)
