"""Two variational autoencoders of garments with two latent dimensions, and a plain one, trained.

They have learned from the 10,000 training garments that ship with d2lite, by
``benchmarks/latent_nets.py``, which also made the file. Its weights have 16 bits.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from d2lite.nets.vae import VAE

PACKAGED = Path(__file__).with_name("latent_nets.npz")


def latent_nets() -> dict[str, VAE]:
    """Load the three networks, by their names.

    For the last the divergence has counted ten times. The plain autoencoder is a ``VAE`` too: one
    whose deviation is 0, nearly.

    >>> nets = latent_nets()
    >>> list(nets)
    ['VAE', 'autoencoder', 'VAE, β = 10']
    >>> nets["VAE"].decode(torch.zeros(1, 2)).shape
    torch.Size([1, 1, 28, 28])
    """
    nets = {}
    with np.load(PACKAGED) as packaged, torch.random.fork_rng([]):
        for file in packaged.files:
            name, width = file.rsplit("-", 1)
            nets[name] = VAE(latent=2, width=int(width)).eval().requires_grad_(False)
            values = torch.from_numpy(packaged[file].astype(np.float32))
            nn.utils.vector_to_parameters(values, nets[name].parameters())
    return nets


def pack(nets: Mapping[str, VAE]) -> None:
    """Write the networks to the file that ships with d2lite."""
    rows: dict[str, Any] = {}
    for name, net in nets.items():
        values = nn.utils.parameters_to_vector(net.parameters()).detach()
        rows[f"{name}-{net.decoder[3].out_channels}"] = values.half().numpy()
    np.savez_compressed(PACKAGED, **rows)
