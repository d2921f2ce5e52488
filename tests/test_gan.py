"""d2lite.nets.gan: the paper's shapes and start, PyTorch's losses, and a game that is learned."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from d2lite.nets.gan import discriminator, discriminator_loss, generator, generator_loss


@pytest.mark.parametrize("size", [14, 28])
def test_one_makes_what_the_other_judges(size):
    torch.manual_seed(0)
    images = generator(z_dim=10, channels=4, size=size)(torch.randn(3, 10))
    assert images.shape == (3, 1, size, size) and images.abs().max() <= 1
    assert discriminator(channels=4, size=size)(images).shape == (3,)


def test_layers_are_those_of_the_paper():
    G, D = generator(), discriminator()
    up = [m for m in G if isinstance(m, nn.ConvTranspose2d)]
    down = [m for m in D if isinstance(m, nn.Conv2d)]
    assert [m.stride[0] for m in up] == [1, 2, 2] and [m.stride[0] for m in down] == [2, 2, 1]
    assert isinstance(G[-1], nn.Tanh) and not any(isinstance(m, nn.Linear) for m in [*G, *D])
    assert sum(isinstance(m, nn.BatchNorm2d) for m in G) == 2
    assert [type(m) for m in D[:4]] == [nn.Conv2d, nn.LeakyReLU, nn.Conv2d, nn.BatchNorm2d]
    torch.manual_seed(0)
    kernels = torch.cat(
        [m.weight.flatten() for m in generator(channels=32) if hasattr(m, "stride")]
    )
    assert kernels.std().item() == pytest.approx(0.02, rel=0.02)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 99), st.integers(1, 9), st.floats(0, 40))
def test_losses_are_cross_entropies(seed, count, scale):
    source = torch.Generator().manual_seed(seed)
    real, made = scale * torch.randn(2, count, generator=source, dtype=torch.float64)
    entropy = F.binary_cross_entropy_with_logits
    one, zero = torch.ones_like(real), torch.zeros_like(made)
    both = entropy(real, one) + entropy(made, zero)
    assert torch.allclose(discriminator_loss(real, made), both)
    assert torch.allclose(generator_loss(made), entropy(made, one))
    assert torch.allclose(generator_loss(made, saturating=True), -entropy(made, zero))


def test_gradients_where_the_discriminator_is_sure():
    made = torch.tensor(0.01, dtype=torch.float64).logit().requires_grad_()
    for saturating, slope in [(True, -0.01), (False, -0.99)]:
        loss = generator_loss(made, saturating)
        assert torch.autograd.grad(loss, made)[0].item() == pytest.approx(slope)


def test_a_generator_learns_where_points_are():
    torch.manual_seed(0)
    G = nn.Linear(1, 1)
    D = nn.Sequential(nn.Linear(1, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
    of_G = torch.optim.Adam(G.parameters(), lr=0.02, betas=(0.5, 0.999))
    of_D = torch.optim.Adam(D.parameters(), lr=0.02, betas=(0.5, 0.999))
    for _ in range(300):
        real, made = 3 + torch.randn(64, 1), G(torch.randn(64, 1))
        of_D.zero_grad()
        discriminator_loss(D(real), D(made.detach())).backward()
        of_D.step()
        of_G.zero_grad()
        generator_loss(D(made)).backward()
        of_G.step()
    assert G(torch.randn(1000, 1)).mean().item() == pytest.approx(3, abs=0.7)


def test_another_size_is_refused():
    with pytest.raises(ValueError, match="size=32"):
        generator(size=32)
    with pytest.raises(ValueError, match="channels=0"):
        discriminator(channels=0)
