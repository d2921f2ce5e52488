"""Variational autoencoder: an encoder to a distribution, a decoder from a sample of it.

From Kingma and Welling, "Auto-encoding variational Bayes", 2014, and Rezende, Mohamed and Wierstra,
"Stochastic backpropagation and approximate inference in deep generative models", 2014. Theirs are
fully connected; these are convolutional. N images, D latent dimensions.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from d2lite.checks import checked, given, instance, integer, number, tensor


def _one_shape(mean: Tensor, log_var: Tensor) -> None:
    if mean.shape != log_var.shape:
        raise ValueError(f"log_var{given(log_var)}: must be {tuple(mean.shape)} as the mean")


def encoder(latent: int, width: int = 16) -> nn.Sequential:
    """Make a network from images (N, 1, 28, 28) to means and log variances, (N, 2 D).

    >>> encoder(latent=2)(torch.zeros(3, 1, 28, 28)).shape
    torch.Size([3, 4])
    """
    return nn.Sequential(
        nn.Conv2d(1, width, 4, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(width, 2 * width, 4, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(2 * width * 49, 2 * latent),
    )  # fmt: skip


def decoder(latent: int, width: int = 16) -> nn.Sequential:
    """Make a network from points (N, D) to logits of pixels, (N, 1, 28, 28): the encoder backwards.

    >>> decoder(latent=2)(torch.zeros(3, 2)).shape
    torch.Size([3, 1, 28, 28])
    """
    return nn.Sequential(
        nn.Linear(latent, 2 * width * 49), nn.ReLU(), nn.Unflatten(1, (2 * width, 7, 7)),
        nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1), nn.ReLU(),
        nn.ConvTranspose2d(width, 1, 4, stride=2, padding=1),
    )  # fmt: skip


class VAE(nn.Module):
    """A variational autoencoder of images of 28 × 28 whose pixels are from 0 to 1.

    ``decode`` and ``forward`` give logits; the sigmoid of them is the image.

    Args:
        latent: Latent dimensions, D.
        width: Maps of the layers of 14 × 14; those of 7 × 7 have twice as many.

    >>> model = VAE(latent=2)
    >>> logits, mean, log_var = model(torch.zeros(3, 1, 28, 28))
    >>> logits.shape, mean.shape, model.decode(torch.randn(5, 2)).shape
    (torch.Size([3, 1, 28, 28]), torch.Size([3, 2]), torch.Size([5, 1, 28, 28]))
    """

    @checked(latent=integer(at_least=1), width=integer(at_least=1))
    def __init__(self, latent: int = 2, width: int = 16) -> None:
        super().__init__()
        self.encoder = encoder(latent, width)
        self.decoder = decoder(latent, width)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map (N, 1, 28, 28) to means and log variances, each (N, D)."""
        mean, log_var = self.encoder(images).chunk(2, dim=1)
        return mean, log_var

    def decode(self, z: Tensor) -> Tensor:
        """Map (N, D) to logits (N, 1, 28, 28)."""
        return self.decoder(z)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode, draw one point for each image, and decode it: logits, means, log variances."""
        mean, log_var = self.encode(images)
        return self.decode(reparametrize(mean, log_var)), mean, log_var


@checked(_one_shape, mean=tensor(), log_var=tensor())
def reparametrize(mean: Tensor, log_var: Tensor) -> Tensor:
    """Draw z = mean + std · noise from a diagonal Gaussian, so that gradients reach both.

    >>> reparametrize(torch.tensor([3.0]), torch.tensor([-200.0]))
    tensor([3.])
    """
    return mean + (log_var / 2).exp() * torch.randn_like(mean)


@checked(_one_shape, mean=tensor(), log_var=tensor())
def gaussian_kl(mean: Tensor, log_var: Tensor) -> Tensor:
    """Compute KL(N(mean, var) ‖ N(0, 1)) in nats for each number: the shape stays.

    Summed over the latent dimensions, it is that of a diagonal Gaussian (Kingma and Welling,
    Appendix B).

    >>> gaussian_kl(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 0.0]))
    tensor([0.0000, 0.5000])
    """
    return (mean**2 + log_var.exp() - 1 - log_var) / 2


def _pixels(images: Any) -> None:
    tensor("(N, …)")(images)
    if not (images.min() > -1e-3 and images.max() < 1.001):  # but for rounding; NaN is not, either
        raise ValueError("must be from 0 to 1")


@checked(model=instance(nn.Module), images=_pixels, beta=number(at_least=0))
def negative_elbo(model: Any, images: Tensor, beta: float = 1.0) -> Tensor:
    """Compute what ``train.fit`` minimizes to train a VAE, in nats: (N, …) to a scalar.

    The cross-entropy of the pixels with one sample of z plus ``beta`` times the divergence, each
    summed over an image's pixels or dimensions, then averaged over the images. With ``beta`` above
    1 it is that of a β-VAE (Higgins et al., 2017).

    Args:
        model: From images to logits of their shape, means and log variances, as ``VAE``.
        images: Pixels from 0 to 1.
        beta: How often the divergence counts.

    Raises:
        ValueError: If a pixel is not from 0 to 1: of others the cross-entropy has no least value.

    >>> negative_elbo(VAE(), torch.rand(3, 1, 28, 28)).shape
    torch.Size([])
    """
    logits, mean, log_var = model(images)
    pixels = F.binary_cross_entropy_with_logits(logits, images, reduction="sum")
    return (pixels + beta * gaussian_kl(mean, log_var).sum()) / len(images)
