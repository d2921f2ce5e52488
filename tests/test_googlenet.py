"""GoogLeNet: the paper's Table 1, torchvision's numbers, and the small network of its modules."""

import copy

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy, max_pool2d

from d2lite.nets.googlenet import (
    TABLE_1,
    AuxiliaryHead,
    GoogLeNet,
    Inception,
    auxiliary_loss,
    conv,
    conv_norm,
    googlenet,
    inceptions,
    out_channels,
    small_googlenet,
)
from d2lite.trace import trace

# Row of Table 1: (output size, thousands of parameters, millions of operations).
PAPER = {
    "conv1": ((64, 112, 112), 2.7, 34),
    "conv2": ((192, 56, 56), 112, 360),
    "3a": ((256, 28, 28), 159, 128),
    "3b": ((480, 28, 28), 380, 304),
    "4a": ((512, 14, 14), 364, 73),
    "4b": ((512, 14, 14), 437, 88),
    "4c": ((512, 14, 14), 463, 100),
    "4d": ((528, 14, 14), 580, 119),
    "4e": ((832, 14, 14), 840, 170),
    "5a": ((832, 7, 7), 1072, 54),
    "5b": ((1024, 7, 7), 1388, 71),
    "linear": ((1000,), 1000, 1),
}
# What the table's own columns of channels give instead, where it is not what the table says.
# Its K is 1,024. The numbers for conv1 are those of a depthwise separable convolution, as Chollet
# (2017) says, with the multiplier of 8 that Ioffe & Szegedy (2015) give for the next one.
PARAMETERS = {"conv1": 9.2, "4a": 367, "4c": 498, "4d": 590, "4e": 847, "5a": 1018, "5b": 1409}
OPERATIONS = {"conv1": 118, "5a": 51}


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def rows(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Weights and multiply-adds of each row of Table 1."""
    names = {"stem.0": "conv1", "stem.3": "conv2", "stem.4": "conv2", "head.3": "linear"}
    weights = {name: p.numel() for name, p in model.named_parameters() if "weight" in name}
    sums: dict[str, tuple[int, int]] = {}
    for layer in trace(model, (3, 224, 224)):
        if layer.multiply_adds:
            start = ".".join(layer.name.split(".")[:2])
            row = names.get(start, start.removeprefix("layers."))
            before = sums.get(row, (0, 0))
            sums[row] = (
                before[0] + weights[f"{layer.name}.weight"],
                before[1] + layer.multiply_adds,
            )
    return sums


def test_table_1():
    with torch.device("meta"):
        model = googlenet()
    ours = rows(model)
    assert ours.keys() == PAPER.keys()
    for row, (_, parameters, operations) in PAPER.items():
        thousands, millions = ours[row][0] / 1024, ours[row][1] / 1e6
        assert thousands == pytest.approx(PARAMETERS.get(row, parameters), abs=1)
        assert millions == pytest.approx(OPERATIONS.get(row, operations), abs=1)
        assert (abs(thousands - parameters) <= 1) == (row not in PARAMETERS)
        assert (abs(millions - operations) <= 1) == (row not in OPERATIONS)
    layer = nn.Sequential(
        nn.Conv2d(3, 24, 7, 2, padding=3, groups=3, bias=False), nn.Conv2d(24, 64, 1, bias=False)
    )
    separable = trace(layer, (3, 224, 224))
    assert separable.total_parameters == 3 * 8 * 7 * 7 + 24 * 64 == 2712
    assert round(separable.total_parameters / 1e3, 1) == PAPER["conv1"][1]
    assert round(separable.total_multiply_adds / 1e6) == PAPER["conv1"][2]


def test_sizes_of_table_1():
    sizes = {}
    model = googlenet().eval()
    names = {"stem.0": "conv1", "stem.4": "conv2", "head": "linear"}
    for name, module in model.named_modules():
        row = names.get(name, name.removeprefix("layers."))
        if row in PAPER:
            module.register_forward_hook(
                lambda *call, row=row: sizes.update({row: tuple(call[-1].shape[1:])})
            )
    model(torch.zeros(1, 3, 224, 224))
    assert sizes == {row: size for row, (size, _, _) in PAPER.items()}


def test_auxiliary_heads_and_dropout_are_the_papers():
    model = googlenet(num_classes=7)
    assert [layer.p for layer in model.modules() if isinstance(layer, nn.Dropout)] == [
        0.7,
        0.7,
        0.4,
    ]
    for name, channels in {"4a": 512, "4d": 528}.items():
        assert out_channels(TABLE_1[name]) == channels
        head = model.auxiliary[name]
        assert isinstance(head, AuxiliaryHead)
        layers = trace(head, (channels, 14, 14))
        shapes = [layer.output_shape for layer in layers if layer.parameters]
        assert layers[0].output_shape == (channels, 4, 4)
        assert shapes == [(128, 4, 4), (1024,), (7,)]


def test_scores_equal_torchvisions_auxiliary_ones_included():
    torch.manual_seed(0)
    theirs = torchvision.models.googlenet(num_classes=7, aux_logits=True, init_weights=False)
    ours = googlenet(num_classes=7, torchvision=True)
    assert count(ours) == count(theirs)
    for layer in theirs.modules():  # make all normalizations different
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, std=0.1)
    tensors = theirs.state_dict().values()
    ours.load_state_dict(dict(zip(ours.state_dict(), tensors, strict=True)))
    dropouts = []
    for model in (ours, theirs):
        found = [layer for layer in model.modules() if isinstance(layer, nn.Dropout)]
        dropouts.append([layer.p for layer in found])
        for layer in found:
            layer.p = 0.0
    assert dropouts[0] == dropouts[1]

    said = {}  # by each head itself: torchvision 0.19 returns the two in the other order
    for head in (theirs.aux1, theirs.aux2):
        head.register_forward_hook(lambda head, inputs, output: said.update({head: output}))
    images = torch.randn(2, 3, 224, 224)
    scores, *auxiliary = ours(images)  # moves the running statistics, too
    expected = theirs(images)[0]
    torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-5)
    expected = [said[theirs.aux1], said[theirs.aux2]]
    torch.testing.assert_close(auxiliary, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.eval()(images), theirs.eval()(images), rtol=1e-5, atol=1e-5)


def test_torchvisions_parameters():
    with torch.device("meta"):
        ours = googlenet(torchvision=True)
        theirs = torchvision.models.googlenet(aux_logits=True, init_weights=False)
    assert count(ours) == count(theirs)


@settings(max_examples=25, deadline=None)
@given(
    in_channels=st.integers(1, 4),
    channels=st.lists(st.integers(1, 4), min_size=6, max_size=6),
    batch_norm=st.booleans(),
)
def test_inception_is_four_branches_side_by_side(in_channels, channels, batch_norm):
    one, reduce_3, three, reduce_5, five, pool = channels
    module = Inception(in_channels, channels, conv_norm if batch_norm else conv).double()
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    assert [(layer.in_channels, layer.out_channels, layer.kernel_size[0]) for layer in layers] == [
        (in_channels, one, 1),
        (in_channels, reduce_3, 1), (reduce_3, three, 3),
        (in_channels, reduce_5, 1), (reduce_5, five, 5),
        (in_channels, pool, 1),
    ]  # fmt: skip
    units = {layer: unit for unit in module.modules() for layer in unit.children()}
    a, b, c, d, e, f = (units[layer] for layer in layers)
    maps = torch.randn(3, in_channels, 6, 5).double()
    expected = torch.cat([a(maps), c(b(maps)), e(d(maps)), f(max_pool2d(maps, 3, 1, 1))], dim=1)
    torch.testing.assert_close(module(maps), expected)
    assert expected.shape == (3, out_channels(channels), 6, 5)
    assert (expected >= 0).all()
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in module.modules()) == batch_norm


def test_small_network():
    model = small_googlenet(num_classes=7)
    assert model(torch.rand(2, 1, 28, 28)).shape == (2, 7)
    assert len([layer for layer in model if isinstance(layer, Inception)]) == 2
    layers = trace(model, (1, 28, 28))
    assert (layers.total_parameters, layers.total_multiply_adds) == (99_335, 2_639_520)


def with_a_head() -> GoogLeNet:
    """A network of two modules, with a head between them."""
    row = 4, 4, 4, 4, 4, 4
    layers = inceptions(8, {"3a": row, "pool3": (3,), "4a": row}, conv_norm)
    heads = {"3a": AuxiliaryHead(16, 10, nn.AdaptiveAvgPool2d(4), 8, 16, conv_norm)}
    last = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
    return GoogLeNet(conv_norm(1, 8, 3, 2), layers, heads, last)


def test_gradient_of_the_auxiliary_scores_stops_where_they_are_taken():
    model = with_a_head()
    _, auxiliary = model(torch.rand(4, 1, 28, 28))
    auxiliary.square().sum().backward()
    reached = {
        name
        for name, layer in model.named_children()
        for p in layer.parameters()
        if p.grad is not None
    }
    assert reached == {"stem", "layers", "auxiliary"}
    assert all(p.grad is not None for p in model.layers["3a"].parameters())
    assert all(p.grad is None for p in model.layers["4a"].parameters())


@settings(max_examples=15, deadline=None)
@given(heads=st.integers(0, 3), training=st.booleans(), seed=st.integers(0, 99))
def test_the_loss_is_the_main_one_and_three_tenths_of_the_others(heads, training, seed):
    torch.manual_seed(seed)
    layers = {f"{i}": nn.Linear(5, 5) for i in range(3)}
    auxiliary = {f"{i}": nn.Linear(5, 4) for i in range(heads)}
    model = GoogLeNet(nn.Identity(), layers, auxiliary, nn.Linear(5, 4)).train(training)
    x, labels = torch.randn(6, 5), torch.randint(4, (6,))
    loss, scores = auxiliary_loss(model, x, labels)
    assert loss.shape == ()
    loss.backward()
    found = [p.grad for p in model.parameters()]

    counts, maps = [], x
    for name, layer in layers.items():
        maps = layer(maps)
        if name in auxiliary and training:
            counts.append(0.3 * cross_entropy(auxiliary[name](maps), labels))
    torch.testing.assert_close(scores, model.head(maps))
    expected = cross_entropy(model.head(maps), labels) + sum(counts)
    torch.testing.assert_close(loss, expected)
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(expected, parameters, allow_unused=True)
    for gradient, own in zip(gradients, found, strict=True):
        assert (gradient is None) == (own is None)
        if own is not None:
            torch.testing.assert_close(own, gradient)


def test_weights_start_as_in_he_2015():
    torch.manual_seed(0)
    for layer in [*with_a_head().modules(), *small_googlenet().modules()]:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            std, spread = (2 / layer.weight[0].numel()) ** 0.5, (2 * layer.weight.numel()) ** -0.5
            assert layer.weight.std().item() == pytest.approx(std, rel=5 * spread)
            assert layer.bias is None or not layer.bias.any()


def test_wrong_settings():
    with pytest.raises(ValueError, match="expected 6, got 3"):
        Inception(8, (1, 2, 3))


def test_copies_and_state_go_round(tmp_path):
    model = with_a_head()
    images = torch.rand(2, 1, 28, 28)
    model(images)  # moves the running statistics
    copied = copy.deepcopy(model)  # also right after training
    model.eval()
    assert torch.equal(copied.eval()(images), model(images))
    torch.save(model.state_dict(), tmp_path / "model.pt")
    other = with_a_head()
    other.load_state_dict(torch.load(tmp_path / "model.pt"))
    assert torch.equal(other.eval()(images), model(images))
