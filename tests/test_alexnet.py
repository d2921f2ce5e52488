"""AlexNet to the letter of its paper; one tower, equal to torchvision's; and the small one."""

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from d2lite.nets.alexnet import (
    AlexNetBlock,
    alexnet,
    alexnet_one_tower,
    local_response_norm,
    small_alexnet,
)
from d2lite.trace import trace

# Kernels and neurons of section 3.5: kernels × their size, and one bias each.
PAPER = {
    "conv1": 96 * (11 * 11 * 3 + 1),
    "conv2": 256 * (5 * 5 * 48 + 1),
    "conv3": 384 * (3 * 3 * 256 + 1),
    "conv4": 384 * (3 * 3 * 192 + 1),
    "conv5": 256 * (3 * 3 * 192 + 1),
    "fc6": 4096 * (256 * 6 * 6 + 1),
    "fc7": 4096 * (4096 + 1),
    "fc8": 1000 * (4096 + 1),
}


def weighted(model: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    return [layer for layer in model.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_layers_have_the_papers_parameters_and_sizes():
    with torch.device("meta"):
        model = alexnet()
        layers = trace(model, (3, 224, 224))
    assert sum(PAPER.values()) == 60_965_224
    assert [count(layer) for layer in weighted(model)] == list(PAPER.values())
    assert layers.total_parameters == 60_965_224
    maps = [layer.output_shape for layer in layers if "Conv2d" in layer.description]
    # The numbers of neurons that the paper gives for layers 2 to 5 are those of these maps.
    assert maps == [(96, 55, 55), (256, 27, 27), (384, 13, 13), (384, 13, 13), (256, 13, 13)]
    assert [layer.groups for layer in weighted(model)[:5]] == [1, 2, 1, 2, 2]


def test_what_follows_each_convolution_is_the_papers():
    with torch.device("meta"):
        model = alexnet()
    blocks = [m for m in model.features if isinstance(m, AlexNetBlock)]
    response_norm = [any(isinstance(m, nn.LocalResponseNorm) for m in block) for block in blocks]
    pooling = [isinstance(block[-1], nn.MaxPool2d) for block in blocks]
    assert response_norm == [True, True, False, False, False]
    assert pooling == [True, True, False, False, True]
    order = [nn.Conv2d, nn.ReLU, nn.LocalResponseNorm, nn.MaxPool2d]
    assert [type(layer) for layer in blocks[0]] == order
    assert {(block[-1].kernel_size, block[-1].stride) for block in (blocks[0], blocks[4])} == {
        (3, 2)
    }
    linear, act, drop = nn.Linear, nn.ReLU, nn.Dropout
    assert [type(m) for m in model.classifier] == [linear, act, drop, linear, act, drop, linear]
    assert [m.p for m in model.classifier if isinstance(m, nn.Dropout)] == [0.5, 0.5]


@settings(max_examples=30, deadline=None)
@given(channels=st.integers(1, 12), seed=st.integers(0, 99), size=st.floats(0.1, 1000))
def test_response_norm_is_the_formula_of_section_3_3(channels, seed, size):
    torch.manual_seed(seed)
    a = size * torch.randn(2, channels, 3, 4, dtype=torch.double)
    k, n, alpha, beta = 2, 5, 1e-4, 0.75
    expected = torch.empty_like(a)
    for i in range(channels):
        near = a[:, max(0, i - n // 2) : min(channels - 1, i + n // 2) + 1]
        expected[:, i] = a[:, i] / (k + alpha * (near**2).sum(1)) ** beta
    torch.testing.assert_close(local_response_norm()(a), expected)


def test_it_starts_as_the_papers_section_5():
    torch.manual_seed(0)
    layers = weighted(alexnet())
    for layer in layers:
        draws = layer.weight.numel()
        assert abs(layer.weight.mean()) < 5 * 0.01 / draws**0.5
        assert layer.weight.std().item() == pytest.approx(0.01, rel=5 / (2 * draws) ** 0.5)
    starts = [layer.bias.unique().tolist() for layer in layers]
    assert starts == [[0], [1], [0], [1], [1], [1], [1], [0]]


def test_one_tower_is_torchvisions():
    torch.manual_seed(0)
    ours = alexnet_one_tower().eval()
    with torch.device("meta"):
        theirs = torchvision.models.alexnet().eval()
    assert count(ours) == count(theirs) == 61_100_840
    state = zip(theirs.state_dict(), ours.state_dict().values(), strict=True)
    theirs.load_state_dict(dict(state), assign=True)
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        expected = theirs(images)
        torch.testing.assert_close(ours(images), expected, rtol=1e-5, atol=1e-5)
    assert expected.std() > 1e-3  # so that 1e-5 says something


def test_num_classes():
    with torch.device("meta"):
        images = torch.empty(2, 3, 224, 224)
        assert alexnet(7)(images).shape == (2, 7)
        assert alexnet_one_tower(num_classes=7)(images).shape == (2, 7)
    assert small_alexnet(num_classes=3)(torch.zeros(2, 1, 28, 28)).shape == (2, 3)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_the_small_one_has_the_same_parts(batch_norm):
    model = small_alexnet(batch_norm=batch_norm)
    assert model(torch.rand(2, 1, 28, 28)).shape == (2, 10)
    blocks = list(model.features)
    assert len(blocks) == 5 and all(isinstance(block, AlexNetBlock) for block in blocks)

    def number(kind: type[nn.Module]) -> int:
        return sum(isinstance(module, kind) for module in model.modules())

    order = [nn.Conv2d, *[nn.BatchNorm2d] * batch_norm, nn.ReLU, nn.MaxPool2d]
    assert [type(layer) for layer in blocks[0]] == order
    norms = (number(nn.BatchNorm2d), number(nn.BatchNorm1d))
    assert norms == ((5, 2) if batch_norm else (0, 0))
    assert number(nn.ReLU) == 7
    pools = [module for module in model.modules() if isinstance(module, nn.MaxPool2d)]
    assert [(pool.kernel_size, pool.stride) for pool in pools] == [(3, 2)] * 3


def test_the_sizes_of_the_small_one():
    layers = trace(small_alexnet(), (1, 28, 28))
    assert (layers.total_parameters, layers.total_multiply_adds) == (117_418, 5_247_744)
    model = small_alexnet(dropout=0.7)
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [0.7, 0.7]


def test_the_small_one_starts_as_relu_needs():
    torch.manual_seed(0)
    for layer in weighted(small_alexnet()):
        std = 2**0.5 / layer.weight[0].numel() ** 0.5
        tolerance = 5 / (2 * layer.weight.numel()) ** 0.5
        assert layer.weight.std().item() == pytest.approx(std, rel=tolerance)
        assert not layer.bias.any()


@pytest.mark.parametrize("dropout", [1.1, -0.1])
def test_bad_settings(dropout):
    message = f"dropout probability has to be between 0 and 1, but got {dropout}"
    with pytest.raises(ValueError, match=message):
        small_alexnet(dropout=dropout)
