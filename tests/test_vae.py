"""d2lite.nets.vae against torch.distributions, and that what it trains is a bound that rises."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import distributions as D
from torch import nn

from d2lite.data import fashion_mnist
from d2lite.nets.vae import VAE, gaussian_kl, negative_elbo, reparametrize
from d2lite.train import fit


def gaussian(seed: int, shape: tuple[int, ...], size: float) -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(seed)
    mean, log_var = size * torch.randn(2, *shape, generator=source)
    return mean.requires_grad_(), log_var.requires_grad_()


@settings(max_examples=50)
@given(
    st.integers(0, 99), st.lists(st.integers(1, 4), min_size=1, max_size=3), st.floats(0.01, 2.5)
)
def test_the_divergence_and_its_gradient_are_those_of_torch(seed, shape, size):
    mean, log_var = gaussian(seed, tuple(shape), size)
    prior = D.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    theirs = D.kl_divergence(D.Normal(mean, (log_var / 2).exp()), prior)
    ours = gaussian_kl(mean, log_var)
    assert ours.shape == mean.shape and (ours >= -1e-6).all()
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    for a, b in zip(
        torch.autograd.grad(ours.sum(), (mean, log_var)),
        torch.autograd.grad(theirs.sum(), (mean, log_var)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_the_divergence_by_hand():
    found = gaussian_kl(torch.tensor([1.0]), 2 * torch.tensor([0.5]).log())
    assert found.item() == pytest.approx((1 + 0.25 - 1) / 2 + 0.6931, abs=1e-4)
    assert gaussian_kl(torch.zeros(2, 3), torch.zeros(2, 3)).eq(0).all()


@settings(max_examples=20)
@given(st.integers(0, 99))
def test_it_draws_as_rsample_does_with_the_same_gradient(seed):
    mean, log_var = gaussian(seed, (5, 3), 1.0)
    torch.manual_seed(seed)
    ours = reparametrize(mean, log_var)
    torch.manual_seed(seed)
    theirs = D.Normal(mean, (log_var / 2).exp()).rsample()
    torch.testing.assert_close(ours, theirs)
    for a, b in zip(
        torch.autograd.grad(ours.square().sum(), (mean, log_var)),
        torch.autograd.grad(theirs.square().sum(), (mean, log_var)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_the_drawn_points_have_the_mean_and_the_spread():
    torch.manual_seed(0)
    z = reparametrize(torch.full((20_000,), 3.0), torch.full((20_000,), -1.0))
    assert z.mean().item() == pytest.approx(3, abs=0.03)
    assert z.var().item() == pytest.approx(0.3679, rel=0.05)


@pytest.mark.parametrize("latent", [1, 2, 16])
def test_shapes_and_the_encoder_backwards(latent):
    model = VAE(latent, width=4)
    images = torch.rand(3, 1, 28, 28)
    mean, log_var = model.encode(images)
    assert mean.shape == log_var.shape == (3, latent)
    logits, *_ = model(images)
    assert logits.shape == images.shape == model.decode(mean).shape
    copied = copy.deepcopy(model)
    assert torch.equal(copied.decode(mean), model.decode(mean))


def test_the_loss_is_a_sum_over_pixels_and_a_mean_over_images():
    model, images = VAE(latent=3, width=2), torch.rand(4, 1, 28, 28)
    mean, log_var = model.encode(images)
    for beta in (0.0, 1.0, 4.0):
        torch.manual_seed(0)
        found = negative_elbo(model, images, beta)
        torch.manual_seed(0)
        posterior = D.Independent(D.Normal(mean, (log_var / 2).exp()), 1)
        pixels = D.Bernoulli(logits=model.decode(posterior.rsample()), validate_args=False)
        prior = D.Independent(D.Normal(torch.zeros(3), torch.ones(3)), 1)
        likelihood = pixels.log_prob(images).sum((1, 2, 3))
        wanted = (beta * D.kl_divergence(posterior, prior) - likelihood).mean()
        torch.testing.assert_close(found, wanted)


def test_it_is_a_bound_of_a_model_that_can_be_integrated():
    """Of one dimension: the evidence by a fine grid is above the bound at every encoder."""
    torch.manual_seed(0)
    decode = nn.Linear(1, 6)
    images = (torch.rand(1, 6) < 0.5).float()
    grid = torch.linspace(-8, 8, 4001)[:, None]
    pixels = D.Bernoulli(logits=decode(grid)).log_prob(images).sum(1)
    prior = D.Normal(0.0, 1.0).log_prob(grid[:, 0])
    evidence = (pixels + prior).logsumexp(0) + torch.tensor(16 / 4000).log()
    for mean, std in [(0.0, 1.0), (0.5, 0.7), (-1.0, 0.3), (2.0, 2.0)]:
        mass = D.Normal(mean, std).log_prob(grid[:, 0]).exp() * 16 / 4000
        one = torch.tensor([mean]), 2 * torch.tensor([std]).log()
        elbo = (mass * pixels).sum() - gaussian_kl(*one).sum()
        assert elbo < evidence


def test_fit_trains_it():
    images = fashion_mnist()[0].images[:1000]
    torch.manual_seed(0)
    model = VAE(latent=2, width=4)
    history = fit(model, images, epochs=6, lr=1e-3, batch_size=50, loss=negative_elbo)
    assert history.loss[-1] < 0.85 * history.loss[0] and not history.train_accuracy


@pytest.mark.parametrize("settings", [{"latent": 0}, {"latent": 2, "width": 0}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="=0: must be ≥ 1"):
        VAE(**settings)


@pytest.mark.parametrize("function", [gaussian_kl, reparametrize])
def test_what_does_not_fit_is_refused(function):
    with pytest.raises(ValueError, match=r"log_var=float32 \(2, 1\): must be \(2, 3\) as the mean"):
        function(torch.zeros(2, 3), torch.zeros(2, 1))
    with pytest.raises(TypeError, match=r"mean=1\.0: must be a tensor"):
        function(1.0, torch.zeros(1))
    with pytest.raises(ValueError, match="beta=-1: must be ≥ 0"):
        negative_elbo(VAE(), torch.rand(2, 1, 28, 28), beta=-1)
    for images in (3 * torch.rand(2, 1, 28, 28), torch.rand(2, 1, 28, 28) - 0.5):
        with pytest.raises(ValueError, match=r"images=.*: must be from 0 to 1"):
            negative_elbo(VAE(), images)
