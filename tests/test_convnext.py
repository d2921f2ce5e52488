"""ConvNeXt: the paper's ConvNeXt-T, equal to torchvision's, and the small one."""

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from d2lite.nets.convnext import ConvNeXt, ConvNeXtBlock, LayerNorm2d, convnext_tiny
from d2lite.trace import trace


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def copied(ours: nn.Module, theirs: nn.Module) -> nn.Module:
    """Take over all tensors, in order; the scales are (C, 1, 1) there. In evaluation mode."""
    own = ours.state_dict()
    tensors = theirs.eval().state_dict().values()
    pairs = zip(own.items(), tensors, strict=True)
    ours.load_state_dict({name: t.view_as(mine) for (name, mine), t in pairs})
    return ours.eval()


def test_published_network_is_the_papers():
    with torch.device("meta"):
        ours, theirs = convnext_tiny(), torchvision.models.convnext_tiny()
    assert count(ours) == count(theirs) == 28_589_128
    layers = trace(ours, (3, 224, 224))
    assert round(layers.total_multiply_adds / 1e9, 1) == 4.5  # Table 1 of the paper
    assert [len(stage) - 1 for stage in ours.stages] == [3, 3, 9, 3]


def test_scores_equal_torchvisions():
    torch.manual_seed(0)
    theirs = torchvision.models.convnext_tiny(num_classes=7, layer_scale=0.5)
    ours = copied(convnext_tiny(num_classes=7), theirs)
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-4)


@settings(max_examples=15, deadline=None)
@given(channels=st.integers(1, 12), size=st.integers(1, 10))
def test_block_equals_torchvisions(channels, size):
    torch.manual_seed(0)
    theirs = torchvision.models.convnext.CNBlock(channels, 0.5, 0.0)
    ours = copied(ConvNeXtBlock(channels), theirs)
    x = torch.randn(2, channels, size, size)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)
    nn.init.zeros_(ours.scale)
    assert torch.equal(ours(x), x)


@settings(max_examples=15, deadline=None)
@given(channels=st.integers(2, 12), size=st.integers(1, 6))
def test_normalization_is_over_the_channels_of_each_place(channels, size):
    x = torch.randn(2, channels, size, size)
    mean, variance = x.mean(1, keepdim=True), x.var(1, correction=0, keepdim=True)
    y = LayerNorm2d(channels, eps=1e-6)(x)
    torch.testing.assert_close(y, (x - mean) / (variance + 1e-6).sqrt(), rtol=1e-3, atol=1e-4)


def test_small_network_is_stages_mean_and_linear_layer():
    torch.manual_seed(0)
    model = ConvNeXt(1, 2, (8, 12), (2, 1), num_classes=7)
    images = torch.rand(2, 1, 28, 28)
    maps = images
    for stage, shape in zip(model.stages, [(2, 8, 14, 14), (2, 12, 7, 7)], strict=True):
        maps = stage(maps)
        assert maps.shape == shape
    torch.testing.assert_close(model(images), model.fc(model.norm(maps.mean(dim=(2, 3)))))
    assert all(block.scale[0].item() == pytest.approx(1e-6) for block in model.stages[0][1:])


def test_weights_start_as_in_the_paper():
    torch.manual_seed(0)
    for layer in ConvNeXt(1, 2, (64, 64), (2, 2), num_classes=10).modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)) and layer.weight.numel() > 2000:
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1)
            assert not layer.bias.any()


def test_wrong_settings():
    with pytest.raises(ValueError, match="channels=0: must be ≥ 1"):
        ConvNeXtBlock(0)
    with pytest.raises(ValueError, match="shorter"):
        ConvNeXt(1, 2, (8, 16), (2,), num_classes=10)
