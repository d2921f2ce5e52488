"""NiN: the authors' published definitions, layer by layer; and the small one."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from d2lite.nets.nin import NiN, NiNBlock, nin, nin_cifar10, small_nin
from d2lite.trace import trace

# Parameters of each convolution: maps × (kernel + bias). NIN/cifar-10_def, mavenlin/cuda-convnet.
CIFAR10 = [
    192 * (5 * 5 * 3 + 1), 160 * (192 + 1), 96 * (160 + 1),
    192 * (5 * 5 * 96 + 1), 192 * (192 + 1), 192 * (192 + 1),
    192 * (3 * 3 * 192 + 1), 192 * (192 + 1), 10 * (192 + 1),
]  # fmt: skip

# The Caffe definition nin_imagenet, gist d802a5849de39225bcc6 of mavenlin.
IMAGENET = [
    96 * (11 * 11 * 3 + 1), 96 * (96 + 1), 96 * (96 + 1),
    256 * (5 * 5 * 96 + 1), 256 * (256 + 1), 256 * (256 + 1),
    384 * (3 * 3 * 256 + 1), 384 * (384 + 1), 384 * (384 + 1),
    1024 * (3 * 3 * 384 + 1), 1024 * (1024 + 1), 1000 * (1024 + 1),
]  # fmt: skip


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def sides(model: nn.Module, size: int) -> list[int]:
    """List the side of the maps after each convolution and each pooling, where it changes."""
    result = []
    with torch.device("meta"):
        for layer in trace(model, (3, size, size)):
            if len(layer.output_shape) == 3 and [layer.output_shape[1]] != result[-1:]:
                result.append(layer.output_shape[1])
    return result


@pytest.mark.parametrize(
    ("make", "parameters", "total", "size", "maps"),
    [
        (nin_cifar10, CIFAR10, 966_986, 32, [32, 16, 8, 1]),
        (nin, IMAGENET, 7_595_176, 224, [54, 27, 13, 6, 1]),
    ],
)
def test_layers_are_those_of_the_published_definitions(make, parameters, total, size, maps):
    with torch.device("meta"):
        model = make()
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert [count(layer) for layer in convolutions] == parameters
    assert sum(parameters) == count(model) == total  # so there is nothing but convolutions
    # Means of 8 × 8 and of 6 × 6 pixels end the definitions: global ones.
    assert sides(model, size) == maps
    assert sum(isinstance(m, nn.ReLU) for m in model.modules()) == len(convolutions)


@pytest.mark.parametrize(("make", "where"), [(nin_cifar10, [2, 5]), (nin, [6])])
def test_dropout_follows_pooling(make, where):
    with torch.device("meta"):
        features = make().features
    dropouts = [i for i, layer in enumerate(features) if isinstance(layer, nn.Dropout)]
    assert dropouts == where
    assert all(isinstance(features[i - 1], nn.MaxPool2d) and features[i].p == 0.5 for i in where)


@settings(max_examples=30, deadline=None)
@given(
    widths=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    kernel_size=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    seed=st.integers(0, 99),
)
def test_a_block_is_a_perceptron_slid_over_the_image(widths, kernel_size, stride, padding, seed):
    torch.manual_seed(seed)
    block = NiNBlock(2, widths, kernel_size, stride, padding).double()
    images = torch.randn(2, 2, 6, 7, dtype=torch.double)
    windows = nn.functional.unfold(images, kernel_size, padding=padding, stride=stride)
    x = windows.transpose(1, 2)  # (N, positions, numbers in a window)
    for layer in block:
        if isinstance(layer, nn.Conv2d):
            x = torch.relu(x @ layer.weight.flatten(1).T + layer.bias)
    maps = block(images)
    torch.testing.assert_close(maps.flatten(2), x.transpose(1, 2))


def test_the_head_is_the_mean_of_each_map():
    maps = torch.rand(2, 10, 3, 5)
    torch.testing.assert_close(NiN(nn.Identity())(maps), maps.mean(dim=(2, 3)))


@pytest.mark.parametrize("batch_norm", [True, False])
def test_the_small_one_has_the_same_parts(batch_norm):
    model = small_nin(batch_norm=batch_norm)
    assert model(torch.rand(2, 1, 28, 28)).shape == (2, 10)
    assert sum(isinstance(module, NiNBlock) for module in model.modules()) == 3
    assert not any(isinstance(module, nn.Linear) for module in model.modules())
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert norms == (9 if batch_norm else 0)
    assert 2e6 < trace(model, (1, 28, 28)).total_multiply_adds < 6e6


def test_the_small_one_starts_as_he_et_al_do():
    torch.manual_seed(0)
    for layer in small_nin().modules():
        if isinstance(layer, nn.Conv2d):
            std = (2 / layer.weight[0].numel()) ** 0.5
            tolerance = 5 / (2 * layer.weight.numel()) ** 0.5
            assert layer.weight.std().item() == pytest.approx(std, rel=tolerance)
            assert not layer.bias.any()


def test_num_classes():
    assert small_nin(num_classes=3)(torch.zeros(2, 1, 28, 28)).shape == (2, 3)
    with torch.device("meta"):
        assert nin_cifar10(num_classes=7)(torch.empty(2, 3, 32, 32)).shape == (2, 7)
        assert nin(num_classes=7)(torch.empty(2, 3, 224, 224)).shape == (2, 7)


def test_bad_settings():
    with pytest.raises(ValueError, match=r"widths=\(\): must have one number at least"):
        NiNBlock(1, (), 3)
