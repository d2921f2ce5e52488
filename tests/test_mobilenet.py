"""MobileNetV2: the paper's Table 2, torchvision's numbers, and gates that are torchvision's."""

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from d2lite.nets.mobilenet import (
    TABLE_2,
    InvertedResidual,
    SqueezeExcitation,
    conv_bn_relu6,
    mobilenet_v2,
    small_mobilenet,
)
from d2lite.trace import trace


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def copied(ours: nn.Module, theirs: nn.Module) -> nn.Module:
    """Take over all tensors, with random numbers in the normalizations; in evaluation mode."""
    for layer in theirs.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.weight.data, layer.running_var):
                tensor.uniform_(0.5, 1.5)
            for tensor in (layer.bias.data, layer.running_mean):
                tensor.normal_(std=0.1)
    tensors = theirs.eval().state_dict().values()
    ours.load_state_dict(dict(zip(ours.state_dict(), tensors, strict=True)))
    return ours.eval()


def test_published_network_is_that_of_table_2():
    with torch.device("meta"):
        ours, theirs = mobilenet_v2(), torchvision.models.mobilenet_v2()
    assert count(ours) == count(theirs) == 3_504_872
    shapes = [tensor.shape for tensor in ours.state_dict().values()]
    assert shapes == [tensor.shape for tensor in theirs.state_dict().values()]
    layers = trace(ours, (3, 224, 224))
    assert round(layers.total_multiply_adds / 1e6) == 301  # the paper: 300 million
    last = {int(layer.name.split(".")[0]): layer.output_shape for layer in layers}
    ends = [sum(stage[2] for stage in TABLE_2[: i + 1]) for i in range(len(TABLE_2))]
    assert [last[end] for end in ends] == [
        (16, 112, 112), (24, 56, 56), (32, 28, 28), (64, 14, 14), (96, 14, 14), (160, 7, 7),
        (320, 7, 7),
    ]  # fmt: skip


def test_scores_equal_torchvisions():
    torch.manual_seed(0)
    theirs = torchvision.models.mobilenet_v2(num_classes=7)
    ours = copied(mobilenet_v2(num_classes=7), theirs)
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(
    before=st.integers(1, 8),
    behind=st.integers(1, 8),
    stride=st.sampled_from([1, 2]),
    expansion=st.integers(1, 6),
    size=st.integers(3, 8),
)
def test_block_equals_torchvisions(before, behind, stride, expansion, size):
    torch.manual_seed(0)
    theirs = torchvision.models.mobilenetv2.InvertedResidual(before, behind, stride, expansion)
    ours = copied(InvertedResidual(before, behind, stride, expansion), theirs)
    x = torch.randn(2, before, size, size)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)
    assert ours(x).shape == (2, behind, -(-size // stride), -(-size // stride))
    added = stride == 1 and before == behind
    torch.testing.assert_close(ours(x), ours.path(x) + x if added else ours.path(x))


@settings(max_examples=15, deadline=None)
@given(channels=st.integers(1, 32), squeezed=st.integers(1, 8), size=st.integers(1, 6))
def test_gates_equal_torchvisions(channels, squeezed, size):
    torch.manual_seed(0)
    theirs = torchvision.ops.SqueezeExcitation(channels, squeezed)
    ours = copied(SqueezeExcitation(channels, squeezed), theirs)
    x = torch.randn(2, channels, size, size)
    torch.testing.assert_close(ours(x), theirs(x))
    gates = ours.gate(x)
    assert gates.shape == (2, channels, 1, 1) and gates.min() > 0 and gates.max() < 1
    moved = x.flatten(2)[..., torch.randperm(size * size)].view_as(x)
    torch.testing.assert_close(ours.gate(moved), gates)  # only the means count


def test_small_network_has_the_sizes_that_it_says():
    model = small_mobilenet()
    maps, sides = torch.rand(2, 1, 28, 28), []
    for layer in model[:7]:
        maps = layer(maps)
        sides.append(maps.shape[-1])
    assert sides == [14, 14, 7, 7, 4, 4, 4]
    assert [block.same_shape for block in model[1:6]] == [True, False, True, False, True]
    assert model(torch.rand(2, 1, 28, 28)).shape == (2, 10)
    assert count(model) == 39_082


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: InvertedResidual(8, 8, stride=0), "stride=0: must be ≥ 1"),
        (lambda: InvertedResidual(8, 8, expansion=0), "expansion=0: must be ≥ 1"),
        (lambda: SqueezeExcitation(8, 0), "squeezed=0: must be ≥ 1"),
        (lambda: conv_bn_relu6(0, 8, 3), "in_channels=0: must be ≥ 1"),
    ],
)
def test_wrong_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()
