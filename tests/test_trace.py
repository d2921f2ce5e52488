"""d2lite.trace: a trace equals what is known of the network, and what PyTorch's counter counts."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
import torchvision
from bs4 import BeautifulSoup
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parametrizations
from torch.utils.flop_counter import FlopCounterMode

from d2lite import conv
from d2lite.nets import alexnet, densenet, googlenet, lenet, nin, resnet, vgg
from d2lite.nets.transformer import LanguageModel
from d2lite.trace import Layer, count_parameters, trace


def lenet5_shaped() -> nn.Sequential:
    """Build LeNet-5's shape, as it is commonly taught, for 28 × 28."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Sigmoid(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.Sigmoid(), nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120), nn.Sigmoid(), nn.Linear(120, 84), nn.Sigmoid(), nn.Linear(84, 10),
    )  # fmt: skip


def parameters_of(model):
    return sum(parameter.numel() for parameter in model.parameters())


def multiply_adds_of(model, *input_shape):
    """Count with PyTorch's own counter, which watches the operators and not the modules."""
    x = torch.zeros(1, *input_shape, device=next(model.parameters(), torch.zeros(0)).device)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model.eval()(x)
    return counter.get_total_flops() // 2


def test_lenet_row_by_row():
    rows = trace(lenet5_shaped(), (1, 28, 28))
    assert [tuple(vars(row).values()) for row in rows] == [
        ("0", "Conv2d 1→6, 5×5, padding 2", (6, 28, 28), 156, 28 * 28 * 6 * 25),
        ("1", "Sigmoid", (6, 28, 28), 0, 0),
        ("2", "AvgPool2d, 2×2, stride 2", (6, 14, 14), 0, 0),
        ("3", "Conv2d 6→16, 5×5", (16, 10, 10), 2416, 10 * 10 * 16 * 6 * 25),
        ("4", "Sigmoid", (16, 10, 10), 0, 0),
        ("5", "AvgPool2d, 2×2, stride 2", (16, 5, 5), 0, 0),
        ("6", "Flatten", (400,), 0, 0),
        ("7", "Linear 400→120", (120,), 48_120, 48_000),
        ("8", "Sigmoid", (120,), 0, 0),
        ("9", "Linear 120→84", (84,), 10_164, 10_080),
        ("10", "Sigmoid", (84,), 0, 0),
        ("11", "Linear 84→10", (10,), 850, 840),
    ]
    assert rows.total_parameters == 61_706
    assert rows.total_multiply_adds == 416_520


def test_resnet18_from_its_published_table():
    """He et al., "Deep residual learning for image recognition", 2016, table 1."""
    work = 112**2 * 64 * 3 * 7**2 + 512 * 1000  # the first convolution and the last layer
    for stage, side in enumerate((56, 28, 14, 7)):
        c = 64 * 2**stage
        work += 4 * side**2 * c * c * 9  # four 3×3 convolutions
        if stage:  # the first of them takes half the channels, and so does the 1×1 of the shortcut
            work += side**2 * c * (c // 2) * (1 - 9)
    model = torchvision.models.resnet18()
    rows = trace(model, (3, 224, 224))
    assert rows.total_multiply_adds == work == 1_814_073_344
    assert rows.total_multiply_adds == multiply_adds_of(model, 3, 224, 224)
    assert rows.total_parameters == 11_689_512
    assert [row.name for row in rows][:5] == ["conv1", "bn1", "relu", "maxpool", "layer1.0.conv1"]
    assert rows[-1] == Layer("fc", "Linear 512→1000", (1000,), 513_000, 512_000)


TORCHVISION = """
    alexnet convnext_tiny convnext_small convnext_base convnext_large densenet121 efficientnet_b0
    efficientnet_b1 efficientnet_b2 efficientnet_v2_s googlenet inception_v3 mnasnet0_5 mnasnet0_75
    mnasnet1_0 mnasnet1_3 mobilenet_v2 mobilenet_v3_large mobilenet_v3_small resnet18 resnet34
    resnet50 resnet101 resnext50_32x4d resnext101_32x8d shufflenet_v2_x0_5 shufflenet_v2_x1_0
    shufflenet_v2_x1_5 shufflenet_v2_x2_0 squeezenet1_0 squeezenet1_1 swin_t swin_v2_t vgg11
    vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn vit_b_16 vit_b_32 vit_l_16 vit_l_32
    wide_resnet50_2
"""


@pytest.mark.parametrize("build", TORCHVISION.split())
def test_torchvision_models(build):
    """On the meta device: shapes only, at no cost."""
    arguments = {"init_weights": False} if build in ("googlenet", "inception_v3") else {}
    with torch.device("meta"):
        model = getattr(torchvision.models, build)(**arguments)
    shape = (3, 299, 299) if build == "inception_v3" else (3, 224, 224)
    rows = trace(model, shape)
    assert rows.total_parameters == parameters_of(model)
    assert rows.total_multiply_adds == multiply_adds_of(model, *shape)
    unused = [row.name for row in rows if row.output_shape is None]
    assert all("aux" in name.lower() for name in unused)
    if build == "vit_b_16":
        assert rows.total_multiply_adds == 17_563_828_224


OURS = [
    (alexnet.alexnet, (3, 224, 224)), (alexnet.alexnet_one_tower, (3, 224, 224)),
    (alexnet.small_alexnet, (1, 28, 28)), (densenet.densenet121, (3, 64, 64)),
    (densenet.small_densenet, (1, 28, 28)), (googlenet.googlenet, (3, 224, 224)),
    (googlenet.small_googlenet, (1, 28, 28)), (lenet.LeNet, (1, 28, 28)),
    (nin.nin, (3, 224, 224)), (nin.nin_cifar10, (3, 32, 32)), (nin.small_nin, (1, 28, 28)),
    (resnet.resnet18, (3, 64, 64)), (resnet.resnet34, (3, 64, 64)),
    (resnet.resnet50, (3, 64, 64)), (vgg.vgg11, (3, 224, 224)), (vgg.vgg16, (3, 224, 224)),
    (vgg.small_vgg, (1, 28, 28)),
]  # fmt: skip


@pytest.mark.parametrize(("build", "shape"), OURS)
def test_our_models(build, shape):
    with torch.device("meta"):
        model = build()
    rows = trace(model, shape)
    assert rows.total_parameters == parameters_of(model)
    assert rows.total_multiply_adds == multiply_adds_of(model, *shape)


def test_lenet5_counts_the_kernels_that_it_has():
    rows = {row.name: row for row in trace(lenet.LeNet5(), (1, 32, 32))}
    assert rows["C3"].multiply_adds == 10 * 10 * 60 * 25  # 60 kernels of 5×5, not 6·16


class Function(nn.Module):
    """A function of the image and of modules."""

    def __init__(self, function, *parts):
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)

    def forward(self, x):
        return self.function(x, *self.parts)


@pytest.mark.parametrize(
    ("model", "shape", "work"),
    [
        (parametrizations.weight_norm(nn.Conv2d(2, 3, 3, bias=False)), (2, 5, 5), 9 * 54),
        (parametrizations.spectral_norm(nn.Conv2d(2, 3, 3)), (2, 5, 5), 9 * 54),
        (parametrizations.orthogonal(nn.Linear(4, 4)), (4,), None),
        (Function(lambda x, f: f(x.flatten(0, 1)), nn.Linear(4, 3)), (5, 4), 5 * 12),
        (Function(lambda x, f: f(x.flatten(0, 1)[:, None]), nn.Conv2d(1, 1, 3)), (5, 4, 4), 5 * 36),
        (
            Function(lambda x, f: f(x, x, x)[0], nn.MultiheadAttention(4, 2, batch_first=True)),
            (5, 4),
            4 * 5 * 16 + 2 * 5 * 5 * 4,
        ),
        (nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), (5, 4), 4 * 80 + 200 + 2 * 160),
        (Function(lambda x, f: F.linear(x, f.weight), nn.Linear(4, 3, bias=False)), (4,), 12),
        (Function(lambda x: x @ x.mT), (5, 4), 100),
        (Function(lambda x: conv.conv2d(x, torch.ones(3, 1, 2, 2))), (1, 4, 4), 9 * 12),
        (nn.GRU(4, 3, batch_first=True), (5, 4), 5 * (36 + 27)),
        (nn.Conv3d(1, 2, 3), (1, 5, 5, 5), 27 * 54),
    ],
)
def test_all_multiply_adds_count(model, shape, work):
    rows = trace(model, shape)
    assert rows.total_multiply_adds == multiply_adds_of(model, *shape)
    assert work is None or rows.total_multiply_adds == work
    assert rows.total_parameters == parameters_of(model)
    assert "not called" not in repr(rows)


def test_fused_recurrent_layers_count_as_others():
    """PyTorch's counter misses oneDNN's LSTM; a GRU has 3 gates, an LSTM 4."""
    gru, lstm = (kind(4, 3, 2, batch_first=True, bidirectional=True) for kind in (nn.GRU, nn.LSTM))
    assert 3 * trace(lstm, (5, 4)).total_multiply_adds == 4 * trace(gru, (5, 4)).total_multiply_adds


def test_work_between_layers_belongs_to_the_module_around_them():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            return F.linear(self.first(x), self.second.weight)

    rows = trace(Net(), (4,))
    assert [(row.name, row.parameters, row.multiply_adds) for row in rows] == [
        ("first", 20, 16),
        ("", 8, 8),
        ("second", 2, 0),  # its bias is not used
    ]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([nn.Conv2d, nn.ConvTranspose2d]),
    st.integers(1, 3),
    *[st.integers(1, 2)] * 2,
    *[st.tuples(st.integers(1, 3), st.integers(1, 3))] * 3,
)
def test_multiply_adds_are_counted_by_ones(kind, groups, c_in, c_out, kernel, stride, dilation):
    """Where every weight and pixel is 1 and nothing is padded, the outputs add up to the uses."""
    layer = kind(
        groups * c_in, groups * c_out, kernel, stride, dilation=dilation, groups=groups, bias=False
    ).double()
    nn.init.ones_(layer.weight)
    shape = (groups * c_in, 9, 8)
    total = layer(torch.ones(1, *shape, dtype=torch.float64)).sum().item()
    assert trace(layer, shape).total_multiply_adds == total


@pytest.mark.parametrize(
    "layer, shape, uses",
    [
        (nn.Conv1d(2, 3, 5), (2, 9), 5 * 3 * 2 * 5),
        (nn.Conv3d(1, 1, 2), (1, 3, 3), None),
        (nn.ConvTranspose1d(2, 3, 4, stride=2), (2, 9), 9 * 2 * 3 * 4),
        (nn.Linear(7, 3), (7,), 21),
        (nn.Linear(7, 3), (5, 7), 5 * 21),
        (nn.Conv2d(1, 2, 3, padding=1), (1, 4, 4), 16 * 2 * 9),
    ],
)
def test_multiply_adds_by_hand(layer, shape, uses):
    if uses is None:
        with pytest.raises(ValueError, match=r"the model \(Conv3d 1→1, 2×2×2\) received"):
            trace(layer, shape)
    else:
        assert trace(layer, shape).total_multiply_adds == uses


@pytest.mark.parametrize(
    "layer, shape, description",
    [
        (nn.Conv2d(4, 8, (1, 3), (2, 1)), (4, 9, 9), "Conv2d 4→8, 1×3, stride 2×1"),
        (nn.Conv2d(4, 8, 3, groups=4), (4, 9, 9), "Conv2d 4→8, 3×3, groups 4"),
        (nn.Conv2d(1, 1, 3, padding="same"), (1, 9, 9), "Conv2d 1→1, 3×3, padding same"),
        (nn.Conv2d(1, 1, 3, dilation=2), (1, 9, 9), "Conv2d 1→1, 3×3, dilation 2"),
        (
            nn.ConvTranspose2d(1, 2, 4, 2, 1, 1),
            (1, 9, 9),
            "ConvTranspose2d 1→2, 4×4, stride 2, padding 1, output_padding 1",
        ),
        (nn.MaxPool1d(3), (2, 9), "MaxPool1d, 3, stride 3"),
        (nn.Dropout(), (9,), "Dropout"),
    ],
)
def test_descriptions(layer, shape, description):
    assert trace(layer, shape)[0].description == description


class Scale(nn.Module):
    """A layer of our own: parameters and no children."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return x * self.gain[:, None, None]


class Wrapped(nn.Module):
    """A parent that owns a parameter beside its children."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Identity())
        self.shift = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return self.inner(x) + self.shift


def test_modules_of_our_own_are_rows():
    rows = trace(nn.Sequential(Scale(), Wrapped()), (3, 4, 4))
    assert [(row.name, row.parameters) for row in rows] == [
        ("0", 3),
        ("1.inner.0", 12),
        ("1.inner.1", 0),
        ("1", 1),
    ]


def test_a_layer_called_twice_has_two_rows_and_its_parameters_once():
    shared = nn.Linear(5, 5)
    rows = trace(nn.Sequential(shared, nn.ReLU(), shared), (5,))
    assert [(row.name, row.parameters, row.multiply_adds) for row in rows] == [
        ("0", 30, 25),
        ("1", 0, 0),
        ("0", 0, 25),
    ]


def test_tied_weights_count_once():
    encode, decode = nn.Linear(5, 5), nn.Linear(5, 5)
    decode.weight = encode.weight
    model = nn.Sequential(encode, decode)
    assert [row.parameters for row in trace(model, (5,))] == [30, 5]
    assert trace(model, (5,)).total_parameters == parameters_of(model) == 35


def test_a_layer_that_is_not_called_comes_last_and_counts():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.auxiliary, self.main = nn.Linear(5, 3), nn.Linear(5, 2)

        def forward(self, x):
            return self.auxiliary(x) if self.training else self.main(x)

    rows = trace(Idle(), (5,))
    assert rows[1:] == (Layer("auxiliary", "Linear 5→3", None, 18, 0),)
    assert rows.total_parameters == 30
    assert "not called" in repr(rows)


def test_structured_inputs_and_outputs():
    class Split(nn.Module):
        def forward(self, *, x):
            return {"note": None, "halves": x.chunk(2, dim=1)}

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.split, self.last = Split(), nn.Linear(3, 1)

        def forward(self, x):
            return self.last(self.split(x=x)["halves"][0])

    assert trace(Net(), (6,))[0].output_shape == (3,)
    with pytest.raises(ValueError, match=r"last \(Linear 3→1\) received 4 and failed"):
        trace(Net(), (8,))
    with pytest.raises(ValueError, match=r"split \(Split\) received 5 × 4 and failed"):
        net = Net()
        net.split.forward = lambda x: x.view(7)
        trace(net, (5, 4))


def noisy() -> nn.Sequential:
    class Noise(nn.Module):
        def forward(self, x):
            return x + torch.rand_like(x)

    return nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), Noise(), nn.Dropout(), nn.Flatten(), nn.LazyLinear(1)
    )


@pytest.mark.parametrize("shape", [(1, 6, 6), (1, 9, 9)])  # the second one fails
def test_the_model_is_left_as_it_was(shape):
    model = noisy()
    model(torch.randn(2, 1, 6, 6)).sum().backward()
    model[1].eval()
    state, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    gradients = [p.grad.clone() for p in model.parameters()]
    random = torch.get_rng_state()
    try:
        trace(model, shape)
    except ValueError:
        assert shape == (1, 9, 9)
    assert torch.equal(torch.get_rng_state(), random)
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(map(torch.equal, (p.grad for p in model.parameters()), gradients))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_failure_names_the_layer_and_what_it_received():
    with pytest.raises(ValueError) as caught:
        trace(lenet5_shaped(), (1, 32, 32))
    message = str(caught.value)
    assert message.startswith("input_shape=(1, 32, 32): 7 (Linear 400→120) received 576 and failed")
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_failure_between_layers_names_the_module_around_it():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = nn.Sequential(nn.Identity())

        def forward(self, x):
            return self.block(x).view(1, 7)

    with pytest.raises(ValueError, match=r"the model \(Net\) received 5 and failed: shape"):
        trace(Net(), (5,))
    with pytest.raises(ValueError, match=r"0 \(Net\) received 5 and failed: shape"):
        trace(nn.Sequential(Net()), (5,))


def test_a_failure_before_the_first_layer():
    model = nn.Identity()
    model.register_forward_pre_hook(lambda module, args: 1 / 0)
    with pytest.raises(ValueError, match=r"the model \(Identity\) received 5 and failed: division"):
        trace(model, (5,))


@pytest.mark.parametrize(
    "shape, error",
    [
        ((1, 3, 8, 8, 8), ValueError),
        ((), ValueError),
        ((3, 0, 8), ValueError),
        ((3, -8, 8), ValueError),
        (784, TypeError),
        ((3, 8.0, 8), TypeError),
        ((True, 8, 8), TypeError),
        (None, TypeError),
    ],
)
def test_bad_input_shapes(shape, error):
    with pytest.raises(error) as caught:
        trace(nn.Identity(), shape)
    assert str(caught.value).startswith(f"input_shape={shape}: must be ")


def test_the_model_must_be_a_module():
    with pytest.raises(TypeError, match=r"^model=a function: must be a Module$"):
        trace(lambda x: x, (1,))


def test_the_input_has_the_models_dtype():
    assert trace(nn.Linear(3, 2).double(), (3,))[0].output_shape == (2,)


def test_text_is_aligned():
    rows = trace(lenet5_shaped(), (1, 28, 28))
    title, *lines = str(rows).splitlines()
    assert title == "Sequential, input 1 × 28 × 28"
    assert len({len(line) for line in lines}) == 1
    assert lines[-1].split() == ["Total", "61,706", "416,520"]
    for number in ("156", "48,120", "117,600", "10 × 10"):
        assert number in repr(rows)


def test_html_is_a_table_with_the_same_cells():
    rows = trace(nn.Sequential(lenet5_shaped(), nn.Identity()), (1, 28, 28))
    html = BeautifulSoup(rows._repr_html_(), "html.parser")
    table = html.find("table", class_="trace")
    assert table.caption.text == "Sequential, input 1 × 28 × 28"
    head = [cell.text for cell in table.thead.find_all("th", scope="col")]
    assert head == ["Layer", "Output shape", "Parameters", "Multiply-adds"]
    body = table.tbody.find_all("tr")
    assert len(body) == len(rows)
    first = body[0].find_all(["th", "td"])
    assert first[0]["scope"] == "row"
    assert [cell.text for cell in first] == [
        "0.0 Conv2d 1→6, 5×5, padding 2", "6 × 28 × 28", "156", "117,600",
    ]  # fmt: skip
    assert all("text-align: right" in cell["style"] for cell in table.find_all("td"))
    total = [cell.text for cell in table.tfoot.find_all(["th", "td"])]
    assert total == ["Total", "", "61,706", "416,520"]
    assert "color" not in str(html)


def test_long_names_can_break_at_their_dots():
    model = nn.Sequential(nn.Sequential(nn.Identity()))
    assert "<code>0.<wbr>0</code> Identity" in trace(model, (1,))._repr_html_()


def test_names_are_escaped():
    model = nn.Sequential()
    model.add_module("<b>&", nn.Identity())
    assert "&lt;b&gt;&amp;" in trace(model, (1,))._repr_html_()


def test_a_trace_is_a_sequence():
    rows = trace(lenet5_shaped(), (1, 28, 28))
    assert len(rows) == 12 == len(list(rows))
    assert rows[0].name == "0" and rows[-1].name == "11"
    assert rows[0] in rows
    assert math.prod(rows[-1].output_shape) == 10


def test_parameters_that_learn_are_counted_once():
    with torch.device("meta"):
        assert count_parameters(torchvision.models.vgg16(weights=None)) == 138_357_544
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    tied[1].weight = tied[0].weight
    assert count_parameters(tied) == 16 + 4 + 4
    tied[0].bias.requires_grad_(False)
    assert count_parameters(tied) == 16 + 4


def test_a_model_of_tokens_is_traced_by_the_type_of_its_input() -> None:
    model = LanguageModel(95, context=64, d_model=32, nhead=4, num_layers=2)
    found = trace(model, (20,), dtype=torch.int64)
    with FlopCounterMode(display=False) as flops:
        model(torch.zeros(1, 20, dtype=torch.int64))
    assert found.total_multiply_adds == flops.get_total_flops() // 2
    assert found.total_parameters == sum(p.numel() for p in model.parameters())
    assert found[0].description == "Embedding 95→32"
    with pytest.raises(ValueError, match=r"tokens .* failed"):
        trace(model, (20,))
    with pytest.raises(TypeError, match="dtype='int64': must be a dtype"):
        trace(model, (20,), dtype="int64")


def test_a_scripted_module_is_refused():
    """Its layers take no hooks."""
    scripted = torch.jit.script(nn.Conv2d(1, 2, 3))
    with pytest.raises(ValueError, match="model: 0 is a ScriptModule: its layers cannot be"):
        trace(nn.Sequential(scripted), (1, 5, 5))
    with pytest.raises(ValueError, match="model: it is a ScriptModule"):
        trace(scripted, (1, 5, 5))
