"""Vision transformer: the paper's ViT-B/16, equal to torchvision's, and the small one."""

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from d2lite.nets.vit import ViT, encoder_layer, small_vit, vit_b_16
from d2lite.trace import trace

OURS = {  # torchvision's name: ours
    "ln_1": "norm1", "ln_2": "norm2", "self_attention": "self_attn",
    "mlp.0": "linear1", "mlp.3": "linear2",
}  # fmt: skip


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def renamed(name: str) -> str:
    """Our name for one of torchvision's."""
    for theirs, ours in OURS.items():
        name = name.replace(theirs, ours)
    name = name.replace("encoder.layers.encoder_layer_", "encoder.")
    name = name.replace("encoder.pos_embedding", "positions").replace("encoder.ln", "norm")
    return name.replace("conv_proj", "patches").replace("heads.head", "fc")


def copied(ours: nn.Module, theirs: nn.Module) -> nn.Module:
    """Take over all tensors, random ones; in evaluation mode."""
    for tensor in theirs.parameters():
        tensor.data += 0.1 * torch.randn_like(tensor)
    tensors = theirs.eval().state_dict().items()
    ours.load_state_dict({renamed(name): tensor for name, tensor in tensors})
    return ours.eval()


def test_published_network_is_the_papers():
    with torch.device("meta"):
        ours, theirs = vit_b_16(), torchvision.models.vit_b_16()
    assert count(ours) == count(theirs) == 86_567_656
    shapes = {name: tensor.shape for name, tensor in ours.state_dict().items()}
    assert shapes == {renamed(n): tensor.shape for n, tensor in theirs.state_dict().items()}
    work = [trace(model, (3, 224, 224)).total_multiply_adds for model in (ours, theirs)]
    assert work[0] == work[1] and round(work[0] / 1e9, 1) == 17.6


@settings(max_examples=10, deadline=None)
@given(
    heads=st.integers(1, 3),
    per_head=st.integers(1, 4),
    depth=st.integers(1, 3),
    patch_size=st.sampled_from([4, 7, 14, 28]),
)
def test_scores_equal_torchvisions(heads, per_head, depth, patch_size):
    torch.manual_seed(0)
    width = 2 * heads * per_head
    theirs = torchvision.models.VisionTransformer(
        28, patch_size, depth, heads, width, 4 * width, num_classes=7
    )
    ours = copied(ViT(3, 28, patch_size, width, depth, heads, num_classes=7), theirs)
    images = torch.randn(2, 3, 28, 28)
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-4)
    with torch.no_grad():  # PyTorch takes another way then
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-4)


@settings(max_examples=10, deadline=None)
@given(heads=st.integers(1, 3), tokens=st.integers(1, 6))
def test_layer_equals_torchvisions(heads, tokens):
    torch.manual_seed(0)
    width = 4 * heads
    theirs = torchvision.models.vision_transformer.EncoderBlock(heads, width, 4 * width, 0.0, 0.0)
    ours = copied(encoder_layer(width, heads), theirs)
    x = torch.randn(2, tokens, width)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)


def test_without_positions_the_order_of_the_patches_does_not_count():
    torch.manual_seed(0)
    model = small_vit().eval()
    image = torch.rand(1, 1, 28, 28)
    left, right = image.chunk(2, dim=3)
    swapped = torch.cat([right, left], dim=3)  # moves whole patches
    assert (model(image) - model(swapped)).abs().max() > 1e-4
    nn.init.zeros_(model.positions)
    torch.testing.assert_close(model(image), model(swapped), rtol=1e-4, atol=1e-5)


def test_layers_start_differently():
    model = small_vit(depth=2)
    one, other = (layer.linear1.weight for layer in model.encoder)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patch_size": 5}, "patch_size=5: must divide image_size=28"),
        ({"patch_size": 0}, "patch_size=0: must be ≥ 1"),
        ({"width": 30}, "heads=4: must divide width=30"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        small_vit(**settings)


@pytest.mark.parametrize("size", [(32, 32), (14, 56), (14, 14)])
def test_images_of_another_size_are_refused(size):
    """Of 32 × 32 pixels it would leave out 4 rows and columns, of 14 × 56 mistake the places."""
    with pytest.raises(ValueError, match=r"images=.*: must be 28 × 28 pixels"):
        small_vit()(torch.zeros(2, 1, *size))


def test_something_else_may_make_the_tokens():
    network = small_vit()
    network.patches = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(1, 48, 7, stride=7))
    assert network(torch.zeros(2, 1, 56, 56)).shape == (2, 10)
