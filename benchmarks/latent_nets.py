"""Train the networks of two latent dimensions that ship for ``LatentExplorer``.

    python benchmarks/latent_nets.py         # about four minutes of one processor core

All learn from the 10,000 training garments that ship with d2lite, from the same start and in the
same batches: a VAE by its negative ELBO; an autoencoder by the cross-entropy of the pixels alone,
with nothing drawn at random; and a VAE for which the divergence counts ten times. The autoencoder's
codes are then shifted and scaled to mean 0 and variance 1 in each dimension, in the encoder's last
layer and back in the decoder's first, which changes no picture; and the log variance that it gives
is −40.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from d2lite.data import fashion_mnist
from d2lite.data.latent_nets import pack
from d2lite.nets.vae import VAE, negative_elbo

WIDTH, EPOCHS, BATCH_SIZE, LR = 16, 24, 50, 2e-3


def reconstruction(model: VAE, images: Tensor) -> Tensor:
    """Compute an autoencoder's loss: cross-entropy, summed over pixels, averaged over images."""
    logits = model.decode(model.encode(images)[0])
    return F.binary_cross_entropy_with_logits(logits, images, reduction="sum") / len(images)


def trained(name: str, loss: Callable[[VAE, Tensor], Tensor], images: Tensor) -> VAE:
    """Train by Adam, at a rate that falls to 0 along half a cosine."""
    torch.manual_seed(0)
    model = VAE(latent=2, width=WIDTH)
    steps = EPOCHS * (len(images) // BATCH_SIZE)
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for epoch in range(EPOCHS):
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(epoch))
        total = 0.0
        for first, end in pairwise(range(0, len(images) + 1, BATCH_SIZE)):
            value = loss(model, images[order[first:end]])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            schedule.step()
            total += value.item()
        print(f"{name}: epoch {epoch + 1}, loss {total / (len(images) // BATCH_SIZE):.1f}")
    return model


@torch.no_grad()
def standardize(model: VAE, images: Tensor) -> None:
    """Give the codes mean 0 and variance 1, with the same pictures, and a deviation of nearly 0."""
    codes = torch.cat([model.encode(batch)[0] for batch in images.split(1000)])
    mean, std = codes.mean(0), codes.std(0)
    last, first = model.encoder[-1], model.decoder[0]
    last.weight[:2] /= std[:, None]
    last.bias[:2] = (last.bias[:2] - mean) / std
    last.weight[2:], last.bias[2:] = 0, -40
    first.bias += first.weight @ mean
    first.weight *= std


def main() -> None:
    """Train them, say how well they rebuild test garments, and pack them."""
    train, test = fashion_mnist()
    losses = {
        "VAE": negative_elbo,
        "autoencoder": reconstruction,
        "VAE, β = 10": partial(negative_elbo, beta=10),
    }
    nets = {name: trained(name, loss, train.images) for name, loss in losses.items()}
    standardize(nets["autoencoder"], train.images)
    with torch.no_grad():
        for name, model in nets.items():
            print(f"{name}: {reconstruction(model, test.images):.1f} nats of a test garment's mean")
    pack(nets)


if __name__ == "__main__":
    main()
