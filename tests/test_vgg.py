"""VGG: the configurations of the paper's Table 1, equal to torchvision's; and the small one."""

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from d2lite.nets import vgg
from d2lite.nets.vgg import VGGBlock, small_vgg, vgg11, vgg13, vgg16, vgg19
from d2lite.trace import trace

NETWORKS = {  # name: (function, millions of parameters in Table 2, exactly)
    "vgg11": (vgg11, 133, 132_863_336),
    "vgg13": (vgg13, 133, 133_047_848),
    "vgg16": (vgg16, 138, 138_357_544),
    "vgg19": (vgg19, 144, 143_667_240),
}


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_layers_and_parameters_are_those_of_the_paper_and_of_torchvision(name, batch_norm):
    make, millions, exactly = NETWORKS[name]
    with torch.device("meta"):
        ours = make(batch_norm=batch_norm)
        theirs = torchvision.models.get_model(name + "_bn" * batch_norm)
    shapes = [tensor.shape for tensor in ours.state_dict().values()]
    assert shapes == [tensor.shape for tensor in theirs.state_dict().values()]
    assert count(ours) == count(theirs)
    if not batch_norm:
        assert count(ours) == exactly
        assert round(count(ours) / 1e6) == millions
    weighted = [m for m in ours.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert len(weighted) == int(name[3:])  # "weight layers", as Table 1 counts them
    kernels = {m.kernel_size for m in weighted if isinstance(m, nn.Conv2d)}
    assert kernels == {(3, 3)}

    def kinds(model: nn.Module) -> list[str]:
        leaves = [m for m in model.modules() if not list(m.children())]
        return [str(m).replace("inplace=True", "") for m in leaves if "Adaptive" not in str(m)]

    assert kinds(ours) == kinds(theirs)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_scores_are_torchvisions(batch_norm):
    torch.manual_seed(0)
    with torch.device("meta"):
        ours = vgg11(batch_norm=batch_norm).eval()
        theirs = torchvision.models.get_model("vgg11" + "_bn" * batch_norm).eval()
    ours.to_empty(device="cpu")
    for tensor in ours.state_dict().values():
        if tensor.ndim > 1:  # signals keep their size
            reach = (6 / tensor[0].numel()) ** 0.5
            nn.init.uniform_(tensor, -reach, reach)
        elif tensor.is_floating_point():
            nn.init.uniform_(tensor, 0.5, 1.5)
    state = zip(theirs.state_dict(), ours.state_dict().values(), strict=True)
    theirs.load_state_dict(dict(state), assign=True)
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        expected = theirs(images)
        torch.testing.assert_close(ours(images), expected, rtol=1e-5, atol=1e-5)
    assert expected.std() > 1e-3  # so that 1e-5 says something


@settings(max_examples=30, deadline=None)
@given(
    channels=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    num_convs=st.integers(1, 3),
    size=st.tuples(st.integers(2, 9), st.integers(2, 9)),
    batch_norm=st.booleans(),
)
def test_a_block_halves_the_size(channels, num_convs, size, batch_norm):
    block = VGGBlock(*channels, num_convs, batch_norm)
    maps = block(torch.rand(2, channels[0], *size))
    assert maps.shape == (2, channels[1], size[0] // 2, size[1] // 2)
    convolutions = [layer for layer in block if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == num_convs
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in block) == num_convs * batch_norm


@pytest.mark.parametrize("num_convs", [1, 2, 3])
def test_a_stack_sees_as_far_as_one_large_kernel_and_has_fewer_weights(num_convs):
    C, size = 16, 2 * num_convs + 1  # section 2.3 of the paper, which does not count biases
    stack = VGGBlock(C, C, num_convs)
    assert count(stack) == 9 * num_convs * C**2 + num_convs * C <= (size * C) ** 2 + num_convs * C
    assert receptive_field(stack, C) == size


def receptive_field(block: nn.Module, channels: int) -> int:
    """Count, in one row, the pixels on which a pixel depends, all weights being positive."""
    for parameter in block.parameters():
        nn.init.ones_(parameter)
    images = torch.ones(1, channels, 15, 15, requires_grad=True)
    without_pooling = nn.Sequential(*list(block)[:-1])
    without_pooling(images)[0, 0, 7, 7].backward()
    return int((images.grad[0, 0, 7] != 0).sum())


@pytest.mark.parametrize("batch_norm", [True, False])
def test_the_small_one_has_three_blocks(batch_norm):
    model = small_vgg(batch_norm=batch_norm)
    assert model(torch.rand(2, 1, 28, 28)).shape == (2, 10)
    assert all(isinstance(block, VGGBlock) for block in model.features)
    convolutions = [
        [layer for layer in block if isinstance(layer, nn.Conv2d)] for block in model.features
    ]
    assert [len(block) for block in convolutions] == [1, 2, 3]
    assert [block[-1].out_channels for block in convolutions] == [16, 32, 64]
    norms = [m for m in model.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    assert len(norms) == (8 if batch_norm else 0)  # one for each layer but the last


def test_the_small_one_is_small():
    layers = trace(small_vgg(), (1, 28, 28))
    assert 2e6 < layers.total_multiply_adds < 8e6


@pytest.mark.parametrize("make", [small_vgg, lambda: vgg.imagenet_vgg([(8, 1), (8, 2)])])
def test_weights_start_as_he_et_al_do(make):
    torch.manual_seed(0)
    for layer in make().modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            std = (2 / layer.weight[0].numel()) ** 0.5
            tolerance = 5 / (2 * layer.weight.numel()) ** 0.5
            assert layer.weight.std().item() == pytest.approx(std, rel=tolerance)
            assert not layer.bias.any()


def test_num_classes():
    with torch.device("meta"):
        for make in (vgg11, vgg13, vgg16, vgg19):
            assert make(num_classes=7)(torch.empty(2, 3, 224, 224)).shape == (2, 7)
    assert small_vgg(num_classes=3)(torch.zeros(2, 1, 28, 28)).shape == (2, 3)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"num_convs": 0}, "num_convs=0: must be ≥ 1"),
        ({"num_convs": 1.0}, "num_convs=1.0: must be an int"),
    ],
)
def test_bad_settings(setting, message):
    with pytest.raises((TypeError, ValueError), match=message):
        VGGBlock(1, 8, **setting)
